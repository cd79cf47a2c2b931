"""From messages to what they measure, seen from the camera: `Measurements`, for the live node and for recordings alike."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from depth_ros.core.camera import Camera, resize_camera
from depth_ros.core.measurement import Measurement
from depth_ros.errors import InputError, SettingsError
from depth_ros.io.camera_msg import camera_from_info
from depth_ros.io.messages import stamp_ns
from depth_ros.io.range_msg import check_encoding, cloud_points, depth_points, thin
from depth_ros.io.tf import TransformTree, UnknownTransform, clean, read_matrix
from depth_ros.settings import MetricSettings

KEPT = {'range': 16, 'range/camera_info': 1, 'odometry': 2000, 'imu': 2000, 'tf': 10_000, 'tf_static': 1000}
TF = ('tf', 'tf_static')
PATIENCE_NS = 500_000_000    # a measurement waits so long for its transform
FUTURE_S = 5.0        # one stamped so much later than the picture does not wait: the clocks differ
IMU_SMOOTH_S = 0.5    # time constant of the low pass over accelerations
FORWARD = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])    # camera that looks along x of its base
NO_EXTRINSIC = 'publish it on /tf_static or set metric.extrinsic'


@dataclass(frozen=True)
class _Waiting:
    """A message, or with kind 'picture' the frame_id of a picture, whose measurement is still to be made."""

    kind: str
    stamp: int
    message: Any


class Measurements:
    """Collects the messages of one metric source and gives out what they measure, picture by picture.

    `add` is cheap and may be called from callbacks while one worker calls `take` and `reset`. `live`: only the newest
    messages of each kind are kept, and a measurement waits a while for its transform. `notes` says what was assumed; it only
    grows. Raises SettingsError for a metric.extrinsic that is none.
    """

    def __init__(self, settings: MetricSettings, live: bool = True) -> None:
        self.settings = settings
        self.kinds = needed(settings)
        self.notes: list[str] = []
        self.T_cam_sensor = read_extrinsic(settings.extrinsic) if settings.extrinsic else None
        self.live, self.tree = live, TransformTree()
        self.incoming = {kind: deque[Any](maxlen=count if live else None) for kind, count in KEPT.items()}
        self.reset()

    def reset(self) -> None:
        """Forget the past, but not what sits where for ever."""
        for kind in self.incoming.keys() - {'tf_static'}:
            self.incoming[kind].clear()
        self.tree.forget_moving()
        self.waiting: list[_Waiting] = []
        self.range_info: Any = None
        self.smoothed: tuple[int, np.ndarray] | None = None    # stamp, smoothed acceleration
        self.odometry_since: int | None = None

    def add(self, kind: str, message: Any) -> None:
        """Take a message of one of the `kinds`; of whatever content, it never raises."""
        self.incoming[kind].append(message)

    def take(self, stamp: int, frame_id: str, camera: Camera | None) -> tuple[Measurement, ...]:
        """Return what came since the last call and is not newer than a picture, oldest first, seen from its camera.

        The picture has the `stamp` [ns], the optical frame `frame_id` and the `camera`, if calibrated. What is newer by
        more than metric.tolerance_s waits for later pictures, and so does, a while, what needs a transform that is not known
        yet. A message that cannot be used comes as a measurement with a `problem`.
        """
        crowded_out = self._collect(stamp, clean(frame_id))
        given, still = [], []
        if any(item.stamp > stamp for item in crowded_out):    # those would have been of use next, if the clocks were one
            given.append(Measurement(stamp, problem=_later(self.waiting[-1], stamp)))
        for item in self.waiting:
            early_s, measurement, problem = (item.stamp - stamp) / 1e9 - self.settings.tolerance_s, None, ''
            if 0 < early_s < FUTURE_S:
                still.append(item)
                continue
            try:
                if early_s >= FUTURE_S:
                    raise InputError(_later(item, stamp))
                measurement = self._measure(item, clean(frame_id), camera)
            except UnknownTransform as error:
                if self.live and stamp - item.stamp < PATIENCE_NS:
                    still.append(item)
                else:
                    problem = f'{error}; {NO_EXTRINSIC}'
            except InputError as error:
                problem = str(error)
            except Exception as error:    # a damaged message can raise anything
                problem = f'the {item.kind} message cannot be read ({type(error).__name__}: {error}); correct its driver'
            if problem:
                measurement = Measurement(min(item.stamp, stamp), problem=problem)
            if measurement:
                given.append(measurement)
        self.waiting = still
        return tuple(sorted(given, key=lambda measurement: measurement.stamp_ns))

    def _collect(self, stamp: int, frame_id: str) -> list[_Waiting]:
        """Bring transforms and calibration up to date, and what came into the line of those that wait.

        Return those that there was no more room for.
        """
        for kind in TF:
            for message in _drain(self.incoming[kind]):
                try:
                    self.tree.add(message.transforms, kind == 'tf_static')
                except Exception as error:    # a damaged message can raise anything
                    self._note(str(error))
        self.range_info = [self.range_info, *_drain(self.incoming['range/camera_info'])][-1]
        for kind in ('range', 'odometry', 'imu'):
            for message in _drain(self.incoming[kind]):
                try:
                    at = stamp_ns(message.header)
                except Exception:    # without a header it counts as of now, and what is wrong comes out later
                    at = stamp
                self.waiting.append(_Waiting(kind, at, message))
        if _from_tf(self.settings):
            self.waiting.append(_Waiting('picture', stamp, frame_id))
        room = KEPT['range' if self.settings.source == 'range' else 'odometry']
        excess = max(0, len(self.waiting) - room) if self.live else 0
        crowded_out, self.waiting = self.waiting[:excess], self.waiting[excess:]
        return crowded_out

    def _measure(self, item: _Waiting, frame_id: str, camera: Camera | None) -> Measurement | None:
        if item.kind == 'range':
            return Measurement(item.stamp, points_m=self._points(item.message, item.stamp, frame_id, camera))
        if item.kind == 'imu':
            R_cam_imu = self._pose(item.message.header.frame_id, item.stamp, frame_id)[:3, :3]
            return Measurement(item.stamp, down=R_cam_imu @ self._gravity(item.message, item.stamp))
        if item.kind == 'odometry':
            T_odom_cam = self._odometry(item.message, item.stamp, frame_id)
            return None if T_odom_cam is None else Measurement(item.stamp, T_odom_cam=T_odom_cam)
        base, odom = self.settings.base_frame, self.settings.odom_frame
        if self.settings.source == 'camera_height':
            return Measurement(item.stamp, down=-self._pose(base, item.stamp, item.message)[:3, 2])
        if self.T_cam_sensor is None:
            return Measurement(item.stamp, T_odom_cam=self.tree.lookup(odom, item.message, item.stamp))
        T_odom_base = self.tree.lookup(odom, base, item.stamp)
        return Measurement(item.stamp, T_odom_cam=T_odom_base @ np.linalg.inv(self.T_cam_sensor))

    def _pose(self, sensor: str, stamp: int, frame_id: str) -> np.ndarray:
        """Return T_cam_sensor (4, 4): as the settings say it, none where the frames are the same, else from the tree."""
        if self.T_cam_sensor is not None:
            return self.T_cam_sensor
        return np.eye(4) if clean(sensor) == frame_id else self.tree.lookup(frame_id, sensor, stamp)

    def _points(self, message: Any, stamp: int, frame_id: str, camera: Camera | None) -> np.ndarray:
        """Return what a cloud or a depth image saw before the camera, (N, 3) float32 m in its frame, N <= 20 000."""
        T = self._pose(message.header.frame_id, stamp, frame_id).astype(np.float32)
        limits = self.settings.range_min_m, self.settings.range_max_m
        if hasattr(message, 'encoding'):
            check_encoding(message)
            points = depth_points(message, self._range_camera(message, frame_id, camera), *limits)
        else:
            points = cloud_points(message, *limits)
        before = thin(np.flatnonzero(points @ T[2, :3] > -T[2, 3]))
        if not len(before):
            raise InputError(f'none of {len(points)} range points lies before the camera; check where the range sensor sits '
                             '(/tf_static or metric.extrinsic)')
        seen: np.ndarray = points[before] @ T[:3, :3].T + T[:3, 3]
        return seen

    def _range_camera(self, image: Any, frame_id: str, camera: Camera | None) -> Camera:
        """Return the camera of a depth image: its own, else that of the picture if they are registered."""
        height, width, info = image.height, image.width, self.range_info
        if not (height > 0 and width > 0):
            raise InputError(f'the depth image has {width}x{height} pixels; check its driver')
        if info is not None:
            rectified = any(info.p if hasattr(info, 'p') else info.P)
            own = camera_from_info(info, height, width, 'rectified' if rectified else 'raw')
            if own:
                return own
        if clean(image.header.frame_id) != frame_id or camera is None:
            raise InputError(f'the depth image in {image.header.frame_id!r} has no calibration; publish its camera_info on '
                             'range/camera_info, or register it to the calibrated picture and give it its frame_id')
        if abs(width * camera.height / (height * camera.width) - 1) > 0.02:
            raise InputError(f'the depth image has {width}x{height} pixels and the picture {camera.width}x{camera.height}: '
                             'not the same view; publish its own camera_info on range/camera_info')
        return resize_camera(camera, height, width)

    def _odometry(self, message: Any, stamp: int, frame_id: str) -> np.ndarray | None:
        """Return T_odom_cam (4, 4) = T_odom_base T_base_cam.

        Where nothing says how the camera sits on the base, it is taken to sit in its origin and to look along its x axis,
        with a note; but not in the first second, in which that may still come.
        """
        base, pose = clean(message.child_frame_id), message.pose.pose
        T_odom_base = read_matrix(pose.position, pose.orientation, 'the odometry')
        if self.T_cam_sensor is None and not self.tree.connected(frame_id, base):
            self.odometry_since = stamp if self.odometry_since is None else self.odometry_since
            if self.live and stamp - self.odometry_since < 1e9:
                return None
            self._note(f'nothing says where the camera {frame_id!r} sits on {base!r}, so it is taken to sit in its origin '
                       f'and to look along its x axis; {NO_EXTRINSIC}')
            return T_odom_base @ FORWARD
        matrix: np.ndarray = T_odom_base @ np.linalg.inv(self._pose(base, stamp, frame_id))
        return matrix

    def _gravity(self, message: Any, stamp: int) -> np.ndarray:
        """Return where gravity pulls, (3) of length 1 in the frame of an IMU.

        From its orientation if it has one: a covariance that begins with -1 says that it has not, and so does, beside an
        acceleration, exactly no rotation, which drivers leave there. Else from the smoothed acceleration.
        """
        turn, push = message.orientation, message.linear_acceleration
        q, a = np.array([turn.x, turn.y, turn.z, turn.w]), np.array([push.x, push.y, push.z])
        pushed = message.linear_acceleration_covariance[0] != -1 and np.isfinite(a).all() and np.linalg.norm(a) > 0
        turned = message.orientation_covariance[0] != -1 and abs(np.linalg.norm(q) - 1) < 0.1
        if turned and not (pushed and q[3] == 1):
            x, y, z, w = q / np.linalg.norm(q)
            return -np.array([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)])    # of the world's z
        if not pushed:
            raise InputError(f'the IMU gives no direction of gravity (quaternion {q.tolist()}, acceleration {a.tolist()} '
                             'm/s^2); choose another one, or give metric.pitch_deg and set metric.gravity to parameter')
        if self.smoothed is not None:
            gap_s = (stamp - self.smoothed[0]) / 1e9
            if 0 <= gap_s < 10 * IMU_SMOOTH_S:
                a = self.smoothed[1] + (1 - exp(-gap_s / IMU_SMOOTH_S)) * (a - self.smoothed[1])
        self.smoothed = stamp, a
        down: np.ndarray = -a / max(np.linalg.norm(a), 1e-9)
        return down

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 20:
            self.notes.append(text)


def _later(item: _Waiting, stamp: int) -> str:
    return (f'the {item.kind} message is stamped {(item.stamp - stamp) / 1e9:.1f} s later than the picture; synchronise the '
            'clocks of the sensors')


def needed(settings: MetricSettings) -> tuple[str, ...]:
    """Return the kinds of messages that the source of the settings needs."""
    tf = () if settings.extrinsic else TF
    if settings.source == 'range':
        return 'range', 'range/camera_info', *tf
    if _from_tf(settings):
        return TF
    if settings.source == 'odometry':
        return 'odometry', *tf
    return ('imu', *tf) if settings.source == 'camera_height' and settings.gravity == 'imu' else ()


def _from_tf(settings: MetricSettings) -> bool:
    """Return whether the frames themselves are what is measured."""
    return (settings.source, settings.gravity) == ('camera_height', 'tf') or (
        settings.source, settings.odometry) == ('odometry', 'tf')


def read_extrinsic(given: str) -> np.ndarray:
    """Return T_cam_sensor (4, 4) of "x,y,z,qx,qy,qz,qw" in m, or of a YAML file with these keys.

    In the file they may lie deeper, also as translation and rotation (or position and orientation) with x, y, z, w. Raises
    SettingsError if it is neither.
    """
    try:
        if ',' in given:
            values = [float(part) for part in given.split(',')]
        else:
            values = _pose_in(_read_yaml(Path(given)))
        if len(values) != 7:
            raise ValueError(f'{len(values)} of 7 numbers')
        x, y, z, qx, qy, qz, qw = values
        return read_matrix(SimpleNamespace(x=x, y=y, z=z), SimpleNamespace(x=qx, y=qy, z=qz, w=qw), 'it')
    except (OSError, KeyError, TypeError, ValueError, InputError) as error:
        reason = ' '.join(str(error).split())
        raise SettingsError(f'metric.extrinsic={given!r}: expected "x,y,z,qx,qy,qz,qw" in m or a YAML file with these keys, '
                            f'the pose of the sensor in the optical frame of the camera ({reason})') from error


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding='utf8'))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _pose_in(content: Any) -> list[float]:
    """Return x, y, z, qx, qy, qz, qw of the first mapping that holds them, or nothing."""
    if isinstance(content, Mapping):
        if {*'xyz', 'qx', 'qy', 'qz', 'qw'} <= set(content):
            return [float(content[name]) for name in (*'xyz', 'qx', 'qy', 'qz', 'qw')]
        for place, turn in (('translation', 'rotation'), ('position', 'orientation')):
            if {place, turn} <= set(content):
                return [float(content[place][name]) for name in 'xyz'] + [float(content[turn][name]) for name in 'xyzw']
        return next(filter(None, map(_pose_in, content.values())), [])
    return []


def _drain(queue: deque[Any]) -> list[Any]:
    """Return what is in the queue, oldest first, without missing what comes meanwhile."""
    return [queue.popleft() for _ in range(len(queue))]
