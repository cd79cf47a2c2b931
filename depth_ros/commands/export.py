"""`depth_ros export`: the graphs of a family as ONNX files of fixed shapes, held against torch before they are kept."""

import json
import shutil
import tempfile
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from depth_ros.commands.options import parse_setting, parse_size
from depth_ros.errors import InputError, OutputError, SettingsError, WeightsError

if TYPE_CHECKING:
    from types import ModuleType

    from depth_ros.families.exported import Manifest
    from depth_ros.families.family import Family, Graph
    from depth_ros.settings import Settings

LIMITS = {'fp32': 1e-3, 'fp16': 0.1, 'int8': 0.5}    # largest difference from torch in float32, over the output's spread
PICTURE = (480, 640)                                 # whose network size is taken where none is asked for


def export(
    family: Annotated[str, typer.Option(help='Model family; `depth_ros models` lists them.')],
    out: Annotated[Path, typer.Option(help='Folder to make: one ONNX file per graph, and graphs.json.')],
    weights: Annotated[str, typer.Option(help='File or folder with the weights; default: downloaded or shipped.')] = '',
    size: Annotated[str, typer.Option(help='Size of the pictures that the network sees, height x width; default: that '
                                      'of 480x640 pictures.')] = '',
    precision: Annotated[str, typer.Option(help='fp32, fp16, or int8 (matrix products, for CPUs; graphs that lose too '
                                           'much by it stay fp32).')] = 'fp32',
    length: Annotated[int, typer.Option(help='Frames of a window; default: as the family was made.')] = 0,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
) -> None:
    """Write the graphs of a family as ONNX files in a folder that any command and the node take for `weights`."""
    from depth_ros.io.output import writing
    from depth_ros.settings import build

    if precision not in LIMITS:
        raise SettingsError(f'--precision {precision}: expected {", ".join(LIMITS)}')
    if out.exists():
        raise OutputError(f'{out} exists; remove it or give another folder')
    settings = build({'family': family, 'weights': weights, 'length': length,
                      **dict(parse_setting(text) for text in set or ())})
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f'.{out.name}.', dir=out.parent))
    try:
        manifest = write(settings, parse_size(size) if size else None, precision, partial)
        partial.chmod(0o755)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    h, w = manifest.size
    print(f'{out}: {family} for pictures of {h}x{w} px, windows of {" or ".join(map(str, manifest.lengths))} '
          f'frame{"s" * (manifest.lengths[0] > 1)}, {precision}')
    for name, entry in manifest.graphs.items():
        print(f'    {name}.onnx: {len(entry.inputs)} inputs, differs from torch by {entry.parity:.1g} of the spread at most')


