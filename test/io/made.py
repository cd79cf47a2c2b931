"""Small recordings with known content, written with the real libraries."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import bag_typestore, make_header, recorded_types

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CAMERA = Camera(24, 32, 30.0, 31.0, 15.5, 11.5)
Entry = tuple[str, int, Any]    # topic, log time ns, message


def picture(seed: int = 0, height: int = 24, width: int = 32) -> np.ndarray:
    """Return smooth colours (H, W, 3) uint8 that differ from seed to seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def image(stamp: int, rgb: np.ndarray, frame_id: str = 'cam') -> Any:
    return image_message(recorded_types(), make_header(recorded_types(), stamp, frame_id), rgb, 'rgb8')


def info(stamp: int, camera: Camera = CAMERA, frame_id: str = 'cam') -> Any:
    return camera_info_message(recorded_types(), make_header(recorded_types(), stamp, frame_id), camera)


def compressed(stamp: int, data: bytes, format: str = 'rgb8; jpeg compressed bgr8') -> Any:
    kind = bag_typestore().types['sensor_msgs/msg/CompressedImage']
    return kind(header=make_header(recorded_types(), stamp, 'cam'), format=format, data=np.frombuffer(data, np.uint8))


def jpeg(rgb: np.ndarray, suffix: str = '.jpg') -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def text(words: str) -> Any:
    return bag_typestore().types['std_msgs/msg/String'](data=words)


def camera_entries(count: int = 5, rate_hz: float = 10.0) -> list[Entry]:
    """Return pictures with camera_info; each is logged 5 ms after its stamp, and somebody talks in between."""
    entries: list[Entry] = []
    for index in range(count):
        stamp = START + round(index * SECOND / rate_hz)
        entries += [('/cam/camera_info', stamp + 4_000_000, info(stamp)),
                    ('/cam/image', stamp + 5_000_000, image(stamp, picture(index))),
                    ('/talk', stamp + 6_000_000, text(f'{index}'))]
    return entries


def write_ros2(path: Path, entries: Iterable[Entry], plugin: str = 'MCAP') -> Path:
    """Write a rosbag2 folder and return it; its one storage file is `<name>/<name>.mcap` or `.db3`."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    with Writer(path, version=8, storage_plugin=StoragePlugin[plugin]) as writer:
        connections: dict[str, Any] = {}
        for topic, log_ns, msg in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msg.__msgtype__, typestore=bag_typestore())
            writer.write(connections[topic], log_ns, bag_typestore().serialize_cdr(msg, msg.__msgtype__))
    return path


def write_ros1(path: Path, entries: Iterable[Entry]) -> Path:
    """Write a ROS 1 bag with the same content: headers get their sequence number, matrices capital names."""
    from rosbags.rosbag1 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS1_NOETIC)
    store.register({name: bag_typestore().fielddefs[name] for name in ('tf2_msgs/msg/TFMessage',)})    # lacks it
    with Writer(path) as writer:
        connections: dict[str, Any] = {}
        for topic, log_ns, msg in entries:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, msg.__msgtype__, typestore=store)
            raw = bag_typestore().serialize_cdr(msg, msg.__msgtype__)
            writer.write(connections[topic], log_ns, bag_typestore().cdr_to_ros1(raw, msg.__msgtype__))
    return path


def read_all(path: Path) -> list[tuple[str, int, Any]]:
    """Return every (topic, log time ns, message) of a bag."""
    from rosbags.highlevel import AnyReader

    with AnyReader([path]) as reader:
        return [(item.topic, log_ns, reader.deserialize(raw, item.msgtype)) for item, log_ns, raw in reader.messages()]
