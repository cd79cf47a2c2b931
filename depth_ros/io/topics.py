"""What a depth frame is on the wire: its messages by topic name, the same from the node and in a bag."""

from collections.abc import Callable
from typing import Any

import numpy as np

from depth_ros.core.cloud import make_cloud
from depth_ros.core.frame import DepthFrame
from depth_ros.core.metric import NominalScale
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.cloud_msg import cloud_message
from depth_ros.io.image_msg import embedding_message, image_message
from depth_ros.io.messages import WORLD_FRAME, MessageTypes, make_header, pose_message
from depth_ros.io.preview import Preview, nearness
from depth_ros.settings import CloudSettings

PREFIX = '/depth_ros/'    # of our topics in a bag

Make = Callable[[Any, DepthFrame, CloudSettings], Any]    # header, frame, cloud -> message, None where there is none


class DepthMessages:
    """Makes the messages of depth frames. Remembers the nominal scale, the colours and when a cloud was due."""

    def __init__(self, types: MessageTypes) -> None:
        self.types = types
        self.nominal, self.preview, self.last_slot = NominalScale(), Preview(), -1
        self.points = np.empty((0, 0, 4), np.float32)    # of the last cloud
        self.table: dict[str, tuple[Any, Make]] = {    # topic -> class of the message, who makes it
            'depth/image': (types.Image, self._depth),
            'depth/camera_info': (types.CameraInfo, self._camera_info),
            'relative/image': (types.Image, self._relative),
            'points': (types.PointCloud2, self._points),
            'relative/points': (types.PointCloud2, self._relative_points),
            'preview': (types.Image, self._preview),
            'confidence': (types.Image, self._confidence),
            'pose': (types.PoseStamped, self._pose),
            'pose_embedding': (types.Image, self._embedding),
        }

    def make(self, topic: str, depth: DepthFrame, settings: CloudSettings) -> Any:
        """Return the message, stamped like its picture, or None if the frame has nothing for this topic.

        Publish or write it before the next one is made: clouds share their memory.
        """
        return self.table[topic][1](make_header(self.types, depth.stamp_ns, depth.frame_id), depth, settings)

    def cloud_due(self, stamp: int, rate_hz: float) -> bool:
        """Return True for the first picture in each 1/rate_hz of the stamps: the same ones in every replay."""
        slot = int(stamp * rate_hz // 1e9)
        due, self.last_slot = not rate_hz or slot != self.last_slot, slot
        return due

    def _depth(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return None if depth.depth_m is None else image_message(self.types, header, depth.depth_m, '32FC1')

    def _camera_info(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        if depth.depth_m is None or depth.camera is None:
            return None
        return camera_info_message(self.types, header, depth.camera)

    def _relative(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return image_message(self.types, header, nearness(depth.map, depth.quantity), '32FC1')

    def _points(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        return None if depth.depth_m is None else self._cloud(header, depth, depth.depth_m, settings)

    def _relative_points(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        return self._cloud(header, depth, self.nominal.depth(depth), settings)

    def _cloud(self, header: Any, depth: DepthFrame, depth_m: np.ndarray, settings: CloudSettings) -> Any:
        if depth.camera is None:
            return None
        xyz, rgb = make_cloud(depth_m, depth.frame.rgb, depth.camera, settings)
        if self.points.shape[:2] != xyz.shape[:2]:    # kept, for a fresh one costs more than filling it
            self.points = np.empty((*xyz.shape[:2], 4), np.float32)
        return cloud_message(self.types, header, xyz, rgb, self.points)

    def _preview(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return image_message(self.types, header, self.preview(depth), 'bgr8')

    def _confidence(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return None if depth.confidence is None else image_message(self.types, header, depth.confidence, '32FC1')

    def _pose(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        if depth.T_world_cam is None:
            return None
        return pose_message(self.types, make_header(self.types, depth.stamp_ns, WORLD_FRAME), depth.T_world_cam)

    def _embedding(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return None if depth.embedding is None else embedding_message(self.types, header, depth.embedding)
