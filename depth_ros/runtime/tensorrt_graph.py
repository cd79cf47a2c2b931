"""A graph run by TensorRT: an engine, its buffers on the GPU, one stream.

One code path serves TensorRT 10.3 to 11 and TensorRT-RTX: networks are strongly typed, so that the number format is the
file's. Nothing of TensorRT is made before the driver itself has said that there is a GPU.
"""

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from depth_ros.errors import BackendError, InputError
from depth_ros.runtime.cuda import Gpu, find_gpu, no_memory, open_memory

MODULES = {'full': 'tensorrt', 'rtx': 'tensorrt_rtx'}
OLDEST = (10, 3)
MOST_CUDA_GRAPHS = 16    # one per set of addresses: carried outputs take turns, which is two or three


class PlanRefused(BackendError):
    """TensorRT does not take this engine; another build of the same network may serve."""


@dataclass(frozen=True)
class Platform:
    """What an engine is built for and runs on."""

    trt: Any
    kind: str                                    # full or rtx
    version: str
    gpu: Gpu
    memory: Callable[[], Any] = open_memory
    capability: str = ''                         # RTX only: build for this ComputeCapability instead of the GPU that is here

    @property
    def title(self) -> str:
        """The name and version for messages."""
        return f'TensorRT{"-RTX" if self.kind == "rtx" else ""} {self.version}'


def find_platform(kind: str = '') -> Platform:
    """Return the GPU and the TensorRT that is here; `kind` full or rtx, empty: the first that is installed.

    Raises BackendError with the reason if there is no GPU or no TensorRT that can be used.
    """
    gpu = find_gpu()
    trt, kind = import_trt(kind)
    return Platform(trt, kind, str(trt.__version__), gpu)


def import_trt(kind: str = '') -> tuple[ModuleType, str]:
    """Return (module, kind) of TensorRT, or else of TensorRT-RTX; BackendError with the reasons without either."""
    reasons = []
    for wanted in [kind] if kind else MODULES:
        try:
            trt = import_module(MODULES[wanted])
        except (ImportError, OSError) as error:    # OSError: the bindings are there, their libraries are not
            reasons.append(f'{MODULES[wanted]}: {str(error).splitlines()[0] if str(error) else type(error).__name__}')
            continue
        if wanted == 'full' and tuple(int(part) for part in str(trt.__version__).split('.')[:2]) < OLDEST:
            reasons.append(f'tensorrt {trt.__version__} is older than {OLDEST[0]}.{OLDEST[1]}')
            continue
        return trt, wanted
    raise BackendError(f'TensorRT cannot be imported ({"; ".join(reasons)}); pip install tensorrt')


@cache
def logger(trt: Any) -> Any:
    """Return the one logger of the process (TensorRT keeps the first it is given); `said` holds its last complaints."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.said: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.said.append(message.strip().splitlines()[0] if message.strip() else '')

        def last(self) -> str:
            return self.said[-1] if self.said else 'it gives no reason'

    return Logger()


@contextmanager
def cuda_errors() -> Iterator[None]:
    """Turn what torch raises where CUDA fails into one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise BackendError(f'the GPU fails: {str(error).strip().splitlines()[0]}') from error


class DeviceArray:
    """An output that stays on the GPU, to be handed to a next run as it is; its memory serves again once it is dropped."""

    def __init__(self, graph: 'TensorRtGraph', name: str, block: Any) -> None:
        self.shape, self.dtype = graph.shapes[name], graph.dtypes[name]
        self.block = block
        self._fetch = graph.fetch

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._fetch(self), dtype)


class Engine:
    """An engine as it lies on the GPU: its weights once, for as many graphs as run it.

    TensorRT lets several threads make execution contexts of one engine, and run one each.
    """

    def __init__(self, plan: bytes, platform: Platform) -> None:
        """Open `plan`; raises BackendError with TensorRT's reason if it cannot be run here."""
        trt, self.platform = platform.trt, platform
        self.log = logger(trt)
        try:
            self._runtime = trt.Runtime(self.log)    # an engine needs it for as long as it lives
        except TypeError as error:    # how the bindings say that there is no object
            raise BackendError(f'{platform.title} does not start with the NVIDIA driver for CUDA {platform.gpu.driver} '
                               f'({self.log.last()}); update the driver') from error
        self.engine = self._runtime.deserialize_cuda_engine(plan)
        if self.engine is None:
            said = self.log.last()
            if 'memory' in said.lower():
                raise no_memory(len(plan), platform.memory().free_bytes(), 'take a smaller variant or fp16')
            raise PlanRefused(f'{platform.title} refuses the engine: {said}')


