import numpy as np

from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.io.messages import recorded_types
from depth_ros.io.topics import DepthMessages
from depth_ros.settings import CloudSettings
from test.io.made import CAMERA, SECOND, picture


def frame(quantity=Quantity.DISPARITY_AFFINE, **parts):
    map = np.full((24, 32), 0.25, np.float32)
    map[0, 0] = np.nan
    return DepthFrame(0, Frame(picture(), SECOND, CAMERA, 'cam'), map, quantity, **parts)


def pixels(msg):
    return msg.data.view(np.float32).reshape(msg.height, msg.width)


def test_a_relative_map_grows_towards_the_camera_whatever_the_family_gives():
    messages = DepthMessages(recorded_types())
    for quantity, value in ((Quantity.DISPARITY_AFFINE, 0.25), (Quantity.DEPTH_AFFINE, -0.25), (Quantity.DEPTH_METRIC, 4.0)):
        got = pixels(messages.make('relative/image', frame(quantity), CloudSettings()))
        assert np.isnan(got[0, 0]) and np.all(got[1:] == value)


def test_a_frame_without_metres_has_nothing_for_the_topics_of_metres():
    messages = DepthMessages(recorded_types())
    nothing = {name for name in messages.table if messages.make(name, frame(), CloudSettings()) is None}
    assert nothing == {'depth/image', 'depth/camera_info', 'points', 'confidence', 'pose', 'pose_embedding'}


def test_every_message_has_the_class_of_its_topic_and_the_stamp_of_its_picture():
    messages = DepthMessages(recorded_types())
    full = frame(depth_m=np.full((24, 32), 2, np.float32), confidence=np.ones((24, 32), np.float32),
                 T_world_cam=np.eye(4), embedding=np.ones(3, np.float32))
    for name, (kind, _) in messages.table.items():
        msg = messages.make(name, full, CloudSettings())
        assert isinstance(msg, kind) and msg.header.stamp.sec == 1


def test_a_cloud_is_due_once_in_each_period_of_the_stamps():
    messages = DepthMessages(recorded_types())
    due = [messages.cloud_due(index * SECOND // 30, 10.0) for index in range(9)]
    assert due == [True, False, False] * 3
    assert all(messages.cloud_due(0, 0.0) for _ in range(3))
