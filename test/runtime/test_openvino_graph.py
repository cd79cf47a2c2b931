"""OpenVINO says what ONNX Runtime says, and why it cannot."""

import numpy as np
import pytest

pytest.importorskip('openvino', reason='OpenVINO is not installed: pip install openvino')

from depth_ros.errors import BackendError, InputError  # noqa: E402
from depth_ros.families.lite import SHIPPED  # noqa: E402
from depth_ros.runtime.onnx_graph import OnnxGraph  # noqa: E402
from depth_ros.runtime.openvino_graph import OpenVinoGraph  # noqa: E402


@pytest.fixture(scope='module')
def graph():
    return OpenVinoGraph(SHIPPED)


def inputs(graph, h=96, w=128):
    random, memory = np.random.default_rng(0), graph.inputs['memory']
    return {'rgb': random.random((1, 3, h, w), np.float32),
            'memory_valid': np.ones(graph.inputs['memory_valid'], np.float32),
            'memory': random.standard_normal((1, memory[1], h // 16, w // 16)).astype(np.float32)}


@pytest.mark.parametrize('size', [(96, 128), (64, 96)])
def test_the_shipped_network_says_the_same_at_any_size_and_the_same_bytes_twice(graph, size):
    given = inputs(graph, *size)
    first, again, wanted = graph.run(given), graph.run(given), OnnxGraph(SHIPPED).run(given)
    assert list(first) == list(wanted)
    for name, value in wanted.items():
        assert np.abs(first[name] - value).max() <= 1e-4 * max(value.std(), 1), name
        np.testing.assert_array_equal(first[name], again[name])


def test_what_comes_out_is_the_callers_own(graph):
    first = graph.run(inputs(graph))['disparity']
    kept = first.copy()
    graph.run({**inputs(graph), 'rgb': np.zeros((1, 3, 96, 128), np.float32)})
    np.testing.assert_array_equal(first, kept)


def test_wrong_inputs_and_files_that_are_no_networks_are_refused(graph, tmp_path):
    given = inputs(graph)
    with pytest.raises(InputError, match=r'rgb of the network is \[1, 3, .* given was \[1, 2, 96, 128\]'):
        graph.run({**given, 'rgb': given['rgb'][:, :2]})
    with pytest.raises(InputError, match=r'memory of the network .* given was \[\]'):
        graph.run({'rgb': given['rgb'], 'memory_valid': given['memory_valid']})
    (tmp_path / 'net.onnx').write_bytes(b'nothing')
    with pytest.raises(BackendError, match='OpenVINO cannot run net.onnx: Unable to read the model'):
        OpenVinoGraph(tmp_path / 'net.onnx')
