"""The one place where family, weights and runtime meet."""

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Lock, Thread
from types import ModuleType
from typing import Any

import numpy as np

from depth_ros.core.camera import Camera, resize_camera
from depth_ros.core.frame import Clip, Frame
from depth_ros.core.sources import Ask
from depth_ros.core.stream import DepthStream
from depth_ros.core.window import WindowSpec
from depth_ros.engines import build_engines, open_files
from depth_ros.errors import BackendError, SettingsError, WeightsError
from depth_ros.families import files, load_family
from depth_ros.families.exported import is_exported, read_manifest
from depth_ros.families.family import Family, Graph, Network
from depth_ros.runtime import torch_graph
from depth_ros.runtime.live import LiveEngines
from depth_ros.runtime.onnx_graph import OnnxGraph
from depth_ros.runtime.openvino_graph import OpenVinoGraph
from depth_ros.runtime.tensorrt_graph import TensorRtGraph
from depth_ros.runtime.torch_graph import TorchGraph
from depth_ros.settings import Settings, build, flatten

WARM_UP_SIZE = (480, 640)
SINGLE = WindowSpec()
KINDS = {OnnxGraph: 'onnx', OpenVinoGraph: 'openvino', TorchGraph: 'torch', TensorRtGraph: 'tensorrt'}
SAME_SIZE = 0.05    # relative difference of parameters within which two files are of one size


def open_stream(settings: Settings | None = None, *, live: bool = False, in_background: bool = False,
                **values: Any) -> DepthStream:
    """Return a stream that turns `Frame`s into `DepthFrame`s.

    `values` are settings by name, with `__` for the dot (`cloud__stride_px=2`), over `settings` or the defaults. `live`
    takes the family's live windows, which publish each frame as soon as they can; a live stream and a recording
    processed with `live` give the same bytes. `in_background` does not wait for the slow network of metric.source=family.

    Raises SettingsError, WeightsError or MissingDependency, each with the remedy.
    """
    given = {name.replace('__', '.'): value for name, value in values.items()}
    settings = build({**(flatten(settings) if settings else {}), **given})
    family = load_family(settings)
    spec = window_spec(family, settings, live)
    graphs, info = open_graphs(family, settings, spec)
    # Freed at once: from then on glibc keeps blocks up to this size for the next frame. Getting them from the system again
    # for every frame costs more than filling them. Other allocators do not mind.
    np.empty(30 << 20, np.uint8)
    if live:    # the first inference allocates and tunes: not while a camera waits
        family.infer(graphs, _black(family, spec.length), None)
    ask = open_reference(settings, in_background) if settings.metric.source == 'family' else None
    return DepthStream(family, graphs, spec, settings, info, ask)


def open_reference(settings: Settings, in_background: bool) -> Ask:
    """Return the function that asks the network of metric.source=family for the depth [m] of a picture.

    `in_background`: it is asked in a thread, and answers when it can; else it is waited for. Raises SettingsError if it has
    no metres, and as `open_stream`.
    """
    slow = settings.metric
    model = replace(settings.model, variant=slow.variant)
    try:
        stream = open_stream(Settings(family=slow.family, weights=slow.weights, threads=settings.threads, model=model),
                             live=True)
    except (SettingsError, WeightsError) as error:
        raise type(error)(f'metric.family={slow.family}, set by metric.weights and metric.variant: {error}') from error
    if not stream.family.quantity.is_metric:
        raise SettingsError(f'metric.family={slow.family} gives {stream.family.quantity.value}, no metres; set '
                            'metric.family (and metric.variant or metric.weights) to a metric network, `depth_ros models` '
                            'lists them')

    def depth_m(frame: Frame) -> np.ndarray:
        stream.reset()
        (depth,) = stream.push(frame) + stream.flush()
        assert depth.depth_m is not None
        return depth.depth_m

    turn = Lock()

    def ask(frame: Frame) -> 'Future[np.ndarray]':
        answer: Future[np.ndarray] = Future()

        def run() -> None:
            with turn:    # a new segment asks anew while the last answer is still being made
                if not answer.set_running_or_notify_cancel():
                    return
                try:
                    answer.set_result(depth_m(frame))
                except Exception as error:    # whoever reads the answer is told
                    answer.set_exception(error)

        if in_background:    # a daemon: the process need not wait for an answer that nobody reads
            Thread(target=run, name='metric_family', daemon=True).start()
        else:
            run()
        return answer

    return ask


