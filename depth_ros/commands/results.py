"""What `depth_ros process` writes of one recording, in a thread beside the network."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from depth_ros.errors import InputError

if TYPE_CHECKING:
    from depth_ros.core.frame import DepthFrame
    from depth_ros.io.source import Source
    from depth_ros.settings import CloudSettings, Settings

Item = TypeVar('Item')


@dataclass(eq=False)
class Job:
    """A recording, and where its depth goes."""

    input: Path
    output: Path
    preview: Path | None
    cloud: Path | None
    wanted: bool = True    # False: it failed, its other pictures need not be read


class Results:
    """The outputs that were asked for, written in a thread. They appear when `stack` unwinds without an error."""

    def __init__(self, settings: 'Settings', job: Job, points: bool, overwrite: bool, stack: ExitStack,
                 source: 'Source') -> None:
        from depth_ros.io.bag_writer import DepthBag
        from depth_ros.io.depth_file import DepthFolder
        from depth_ros.io.output import complete_or_nothing
        from depth_ros.io.preview import PreviewVideo

        def place(path: Path) -> Path:
            return stack.enter_context(complete_or_nothing(path, overwrite))

        self.settings, self.source, self.points = settings.cloud, source, points
        self.thread = stack.enter_context(ThreadPoolExecutor(1))
        self.writing: Future[Any] = self.thread.submit(bool)    # what was handed over last
        path, video = place(job.output), place(job.preview) if job.preview else None
        self.cloud = place(job.cloud) if job.cloud else None
        # A bag is opened and closed in the thread that reads and writes it: sqlite insists.
        self.bag = self._done(DepthBag, path, settings.cloud, points, source.recording) if path.suffix == '.mcap' else None
        stack.callback(self._done, self.bag.abandon if self.bag else bool)    # after what is still being written
        self.files: list[DepthFolder | PreviewVideo] = [] if self.bag else [DepthFolder(path)]
        if video:
            self.files.append(PreviewVideo(video, source.rate_hz))
        self.last: DepthFrame | None = None

    def add(self, depths: 'list[tuple[int, DepthFrame]]') -> None:
        """Have (log time ns, depth) of some frames written, once those before are; raises what went wrong with them."""
        self.writing.result()
        self.writing = self.thread.submit(self._write, depths)

    def close(self, complete: bool) -> None:
        """Finish every output; `complete` is False where the recording was not read to its end."""
        self.writing.result()
        self._done(self._close, complete)

    def _done(self, function: Callable[..., Item], *values: Any) -> Item:
        return self.thread.submit(function, *values).result()

    def _write(self, depths: 'list[tuple[int, DepthFrame]]') -> None:
        for log_ns, depth in depths:
            if (self.points or self.cloud) and depth.camera is None:
                raise InputError(f'{self.source.name} has no calibration, which points need; '
                                 'give --camera fx,fy,cx,cy or --camera-file')
            if self.bag:
                self.bag.add(depth, log_ns)
            for file in self.files:
                file.add(depth)
            self.last = depth

    def _close(self, complete: bool) -> None:
        if self.bag:
            self.bag.close(complete)
        for file in self.files:
            file.close()
        if self.cloud and self.last:
            write_cloud(self.cloud, self.last, self.settings)


def write_cloud(path: Path, depth: 'DepthFrame', settings: 'CloudSettings') -> None:
    """Write the points of one frame as PLY, at a nominal scale where it has no metres."""
    from depth_ros.core.cloud import make_cloud
    from depth_ros.core.metric import NominalScale
    from depth_ros.io.cloud_msg import write_ply
    from depth_ros.io.output import writing

    assert depth.camera is not None
    with writing(path):
        coloured = replace(settings, field='rgb')
        write_ply(path, make_cloud(NominalScale().depth(depth), depth.frame.rgb, depth.camera, coloured, depth.confidence))
