"""A graph run by torch: a module whose `forward` takes named tensors and returns a dictionary of them."""

import inspect
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from depth_ros.errors import SettingsError, need
from depth_ros.runtime import cpu

NO_MEMORY = ("can't allocate memory", 'not enough memory')    # of a CPU torch says it in words only: Linux, Windows
REMEDY = "pip install 'depth_ros[families]'"
MOST_CUDA_GRAPHS = 4    # of one network: each holds the memory of its run
ON_A_GPU = threading.Lock()    # one run at a time: what torch is told holds for all threads, and they share its streams


def choose(device: str, precision: str, half: str) -> tuple[str, Any]:
    """Return (device, torch dtype) for the settings `model.device` and `model.precision`; auto takes `half` on a GPU.

    Raises SettingsError where CUDA is asked for and not there, MissingDependency without torch.
    """
    torch = need('torch', REMEDY)
    if device == 'cuda' and not torch.cuda.is_available():
        raise SettingsError('model.device=cuda, but torch finds no CUDA GPU; set model.device to auto or cpu')
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if precision == 'auto':
        precision = 'fp32' if device == 'cpu' else half
    return device, {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}[precision]


def describe(device: str, dtype: Any) -> str:
    """Return in words where a network runs, and whether bfloat16 would be worth its lost digits on this CPU."""
    words = f'{dtype} on {device}'
    has = cpu.bf16_units() if device == 'cpu' else []
    if has and 'float32' in words:
        return f'{words}; it multiplies in bfloat16 ({", ".join(has)}): model.precision bf16 is faster'
    return f'{words}, which this CPU only imitates: fp32 is faster' if 'bfloat16 on cpu' in words and not has else words


def free_bytes(device: str) -> float:
    """Return the memory that a network may still take on `device`; infinity where the system does not say."""
    if device == 'cuda':
        return float(need('torch', REMEDY).cuda.mem_get_info()[0])
    return cpu.free_bytes()


def set_threads(threads: int) -> None:
    """Let torch use `threads` cores; 0: all but one."""
    need('torch', REMEDY).set_num_threads(cpu.cores(threads))


@contextmanager
def enough_memory(device: str) -> Iterator[None]:
    """Turn what torch raises where the memory of `device` is not enough into one sentence with the remedy."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        of_a_gpu = need('torch', REMEDY).OutOfMemoryError
        if not isinstance(error, MemoryError | of_a_gpu) and not any(words in str(error) for words in NO_MEMORY):
            raise
        raise SettingsError(f'the memory of {device} is not enough for this; set length or model.short_side_px lower, '
                            'or model.precision to bf16') from error


@contextmanager
def exactly(device: str) -> Iterator[None]:
    """Let torch take the algorithms that give the same bits every time; where there are none on a GPU it warns."""
    if device == 'cpu':    # it knows no others
        yield
        return
    torch = need('torch', REMEDY)
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')    # read when the first product is made
    with ON_A_GPU, torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False):
        before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


class Capture(NamedTuple):
    """A run recorded on the GPU, with the tensors that it reads and writes."""

    graph: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]


class TorchGraph:
    """Runs one module deterministically; arrays go in and come out as float32 or integers, whatever it computes in.

    What a module names in `resident` (beginnings of output names) stays on the device as it is: the family carries it
    from run to run without looking into it. On a GPU, the second run with inputs of the same shapes is recorded as a CUDA
    graph, which later ones replay: the CPU launches one graph instead of hundreds of kernels.
    """

    def __init__(self, module: Any, device: str, dtype: Any) -> None:
        torch = need('torch', REMEDY)
        self.module = module
        self.inputs: dict[str, list[Any]] = {name: [] for name in inspect.signature(module.forward).parameters}
        self.resident: tuple[str, ...] = getattr(module, 'resident', ())
        self.device = device
        self.dtype = dtype
        self.captures: dict[Any, Capture | None] = {}    # by what goes in; None: seen once
        self.room = MOST_CUDA_GRAPHS                     # for so many more
        if device == 'cuda' and dtype != torch.float32:    # the layout that tensor cores read
            for part in module.modules():
                if isinstance(part, torch.nn.Conv2d):
                    part.to(memory_format=torch.channels_last)

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return every output by name. Raises SettingsError where the memory is not enough."""
        torch = need('torch', REMEDY)
        with enough_memory(self.device), torch.inference_mode(), exactly(self.device):
            placed = {name: self._placed(torch.as_tensor(value)) for name, value in inputs.items()}
            outputs = self._replay(placed) if self.device == 'cuda' else self.module(**placed)
            return {name: value if name.startswith(self.resident) else _array(value) for name, value in outputs.items()}

    def _placed(self, tensor: Any) -> Any:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)

    def _replay(self, inputs: dict[str, Any]) -> dict[str, Any]:
        key = tuple((name, tuple(tensor.shape), tensor.dtype) for name, tensor in inputs.items())
        if key in self.captures:
            if capture := self.captures[key] or self._capture(key, inputs):
                for name, tensor in inputs.items():
                    capture.inputs[name].copy_(tensor)
                capture.graph.replay()
                return {name: value.clone() if name.startswith(self.resident) else value
                        for name, value in capture.outputs.items()}
        elif self.room:    # this run tunes and allocates
            self.captures[key], self.room = None, self.room - 1
        outputs: dict[str, Any] = self.module(**inputs)
        return outputs

    def _capture(self, key: Any, inputs: dict[str, Any]) -> Capture | None:
        """Return the run recorded, or None where it cannot be: the CPU takes part in it, or the memory is not enough."""
        torch = need('torch', REMEDY)
        own, graph = {name: tensor.clone() for name, tensor in inputs.items()}, torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, capture_error_mode='thread_local'):    # others may allocate meanwhile
                outputs = self.module(**own)
        except RuntimeError:
            del self.captures[key]
            self.room = 0
            return None
        self.captures[key] = capture = Capture(graph, own, outputs)
        return capture


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = (tensor.float() if tensor.is_floating_point() else tensor).cpu().numpy()
    return array
