from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.core.metric import MetricAnchor
from depth_ros.io.messages import recorded_types
from depth_ros.io.topics import PATH_POSES, DepthMessages
from depth_ros.settings import CloudSettings, MetricSettings, ScanSettings
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


FAR = CloudSettings(far='cap', image_far='inf', max_depth_m=8.0, scan=ScanSettings(far='inf', rows=1.0), edge_ratio=0.0)


@pytest.mark.parametrize(('quantity', 'near', 'wall', 'sky', 'metric'), [
    (Quantity.DISPARITY_METRIC, 1 / 0.03, 0.5, 0.0, {}),
    (Quantity.DISPARITY_AFFINE, 2 / 0.03, 1.0, -0.5, {'source': 'fixed', 'scale': 0.5}),
    (Quantity.DEPTH_METRIC, 0.03, 2.0, 500.0, {}),
    (Quantity.DEPTH_AFFINE, -2.0, 2.0, 500.0, {'source': 'fixed'}),
    (Quantity.LOG_DEPTH_AFFINE, np.log1p(0.03), np.log1p(2.0), 50.0, {'source': 'fixed', 'scale': 1.0}),
])
def test_an_object_at_the_lens_is_never_free_space_and_the_sky_is_what_each_topic_is_told_to_say(
        quantity, near, wall, sky, metric):
    map = np.full((24, 32), wall, np.float32)
    map[:8, :16], map[:8, 16:], map[8] = near, sky, np.nan
    depth = replace(frame(quantity), map=map)
    depth_m, anchor = MetricAnchor(quantity, None)(depth.frame, map, MetricSettings(**metric))
    depth, messages = replace(depth, depth_m=depth_m, anchor=anchor), DepthMessages(recorded_types())
    assert np.isnan(depth_m[:9]).all() and np.allclose(depth_m[9:], 2)

    for settings, far_z in ((FAR, np.inf), (replace(FAR, image_far='cap'), 8), (replace(FAR, image_far='nan'), np.nan)):
        image = pixels(messages.make('depth/image', depth, settings))
        assert np.isnan(image[:8, :16]).all() and np.isnan(image[8]).all() and np.allclose(image[9:], 2)
        assert np.array_equal(image[:8, 16:], np.full((8, 16), far_z), equal_nan=True)
    for settings, far_z in ((FAR, 8), (replace(FAR, far='inf'), np.inf), (replace(FAR, far='nan'), np.nan)):
        z = messages.make('points', depth, settings).data.view(np.float32).reshape(24, 32, 4)[..., 2]
        assert np.isnan(z[:8, :16]).all() and np.isnan(z[8]).all() and np.allclose(z[9:], 2)
        assert np.array_equal(z[:8, 16:], np.full((8, 16), far_z), equal_nan=True)

    ranges = messages.make('scan', depth, FAR).ranges    # to the left is positive: last
    assert np.isneginf(ranges[-10:]).all() and np.all((ranges[:10] > 1.9) & (ranges[:10] < 3))
    open_ = replace(depth, map=np.where(map == np.float32(wall), np.float32(sky), map), depth_m=depth_m * np.nan)
    ranges = messages.make('scan', open_, FAR).ranges
    assert np.isneginf(ranges[-10:]).all() and np.isposinf(ranges[:10]).all()
    assert np.isnan(depth_m[:9]).all()    # the frame is left as it was


def test_a_scan_leaves_out_what_flies_as_the_cloud_does():
    inverse = np.repeat([1, 0.8, 0.6, 0.4, 0.25], (14, 1, 1, 1, 15)).astype(np.float32)
    full, messages = frame(depth_m=1 / np.tile(inverse, (24, 1))), DepthMessages(recorded_types())
    known = [np.isfinite(messages.make('scan', full, CloudSettings(edge_ratio=ratio)).ranges) for ratio in (0.0, 0.05)]
    assert known[0].all() and 1 <= (~known[1]).sum() <= 3


def test_what_the_metric_layer_refuses_is_no_free_space_even_if_it_is_not_too_near():
    depth = frame(Quantity.DEPTH_METRIC, depth_m=np.full((24, 32), np.nan, np.float32))    # 0.25 m in the map
    assert np.isneginf(DepthMessages(recorded_types()).make('scan', depth, FAR).ranges).all()


def test_a_frame_without_any_point_has_a_valid_cloud():
    for parts, shape in (({}, (24, 32)), ({'organised': False}, (1, 0)), ({'voxel_m': 0.1}, (1, 0))):
        full = frame(depth_m=np.full((24, 32), np.nan, np.float32))
        msg = DepthMessages(recorded_types()).make('points', full, CloudSettings(**parts))
        assert (msg.height, msg.width) == shape and len(msg.data) == msg.row_step * msg.height == 16 * shape[0] * shape[1]


def test_a_cloud_has_the_confidence_of_its_frame():
    full = frame(depth_m=np.full((24, 32), 2, np.float32), confidence=np.full((24, 32), 0.25, np.float32))
    messages = DepthMessages(recorded_types())
    msg = messages.make('points', full, CloudSettings(field='confidence'))
    assert msg.fields[3].name == 'confidence' and np.all(msg.data.view(np.float32)[3::4] == 0.25)
    assert np.isnan(messages.make('points', full, CloudSettings(min_confidence=0.5)).data.view(np.float32)[2::4]).all()


def test_clouds_in_metres_and_others_are_not_fused_with_each_other():
    messages = DepthMessages(recorded_types())
    for _ in range(3):
        messages.make('relative/points', frame(), CloudSettings(fuse=3))
    assert len(messages.histories[0].views) == 3 and not messages.histories[1].views


def test_clouds_of_one_size_share_their_memory():
    full, messages = frame(depth_m=np.full((24, 32), 2, np.float32)), DepthMessages(recorded_types())
    first = messages.make('points', full, CloudSettings())
    assert np.shares_memory(first.data, messages.make('points', full, CloudSettings()).data)


def test_clouds_are_fused_where_that_is_asked_for():
    messages, holed = DepthMessages(recorded_types()), np.full((24, 32), 2, np.float32)
    holed[5, 5] = np.nan
    for settings, filled in ((CloudSettings(), False), (CloudSettings(fuse=3), True)):
        for depth_m in (*[np.full((24, 32), 2, np.float32)] * 3, holed):
            msg = messages.make('points', replace(frame(depth_m=depth_m), map=1 / depth_m), settings)
        assert np.isfinite(msg.data.view(np.float32).reshape(24, 32, 4)[5, 5, 2]) == filled
