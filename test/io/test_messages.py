import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.io.camera_msg import camera_info_message
from depth_ros.io.cloud_msg import cloud_message
from depth_ros.io.image_msg import embedding_message, image_message
from depth_ros.io.messages import bag_typestore, make_header, pose_message, recorded_types, stamp_ns, status_message


def test_a_stamp_survives_to_the_nanosecond():
    header = make_header(recorded_types(), 1_700_000_000_123_456_789, 'cam')
    assert stamp_ns(header) == 1_700_000_000_123_456_789 and header.frame_id == 'cam'


def turn(axis, angle):
    axis = np.array(axis) / np.linalg.norm(axis)
    cross = np.cross(np.eye(3), axis)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


TURNS = [((0, 0, 1), 0.0), ((1, 2, 3), 1e-9), ((1, -2, 3), 2.0), ((0, 1, 0), np.pi)]


@pytest.mark.parametrize(('axis', 'angle'), TURNS)
def test_a_pose_is_a_place_and_a_turn(axis, angle):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = turn(axis, angle), (1, 2, 3)
    pose = pose_message(recorded_types(), None, T).pose
    q = pose.orientation
    assert (pose.position.x, pose.position.y, pose.position.z) == (1, 2, 3)
    expected = np.append(np.array(axis) / np.linalg.norm(axis) * np.sin(angle / 2), np.cos(angle / 2))
    assert abs(np.dot((q.x, q.y, q.z, q.w), expected)) == pytest.approx(1, abs=1e-12)


MESSAGES = {
    'depth': lambda types, header: image_message(types, header, np.full((4, 5), 2, np.float32), '32FC1'),
    'colour': lambda types, header: image_message(types, header, np.full((4, 5, 3), 2, np.uint8), 'bgr8'),
    'info': lambda types, header: camera_info_message(types, header, Camera(4, 5, 3.0, 3.0, 2.0, 1.5)),
    'cloud': lambda types, header: cloud_message(types, header, np.ones((4, 5, 4), np.float32)),
    'pose': lambda types, header: pose_message(types, header, np.eye(4)),
    'status': lambda types, header: status_message(types, header, 'alignment', 'ERROR', 'no points', {'state': 'lost'}),
    'path': lambda types, header: types.Path(header=header, poses=[pose_message(types, header, np.eye(4))] * 2),
    'embedding': lambda types, header: embedding_message(types, header, np.arange(7, dtype=np.float32)),
}


@pytest.mark.parametrize('name', MESSAGES)
def test_a_live_message_says_the_same_as_a_recorded_one(live_types, name):
    serialize_message = pytest.importorskip('rclpy.serialization', reason='needs rclpy').serialize_message
    live, recorded = (MESSAGES[name](types, make_header(types, 5_000_000_007, 'cam'))
                      for types in (live_types, recorded_types()))
    heard = bag_typestore().deserialize_cdr(serialize_message(live), recorded.__msgtype__)
    assert repr(heard) == repr(recorded)
