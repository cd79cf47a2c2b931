"""`depth_ros bench`: what depth costs on this machine, stage by stage, as it grows, and against another way of making it."""

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from depth_ros.benchmark.machine import describe, in_words
from depth_ros.commands.options import parse_setting, parse_size
from depth_ros.errors import DepthRosError, InputError, OutputError, SettingsError

if TYPE_CHECKING:
    from depth_ros.core.stream import DepthStream

FORGET = 'forget'


def bench(
    family: Annotated[str, typer.Option(help='Model family.')] = 'lite',
    weights: Annotated[str, typer.Option(help='File or folder with the weights; default: the shipped ones.')] = '',
    size: Annotated[str, typer.Option(help='Size of the pictures, height x width.')] = '480x640',
    frames: Annotated[int, typer.Option(help='Frames to time; memory is watched over all of them.', min=1)] = 300,
    threads: Annotated[int, typer.Option(help='CPU threads of the network.')] = 0,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    offline: Annotated[bool, typer.Option(help='Use the windows of recordings; default: those of the live node.')] = False,
    sweep: Annotated[list[str] | None, typer.Option(
        help='Time each value of a setting, size or frames in a fresh process, e.g. length=8,16,32; repeatable.')] = None,
    against: Annotated[str, typer.Option(
        help='Time this in turn with ours: settings ("backend=torch weights=W", and the word forget, with which every '
        'inference starts from nothing), an ONNX file, or a shell command.')] = '',
    command: Annotated[str, typer.Option(help='For --against COMMAND: the shell command that is ours.')] = '',
    rounds: Annotated[int, typer.Option(help='Rounds of --against.', min=1)] = 5,
    out: Annotated[Path | None, typer.Option(help='Write the figures as JSON, too.')] = None,
) -> None:
    """Time every stage from message in to messages out; or how that grows; or against something else, in turn."""
    from depth_ros.io.output import writing

    given: dict[str, Any] = {'family': family, 'weights': weights, 'threads': threads,
                             **dict(parse_setting(text) for text in set or ())}
    if sweep and (against or command):
        raise SettingsError('--sweep or --against: one at a time; leave the other out')
    if out and not out.parent.is_dir():
        raise OutputError(f'there is no folder {out.parent} for --out; make it or give another name')
    height, width = parse_size(size)
    if against or command:
        figures = _compare(given, (height, width), frames, offline, against, command, rounds)
    elif sweep:
        figures = {'rows': _sweep(given, size, frames, offline, sweep)}
    else:
        figures = _measure(given, (height, width), frames, offline)
    figures = {'machine': describe(), **figures}
    print('\n'.join(_written(figures)))
    if out:
        with writing(out):
            out.write_text(json.dumps(figures, indent=1) + '\n')


def _measure(given: dict[str, Any], size: tuple[int, int], frames: int, offline: bool) -> dict[str, Any]:
    from depth_ros.benchmark.stages import compare_packing, time_stages

    stream = _open(given, offline)
    figures = time_stages(stream, *size, frames)
    return {**_said(stream, size), **figures, 'packing_speedup': round(compare_packing(*size), 1)}


def _sweep(given: dict[str, Any], size: str, frames: int, offline: bool, sweep: list[str]) -> list[dict[str, Any]]:
    """Return the figures for each combination of the values, each of a fresh process, whose peak memory is its own."""
    from depth_ros.families import load_family
    from depth_ros.pipeline import window_spec
    from depth_ros.settings import build

    rows = []
    for swept in product(*map(_values, sweep)):
        values = dict(swept)
        row = ' '.join(f'{name}={value}' for name, value in swept)
        height_width, count = parse_size(values.pop('size', size)), values.pop('frames', str(frames))
        if not count.isdecimal() or not int(count):
            raise SettingsError(f'--sweep frames={count}: expected whole numbers, e.g. frames=100,1000')
        settings = {**given, **dict(parse_setting(f'{name}={value}') for name, value in values.items())}
        built = build(settings)
        window_spec(load_family(built), built, live=not offline)    # says what is wrong before anything is timed
        rows.append((row, settings, height_width, int(count)))
    return [{'swept': row, **_measure_afresh(row, *arguments, offline)} for row, *arguments in rows]