class TensorRtGraph:
    """Runs one engine of static shapes; arrays go in and come out.

    What a caller names in `resident` (beginnings of output names) stays on the GPU as a DeviceArray. An engine never reads
    and writes the same memory: such outputs take turns between as many buffers as the caller holds, which is two where a
    state is carried from run to run. Several threads may call `run`; they take turns.
    """

    def __init__(self, opened: Engine, resident: Sequence[str] = (), cuda_graphs: bool = True) -> None:
        """Make what a run needs besides the weights; raises BackendError where the GPU has no memory for it."""
        self._opened, self._engine, self._logger = opened, opened.engine, opened.log
        self._memory = opened.platform.memory()
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise no_memory(self._engine.device_memory_size_v2, self._memory.free_bytes())
        self.resident = tuple(resident)
        self.note = ''
        self._cuda_graphs = cuda_graphs
        self._launches: dict[tuple[int, ...], Callable[[], None] | None] = {}    # by addresses; None: seen once
        self._turn = threading.RLock()    # a run may fetch one of its own outputs
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype] = {}
        with cuda_errors():
            self._prepare(opened.platform.trt)

    def _prepare(self, trt: Any) -> None:
        """Read names, shapes and number formats, and make the buffers."""
        numpy_type = {trt.DataType.FLOAT: np.float32, trt.DataType.HALF: np.float16, trt.DataType.INT32: np.int32,
                      trt.DataType.INT64: np.int64, trt.DataType.BOOL: np.bool_, trt.DataType.UINT8: np.uint8}
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        reads = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in names:
            shape, kind = tuple(self._engine.get_tensor_shape(name)), self._engine.get_tensor_dtype(name)
            if -1 in shape and name in reads:    # one shape was built for
                shape = tuple(self._engine.get_tensor_profile_shape(name, 0)[1])
                self._context.set_input_shape(name, shape)
            if kind not in numpy_type:
                raise BackendError(f'the tensor {name} is {kind}, which numpy does not have; '
                                   'export with float32 inputs and outputs')
            self.shapes[name], self.dtypes[name] = shape, np.dtype(numpy_type[kind])
        for name in names:
            self.shapes[name] = tuple(self._context.get_tensor_shape(name))
            if -1 in self.shapes[name]:
                raise BackendError(f'the size of {name} depends on what is computed; export with static shapes')
        self.inputs = {name: list(self.shapes[name]) for name in reads}
        self.outputs = {name: list(self.shapes[name]) for name in names if name not in reads}
        self._stays = {name for name in self.outputs if self.resident and name.startswith(self.resident)}
        self._host = {name: self._memory.pinned(self.shapes[name], self.dtypes[name]) for name in names}
        self._fixed = {name: self._memory.empty(self._host[name].nbytes) for name in names if name not in self._stays}
        self._free: dict[str, list[Any]] = {name: [] for name in self._stays}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return every output by name.

        Raises InputError for other names or shapes than the engine was built for, BackendError where the GPU fails.
        """
        with self._turn, cuda_errors():
            if set(inputs) != set(self.inputs):
                raise InputError(f'the engine takes {", ".join(self.inputs)} and was given {", ".join(inputs)}')
            blocks = {name: self._place(name, value) for name, value in inputs.items()}
            blocks |= {name: self._fixed[name] for name in self.outputs if name not in self._stays}
            blocks |= {name: self._free[name].pop() if self._free[name] else self._memory.empty(self._host[name].nbytes)
                       for name in self._stays}
            self._launch({name: self._memory.pointer(blocks[name]) for name in self.shapes})
            fetched = [name for name in self.outputs if name not in self._stays]
            for name in fetched:
                self._memory.download(self._host[name], blocks[name])
            self._memory.wait()
            return {name: self._kept(name, blocks[name]) if name in self._stays else self._host[name].copy()
                    for name in self.outputs}

    def _place(self, name: str, value: Any) -> Any:
        """Return the input on the GPU: as it lies where it stayed there, else copied through page-locked memory."""
        if tuple(np.shape(value)) != self.shapes[name]:
            raise InputError(f'the engine was built for {name} of shape {self.shapes[name]}, not {tuple(np.shape(value))}; '
                             'export the network at that size')
        if isinstance(value, DeviceArray) and value.dtype == self.dtypes[name]:
            return value.block
        np.copyto(self._host[name], np.asarray(value), casting='unsafe')    # as torch does: the graph's own number format
        self._memory.upload(self._fixed[name], self._host[name])
        return self._fixed[name]

    def _kept(self, name: str, block: Any) -> DeviceArray:
        array = DeviceArray(self, name, block)
        weakref.finalize(array, self._free[name].append, block)
        return array

    def fetch(self, array: DeviceArray) -> np.ndarray:
        """Return a host copy of an output that stayed on the GPU. Raises BackendError if it is lost."""
        with self._turn, cuda_errors():
            host = self._memory.pinned(array.shape, array.dtype)
            self._memory.download(host, array.block)
            self._memory.wait()
            return host

    def _launch(self, addresses: dict[str, int]) -> None:
        """Compute: the first time with these addresses as single kernels, from the second time on as one CUDA graph."""
        key = tuple(addresses.values())
        if launch := self._launches.get(key):
            return launch()
        for name, address in addresses.items():
            if not self._context.set_tensor_address(name, address):
                raise BackendError(f'TensorRT refuses the memory of {name}: {self._logger.last()}')
        if self._cuda_graphs and key in self._launches:
            try:
                self._launches[key] = launch = self._memory.capture(self._enqueue)
                return launch()
            except (RuntimeError, BackendError) as error:    # slower by the launches, and right
                self._cuda_graphs = False
                self.note = f'runs without CUDA graphs ({str(error).splitlines()[0]})'
        if len(self._launches) < MOST_CUDA_GRAPHS:
            self._launches.setdefault(key, None)
        self._enqueue()

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._memory.stream):
            raise BackendError(f'TensorRT cannot run the engine: {self._logger.last()}')
