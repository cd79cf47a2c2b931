"""`depth_ros process`: depth of recordings, as bags or as folders.

Three threads, so that the network need not wait: one opens and decodes ahead, across the end of a recording; this one runs
the network, opened once for all; one writes. Every recording is a stream of its own, as if it were processed alone.
"""

import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from depth_ros.commands.options import parse_metric, parse_setting
from depth_ros.commands.results import Job, Results
from depth_ros.errors import DepthRosError, InputError, OutputError

if TYPE_CHECKING:
    from depth_ros.core.frame import DepthFrame, Frame
    from depth_ros.core.stream import DepthStream
    from depth_ros.io.source import Source

FAILED, INTERRUPTED = 2, 130    # exit codes, the latter as a shell gives it for Ctrl-C
BETWEEN = 3                     # read ahead at least the end of a recording, the opened next one and its first picture
NO_FOLDER = ('.mcap', '.bag', '.db3', '.mp4', '.ply', '.npz')
Item = TypeVar('Item')


def process(
    input: Annotated[list[Path], typer.Argument(help='Bag (mcap, sqlite3, ROS 1), video, or folder of pictures.')],
    output: Annotated[Path, typer.Argument(help='A bag if it ends in .mcap, else a folder; of several recordings the '
                                           'folder for NAME.mcap of each bag and the folder NAME of each other one.')],
    family: Annotated[str | None, typer.Option(help='Model family; `depth_ros models` lists them.')] = None,
    weights: Annotated[str | None, typer.Option(help='File with the weights; default: the shipped ones.')] = None,
    backend: Annotated[str | None, typer.Option(help='What runs the network.')] = None,
    length: Annotated[int | None, typer.Option(help='Frames that one inference sees.')] = None,
    stride: Annotated[int | None, typer.Option(help='New frames per inference.')] = None,
    camera: Annotated[str | None, typer.Option(help='Intrinsics fx,fy,cx,cy in pixels of the input.')] = None,
    camera_file: Annotated[str | None, typer.Option(help='Calibration YAML as camera_calibration writes it.')] = None,
    metric: Annotated[str | None, typer.Option(help='Where metres come from: range:TOPIC, camera_height:HEIGHT (or with '
                                               ':tf or :IMU_TOPIC), odometry:TOPIC, odometry:tf, family:NAME or '
                                               'fixed:SCALE,SHIFT; for pictures in a folder range:FOLDER of depth '
                                               'pictures.')] = None,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    topic: Annotated[str, typer.Option(help='Image topic of a bag; default: the only one.')] = '',
    start: Annotated[float | None, typer.Option(help='Start this many seconds after the beginning.')] = None,
    end: Annotated[float | None, typer.Option(help='End this many seconds after the beginning.')] = None,
    rate: Annotated[float, typer.Option(help='Rate of pictures in a folder whose names are no times, in Hz.')] = 30.0,
    preview: Annotated[Path | None, typer.Option(help='Write a video of pictures beside their depth (.mp4; of '
                                                   'several a folder).')] = None,
    cloud: Annotated[Path | None, typer.Option(help='Write the points of the last frame (.ply; of several a '
                                                 'folder).')] = None,
    points: Annotated[bool, typer.Option(help='Write point clouds into the bag.')] = False,
    live: Annotated[bool, typer.Option(help='Use the windows of the live node: the same bytes.')] = False,
    overwrite: Annotated[bool, typer.Option(help='Replace existing outputs once the new ones are complete.')] = False,
) -> None:
    """Write the depth of recordings as bags or as folders of arrays.

    One that cannot be processed does not stop the others; it is named, and the exit code is 2.
    """
    from depth_ros.families import load_family
    from depth_ros.io.output import writing
    from depth_ros.io.source import open_source
    from depth_ros.pipeline import open_stream, window_spec
    from depth_ros.settings import build

    given = {'family': family, 'weights': weights, 'backend': backend, 'length': length, 'stride': stride,
             'camera.fx_fy_cx_cy': camera, 'camera.file': camera_file}
    measured, metric_topic = parse_metric(metric) if metric is not None else ({}, '')
    settings = build({name: value for name, value in given.items() if value is not None} | measured
                     | dict(parse_setting(text) for text in set or ()))
    jobs = plan(input, output, preview, cloud)
    _check(jobs, start, end, rate, points)
    opening = partial(open_source, topic=topic, start_s=start, end_s=end, rate_hz=rate, camera=settings.camera,
                      metric=settings.metric, metric_topic=metric_topic)
    ahead = window_spec(load_family(settings), settings, live).stride + BETWEEN
    for folder in filter(None, (output, preview, cloud) if len(jobs) > 1 else ()):
        with writing(folder):
            folder.mkdir(exist_ok=True)
    opened: list[DepthStream] = []
    failed: list[str] = []

    def new_stream() -> 'DepthStream':
        from depth_ros.core.stream import DepthStream

        if not opened:
            opened.append(open_stream(settings, live=live))
        first = opened[0]
        return DepthStream(first.family, first.graphs, first.spec, settings, first.info, first.ask)

    with _interruptible() as interrupted, closing(read_ahead(read(jobs, opening), ahead)) as recorded:
        for job, items in groupby(recorded, itemgetter(0)):
            try:
                _run(job, _of_one(items), new_stream, partial(Results, settings, job, points, overwrite), interrupted)
            except DepthRosError as error:
                of_all = not opened and not isinstance(error, InputError | OutputError)    # no network, no recording
                if len(jobs) == 1 or of_all:
                    raise
                job.wanted, name = False, job.input.name
                failed.append(name)
                named = str(error).startswith((name, str(job.input)))
                print(f'depth_ros: {error}' if named else f'depth_ros: {name}: {error}', file=sys.stderr)
            if interrupted.is_set():
                raise typer.Exit(INTERRUPTED)
    if failed:
        print(f'depth_ros: {len(failed)} of {len(jobs)} recordings failed: {", ".join(failed)}', file=sys.stderr)
        raise typer.Exit(FAILED)


