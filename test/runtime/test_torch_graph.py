"""A torch network is run in the stated precision, and what it keeps for itself stays where it is."""

import os
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.errors import SettingsError  # noqa: E402
from depth_ros.runtime import cpu, torch_graph  # noqa: E402
from depth_ros.runtime.torch_graph import TorchGraph, choose, describe, free_bytes, set_threads  # noqa: E402

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='torch finds no CUDA GPU')


class Network(torch.nn.Module):
    """Says what it was given."""

    resident = ('keep',)

    def forward(self, x, number):
        self.given = x.dtype, number.dtype, torch.is_inference_mode_enabled()
        return {'map': 2 * x, 'keep': x, 'also': x, 'number': number}


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_floats_go_in_as_the_network_computes_and_come_out_in_float32_and_integers_stay_integers(dtype):
    network = Network()
    out = TorchGraph(network, 'cpu', dtype).run({'x': np.float32([1.5, 2]), 'number': np.array([7])})
    assert network.given == (dtype, torch.int64, True)
    assert out['map'].dtype == np.float32 and out['map'].tolist() == [3, 4]
    assert out['number'].dtype == np.int64 and isinstance(out['also'], np.ndarray)


def test_what_is_resident_stays_a_tensor_and_may_go_in_again():
    graph = TorchGraph(Network(), 'cpu', torch.bfloat16)
    out = graph.run({'x': np.float32([1.5, 2]), 'number': np.array([7])})
    assert isinstance(out['keep'], torch.Tensor) and out['keep'].dtype is torch.bfloat16
    assert graph.run({'x': out['keep'], 'number': np.array([7])})['map'].tolist() == [3, 4]


@pytest.mark.parametrize(('asked', 'half', 'dtype'), [
    ('auto', 'bf16', torch.float32), ('fp32', 'fp16', torch.float32), ('fp16', 'bf16', torch.float16),
    ('bf16', 'fp16', torch.bfloat16)])
def test_a_processor_computes_in_float32_unless_asked_otherwise(asked, half, dtype):
    assert choose('cpu', asked, half) == ('cpu', dtype)