def open_live(settings: Settings, info: Callable[[str], object],
              warn: Callable[[str], object]) -> tuple[DepthStream, LiveEngines]:
    """Return a stream for a camera, and what runs its engines once they are built, which it logs with `info` and `warn`.

    Where TensorRT is asked for and cannot serve, or fails later, the next backend does. Raises as `open_stream`.
    """
    try:
        stream = open_stream(settings, live=True, in_background=True)
    except BackendError as error:
        stream = open_stream(settings, live=True, in_background=True, backend='onnx')
        stream.info['backend_note'] = f'not {settings.backend}: {error}'
        warn(f'onnx serves, {stream.info["backend_note"]}')
    family, spec, plain = stream.family, stream.spec, replace(settings, backend='onnx')

    def fall_back() -> tuple[Mapping[str, Graph], str]:
        graphs, said = open_graphs(family, plain, spec)
        return graphs, said['backend']

    wanted = family.graphs and settings.backend in ('auto', 'tensorrt')
    build = partial(build_engines, family, build=settings.node.build_engines) if wanted else None
    return stream, LiveEngines(stream, build, fall_back, info, warn)


def exported_family(folder: Path) -> Family | None:
    """Return the family that `depth_ros export` has written to a folder, None if it has not."""
    if not is_exported(str(folder)):
        return None
    return load_family(build({'family': read_manifest(folder).family, 'weights': str(folder)}))


def open_graphs(family: Family, settings: Settings,
                spec: WindowSpec = SINGLE) -> tuple[dict[str, Graph], dict[str, str]]:
    """Return the family's graphs by name, for the windows of `spec`, and what diagnostics say of them.

    Raises SettingsError, WeightsError or MissingDependency, each with the remedy.
    """
    backends = ('torch',) if family.network else ('onnx', 'tensorrt', 'openvino')
    if settings.backend not in ('auto', *backends):
        remedy = '; `depth_ros export` makes ONNX files of it' if family.network else ''
        raise SettingsError(f'backend={settings.backend}, but {family.name} runs on {" or ".join(backends)} with these '
                            f'weights; set backend to auto{remedy}')
    graphs, paths, hashes, note = (_open_torch(family, family.network, settings, spec) if family.network else
                                   open_files(family, settings, family.size(*WARM_UP_SIZE, _nominal_camera()), spec.length))
    info = {
        'family': family.name,
        'backend': ' '.join(dict.fromkeys(KINDS[type(graph)] for graph in graphs.values())),
        'backend_note': note,
        'weights': ' '.join(path.name for path in paths),
        'weights_sha256': ' '.join(hashes),
        'quantity': family.quantity.value,
    }
    return graphs, info


def window_spec(family: Family, settings: Settings, live: bool) -> WindowSpec:
    """Return the windows that `settings.length` and `settings.stride` ask of the family.

    Raises SettingsError if the family cannot see as many frames, or could not keep one scale from window to window.
    """
    spec = family.live if live else family.offline
    length = settings.length or spec.length
    if length > family.longest:
        most = f'at most {family.longest} frames' if family.longest > 1 else 'one frame'
        raise SettingsError(f'{family.name} sees {most} at a time; set length to {family.longest} or leave it at 0')
    if not live and not settings.stride and length in family.presets:
        return family.presets[length]
    if not settings.length and not settings.stride:
        return spec
    if settings.stride == length > 1 and not family.quantity.is_metric:
        raise SettingsError(f'windows of {length} frames every {length} share none, by which {family.name} could keep one '
                            f'scale; set stride below {length}')
    return family.rolling(length, settings.stride or 1)


