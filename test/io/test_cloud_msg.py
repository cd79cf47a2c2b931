import numpy as np
import pytest

from depth_ros.io.cloud_msg import cloud_message, write_ply
from depth_ros.io.messages import recorded_types


def two_by_three():
    xyz = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    xyz[0, 1] = np.nan
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1, 2] = 10, 20, 30
    return xyz, rgb


def test_a_cloud_keeps_the_rows_and_columns_of_its_picture():
    xyz, rgb = two_by_three()
    msg = cloud_message(recorded_types(), None, xyz, rgb)
    assert (msg.height, msg.width, msg.point_step, msg.row_step, msg.is_dense) == (2, 3, 16, 48, False)
    assert [(item.name, item.offset, item.datatype, item.count) for item in msg.fields] == \
        [('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1), ('rgb', 12, 7, 1)]
    points = msg.data.view(np.float32).reshape(2, 3, 4)
    assert np.array_equal(points[..., :3], xyz, equal_nan=True)
    assert points[1, 2].view(np.uint32)[3] == 10 << 16 | 20 << 8 | 30


def test_sensor_msgs_py_reads_the_same_points(live_types):
    reader = pytest.importorskip('sensor_msgs_py.point_cloud2', reason='needs a ROS installation with sensor_msgs_py')
    xyz, rgb = two_by_three()
    points = reader.read_points(cloud_message(live_types, live_types.Header(), xyz, rgb))
    assert np.array_equal(points['z'].reshape(2, 3), xyz[..., 2], equal_nan=True)
    assert points['rgb'].view(np.uint32)[-1] == 10 << 16 | 20 << 8 | 30


def test_a_ply_file_holds_the_finite_points_with_their_colours(tmp_path):
    assert write_ply(tmp_path / 'a.ply', *two_by_three()) == 5
    head, _, body = (tmp_path / 'a.ply').read_bytes().partition(b'end_header\n')
    assert b'format binary_little_endian 1.0' in head and b'element vertex 5' in head
    points = np.frombuffer(body, [('xyz', '<f4', 3), ('rgb', 'u1', 3)])
    assert points['xyz'][-1].tolist() == [15, 16, 17] and points['rgb'][-1].tolist() == [10, 20, 30]
