"""Everything a camera and the depth node publish, as it arrives, into an MCAP bag."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depth_ros.io.bag_writer import finish_mcap, open_mcap
from depth_ros.io.messages import bag_typestore
from depth_ros.ros.play import IMAGE, INFO

DEPTH_TOPICS: dict[str, type] = {
    'depth/image': Image, 'depth/camera_info': CameraInfo, 'points': PointCloud2, 'relative/image': Image,
    'relative/points': PointCloud2, 'preview': Image, 'confidence': Image, 'pose': PoseStamped, 'pose_embedding': Image,
    'alignment': DiagnosticArray}


@contextmanager
def recording(path: Path, node_name: str) -> Iterator['Recorder']:
    """Yield a recorder of the camera and the depth node; the bag is complete when the block ends."""
    rclpy.init(args=[])
    recorder = Recorder(path, node_name)
    try:
        yield recorder
    finally:
        recorder.close()
        rclpy.try_shutdown()


class Recorder(Node):
    """Writes messages unparsed, with the time of their arrival."""

    def __init__(self, path: Path, node_name: str) -> None:
        super().__init__('recorder')
        self.path = path
        self.newest_s = time.monotonic()
        self.heard: deque[tuple[int, int]] = deque(maxlen=2)    # (our subscriptions that the node knows of, its publishers)
        self.writer = open_mcap(path)
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, QoSProfile(depth=10))
        self.wanted = {f'{node_name}/{name}': kind for name, kind in DEPTH_TOPICS.items()}
        for topic, kind in {IMAGE: Image, INFO: CameraInfo, '/diagnostics': DiagnosticArray, **self.wanted}.items():
            msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'
            connection = self.writer.add_connection(topic, msgtype, typestore=bag_typestore())
            self.create_subscription(kind, topic, partial(self._write, connection), QoSProfile(depth=30), raw=True)

    def spin_until_heard(self, is_lost: Callable[[], bool]) -> bool:
        """Wait until the node has a listener for all that it publishes; False if `is_lost()` comes first."""
        self._spin_while(lambda: not self._is_heard() and not is_lost())
        return self._is_heard()

    def _is_heard(self) -> bool:
        # Twice the same: publishers are not all found at once, and not every family has all of them.
        return len(self.heard) == 2 and len(set(self.heard)) == 1 and self.heard[0][0] >= self.heard[0][1] > 0

    def spin_until_quiet(self, is_over: Callable[[], bool], quiet_s: float) -> None:
        """Record until `is_over()` and nothing but diagnostics has come for `quiet_s`."""
        self._spin_while(lambda: not is_over() or time.monotonic() - self.newest_s < quiet_s)

    def _spin_while(self, condition: Callable[[], bool]) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while condition():
            executor.spin_once(timeout_sec=0.1)
        executor.remove_node(self)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        listeners = sum(int(item.value) for item in message.status[0].values if item.key == 'listeners')
        self.heard.append((listeners, sum(self.count_publishers(topic) > 0 for topic in self.wanted)))

    def close(self) -> None:
        """Finish the bag under its name and end the node."""
        finish_mcap(self.writer, self.path)
        self.destroy_node()

    def _write(self, connection: Any, raw: bytes) -> None:
        self.writer.write(connection, time.time_ns(), raw)
        if connection.topic != '/diagnostics':
            self.newest_s = time.monotonic()
