"""A network with a known answer: the mean of R, G and B. A white wall has the value 10, a black one 0."""

from pathlib import Path

import onnx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info


def write_network(folder: Path, quantity: str = 'disparity_affine', size: tuple[int, int] = (24, 32)) -> Path:
    """Write the network and its description, and return the path of the description."""
    mean = make_node('ReduceMean', ['picture'], ['map'], axes=[1], keepdims=1)
    graph = make_graph([mean], 'grey', [make_tensor_value_info('picture', 1, [1, 3, 'h', 'w'])],
                       [make_tensor_value_info('map', 1, [1, 1, 'h', 'w'])])
    onnx.save(make_model(graph, opset_imports=[make_opsetid('', 13)], ir_version=8), folder / 'grey.onnx')
    description = folder / f'{quantity}.yaml'
    description.write_text(f'file: grey.onnx\ninput: picture\noutput: map\nsize: {list(size)}\nvalue_range: [0, 10]\n'
                           f'quantity: {quantity}\nlicence: Apache-2.0\n')
    return description
