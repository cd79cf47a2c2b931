"""The one thread that does the work: takes the newest picture, decodes, infers, publishes."""

import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from depth_ros.core.camera import Camera
from depth_ros.core.frame import DepthFrame, Frame
from depth_ros.core.measurement import Measurement
from depth_ros.core.stream import DepthStream
from depth_ros.errors import DepthRosError, InputError
from depth_ros.io.camera_msg import camera_from_info, camera_from_settings
from depth_ros.io.image_msg import decode_compressed, decode_image
from depth_ros.io.measured import Measurements
from depth_ros.io.messages import stamp_ns
from depth_ros.ros.diagnostics import Statistics
from depth_ros.ros.inbox import Mailbox, Pairing, Picture
from depth_ros.ros.outputs import Outputs
from depth_ros.settings import Settings

if TYPE_CHECKING:
    from depth_ros.runtime.live import LiveEngines

NO_CAMERA_INFO = ('no camera_info comes with the pictures, so there is no point cloud and no depth/camera_info; remap '
                  'camera_info to its topic, or set camera.file or camera.fx_fy_cx_cy (with node.camera_info_policy exact '
                  'it must have the stamp of the picture)')
NOT_CALIBRATED = 'camera_info says that the camera is not calibrated (K[0] = 0); calibrate it'


class Worker:
    """Turns pictures into published depth, one at a time, always the newest."""

    def __init__(self, stream: DepthStream, engines: 'LiveEngines', measurements: Measurements, outputs: Outputs,
                 statistics: Statistics, warn: Callable[[str], None], read_settings: Callable[[], Settings]) -> None:
        self.stream, self.engines, self.outputs, self.statistics = stream, engines, outputs, statistics
        self.measurements, self.warn, self.read_settings = measurements, warn, read_settings
        self.stated_camera = lru_cache(maxsize=4)(camera_from_settings)    # it may read a file
        self.pairing, self.mailbox, self.thread = Pairing(exact=False), Mailbox(), threading.Thread()
        self.reset_wanted = False                 # set by another thread, done before the next picture
        self.last_stamp_ns = -1
        self.received_s: dict[int, float] = {}    # stamp -> arrival, of pictures whose depth is not out yet

    def start(self, exact: bool) -> None:
        """Start the thread; `exact`: a picture takes only the camera_info with its own stamp."""
        self.pairing, self.mailbox = Pairing(exact), Mailbox()
        self.measurements.reset()
        self.engines.start()
        self.thread = threading.Thread(target=self._run, name='depth_worker', daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End a build of engines, finish the picture at hand and end the thread."""
        self.mailbox.close()
        self.engines.stop()
        if self.thread.is_alive():
            self.thread.join()

    def on_image(self, message: Image | CompressedImage) -> None:
        """Take an image from the executor; one that still waits is dropped for it."""
        now_s = time.monotonic()
        self.statistics.arrivals.tick(now_s)
        self._offer(self.pairing.picture(message, now_s))

    def on_camera_info(self, info: CameraInfo) -> None:
        """Take a camera_info from the executor."""
        self._offer(self.pairing.info(info))

    def on_measured(self, kind: str, message: Any) -> None:
        """Take a message of the metric source from the executor; it is read with the next picture."""
        self.measurements.add(kind, message)

    def _offer(self, pictures: list[Picture]) -> None:
        for picture in pictures:
            if self.mailbox.put(picture):
                self.statistics.drop('overwritten')

    def _run(self) -> None:
        while (picture := self.mailbox.take()) is not None:
            frame = None
            try:
                # All results or none: a video model needs every picture for its window and state, whatever is wanted.
                if self.outputs.listeners():
                    settings = self.read_settings()
                    frame = self._frame(picture, settings)
                    self._advance(frame, picture.received_s, settings)
            except Exception as error:    # whatever is wrong with this picture, the next one may be fine
                self._drop('failed inference' if frame else 'unusable picture', error)
                self.reset_wanted |= frame is not None    # a window with a hole in it is no window

    def _frame(self, picture: Picture, settings: Settings) -> Frame:
        """Return the decoded picture with its camera. Raises InputError if it is none, or no new one."""
        message, began_s = picture.message, time.monotonic()
        stamp = stamp_ns(message.header)
        if stamp == self.last_stamp_ns:
            raise InputError(f'two pictures have the same stamp, {stamp} ns; the camera driver must stamp each picture')
        rgb = (decode_compressed if isinstance(message, CompressedImage) else decode_image)(message)
        if self.reset_wanted or stamp < self.last_stamp_ns:
            self.measurements.reset()
        self.last_stamp_ns = stamp
        camera = self._camera(picture, rgb, settings)
        self.statistics.seconds['decode'] = time.monotonic() - began_s
        return Frame(rgb, stamp, camera, message.header.frame_id, self._measured(stamp, message.header.frame_id, camera))

    def _measured(self, stamp: int, frame_id: str, camera: Camera | None) -> tuple[Measurement, ...]:
        began_s = time.monotonic()
        measured = self.measurements.take(stamp, frame_id, camera)
        for note in self.measurements.notes:
            self.warn(note)
        self.statistics.seconds['measure'] = time.monotonic() - began_s
        return measured

    def _camera(self, picture: Picture, rgb: np.ndarray, settings: Settings) -> Camera | None:
        """Return the camera of this picture; None, with the reason on record, where there is no usable calibration."""
        height, width = rgb.shape[:2]
        try:
            camera = self.stated_camera(settings.camera, height, width)
            if camera is None and picture.info is not None:
                camera = camera_from_info(picture.info, height, width, settings.camera.model)
        except InputError as error:
            self.warn(str(error))
            self.statistics.uncalibrate('unusable camera_info', str(error))
            return None
        if camera is not None:
            self.statistics.camera_problem = ''
        elif picture.info is None:
            self.statistics.uncalibrate('no camera_info', NO_CAMERA_INFO)
        else:
            self.statistics.uncalibrate('uncalibrated camera', NOT_CALIBRATED)
        return camera

    def _advance(self, frame: Frame, received_s: float, settings: Settings) -> None:
        """Push a frame and publish what comes out."""
        if self.reset_wanted:
            self.reset_wanted = False
            self._publish(self.stream.reset(), settings)
            self.received_s.clear()
        self.stream.settings = settings    # those that may change while it runs are read anew each time
        self.received_s[frame.stamp_ns] = received_s
        done = self.stream.push(frame)
        for reason in self.stream.resets:
            self.warn(f'a new segment began: {reason}')
        self._publish(done, settings)
        self.statistics.state(self.stream.fill, self.stream.seconds, self.stream.resets)

    def _publish(self, done: list[DepthFrame], settings: Settings) -> None:
        began_s = time.monotonic()
        for depth in done:
            self.outputs.publish(depth, settings.cloud)
            self.statistics.published(depth, self.received_s.pop(depth.stamp_ns, None))
            anchor = depth.anchor
            if anchor.state == 'lost' or anchor.state == 'converging' and anchor.age_s > settings.metric.timeout_s:
                self.warn(f'metres {anchor.state}: {anchor.reason}')
        self.statistics.seconds['publish'] = time.monotonic() - began_s

    def _drop(self, reason: str, error: Exception) -> None:
        if not self.outputs.node.context.ok():    # publishing fails while the process ends: no news
            return
        text = str(error) if isinstance(error, DepthRosError) else f'{type(error).__name__}: {error}'
        self.statistics.drop(reason, text)
        self.warn(f'{reason}: {text}')
