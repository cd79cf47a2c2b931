"""The one place where family, weights and runtime meet."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.core.stream import DepthStream
from depth_ros.core.window import WindowSpec
from depth_ros.errors import SettingsError, WeightsError
from depth_ros.families import load_family
from depth_ros.families.family import Family, GraphFile
from depth_ros.runtime.onnx_graph import OnnxGraph
from depth_ros.settings import Settings, build, flatten

WARM_UP_SIZE = (480, 640)


def open_stream(settings: Settings | None = None, *, live: bool = False, **values: Any) -> DepthStream:
    """Return a stream that turns `Frame`s into `DepthFrame`s.

    `values` are settings by name, with `__` for the dot (`cloud__stride_px=2`), over `settings` or the defaults. `live`
    takes the family's live windows, which publish each frame as soon as they can; a live stream and a recording
    processed with `live` give the same bytes.

    Raises SettingsError, WeightsError or MissingDependency, each with the remedy.
    """
    given = {name.replace('__', '.'): value for name, value in values.items()}
    settings = build({**(flatten(settings) if settings else {}), **given})
    family = load_family(settings.family, settings.weights)
    spec = window_spec(family, settings, live)
    hashes = {name: check_file(graph) for name, graph in family.graphs.items()}
    graphs = {name: OnnxGraph(graph.path, settings.threads) for name, graph in family.graphs.items()}
    for name, graph in family.graphs.items():
        check_names(graph, graphs[name])
    info = {
        'family': family.name,
        'backend': 'onnx',
        'weights': ' '.join(graph.path.name for graph in family.graphs.values()),
        'weights_sha256': ' '.join(hashes.values()),
        'quantity': family.quantity.value,
    }
    # Freed at once: from then on glibc keeps blocks up to this size for the next frame. Getting them from the system again
    # for every frame costs more than filling them. Other allocators do not mind.
    np.empty(30 << 20, np.uint8)
    if live:    # the first inference allocates and tunes: not while a camera waits
        family.infer(graphs, np.zeros((spec.length, *family.size(*WARM_UP_SIZE), 3), np.uint8), None)
    return DepthStream(family, graphs, spec, settings, info)


def window_spec(family: Family, settings: Settings, live: bool) -> WindowSpec:
    """Return the windows that `settings.length` and `settings.stride` ask of the family."""
    spec = family.live if live else family.offline
    if not settings.length and not settings.stride:
        return spec
    length = settings.length or spec.length
    if spec.length == 1 and (length, settings.stride or 1) != (1, 1):
        raise SettingsError(f'{family.name} sees one frame at a time; leave length and stride at 0')
    return WindowSpec.rolling(length, settings.stride or 1)


def check_file(graph: GraphFile) -> str:
    """Return the sha256 of the file, or raise WeightsError if it is missing or not the one that was described."""
    if not graph.path.is_file():
        raise WeightsError(f'there is no weights file {graph.path}; give the path of one with the setting weights')
    found = _sha256(graph.path)
    if graph.sha256 and not found.startswith(graph.sha256.lower()):
        raise WeightsError(f'{graph.path} is damaged or another file: sha256 {found[:16]}..., expected '
                           f'{graph.sha256[:16]}...; fetch it again')
    return found


def check_names(described: GraphFile, graph: OnnxGraph) -> None:
    """Raise WeightsError unless the network has the inputs and outputs that were described."""
    for kind, wanted, found in (('inputs', described.inputs, graph.inputs), ('outputs', described.outputs, graph.outputs)):
        extra = set(found) - set(wanted) if kind == 'inputs' else set()
        if set(wanted) - set(found) or extra:
            raise WeightsError(f'{described.path.name} has the {kind} {sorted(found)}, described were {sorted(wanted)}; '
                               'correct the description or take another file')


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
