"""Everything a camera and the depth node publish, as it arrives, into an MCAP bag."""

import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_ros.io.messages import bag_typestore
from depth_ros.ros.play import IMAGE, INFO

DEPTH_TOPICS: dict[str, type] = {
    'depth/image': Image, 'depth/camera_info': CameraInfo, 'points': PointCloud2, 'relative/image': Image,
    'relative/points': PointCloud2, 'preview': Image, 'confidence': Image, 'pose': PoseStamped, 'pose_embedding': Image}


class Recorder(Node):
    """Writes messages unparsed, with the time of their arrival; `counts` says how many came on each topic."""

    def __init__(self, path: Path, node_name: str) -> None:
        super().__init__('recorder')
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path = path
        self.counts: Counter[str] = Counter()
        self.newest_s = time.monotonic()
        self.writer = Writer(path.parent / '.recording', version=8, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        topics = {IMAGE: Image, INFO: CameraInfo, '/diagnostics': DiagnosticArray}
        topics |= {f'{node_name}/{name}': kind for name, kind in DEPTH_TOPICS.items()}
        for topic, kind in topics.items():
            msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
            connection = self.writer.add_connection(topic, msgtype, typestore=bag_typestore())
            self.create_subscription(kind, topic, partial(self._write, connection), QoSProfile(depth=30), raw=True)

    def spin_until_quiet(self, is_over: Any, quiet_s: float) -> None:
        """Record until `is_over()` and nothing but diagnostics has come for `quiet_s`."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not is_over() or time.monotonic() - self.newest_s < quiet_s:
            executor.spin_once(timeout_sec=0.1)
        executor.remove_node(self)

    def close(self) -> None:
        """Finish the bag under its name and end the node."""
        self.writer.close()
        (self.path.parent / '.recording' / '.recording.mcap').replace(self.path)
        for rest in (self.path.parent / '.recording').iterdir():
            rest.unlink()
        (self.path.parent / '.recording').rmdir()
        self.destroy_node()

    def _write(self, connection: Any, raw: bytes) -> None:
        self.writer.write(connection, time.time_ns(), raw)
        self.counts[connection.topic] += 1
        if connection.topic != '/diagnostics':
            self.newest_s = time.monotonic()