def _values(text: str) -> list[tuple[str, str]]:
    """Return [(name, value), ...] of "name=value,value"."""
    name, _, values = text.partition('=')
    if not values:
        raise SettingsError(f'--sweep {text}: expected name=value,value, e.g. size=240x320,480x640 or length=8,16,32')
    return [(name, value) for value in values.split(',')]


def _measure_afresh(row: str, *arguments: Any) -> dict[str, Any]:
    process = ProcessPoolExecutor(1, get_context('spawn'))
    try:
        return process.submit(_measure, *arguments).result()
    except DepthRosError as error:
        raise type(error)(f'{row}: {error}') from error
    except BrokenProcessPool as error:
        raise SettingsError(f'{row}: the process was killed, as happens where memory runs out; leave it out') from error
    finally:
        process.shutdown()


def _compare(given: dict[str, Any], size: tuple[int, int], frames: int, offline: bool, against: str, command: str,
             rounds: int) -> dict[str, Any]:
    from depth_ros.benchmark.against import compare_commands, compare_files, compare_streams, forgetful
    from depth_ros.settings import build

    try:
        words = shlex.split(against)
    except ValueError as error:
        raise SettingsError(f'--against {against}: {error}; close what you open') from None
    if words and not command and all(word == FORGET or '=' in word for word in words):
        changed = dict(parse_setting(word) for word in words if word != FORGET)
        streams = _open(given, offline), _open({**given, **changed}, offline)
        if FORGET in words:
            forgetful(streams[1])
        return {**_said(streams[0], size), 'against': {**_said(streams[1], size), 'asked': against},
                **compare_streams(*streams, *size, frames, rounds)}
    if against.endswith('.onnx') and len(words) == 1 and not command:
        files = Path(given['weights']), Path(against)
        for option, path in zip(('--weights', '--against'), files, strict=True):
            if path.suffix != '.onnx' or not path.is_file():
                raise InputError(f'{option} {path if path.name else "(not given)"} is no ONNX file; give two, for one is '
                                 'held against the other')
        return {'ours': str(files[0]), 'against': against,
                **compare_files(*files, build({**given, 'weights': ''}), size, rounds)}
    if not command or not against:
        raise SettingsError(f'--against {against!r}, --command {command!r}: expected two shell commands; or give --against '
                            'alone, with settings like "backend=torch", or an ONNX file')
    return {'ours': command, 'against': against, **compare_commands(command, against, rounds)}


def _open(given: dict[str, Any], offline: bool) -> 'DepthStream':
    from depth_ros.pipeline import open_stream
    from depth_ros.settings import build

    return open_stream(build(given), live=not offline)


def _said(stream: 'DepthStream', size: tuple[int, int]) -> dict[str, Any]:
    """Return what was timed: which network on what, how it sees the stream, and every setting that is not the default."""
    from depth_ros.benchmark.stages import nominal_camera
    from depth_ros.settings import Settings, flatten

    spec, defaults = stream.spec, flatten(Settings())
    return {'family': stream.family.name, 'backend': stream.info['backend'], 'backend_note': stream.info['backend_note'],
            'size': list(size), 'network_size': list(stream.family.size(*size, nominal_camera(*size))),
            'window': {'length': spec.length, 'stride': spec.stride, 'live': spec.live},
            'settings': {name: value for name, value in flatten(stream.settings).items() if value != defaults[name]}}


# What is printed: tables as they stand in a README.

def _written(figures: dict[str, Any]) -> list[str]:
    lines = [in_words(figures['machine']), '']
    if 'ratio' in figures:
        return lines + _comparison(figures)
    if 'rows' in figures:
        return lines + _growth(figures['rows'])
    return lines + _stages(figures)


