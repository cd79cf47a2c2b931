"""Video files and folders of pictures, through OpenCV."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Frame
from depth_ros.errors import InputError
from depth_ros.io.image_msg import decode_file

PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.pgm', '.ppm')
FRAME_ID = 'camera_optical_frame'
CameraOf = Callable[[int, int], Camera | None]    # (height, width) of a picture -> its camera


@dataclass(frozen=True)
class Video:
    """A video file."""

    path: Path
    count: int | None    # as the file says; None: it does not
    rate_hz: float

    def frames(self, camera_of: CameraOf) -> Iterator[Frame]:
        """Yield the frames; stamps are the times in the file, from 0."""
        video = cv2.VideoCapture(str(self.path))
        stamp = -1
        while True:
            ok, bgr = video.read()
            if not ok:
                break
            time_ns = round(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            if stamp < 0:
                start_ns, stamp = time_ns, 0
            elif time_ns - start_ns > stamp:
                stamp = time_ns - start_ns
            else:    # the file has no times: count
                stamp += round(1e9 / self.rate_hz)
            yield Frame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), stamp, camera_of(*bgr.shape[:2]), FRAME_ID)
        video.release()


def open_video(path: Path) -> Video:
    """Return a video file. Raises InputError if OpenCV finds no frame in it."""
    video = cv2.VideoCapture(str(path))
    if not video.grab():
        raise InputError(f'{path.name} has no readable frames; give a video, a folder of pictures or a bag')
    count, rate_hz = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), video.get(cv2.CAP_PROP_FPS)
    video.release()
    return Video(path, count if count > 0 else None, rate_hz if 0 < rate_hz < 1000 else 30.0)


@dataclass(frozen=True)
class PictureFolder:
    """Pictures in their natural order and the stamp of each."""

    files: list[Path]
    stamps_ns: list[int]
    rate_hz: float

    @property
    def count(self) -> int:
        return len(self.files)

    def frames(self, camera_of: CameraOf) -> Iterator[Frame]:
        """Yield the pictures. Raises InputError for the first one that cannot be read."""
        for file, stamp in zip(self.files, self.stamps_ns, strict=True):
            try:
                rgb = decode_file(np.fromfile(file, np.uint8), file.name)
            except OSError as error:
                raise InputError(f'cannot read {file}: {error.strerror}') from error
            yield Frame(rgb, stamp, camera_of(*rgb.shape[:2]), FRAME_ID)


def open_folder(path: Path, rate_hz: float) -> PictureFolder:
    """Return the pictures of a folder, stamped by their names if these are times, else at `rate_hz` from 0."""
    files = sorted((item for item in path.iterdir() if item.suffix.lower() in PICTURES), key=_natural)
    if not files:
        inside = [item.name for item in sorted(path.iterdir()) if item.is_dir()]
        raise InputError(f'{path} has no pictures ({", ".join(PICTURES)})'
                         + (f'; it has the folders {", ".join(inside)}' if inside else ''))
    stamps = [time for file in files if (time := _time_of(file.stem)) is not None]
    if len(stamps) < len(files) or sorted(set(stamps)) != stamps:
        stamps = [round(index * 1e9 / rate_hz) for index in range(len(files))]
    return PictureFolder(files, stamps, rate_hz)


def _natural(file: Path) -> list[tuple[int, str]]:
    """Return a key that sorts frame_2 before frame_10."""
    return [(int(part), '') if part.isdigit() else (0, part) for part in re.split(r'(\d+)', file.name)]


def _time_of(name: str) -> int | None:
    """Return the time since 1970 [ns] that a name states: 1305031102.175304 (TUM), 1403636579763555584 (EuRoC)."""
    if match := re.fullmatch(r'(1\d{9})\.(\d{1,9})', name):
        return int(match[1]) * 1_000_000_000 + int(match[2].ljust(9, '0'))
    if re.fullmatch(r'1\d{12}|1\d{15}|1\d{18}', name):    # ms, us or ns
        return int(name.ljust(19, '0'))
    return None
