"""Building an engine: in a process of its own, so that a crash, its memory and its minutes stay out of the caller's.

`build_plan` starts `python -m depth_ros.runtime.build TASK`, which writes JSON lines (progress, error, result) and then the
plan to its standard output. It ends when its standard input does: a caller that dies takes its build along.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from depth_ros.errors import BackendError
from depth_ros.runtime.tensorrt_graph import Platform, find_gpu, import_trt, logger

PATIENCE_S = 0.5    # from the wish to stop until the process is killed: a single step of a build may take longer
POLL_S = 0.05

Progress = Callable[[str, float], None]    # (what is being done, share done 0..1)


@dataclass(frozen=True)
class BuildOptions:
    """What changes the engine, besides the network."""

    level: int = 3                 # TensorRT's optimisation level, 0 (quick build) to 5
    workspace_mb: int = 0          # most GPU memory that a kernel may take on the side; 0: all of it
    tf32: bool = False             # let float32 multiply with 10 bits of mantissa
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)    # of inputs that the file leaves open


def build_plan(onnx: Path, platform: Platform, options: BuildOptions, progress: Progress | None = None,
               cancel: threading.Event | None = None, timing: Path | None = None) -> tuple[bytes, dict[str, Any]]:
    """Return (plan, facts about the build) of an ONNX file; `progress` is called from this thread.

    `timing`: a file that keeps what was timed, from build to build. Raises BackendError with TensorRT's reason, or if
    `cancel` is set; the process is gone then, as on Ctrl-C.
    """
    task = {'onnx': str(onnx), 'kind': platform.kind, 'capability': platform.capability, **asdict(options),
            'timing': str(timing or '')}
    package = str(Path(__file__).parents[2])
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH')]))}
    begun, facts, plan = time.monotonic(), {}, bytearray()
    with os.fdopen(os.memfd_create('stderr'), 'w+b') as said:
        process = subprocess.Popen([sys.executable, '-m', __name__, json.dumps(task)], env=environment, stderr=said,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdin and process.stdout
        try:
            for message in _messages(process.stdout, plan, cancel or threading.Event()):
                if 'progress' in message and progress:
                    progress(message['phase'], message['progress'])
                if 'error' in message:
                    raise BackendError(f'{platform.title} cannot build {onnx.name}: {message["error"]}')
                if 'bytes' in message:
                    facts = message
        finally:
            _end(process)
        if not facts or len(plan) != facts.pop('bytes'):
            said.seek(0)
            lines = said.read().decode(errors='replace').strip().splitlines() or ['it gives no reason']
            raise BackendError(f'the build of {onnx.name} by {platform.title} ended with status '
                               f'{process.returncode}: {lines[-1]}')
    return bytes(plan), {**facts, 'build_s': round(time.monotonic() - begun, 2)}


def _messages(pipe: Any, plan: bytearray, cancel: threading.Event) -> Iterator[dict[str, Any]]:
    """Yield the JSON lines; what follows the one that names a number of `bytes` goes to `plan`."""
    waiting = b''
    while True:
        if cancel.is_set():
            raise BackendError('the build of the TensorRT engine was cancelled')
        if not select.select([pipe], [], [], POLL_S)[0]:
            continue
        if not (chunk := os.read(pipe.fileno(), 1 << 20)):
            return
        waiting += chunk
        while b'\n' in waiting:
            line, waiting = waiting.split(b'\n', 1)
            message = json.loads(line)
            yield message
            if 'bytes' in message:
                plan += waiting
                while chunk := os.read(pipe.fileno(), 1 << 20):
                    plan += chunk
                return


def _end(process: subprocess.Popen) -> None:
    """Let the process stop by itself, which takes milliseconds, and kill it if it does not."""
    assert process.stdin and process.stdout
    process.stdin.close()
    process.stdout.close()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# ---- in the process of its own ----

def main() -> None:
    """Build what the task in the first argument says."""
    out = os.fdopen(os.dup(1), 'wb', buffering=0)
    os.dup2(2, 1)    # what libraries print is no message
    os.nice(10)      # a running node comes first
    task, stop = json.loads(sys.argv[1]), threading.Event()
    threading.Thread(target=_await_end, args=(stop,), daemon=True).start()
    try:
        result, plan = _build(task, out, stop)
        _send(out, result)
        view = memoryview(plan)
        while view:
            view = view[out.write(view):]
    except BackendError as error:
        _send(out, {'error': str(error)})
    except BrokenPipeError:    # nobody waits any more
        pass


def _await_end(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _send(out: BinaryIO, message: dict[str, Any]) -> None:
    out.write(json.dumps(message).encode() + b'\n')


def _build(task: dict[str, Any], out: BinaryIO, stop: threading.Event) -> tuple[dict[str, Any], bytes]:
    if not task['capability']:    # a build for a GPU that is not here touches none
        find_gpu()
    trt, _ = import_trt(task['kind'])
    log = logger(trt)
    try:
        builder = trt.Builder(log)
    except TypeError as error:    # how the bindings say that there is no object
        raise BackendError(log.last()) from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(task['onnx']):
        raise BackendError(_parse_errors(parser) or log.last())
    config = builder.create_builder_config()
    config.builder_optimization_level = task['level']
    config.progress_monitor = _monitor(trt, out, stop)
    if task['workspace_mb']:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, task['workspace_mb'] << 20)
    if not task['tf32']:
        config.clear_flag(trt.BuilderFlag.TF32)
    if task['capability']:
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, task['capability']), 0)
    _add_profile(builder, network, config, task['shapes'])
    timing = read_timing(config, Path(task['timing'])) if task['timing'] else None
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise BackendError(log.last())
    plan = bytes(plan)
    if timing:
        keep_timing(timing, Path(task['timing']))
    halves = (trt.DataType.HALF, trt.DataType.BF16)
    types = {network.get_layer(i).get_output(0).dtype for i in range(network.num_layers)}
    precision = 'fp16' if types & set(halves) else 'fp32'
    return {'bytes': len(plan), 'precision': precision, 'layers': network.num_layers}, plan


def read_timing(config: Any, path: Path) -> Any:
    """Return the timings of earlier builds, by which this one is quicker; none where the file is not to be used."""
    try:
        known = path.read_bytes()
    except OSError:
        known = b''
    timing = config.create_timing_cache(known)
    if timing is None or not config.set_timing_cache(timing, ignore_mismatch=False):
        timing = config.create_timing_cache(b'')
        config.set_timing_cache(timing, ignore_mismatch=False)
    return timing


def keep_timing(timing: Any, path: Path) -> None:
    """Store the timings; without them the next build only takes longer."""
    temporary = path.with_name(f'{path.name}.tmp')
    try:
        temporary.write_bytes(bytes(timing.serialize()))
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)


def _parse_errors(parser: Any) -> str:
    """Return what the parser objects to: the operators it does not know, with their nodes, or else its first words."""
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    texts = []
    for error in errors:
        operator, node = error.node_operator(), error.node_name() or error.node()
        where = f' (node {node}, operator {operator})' if operator else ''
        texts.append(error.desc().strip().splitlines()[0] + where)
    return '; '.join(dict.fromkeys(texts[:3]))


def _add_profile(builder: Any, network: Any, config: Any, shapes: dict[str, list[int]]) -> None:
    """Fix the inputs whose shape the file leaves open: one engine, one shape."""
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if unknown := set(shapes) - {tensor.name for tensor in inputs}:
        raise BackendError(f'the network has no input {", ".join(sorted(unknown))}; '
                           f'it has {", ".join(tensor.name for tensor in inputs)}')
    profile = builder.create_optimization_profile()
    for tensor in inputs:
        if -1 not in tuple(tensor.shape):
            continue
        shape = tuple(shapes.get(tensor.name, ()))
        if len(shape) != len(tuple(tensor.shape)):
            raise BackendError(f'the shape of the input {tensor.name} is open, {tuple(tensor.shape)}, and an engine has one '
                               'shape; the node builds one for the pictures of its camera, or export the network at a size')
        profile.set_shape(tensor.name, shape, shape, shape)
    if any(-1 in tuple(tensor.shape) for tensor in inputs) and config.add_optimization_profile(profile) < 0:
        raise BackendError(f'the shapes {shapes} are none that the network can have')


def _monitor(trt: Any, out: BinaryIO, stop: threading.Event) -> Any:
    """Return a progress monitor: lines on `out`, and an end of the build as soon as `stop` is set."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.running: dict[str, tuple[str | None, int, int]] = {}    # phase -> parent, steps, steps done
            self.share, self.told = 0.0, 0.0
            self.lock = threading.Lock()                                 # TensorRT may call from several threads

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            with self.lock:
                self.running[phase] = parent, max(steps, 1), 0
            self.tell(phase)

        def phase_finish(self, phase: str) -> None:
            with self.lock:
                self.running.pop(phase, None)

        def step_complete(self, phase: str, step: int) -> bool:
            with self.lock:
                parent, steps, _ = self.running.get(phase, (None, 1, 0))
                self.running[phase] = parent, steps, min(step + 1, steps)
            self.tell(phase)
            return not stop.is_set()

        def tell(self, phase: str) -> None:
            """Write the share done, a phase being one step of its parent; at most twenty times a second."""
            with self.lock:
                share, name, parts = 0.0, phase, 0
                while name in self.running and parts < 16:
                    parent, steps, done = self.running[name]
                    share, name, parts = min((done + share) / steps, 1.0), parent or '', parts + 1
                self.share = max(self.share, share)
                if time.monotonic() - self.told < POLL_S:
                    return
                self.told = time.monotonic()
                try:
                    _send(out, {'progress': round(self.share, 4), 'phase': phase})
                except OSError:    # the caller is gone
                    stop.set()

    return Monitor()


if __name__ == '__main__':
    main()
