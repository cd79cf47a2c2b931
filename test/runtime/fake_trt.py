"""A TensorRT that computes with ONNX Runtime on the raw host addresses it is given, and memory that is the host's.

Its names are TensorRT's, which `test_trt_names.py` holds against the real bindings.
"""

import ctypes
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from depth_ros.errors import BackendError
from depth_ros.runtime.cuda import Gpu
from depth_ros.runtime.tensorrt_graph import Platform

FLOAT, OPSET = TensorProto.FLOAT, [helper.make_opsetid('', 17)]
NUMPY = {'tensor(float)': 'f4', 'tensor(float16)': 'f2', 'tensor(int64)': 'i8'}
GPU = Gpu('Fake GPU', (8, 6), 84, 24, '13.0')


def save(path: Path, nodes, inputs, outputs, weights=(), kind=FLOAT) -> Path:
    """Write an ONNX file; inputs and outputs are {name: shape}."""
    def infos(shapes):
        return [helper.make_tensor_value_info(name, kind, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, 'graph', infos(inputs), infos(outputs), list(weights))
    onnx.save(helper.make_model(graph, opset_imports=OPSET, ir_version=9), path)
    return path


def convolutions(path: Path, layers: int = 3, seed: int = 0, kind=np.float32) -> Path:
    """Write a small network: image (1, 3, 16, 24) in, depth (1, 8, 16, 24) out."""
    random, nodes, weights, last = np.random.default_rng(seed), [], [], 'image'
    for i in range(layers):
        out = 'depth' if i == layers - 1 else f'relu{i}'
        weight = random.standard_normal((8, 8 if i else 3, 3, 3)) * 0.2
        weights.append(numpy_helper.from_array(weight.astype(kind), f'w{i}'))
        nodes += [helper.make_node('Conv', [last, f'w{i}'], [f'conv{i}'], pads=[1] * 4),
                  helper.make_node('Relu', [f'conv{i}'], [out])]
        last = out
    number = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    return save(path, nodes, {'image': [1, 3, 16, 24]}, {'depth': [1, 8, 16, 24]}, weights, number)


def running_sum(path: Path) -> Path:
    """Write a network with a state: keep_next = keep + image; depth = 2 keep_next."""
    nodes = [helper.make_node('Add', ['keep', 'image'], ['keep_next']),
             helper.make_node('Mul', ['keep_next', 'two'], ['depth'])]
    return save(path, nodes, {'image': [1, 4], 'keep': [1, 4]}, {'depth': [1, 4], 'keep_next': [1, 4]},
                [numpy_helper.from_array(np.float32(2), 'two')])


def plan_of(path: Path, shapes=None) -> bytes:
    """Return what stands for a plan of that file: TensorRT-RTX's header, then the file, with these shapes of open inputs."""
    content = path.read_bytes()
    if shapes:
        model = onnx.load(path)
        for item in model.graph.input:
            for dim, size in zip(item.type.tensor_type.shape.dim, shapes.get(item.name, ()), strict=False):
                dim.dim_value = size
        content = model.SerializeToString()
    return b'vtrt' + bytes(12) + (28 + len(content)).to_bytes(8, 'little') + bytes([1, 7, 1, 116]) + content


def slow_build(seconds: float, fails: str = ''):
    """Return a build that takes its time, says how far it is, can be cancelled, and may fail at the end."""
    def build(path, platform, options, progress=None, cancel=None, timing=None):
        steps = max(2, int(seconds / 0.05))
        for step in range(steps):
            if cancel and cancel.is_set():
                raise BackendError('the build of the TensorRT engine was cancelled')
            if progress:
                progress('Building engine', step / steps)
            time.sleep(seconds / steps)
        if fails:
            raise BackendError(fails)
        return plan_of(path, options.shapes), {'precision': 'fp32', 'build_s': seconds}
    return build


def platform(memory=None, **changes) -> Platform:
    """Return a fake GPU with a fake TensorRT."""
    memory = memory or HostMemory()
    return Platform(FakeTrt(memory, **changes), 'rtx', '1.7.1.116', GPU, lambda: memory, 'SM86')


class HostMemory:
    """Memory of the GPU, on the host; counts what is asked of it."""

    stream = 7

    def __init__(self):
        self.blocks, self.uploads, self.downloads, self.captured, self.capturing = 0, 0, 0, 0, None

    def empty(self, size):
        self.blocks += 1
        return np.full(size, 0xFF, np.uint8)    # NaN until written

    def pointer(self, block):
        return block.ctypes.data

    def pinned(self, shape, dtype):
        return np.empty(shape, dtype)

    def upload(self, block, array):
        self.uploads += 1
        block[:] = array.reshape(-1).view(np.uint8)

    def download(self, array, block):
        self.downloads += 1
        array.reshape(-1).view(np.uint8)[:] = block

    def wait(self):
        pass

    def capture(self, work):
        self.captured += 1
        self.capturing = jobs = []
        try:
            work()
        finally:
            self.capturing = None
        return lambda: [job() for job in jobs]

    def free_bytes(self):
        return 100 << 20


class FakeTrt:
    """The module. It counts the engines it has opened, and their runs.

    `factor` spoils results; `refuses` plans; `full`: no memory for a run, `tight`: none for the weights; `onnx`: what a plan
    stands for; `most`: so many runs go well; `old`: the driver is; `profile`: engines have shapes only once they are told.
    """

    class DataType:
        FLOAT, HALF, INT32, INT64, BOOL, UINT8 = 'tensor(float)', 'tensor(float16)', 'tensor(int32)', 'tensor(int64)', \
            'tensor(bool)', 'tensor(uint8)'

    class TensorIOMode:
        INPUT, OUTPUT = 'input', 'output'

    class ILogger:
        class Severity:
            INTERNAL_ERROR, ERROR = 0, 1

        def __init__(self):
            pass

    def __init__(self, memory, factor=1.0, refuses=False, full=False, tight=False, onnx=None, most=float('inf'), old=False,
                 profile=False):
        self.memory, self.factor, self.refuses, self.full, self.onnx = memory, factor, refuses, full, onnx
        self.tight, self.most, self.old, self.profile, self.runs, self.opened = tight, most, old, profile, 0, 0

    def Runtime(self, logger):    # noqa: N802  the name is TensorRT's
        if self.old:
            logger.log(1, 'CUDA initialization failure with error: 35')
            raise TypeError('pybind11::init(): factory function returned nullptr')
        return Runtime(self, logger)


class Runtime:
    def __init__(self, trt, logger):
        self.trt, self.logger = trt, logger

    def deserialize_cuda_engine(self, plan):
        if self.trt.tight:
            self.logger.log(1, 'Error Code 2: OutOfMemory (Requested size was 900 bytes.)')
            return None
        if self.trt.refuses or int.from_bytes(plan[16:24], 'little') not in (len(plan), len(plan) - 28):
            self.logger.log(1, 'the header is of another version')
            return None
        self.trt.opened += 1
        return ICudaEngine(self.trt, self.trt.onnx.read_bytes() if self.trt.onnx else plan[28:])


class ICudaEngine:
    device_memory_size_v2 = 900 << 20

    def __init__(self, trt, content):
        self.trt, options = trt, onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
        self.reads = {item.name: item for item in self.session.get_inputs()}
        self.tensors = self.reads | {item.name: item for item in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)
        self.shapes = {name: tuple(size if isinstance(size, int) else -1 for size in item.shape)
                       for name, item in self.tensors.items()}
        if not any(-1 in self.shapes[name] for name in self.reads):    # then those of the outputs follow
            zeros = {name: np.zeros(self.shapes[name], NUMPY[item.type]) for name, item in self.reads.items()}
            for item, value in zip(self.session.get_outputs(), self.session.run(None, zeros), strict=True):
                self.shapes[item.name] = value.shape

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_mode(self, name):
        return 'input' if name in self.reads else 'output'

    def get_tensor_shape(self, name):
        shape = self.shapes[name]
        return (*shape[:-1], -1) if self.trt.profile and len(shape) else shape

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0
        return [self.shapes[name]] * 3

    def get_tensor_dtype(self, name):
        return self.tensors[name].type

    def create_execution_context(self):
        return None if self.trt.full else IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self.engine, self.addresses, self.told = engine, {}, {}

    def set_input_shape(self, name, shape):
        self.told[name] = shape
        return True

    def get_tensor_shape(self, name):
        known = all(self.told.get(read) == self.engine.shapes[read] for read in self.engine.reads)
        return self.engine.shapes[name] if known else self.engine.get_tensor_shape(name)

    def set_tensor_address(self, name, address):
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == HostMemory.stream
        addresses, memory = dict(self.addresses), self.engine.trt.memory
        if memory.capturing is None:
            self.compute(addresses)
        else:    # nothing is computed while a graph is captured
            memory.capturing.append(lambda: self.compute(addresses))
        return True

    def compute(self, addresses):
        trt = self.engine.trt
        trt.runs += 1
        if trt.runs > trt.most:
            raise RuntimeError('CUDA error: an illegal memory access was encountered')    # as torch says it
        written = [address for name, address in addresses.items() if name not in self.engine.reads]
        read = {addresses[name] for name in self.engine.reads}
        assert len(read | set(written)) == len(read) + len(written), 'an engine reads and writes the same memory'
        views = {name: self.view(name, address) for name, address in addresses.items()}
        session = self.engine.session
        results = session.run(None, {name: views[name].copy() for name in self.engine.reads})
        for item, result in zip(session.get_outputs(), results, strict=True):
            views[item.name][...] = result * self.engine.trt.factor

    def view(self, name, address):
        shape, kind = self.engine.shapes[name], self.engine.get_tensor_dtype(name)
        dtype = np.dtype(NUMPY[kind])
        size = int(np.prod(shape)) * dtype.itemsize
        return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype).reshape(shape)
