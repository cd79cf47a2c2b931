"""Engines are built by TensorRT-RTX here, which needs no GPU: progress, an end within a second, reasons."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper

from depth_ros.errors import BackendError
from depth_ros.families.lite import SHIPPED
from depth_ros.runtime import build
from depth_ros.runtime.build import BuildOptions, build_plan
from depth_ros.runtime.cuda import find_gpu
from depth_ros.runtime.engine_cache import read_header
from depth_ros.runtime.tensorrt_graph import Platform
from test.runtime.fake_trt import GPU, convolutions, save

trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed: pip install tensorrt-rtx')
RTX = Platform(trt, 'rtx', trt.__version__, GPU, capability='SM86')


@pytest.fixture
def children(monkeypatch):
    """Record the processes of builds."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
    monkeypatch.setattr(build.subprocess, 'Popen', Recorded)
    return started


def test_a_plan_is_built_and_its_progress_only_grows(tmp_path):
    told = []
    plan, facts = build_plan(convolutions(tmp_path / 'net.onnx', 12), RTX, BuildOptions(), lambda *news: told.append(news))
    tag, size, version = read_header(plan)
    assert tag == b'vtrt' and size in (len(plan), len(plan) - 28)
    assert version == [int(part) for part in trt.__version__.split('.')]
    assert facts['precision'] == 'fp32' and facts['build_s'] > 0
    shares = [share for _, share in told]
    assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares) and told[0][0] == 'Building engine'


def test_half_precision_is_seen(tmp_path):
    _, facts = build_plan(convolutions(tmp_path / 'half.onnx', kind=np.float16), RTX, BuildOptions())
    assert facts['precision'] == 'fp16'


def test_an_open_shape_is_asked_for_and_then_built(tmp_path):
    path = save(tmp_path / 'open.onnx', [helper.make_node('Relu', ['image'], ['depth'])], {'image': [1, 3, 'h', 'w']},
                {'depth': [1, 3, 'h', 'w']})
    with pytest.raises(BackendError, match='shape of the input image is open'):
        build_plan(path, RTX, BuildOptions())
    assert build_plan(path, RTX, BuildOptions(shapes={'image': (1, 3, 8, 8)}))[0]


@pytest.mark.slow
def test_the_shipped_network_whose_shapes_are_open_is_built_for_one_size():
    shapes = {'rgb': (1, 3, 64, 96), 'memory': (1, 576, 4, 6)}
    assert build_plan(SHIPPED, RTX, BuildOptions(shapes=shapes))[1]['precision'] == 'fp32'


def test_a_cancelled_build_ends_within_a_second_and_leaves_no_process(tmp_path, children):
    cancel = threading.Event()
    with pytest.raises(BackendError, match='cancelled'):
        asked = []

        def stop(*_):
            asked.append(time.monotonic())
            cancel.set()
        build_plan(convolutions(tmp_path / 'net.onnx', 60), RTX, BuildOptions(), stop, cancel)
    assert time.monotonic() - asked[0] < SOON_S
    assert children[0].poll() is not None


def test_a_build_that_hangs_is_killed_within_a_second(tmp_path, children, monkeypatch):
    hang = tmp_path / 'hang.py'
    hang.write_text('import time; time.sleep(60)')
    monkeypatch.setattr(build, '__name__', 'hang')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    cancel, asked = threading.Event(), time.monotonic()
    cancel.set()
    with pytest.raises(BackendError, match='cancelled'):
        build_plan(convolutions(tmp_path / 'net.onnx'), RTX, BuildOptions(), None, cancel)
    assert time.monotonic() - asked < SOON_S and children[0].returncode == -signal.SIGKILL


def test_a_build_that_crashes_is_an_error_with_its_status(tmp_path, monkeypatch):
    (tmp_path / 'crash.py').write_text('import os; os.kill(os.getpid(), 11)')
    monkeypatch.setattr(build, '__name__', 'crash')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    with pytest.raises(BackendError, match='status -11'):
        build_plan(convolutions(tmp_path / 'net.onnx'), RTX, BuildOptions())


SOON_S = 2.0    # a second, and another one for a machine that others use as well
CALLER = """
import sys
from pathlib import Path
from test.runtime.test_build import RTX
from depth_ros.runtime.build import BuildOptions, build_plan
build_plan(Path(sys.argv[1]), RTX, BuildOptions(), lambda *_: print('building', flush=True))
"""


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGKILL])
def test_a_build_ends_with_its_caller_within_a_second(tmp_path, how):
    path = convolutions(tmp_path / 'net.onnx', 60)
    caller = subprocess.Popen([sys.executable, '-c', CALLER, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              cwd=Path(__file__).parents[2])
    assert caller.stdout.readline() == b'building\n'
    child = int(Path(f'/proc/{caller.pid}/task/{caller.pid}/children').read_text().split()[0])
    caller.send_signal(how)
    asked = time.monotonic()
    caller.wait(5)
    while _lives(child) and time.monotonic() - asked < 5:
        time.sleep(0.02)
    assert time.monotonic() - asked < SOON_S


def _lives(pid):
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def test_an_operator_that_tensorrt_does_not_know_is_named_with_its_node(tmp_path):
    path = save(tmp_path / 'odd.onnx', [helper.make_node('Frobnicate', ['image'], ['depth'], name='odd_one')],
                {'image': [1, 3]}, {'depth': [1, 3]})
    with pytest.raises(BackendError, match='node odd_one, operator Frobnicate'):
        build_plan(path, RTX, BuildOptions())


def test_what_is_no_network_is_an_error_in_one_sentence(tmp_path):
    (tmp_path / 'text.onnx').write_text('no network')
    path = convolutions(tmp_path / 'net.onnx')
    onnx.save(onnx.load(path), tmp_path / 'parts.onnx', save_as_external_data=True, location='gone.data', size_threshold=0)
    (tmp_path / 'gone.data').unlink()
    for name in ('text.onnx', 'parts.onnx'):
        with pytest.raises(BackendError, match=f'cannot build {name}: ') as raised:
            build_plan(tmp_path / name, RTX, BuildOptions())
        assert '\n' not in str(raised.value)


class Config:
    """A builder's, whose timings are those it is given; it takes none that begin with b'other'."""

    def create_timing_cache(self, content):
        return None if content == b'garbage' else SimpleNamespace(content=content, serialize=lambda: bytearray(b'timed'))

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timing = cache
        return not cache.content.startswith(b'other') or ignore_mismatch


@pytest.mark.parametrize(('stored', 'used'), [(None, b''), (b'earlier', b'earlier'), (b'other GPU', b''), (b'garbage', b'')])
def test_timings_are_kept_from_build_to_build_and_those_of_another_gpu_do_no_harm(tmp_path, stored, used):
    path, config = tmp_path / 'a.timing', Config()
    if stored is not None:
        path.write_bytes(stored)
    timing = build.read_timing(config, path)
    assert config.timing is timing and timing.content == used
    build.keep_timing(timing, path)
    assert path.read_bytes() == b'timed' and list(tmp_path.iterdir()) == [path]
    build.keep_timing(timing, tmp_path / 'nowhere' / 'a.timing')


def test_a_build_for_the_gpu_that_is_here_needs_one(tmp_path):
    try:
        find_gpu()
    except BackendError:
        with pytest.raises(BackendError, match='NVIDIA driver'):
            build_plan(convolutions(tmp_path / 'net.onnx'), Platform(trt, 'rtx', trt.__version__, GPU), BuildOptions())
    else:
        pytest.skip(f'there is a GPU here (pid {os.getpid()})')
