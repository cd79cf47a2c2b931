"""Networks as ONNX files: static shapes, attention written out, the same bytes wherever they are written.

TensorRT 10.3 to 10.7 is reported to miscompute the attention that torch exports, which multiplies queries and keys by the
root of the scale each; written out as softmax((q * scale) k^T) v it is right where the other is not, and no slower.
"""

import functools
import logging
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from depth_ros.errors import need
from depth_ros.models.vit import Encoder, VisionTransformer

REMEDY = "pip install 'depth_ros[export]'"
OPSET = 20                  # the highest that TensorRT 10.3 reads; the first with GELU as one operator
LARGEST_INLINE = 1 << 30    # bytes of weights in one file: a protobuf ends at 2 GiB

Arrays = Mapping[str, np.ndarray]


class Recorder:
    """Runs a graph and remembers the last call of each kind, by the names and shapes that it was called with."""

    def __init__(self, graph: nn.Module) -> None:
        self.graph = graph
        self.inputs: dict[str, list[Any]] = getattr(graph, 'inputs', {})
        self.calls: dict[tuple[tuple[str, tuple[int, ...]], ...], tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = {}

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        """Return every output by name."""
        given = {name: np.asarray(value) for name, value in inputs.items()}
        given = {name: value.astype(np.float32) if value.dtype.kind == 'f' else value for name, value in given.items()}
        with torch.no_grad():
            outputs = {name: value.numpy() for name, value in
                       self.graph(**{name: torch.from_numpy(value) for name, value in given.items()}).items()}
        self.calls[tuple((name, value.shape) for name, value in given.items())] = given, outputs
        return outputs


class ExplicitAttention(TorchFunctionMode):
    """Within it, attention is its equation; torch has a hook for that, so that no network needs a second form."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (attention if func is F.scaled_dot_product_attention else func)(*args, **(kwargs or {}))


class ByPlace(nn.Module):
    """A graph whose tensors come and go in a fixed order, floats as float32 whatever it computes in."""

    def __init__(self, graph: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.network = graph    # not `graph`: torch's exporter has something of that name
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = {name: tensor.to(self.dtype) if tensor.is_floating_point() else tensor
                 for name, tensor in zip(self.inputs, tensors, strict=True)}
        found = self.network(**given)
        return tuple(found[name].float() for name in self.outputs)


def attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: None = None, dropout_p: float = 0.0,
              is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False) -> Tensor:
    """Return softmax(q k^T * scale) v, (..., N, D) of (..., N, D); the softmax is summed in float32.

    Raises NotImplementedError for what no exported network has: a mask, or grouped queries.
    """
    if attn_mask is not None or is_causal or enable_gqa:
        raise NotImplementedError('attention with a mask or grouped queries is not written out for export')
    scores = (query * (query.shape[-1] ** -0.5 if scale is None else scale)) @ key.transpose(-2, -1)
    return scores.float().softmax(dim=-1).to(value.dtype) @ value


def output_name(name: str, inputs: Collection[str]) -> str:
    """Return what an output is called in a file, where no name may stand for two things."""
    return f'{name}_out' if name in inputs else name


def is_each_frame(graph: nn.Module) -> bool:
    """Return whether the graph sees its frames one by one, so that one is enough in a file of fixed shapes."""
    return isinstance(graph, Encoder)


def settle_positions(graph: nn.Module) -> None:
    """Let every vision transformer keep its stretched tables: constants of the file, not a bicubic enlargement in it."""
    for part in graph.modules():
        if isinstance(part, VisionTransformer):
            part._positions = _remembered(part)    # type: ignore[method-assign]


def halve(graph: nn.Module) -> None:
    """Make the weights float16, but for those of parts that are `precise`.

    What is in no weights file (constants of the network) stays as it is, too.
    """
    saved = set(graph.state_dict())
    own = {name: buffer for name, buffer in graph.named_buffers() if name not in saved}
    precise = [(weight, weight.data) for part in graph.modules() if getattr(part, 'precise', False)
               for weight in part.parameters()]
    graph.half()
    for weight, values in precise:
        weight.data = values
    for name, buffer in own.items():
        owner, _, last = name.rpartition('.')
        graph.get_submodule(owner)._buffers[last] = buffer


def write(graph: nn.Module, inputs: Arrays, outputs: tuple[str, ...], path: Path, dtype: torch.dtype) -> list[Path]:
    """Write the graph for inputs of these names and shapes, in their order; return the files: ONNX, and weights if many.

    Inputs and outputs are float32 or integers, `dtype` is what the network's weights are in. Nothing in the files tells
    where they were written. Raises MissingDependency without onnxscript.
    """
    need('onnx', REMEDY), need('onnxscript', REMEDY)
    named = ByPlace(graph, tuple(inputs), outputs, dtype).eval()
    tensors = tuple(torch.from_numpy(value) for value in inputs.values())
    with torch.no_grad(), ExplicitAttention(), _quiet():
        program = torch.onnx.export(named, tensors, dynamo=True, opset_version=OPSET, optimize=False,
                                    input_names=list(inputs), verbose=False,
                                    output_names=[output_name(name, inputs) for name in outputs])
        assert program is not None
        model: Any = program.model
        _fold(model)
    _clean(model)
    return _save(model, path)


def quantise(path: Path, out: Path) -> None:
    """Write the network with its matrix products of weights in 8 bits, scaled as the inputs come: for ONNX Runtime on CPUs.

    Without signs: the products of signed ones overflow on processors that have AVX2 and no VNNI.
    """
    quantization, ir = need('onnxruntime.quantization', 'pip install onnxruntime'), need('onnx_ir', REMEDY)
    model = ir.load(path)
    for node in model.graph:    # the quantiser transposes the weights of a Gemm in place: no other may use them
        if node.op_type == 'Gemm' and len((weight := node.inputs[1]).uses()) > 1:
            own = ir.Value(name=f'{node.name}_weight', shape=weight.shape, type=weight.type, const_value=weight.const_value)
            model.graph.register_initializer(own)
            node.replace_input_with(1, own)
    with _quiet(), tempfile.TemporaryDirectory(dir=out.parent) as folder:
        plain, *_ = _save(model, Path(folder, path.name))
        quantization.quantize_dynamic(plain, out, op_types_to_quantize=['MatMul'], weight_type=quantization.QuantType.QUInt8)


def _save(model: Any, path: Path) -> list[Path]:
    """Return the files: ONNX, and weights if many."""
    data = path.with_name(f'{path.name}.data')
    large = sum(value.const_value.nbytes for value in model.graph.initializers.values()) > LARGEST_INLINE
    need('onnx_ir', REMEDY).save(model, path, external_data=data.name if large else None)
    return [path, data] if large else [path]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of itself and of packages that it does not find from the terminal."""
    talkers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', '')]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)


def _remembered(part: VisionTransformer) -> Any:
    compute = functools.cache(part._positions)

    def positions(h: int, w: int) -> Tensor:
        return compute(h, w).to(part.pos_embed.dtype)

    return positions


def _fold(model: Any) -> None:
    """Put constants in place of what computes them, and operators in place of functions.

    Not by the exporter's own optimiser: to that, x + 1e-8 is x.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants
    from onnxscript.rewriter import rewrite
    from onnxscript.rewriter.rules.common import transpose_transpose_rule

    common.InlinePass()(model)
    fold_constants(model, onnx_shape_inference=True)
    rewrite(model, [transpose_transpose_rule])
    Sequential(common.RemoveUnusedNodesPass(), common.RemoveUnusedFunctionsPass(), common.RemoveUnusedOpsetsPass(),
               common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
               common.DeduplicateInitializersPass(), common.CommonSubexpressionEliminationPass(), common.OutputFixPass(),
               common.NameFixPass())(model)


def _clean(model: Any) -> None:
    """Take out what says where the model was made: stack traces and names of source files."""
    model.metadata_props.clear()
    model.doc_string = None
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
