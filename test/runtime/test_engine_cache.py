"""An engine is built once, checked before it is opened, compared before it is used, and given up with a reason."""

import errno
import gc
import json
import multiprocessing
import os
import resource
import signal
import stat
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from depth_ros.errors import BackendError
from depth_ros.runtime import cuda, engine_cache
from depth_ros.runtime.build import BuildOptions
from depth_ros.runtime.engine_cache import EngineCache, key_of, key_parts, network_sha256, open_engine
from depth_ros.runtime.tensorrt_graph import Engine, find_platform
from test.runtime.fake_trt import convolutions, plan_of, platform, running_sum

SPAWN = multiprocessing.get_context('spawn')


@pytest.fixture
def built(monkeypatch):
    """Count builds; what is built is the fake's plan."""
    built = []

    def build(path, *_):
        built.append(path.name)
        return plan_of(path), {'precision': 'fp32', 'build_s': 1.0}
    monkeypatch.setattr(engine_cache, 'build_plan', build)
    return built


@pytest.fixture
def network(tmp_path):
    return convolutions(tmp_path / 'net.onnx')


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / 'engines')


def files(cache, pattern):
    return sorted(path.name[64:] for path in cache.folder.glob(pattern))


def test_an_engine_is_built_once_and_then_found(network, cache, built):
    for _ in range(2):
        graph = open_engine(network, cache=cache, platform=platform())
        assert graph.run({'image': np.ones((1, 3, 16, 24), np.float32)})['depth'].shape == (1, 8, 16, 24)
        assert graph.note == ''
    assert built == ['net.onnx'] and files(cache, '*.*') == ['.json', '.plan']
    record = json.loads(next(cache.folder.glob('*.json')).read_text())
    assert record['gpu']['name'] == 'Fake GPU' and record['tensorrt'] == '1.7.1.116'
    assert record['parity']['depth']['rms'] < 1e-5


def test_graphs_of_one_process_share_an_engine_and_nothing_else(tmp_path, cache, built):
    path, here = running_sum(tmp_path / 'sum.onnx'), platform()
    graphs = [open_engine(path, cache=cache, platform=here, resident=('keep',)) for _ in range(2)]
    keeps, one = [np.zeros((1, 4), np.float32)] * 2, np.ones((1, 4), np.float32)
    for _ in range(3):
        for number, graph in enumerate(graphs):
            keeps[number] = graph.run({'image': (number + 1) * one, 'keep': keeps[number]})['keep_next']
    assert [float(np.asarray(keep)[0, 0]) for keep in keeps] == [3, 6] and here.trt.opened == 1
    del graphs, graph, keeps
    gc.collect()
    open_engine(path, cache=cache, platform=here)
    assert here.trt.opened == 2    # it went with its last user


