"""One way held against another: in rounds, one after the other, so that a machine that drifts is the same for both."""

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros.benchmark.machine import memory_mb
from depth_ros.benchmark.stages import make_frame, pictures, warm_up_frames
from depth_ros.errors import InputError, SettingsError, need

if TYPE_CHECKING:
    from depth_ros.core.stream import DepthStream
    from depth_ros.families.family import Graph
    from depth_ros.settings import Settings

LEAST_S = 0.2    # an ONNX file is run again and again for so long in a round


def compare_streams(ours: 'DepthStream', other: 'DepthStream', height: int, width: int, frames: int,
                    rounds: int) -> dict[str, Any]:
    """Return what a frame costs in either stream; both see the same pictures, in each round as many whole windows.

    Raises SettingsError for torch networks that want different numbers of threads: torch has one number for all.
    """
    streams = ours, other
    if ours.settings.threads != other.settings.threads and any('torch' in stream.info['backend'] for stream in streams):
        raise SettingsError('--against: torch has one number of threads for both sides; set it for both with --threads')
    whole = math.lcm(*(stream.spec.stride for stream in streams))
    count = whole * max(1, round(frames / rounds / whole))
    differences: list[float] = []
    maps: list[dict[int, np.ndarray]] = [{}, {}]
    push = [_pusher(stream, height, width, own) for stream, own in zip(streams, maps, strict=True)]
    computed: list[list[float]] = [[], []]    # seconds of all threads; other programs do not change them

    def side(number: int, count: int) -> float:
        seconds, of_all_threads = push[number](count)
        computed[number].append(of_all_threads)
        for index in maps[0].keys() & maps[1].keys():
            differences.append(_difference(maps[0].pop(index), maps[1].pop(index)))
        return seconds / count

    for number in range(2):
        side(number, max(warm_up_frames(stream.spec, 1) for stream in streams))
    seconds = interleave([partial(side, number, count) for number in range(2)], rounds)
    return {**ratio_of(seconds), 'ratio_cpu': ratio_of([each[-rounds:] for each in computed])['ratio'],
            'frames': rounds * count, 'largest_difference': max(differences, default=None)}


