"""OpenVINO says what ONNX Runtime says, and why it cannot. Run by test_openvino_graph.py, in a process of its own."""

import sys

import numpy as np
import pytest

pytest.importorskip('openvino', reason='OpenVINO is not installed: pip install openvino')

from depth_ros import open_stream  # noqa: E402
from depth_ros.errors import BackendError, InputError  # noqa: E402
from depth_ros.families.lite import SHIPPED  # noqa: E402
from depth_ros.pipeline import open_live  # noqa: E402
from depth_ros.runtime import cpu, openvino_graph, probe  # noqa: E402
from depth_ros.runtime.onnx_graph import OnnxGraph  # noqa: E402
from depth_ros.runtime.openvino_graph import OpenVinoGraph  # noqa: E402
from depth_ros.settings import build  # noqa: E402
from test.test_pipeline import pictures  # noqa: E402


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


def test_a_stream_says_what_that_of_onnx_runtime_says_and_is_refused_where_it_does_not(monkeypatch, tmp_path):
    maps = {}
    for backend in ('onnx', 'openvino'):
        stream = open_stream(backend=backend)
        maps[backend] = np.stack([depth.map for frame in pictures(4) for depth in stream.push(frame)])
        assert stream.info['backend'] == backend
    assert np.abs(maps['openvino'] - maps['onnx']).max() < 1e-3 * maps['onnx'].std()

    (tmp_path / 'cpuinfo').write_text('flags : avx512_bf16')
    monkeypatch.setattr(cpu, 'CPUINFO', tmp_path / 'cpuinfo')
    monkeypatch.setitem(openvino_graph.FORMATS, 'bf16', 'f32')    # a processor that only imitates it may crash
    monkeypatch.setitem(probe.RMS_LIMIT, 'bf16', -1.0)
    assert open_stream(backend='openvino').info['backend_note'].startswith('fp32; step in bf16: disparity: rms ')
    monkeypatch.setitem(probe.RMS_LIMIT, 'fp32', -1.0)
    with pytest.raises(BackendError, match='OpenVINO says something else than ONNX Runtime .* set backend to onnx'):
        open_stream(backend='openvino')
    warnings: list[str] = []
    stream, _ = open_live(build({'backend': 'openvino'}), print, warnings.append)
    assert stream.info['backend'] == 'onnx' and 'not openvino: OpenVINO says something else' in stream.info['backend_note']
    assert len(warnings) == 1


def test_without_openvino_a_camera_is_served_by_the_next_backend(monkeypatch):
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(BackendError, match="openvino is needed here; install it with: pip install 'depth_ros.openvino.'"):
        open_stream(backend='openvino')
    warnings: list[str] = []
    stream, _ = open_live(build({'backend': 'openvino'}), print, warnings.append)
    assert stream.info['backend'] == 'onnx' and warnings[0].startswith('onnx serves, not openvino: openvino is needed here')
