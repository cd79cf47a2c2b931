from dataclasses import replace

import numpy as np

from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.io.messages import recorded_types
from depth_ros.io.topics import PATH_POSES, DepthMessages
from depth_ros.settings import CloudSettings, ScanSettings
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
    assert nothing >= {'depth/image', 'depth/camera_info', 'points', 'scan', 'confidence', 'pose', 'path', 'pose_embedding'}
    assert not nothing & {'relative/image', 'relative/points', 'preview', 'alignment'}


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


def test_an_alignment_says_how_far_the_metres_of_its_picture_are_to_be_trusted():
    messages = DepthMessages(recorded_types())
    kind = recorded_types().DiagnosticStatus
    metres = np.full((24, 32), 2, np.float32)
    for anchor, depth_m, level, message in (
            (Anchor('locked', 0.5, -0.125, 0.02, 0.9, 120, 0.1, 0.015), metres, kind.OK, 'locked'),
            (Anchor('converging', reason='2 of 5 fixes'), None, kind.WARN, '2 of 5 fixes'),
            (Anchor('lost', 0.5, reason='no points'), metres, kind.ERROR, 'no points'),
            (Anchor(), None, kind.OK, 'none')):
        msg = messages.make('alignment', frame(anchor=anchor, depth_m=depth_m, segment=3), CloudSettings())
        status, = msg.status
        assert (msg.header.stamp.sec, msg.header.frame_id) == (1, 'cam')
        assert (status.name, status.level, status.message) == ('alignment', level, message)
        said = {item.key: item.value for item in status.values}
        assert said['metric'] == ('false' if depth_m is None else 'true')
        assert (said['state'], float(said['scale']), said['segment']) == (anchor.state, anchor.scale, '3')
        assert {'shift', 'residual', 'inliers', 'points', 'age_s', 'uncertainty'} < set(said)


def at(x):
    T = np.eye(4)
    T[0, 3] = x
    return T


def test_a_pose_says_its_unit_by_its_frame():
    messages = DepthMessages(recorded_types())
    for parts, world, x in (({'T_world_cam': at(3)}, 'depth_ros_world_unscaled', 3),
                            ({'T_world_cam': at(3), 'T_metric_cam': at(6)}, 'depth_ros_world', 6)):
        msg = messages.make('pose', frame(**parts), CloudSettings())
        assert (msg.header.frame_id, msg.pose.position.x) == (world, x)


def test_a_path_is_the_way_in_one_world_on_one_scale():
    messages = DepthMessages(recorded_types())

    def path(index, **parts):
        depth = replace(frame(**parts), index=index)
        msg = messages.make('path', depth, CloudSettings())
        assert {pose.header.frame_id for pose in msg.poses} == {msg.header.frame_id}
        return [pose.pose.position.x for pose in msg.poses]

    assert path(0, T_world_cam=at(1)) == [1] and path(1, T_world_cam=at(2)) == [1, 2]
    assert path(2, T_world_cam=at(3), segment=1) == [3]
    assert path(3, T_metric_cam=at(4), segment=1) == [4] and path(4, T_metric_cam=at(5), segment=1) == [4, 5]
    assert path(6, T_metric_cam=at(7), segment=1) == [7]    # nobody asked in between, or there was none
    for index in range(7, PATH_POSES + 9):
        length = len(path(index, T_metric_cam=at(8), segment=1))
    assert length == PATH_POSES


def test_far_depth_is_told_as_the_settings_of_each_topic_say():
    depth_m = np.full((24, 32), np.nan, np.float32)
    settings = CloudSettings(far='cap', image_far='inf', max_depth_m=8.0, scan=ScanSettings(far='inf'))
    full, messages = frame(depth_m=depth_m), DepthMessages(recorded_types())
    assert np.isposinf(pixels(messages.make('depth/image', full, settings))).all()
    points = messages.make('points', full, settings).data.view(np.float32).reshape(24, 32, 4)
    assert np.all(points[..., 2] == 8) and np.isposinf(messages.make('scan', full, settings).ranges).all()
    assert np.isnan(depth_m).all()


def test_clouds_are_fused_where_that_is_asked_for():
    messages, holed = DepthMessages(recorded_types()), np.full((24, 32), 2, np.float32)
    holed[5, 5] = np.nan
    for settings, filled in ((CloudSettings(), False), (CloudSettings(fuse=3), True)):
        for depth_m in (*[np.full((24, 32), 2, np.float32)] * 3, holed):
            msg = messages.make('points', frame(depth_m=depth_m), settings)
        assert np.isfinite(msg.data.view(np.float32).reshape(24, 32, 4)[5, 5, 2]) == filled
