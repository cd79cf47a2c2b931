"""Messages of sensors beside the camera, as recorded bags hold them."""

from typing import Any

import numpy as np

from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import bag_typestore, make_header, recorded_types

UPRIGHT = (0.0, 0.0, 0.0, 1.0)
OPTICAL = (-0.5, 0.5, -0.5, 0.5)    # of an optical frame (z forward) in a body's frame (x forward, z up)
DATATYPES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}


def of(kind: str, /, **values: Any) -> Any:
    return bag_typestore().types[kind](**values)


def head(stamp: int, frame_id: str) -> Any:
    return make_header(recorded_types(), stamp, frame_id)


def place(xyz: Any = (0, 0, 0), turn: Any = UPRIGHT) -> dict[str, Any]:
    """Return a vector and a quaternion, as fields named after the message that is asked for."""
    x, y, z = (float(value) for value in xyz)
    qx, qy, qz, qw = (float(value) for value in turn)
    return {'vector': of('geometry_msgs/msg/Vector3', x=x, y=y, z=z), 'point': of('geometry_msgs/msg/Point', x=x, y=y, z=z),
            'turn': of('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw)}


def transform(parent: str, child: str, stamp: int, xyz: Any = (0, 0, 0), turn: Any = UPRIGHT) -> Any:
    where = place(xyz, turn)
    return of('geometry_msgs/msg/TransformStamped', header=head(stamp, parent), child_frame_id=child,
              transform=of('geometry_msgs/msg/Transform', translation=where['vector'], rotation=where['turn']))


def tf(*transforms: Any) -> Any:
    return of('tf2_msgs/msg/TFMessage', transforms=list(transforms))


def cloud(stamp: int, points: Any, frame_id: str = 'lidar', types: tuple[str, ...] = ('f4', 'f4', 'f4'),
          names: tuple[str, ...] = ('x', 'y', 'z'), gap: int = 0, rows: int = 1, row_gap: int = 0, big: bool = False) -> Any:
    """Return a PointCloud2: fields in the given order and types, `gap` unused bytes before each, `row_gap` after a row."""
    points = np.asarray(points, float).reshape(-1, 3)
    offsets, end = [], 0
    for kind in types:
        offsets.append(end + gap)
        end += gap + np.dtype(kind).itemsize
    order = '>' if big else '<'
    stored = np.zeros(len(points), {'names': names, 'formats': [order + kind for kind in types], 'offsets': offsets,
                                    'itemsize': end + gap})
    for name in names:
        stored[name] = points[:, 'xyz'.index(name)] if name in 'xyz' else 77
    lines = stored.view(np.uint8).reshape(rows, -1)
    lines = np.pad(lines, ((0, 0), (0, row_gap)))
    fields = [of('sensor_msgs/msg/PointField', name=name, offset=offset, datatype=DATATYPES[kind], count=1)
              for name, offset, kind in zip(names, offsets, types, strict=True)]
    return of('sensor_msgs/msg/PointCloud2', header=head(stamp, frame_id), height=rows, width=len(points) // rows,
              fields=fields, is_bigendian=big, point_step=end + gap, row_step=lines.shape[1], data=lines.ravel(),
              is_dense=False)


def depth_image(stamp: int, depth: np.ndarray, encoding: str, frame_id: str = 'cam') -> Any:
    return image_message(recorded_types(), head(stamp, frame_id), depth, encoding)


def odometry(stamp: int, xyz: Any = (0, 0, 0), turn: Any = UPRIGHT, frame_id: str = 'odom', child: str = 'base_link') -> Any:
    where, none = place(xyz, turn), np.zeros(36)
    still = of('geometry_msgs/msg/Twist', linear=place()['vector'], angular=place()['vector'])
    return of('nav_msgs/msg/Odometry', header=head(stamp, frame_id), child_frame_id=child,
              pose=of('geometry_msgs/msg/PoseWithCovariance', covariance=none,
                      pose=of('geometry_msgs/msg/Pose', position=where['point'], orientation=where['turn'])),
              twist=of('geometry_msgs/msg/TwistWithCovariance', twist=still, covariance=none))


def imu(stamp: int, acceleration: Any = (0, 0, 9.81), turn: Any = UPRIGHT, known: bool = False,
        frame_id: str = 'imu') -> Any:
    """Return an Imu; `known`: it has an orientation."""
    covariance = np.zeros(9)
    return of('sensor_msgs/msg/Imu', header=head(stamp, frame_id), orientation=place(turn=turn)['turn'],
              orientation_covariance=covariance - (0 if known else np.eye(9)[0]), angular_velocity=place()['vector'],
              angular_velocity_covariance=covariance, linear_acceleration=place(acceleration)['vector'],
              linear_acceleration_covariance=covariance)
