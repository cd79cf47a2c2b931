"""Engines on disk: found by what they depend on, checked before they are opened, built once, given up with a reason.

`<key>.plan` is the engine, `<key>.json` everything that it was built of and for, in words, with the sha256 of the plan and
the result of the probe; the key is the sha256 of those words. Plans are programs: the folder is the user's alone, and
what belongs to somebody else is refused.
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from depth_ros.errors import BackendError
from depth_ros.runtime.build import BuildOptions, Progress, build_plan
from depth_ros.runtime.probe import Inputs, compare
from depth_ros.runtime.tensorrt_graph import Engine, PlanRefused, Platform, TensorRtGraph, find_platform

SCHEMA = 1                     # of keys and records; a change rebuilds everything
LIMIT_BYTES = 20 << 30         # of all plans together
POLL_S = 0.1
TAGS = {'full': b'ftrt', 'rtx': b'vtrt'}
LOCATION = re.compile(rb'\n\x08location\x12([\x01-\x7f])')    # of an ONNX file's external data, as protobuf writes it


OPENED: WeakValueDictionary[tuple[Any, str], Engine] = WeakValueDictionary()    # in this process, by TensorRT and key
OPENING = threading.Lock()    # or two threads would put the same weights on the GPU


class DamagedPlan(Exception):
    """A plan in the cache that must not be opened; the message says why."""


def open_engine(path: Path, *, resident: Sequence[str] = (), build: bool = True, force: bool = False,
                options: BuildOptions | None = None, probes: Sequence[Inputs] = (), progress: Progress | None = None,
                cancel: threading.Event | None = None, cache: 'EngineCache | None' = None,
                platform: Platform | None = None) -> TensorRtGraph:
    """Return the engine of an ONNX file: from the cache, or, with `build`, built, compared with ONNX Runtime and stored.

    `resident`: beginnings of the names of outputs that stay on the GPU. `force` builds again. `probes` are inputs to compare
    on, empty: seeded noise. A build takes seconds to many minutes: keep it off callbacks, `cancel` ends it. What is worth
    telling is in the graph's `note`. Raises BackendError with the reason if TensorRT cannot serve this network here.
    """
    platform, cache, options = platform or find_platform(), cache or EngineCache(), options or BuildOptions()
    parts = key_parts(path, platform, options)
    key, notes = key_of(parts), []
    if not force:
        try:
            if graph := _cached(cache, key, platform, resident):
                return graph
        except DamagedPlan as error:
            notes.append(f'the engine in the cache {error}')
    if not build:
        raise BackendError('; '.join([*notes, f'there is no TensorRT engine of {path.name} for {platform.gpu.name} yet; '
                                      f'depth_ros build-engine {path} makes it']))
    with cache.locked(progress, cancel):
        if not force:
            try:
                if graph := _cached(cache, key, platform, resident):    # another process was faster
                    return graph
            except DamagedPlan:
                cache.quarantine(key)
        cache.check_room(sum(file.stat().st_size for file in network_files(path)))
        platform.memory()    # without it a build of minutes would be in vain
        timing = cache.timing_file(platform) if platform.kind == 'full' else None    # RTX times nothing
        plan, facts = build_plan(path, platform, options, progress, cancel, timing)
        engine = Engine(plan, platform)
        graph = TensorRtGraph(engine, resident)
        if progress:
            progress('comparing with ONNX Runtime', 1.0)
        facts['parity'], refusal = compare(graph, path, facts['precision'], probes)
        record = {**parts, **facts, 'created': time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}
        if refusal:
            refusal = f'the {platform.title} engine of {path.name} computes something else than ONNX Runtime ({refusal})'
            cache.refuse(key, plan, {**record, 'refused': refusal})
            raise BackendError(f'{refusal}; export it in fp32, or use another backend')
        OPENED[platform.trt, key] = engine
        try:
            cache.publish(key, plan, record)
            notes += ['built again'] if notes else []
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise BackendError(f'{cache.folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME') from error
            notes.append(f'the engine runs but could not be kept ({error.strerror}: {len(plan) / 2 ** 20:.0f} MB '
                         f'in {cache.folder})')
    graph.note = '; '.join(filter(None, [*notes, graph.note]))
    return graph


def _cached(cache: 'EngineCache', key: str, platform: Platform, resident: Sequence[str]) -> TensorRtGraph | None:
    """Return the engine in the cache, or None if there is none; DamagedPlan if there is one that cannot be used."""
    with OPENING:
        engine = OPENED.get((platform.trt, key))
        if engine is None and (found := cache.load(key, platform.kind)):
            plan, record = found
            if plan is None:
                raise BackendError(f'{record["refused"]}; depth_ros build-engine --force tries again')
            try:
                engine = OPENED[platform.trt, key] = Engine(plan, platform)
            except PlanRefused as error:
                raise DamagedPlan(f'cannot be opened ({error})') from error
    return TensorRtGraph(engine, resident) if engine else None


# ---- keys ----

def key_parts(onnx: Path, platform: Platform, options: BuildOptions) -> dict[str, Any]:
    """Return, in words, everything that an engine depends on."""
    return {'schema': SCHEMA, 'network': network_sha256(onnx), 'tensorrt': platform.version, 'kind': platform.kind,
            'gpu': {'name': platform.gpu.name, 'capability': list(platform.gpu.capability),
                    'processors': platform.gpu.processors, 'memory_gb': platform.gpu.memory_gb},
            'built_for': platform.capability or 'the GPU', 'precision': 'of the file, strongly typed',
            'options': {**asdict(options), 'shapes': {name: list(shape) for name, shape in sorted(options.shapes.items())}}}


def key_of(parts: Mapping[str, Any]) -> str:
    """Return the name of an engine with these parts."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def network_sha256(onnx: Path) -> str:
    """Return the sha256 over an ONNX file and its external data; BackendError if one is missing."""
    digest = hashlib.sha256()
    try:
        for path in network_files(onnx):
            with path.open('rb') as file:
                digest.update(_file_sha256(file))
    except OSError as error:
        raise BackendError(f'{error.filename} cannot be read ({error.strerror}); export the network again') from error
    return digest.hexdigest()