def _stages(figures: dict[str, Any]) -> list[str]:
    medians, p95, grew = figures['median_ms'], figures['p95_ms'], figures['last_third_over_first']
    return [
        f'{_title(figures)}, {figures["frames"]} frames', '',
        *_table(('ms per frame', 'median', '95 of 100 below'),
                [(name, f'{medians[name]:.2f}', f'{p95[name]:.2f}') for name in medians]), '',
        f'{figures["frames_per_s"]:.2f} frames/s from message to messages; longest frame {figures["longest_ms"]:.1f} ms',
        f'metric and cloud: {figures["metric_and_cloud_ms"]:.2f} ms, '
        f'all but inference: {figures["all_but_inference_ms"]:.2f} ms, '
        f'{figures["all_but_inference_over_inference"]:.2f} of inference',
        f'peak memory {_mb(figures["peak_memory_mb"])}'
        + f', of the GPU {_mb(figures["gpu_peak_memory_mb"])}' * (figures['gpu_peak_memory_mb'] is not None)
        + f'; over the timed frames it grew by {_mb(figures["memory_growth_mb"])}',
        *([f'the last third of the frames cost {grew:.2f} times what the first cost, in processor time '
           f'{figures["last_third_over_first_cpu"]:.2f} times'] if grew is not None else []),
        f'messages are packed {figures["packing_speedup"]:.0f} times as fast as element by element',
    ]


def _growth(rows: list[dict[str, Any]]) -> list[str]:
    head = ('', 'network', 'window', 'frames', 'frames/s', 'ms per frame', 'of it infer', 'peak memory',
            'last third / first, processor time')
    return _table(head, [(
        row['swept'], _by(row['network_size']), _window(row['window']), str(row['frames']), f'{row["frames_per_s"]:.2f}',
        f'{row["median_ms"]["frame"]:.1f}', f'{row["median_ms"]["infer"]:.1f}', _mb(row['peak_memory_mb']),
        str(row['last_third_over_first_cpu'] or '-')) for row in rows])


def _comparison(figures: dict[str, Any]) -> list[str]:
    ours, other = figures.get('ours', ''), figures['against']
    if not ours:
        ours, other = _title(figures), f'{other["asked"]}: {_title(other)}'
    difference = figures.get('largest_difference')
    columns = 3 if 'peak_memory_mb' in figures else 2    # streams share a process, and its peak
    rows = [('', 'median ms', 'peak memory'),
            (ours, f'{figures["ours_ms"]:.2f}', _mb(figures.get('peak_memory_mb'))),
            (other, f'{figures["against_ms"]:.2f}', _mb(figures.get('against_peak_memory_mb')))]
    head, *rest = (row[:columns] for row in rows)
    return [
        *_table(head, rest), '',
        f'ours is {figures["ratio"]:.2f} times as fast ({figures["ratio_least"]:.2f} to {figures["ratio_most"]:.2f} in '
        f'{figures["rounds"]} rounds in turn)'
        + (f', in processor time {figures["ratio_cpu"]:.2f}' if 'ratio_cpu' in figures else '')
        + (f'; largest difference {difference:.1e} of the spread' if difference is not None else ''),
    ]


def _title(said: dict[str, Any]) -> str:
    return (f'{said["family"]} on {said["backend"]}, pictures {_by(said["size"])}, network {_by(said["network_size"])}, '
            f'windows of {_window(said["window"])}')


def _window(said: dict[str, Any]) -> str:
    return f'{said["length"]} every {said["stride"]} {"live" if said["live"] else "offline"}'


def _by(size: Sequence[int]) -> str:
    return 'x'.join(map(str, size))


def _mb(value: float | None) -> str:
    return '-' if value is None else f'{value:.1f} MB'


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f'| {" | ".join(row)} |' for row in (head, ('---',) * len(head), *rows)]
