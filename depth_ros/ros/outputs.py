"""What the node publishes. Every message is made only while somebody listens, and only if the frame has it."""

import importlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import String

from depth_ros.core.cloud import make_cloud
from depth_ros.core.frame import DepthFrame
from depth_ros.core.metric import NominalScale
from depth_ros.families.family import Family
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.cloud_msg import cloud_message
from depth_ros.io.image_msg import embedding_message, image_message
from depth_ros.io.messages import WORLD_FRAME, MessageTypes, array_payload, make_header, pose_message
from depth_ros.io.preview import Preview, nearness
from depth_ros.ros.qos import advertise
from depth_ros.settings import Settings


def message_types() -> MessageTypes:
    """Return the message classes of this ROS installation."""
    def find(name: str) -> Any:
        package, _, kind = name.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), kind)

    return MessageTypes.load(find, array_payload, list)


class Outputs:
    """The publishers of one configured node."""

    def __init__(self, node: Node, family: Family, info: dict[str, str], warn: Callable[[str], None]) -> None:
        self.node, self.types = node, message_types()
        self.nominal, self.preview, self.last_slot = NominalScale(), Preview(), -1
        kinds: dict[str, tuple[type, Callable]] = {
            'depth/image': (Image, self._depth), 'depth/camera_info': (CameraInfo, self._camera_info),
            'relative/image': (Image, self._relative),
            'points': (PointCloud2, self._points), 'relative/points': (PointCloud2, self._relative_points),
            'preview': (Image, self._preview), 'confidence': (Image, self._confidence)}
        if family.gives_pose:
            kinds['pose'] = PoseStamped, self._pose
        if family.embedding_dim:
            kinds['pose_embedding'] = Image, self._embedding
        self.table = {name: (advertise(node, kind, f'~/{name}', warn), make) for name, (kind, make) in kinds.items()}
        self.latched = [self._describe_embedding(family, info, warn)] if family.embedding_dim else []

    def listeners(self) -> int:
        """Return how many subscriptions there are to any result."""
        return sum(publisher.get_subscription_count() for publisher, _ in self.table.values())

    def publish(self, depth: DepthFrame, settings: Settings) -> None:
        """Publish what somebody listens to, all with the stamp and frame of the picture."""
        header = make_header(self.types, depth.stamp_ns, depth.frame_id)
        cloud_due = self._cloud_due(depth.stamp_ns, settings.cloud.rate_hz)
        for name, (publisher, make) in self.table.items():
            if publisher.get_subscription_count() and (cloud_due or not name.endswith('points')):
                message = make(header, depth, settings)
                if message is not None:
                    publisher.publish(message)

    def destroy(self) -> None:
        for publisher in [*(publisher for publisher, _ in self.table.values()), *self.latched]:
            self.node.destroy_publisher(publisher)

    def _cloud_due(self, stamp_ns: int, rate_hz: float) -> bool:
        """Return True for the first picture in each 1/rate_hz of the stamps: the same ones in every replay."""
        if not rate_hz:
            return True
        slot = int(stamp_ns * rate_hz // 1e9)
        due, self.last_slot = slot != self.last_slot, slot
        return due

    def _depth(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return None if depth.depth_m is None else image_message(self.types, header, depth.depth_m, '32FC1')

    def _camera_info(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        if depth.depth_m is None or depth.camera is None:
            return None
        return camera_info_message(self.types, header, depth.camera)

    def _relative(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return image_message(self.types, header, nearness(depth.map, depth.quantity), '32FC1')

    def _points(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return None if depth.depth_m is None else self._cloud(header, depth, depth.depth_m, settings)

    def _relative_points(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return self._cloud(header, depth, self.nominal.depth(depth), settings)

    def _cloud(self, header: Any, depth: DepthFrame, depth_m: np.ndarray, settings: Settings) -> Any:
        if depth.camera is None:
            return None
        xyz, rgb = make_cloud(depth_m, depth.frame.rgb, depth.camera, settings.cloud)
        return cloud_message(self.types, header, xyz, rgb)

    def _preview(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return image_message(self.types, header, self.preview(depth), 'bgr8')

    def _confidence(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return None if depth.confidence is None else image_message(self.types, header, depth.confidence, '32FC1')

    def _pose(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        if depth.T_world_cam is None:
            return None
        return pose_message(self.types, make_header(self.types, depth.stamp_ns, WORLD_FRAME), depth.T_world_cam)

    def _embedding(self, header: Any, depth: DepthFrame, settings: Settings) -> Any:
        return None if depth.embedding is None else embedding_message(self.types, header, depth.embedding)

    def _describe_embedding(self, family: Family, info: dict[str, str], warn: Callable[[str], None]) -> Publisher:
        """Return the latched publisher that has said what an embedding is."""
        publisher = advertise(self.node, String, '~/pose_embedding/info', warn, latched=True)
        publisher.publish(String(data=json.dumps(
            {'family': family.name, 'dimension': family.embedding_dim, 'meaning': family.embedding_meaning, **info})))
        return publisher
