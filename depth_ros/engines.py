"""What runs a family's ONNX files: ONNX Runtime; or TensorRT or OpenVINO, where they say the same."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from depth_ros.errors import BackendError, WeightsError
from depth_ros.families import files
from depth_ros.families.clip import Recorder, run_on_clip
from depth_ros.families.family import Family, Graph, GraphFile
from depth_ros.runtime.build import BuildOptions, Progress
from depth_ros.runtime.cpu import bf16_units
from depth_ros.runtime.engine_cache import open_engine
from depth_ros.runtime.onnx_graph import OnnxGraph
from depth_ros.runtime.openvino_graph import OpenVinoGraph
from depth_ros.runtime.probe import RUNS, Compared
from depth_ros.runtime.tensorrt_graph import TensorRtGraph, find_platform
from depth_ros.settings import Settings


def open_files(family: Family, settings: Settings, size: tuple[int, int],
               length: int) -> tuple[dict[str, Graph], list[Path], list[str], str]:
    """Return the graphs of a family's ONNX files by name, the files, their hashes, and what is to be said of the backend.

    `size` (h, w) of the pictures and `length` of the windows that it is going to see. Raises WeightsError or BackendError.
    """
    paths = {name: graph.path for name, graph in family.graphs.items()}
    for path in paths.values():
        if not path.is_file():
            raise WeightsError(f'there is no weights file {path}; give the path of one with the setting weights')
    hashes = files.verify(paths, family.graphs)
    beside = {name: GraphFile(graph.path.with_name(f'{graph.path.name}.data'), graph.data_sha256)
              for name, graph in family.graphs.items() if graph.data_sha256}
    files.verify({name: file.path for name, file in beside.items()}, beside)
    graphs, note = (_by_openvino(family, settings, size, length) if settings.backend == 'openvino' else
                    run_files(settings, paths, {name: graph.resident for name, graph in family.graphs.items()}))
    for name, graph in family.graphs.items():
        check_names(graph, graphs[name])
    return dict(graphs), list(paths.values()), list(hashes.values()), note


def _by_openvino(family: Family, settings: Settings, size: tuple[int, int],
                 length: int) -> tuple[dict[str, OpenVinoGraph], str]:
    """Return the graphs in the shortest format in which they say what ONNX Runtime says, seen on a made clip.

    Raises BackendError where they never do.
    """
    refusals: list[str] = []
    references = {name: OnnxGraph(file.path, settings.threads) for name, file in family.graphs.items()}
    formats = ['bf16'] * bool(bf16_units() and settings.model.precision == 'auto') + ['fp32']
    for precision in formats:
        graphs = {name: OpenVinoGraph(file.path, settings.threads, precision) for name, file in family.graphs.items()}
        both = {name: Compared(graph, references[name]) for name, graph in graphs.items()}
        run_on_clip(family, both, size, [length])
        refused = [f'{name} in {precision}: {said}' for name, pair in both.items() if (said := pair.refusal(precision))]
        if not refused:
            return graphs, '; '.join([precision, *refusals])
        refusals += refused
    raise BackendError(f'OpenVINO says something else than ONNX Runtime ({"; ".join(refusals)}); set backend to onnx')


def run_files(settings: Settings, paths: Mapping[str, Path],
              resident: Mapping[str, tuple[str, ...]] | None = None) -> tuple[dict[str, TensorRtGraph | OnnxGraph], str]:
    """Return the graphs of ONNX files on the backend of the settings, and why it is not a better one.

    `resident`: outputs by graph that may stay on the device.
    """
    note = ''
    if settings.backend in ('auto', 'tensorrt'):
        try:    # all or none; engines are built ahead of time, for that takes minutes
            engines = {name: open_engine(path, build=False, resident=(resident or {}).get(name, ()))
                       for name, path in paths.items()}
            return dict(engines), ' '.join(filter(None, (engine.note for engine in engines.values())))
        except BackendError as error:
            if settings.backend == 'tensorrt':
                raise
            note = f'not tensorrt: {error}'
    return {name: OnnxGraph(path, settings.threads) for name, path in paths.items()}, note


def refusal(file: Path, reference: Path, inputs: Mapping[str, Any], precision: str) -> str:
    """Return what an ONNX file computes of these inputs beyond the limits of the `precision`, '' if nothing."""
    both = Compared(OnnxGraph(file), OnnxGraph(reference))
    both.run(inputs)
    return both.refusal(precision)


def build_engines(family: Family, size: tuple[int, int], progress: Progress, cancel: threading.Event | None = None, *,
                  build: bool = True, force: bool = False) -> dict[str, TensorRtGraph]:
    """Return the engines of a family's ONNX files for pictures of `size`; those that are not in the cache are built.

    They are compared with ONNX Runtime on what the family feeds them. Raises BackendError where TensorRT cannot serve.
    """
    platform = find_platform()    # or there is no need for what follows
    fed, engines = _fed(family, size), {}
    for number, (name, file) in enumerate(family.graphs.items()):
        def tell(what: str, share: float, number: int = number, file: GraphFile = file) -> None:
            progress(f'{file.path.name} ({what})', (number + share) / len(family.graphs))

        calls, options = fed[name].calls, BuildOptions(shapes=fed[name].open_shapes())
        engines[name] = open_engine(
            file.path, resident=file.resident, build=build, force=force, options=options, platform=platform, progress=tell,
            cancel=cancel, probes=[calls[i % len(calls)] for i in range(RUNS) if calls])
        check_names(file, engines[name])
    return engines


def _fed(family: Family, size: tuple[int, int]) -> dict[str, Recorder]:
    """Return by file what the family feeds it on a made clip, offline and live."""
    found = {name: Recorder(OnnxGraph(file.path)) for name, file in family.graphs.items()}
    run_on_clip(family, found, size, dict.fromkeys((family.offline.length, family.live.length)))
    for recorder in found.values():
        del recorder.graph    # the builds need the memory
    return found


def check_names(described: GraphFile, graph: OnnxGraph | OpenVinoGraph | TensorRtGraph) -> None:
    """Raise WeightsError unless the network has the inputs and outputs that were described."""
    for kind, wanted, found in (('inputs', described.inputs, graph.inputs), ('outputs', described.outputs, graph.outputs)):
        extra = set(found) - set(wanted) if kind == 'inputs' else set()
        if set(wanted) - set(found) or extra:
            raise WeightsError(f'{described.path.name} has the {kind} {sorted(found)}, described were {sorted(wanted)}; '
                               'correct the description or take another file')
