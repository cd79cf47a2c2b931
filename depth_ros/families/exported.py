"""A family whose graphs were exported: a folder of ONNX files, and `graphs.json`, which says what they are.

The family itself stays as it is: its `infer` runs the same graphs. What was free is fixed: the size of the pictures, the
frames of a window, the weights and what is folded into them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.core.frame import Clip
from depth_ros.errors import InputError, SettingsError, WeightsError
from depth_ros.families.family import Family, Graph, GraphFile, Infer, Prediction, SizeRule
from depth_ros.settings import Settings, build, flatten

MANIFEST = 'graphs.json'


@dataclass(frozen=True)
class GraphEntry:
    """One ONNX file: of which graph of the family, and what goes in and out, {name: {'shape', 'dtype'}} in order."""

    graph: str
    sha256: str
    data_sha256: str                          # of the weights beside it (`.onnx.data`), '' if they are inside
    each_frame: bool                          # it sees one frame, the family's graph any number
    inputs: Mapping[str, Mapping[str, Any]]
    outputs: Mapping[str, Mapping[str, Any]]
    parity: float                             # largest difference from torch over the spread of the output
    resident: tuple[str, ...] = ()            # outputs that the family only carries: they may stay on the device


@dataclass(frozen=True)
class Manifest:
    """What `graphs.json` says."""

    family: str
    size: tuple[int, int]                     # (h, w) of the pictures that the network sees
    lengths: tuple[int, ...]                  # frames of its windows, the offline one first
    precision: str                            # of the weights: fp32 or fp16
    settings: Mapping[str, Any]               # that it was exported with, where they are not the defaults
    options: Mapping[str, Any]                # of the network, which are folded into the graphs
    weights: Mapping[str, str]                # {file: sha256} that it was made from
    depth_ros: str
    graphs: Mapping[str, GraphEntry]          # by file name without `.onnx`


def is_exported(weights: str) -> bool:
    """Return whether the setting `weights` names an exported folder."""
    return bool(weights) and (Path(weights).expanduser() / MANIFEST).is_file()


def read_manifest(folder: Path) -> Manifest:
    """Return the content of `graphs.json`. Raises WeightsError if it is not one."""
    try:
        content = json.loads((folder / MANIFEST).read_text())
        graphs = {name: GraphEntry(**entry) for name, entry in content.pop('graphs').items()}
        height, width = content.pop('size')
        return Manifest(**content, size=(height, width), graphs=graphs)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WeightsError(f'{folder / MANIFEST} is not what `depth_ros export` writes ({error}); export it '
                           'again') from error


def family(settings: Settings, make: Callable[[Settings], Family]) -> Family:
    """Return the family that `make` makes of settings, as it was exported to the folder `settings.weights`.

    Raises SettingsError where the settings ask for something else than what is in the folder.
    """
    folder = Path(settings.weights).expanduser()
    manifest = read_manifest(folder)
    if settings.family != manifest.family:
        raise SettingsError(f'{folder} holds {manifest.family}, asked for was family={settings.family}; make them agree')
    found = make(build({**_merged(settings, manifest, folder), 'weights': ''}))
    if found.network and dict(found.network.options) != dict(manifest.options):
        raise SettingsError(f'{folder} was exported with {_listed(manifest.options)}, asked for was '
                            f'{_listed(found.network.options)}; leave these settings alone or export again')
    first = manifest.lengths[0]
    windows = {length: found.presets.get(length) or found.rolling(length) for length in manifest.lengths}
    return replace(
        found, size=SizeRule(fixed=manifest.size), infer=partial(_infer, manifest, found.infer), network=None,
        offline=found.offline if found.offline.length == first else windows[first],
        live=found.live if found.live.length in windows else windows[first],
        longest=max(windows), presets={length: spec for length, spec in found.presets.items() if length in windows},
        graphs={name: GraphFile(folder / f'{name}.onnx', entry.sha256, tuple(entry.inputs), tuple(entry.outputs),
                                entry.data_sha256, tuple(entry.resident)) for name, entry in manifest.graphs.items()})


class FixedGraph:
    """A graph of a family over the ONNX files that it was exported to, one for each set of inputs."""

    def __init__(self, name: str, files: Mapping[str, GraphEntry], graphs: Mapping[str, Graph]) -> None:
        self.name = name
        self.files = {frozenset(entry.inputs): (entry, graphs[file]) for file, entry in files.items()}
        self.inputs: dict[str, list[Any]] = {}
        for entry in files.values():
            self.inputs |= {name: list(said['shape']) for name, said in entry.inputs.items()}

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the outputs by name; arrays that stay on a device go in and out as they are.

        Raises InputError for inputs of a number or shape that was not exported.
        """
        if frozenset(inputs) not in self.files:
            raise InputError(f'{self.name} was exported for {" or ".join(str(len(names)) for names in self.files)} inputs, '
                             f'it was given {len(inputs)}; export again with the --length that you want')
        entry, graph = self.files[frozenset(inputs)]
        if not entry.each_frame:
            found = graph.run(self._fit(entry, inputs))
            return {_plain(name, entry): found[name] for name in entry.outputs}
        frames = len(next(iter(inputs.values())))
        outputs = {}
        for i in range(frames):
            one, = graph.run(self._fit(entry, {name: value[i: i + 1] for name, value in inputs.items()})).values()
            outputs[f'frame{i:02}'] = one
        return outputs

    def _fit(self, entry: GraphEntry, inputs: Mapping[str, Any]) -> dict[str, Any]:
        fitting = {}
        for name, said in entry.inputs.items():
            value = inputs[name]
            as_it_is = not isinstance(value, np.ndarray) and value.dtype == said['dtype']    # it stays on its device
            fitting[name] = value if as_it_is else np.ascontiguousarray(value, said['dtype'])
            if fitting[name].shape != tuple(said['shape']):
                raise InputError(f'{name} of {self.name} is {fitting[name].shape}, it was exported for '
                                 f'{tuple(said["shape"])}; export again with the --size and --length that you want')
        return fitting


