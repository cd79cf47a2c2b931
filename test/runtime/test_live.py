"""A stream changes to its engines and back between two frames, and what it carries goes on, on the GPU where it can."""

import gc
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from depth_ros import Frame, open_stream, pipeline
from depth_ros import engines as engine_module
from depth_ros.commands.build_engine import build_engine
from depth_ros.errors import BackendError, WeightsError
from depth_ros.families import load_family
from depth_ros.families.exported import FixedGraph, GraphEntry
from depth_ros.runtime import engine_cache, tensorrt_graph
from depth_ros.runtime import live as module
from depth_ros.runtime.live import LiveEngines, on_the_host
from depth_ros.runtime.probe import Compared
from depth_ros.runtime.tensorrt_graph import DeviceArray, Engine, TensorRtGraph
from depth_ros.settings import build
from test.families.tiny import settings_of, write
from test.runtime.fake_trt import HostMemory, plan_of, platform, running_sum, slow_build


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """Return a function that puts a fake GPU into this machine, with a cache of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

    def put(seconds=0.0, **changes):
        here = platform(HostMemory(), **changes)
        monkeypatch.setattr(engine_cache, 'find_platform', lambda kind='': here)
        monkeypatch.setattr(engine_module, 'find_platform', lambda kind='': here)
        monkeypatch.setattr(tensorrt_graph, 'find_platform', lambda kind='': here)
        monkeypatch.setattr(engine_cache, 'build_plan', slow_build(seconds))
        return here
    return put


def pictures(count, height=96, width=128, first=0):
    random = np.random.default_rng(0)
    texture = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    return [Frame(np.roll(texture, number, axis=1), number * 33_000_000) for number in range(first, first + count)]


def maps(stream, frames):
    return np.stack([depth.map for frame in frames for depth in stream.push(frame)])


def live(**values):
    """Return a live stream, its engines, and what was logged."""
    said = []
    stream, engines = pipeline.open_live(build({'threads': 1, **values}), said.append, said.append)
    engines.start()
    return stream, engines, said


def wait_for(stream, backend):
    deadline_s = time.monotonic() + 30
    while stream.info['backend'] != backend and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert stream.info['backend'] == backend, stream.info


def wait_until(there):
    deadline_s = time.monotonic() + 10
    while not there() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert there()


def test_the_state_goes_over_to_the_engine_and_back(gpu):
    here = gpu()
    wanted = maps(open_stream(threads=1, live=True, backend='onnx'), pictures(12))
    stream, engines, said = live()
    found = [maps(stream, pictures(3))]
    wait_for(stream, 'tensorrt')
    found.append(maps(stream, pictures(4, first=3)))
    assert isinstance(stream.state.memory, DeviceArray)
    here.trt.most = here.trt.runs    # from now on the engine fails
    found.append(maps(stream, pictures(5, first=7)))
    engines.stop()
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-5)
    assert (stream.info['backend'], stream.segment, stream.resets.total()) == ('onnx', 0, 0)
    assert said[0] == 'building TensorRT engines, onnx serves meanwhile' and said[1] == 'TensorRT takes over'
    assert said[2].startswith('onnx serves, not tensorrt: the GPU fails') and len(said) == 3


def test_pictures_of_another_size_get_an_engine_of_their_own(gpu):
    gpu()
    stream, engines, said = live()
    for height, width in ((96, 128), (96, 192)):
        frames = pictures(3, height, width, first=width)
        maps(stream, frames[:1])
        wait_for(stream, 'tensorrt')
        assert maps(stream, frames[1:]).shape == (2, height, width)
    assert 'the engine was built for rgb of shape (1, 3, 192, 256), not (1, 3, 192, 384)' in ' '.join(said)
    engines.stop()


def test_a_state_that_is_lost_with_the_gpu_costs_one_picture(gpu, monkeypatch):
    here = gpu()
    stream, engines, _ = live()
    maps(stream, pictures(1))
    wait_for(stream, 'tensorrt')
    maps(stream, pictures(2, first=1))
    here.trt.most = 0

    def lost(*_):
        raise RuntimeError('CUDA error: device is lost')
    monkeypatch.setattr(HostMemory, 'download', lost)
    with pytest.raises(BackendError, match='device is lost'):
        stream.push(pictures(1, first=3)[0])
    stream.reset()    # as the node does after a failure
    assert maps(stream, pictures(2, first=4)).shape == (2, 96, 128)
    engines.stop()


def test_an_engine_is_compared_on_what_its_family_feeds_it(gpu, monkeypatch):
    gpu()
    family, probes = load_family(build({})), []
    monkeypatch.setattr(engine_cache, 'compare', lambda graph, path, precision, given: probes.extend(given) or ({}, ''))
    assert list(engine_module.build_engines(family, (192, 256), lambda *_: None)) == ['step']
    first, second, _ = probes    # the third run, of a CUDA graph, is on one of them again
    assert not first['memory'].any() and second['memory'].any()
    assert first['rgb'].shape == (1, 3, 192, 256) and 0 <= first['rgb'].min() < first['rgb'].max() <= 1


@dataclass
class Family:
    infer: Callable


class Stream:
    """A stream whose graphs are functions of the state."""

    def __init__(self, backend='onnx'):
        self.family = Family(lambda graphs, clip, state: graphs['step'](state))
        self.graphs, self.info = {'step': lambda state: 'onnx'}, {'backend': backend, 'backend_note': ''}

    def window(self, h=4, w=6):
        return self.family.infer(self.graphs, SimpleNamespace(rgb=np.zeros((1, h, w, 3))), None)


class MadeEngine:
    """What a build returns."""

    note = ''

    def __call__(self, state):
        return 'tensorrt'


def fall_back():
    return {'step': lambda state: 'onnx'}, 'onnx'


def beside(stream, build):
    said = []
    return LiveEngines(stream, build, fall_back, said.append, said.append), said


@pytest.mark.parametrize('cancelled', [False, True])
def test_a_build_that_ends_late_changes_nothing_and_the_next_one_waits_for_it(monkeypatch, cancelled):
    monkeypatch.setattr(module, 'STOP_S', 0.01)
    stream, running, most, sizes, go = Stream(), [], [0], [], [threading.Event(), threading.Event()]

    def build(size, progress, cancel):
        number = len(sizes)
        sizes.append(size)
        running.append(number)
        most[0] = max(most[0], len(running))
        progress('Building engine', 0.5)
        go[number].wait(10)
        progress('Building engine', 0.75)
        running.remove(number)
        if cancelled and cancel.is_set():
            raise BackendError('the build was cancelled')
        return {'step': MadeEngine()}

    engines, said = beside(stream, build)
    assert stream.window() == 'onnx' and not sizes    # not before the node is active
    engines.start()
    assert stream.window() == 'onnx'
    wait_until(lambda: stream.info['backend_note'] == 'building 50 %: Building engine')
    first = engines.thread
    engines.stop()
    engines.start()
    assert [stream.window(8, 10) for _ in range(3)] == ['onnx'] * 3
    go[0].set()
    first.join()
    assert stream.info == {'backend': 'onnx', 'backend_note': ''} and stream.window(8, 10) == 'onnx'
    wait_until(lambda: len(sizes) == 2)
    go[1].set()
    engines.thread.join()
    assert stream.info == {'backend': 'tensorrt', 'backend_note': ''} and stream.window(8, 10) == 'tensorrt'
    assert sizes == [(4, 6), (8, 10)] and most == [1]
    assert said == ['building TensorRT engines, onnx serves meanwhile'] * 2 + ['TensorRT takes over']
    engines.stop()
    engines.start()
    assert stream.window(8, 10) == 'tensorrt' and len(sizes) == 2    # they are there


def test_after_the_end_of_a_build_is_asked_for_nothing_is_said_of_it():
    stream, told = Stream(), []

    def build(size, progress, cancel):
        assert cancel.wait(10)
        progress('Building engine', 0.5)
        told.append(stream.info['backend_note'])
        return {'step': MadeEngine()}

    engines, said = beside(stream, build)
    engines.start()
    stream.window()
    engines.stop()
    assert not engines.thread.is_alive() and told == [''] and not said and stream.window() == 'onnx'


def test_a_reason_is_warned_of_once():
    def build(size, progress, cancel):
        raise BackendError('there is no TensorRT')

    stream = Stream()
    engines, said = beside(stream, build)
    for _ in range(2):    # activated twice
        engines.start()
        stream.window()
        engines.thread.join()
        engines.stop()
    assert said == ['onnx serves, not tensorrt: there is no TensorRT']
    assert stream.info['backend_note'] == 'not tensorrt: there is no TensorRT'


def test_what_cannot_fall_back_now_may_later():
    stream, tries = Stream('tensorrt'), []

    def broken(state):
        raise BackendError('the GPU fails')

    def second_time():
        tries.append(1)
        if len(tries) == 1:
            raise WeightsError('there is no weights file')
        return fall_back()

    stream.graphs = {'step': broken}
    engines = LiveEngines(stream, lambda *_: {'step': MadeEngine()}, second_time, print, print)
    engines.start()
    with pytest.raises(WeightsError):
        stream.window()
    assert stream.window() == 'onnx' and stream.info['backend'] == 'onnx'
    assert stream.window() == 'onnx' and engines.thread.ident is None    # what has failed is not built again
    stream.graphs = {'step': broken}    # which are no engines
    with pytest.raises(BackendError):
        stream.window()


def test_the_memory_of_a_stream_is_free_once_it_is_dropped():
    gc.disable()    # it may come seconds later, and the next stream needs the memory now
    try:
        stream, engines, _ = live(backend='onnx')
        maps(stream, pictures(2))
        engines.stop()
        graph = weakref.ref(stream.graphs['step'])
        del stream, engines
        assert graph() is None
    finally:
        gc.enable()


def test_what_is_carried_comes_to_the_host_once_and_whole(tmp_path):
    memory = HostMemory()
    graph = TensorRtGraph(Engine(plan_of(running_sum(tmp_path / 'sum.onnx')), platform(memory)), ('keep',))
    zero = np.zeros((1, 4), np.float32)
    first, second = (graph.run({'image': zero + number, 'keep': zero})['keep_next'] for number in (1, 2))
    before = memory.downloads
    state = on_the_host({3: (first,) * 32, 4: second, 5: None})    # a live stream's first frame stands in for 31
    assert memory.downloads - before == 2 and len(state[3]) == 32 and state[5] is None
    assert [type(value) for value in (state[3][0], state[4])] == [np.ndarray] * 2
    assert state[3][31][0, 0] == 1 and state[4][0, 0] == 2


@pytest.mark.parametrize('off', [0, 1])
def test_an_engine_that_is_wrong_once_is_refused(off):
    """Whether in its first run or, from a CUDA graph, in the second."""
    one, runs = np.ones((1, 4), np.float32), []

    def run(inputs):
        runs.append(1)
        return {'depth': one * (1 + (len(runs) - 1 == off))}

    reference = SimpleNamespace(inputs={}, outputs={'depth': [1, 4]}, run=lambda inputs: {'depth': one})
    both = Compared(SimpleNamespace(run=run), reference)
    assert [both.run({})['depth'][0, 0] for _ in range(2)] == [1, 1]
    assert both.found == {'depth': {'rms': 1.0, 'max': 1.0}} and both.refusal('fp16').startswith('depth: rms 1, largest 1')


def described(arrays):
    return {name: {'shape': list(shape), 'dtype': 'float32'} for name, shape in arrays.items()}


def test_what_is_only_carried_is_not_fetched_from_the_gpu(tmp_path):
    memory = HostMemory()
    entry = GraphEntry('step', '', '', False, described({'image': (1, 4), 'keep': (1, 4)}),
                       described({'depth': (1, 4), 'keep_next': (1, 4)}), 0.0, ('keep_next',))
    engine = TensorRtGraph(Engine(plan_of(running_sum(tmp_path / 'sum.onnx')), platform(memory)), entry.resident)
    graph, keep = FixedGraph('step', {'step': entry}, {'step': engine}), np.zeros((1, 4), np.float32)
    for number in range(5):
        found = graph.run({'image': np.full((1, 4), number, np.float32), 'keep': keep})
        keep = found['keep_next']
    assert (memory.uploads, memory.downloads) == (5 + 1, 5)
    np.testing.assert_array_equal(keep, np.full((1, 4), 10))


@pytest.mark.slow
def test_an_exported_live_stream_keeps_its_past_on_the_gpu(gpu, tmp_path, capsys):
    pytest.importorskip('onnxscript', reason='onnxscript is not installed: pip install onnxscript')
    from depth_ros.commands.export import export

    family, values = 'video_depth_anything', settings_of('video_depth_anything')
    export(family, tmp_path / 'out', str(write(family, tmp_path / 'weights')),
           set=[f'{name}={value}' for name, value in values.items() if name != 'length'])
    here = gpu()
    given = {**{name: value for name, value in values.items() if name != 'length'}, 'family': family, 'threads': 1,
             'weights': str(tmp_path / 'out')}
    wanted = maps(open_stream(build({**given, 'backend': 'onnx'}), live=True), pictures(12))
    build_engine(tmp_path / 'out')
    assert 'head.onnx: ready' in capsys.readouterr().out
    stream, memory = open_stream(build({**given, 'backend': 'tensorrt'}), live=True), here.memory()
    before = memory.downloads
    found = maps(stream, pictures(12))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.std())
    assert memory.downloads - before == 12    # the maps


@pytest.mark.gpu
def test_on_a_real_gpu_the_engine_is_built_beside_the_stream_and_agrees(tmp_path, monkeypatch):
    try:
        tensorrt_graph.find_platform()
    except BackendError as error:
        pytest.skip(str(error))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    wanted = maps(open_stream(threads=1, live=True, backend='onnx'), pictures(8))
    streams = []
    for _ in range(2):    # the second finds the engine, on the GPU already
        stream, engines, said = live()
        found = [maps(stream, pictures(2))]
        deadline_s = time.monotonic() + 600
        while stream.info['backend'] != 'tensorrt' and time.monotonic() < deadline_s:
            time.sleep(0.1)
        found.append(maps(stream, pictures(6, first=2)))
        engines.stop()
        assert stream.info['backend'] == 'tensorrt', said
        assert np.abs(np.concatenate(found) - wanted).max() < 1e-2 * wanted.max()
        streams.append(stream)
    first, second = (stream.graphs['step'] for stream in streams)
    assert first is not second and first._opened is second._opened
    timed = list((tmp_path / 'depth_ros' / 'engines').glob('*.timing'))
    assert bool(timed) == (first._opened.platform.kind == 'full')