def test_a_gpu_computes_in_the_half_precision_of_the_weights(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert choose('auto', 'auto', 'bf16') == ('cuda', torch.bfloat16)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert choose('auto', 'auto', 'bf16') == ('cpu', torch.float32)
    with pytest.raises(SettingsError, match='model.device'):
        choose('cuda', 'auto', 'bf16')


@pytest.mark.parametrize(('flags', 'dtype', 'said'), [
    ('fma avx512_bf16 sse', torch.float32, 'model.precision bf16 is faster'), ('fma avx512_bf16 sse', torch.bfloat16, ''),
    ('fma avx2', torch.bfloat16, 'fp32 is faster'), ('fma avx2', torch.float32, '')])
def test_bfloat16_is_recommended_where_the_processor_multiplies_in_it(tmp_path, monkeypatch, flags, dtype, said):
    (tmp_path / 'cpuinfo').write_text(f'processor : 0\nflags : {flags}\n')
    monkeypatch.setattr(cpu, 'CPUINFO', tmp_path / 'cpuinfo')
    words = describe('cpu', dtype)
    assert words.startswith(f'{dtype} on cpu') and words.endswith(said) and (said or words.endswith('on cpu'))
    assert describe('cuda', dtype) == f'{dtype} on cuda'


@pytest.mark.parametrize(('device', 'asked'), [('cpu', False), ('cuda', True)])
def test_a_gpu_is_asked_for_the_same_bits_every_time_and_others_are_left_alone(device, asked):
    with torch_graph.exactly(device):
        assert torch.backends.cudnn.deterministic == asked and not torch.backends.cudnn.benchmark
        assert torch.are_deterministic_algorithms_enabled() == asked
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic


def test_networks_of_several_threads_take_turns_on_a_gpu_and_leave_torch_as_it_was():
    """What torch is told is told to all its threads, and recordings would be of one stream."""
    inside, both, ready = [], [], threading.Event()

    def run(number):
        with torch_graph.exactly('cuda'):
            inside.append(number)
            both.append(len(inside))
            ready.set()
            assert torch.are_deterministic_algorithms_enabled()
            time.sleep(0.05 if number else 0.1)
            assert torch.are_deterministic_algorithms_enabled()
            inside.remove(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    threads[0].start()
    ready.wait()
    threads[1].start()
    for thread in threads:
        thread.join()
    assert both == [1, 1]
    assert not torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.deterministic


def test_memory_that_is_not_enough_is_said_in_one_sentence_and_other_errors_stay_what_they_are():
    class Large(torch.nn.Module):
        def forward(self, elements):
            return {'zeros': torch.zeros(int(elements))}

    graph = TorchGraph(Large(), 'cpu', torch.float32)
    with pytest.raises(SettingsError, match='the memory of cpu is not enough for this; set length'):
        graph.run({'elements': np.array(1 << 55)})
    with pytest.raises(RuntimeError, match='negative'):
        graph.run({'elements': np.array(-1)})


def test_free_memory_is_no_more_than_there_is():
    assert 1e6 < free_bytes('cpu') <= os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def test_one_core_is_left_to_others_unless_a_number_is_given():
    before = torch.get_num_threads()
    try:
        set_threads(3)
        assert torch.get_num_threads() == 3
        set_threads(0)
        assert torch.get_num_threads() == max(1, os.cpu_count() - 1)
    finally:
        torch.set_num_threads(before)


class Carrying(torch.nn.Module):
    """A picture in, its filtered form out, and a sum carried along on the device."""

    resident = ('keep',)

    def __init__(self):
        super().__init__()
        self.filter = torch.nn.Conv2d(3, 8, 3)

    def forward(self, rgb, keep):
        return {'map': self.filter(rgb).relu(), 'keep': keep + rgb.mean()}


@pytest.mark.parametrize('fails', [False, True])
def test_runs_of_one_shape_are_recorded_once_and_replayed_on_what_they_are_given(monkeypatch, fails):
    """On the CPU: a recording that computes again when it is replayed, as a GPU does, into the same memory."""
    graph, recorded = TorchGraph(Carrying(), 'cpu', torch.float32), []

    class Recording:
        def replay(self):
            capture, = (capture for capture in graph.captures.values() if capture and capture.graph is self)
            for name, value in graph.module(**capture.inputs).items():
                capture.outputs[name].copy_(value)

    @contextmanager
    def record(recording, capture_error_mode='global'):
        assert capture_error_mode == 'thread_local'    # or what other threads allocate meanwhile would be refused
        recorded.append(recording)
        if fails:
            raise RuntimeError('operation not permitted when stream is capturing')
        yield

    monkeypatch.setattr(torch.cuda, 'CUDAGraph', Recording)
    monkeypatch.setattr(torch.cuda, 'graph', record)
    random, kept, given = torch.Generator().manual_seed(0), [], []
    with torch.inference_mode():
        for side in (16, 24, 16, 24, 16, 16):
            inputs = {'rgb': torch.rand(1, 3, side, side, generator=random), 'keep': torch.full((1,), side)}
            wanted, found = graph.module(**inputs), graph._replay(inputs)
            kept.append((wanted['keep'], found['keep']))
            given.append((inputs['rgb'], inputs['rgb'].clone()))
            assert torch.equal(found['map'], wanted['map'])
    assert all(torch.equal(rgb, before) for rgb, before in given)    # a replay reads memory of its own
    assert (len(graph.captures), graph.room) == ((0, 0) if fails else (2, torch_graph.MOST_CUDA_GRAPHS - 2))
    assert all(torch.equal(wanted, found) for wanted, found in kept)    # what is carried is not written over by later runs
    assert len(recorded) == 2


def test_as_many_runs_are_recorded_as_there_is_room_for_and_number_formats_are_told_apart(monkeypatch):
    graph, tried = TorchGraph(Carrying(), 'cpu', torch.float32), []
    monkeypatch.setattr(graph, '_capture', lambda key, inputs: tried.append(inputs['rgb'].shape[2]))
    for side in (16, 17, 18, 19, 20, 20, 16):
        graph._replay({'rgb': torch.zeros(1, 3, side, side), 'keep': torch.zeros(1)})
    graph._replay({'rgb': torch.zeros(1, 3, 16, 16), 'keep': torch.zeros(1, dtype=torch.int64)})
    assert tried == [16] and len(graph.captures) == torch_graph.MOST_CUDA_GRAPHS == 4


@pytest.mark.gpu
@needs_gpu
def test_a_recorded_run_says_what_the_kernels_say_one_by_one_whatever_it_is_shown():
    random = np.random.default_rng(0)
    graph, keep, plain = TorchGraph(Carrying().cuda(), 'cuda', torch.float32), np.zeros(1, np.float32), 0.0
    for number in range(5):
        rgb = random.random((1, 3, 16, 16), np.float32)
        with torch.inference_mode():
            wanted = graph.module.filter(torch.as_tensor(rgb).cuda()).relu().cpu().numpy()
        out = graph.run({'rgb': rgb, 'keep': keep})
        keep, plain = out['keep'], plain + rgb.mean()
        np.testing.assert_array_equal(out['map'], wanted)
        assert abs(float(keep) - plain) < 1e-5
        assert [type(capture) for capture in graph.captures.values()] == [
            type(None) if number < 1 else torch_graph.Capture]


@pytest.mark.gpu
@needs_gpu
def test_a_run_that_the_cpu_takes_part_in_is_not_recorded_and_still_right():
    class Looking(torch.nn.Module):
        def forward(self, x):
            return {'map': x * float(x.sum())}

    graph = TorchGraph(Looking(), 'cuda', torch.float32)
    for _ in range(4):
        assert graph.run({'x': np.float32([1, 2])})['map'].tolist() == [3, 6]
    assert not any(graph.captures.values())