def _plain(name: str, entry: GraphEntry) -> str:
    """Return the family's name of an output: in a file, one of an input's name has another."""
    plain = name.removesuffix('_out')
    return plain if plain in entry.inputs else name


def joined(manifest: Manifest, graphs: Mapping[str, Graph]) -> dict[str, FixedGraph]:
    """Return the family's graphs by name, of the opened files by name."""
    names = dict.fromkeys(entry.graph for entry in manifest.graphs.values())
    return {name: FixedGraph(name, {file: entry for file, entry in manifest.graphs.items() if entry.graph == name}, graphs)
            for name in names}


def _infer(manifest: Manifest, infer: Infer, graphs: Mapping[str, Graph], clip: Clip, state: Any) -> tuple[Prediction, Any]:
    """Return what the family's `infer` says; a clip shorter than any window is filled up with its last frame."""
    frames = len(clip.indices)
    if frames in manifest.lengths or frames > manifest.lengths[0]:
        return infer(joined(manifest, graphs), clip, state)
    missing = manifest.lengths[0] - frames
    filled = Clip(np.concatenate([clip.rgb, np.repeat(clip.rgb[-1:], missing, axis=0)]),
                  clip.indices + clip.indices[-1:] * missing, clip.camera)
    said, state = infer(joined(manifest, graphs), filled, state)
    parts = {name: value[:frames] for name, value in vars(said).items() if value is not None}
    return Prediction(**parts), state


def _merged(settings: Settings, manifest: Manifest, folder: Path) -> dict[str, Any]:
    """Return the settings with what the folder was exported with, where they say nothing else."""
    asked, defaults = flatten(settings), flatten(Settings())
    merged = {**asked, **{name: value for name, value in manifest.settings.items() if asked[name] == defaults[name]}}
    h, w = manifest.size
    fixed = {
        'model.short_side_px': (manifest.settings.get('model.short_side_px', min(h, w)), f'pictures of {h}x{w} px'),
        'model.precision': (manifest.precision, f'{manifest.precision}'),
        'model.variant': (manifest.settings.get('model.variant', ''), f'{manifest.settings.get("model.variant")}'),
    }
    for name, (value, words) in fixed.items():
        if asked[name] not in (defaults[name], value):
            raise SettingsError(f'{folder} was exported for {words}, asked for was {name}={asked[name]}; leave it out or '
                                'export again')
    if asked['length'] and asked['length'] not in manifest.lengths:
        raise SettingsError(f'{folder} was exported for windows of {" or ".join(map(str, manifest.lengths))} frames, asked '
                            f'for was length={asked["length"]}; leave it out or export again with --length')
    return merged


def _listed(options: Mapping[str, Any]) -> str:
    return ', '.join(f'{name}={value!r}' for name, value in options.items()) or 'no options'
