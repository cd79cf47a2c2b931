"""Depth for the eye: near is bright and warm, what is invalid is black; the colours do not flicker."""

from pathlib import Path

import cv2
import numpy as np

from depth_ros.core.frame import DepthFrame, Quantity
from depth_ros.errors import OutputError

PERCENTILES = (2, 98)        # of the nearness, mapped to the ends of the colour map
MEMORY = 0.9                 # share of the range that is kept from one frame to the next
SAMPLE_PX = 4                # look at every n-th pixel
MAX_PANE_PX = 960            # of the preview video: width of the picture and of the colour map beside it


def nearness(map: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Return a map (H, W) that grows towards the camera: disparity where there is one, else the negative."""
    if quantity is Quantity.DEPTH_METRIC:
        with np.errstate(divide='ignore'):
            return 1 / map
    return -map if quantity.grows_with_depth else map


class Preview:
    """Colours depth frames. Remembers the range of the segment, so that the colours do not flicker."""

    def __init__(self) -> None:
        self.segment = -1
        self.low, self.high = 0.0, 1.0

    def __call__(self, depth: DepthFrame) -> np.ndarray:
        """Return the colour map (H, W, 3) uint8 BGR."""
        near = nearness(depth.map, depth.quantity)
        self._follow(near[::SAMPLE_PX, ::SAMPLE_PX], depth.segment)
        scale = 255 / max(self.high - self.low, 1e-12)
        with np.errstate(invalid='ignore'):
            grey = np.clip((near - self.low) * scale, 0, 255).astype(np.uint8)
        colour = cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO)
        colour[~np.isfinite(near)] = 0
        return colour

    def _follow(self, near: np.ndarray, segment: int) -> None:
        valid = near[np.isfinite(near)]
        if not valid.size:
            return
        low, high = (float(value) for value in np.percentile(valid, PERCENTILES))
        keep = MEMORY if segment == self.segment else 0.0
        self.low, self.high = keep * self.low + (1 - keep) * low, keep * self.high + (1 - keep) * high
        self.segment = segment


class PreviewVideo:
    """Writes a video of each picture beside its colour map."""

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.path, self.rate_hz = path, rate_hz
        self.preview = Preview()
        self.size = (0, 0)    # width, height of all frames, even
        self.video: cv2.VideoWriter | None = None
        self.frames = 0

    def add(self, depth: DepthFrame) -> None:
        """Append a frame. Raises OutputError if the video cannot be written."""
        pair = np.hstack([cv2.cvtColor(depth.frame.rgb, cv2.COLOR_RGB2BGR), self.preview(depth)])
        if self.video is None:
            self.video = self._open(*pair.shape[:2])
        self.video.write(cv2.resize(pair, self.size, interpolation=cv2.INTER_AREA))
        self.frames += 1

    def _open(self, height: int, width: int) -> cv2.VideoWriter:
        shrink = min(1.0, 2 * MAX_PANE_PX / width)
        self.size = max(2, round(width * shrink) // 2 * 2), max(2, round(height * shrink) // 2 * 2)
        video = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*'mp4v'), self.rate_hz, self.size)
        if not video.isOpened():
            raise OutputError(f'cannot write the video {self.path.name}; name it .mp4')
        return video

    def close(self) -> None:
        """Finish the video. Raises OutputError if it is not whole: OpenCV says nothing of a full disk."""
        if self.video is None:
            raise OutputError(f'no frames for the video {self.path.name}')
        self.video.release()
        written = cv2.VideoCapture(str(self.path))
        if int(written.get(cv2.CAP_PROP_FRAME_COUNT)) < self.frames:
            raise OutputError(f'cannot write the video {self.path.name}: it came out incomplete; check free space')