def plan(inputs: list[Path], output: Path, preview: Path | None, cloud: Path | None) -> list[Job]:
    """Return the jobs: one recording goes to `output` itself, several are named after their inputs in folders.

    Raises OutputError if two have the same name, or if what should be a folder is named like a file.
    """
    from depth_ros.io.bag import is_bag

    if len(inputs) == 1:
        return [Job(inputs[0], output, preview, cloud)]
    for folder in filter(None, (output, preview, cloud)):
        if folder.suffix in NO_FOLDER:
            raise OutputError(f'{folder}: of several recordings there are several results; name a folder for them')
    jobs: dict[str, Job] = {}
    for path in inputs:
        whole = Path(os.path.abspath(path))
        name = whole.name if whole.is_dir() else whole.stem
        if name in jobs:
            raise OutputError(f'{jobs[name].input} and {path} would both become {output / name}; rename one of them or '
                              'process it by itself')
        jobs[name] = Job(path, output / (f'{name}.mcap' if is_bag(path) else name), preview and preview / f'{name}.mp4',
                         cloud and cloud / f'{name}.ply')
    return list(jobs.values())


def read(jobs: list[Job], opening: Callable[[Path], 'Source']) -> Iterator[tuple[Job, Any]]:
    """Yield of each job its source, (log time ns, frame) of every picture, and at its end None or what went wrong."""
    for job in jobs:
        try:
            source = opening(job.input)
            yield job, source
            for item in source.recorded():
                if not job.wanted:
                    break
                yield job, item
            yield job, None
        except DepthRosError as error:
            yield job, error


def _of_one(items: Iterator[tuple[Job, Any]]) -> Iterator[Any]:
    """Yield what was read of one job up to its end; what went wrong is raised."""
    for _, item in items:
        if item is None:
            return
        if isinstance(item, DepthRosError):
            raise item
        yield item


