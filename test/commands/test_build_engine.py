"""`depth_ros build-engine` builds every network of a folder, and says in one sentence why it cannot."""

import pytest

from depth_ros.commands.build_engine import build_engine, onnx_files
from depth_ros.errors import BackendError, InputError
from depth_ros.runtime import engine_cache, tensorrt_graph
from depth_ros.runtime.tensorrt_graph import find_platform
from test.runtime.fake_trt import convolutions, plan_of, platform


def test_every_network_of_a_folder_is_built_and_found_the_next_time(tmp_path, monkeypatch, capsys):
    built = []

    def build(path, platform, options, progress, cancel, timing):
        progress('Building engine', 0.5)
        built.append(path.name)
        return plan_of(path), {'precision': 'fp32'}
    monkeypatch.setattr(engine_cache, 'build_plan', build)
    monkeypatch.setattr(tensorrt_graph, 'find_platform', platform)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for name in ('encoder.onnx', 'head.onnx'):
        convolutions(tmp_path / name, seed=len(name))
    for _ in range(2):
        build_engine(tmp_path)
        assert 'head.onnx: ready for TensorRT-RTX 1.7.1.116 on Fake GPU' in capsys.readouterr().out
    assert built == ['encoder.onnx', 'head.onnx']


def test_without_a_network_or_a_gpu_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match='no ONNX file'):
        onnx_files(tmp_path)
    try:
        find_platform()
    except BackendError:
        with pytest.raises(BackendError, match='NVIDIA|TensorRT'):
            build_engine(convolutions(tmp_path / 'net.onnx'))