def compare_files(ours: Path, other: Path, settings: 'Settings', size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Return what a run of either ONNX file costs on random inputs of its own shapes; the same ones where these agree.

    Raises WeightsError for what is no network, InputError for one that does not run on noise.
    """
    from depth_ros.engines import run_files

    opened, _ = run_files(settings, {'ours': ours, 'other': other})
    graphs = opened['ours'], opened['other']
    inputs = [_random_inputs(path, size) for path in (ours, other)]
    outputs = [_first_run(*each) for each in zip((ours, other), graphs, inputs, strict=True)]
    alike = [[array.shape for array in arrays.values()] for arrays in inputs]
    shapes = [[array.shape for array in arrays] for arrays in outputs]
    same = alike[0] == alike[1] and shapes[0] == shapes[1]
    seconds = interleave([partial(_run_for, *each) for each in zip(graphs, inputs, strict=True)], rounds)
    return {**ratio_of(seconds), 'largest_difference': max(map(_difference, *outputs)) if same else None}


def compare_commands(ours: str, other: str, rounds: int) -> dict[str, Any]:
    """Return what either shell command costs as a whole, with the most memory [MB] that one of its processes held.

    Raises InputError if one fails, with the last line that it said.
    """
    peaks_mb: list[list[float]] = [[], []]
    sides = [partial(_run_command, command, peaks) for command, peaks in zip((ours, other), peaks_mb, strict=True)]
    for side in sides:
        side()
    figures = ratio_of(interleave(sides, rounds))
    return {**figures, 'peak_memory_mb': _most(peaks_mb[0]), 'against_peak_memory_mb': _most(peaks_mb[1])}


def forgetful(stream: 'DepthStream') -> 'DepthStream':
    """Return the stream, whose every inference now starts from nothing: the family's state is dropped."""
    infer = stream.family.infer
    stream.family = replace(stream.family, infer=lambda graphs, clip, state: (infer(graphs, clip, None)[0], None))
    return stream


def interleave(sides: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Return the seconds that each side says it took, round by round; they take turns in going first."""
    seconds: list[list[float]] = [[] for _ in sides]
    for number in range(rounds):
        order = list(zip(sides, seconds, strict=True))
        for side, taken in order[::-1] if number % 2 else order:
            taken.append(side())
    return seconds


def ratio_of(seconds: list[list[float]]) -> dict[str, Any]:
    """Return the medians of both sides, and how many times as fast the first is: median, least and most over the rounds."""
    ours, other = map(np.asarray, seconds)
    ratios = other / ours
    return {'ours_ms': _ms(np.median(ours)), 'against_ms': _ms(np.median(other)), 'rounds': len(ours),
            'ratio': _three(np.median(ratios)), 'ratio_least': _three(ratios.min()), 'ratio_most': _three(ratios.max())}


def _pusher(stream: 'DepthStream', height: int, width: int,
            maps: dict[int, np.ndarray]) -> Callable[[int], tuple[float, float]]:
    """Return a function that pushes so many pictures and keeps the maps by index.

    It returns the seconds of the pushes by the clock, and those of all threads.
    """
    from depth_ros.io.image_msg import decode_image

    source = enumerate(pictures(height, width))

    def push(count: int) -> tuple[float, float]:
        seconds = computed = 0.0
        for number, message in islice(source, count):
            frame = make_frame(decode_image(message), number)
            start, start_computed = time.perf_counter(), time.process_time()
            done = stream.push(frame)
            seconds += time.perf_counter() - start
            computed += time.process_time() - start_computed
            maps.update((depth.index, depth.map) for depth in done)
        return seconds, computed

    return push


def _random_inputs(path: Path, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return seeded noise for each input of an ONNX file; free sides are `size` for pictures, else 1."""
    session = need('onnxruntime', 'pip install onnxruntime').InferenceSession(str(path), providers=['CPUExecutionProvider'])
    random, inputs = np.random.default_rng(0), {}
    for item in session.get_inputs():
        free = [1] * (len(item.shape) - 2) + list(size) if len(item.shape) == 4 else [1] * len(item.shape)
        shape = [side if isinstance(side, int) else other for side, other in zip(item.shape, free, strict=True)]
        kind = item.type.removeprefix('tensor(').removesuffix(')').replace('float16', 'half')
        inputs[item.name] = np.asarray(random.random(shape), {'float': np.float32, 'half': np.float16}.get(kind, kind))
    return inputs


def _first_run(path: Path, graph: 'Graph', inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return [np.asarray(value) for value in graph.run(inputs).values()]
    except Exception as error:    # onnxruntime raises its own kinds, none of them public
        first = str(error).strip().splitlines()[0]
        shapes = ', '.join(f'{name} {array.shape}' for name, array in inputs.items())
        raise InputError(f'{path} does not run on noise of {shapes} ({first}); give a --size that it takes, or a file of '
                         'fixed shapes') from error


def _run_for(graph: 'Graph', inputs: dict[str, np.ndarray]) -> float:
    """Return the seconds of one run, the mean of as many as fill a while."""
    start, runs = time.perf_counter(), 0
    while not runs or time.perf_counter() - start < LEAST_S:
        for value in graph.run(inputs).values():
            np.asarray(value)    # what a GPU still holds is fetched
        runs += 1
    return (time.perf_counter() - start) / runs


def _run_command(command: str, peaks_mb: list[float]) -> float:
    with tempfile.TemporaryFile('w+') as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        last = errors.read().strip().splitlines()[-1:]
    if process.returncode:
        said = ''.join(f' ({line})' for line in last)
        raise InputError(f'{command!r} failed with exit code {process.returncode}{said}; give a command that works when it '
                         'is run again and again')
    peaks_mb.append(usage.ru_maxrss * 1024 / 1e6)
    return seconds


def _most(peaks_mb: list[float]) -> float | None:
    """Return the highest peak; None where it is ours: Linux hands it to a process on its start."""
    return round(max(peaks_mb), 1) if max(peaks_mb) > (memory_mb(peak=True) or 0) else None


def _difference(ours: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference, over the spread of ours."""
    return float(np.nanmax(np.abs(ours.astype(np.float64) - other)) / max(float(np.nanstd(ours)), 1e-9))


def _ms(seconds: Any) -> float:
    return round(1e3 * float(seconds), 3)


def _three(value: Any) -> float:
    return round(float(value), 3)
