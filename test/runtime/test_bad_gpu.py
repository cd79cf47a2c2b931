"""Whatever keeps an engine from running here is one sentence: live the next backend takes over, offline the command ends."""

import os
import re
import stat

import cv2
import numpy as np
import pytest
from onnx import helper

from depth_ros import Frame, pipeline
from depth_ros.commands import main
from depth_ros.errors import BackendError
from depth_ros.runtime import cuda, engine_cache, tensorrt_graph
from depth_ros.runtime.engine_cache import EngineCache, open_engine
from depth_ros.settings import build
from test.runtime.fake_trt import GPU, platform, save, slow_build

DESCRIPTION = ('file: grey.onnx\ninput: picture\noutput: map\nsize: [48, 64]\nvalue_range: [0, 10]\n'
               'quantity: disparity_affine\nlicence: Apache-2.0\n')


def missing(name):
    raise OSError(f'{name}: cannot open shared object file')


def no_driver(patch, here, folder):
    patch.setattr(cuda.ctypes, 'CDLL', missing)
    patch.setattr(engine_cache, 'find_platform', tensorrt_graph.find_platform)


def no_tensorrt(patch, here, folder):
    patch.setattr(tensorrt_graph, 'find_gpu', lambda: GPU)
    patch.setattr(tensorrt_graph, 'import_module', missing)
    patch.setattr(engine_cache, 'find_platform', tensorrt_graph.find_platform)


def another_version(patch, here, folder):
    here.trt.refuses = True


def old_driver(patch, here, folder):
    here.trt.old = True


def no_memory_to_run(patch, here, folder):
    here.trt.full = True


def no_memory_for_weights(patch, here, folder):
    here.trt.tight = True


def failing_run(patch, here, folder):
    here.trt.most = 0


def folder_of_others(patch, here, folder):
    (folder / 'depth_ros' / 'engines').chmod(0o777)


def plan_of_others(patch, here, folder):
    real = os.fstat

    def fstat(file):
        found = list(real(file))
        if os.readlink(f'/proc/self/fd/{file}').endswith('.plan'):
            found[stat.ST_UID] += 1
        return os.stat_result(found)
    patch.setattr(engine_cache.os, 'fstat', fstat)


def no_folder(patch, here, folder):
    (folder / 'file').touch()
    patch.setenv('XDG_CACHE_HOME', str(folder / 'file'))


def not_built(patch, here, folder):
    patch.setenv('XDG_CACHE_HOME', str(folder / 'empty'))


@pytest.mark.parametrize(('fault', 'words'), [
    (no_driver, 'there is no NVIDIA driver here .*; TensorRT needs one, backend onnx does not'),
    (old_driver, 'does not start with the NVIDIA driver for CUDA 13.0 .*error: 35.*; update the driver'),
    (no_tensorrt, 'TensorRT cannot be imported .*; pip install tensorrt'),
    (another_version, 'the engine in the cache cannot be opened .*another version.*depth_ros build-engine'),
    (no_memory_to_run, '100 MB free and 900 MB more are needed; export .* smaller size, about 30 % of its height and width'),
    (no_memory_for_weights, '100 MB free and 0 MB more are needed; take a smaller variant or fp16'),
    (failing_run, 'the GPU fails: CUDA error: an illegal memory access'),
    (folder_of_others, 'can be written by others, and engines are programs; chmod 700'),
    (plan_of_others, 'belongs to somebody else and is not run; remove it'),
    (no_folder, 'cannot be made .*; set XDG_CACHE_HOME'),
    (not_built, 'there is no TensorRT engine of grey.onnx for Fake GPU yet; depth_ros build-engine'),
], ids=lambda value: getattr(value, '__name__', ''))
def test_live_the_next_backend_serves_and_offline_the_command_ends_with_code_2(fault, words, tmp_path, monkeypatch, capsys):
    network = save(tmp_path / 'grey.onnx', [helper.make_node('ReduceMean', ['picture'], ['map'], axes=[1], keepdims=1)],
                   {'picture': [1, 3, 48, 64]}, {'map': [1, 1, 48, 64]})
    (tmp_path / 'grey.yaml').write_text(DESCRIPTION)
    here = platform()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(engine_cache, 'find_platform', lambda kind='': here)
    monkeypatch.setattr(engine_cache, 'build_plan', slow_build(0))
    open_engine(network, cache=EngineCache(), platform=here)
    fault(monkeypatch, here, tmp_path / 'cache')
    given = {'family': 'onnx', 'weights': str(tmp_path / 'grey.yaml'), 'backend': 'tensorrt'}

    said: list[str] = []
    stream, _ = pipeline.open_live(build(given), said.append, said.append)
    assert stream.info['backend'] == 'onnx' and re.search(words, stream.info['backend_note'])
    assert said == [f'onnx serves, {stream.info["backend_note"]}'] and '\n' not in said[0]
    depth, = stream.push(Frame(np.full((48, 64, 3), 255, np.uint8), 0))
    np.testing.assert_allclose(depth.map, 10, rtol=1e-5)

    (tmp_path / 'pictures').mkdir()
    cv2.imwrite(str(tmp_path / 'pictures' / '0.png'), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(SystemExit) as ended:
        main(['process', str(tmp_path / 'pictures'), str(tmp_path / 'out'), '--family', 'onnx', '--weights',
              given['weights'], '--backend', 'tensorrt'])
    assert ended.value.code == 2 and re.search(words, capsys.readouterr().err.replace('\n', ' '))


def test_an_engine_that_cannot_be_stored_is_not_built(tmp_path, monkeypatch):
    network = save(tmp_path / 'grey.onnx', [helper.make_node('Relu', ['picture'], ['map'])], {'picture': [1]}, {'map': [1]})
    monkeypatch.setattr(engine_cache.os, 'access', lambda *_: False)
    with pytest.raises(BackendError, match='cannot be written; set XDG_CACHE_HOME'):
        open_engine(network, cache=EngineCache(tmp_path / 'engines'), platform=platform())
