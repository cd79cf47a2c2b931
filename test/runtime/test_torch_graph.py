"""A torch network is run in the stated precision, and what it keeps for itself stays where it is."""

import os

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.errors import SettingsError  # noqa: E402
from depth_ros.runtime.torch_graph import TorchGraph, choose, free_bytes, set_threads  # noqa: E402


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