def network_files(onnx: Path) -> list[Path]:
    """Return the ONNX file and the files of external data that it names."""
    content = onnx.read_bytes()
    names = {content[match.end():match.end() + match[1][0]] for match in LOCATION.finditer(content)}
    return [onnx, *(onnx.parent / os.fsdecode(name) for name in sorted(names))]


def _file_sha256(file: Any) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.digest()


def read_header(plan: bytes) -> tuple[bytes, int, list[int]]:
    """Return (tag, size, version) that a plan gives of itself, in its first 28 bytes."""
    return plan[:4], int.from_bytes(plan[16:24], 'little'), list(plan[24:28])


# ---- the folder ----

class EngineCache:
    """A folder of engines, shared by all processes of one user on one machine (no network drives: they do not lock)."""

    def __init__(self, folder: Path | None = None, limit_bytes: int = LIMIT_BYTES) -> None:
        """Open `folder`, by default `$XDG_CACHE_HOME/depth_ros/engines`; BackendError if it is not the user's own."""
        home = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache')
        self.folder = folder or home / 'depth_ros' / 'engines'
        self.limit_bytes = limit_bytes
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            state = self.folder.stat()
        except OSError as error:
            raise BackendError(f'the folder of engines {self.folder} cannot be made ({error.strerror}); '
                               'set XDG_CACHE_HOME') from error
        if state.st_uid != os.getuid() or state.st_mode & 0o022:
            raise BackendError(f'the folder of engines {self.folder} can be written by others, and engines are programs; '
                               'chmod 700 it, or set XDG_CACHE_HOME')

    def load(self, key: str, kind: str) -> tuple[bytes | None, dict[str, Any]] | None:
        """Return (plan, record), None without one; the plan is None where the probe has refused the engine.

        Raises DamagedPlan if either file is not what was stored; TensorRT has not seen it then.
        """
        try:
            record = json.loads(self._read(f'{key}.json'))
            if record.get('refused'):
                return None, record
            plan = self._read(f'{key}.plan')
        except FileNotFoundError:
            return None
        except (OSError, ValueError, AttributeError) as error:
            raise DamagedPlan(f'cannot be read ({error})') from error
        if len(plan) != record.get('plan_bytes'):
            raise DamagedPlan(f'has {len(plan)} bytes instead of {record.get("plan_bytes")}')
        if hashlib.sha256(plan).hexdigest() != record.get('plan_sha256'):
            raise DamagedPlan('is not what was stored (its sha256 differs)')
        tag, _, version = read_header(plan)
        if tag != TAGS[kind] or version != record.get('plan_version'):
            raise DamagedPlan(f'is of another kind or version ({tag!r} {version} instead of {TAGS[kind]!r} '
                              f'{record.get("plan_version")})')
        os.utime(self.folder / f'{key}.json')    # used last
        return plan, record

    def _read(self, name: str) -> bytes:
        descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, 'rb') as file:
            if os.fstat(descriptor).st_uid != os.getuid():
                raise BackendError(f'{self.folder / name} belongs to somebody else and is not run; remove it')
            return file.read()

    @contextmanager
    def locked(self, progress: Progress | None = None, cancel: threading.Event | None = None) -> Iterator[None]:
        """Hold the folder alone, for one build at a time on the machine: two would skew each other's timings.

        The system frees the lock of a process that dies. Raises BackendError if `cancel` is set while waiting.
        """
        try:
            descriptor = os.open(self.folder / 'lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f'{self.folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME') from error
        try:
            while not _try_lock(descriptor):
                if cancel and cancel.is_set():
                    raise BackendError('the build of the TensorRT engine was cancelled')
                if progress:
                    progress('waiting for a build of another process', 0.0)
                time.sleep(POLL_S)
            for left in self.folder.glob('*.tmp'):    # of a process that died: whoever writes holds the lock
                left.unlink(missing_ok=True)
            yield
        finally:
            os.close(descriptor)    # the file stays: another process may wait for it

    def check_room(self, size: int) -> None:
        """Raise BackendError if `size` bytes, which an engine has about, cannot be stored: before a build of minutes."""
        if not os.access(self.folder, os.W_OK):
            raise BackendError(f'{self.folder} cannot be written; set XDG_CACHE_HOME')
        if (free := shutil.disk_usage(self.folder).free) < size:
            raise BackendError(f'the disk of {self.folder} has {free / 2 ** 20:.0f} MB free and an engine takes about '
                               f'{size / 2 ** 20:.0f} MB; make room, or set XDG_CACHE_HOME')

    def timing_file(self, platform: Platform) -> Path:
        """Return where this TensorRT keeps what it has timed on this GPU."""
        gpu = platform.gpu
        words = {'tensorrt': platform.version, 'gpu': [gpu.name, *gpu.capability, gpu.processors, gpu.memory_gb]}
        return self.folder / f'{key_of(words)[:16]}.timing'

    def publish(self, key: str, plan: bytes, record: Mapping[str, Any]) -> None:
        """Store an engine, complete or not at all; then drop those used longest ago, above the limit. Needs the lock."""
        self._write(f'{key}.plan', plan)
        self._write_record(key, plan, record)
        self._evict(key)

    def refuse(self, key: str, plan: bytes, record: Mapping[str, Any]) -> None:
        """Store that this engine must not be used, so that it is not built again at every start. Needs the lock."""
        try:
            self._write(f'{key}.plan.bad', plan)
            self._write_record(key, plan, record)
            self._evict(key)
        except OSError:    # then it is built again
            pass

    def quarantine(self, key: str) -> None:
        """Put an engine aside as `.bad`. Needs the lock."""
        for name in (f'{key}.json', f'{key}.plan'):
            try:
                os.replace(self.folder / name, self.folder / f'{name}.bad')
            except FileNotFoundError:
                pass
            except OSError as error:
                raise BackendError(f'{self.folder / name} cannot be put aside ({error.strerror}); remove it') from error

    def _write_record(self, key: str, plan: bytes, record: Mapping[str, Any]) -> None:
        _, _, version = read_header(plan)
        found = {**record, 'plan_bytes': len(plan), 'plan_sha256': hashlib.sha256(plan).hexdigest(), 'plan_version': version}
        self._write(f'{key}.json', json.dumps(found, indent=1).encode())

    def _write(self, name: str, content: bytes) -> None:
        temporary = self.folder / f'{name}.tmp'
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, 'wb') as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, self.folder / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        descriptor = os.open(self.folder, os.O_RDONLY)
        os.fsync(descriptor)    # the name, too, outlives a power cut
        os.close(descriptor)

    def _evict(self, keep: str) -> None:
        def used(plan: Path) -> float:
            record = self.folder / f'{plan.name.split(".")[0]}.json'
            return (record if record.exists() else plan).stat().st_mtime

        plans = sorted(self.folder.glob('*.plan*'), key=used)
        total = sum(plan.stat().st_size for plan in plans)
        for plan in plans:
            key = plan.name.split('.')[0]
            if total <= self.limit_bytes or key == keep:
                continue
            total -= plan.stat().st_size
            if plan.suffix == '.plan':
                (self.folder / f'{key}.json').unlink(missing_ok=True)
            plan.unlink(missing_ok=True)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
