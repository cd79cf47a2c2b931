"""What a depth frame is on the wire: its messages by topic name, the same from the node and in a bag."""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from depth_ros.core.cloud import apply_far, make_cloud
from depth_ros.core.frame import DepthFrame
from depth_ros.core.fusion import History
from depth_ros.core.metric import NominalScale, tell_far
from depth_ros.core.scan import make_scan
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.cloud_msg import cloud_message, scan_message
from depth_ros.io.image_msg import embedding_message, image_message
from depth_ros.io.messages import (
    METRIC_WORLD,
    UNSCALED_WORLD,
    MessageTypes,
    make_header,
    pose_message,
    status_message,
)
from depth_ros.io.preview import Preview, nearness
from depth_ros.settings import CloudSettings

PREFIX = '/depth_ros/'    # of our topics in a bag
PATH_POSES = 1000         # the longest path; one of these takes 4 ms to publish
LEVELS = {'converging': 'WARN', 'lost': 'ERROR'}    # of the state of an anchor; else WARN with a reason, OK without

Make = Callable[[Any, DepthFrame, CloudSettings], Any]    # header, frame, cloud -> message, None where there is none


class DepthMessages:
    """Makes the messages of depth frames. Remembers the nominal scale, the colours, the path and when a cloud was due."""

    def __init__(self, types: MessageTypes) -> None:
        self.types = types
        self.nominal, self.preview, self.last_slot = NominalScale(), Preview(), -1
        self.points = np.empty((0, 0, 4), np.float32)    # of the last cloud
        self.histories = History(), History()            # of relative clouds and of those in metres
        self.poses: deque[Any] = deque(maxlen=PATH_POSES)
        self.path_end = ('', 0, 0)    # world, segment and index of the newest one
        self.table: dict[str, tuple[Any, Make]] = {    # topic -> class of the message, who makes it
            'depth/image': (types.Image, self._depth),
            'depth/camera_info': (types.CameraInfo, self._camera_info),
            'relative/image': (types.Image, self._relative),
            'points': (types.PointCloud2, self._points),
            'relative/points': (types.PointCloud2, self._relative_points),
            'scan': (types.LaserScan, self._scan),
            'preview': (types.Image, self._preview),
            'confidence': (types.Image, self._confidence),
            'alignment': (types.DiagnosticArray, self._alignment),
            'pose': (types.PoseStamped, self._pose),
            'path': (types.Path, self._path),
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

    def _depth(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        if depth.depth_m is None:
            return None
        depth_m, limit_m = depth.depth_m, settings.max_depth_m
        if settings.image_far != 'nan':
            depth_m = apply_far(tell_far(depth, limit_m), limit_m, settings.image_far)
        return image_message(self.types, header, depth_m, '32FC1')

    def _camera_info(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        if depth.depth_m is None or depth.camera is None:
            return None
        return camera_info_message(self.types, header, depth.camera)

    def _relative(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return image_message(self.types, header, nearness(depth.map, depth.quantity), '32FC1')

    def _points(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        return None if depth.depth_m is None else self._cloud(header, depth, tell_far(depth, settings.max_depth_m), settings)

    def _relative_points(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        return self._cloud(header, depth, self.nominal.depth(depth), settings)

    def _cloud(self, header: Any, depth: DepthFrame, depth_m: np.ndarray, settings: CloudSettings) -> Any:
        if depth.camera is None:
            return None
        fuse = None
        if settings.fuse:
            history = self.histories[depth.depth_m is not None]
            fuse = partial(history.fuse, depth=depth, frames=settings.fuse, limit_m=settings.max_depth_m)
        points = make_cloud(depth_m, depth.frame.rgb, depth.camera, settings, depth.confidence, self.points, fuse)
        if points.ndim == 3:    # kept, for a fresh one costs more than filling it
            self.points = points
        return cloud_message(self.types, header, points, settings.field)

    def _scan(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        if depth.depth_m is None or depth.camera is None:
            return None
        depth_m = tell_far(depth, settings.scan.max_range_m)
        scan = make_scan(depth_m, depth.camera, settings.scan, settings.edge_ratio, settings.edge_px)
        return scan_message(self.types, header, *scan, settings.scan)

    def _preview(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return image_message(self.types, header, self.preview(depth), 'bgr8')

    def _confidence(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return None if depth.confidence is None else image_message(self.types, header, depth.confidence, '32FC1')

    def _alignment(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        anchor = depth.anchor
        values = {**anchor_values(depth), 'segment': str(depth.segment)}
        return status_message(self.types, header, 'alignment', LEVELS.get(anchor.state, 'WARN' if anchor.reason else 'OK'),
                              anchor.reason or anchor.state, values)

    def _pose(self, _: Any, depth: DepthFrame, __: CloudSettings) -> Any:
        T, world = (depth.T_world_cam, UNSCALED_WORLD) if depth.T_metric_cam is None else (depth.T_metric_cam, METRIC_WORLD)
        return None if T is None else pose_message(self.types, make_header(self.types, depth.stamp_ns, world), T)

    def _path(self, header: Any, depth: DepthFrame, settings: CloudSettings) -> Any:
        """Return the way since somebody asks for each frame's, on one scale in one world."""
        pose = self._pose(header, depth, settings)
        if pose is None:
            return None
        end = (pose.header.frame_id, depth.segment, depth.index)
        if end != (*self.path_end[:2], self.path_end[2] + 1):
            self.poses.clear()
        self.path_end = end
        self.poses.append(pose)
        return self.types.Path(header=pose.header, poses=list(self.poses))

    def _embedding(self, header: Any, depth: DepthFrame, _: CloudSettings) -> Any:
        return None if depth.embedding is None else embedding_message(self.types, header, depth.embedding)


def anchor_values(depth: DepthFrame) -> dict[str, str]:
    """Return how the frame's scale hangs on metres, as text."""
    anchor = depth.anchor
    numbers = {name: f'{getattr(anchor, name):.9g}' for name in ('scale', 'shift', 'residual', 'inliers', 'points', 'age_s',
                                                                 'uncertainty')}
    return {'state': anchor.state, 'metric': str(depth.depth_m is not None).lower(), **numbers}
