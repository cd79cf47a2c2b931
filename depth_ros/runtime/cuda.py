"""The GPU as the driver describes it, and memory on it: through torch where it is installed, else through cuda-python.

Both kinds of memory have the same methods, on one stream: `empty` device bytes, page-locked host arrays, copies in order
of the stream, `wait`, and `capture` of work into a CUDA graph.
"""

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from depth_ros.errors import BackendError, MissingDependency, need

CAPABILITY_MAJOR, CAPABILITY_MINOR, PROCESSORS = 75, 76, 16    # CUdevice_attribute
NO_DEVICE = 100                                               # CUDA_ERROR_NO_DEVICE


@dataclass(frozen=True)
class Gpu:
    """The first GPU; what of it an engine depends on."""

    name: str
    capability: tuple[int, int]
    processors: int
    memory_gb: int    # rounded: boards of one kind differ by a few megabytes
    driver: str       # the newest CUDA that the driver can serve, e.g. 13.0


def find_gpu() -> Gpu:
    """Return the first GPU, asked of the driver alone: TensorRT crashes in some versions where there is none.

    Raises BackendError if there is no driver, or none that works.
    """
    try:
        cuda = ctypes.CDLL('libcuda.so.1')
    except OSError as error:
        raise BackendError('there is no NVIDIA driver here (libcuda.so.1 cannot be loaded); TensorRT needs one, '
                           'backend onnx does not') from error
    number, device, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    if code := cuda.cuInit(0):
        raise BackendError('the NVIDIA driver finds no GPU; nvidia-smi says more' if code == NO_DEVICE else
                           f'the NVIDIA driver does not start (cuInit: error {code}); nvidia-smi says more')
    cuda.cuDriverGetVersion(ctypes.byref(number))
    driver = f'{number.value // 1000}.{number.value % 1000 // 10}'
    cuda.cuDeviceGetCount(ctypes.byref(number))
    if number.value < 1:
        raise BackendError('the NVIDIA driver finds no GPU; nvidia-smi says more')
    cuda.cuDeviceGet(ctypes.byref(device), 0)
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which: int) -> int:
        cuda.cuDeviceGetAttribute(ctypes.byref(number), which, device)
        return number.value

    return Gpu(name.value.decode(errors='replace'), (attribute(CAPABILITY_MAJOR), attribute(CAPABILITY_MINOR)),
               attribute(PROCESSORS), round(memory.value / 2 ** 30), driver)


def open_memory() -> 'TorchMemory | CudaMemory':
    """Return torch's memory if torch is installed and has CUDA, else cuda-python's."""
    if importlib.util.find_spec('torch') and need('torch', 'pip install torch').cuda.is_available():
        return TorchMemory()
    return CudaMemory()


class TorchMemory:
    """Memory of torch's allocator: shared with its networks, freed when the last tensor is dropped."""

    def __init__(self) -> None:
        self._torch = need('torch', 'pip install torch')
        self._stream = self._torch.cuda.Stream()    # the default stream would wait for everything else
        self.stream: int = self._stream.cuda_stream

    def empty(self, size: int) -> Any:
        """Return `size` bytes on the GPU; keep the result for as long as they are used."""
        try:
            return self._torch.empty(max(size, 1), dtype=self._torch.uint8, device='cuda')
        except self._torch.cuda.OutOfMemoryError as error:
            raise no_memory(size, self.free_bytes()) from error

    def pointer(self, block: Any) -> int:
        """Return the address of what `empty` gave."""
        return int(block.data_ptr())

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a page-locked host array."""
        size = int(np.prod(shape)) * dtype.itemsize
        block = self._torch.empty(size, dtype=self._torch.uint8, pin_memory=True)
        array: np.ndarray = block.numpy().view(dtype).reshape(shape)
        return array

    def upload(self, block: Any, array: np.ndarray) -> None:
        """Copy a page-locked array to the GPU, in order of the stream."""
        with self._torch.cuda.stream(self._stream):
            block[:array.nbytes].copy_(self._bytes(array), non_blocking=True)

    def download(self, array: np.ndarray, block: Any) -> None:
        """Copy from the GPU into a page-locked array, in order of the stream."""
        with self._torch.cuda.stream(self._stream):
            self._bytes(array).copy_(block[:array.nbytes], non_blocking=True)

    def _bytes(self, array: np.ndarray) -> Any:
        return self._torch.from_numpy(array.reshape(-1).view(np.uint8))

    def wait(self) -> None:
        """Wait until the stream is empty."""
        self._stream.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the `work` that is put on the stream, as one CUDA graph."""
        graph = self._torch.cuda.CUDAGraph()
        with self._torch.cuda.graph(graph, stream=self._stream, capture_error_mode='thread_local'):
            work()

        def replay() -> None:
            with self._torch.cuda.stream(self._stream):
                graph.replay()
        return replay

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        return int(self._torch.cuda.mem_get_info()[0])