def check_weights(family: Family, path: Path, variant: str = '') -> str:
    """Return what is wrong with a weights file of the family, or with a folder of all of them, '' if it fits.

    With a `variant`, it must also be as large as the published one. Raises WeightsError if it cannot be read, SettingsError
    if the family has no torch network.
    """
    if not family.network:
        raise SettingsError(f'{family.name} runs an ONNX file, which is checked when it is opened; `depth_ros models` says '
                            'which families have weights files')
    from depth_ros.models import weights

    module, named = _models(family.network), family.network.files
    whole = any((path / name).is_file() for file in named.values() for name in (file.name, *file.also) if name)
    try:
        paths = files.locate(family, str(path)) if whole else dict.fromkeys(named, path)
    except WeightsError as error:
        return str(error)
    wrong = {}
    for role, file in named.items():
        found = weights.read_shapes(paths[role])
        try:
            difference = weights.compare(found, module.expected(role, found))
        except WeightsError as error:
            difference = str(error)
        held = sum(math.prod(shape) for shape in found.values())
        if not difference and variant and abs(held / file.parameters - 1) > SAME_SIZE:
            difference = f'it has {held / 1e6:.0f} M parameters, the published one {file.parameters / 1e6:.0f} M'
        if difference:
            wrong[role] = f'as {file.name or role}: {difference}'
    return '; '.join(wrong.values()) if whole or len(wrong) == len(named) else ''


def needed_bytes(family: Family, spec: WindowSpec, parameters: float) -> float:
    """Return an estimate of the memory [B] that windows of frames of WARM_UP_SIZE take in float32, with the weights."""
    if not family.network:
        return 0.0
    h, w = family.size(*WARM_UP_SIZE, _nominal_camera())
    network, live = family.network, spec.live and spec.length == 1
    per_px = network.bytes_per_px * spec.length + network.working_bytes_per_px + network.live_bytes_per_px * live
    return 4 * parameters + per_px * h * w


def _open_torch(family: Family, network: Network, settings: Settings,
                spec: WindowSpec) -> tuple[dict[str, Graph], list[Path], list[str], str]:
    paths = files.locate(family, settings.weights)
    device, dtype = torch_graph.choose(settings.model.device, settings.model.precision, network.half)
    module = _models(network)
    _check_memory(family, network, paths, device, dtype.itemsize / 4, spec)
    hashes = files.verify(paths, network.files)
    torch_graph.set_threads(settings.threads)
    with torch_graph.enough_memory(device):
        opened = module.open_graphs(paths, dtype, device, **network.options)
    graphs: dict[str, Graph] = {name: TorchGraph(graph, device, dtype) for name, graph in opened.items()}
    return graphs, list(paths.values()), list(hashes.values()), torch_graph.describe(device, dtype)


def _models(network: Network) -> ModuleType:
    return import_module(f'depth_ros.models.{network.module}')


def _check_memory(family: Family, network: Network, paths: Mapping[str, Path], device: str, narrowing: float,
                  spec: WindowSpec) -> None:
    from depth_ros.models import weights

    parameters = sum(network.files[role].kept * math.prod(shape)
                     for role, path in paths.items() for shape in weights.read_shapes(path).values())
    free, needed = torch_graph.free_bytes(device), narrowing * needed_bytes(family, spec, parameters)
    if needed > free:
        fits = next((length for length in range(spec.length - 1, 0, -1)
                     if narrowing * needed_bytes(family, replace(SINGLE, length=length), parameters) <= free), 0)
        remedies = ([f'set length to {fits} or less'] if fits else []) + (
            [] if getattr(family.size, 'fixed', None) else ['set model.short_side_px to a smaller picture'])
        raise SettingsError(f'{family.name} needs about {needed / 1e9:.1f} GB for {spec.length} frame'
                            f'{"s" * (spec.length > 1)} of {WARM_UP_SIZE[1]}x{WARM_UP_SIZE[0]}, and {free / 1e9:.1f} GB are '
                            f'free on {device}; {" or ".join(remedies) or "take a machine with more memory"}')


def _nominal_camera() -> Camera:
    height, width = WARM_UP_SIZE
    return Camera(height, width, width, width, width / 2 - 0.5, height / 2 - 0.5)


def _black(family: Family, length: int) -> Clip:
    h, w = family.size(*WARM_UP_SIZE, _nominal_camera())
    picture = family.shrink(np.zeros((*WARM_UP_SIZE, 3), np.uint8), (h, w))
    return Clip(np.stack([picture] * length), tuple(range(length)), resize_camera(_nominal_camera(), h, w))
