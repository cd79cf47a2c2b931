"""What is taken from the CUDA runtime is given back."""

import gc
import sys
from types import SimpleNamespace

import pytest

from depth_ros.errors import BackendError
from depth_ros.runtime.cuda import CudaMemory

OK = SimpleNamespace(name='cudaSuccess')


@pytest.fixture
def calls(monkeypatch):
    """Return the names of what is called of a CUDA runtime that answers 7 to everything."""
    calls = []

    class Runtime:
        cudaError_t = SimpleNamespace(cudaSuccess=OK)    # noqa: N815  the names are CUDA's
        cudaStreamNonBlocking = 1                        # noqa: N815
        cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)    # noqa: N815

        def __getattr__(self, name):
            return lambda *_: (calls.append(name), (OK, 7))[1]

    monkeypatch.setitem(sys.modules, 'cuda.bindings.runtime', Runtime())
    return calls


def test_memory_and_recorded_graphs_go_with_their_last_user(calls):
    memory = CudaMemory()
    block, replay = memory.empty(4), memory.capture(lambda: None)
    replay()
    assert calls[-1] == 'cudaGraphLaunch'
    del block, replay
    gc.collect()
    assert {'cudaFree', 'cudaGraphDestroy', 'cudaGraphExecDestroy'} <= set(calls)


def test_a_recording_that_fails_is_ended(calls):
    def work():
        raise BackendError('no')

    with pytest.raises(BackendError, match='no'):
        CudaMemory().capture(work)
    assert calls[-1] == 'cudaStreamEndCapture'