def write(settings: 'Settings', size: tuple[int, int] | None, precision: str, folder: Path) -> 'Manifest':
    """Fill an empty folder with the graphs of the family that the settings name, and return what `graphs.json` says.

    Raises WeightsError if what was written does not compute what torch computes, SettingsError for a family without a
    torch network or with words.
    """
    from depth_ros.families import exported, files, load_family
    from depth_ros.io.output import writing

    family = load_family(settings)
    if exported.is_exported(settings.weights):
        raise SettingsError(f'{settings.weights} is exported already; give the weights that it was made from')
    if family.ask:
        raise SettingsError(f'{family.name} writes words, one after the other, and cannot be exported; run it on torch')
    import torch

    from depth_ros.models import export as onnx_files
    from depth_ros.pipeline import window_spec

    module, paths = _network(family, settings)
    hashes = files.verify(paths, family.network.files if family.network else family.graphs)
    graphs = module.open_graphs(paths, torch.float32, 'cpu', **(family.network.options if family.network else {}))
    for graph in graphs.values():
        onnx_files.settle_positions(graph)
    recorders = {name: onnx_files.Recorder(graph) for name, graph in graphs.items()}
    each_frame = {name: onnx_files.is_each_frame(graph) for name, graph in graphs.items()}
    size = size or family.size(*PICTURE, None)
    lengths = tuple(dict.fromkeys((window_spec(family, settings, live=False).length,
                                   *([1] if family.carries_state and not settings.length else []))))
    _record(family, {name: _OneByOne(recorder) if each_frame[name] else recorder for name, recorder in recorders.items()},
            size, lengths)
    half = precision == 'fp16'
    entries, recorded = {}, {}
    for name, recorder in recorders.items():
        if half:
            onnx_files.halve(graphs[name])
        calls = sorted(recorder.calls.values(), key=lambda call: -len(call[0]))
        for number, (inputs, outputs) in enumerate(calls):
            file = f'{name}_{len(inputs)}' if number else name
            with writing(folder / f'{file}.onnx'):
                written = onnx_files.write(graphs[name], inputs, tuple(outputs), folder / f'{file}.onnx',
                                           torch.float16 if half else torch.float32)
            sums = [files.sha256(path) for path in written] + ['']
            stays = tuple(onnx_files.output_name(one, inputs) for one in outputs
                          if one.startswith(getattr(graphs[name], 'resident', ())))
            entries[file] = exported.GraphEntry(name, sums[0], sums[1], each_frame[name], _described(inputs),
                                                _described({onnx_files.output_name(one, inputs): value
                                                            for one, value in outputs.items()}), 0.0, stays)
            recorded[file] = inputs, outputs
    from depth_ros import __version__

    named = _with_variant(settings, family)
    known = load_family(named).network
    manifest = exported.Manifest(
        family.name, size, lengths, precision, _said(named), known.options if known else {},
        {path.name: hashes[role] for role, path in paths.items()}, __version__, entries)
    _save(manifest, folder)
    del graphs, recorders
    if precision == 'int8':
        _parity(settings, folder, recorded, 'fp32')
        manifest = _quantise(manifest, folder, {name: inputs for name, (inputs, _) in recorded.items()})
        _save(manifest, folder)
    parity = _parity(settings, folder, recorded, precision)
    manifest = replace(manifest, graphs={name: replace(entry, parity=parity[name])
                                         for name, entry in manifest.graphs.items()})
    _save(manifest, folder)
    return manifest


def _network(family: 'Family', settings: 'Settings') -> tuple['ModuleType', dict[str, Path]]:
    """Return the module that builds the family's torch network, and the files that it takes, by role.

    A family without torch may have a network all the same, which takes the weights of its ONNX files.
    """
    from depth_ros.families import files

    if family.network:
        return import_module(f'depth_ros.models.{family.network.module}'), files.locate(family, settings.weights)
    try:
        module = import_module(f'depth_ros.models.{family.name}')
    except ModuleNotFoundError:
        raise SettingsError(f'{family.name} runs on ONNX files already; give their path with weights') from None
    return module, {name: graph.path for name, graph in family.graphs.items()}


class _OneByOne:
    """Runs a graph frame by frame, as the exported file is run."""

    def __init__(self, graph: 'Graph') -> None:
        self.graph, self.inputs = graph, graph.inputs

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        frames = len(next(iter(inputs.values())))
        found = [self.graph.run({name: value[i: i + 1] for name, value in inputs.items()}) for i in range(frames)]
        return {f'frame{i:02}': one for i, outputs in enumerate(found) for one in outputs.values()}


def _record(family: 'Family', graphs: dict[str, Any], size: tuple[int, int], lengths: tuple[int, ...]) -> None:
    """Run the family on a made clip. Raises InputError for a size that does not work."""
    from depth_ros.families.clip import run_on_clip

    try:
        run_on_clip(family, graphs, size, lengths)
    except (RuntimeError, ValueError) as error:    # of torch and numpy, about shapes
        (h, w), near = size, 'x'.join(map(str, family.size(*PICTURE, None)))
        first = str(error).strip().splitlines()[0]
        raise InputError(f'{family.name} cannot see pictures of {h}x{w} px ({first}); give a --size like {near}, whose '
                         'sides are multiples of its patch') from error


