"""Message classes as plain records, so that one builder serves rclpy's classes and those of recorded bags alike."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any

import cv2
import numpy as np

# frame_id of a pose, by its unit: metres from where they began, or the stream's own from where the segment began.
METRIC_WORLD, UNSCALED_WORLD = 'depth_ros_world', 'depth_ros_world_unscaled'

PACKAGES = {'Time': 'builtin_interfaces', 'Header': 'std_msgs', 'Image': 'sensor_msgs', 'CameraInfo': 'sensor_msgs',
            'RegionOfInterest': 'sensor_msgs', 'PointCloud2': 'sensor_msgs', 'PointField': 'sensor_msgs',
            'LaserScan': 'sensor_msgs',
            'PoseStamped': 'geometry_msgs', 'Pose': 'geometry_msgs', 'Point': 'geometry_msgs',
            'Quaternion': 'geometry_msgs', 'Path': 'nav_msgs', 'DiagnosticArray': 'diagnostic_msgs',
            'DiagnosticStatus': 'diagnostic_msgs', 'KeyValue': 'diagnostic_msgs'}


@dataclass(frozen=True)
class MessageTypes:
    """The classes of one message library and how it wants its arrays."""

    Time: Any
    Header: Any
    Image: Any
    CameraInfo: Any
    RegionOfInterest: Any
    PointCloud2: Any
    PointField: Any
    LaserScan: Any
    PoseStamped: Any
    Pose: Any
    Point: Any
    Quaternion: Any
    Path: Any
    DiagnosticArray: Any
    DiagnosticStatus: Any
    KeyValue: Any
    payload: Callable[[np.ndarray], Any]              # any array -> what `data` wants
    floats: Callable[[Sequence[float]], Any]          # numbers -> what a float64 array field wants

    @classmethod
    def load(cls, find: Callable[[str], Any], payload: Callable[[np.ndarray], Any],
             floats: Callable[[Sequence[float]], Any]) -> 'MessageTypes':
        """Return the classes that `find('sensor_msgs/msg/Image')` and so on gives."""
        classes = {item.name: find(f'{PACKAGES[item.name]}/msg/{item.name}')
                   for item in fields(cls) if item.name in PACKAGES}
        return cls(**classes, payload=payload, floats=floats)


@lru_cache(maxsize=1)
def recorded_types() -> MessageTypes:
    """Return the message classes for bags."""
    return MessageTypes.load(bag_typestore().types.__getitem__, array_bytes, partial(np.array, dtype=np.float64))


@lru_cache(maxsize=1)
def bag_typestore() -> Any:
    """Return the definitions that our messages are written with, and that bags without definitions are read with.

    Humble's are the oldest in use; the messages we write have not changed since.
    """
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def array_bytes(values: np.ndarray) -> np.ndarray:
    """Return the bytes of an array as uint8 (N,), without a copy where it is contiguous."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def array_payload(values: np.ndarray) -> array:
    """Return the bytes of an array as rclpy's setters take them without looking at each element."""
    data = array('B')
    data.frombytes(array_bytes(values).data)
    return data


def stamp_ns(header: Any) -> int:
    """Return the stamp of a header in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def make_header(types: MessageTypes, stamp: int, frame_id: str) -> Any:
    """Return a header with `stamp` in nanoseconds."""
    sec, nanosec = divmod(stamp, 1_000_000_000)
    return types.Header(stamp=types.Time(sec=sec, nanosec=nanosec), frame_id=frame_id)


def status_message(types: MessageTypes, header: Any, name: str, level: str, message: str, values: Mapping[str, str]) -> Any:
    """Return a DiagnosticArray with one status; `level` is OK, WARN or ERROR."""
    said = [types.KeyValue(key=key, value=value) for key, value in values.items()]
    status = types.DiagnosticStatus(level=getattr(types.DiagnosticStatus, level), name=name, message=message,
                                    hardware_id='', values=said)
    return types.DiagnosticArray(header=header, status=[status])


def pose_message(types: MessageTypes, header: Any, T_world_cam: np.ndarray) -> Any:
    """Return the PoseStamped of a camera, (4, 4); `header.frame_id` names the world."""
    turn = cv2.Rodrigues(np.asarray(T_world_cam[:3, :3], np.float64))[0].ravel()    # axis * angle
    angle = float(np.linalg.norm(turn))
    qx, qy, qz = (float(value) for value in turn * (np.sin(angle / 2) / angle if angle else 0.5))
    x, y, z = (float(value) for value in T_world_cam[:3, 3])
    pose = types.Pose(position=types.Point(x=x, y=y, z=z),
                      orientation=types.Quaternion(x=qx, y=qy, z=qz, w=float(np.cos(angle / 2))))
    return types.PoseStamped(header=header, pose=pose)
