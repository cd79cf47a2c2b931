"""What a depth frame is on the wire: its messages by topic name, the same in the node and in a bag."""

from collections.abc import Iterator
from typing import Any

from depth_ros.core.cloud import make_cloud
from depth_ros.core.frame import DepthFrame
from depth_ros.core.metric import NominalScale
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.cloud_msg import cloud_message
from depth_ros.io.image_msg import embedding_message, image_message
from depth_ros.io.messages import WORLD_FRAME, MessageTypes, make_header, pose_message
from depth_ros.settings import CloudSettings

PREFIX = '/depth_ros/'    # of our topics in a bag


class DepthMessages:
    """Makes the messages of depth frames. Remembers the nominal scale and when the last cloud was due."""

    def __init__(self, types: MessageTypes) -> None:
        self.types = types
        self.nominal = NominalScale()
        self.last_slot = -1

    def of(self, depth: DepthFrame, settings: CloudSettings, points: bool) -> Iterator[tuple[str, Any]]:
        """Yield (topic, message) of a frame: metres or the relative map, never both, and what else the family gives."""
        types, header = self.types, make_header(self.types, depth.stamp_ns, depth.frame_id)
        if depth.depth_m is None:
            yield 'relative/image', image_message(types, header, depth.map, '32FC1')
        else:
            yield 'depth/image', image_message(types, header, depth.depth_m, '32FC1')
            if depth.camera:
                yield 'depth/camera_info', camera_info_message(types, header, depth.camera)
        if depth.confidence is not None:
            yield 'confidence', image_message(types, header, depth.confidence, '32FC1')
        if depth.T_world_cam is not None:
            yield 'pose', pose_message(types, make_header(types, depth.stamp_ns, WORLD_FRAME), depth.T_world_cam)
        if depth.embedding is not None:
            yield 'pose_embedding', embedding_message(types, header, depth.embedding)
        if points and depth.camera and self._cloud_due(depth.stamp_ns, settings.rate_hz):
            name = 'relative/points' if depth.depth_m is None else 'points'
            cloud = make_cloud(self.nominal.depth(depth), depth.frame.rgb, depth.camera, settings)
            yield name, cloud_message(types, header, *cloud)

    def _cloud_due(self, stamp: int, rate_hz: float) -> bool:
        """Return True for the first picture in each 1/rate_hz of the stamps: the same ones in every replay."""
        slot = int(stamp * rate_hz // 1e9)
        due, self.last_slot = not rate_hz or slot != self.last_slot, slot
        return due