def _parity(settings: 'Settings', folder: Path, recorded: dict[str, Any], precision: str) -> dict[str, float]:
    """Return by file the largest difference between torch's recorded outputs and ONNX Runtime's, over their spread.

    Raises WeightsError where that is above the limit of the precision or not a number.
    """
    from depth_ros.families import load_family
    from depth_ros.families.exported import FixedGraph, read_manifest
    from depth_ros.pipeline import open_graphs
    from depth_ros.settings import build, flatten

    opened, _ = open_graphs(load_family(build({**flatten(settings), 'weights': str(folder)})), settings)
    entries, found = read_manifest(folder).graphs, {}
    for name, (inputs, outputs) in recorded.items():
        got = FixedGraph(name, {name: entries[name]}, opened).run(inputs)
        values = zip(outputs.values(), got.values(), strict=True)
        found[name] = max(float(np.abs(given - wanted).max() / max(float(wanted.std()), 1e-9)) for wanted, given in values)
        if not found[name] <= LIMITS[precision]:
            remedy = 'run it on torch' if precision == 'fp32' else 'try --precision fp32'
            raise WeightsError(f'{name}.onnx differs from torch by {found[name]:.2g} of the spread of its output, allowed '
                               f'are {LIMITS[precision]:g}; nothing was written, {remedy}')
    return found


def _quantise(manifest: 'Manifest', folder: Path, inputs: dict[str, Any]) -> 'Manifest':
    """Put int8 in the place of every float32 graph that says about the same with it; `inputs` are what to try it on.

    Raises WeightsError if there is none.
    """
    from depth_ros.engines import refusal
    from depth_ros.families import files
    from depth_ros.models.export import quantise

    graphs, refusals = dict(manifest.graphs), []
    for name, entry in manifest.graphs.items():
        path, short = folder / f'{name}.onnx', folder / f'{name}.int8'
        try:
            quantise(path, short)
            refused = refusal(short, path, inputs[name], 'int8')
        except Exception as error:    # the quantiser does not take every network, and says so in many ways
            refused = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if refused:
            refusals.append(f'{name} stays fp32, for in int8: {refused}')
            short.unlink(missing_ok=True)
            continue
        short.replace(path)
        path.with_name(f'{path.name}.data').unlink(missing_ok=True)
        graphs[name] = replace(entry, sha256=files.sha256(path), data_sha256='')
    if len(refusals) == len(graphs):
        raise WeightsError(f'{manifest.family} does not bear int8 ({"; ".join(refusals)}); nothing was written, take fp32')
    for line in refusals:
        print(line)
    return replace(manifest, graphs=graphs)


def _described(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    return {name: {'shape': list(value.shape), 'dtype': str(value.dtype)} for name, value in arrays.items()}


def _with_variant(settings: 'Settings', family: 'Family') -> 'Settings':
    """Return the settings without weights, and with the variant that the family takes them for, where it has several."""
    from depth_ros.families import load_family
    from depth_ros.settings import build, flatten

    plain = {**flatten(settings), 'weights': ''}
    for variant in [settings.model.variant] if settings.model.variant else family.variants:
        named = build({**plain, 'model.variant': variant})
        known = load_family(named).network
        if known and family.network and known.files == family.network.files:
            return named
    return build(plain)


def _said(settings: 'Settings') -> dict[str, Any]:
    """Return what is said of the model and is not the default."""
    from depth_ros.settings import Settings, flatten

    defaults = flatten(Settings())
    return {name: value for name, value in flatten(settings).items() if name.startswith('model.')
            and name not in ('model.device', 'model.precision') and value != defaults[name]}


def _save(manifest: 'Manifest', folder: Path) -> None:
    from depth_ros.families.exported import MANIFEST

    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1) + '\n')
