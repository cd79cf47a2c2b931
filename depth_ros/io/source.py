"""Where frames come from: a bag, a video file or a folder of pictures, told apart by looking at the path."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

from depth_ros.core.frame import Frame
from depth_ros.errors import InputError
from depth_ros.io.bag import Recording, is_bag, open_recording
from depth_ros.io.camera_msg import camera_from_settings
from depth_ros.io.measured import needed
from depth_ros.io.recorded_sensors import choose_topics, match_pictures, with_depth_pictures, with_measured
from depth_ros.io.video import PictureFolder, Video, open_folder, open_video
from depth_ros.settings import CameraSettings, MetricSettings

Recorded = Callable[[], Iterator[tuple[int, Frame]]]


@dataclass(frozen=True)
class Source:
    """A stream of frames that can be read again and again."""

    name: str
    count: int | None        # frames, as far as known beforehand
    rate_hz: float           # nominal
    recorded: Recorded       # gives (log time ns, frame); where there is no log, the stamp
    recording: Recording | None = None                 # the bag, if it is one
    notes: list[str] = field(default_factory=list)     # what the user should know of the frames read so far

    def frames(self) -> Iterator[Frame]:
        """Yield the frames."""
        return (frame for _, frame in self.recorded())


def open_source(path: str | Path, topic: str = '', start_s: float | None = None, end_s: float | None = None,
                rate_hz: float = 30.0, camera: CameraSettings | None = None, metric: MetricSettings | None = None,
                metric_topic: str = '') -> Source:
    """Return the frames of a bag, a video or a folder of pictures.

    `topic` chooses among the image topics of a bag; `start_s` and `end_s` cut a part out, from the first message or
    frame on; `rate_hz` stamps pictures whose names are no times; `camera` says what the pictures are and may replace
    their calibration. `metric` says what is measured beside them, `metric_topic` where: a topic of the bag, or a folder of
    depth pictures. Raises InputError if there is nothing to read.
    """
    path, settings, metric = Path(path), camera or CameraSettings(), metric or MetricSettings()
    if not path.exists():
        raise InputError(f'{path} does not exist; give a bag, a video or a folder of pictures')
    stated = lru_cache(maxsize=4)(partial(camera_from_settings, settings))
    recording: Recording | None = None
    notes: list[str] = []
    count: int | None
    if is_bag(path):
        recording = open_recording(path, topic, start_s, end_s)
        count, rate_hz, notes = recording.image.count, recording.rate_hz, recording.notes
        recorded = partial(recording.frames, settings.model, stated)
    else:
        video: PictureFolder | Video = open_folder(path, rate_hz) if path.is_dir() else open_video(path)
        count, rate_hz = video.count, video.rate_hz
        recorded = partial(_cut, partial(video.frames, stated), start_s, end_s)
    recorded = partial(_without_repeats, recorded, notes)
    if recording and needed(metric):
        recorded = partial(with_measured, recorded, recording, metric, choose_topics(recording, metric, metric_topic))
    elif needed(metric):
        recorded = partial(with_depth_pictures, recorded, metric, _depth_pictures(path, video, metric, metric_topic))
    return Source(path.name, _share(count, rate_hz, start_s, end_s), rate_hz, recorded, recording, notes)


def _depth_pictures(path: Path, pictures: PictureFolder | Video, metric: MetricSettings, folder: str) -> dict[int, Path]:
    """Return {stamp ns: depth picture}, or raise InputError for what only a bag has."""
    if metric.source == 'range' and isinstance(pictures, PictureFolder) and folder and Path(folder).is_dir():
        return match_pictures(pictures, Path(folder))
    remedy = ', or name a folder of depth pictures (16 bits, mm) as --metric range:FOLDER' if path.is_dir() else ''
    raise InputError(f'{path.name} has no topics for metric.source={metric.source}; take a bag{remedy}')


def _without_repeats(recorded: Recorded, notes: list[str]) -> Iterator[tuple[int, Frame]]:
    """Yield the frames but those with the stamp of the one before: two depths of one moment cannot be told apart."""
    last, repeats = None, 0
    for log_ns, frame in recorded():
        if frame.stamp_ns == last:
            repeats += 1
        else:
            yield log_ns, frame
        last = frame.stamp_ns
    if repeats:
        notes.append(f'{repeats} pictures were left out, they have the stamp of the one before')


def _cut(frames: Callable[[], Iterator[Frame]], start_s: float | None,
         end_s: float | None) -> Iterator[tuple[int, Frame]]:
    """Yield (stamp, frame) of the part that is wanted."""
    first = None
    for frame in frames():
        first = frame.stamp_ns if first is None else first
        time_s = (frame.stamp_ns - first) / 1e9
        if end_s is not None and time_s >= end_s:
            return
        if start_s is None or time_s >= start_s:
            yield frame.stamp_ns, frame


def _share(count: int | None, rate_hz: float, start_s: float | None, end_s: float | None) -> int | None:
    """Return about how many of `count` frames lie between the times."""
    if count is None:
        return None
    last = count if end_s is None else min(count, round(end_s * rate_hz))
    return max(0, last - round((start_s or 0) * rate_hz))