def _run(job: Job, items: Iterator[Any], new_stream: 'Callable[[], DepthStream]',
         open_results: 'Callable[[ExitStack, Source], Results]', interrupted: threading.Event) -> None:
    """Push every frame, hand over every depth, and print a line about it."""
    source: Source = next(items)
    with ExitStack() as stack:
        results = open_results(stack, source)
        stream = new_stream()
        begin, segments, metres = time.perf_counter(), {0}, Metres()
        with progress(source.name, source.count) as advance:
            for done in depths(stream, items, interrupted):
                results.add(done)
                for _, depth in done:
                    advance()
                    metres.add(depth)
                    segments.add(depth.segment)
        complete = not interrupted.is_set()
        frames = metres.frames
        if not frames and not complete:
            raise typer.Exit(INTERRUPTED)
        if not frames:
            raise InputError(f'{source.name} has no pictures in the part that is wanted; check --start and --end'
                             + ''.join(f' ({note})' for note in source.notes))
        results.close(complete)
        rate_hz = frames / (time.perf_counter() - begin)
    for note in source.notes + metres.notes():
        print(f'depth_ros: note: {note}', file=sys.stderr)
    print(f'{source.name}: {metres}, {rate_hz:.1f} frames/s, '
          f'{len(segments)} segment{"s" * (len(segments) > 1)} -> {job.output}{"" if complete else " (interrupted)"}',
          flush=True)


class Metres:
    """How many of the frames have metres, and why the others have none."""

    def __init__(self) -> None:
        self.frames = self.metric = self.doubted = 0
        self.reason = ''

    def add(self, depth: 'DepthFrame') -> None:
        self.frames += 1
        self.metric += depth.depth_m is not None
        if depth.anchor.state in ('converging', 'lost'):
            self.doubted += 1
            self.reason = f'{depth.anchor.state}, {depth.anchor.reason}'

    def __str__(self) -> str:
        if self.metric in (0, self.frames):
            return f'{self.frames} frames of {"metric" if self.metric else "relative"} depth'
        return f'{self.frames} frames of depth, {self.metric} of them metric'

    def notes(self) -> list[str]:
        few = f'{self.doubted} of {self.frames} frames have no sure scale; the last of them: {self.reason}'
        return [few] if self.doubted else []


def depths(stream: 'DepthStream', recorded: Iterator[tuple[int, 'Frame']],
           interrupted: threading.Event) -> Iterator[list[tuple[int, 'DepthFrame']]]:
    """Yield (log time ns, depth) of every frame in order, push by push, or of what is done when interrupted."""
    waiting: deque[int] = deque()
    for log_ns, frame in recorded:
        if interrupted.is_set():
            return
        waiting.append(log_ns)
        if done := stream.push(frame):
            yield [(waiting.popleft(), depth) for depth in done]
    if done := stream.flush():
        yield [(waiting.popleft(), depth) for depth in done]


def read_ahead(items: Iterator[Item], count: int = 1) -> Generator[Item, None, None]:
    """Yield the items; the next `count` are made in a thread while one is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        coming = deque(thread.submit(next, items, end) for _ in range(count))
        try:
            while (item := coming.popleft().result()) is not end:
                coming.append(thread.submit(next, items, end))
                yield item
        finally:
            for future in coming:
                future.cancel()
            thread.submit(getattr(items, 'close', bool)).result()    # in the thread that opened the files: sqlite insists


def _check(jobs: list[Job], start: float | None, end: float | None, rate: float, points: bool) -> None:
    inputs = [job.input.resolve() for job in jobs]
    for job in jobs:
        for path in filter(None, (job.output, job.preview, job.cloud)):
            if path.resolve() in inputs:
                raise OutputError(f'{path} is an input; choose another name')
        if job.output.suffix in set(NO_FOLDER) - {'.mcap'}:
            raise OutputError(f'{job.output}: a bag ends in .mcap, everything else becomes a folder; choose another name')
        if points and job.output.suffix != '.mcap':
            raise OutputError(f'--points writes clouds into a bag, but {job.output} becomes a folder; name the output .mcap '
                              'or take --cloud')
    if not rate > 0 or (start or 0) < 0 or (end is not None and end <= (start or 0)):
        raise InputError(f'--start {start}, --end {end}, --rate {rate}: expected 0 <= start < end and a positive rate')


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets; the second one stops at once."""
    asked = threading.Event()

    def ask(*_: Any) -> None:
        asked.set()
        for number in before:
            signal.signal(number, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(name: str, count: int | None) -> Iterator[Any]:
    """Yield a function to call once per frame; it draws a bar if there is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn(),
               TextColumn('{task.fields[rate]:.1f} frames/s'), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, begin = bar.add_task(name, total=count, rate=0.0), time.perf_counter()

        def advance() -> None:
            done = bar.tasks[0].completed + 1
            bar.update(task, completed=done, rate=done / (time.perf_counter() - begin))

        yield advance