def test_threads_that_open_an_engine_at_once_share_it(network, cache, built, monkeypatch):
    here, found = platform(), []
    open_engine(network, cache=cache, platform=here)
    gc.collect()

    def slow(*given):
        time.sleep(0.2)
        return Engine(*given)

    monkeypatch.setattr(engine_cache, 'Engine', slow)
    threads = [threading.Thread(target=lambda: found.append(open_engine(network, cache=cache, platform=here)))
               for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert here.trt.opened == 1 + 1 and len(found) == 2


def test_without_a_way_to_the_memory_of_the_gpu_nothing_is_built(network, cache, built, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cuda.bindings.runtime', None)
    monkeypatch.setattr(cuda.importlib.util, 'find_spec', lambda name: None)    # nor torch
    with pytest.raises(BackendError, match='cuda.bindings.runtime is needed here; install it with: pip install'):
        open_engine(network, cache=cache, platform=replace(platform(), memory=cuda.open_memory))
    assert not built


def test_without_leave_to_build_the_command_that_does_is_named(network, cache, built):
    with pytest.raises(BackendError, match='no TensorRT engine of net.onnx for Fake GPU yet; depth_ros build-engine'):
        open_engine(network, cache=cache, platform=platform(), build=False)
    assert not built


def test_everything_that_changes_an_engine_changes_its_key(tmp_path, network):
    here, keys = platform(), set()
    for where in (here, replace(here, version='1.7.2.1'), replace(here, kind='full'), replace(here, capability='SM89'),
                  *(replace(here, gpu=replace(here.gpu, **change)) for change in (
                      {'name': 'Other'}, {'capability': (8, 9)}, {'memory_gb': 12}, {'processors': 60}))):
        keys.add(key_of(key_parts(network, where, BuildOptions())))
    for options in (BuildOptions(tf32=True), BuildOptions(level=5), BuildOptions(shapes={'image': (1, 3, 8, 8)})):
        keys.add(key_of(key_parts(network, here, options)))
    keys.add(key_of(key_parts(convolutions(tmp_path / 'b.onnx', seed=1), here, BuildOptions())))
    assert len(keys) == 12
    assert key_of(key_parts(network, here, BuildOptions())) in keys


def test_a_change_in_the_external_data_is_seen_and_its_folder_is_not(tmp_path, network):
    found = []
    for folder, change in (('a', 0), ('b', 0), ('c', 1)):
        (tmp_path / folder).mkdir()
        onnx.save(onnx.load(network), tmp_path / folder / 'net.onnx', save_as_external_data=True, location='net.onnx.data',
                  size_threshold=0)
        data = bytearray((tmp_path / folder / 'net.onnx.data').read_bytes())
        data[100] ^= change
        (tmp_path / folder / 'net.onnx.data').write_bytes(data)
        found.append(network_sha256(tmp_path / folder / 'net.onnx'))
    assert found[0] == found[1] != found[2]
    (tmp_path / 'a' / 'net.onnx.data').unlink()
    with pytest.raises(BackendError, match='net.onnx.data cannot be read'):
        network_sha256(tmp_path / 'a' / 'net.onnx')


def truncate(plan, record):
    plan.write_bytes(plan.read_bytes()[:1000])


def flip(plan, record):
    content = bytearray(plan.read_bytes())
    content[500] ^= 1
    plan.write_bytes(content)


def other_version(plan, record):
    import hashlib
    content = bytearray(plan.read_bytes())
    content[24] = 9
    plan.write_bytes(content)
    record.write_text(json.dumps({**json.loads(record.read_text()), 'plan_sha256': hashlib.sha256(content).hexdigest()}))


def half_a_record(plan, record):
    record.write_text(record.read_text()[:50])


@pytest.mark.parametrize(('damage', 'word'), [(truncate, 'has 1000 bytes instead of'), (flip, 'sha256 differs'),
                                              (other_version, 'another kind or version'), (half_a_record, 'cannot be read')])
def test_a_damaged_engine_is_put_aside_and_built_again_once(network, cache, built, damage, word):
    open_engine(network, cache=cache, platform=platform())
    damage(next(cache.folder.glob('*.plan')), next(cache.folder.glob('*.json')))
    graph = open_engine(network, cache=cache, platform=platform())
    assert word in graph.note and 'built again' in graph.note and len(built) == 2
    assert files(cache, '*.bad') == ['.json.bad', '.plan.bad']
    assert open_engine(network, cache=cache, platform=platform()).note == '' and len(built) == 2


def test_an_engine_that_tensorrt_refuses_is_built_again_once_and_then_given_up(network, cache, built):
    open_engine(network, cache=cache, platform=platform())
    with pytest.raises(BackendError, match='refuses the engine: the header is of another version'):
        open_engine(network, cache=cache, platform=platform(refuses=True))
    assert len(built) == 2


def test_a_gpu_without_memory_is_no_reason_to_build_again(network, cache, built):
    open_engine(network, cache=cache, platform=platform())
    with pytest.raises(BackendError, match='100 MB free and 900 MB more'):
        open_engine(network, cache=cache, platform=platform(full=True))
    assert len(built) == 1 and files(cache, '*.plan') == ['.plan']


@pytest.mark.parametrize('factor', [1.05, -1.0, float('nan')])
def test_an_engine_that_computes_something_else_is_refused_also_next_time(network, cache, built, factor):
    with pytest.raises(BackendError, match='computes something else than ONNX Runtime'):
        open_engine(network, cache=cache, platform=platform(factor=factor))
    with pytest.raises(BackendError, match='build-engine --force tries again'):
        open_engine(network, cache=cache, platform=platform())
    assert len(built) == 1 and not files(cache, '*.plan')
    assert open_engine(network, cache=cache, platform=platform(), force=True).note == '' and len(built) == 2


def test_a_state_that_stays_on_the_gpu_is_compared_as_well(tmp_path, cache, built):
    open_engine(running_sum(tmp_path / 'sum.onnx'), cache=cache, platform=platform(), resident=('keep',))
    assert set(json.loads(next(cache.folder.glob('*.json')).read_text())['parity']) == {'depth', 'keep_next'}


@pytest.mark.parametrize('limit', [errno.ENOSPC, 'a limit of the file size'])
def test_with_a_full_disk_the_engine_runs_from_memory(network, cache, built, monkeypatch, limit):
    if limit == errno.ENOSPC:
        def full(_):
            raise OSError(errno.ENOSPC, 'No space left on device')
        monkeypatch.setattr(engine_cache.os, 'fsync', full)
        graph = open_engine(network, cache=cache, platform=platform())
    else:
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        try:
            graph = open_engine(network, cache=cache, platform=platform())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
    assert 'could not be kept' in graph.note
    assert graph.run({'image': np.ones((1, 3, 16, 24), np.float32)})['depth'].shape == (1, 8, 16, 24)
    assert [path.name for path in cache.folder.iterdir()] == ['lock']


def test_a_disk_without_room_is_told_before_the_build(tmp_path, network, cache, built, monkeypatch):
    monkeypatch.setattr(engine_cache.shutil, 'disk_usage', lambda _: SimpleNamespace(free=3 << 20))
    open_engine(network, cache=cache, platform=platform())
    monkeypatch.setattr(engine_cache.shutil, 'disk_usage', lambda _: SimpleNamespace(free=3000))
    with pytest.raises(BackendError, match='has 0 MB free and an engine takes about 0 MB; make room'):
        open_engine(network, cache=cache, platform=platform(), force=True)
    assert len(built) == 1


def test_timings_are_kept_by_tensorrt_and_gpu_and_not_for_rtx(network, cache, monkeypatch):
    given = []

    def build(path, platform, options, progress, cancel, timing):
        given.append(timing)
        raise BackendError('enough')
    monkeypatch.setattr(engine_cache, 'build_plan', build)
    here = platform()
    for where in (here, replace(here, kind='full'), replace(here, kind='full', version='10.3.0'),
                  replace(here, kind='full', gpu=replace(here.gpu, name='Other'))):
        with pytest.raises(BackendError, match='enough'):
            open_engine(network, cache=cache, platform=where)
    assert given[0] is None and len(set(given)) == 4 and {path.parent for path in given[1:]} == {cache.folder}


def test_what_was_used_longest_ago_goes_first(tmp_path, built):
    networks = [convolutions(tmp_path / f'{i}.onnx', seed=i) for i in range(3)]
    cache = EngineCache(tmp_path / 'engines', limit_bytes=int(2.5 * len(plan_of(networks[0]))))
    for path in networks[:2]:
        open_engine(path, cache=cache, platform=platform())
        time.sleep(0.02)
    for path in (networks[0], networks[2]):    # the first is used again
        open_engine(path, cache=cache, platform=platform())
        time.sleep(0.02)
    built.clear()
    for path in (networks[0], networks[2], networks[1]):
        open_engine(path, cache=cache, platform=platform())
    assert built == ['1.onnx']


def test_the_folder_is_the_users_alone(tmp_path, network, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    folder = EngineCache().folder
    assert folder == tmp_path / 'xdg' / 'depth_ros' / 'engines' and stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o777)
    with pytest.raises(BackendError, match='can be written by others'):
        EngineCache()
    (tmp_path / 'file').touch()
    with pytest.raises(BackendError, match='cannot be made'):
        EngineCache(tmp_path / 'file' / 'engines')


def test_a_plan_of_somebody_else_and_a_link_are_not_opened(network, cache, built, monkeypatch):
    open_engine(network, cache=cache, platform=platform())
    plan = next(cache.folder.glob('*.plan'))
    with monkeypatch.context() as patch:
        patch.setattr(engine_cache.os, 'getuid', lambda: 12345)
        with pytest.raises(BackendError, match='belongs to somebody else'):
            open_engine(network, cache=cache, platform=platform())
    other = cache.folder / 'other'
    plan.rename(other)
    plan.symlink_to(other)
    assert 'cannot be read' in open_engine(network, cache=cache, platform=platform()).note


def test_a_real_build_is_stored_and_found(network, cache):
    pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed: pip install tensorrt-rtx')
    told = []
    for _ in range(2):
        open_engine(network, cache=cache, platform=platform(onnx=network), progress=lambda *news: told.append(news))
    assert told[-1][0] == 'comparing with ONNX Runtime' and [what for what, _ in told].count(told[-1][0]) == 1
    assert json.loads(next(cache.folder.glob('*.json')).read_text())['plan_version'] == [1, 7, 1, 116]


# ---- several processes ----

def slow_build(network, folder, log, seconds):
    """Open an engine whose build takes `seconds`, and write a line to `log` for every build."""
    def build(path, *_):
        with open(log, 'a') as file:
            file.write(f'{os.getpid()}\n')
        time.sleep(seconds)
        return plan_of(path), {'precision': 'fp32'}
    engine_cache.build_plan = build
    open_engine(network, cache=EngineCache(folder), platform=platform())


def test_of_several_processes_one_builds_and_the_others_wait(tmp_path, network):
    log, folder = tmp_path / 'log', tmp_path / 'engines'
    processes = [SPAWN.Process(target=slow_build, args=(network, folder, log, 0.5)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(50)
    assert [process.exitcode for process in processes] == [0] * 4 and len(log.read_text().splitlines()) == 1


def test_after_a_builder_was_killed_the_next_one_builds_at_once(tmp_path, network, cache, built):
    log = tmp_path / 'log'
    process = SPAWN.Process(target=slow_build, args=(network, cache.folder, log, 60))
    process.start()
    while not log.exists() and process.is_alive():
        time.sleep(0.02)
    cancelled = multiprocessing.Event()
    cancelled.set()
    with pytest.raises(BackendError, match='cancelled'):    # it is locked
        open_engine(network, cache=cache, platform=platform(), cancel=cancelled)
    (cache.folder / 'half.plan.tmp').write_bytes(b'what a dying process leaves')
    process.kill()
    process.join()
    begun = time.monotonic()
    open_engine(network, cache=cache, platform=platform())
    assert time.monotonic() - begun < 2 and built == ['net.onnx'] and not files(cache, '*.tmp')


# ---- with a GPU ----

@pytest.mark.gpu
@pytest.mark.parametrize('kind', [np.float32, np.float16])
def test_a_real_engine_agrees_with_onnx_runtime(tmp_path, cache, kind):
    try:
        here = find_platform()
    except BackendError as error:
        pytest.skip(str(error))
    path = convolutions(tmp_path / 'net.onnx', kind=kind)
    for _ in range(2):
        graph = open_engine(path, cache=cache, platform=here)
        found, refusal = engine_cache.compare(graph, path, 'fp16' if kind == np.float16 else 'fp32')
        assert not refusal, found


@pytest.mark.gpu
@pytest.mark.parametrize('memory', ['TorchMemory', 'CudaMemory'])
def test_a_real_engine_carries_its_state(tmp_path, cache, memory):
    try:
        here = replace(find_platform(), memory=getattr(cuda, memory))
        graph = open_engine(running_sum(tmp_path / 'sum.onnx'), cache=cache, platform=here, resident=('keep',))
    except BackendError as error:
        pytest.skip(str(error))
    keep = np.zeros((1, 4), np.float32)
    for number in range(20):
        keep = graph.run({'image': np.full((1, 4), number, np.float32), 'keep': keep})['keep_next']
    np.testing.assert_allclose(np.asarray(keep), 190)
