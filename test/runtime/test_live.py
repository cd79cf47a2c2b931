"""A stream changes to its engines and back between two frames, and what it carries goes on, on the GPU where it can."""

import time

import numpy as np
import pytest

from depth_ros import Frame, open_stream, pipeline
from depth_ros.commands.build_engine import build_engine
from depth_ros.errors import BackendError
from depth_ros.families import load_family
from depth_ros.families.exported import FixedGraph, GraphEntry
from depth_ros.runtime import engine_cache, tensorrt_graph
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
        monkeypatch.setattr(pipeline, 'find_platform', lambda kind='': here)
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
    assert list(pipeline.build_engines(family, (192, 256), lambda *_: None)) == ['step']
    first, second, _ = probes    # the third run, of a CUDA graph, is on one of them again
    assert not first['memory'].any() and second['memory'].any()
    assert first['rgb'].shape == (1, 3, 192, 256) and 0 <= first['rgb'].min() < first['rgb'].max() <= 1


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
