"""ONNX files compute what torch computes, with attention written out, and say nothing of where they were made."""

import os

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')
onnx = pytest.importorskip('onnx', reason='onnx is not installed: pip install onnx')
pytest.importorskip('onnxscript', reason='onnxscript is not installed: pip install onnxscript')
ort = pytest.importorskip('onnxruntime')

from torch import nn  # noqa: E402

from depth_ros.models import export  # noqa: E402
from depth_ros.models.vit import Encoder, VisionTransformer  # noqa: E402
from depth_ros.runtime.onnx_graph import OnnxGraph  # noqa: E402
from depth_ros.runtime.probe import Compared  # noqa: E402


@pytest.fixture(scope='module')
def encoder():
    """A small vision transformer whose table of positions has to be stretched: 2 x 3 patches, the table has 4 x 4."""
    torch.manual_seed(0)
    network = VisionTransformer(64, depth=2, heads=2, positions=1 + 4 * 4).eval()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.1)
    graph = Encoder(network).eval()
    export.settle_positions(graph)
    return graph


@pytest.fixture(scope='module')
def call(encoder):
    """(inputs, outputs) of the encoder."""
    recorder = export.Recorder(encoder)
    recorder.run({'rgb': np.zeros((1, 3, 28, 42), np.float32)})
    recorder.run({'rgb': np.random.default_rng(0).standard_normal((1, 3, 28, 42))})
    one, = recorder.calls.values()
    return one


@pytest.fixture(scope='module')
def folders(encoder, call, tmp_path_factory):
    """Two folders with the same file, each written from a working directory of its own."""
    made = []
    before = os.getcwd()
    for name in ('a', 'another/place'):
        folder = tmp_path_factory.mktemp('made') / name
        folder.mkdir(parents=True)
        os.chdir(folder)
        try:
            export.write(encoder, call[0], ('frame00',), folder / 'encoder.onnx', torch.float32)
        finally:
            os.chdir(before)
        made.append(folder / 'encoder.onnx')
    return made


def run(path, inputs):
    return ort.InferenceSession(str(path), providers=['CPUExecutionProvider']).run(None, inputs)


def test_the_last_call_of_a_kind_is_remembered_with_what_came_out(call):
    inputs, outputs = call
    assert inputs['rgb'].dtype == np.float32 and inputs['rgb'].std() > 0.9
    assert outputs['frame00'].shape == (4, 2, 3, 64)


def test_the_file_computes_what_torch_computes(folders, call):
    found, = run(folders[0], call[0])
    assert np.abs(found - call[1]['frame00']).max() < 1e-4 * call[1]['frame00'].std()


def test_attention_is_written_out_and_scaled_once(folders):
    model = onnx.load(folders[0])
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count('Softmax') == 2 and 'Attention' not in kinds and 'Sqrt' not in kinds and 'Resize' not in kinds
    assert model.opset_import[0].version == 20 and not model.functions
    scale = [onnx.numpy_helper.to_array(item) for item in model.graph.initializer if 'scalar' in item.name or not item.dims]
    assert any(np.isclose(value, 32 ** -0.5).all() for value in scale)
    assert not any(np.isclose(value, 32 ** -0.25).all() for value in scale)


def test_the_same_bytes_from_any_folder_without_a_word_of_it(folders):
    first, second = (path.read_bytes() for path in folders)
    assert first == second
    model = onnx.load(folders[0])
    assert not model.metadata_props and not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert b'.py' not in first and os.getcwd().encode() not in first


def test_weights_beside_the_file_are_named_without_a_folder(encoder, call, tmp_path, monkeypatch):
    monkeypatch.setattr(export, 'LARGEST_INLINE', 1000)
    path, data = export.write(encoder, call[0], ('frame00',), tmp_path / 'encoder.onnx', torch.float32)
    assert data.name == 'encoder.onnx.data' and data.stat().st_size > path.stat().st_size
    assert np.abs(run(path, call[0])[0] - call[1]['frame00']).max() < 1e-4 * call[1]['frame00'].std()
    assert str(tmp_path).encode() not in path.read_bytes()


def test_half_precision_is_inside_and_float32_outside(call, tmp_path):
    torch.manual_seed(0)
    network = VisionTransformer(64, depth=1, heads=1, positions=1 + 4 * 4).eval()
    graph = Encoder(network).eval()
    graph.register_buffer('constant', torch.ones(1), persistent=False)
    export.settle_positions(graph)
    recorder = export.Recorder(graph)
    wanted = recorder.run(call[0])['frame00']
    export.halve(graph)
    assert graph.constant.dtype == torch.float32 and network.cls_token.dtype == torch.float16
    path, = export.write(graph, call[0], ('frame00',), tmp_path / 'encoder.onnx', torch.float16)
    model = onnx.load(path)
    types = {value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)}
    assert set(types.values()) == {onnx.TensorProto.FLOAT}
    large = {item.data_type for item in model.graph.initializer if np.prod(item.dims) > 1000}
    assert large == {onnx.TensorProto.FLOAT16}
    assert np.abs(run(path, call[0])[0] - wanted).max() < 0.02 * wanted.std()


def test_parts_that_are_precise_stay_float32():
    graph = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    graph[1].precise = True
    export.halve(graph)
    assert [part.weight.dtype for part in graph] == [torch.float16, torch.float32]


def test_attention_with_a_mask_is_refused_rather_than_exported_wrong():
    q = torch.zeros(1, 1, 2, 4)
    with export.ExplicitAttention(), pytest.raises(NotImplementedError, match='mask'):
        nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)


@pytest.mark.parametrize('scale', [None, 0.1])
def test_attention_written_out_is_the_same_attention(scale):
    q, k, v = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0))
    wanted = nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    with export.ExplicitAttention():
        found = nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_a_small_number_is_not_taken_for_zero(tmp_path):
    class Small(nn.Module):
        def forward(self, x):
            return {'log': torch.log(x.clamp(min=1e-8) + 1e-8)}

    inputs = {'x': np.zeros(3, np.float32)}
    path, = export.write(Small(), inputs, ('log',), tmp_path / 'small.onnx', torch.float32)
    assert np.allclose(run(path, inputs), np.log(2e-8), rtol=1e-6)


def test_int8_takes_weights_that_two_products_share(tmp_path):
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = torch.nn.Linear(16, 16, bias=False)

        def forward(self, x):
            return {'out': self.shared(torch.tanh(self.shared(x))), 'also': x @ self.shared.weight}

    torch.manual_seed(0)
    x = {'x': np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32)}
    export.write(Twice(), x, ('out', 'also'), tmp_path / 'twice.onnx', torch.float32)
    export.quantise(tmp_path / 'twice.onnx', tmp_path / 'short.onnx')
    both = Compared(OnnxGraph(tmp_path / 'short.onnx'), OnnxGraph(tmp_path / 'twice.onnx'))
    both.run(x)
    assert all(1e-4 < errors['rms'] < 0.03 for errors in both.found.values()), both.found
    assert sorted(path.name for path in tmp_path.iterdir()) == ['short.onnx', 'twice.onnx']