class CudaMemory:
    """Memory of the CUDA runtime itself."""

    def __init__(self) -> None:
        try:
            self._cuda = need('cuda.bindings.runtime', "pip install cuda-bindings (the major version of the driver's CUDA)")
        except MissingDependency as error:    # the next backend can do without
            raise BackendError(str(error)) from error
        self._stream = self._call('cudaStreamCreateWithFlags', self._cuda.cudaStreamNonBlocking)
        self.stream = int(self._stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        error, *results = getattr(self._cuda, name)(*arguments)
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise BackendError(f'CUDA fails: {name}: {error.name}')
        return results[0] if len(results) == 1 else results

    def empty(self, size: int) -> '_Block':
        """Return `size` bytes on the GPU; keep the result for as long as they are used."""
        error, address = self._cuda.cudaMalloc(max(size, 1))
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise no_memory(size, self.free_bytes())
        return _Block(int(address), self._cuda.cudaFree)

    def pointer(self, block: '_Block') -> int:
        """Return the address of what `empty` gave."""
        return block.address

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Return a page-locked host array."""
        size = max(1, int(np.prod(shape)) * dtype.itemsize)
        block = _Block(int(self._call('cudaMallocHost', size)), self._cuda.cudaFreeHost)
        held: Any = (ctypes.c_uint8 * size).from_address(block.address)
        held.block = block    # the array keeps `held`, which keeps the memory
        return np.frombuffer(held, dtype, int(np.prod(shape))).reshape(shape)

    def upload(self, block: '_Block', array: np.ndarray) -> None:
        """Copy a page-locked array to the GPU, in order of the stream."""
        self._copy(block.address, array.ctypes.data, array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)

    def download(self, array: np.ndarray, block: '_Block') -> None:
        """Copy from the GPU into a page-locked array, in order of the stream."""
        self._copy(array.ctypes.data, block.address, array.nbytes, self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost)

    def _copy(self, to: int, source: int, size: int, kind: Any) -> None:
        self._call('cudaMemcpyAsync', to, source, size, kind, self._stream)

    def wait(self) -> None:
        """Wait until the stream is empty."""
        self._call('cudaStreamSynchronize', self._stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what repeats the `work` that is put on the stream, as one CUDA graph."""
        self._call('cudaStreamBeginCapture', self._stream,
                   self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        try:
            work()
        finally:    # or the stream would stay useless
            graph = self._call('cudaStreamEndCapture', self._stream)
        launchable = _Block(self._call('cudaGraphInstantiate', graph, 0), self._cuda.cudaGraphExecDestroy)
        self._call('cudaGraphDestroy', graph)
        return lambda: self._call('cudaGraphLaunch', launchable.address, self._stream)

    def free_bytes(self) -> int:
        """Return how much of the GPU's memory is free."""
        return int(self._call('cudaMemGetInfo')[0])


class _Block:
    """Memory, or a recorded graph, that is freed with its last user."""

    def __init__(self, address: Any, free: Callable[[Any], Any]) -> None:
        self.address = address
        self._free = free

    def __del__(self) -> None:
        self._free(self.address)


def no_memory(size: int, free: int, remedy: str = '') -> BackendError:
    """Return the error for `size` bytes that the GPU does not have; without a `remedy` they grow with the pictures."""
    fits = max(1, int(90 * (free / max(size, 1)) ** 0.5))    # per cent of height and width, with some air
    smaller = f'export the network at a smaller size, about {min(fits, 90)} % of its height and width would fit'
    return BackendError(f'the GPU has {free / 2 ** 20:.0f} MB free and {size / 2 ** 20:.0f} MB more are needed; '
                        f'{remedy or smaller}, or stop other programs on the GPU')
