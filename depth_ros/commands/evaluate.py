"""`depth_ros evaluate`: networks against the truth, on sets of pictures and videos."""

import json as json_format
import math
import sys
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from depth_ros.benchmark.machine import machine
from depth_ros.commands.options import parse_setting
from depth_ros.commands.process import progress
from depth_ros.errors import InputError, SettingsError

if TYPE_CHECKING:
    from depth_ros.core.stream import DepthStream
    from depth_ros.evaluation.datasets import Sequence
    from depth_ros.evaluation.measured import RangeSensor
    from depth_ros.evaluation.report import Panel
    from depth_ros.evaluation.score import Score


class Network(NamedTuple):
    """A network under test."""

    name: str
    stream: 'DepthStream'


def evaluate(
    dataset: Annotated[list[Path], typer.Option(help='Folder with pictures and truth, or with several such; repeatable.')],
    family: Annotated[list[str] | None, typer.Option(
        help='Model family, or the YAML description of a network of yours; repeatable.')] = None,
    weights: Annotated[str | None, typer.Option(help='File with the weights; default: the shipped ones.')] = None,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    range_points: Annotated[int, typer.Option(help='For metric.source=range: true depths per measurement.')] = 200,
    range_outliers: Annotated[float, typer.Option(help='The share of them that is wrong.')] = 0.0,
    range_rate: Annotated[float, typer.Option(help='Measurements per second; 0: with every picture [Hz].')] = 0.0,
    json: Annotated[Path | None, typer.Option(help='Write settings and the score of every picture (.json).')] = None,
    report: Annotated[Path | None, typer.Option(help='Write curves, pictures and clouds to look at (.html).')] = None,
    table: Annotated[bool, typer.Option(help='Print the tables as Markdown.')] = False,
    overwrite: Annotated[bool, typer.Option(help='Replace existing outputs once the new ones are complete.')] = False,
) -> None:
    """Score networks side by side, on the same pictures with the same protocol."""
    from depth_ros.evaluation.measured import RangeSensor
    from depth_ros.evaluation.report import make_report
    from depth_ros.evaluation.tables import as_markdown, as_text, tables
    from depth_ros.io.output import complete_or_nothing, writing

    with ExitStack() as stack:
        places = {path: stack.enter_context(complete_or_nothing(path, overwrite)) for path in (json, report) if path}
        sequences = open_sequences(dataset)
        networks = open_networks(family, weights, set or [])
        sensor = RangeSensor(range_points, range_outliers, range_rate)
        scores, panels = score_all(networks, sequences, report is not None, sensor)
        print('\n\n'.join((as_markdown if table else as_text)(item) for item in tables(scores)))
        if json:
            with writing(json):
                places[json].write_text(json_format.dumps(as_json(networks, sequences, scores), indent=1) + '\n')
        if report:
            with writing(report):
                places[report].write_text(make_report(scores, panels, versions()), encoding='utf8')
    notes = [f'{score.network}, {note}' for score in scores for note in score.notes]
    if not find_spec('scipy'):
        notes.append("edge Chamfer and cloud F1 are left out; pip install 'depth_ros[eval]' brings what they need")
    for note in notes:
        print(f'depth_ros: note: {note}', file=sys.stderr)


def open_sequences(paths: list[Path]) -> 'list[Sequence]':
    """Return the sets in all folders; their names are unique."""
    from depth_ros.evaluation.datasets import open_datasets

    sequences = [sequence for path in paths for sequence in open_datasets(path)]
    names = [sequence.name for sequence in sequences]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f'several sets are named {", ".join(twice)}; rename their folders or give fewer of them')
    return sequences


def open_networks(families: list[str] | None, weights: str | None, texts: list[str]) -> list[Network]:
    """Return the networks under test, all opened, so that a mistake shows before hours have passed.

    Raises SettingsError, WeightsError or MissingDependency, each with the remedy.
    """
    from depth_ros.pipeline import open_stream
    from depth_ros.settings import Settings, build

    families = families or [Settings().family]
    if weights is not None and len(families) > 1:
        raise SettingsError('--weights goes with one --family; describe further networks in YAML files')
    given = dict(parse_setting(text) for text in texts) | ({} if weights is None else {'weights': weights})
    if cameras := [name for name in given if name.startswith('camera.')]:
        raise SettingsError(f'{cameras[0]}: the sets bring their calibration; leave camera settings away')
    networks = []
    for family in families:
        described = Path(family).suffix in ('.yaml', '.yml')
        own = {'family': 'onnx', 'weights': family} if described else {'family': family}
        networks.append(Network(Path(family).stem if described else family, open_stream(build(given | own))))
    if len({network.name for network in networks}) < len(networks):
        raise SettingsError(f'--family {", ".join(families)}: two networks have one name; rename a description')
    return networks


def score_all(networks: list[Network], sequences: 'list[Sequence]',
              wanted: bool, sensor: 'RangeSensor | None' = None) -> 'tuple[list[Score], dict[tuple[str, str], Panel]]':
    """Return the score of every network on every set and, where they are `wanted`, what to show by (set, network)."""
    from depth_ros.evaluation.report import interesting, make_panel
    from depth_ros.evaluation.score import looks, predict, score, still_noise

    scores, panels = [], {}
    for network in networks:
        for sequence in sequences:
            with TemporaryDirectory(prefix='depth_ros_') as folder, progress(sequence.name, sequence.count) as advance:
                predicted = predict(network.stream, sequence, Path(folder), advance, sensor)
                scores.append(score(predicted, network.name, still_noise(network.stream, sequence)))
                if wanted:
                    panels[sequence.name, network.name] = make_panel(scores[-1], looks(predicted, interesting(scores[-1])))
    return scores, panels


def versions() -> dict[str, str]:
    """Return what ran."""
    import cv2
    import numpy as np
    import onnxruntime

    from depth_ros import __version__

    return {'depth_ros': __version__, 'numpy': np.__version__, 'OpenCV': cv2.__version__,
            'onnxruntime': onnxruntime.__version__, 'machine': machine()}


def as_json(networks: list[Network], sequences: 'list[Sequence]', scores: 'list[Score]') -> dict[str, Any]:
    """Return everything that was measured, and with what; unknown values are null."""
    from depth_ros.settings import flatten

    return {
        'versions': versions(),
        'networks': {network.name: {**network.stream.info, 'settings': flatten(network.stream.settings)}
                     for network in networks},
        'sets': {item.name: {'pictures': item.count, 'video': item.is_video, 'far_m': item.far_m, 'depth': item.has_depth,
                             'poses': item.has_poses, 'licence': item.licence} for item in sequences},
        'scores': [{'set': item.dataset, 'network': item.network, 'metrics': item.metrics, 'notes': item.notes,
                    'frames': [_without_nan(asdict(frame)) for frame in item.frames]} for item in scores],
    }


def _without_nan(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
