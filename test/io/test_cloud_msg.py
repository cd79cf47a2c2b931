import numpy as np
import pytest

from depth_ros.core.cloud import pack_colour
from depth_ros.io.cloud_msg import cloud_message, scan_frame, scan_message, write_ply
from depth_ros.io.messages import bag_typestore, make_header, recorded_types
from depth_ros.settings import ScanSettings


def two_by_three():
    points = np.zeros((2, 3, 4), np.float32)
    points[..., :3] = np.arange(18).reshape(2, 3, 3)
    points[0, 1, :3] = np.nan
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1, 2] = 10, 20, 30
    points[..., 3] = pack_colour(rgb)
    return points


def test_a_cloud_keeps_the_rows_and_columns_of_its_picture():
    cloud = two_by_three()
    msg = cloud_message(recorded_types(), None, cloud)
    assert (msg.height, msg.width, msg.point_step, msg.row_step, msg.is_dense) == (2, 3, 16, 48, False)
    assert [(item.name, item.offset, item.datatype, item.count) for item in msg.fields] == \
        [('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1), ('rgb', 12, 7, 1)]
    points = msg.data.view(np.float32).reshape(2, 3, 4)
    assert np.array_equal(points[..., :3], cloud[..., :3], equal_nan=True)
    assert points[1, 2].view(np.uint32)[3] == 10 << 16 | 20 << 8 | 30


def test_sensor_msgs_py_reads_the_same_points(live_types):
    reader = pytest.importorskip('sensor_msgs_py.point_cloud2', reason='needs a ROS installation with sensor_msgs_py')
    cloud = two_by_three()
    points = reader.read_points(cloud_message(live_types, live_types.Header(), cloud))
    assert np.array_equal(points['z'].reshape(2, 3), cloud[..., 2], equal_nan=True)
    assert points['rgb'].view(np.uint32)[-1] == 10 << 16 | 20 << 8 | 30


def test_a_ply_file_holds_the_finite_points_with_their_colours(tmp_path):
    assert write_ply(tmp_path / 'a.ply', two_by_three()) == 5
    head, _, body = (tmp_path / 'a.ply').read_bytes().partition(b'end_header\n')
    assert b'format binary_little_endian 1.0' in head and b'element vertex 5' in head
    points = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    assert points['xyz'][-1].tolist() == [15, 16, 17] and points['rgb'][-1].tolist() == [10, 20, 30]


def test_a_dense_cloud_is_one_row_without_holes_and_names_its_fourth_field():
    msg = cloud_message(recorded_types(), None, np.ones((5, 4), np.float32), 'confidence')
    assert (msg.height, msg.width, msg.row_step, msg.is_dense, msg.fields[3].name) == (1, 5, 80, True, 'confidence')


RANGES = np.array([1, np.inf, np.nan], np.float32)


def test_a_scan_lies_in_the_frame_of_the_body_and_survives_a_bag():
    types, store = recorded_types(), bag_typestore()
    msg = scan_message(types, make_header(types, 5, 'cam_optical_frame'), -0.5, 0.25, RANGES, ScanSettings())
    kind = 'sensor_msgs/msg/LaserScan'
    back = store.deserialize_cdr(store.serialize_cdr(msg, kind), kind)
    assert np.array_equal(back.ranges, RANGES, equal_nan=True) and len(back.intensities) == 0
    assert (back.header.frame_id, back.angle_min, back.angle_max, back.angle_increment) == ('cam', -0.5, 0.0, 0.25)
    assert (back.range_min, back.range_max) == (np.float32(ScanSettings().min_range_m), ScanSettings().max_range_m)
    assert [scan_frame(name) for name in ('a_optical', 'a', '')] == ['a', 'a', '']
    given = scan_message(types, make_header(types, 5, 'a'), 0.0, 0.1, RANGES, ScanSettings(frame_id='laser'))
    assert given.header.frame_id == 'laser'


def test_a_live_scan_holds_the_same_ranges(live_types):
    msg = scan_message(live_types, live_types.Header(frame_id='a_optical'), 0.0, 0.1, RANGES, ScanSettings())
    assert msg.header.frame_id == 'a' and np.array_equal(msg.ranges, RANGES, equal_nan=True)
