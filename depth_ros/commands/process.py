"""`depth_ros process`: depth of a recording, as a bag or as a folder."""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from depth_ros.errors import InputError, OutputError, SettingsError

if TYPE_CHECKING:
    from depth_ros.core.frame import DepthFrame, Frame
    from depth_ros.core.stream import DepthStream
    from depth_ros.io.source import Source
    from depth_ros.settings import Settings

INTERRUPTED = 130    # exit code, as a shell gives it for Ctrl-C
Item = TypeVar('Item')


def process(
    input: Annotated[Path, typer.Argument(help='Bag (mcap, sqlite3, ROS 1), video, or folder of pictures.')],
    output: Annotated[Path, typer.Argument(help='A bag if it ends in .mcap, else a folder.')],
    family: Annotated[str | None, typer.Option(help='Model family; `depth_ros models` lists them.')] = None,
    weights: Annotated[str | None, typer.Option(help='File with the weights; default: the shipped ones.')] = None,
    backend: Annotated[str | None, typer.Option(help='What runs the network.')] = None,
    length: Annotated[int | None, typer.Option(help='Frames that one inference sees.')] = None,
    stride: Annotated[int | None, typer.Option(help='New frames per inference.')] = None,
    camera: Annotated[str | None, typer.Option(help='Intrinsics fx,fy,cx,cy in pixels of the input.')] = None,
    camera_file: Annotated[str | None, typer.Option(help='Calibration YAML as camera_calibration writes it.')] = None,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    topic: Annotated[str, typer.Option(help='Image topic of a bag; default: the only one.')] = '',
    start: Annotated[float | None, typer.Option(help='Start this many seconds after the beginning.')] = None,
    end: Annotated[float | None, typer.Option(help='End this many seconds after the beginning.')] = None,
    rate: Annotated[float, typer.Option(help='Rate of pictures in a folder whose names are no times, in Hz.')] = 30.0,
    preview: Annotated[Path | None, typer.Option(help='Write a video of pictures beside their depth (.mp4).')] = None,
    cloud: Annotated[Path | None, typer.Option(help='Write the points of the last frame (.ply).')] = None,
    points: Annotated[bool, typer.Option(help='Write point clouds into the bag.')] = False,
    live: Annotated[bool, typer.Option(help='Use the windows of the live node: the same bytes.')] = False,
    overwrite: Annotated[bool, typer.Option(help='Replace existing outputs once the new ones are complete.')] = False,
) -> None:
    """Write the depth of a recording as a bag or as a folder of arrays."""
    from depth_ros.io.source import open_source
    from depth_ros.settings import build

    given = {'family': family, 'weights': weights, 'backend': backend, 'length': length, 'stride': stride,
             'camera.fx_fy_cx_cy': camera, 'camera.file': camera_file}
    settings = build({name: value for name, value in given.items() if value is not None}
                     | dict(parse_setting(text) for text in set or ()))
    _check(input, output, start, end, rate, points)
    source = open_source(input, topic, start, end, rate, settings.camera)
    with _interruptible() as interrupted:
        with ExitStack() as stack:
            results = Results(stack, source, settings, output, preview, cloud, points, overwrite)
            summary = _run(source, settings, live, results, interrupted)
    for note in source.notes:
        print(f'depth_ros: note: {note}', file=sys.stderr)
    print(summary + ' (interrupted)' * interrupted.is_set())
    if interrupted.is_set():
        raise typer.Exit(INTERRUPTED)


def _run(source: 'Source', settings: 'Settings', live: bool, results: 'Results', interrupted: threading.Event) -> str:
    """Push every frame, hand over every depth, and return one line about it."""
    from depth_ros.pipeline import open_stream

    stream = open_stream(settings, live=live)
    begin, frames, segments, metric = time.perf_counter(), 0, {0}, False
    with progress(source.name, source.count) as advance, closing(read_ahead(source.recorded())) as recorded:
        for log_ns, depth in depths(stream, recorded, interrupted):
            results.add(depth, log_ns)
            advance()
            frames, metric = frames + 1, depth.depth_m is not None
            segments.add(depth.segment)
    if not frames:
        if interrupted.is_set():
            raise typer.Exit(INTERRUPTED)
        raise InputError(f'{source.name} has no pictures in the part that is wanted; check --start and --end'
                         + ''.join(f' ({note})' for note in source.notes))
    results.close(complete=not interrupted.is_set())
    rate_hz = frames / (time.perf_counter() - begin)
    return (f'{source.name}: {frames} frames of {"metric" if metric else "relative"} depth, {rate_hz:.1f} frames/s, '
            f'{len(segments)} segment{"s" * (len(segments) > 1)} -> {results.output}')


def depths(stream: 'DepthStream', recorded: Iterator[tuple[int, 'Frame']],
           interrupted: threading.Event) -> Iterator[tuple[int, 'DepthFrame']]:
    """Yield (log time ns, depth) of every frame in order, or of what is done when interrupted."""
    waiting: deque[int] = deque()
    for log_ns, frame in recorded:
        if interrupted.is_set():
            return
        waiting.append(log_ns)
        for depth in stream.push(frame):
            yield waiting.popleft(), depth
    for depth in stream.flush():
        yield waiting.popleft(), depth


class Results:
    """The outputs that were asked for. They appear when `stack` unwinds without an error."""

    def __init__(self, stack: ExitStack, source: 'Source', settings: 'Settings', output: Path, preview: Path | None,
                 cloud: Path | None, points: bool, overwrite: bool) -> None:
        from depth_ros.io.bag_writer import DepthBag
        from depth_ros.io.depth_file import DepthFolder
        from depth_ros.io.output import complete_or_nothing
        from depth_ros.io.preview import PreviewVideo

        def place(path: Path) -> Path:
            return stack.enter_context(complete_or_nothing(path, overwrite))

        self.output, self.settings, self.source, self.points = output, settings.cloud, source, points
        is_bag = output.suffix == '.mcap'
        self.bag = DepthBag(place(output), settings.cloud, points, source.recording) if is_bag else None
        if self.bag:
            stack.callback(self.bag.abandon)
        self.folder = None if is_bag else DepthFolder(place(output))
        self.video = PreviewVideo(place(preview), source.rate_hz) if preview else None
        self.cloud = place(cloud) if cloud else None
        self.last: DepthFrame | None = None

    def add(self, depth: 'DepthFrame', log_ns: int) -> None:
        """Write one frame to every output."""
        if (self.points or self.cloud) and depth.camera is None:
            raise InputError(f'{self.source.name} has no calibration, which points need; '
                             'give --camera fx,fy,cx,cy or --camera-file')
        if self.bag:
            self.bag.add(depth, log_ns)
        if self.folder:
            self.folder.add(depth)
        if self.video:
            self.video.add(depth)
        self.last = depth

    def close(self, complete: bool) -> None:
        """Finish every output; `complete` is False where the recording was not read to its end."""
        if self.bag:
            self.bag.close(complete)
        if self.folder:
            self.folder.close()
        if self.video:
            self.video.close()
        if self.cloud and self.last:
            write_cloud(self.cloud, self.last, self.settings)


def write_cloud(path: Path, depth: 'DepthFrame', settings: Any) -> None:
    """Write the points of one frame as PLY, at a nominal scale where it has no metres."""
    from depth_ros.core.cloud import make_cloud
    from depth_ros.core.metric import NominalScale
    from depth_ros.io.cloud_msg import write_ply
    from depth_ros.io.output import writing

    assert depth.camera is not None
    with writing(path):
        write_ply(path, *make_cloud(NominalScale().depth(depth), depth.frame.rgb, depth.camera, settings))


def read_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """Yield the items; the next one is made in a thread while the last one is used."""
    end: Any = object()
    with ThreadPoolExecutor(1) as thread:
        try:
            coming = thread.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = thread.submit(next, items, end)
                yield item
        finally:    # in the thread that opened the files: sqlite insists
            thread.submit(getattr(items, 'close', bool)).result()


def parse_setting(text: str) -> tuple[str, Any]:
    """Return (name, value) of "name=value", the value as the type of the setting."""
    from depth_ros.settings import options

    name, equals, value = text.partition('=')
    if not equals:
        raise SettingsError(f'--set {text}: expected name=value')
    item = dict(options()).get(name)
    kind: Any = type(item.default) if item else str
    if kind is bool:
        return name, {'true': True, 'false': False}.get(value.lower(), value)
    try:
        return name, kind(value)
    except ValueError:
        return name, value    # the settings say what they expected


def _check(input: Path, output: Path, start: float | None, end: float | None, rate: float, points: bool) -> None:
    if output.resolve() == input.resolve():
        raise OutputError(f'{output} is the input; choose another name')
    if output.suffix in ('.bag', '.db3', '.mp4', '.ply', '.npz'):
        raise OutputError(f'{output}: a bag ends in .mcap, everything else becomes a folder; choose another name')
    if points and output.suffix != '.mcap':
        raise OutputError('--points writes clouds into a bag; name the output .mcap or take --cloud')
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
