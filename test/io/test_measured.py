import re
import threading
from array import array
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from depth_ros.core.camera import Camera, rays
from depth_ros.errors import SettingsError
from depth_ros.io.measured import KEPT, Measurements, read_extrinsic
from depth_ros.settings import MetricSettings
from test.io.made import CAMERA, SECOND, START, info
from test.io.sensors import OPTICAL, cloud, depth_image, head, imu, odometry, tf, transform

NOW = START
RAMP = np.linspace(1, 3, 24 * 32).reshape(24, 32)
MOUNT = '0.1,0,-0.2,0.5,-0.5,0.5,0.5'    # a body's frame (x forward, z up) seen from an optical frame, and a way off


def measure(source, *messages, frame_id='cam', camera=CAMERA, at=NOW, **settings):
    """Return what the messages (kind, message) measure, and who measured."""
    ours = Measurements(MetricSettings(source=source, **settings), live=False)
    for kind, message in messages:
        ours.add(kind, message)
    return ours.take(at, frame_id, camera), ours


def points(*messages, **settings):
    (only,), _ = measure('range', *messages, **settings)
    assert only.problem == '' and only.stamp_ns == NOW and only.points_m.dtype == np.float32
    return only.points_m


def problem(*messages, source='range', **settings):
    (only,), _ = measure(source, *messages, **settings)
    assert only.points_m is only.T_odom_cam is only.down is None
    return only.problem


def body(forward, left, up):
    """Return a point of a body's frame in the optical frame at the same place."""
    return [-left, -up, forward]


# Which messages a source needs.

@pytest.mark.parametrize(('settings', 'kinds'), [
    ({'source': 'none'}, ()), ({'source': 'fixed'}, ()), ({'source': 'family'}, ()), ({'source': 'camera_height'}, ()),
    ({'source': 'range'}, ('range', 'range/camera_info', 'tf', 'tf_static')),
    ({'source': 'range', 'extrinsic': MOUNT}, ('range', 'range/camera_info')),
    ({'source': 'odometry'}, ('odometry', 'tf', 'tf_static')),
    ({'source': 'odometry', 'extrinsic': MOUNT}, ('odometry',)),
    ({'source': 'odometry', 'odometry': 'tf'}, ('tf', 'tf_static')),
    ({'source': 'camera_height', 'gravity': 'imu'}, ('imu', 'tf', 'tf_static')),
    ({'source': 'camera_height', 'gravity': 'tf'}, ('tf', 'tf_static')),
])
def test_a_source_needs_only_its_messages(settings, kinds):
    ours = Measurements(MetricSettings(**settings))
    assert ours.kinds == kinds and (ours.take(NOW, 'cam', CAMERA) == () or kinds == ('tf', 'tf_static'))


# Clouds.

@pytest.mark.parametrize('layout', [
    {}, {'big': True}, {'types': ('f8', 'f8', 'f8')}, {'types': ('f4', 'f8', 'f4'), 'big': True}, {'gap': 3},
    {'names': ('z', 'x', 'y')}, {'names': ('intensity', 'y', 'x', 'ring', 'z'), 'types': ('f4', 'f4', 'f4', 'u2', 'f4')},
    {'rows': 2}, {'rows': 3, 'row_gap': 7, 'gap': 1},
])
def test_every_layout_of_a_cloud_gives_its_points(layout):
    seen = np.random.default_rng(0).uniform(1, 4, (6, 3))
    assert points(('range', cloud(NOW, seen, 'cam', **layout))) == pytest.approx(seen.astype(np.float32), rel=1e-6)


@pytest.mark.parametrize('payload', [bytes, lambda data: array('B', data), bytearray])
def test_the_bytes_of_a_message_may_come_as_rclpy_gives_them(payload):
    message, image = cloud(NOW, [(1, 2, 3)], 'cam'), depth_image(NOW, RAMP, '64FC1')
    message.data, image.data = payload(message.data.tobytes()), payload(image.data.tobytes())
    assert points(('range', message)).tolist() == [[1, 2, 3]] and len(points(('range', image))) == RAMP.size


def test_what_is_no_point_is_left_out():
    seen = [(0, 0, 2), (np.nan, 0, 2), (0, 0, 0), (np.inf, 0, 2), (1, 0, -2), (0, 0, 0.05), (0, 0, 101), (1, 1, 3)]
    assert points(('range', cloud(NOW, seen, 'cam'))).tolist() == [[0, 0, 2], [1, 1, 3]]
    near = points(('range', cloud(NOW, seen, 'cam')), range_min_m=0.0, range_max_m=2.5)
    assert near == pytest.approx(np.array([[0, 0, 2], [0, 0, 0.05]]))


@pytest.mark.parametrize('given', [MOUNT, 'flat', 'nested', 'tf2', 'pose', 'tf'])
def test_a_cloud_is_seen_from_the_camera(tmp_path, given):
    flat = dict(zip(('x', 'y', 'z', 'qx', 'qy', 'qz', 'qw'), map(float, MOUNT.split(',')), strict=True))
    turn = {name: flat[f'q{name}'] for name in 'xyzw'}
    place = {name: flat[name] for name in 'xyz'}
    files = {'flat': flat, 'nested': {'lidar': {'parent': 'cam', 'pose': flat}},
             'tf2': {'header': {'frame_id': 'cam'}, 'transform': {'translation': place, 'rotation': turn}},
             'pose': {'position': place, 'orientation': turn}}
    messages = [('range', cloud(NOW, [(5, 1, 0.5), (-3, 0, 0)]))]
    if given == 'tf':
        messages.append(('tf_static', tf(transform('/cam', 'lidar', 0, list(place.values()), list(turn.values())))))
        given = ''
    elif given in files:
        (tmp_path / given).write_text(yaml.safe_dump(files[given]))
        given = str(tmp_path / given)
    expected = np.array(body(5, 1, 0.5)) + [0.1, 0, -0.2]
    assert points(*messages, extrinsic=given) == pytest.approx(expected[None], abs=1e-6)


@pytest.mark.parametrize('given', ['1,2,3', '0,0,0,0,0,0,0', 'a,b,c,d,e,f,g', 'nan,0,0,0,0,0,1', 'missing.yaml'])
def test_an_extrinsic_that_is_none_is_refused_at_once(given):
    with pytest.raises(SettingsError, match='metric.extrinsic=.*expected "x,y,z,qx,qy,qz,qw" in m or a YAML file'):
        Measurements(MetricSettings(source='range', extrinsic=given))


@pytest.mark.parametrize('content', ['just text', '[1, 2]', 'a: {b: 1}', 'x: [', 'translation: {x: 1}\nrotation: {}'])
def test_an_extrinsic_file_without_a_pose_is_refused(tmp_path, content):
    (tmp_path / 'pose.yaml').write_text(content)
    with pytest.raises(SettingsError, match='pose.yaml.*expected'):
        read_extrinsic(str(tmp_path / 'pose.yaml'))


def test_an_extrinsic_says_how_many_numbers_it_has(tmp_path):
    (tmp_path / 'pose.yaml').write_text('{x: 1, y: 2}')
    for given, count in (('1,2', 2), (str(tmp_path / 'pose.yaml'), 0), ('0,0,0,0,0,0,1,1', 8)):
        with pytest.raises(SettingsError, match=f'[(]{count} of 7 numbers[)]'):
            read_extrinsic(given)


def test_a_large_cloud_is_thinned_evenly_and_the_same_way_every_time():
    seen = np.random.default_rng(0).uniform(1, 50, (130_000, 3))
    first, again = (points(('range', cloud(NOW, seen, 'cam'))) for _ in range(2))
    assert first.shape == (20_000, 3) and np.array_equal(first, again)
    assert first.mean(axis=0) == pytest.approx(seen[np.linalg.norm(seen, axis=1) < 100].mean(axis=0), rel=0.02)


# Depth images.

@pytest.mark.parametrize(('encoding', 'stored', 'tolerance'), [
    ('32FC1', RAMP.astype('f4'), 1e-6), ('64FC1', RAMP, 1e-6), ('16UC1', np.round(RAMP * 1000).astype('u2'), 6e-4)])
@pytest.mark.parametrize('big', [False, True])
def test_a_depth_image_is_unprojected_along_its_rays(encoding, stored, tolerance, big):
    msg = depth_image(NOW, stored.astype(stored.dtype.newbyteorder('>' if big else '<')), encoding)
    msg.is_bigendian = int(big)
    xyz = points(('range', msg)).reshape(24, 32, 3)
    assert xyz[..., 2] == pytest.approx(RAMP, abs=tolerance)
    assert xyz[3, 5] == pytest.approx([(5 - 15.5) / 30 * xyz[3, 5, 2], (3 - 11.5) / 31 * xyz[3, 5, 2], xyz[3, 5, 2]])


def test_holes_of_a_depth_image_are_left_out():
    depth = np.full((24, 32), 2000, np.uint16)
    depth[:12], depth[12, :8], depth[13, :4] = 0, 65535, 50
    assert len(points(('range', depth_image(NOW, depth, '16UC1')))) == 12 * 32 - 8 - 4
    depth = np.full((24, 32), np.nan, np.float32)
    depth[0, :5] = 2, np.inf, -1, 0, 3
    assert points(('range', depth_image(NOW, depth, '32FC1')))[:, 2].tolist() == [2, 3]


@pytest.mark.parametrize('size', [(12, 16), (48, 64), (6, 8)])
def test_a_registered_depth_image_of_another_size_uses_the_camera_of_the_picture(size):
    table, (height, width) = rays(CAMERA), size
    xyz = points(('range', depth_image(NOW, np.full(size, 2, np.float32), '32FC1'))).reshape(height, width, 3)
    middle = xyz[[0, 0, -1, -1], [0, -1, 0, -1], :2].mean(axis=0)
    assert middle == pytest.approx(2 * table.mean(axis=(0, 1)), abs=1e-3)
    assert xyz[0, 0, 0] == pytest.approx(2 * ((0.5 * 32 / width - 0.5) - 15.5) / 30)


def test_a_depth_camera_beside_the_picture_has_its_own_calibration_and_place():
    own = Camera(10, 20, 15.0, 15.0, 9.5, 4.5)
    xyz = points(('range', depth_image(NOW, np.full((10, 20), 2, np.float32), '32FC1', 'tof')),
                 ('range/camera_info', info(NOW, own, 'tof')), ('tf_static', tf(transform('cam', 'tof', 0, (0.05, 0, 0)))))
    assert xyz == pytest.approx((np.dstack([rays(own), np.ones((10, 20))]) * 2 + [0.05, 0, 0]).reshape(-1, 3), abs=1e-5)


def test_a_lens_with_distortion_but_no_projection_is_undistorted():
    lens = Camera(24, 32, 30.0, 31.0, 15.5, 11.5, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0, 0.0))
    msg = info(NOW, lens, 'cam')
    msg.p = np.zeros(12)
    xyz = points(('range', depth_image(NOW, np.full((24, 32), 2, np.float32), '32FC1')), ('range/camera_info', msg))
    assert xyz[:, :2] == pytest.approx(2 * rays(lens).reshape(-1, 2), abs=1e-5)


def test_a_large_depth_image_is_thinned():
    camera = Camera(480, 640, 500.0, 500.0, 319.5, 239.5)
    xyz = points(('range', depth_image(NOW, np.full((480, 640), 2, np.float32), '32FC1')), camera=camera)
    assert xyz.shape == (20_000, 3) and xyz.mean(axis=0) == pytest.approx([0, 0, 2], abs=0.02)


# What is wrong with a range message comes as a sentence.

FAR = [(0, 0, 500.0), (0, 0, 300)]
CUT, NO_Z = cloud(NOW, [(1, 2, 3)] * 5, 'cam'), cloud(NOW, [(1, 2, 3)], 'cam', names=('x', 'y', 'intensity'))
CUT.data = CUT.data[:30]
TIGHT = cloud(NOW, [(1, 2, 3)], 'cam')
TIGHT.point_step = 8


@pytest.mark.parametrize(('message', 'words'), [
    (cloud(NOW, [(1, 2, 3)], 'roof'), "no transform from 'roof' to 'cam' .known frames: none.; publish it on /tf_static or "
                                      'set metric.extrinsic'),
    (NO_Z, 'no field z .its fields: x, y, intensity'),
    (cloud(NOW, [(1, 2, 3)], 'cam', types=('i2', 'i2', 'i2')), r'datatypes \[3, 3, 3\]; expected 7'),
    (cloud(NOW, [], 'cam'), 'the cloud is empty'),
    (cloud(NOW, [(np.nan, 1, 2)] * 9, 'cam'), 'the cloud has 9 points and not one valid distance'),
    (cloud(NOW, FAR, 'cam'), 'distances of 300 to 500 m, none between metric.range_min_m=0.1 and metric.range_max_m=100'),
    (cloud(NOW, [(0, 0, -2), (1, 1, -5)], 'cam'), 'none of 2 range points lies before the camera'),
    (CUT, 'the cloud of 5x1 points has 30 bytes, point_step 12 and row_step 60, which do not fit'),
    (TIGHT, 'point_step 8'),
    (depth_image(NOW, RAMP.astype('u2'), 'mono16'), "'mono16', mono16 does not say its unit; publish depth as 16UC1 .mm."),
    (depth_image(NOW, np.zeros((24, 32, 3), 'u1'), 'rgb8'), "'rgb8', that is no depth"),
    (depth_image(NOW, np.zeros((24, 32), 'u2'), '16UC1'), '768 pixels and not one valid distance'),
    (depth_image(NOW, np.zeros((24, 24), 'u2'), '16UC1'), '24x24 pixels and the picture 32x24: not the same view'),
    (depth_image(NOW, np.zeros((24, 32), 'u2'), '16UC1', 'tof'), "no transform from 'tof' to 'cam'"),
    (SimpleNamespace(header=head(NOW, 'cam')), 'the range message cannot be read .AttributeError'),
    (5, 'the range message cannot be read'),
])
def test_what_is_wrong_with_a_range_message_is_said(message, words):
    assert re.search(words, problem(('range', message)))


def test_a_depth_image_needs_some_calibration():
    message = depth_image(NOW, RAMP, '64FC1')
    assert 'has no calibration; publish its camera_info on range/camera_info' in problem(('range', message), camera=None)
    assert 'has no calibration' in problem(('range', depth_image(NOW, RAMP, '64FC1', 'tof')), extrinsic=MOUNT)
    assert 'camera_info is for pictures of 20x10' in problem(
        ('range', message), ('range/camera_info', info(NOW, Camera(10, 20, 15.0, 15.0, 9.5, 4.5))))


# Time.

def test_a_measurement_comes_once_with_the_first_picture_that_it_is_not_newer_than():
    ours = Measurements(MetricSettings(source='range', tolerance_s=0.05))
    for at in (0.30, 0.0, 0.1, 0.151, 0.15):
        ours.add('range', cloud(NOW + round(at * 1e9), [(0, 0, 2)], 'cam'))
    given = [[(item.stamp_ns - NOW) / 1e9 for item in ours.take(NOW + round(at * 1e9), 'cam', CAMERA)]
             for at in (0.0, 0.1, 0.2, 0.3, 0.4)]
    assert given == [[0.0], [0.1, 0.15], [0.151], [0.3], []]


def test_what_is_stamped_in_the_far_future_is_a_problem_and_not_kept():
    message = cloud(NOW + 60 * SECOND, [(0, 0, 2)], 'cam')
    (only,), ours = measure('range', ('range', message))
    assert 'stamped 60.0 s later than the picture; synchronise the clocks' in only.problem and only.stamp_ns == NOW
    assert ours.waiting == []
    (only,), _ = measure('range', ('range', cloud(NOW + 7 * SECOND, [(0, 0, 2)], 'cam')), tolerance_s=10.0)
    assert only.problem == ''


def test_live_what_is_always_stamped_later_than_the_pictures_is_a_problem():
    ours, problems = Measurements(MetricSettings(source='range')), []
    for count in range(3 * KEPT['range']):
        at = NOW + count * SECOND // 15
        ours.add('range', SimpleNamespace(header=head(at + 3 * SECOND, 'cam')))
        problems += [measured.problem for measured in ours.take(at, 'cam', CAMERA)]
    assert len(problems) == 2 * KEPT['range']    # of the others it could not be known yet
    assert all('stamped 3.0 s later than the picture; synchronise the clocks' in problem for problem in problems)


def test_a_measurement_waits_a_while_for_its_transform():
    ours = Measurements(MetricSettings(source='range'))
    ours.add('range', cloud(NOW, [(0, 0, 2)]))
    assert ours.take(NOW, 'cam', CAMERA) == () and ours.take(NOW + SECOND // 4, 'cam', CAMERA) == ()
    ours.add('tf_static', tf(transform('cam', 'lidar', 0)))
    assert ours.take(NOW + SECOND // 3, 'cam', CAMERA)[0].points_m.tolist() == [[0, 0, 2]]
    ours.add('range', cloud(NOW, [(0, 0, 2)], 'nobody'))
    assert "from 'nobody'" in ours.take(NOW + SECOND // 2, 'cam', CAMERA)[0].problem


def test_memory_is_bounded_whether_anybody_takes_or_not(monkeypatch):
    monkeypatch.setitem(KEPT, 'range', 4)
    ours = Measurements(MetricSettings(source='range'))
    for index in range(50):
        ours.add('range', cloud(NOW + SECOND + index, [(0, 0, 2)], 'cam'))
    assert len(ours.incoming['range']) == 4
    for index in range(50):
        ours.add('range', cloud(NOW + SECOND + 100 + index, [(0, 0, 2)], 'cam'))
        ours.take(NOW, 'cam', CAMERA)
    assert len(ours.waiting) == 4
    assert [item.stamp_ns - NOW - SECOND for item in ours.take(NOW + 2 * SECOND, 'cam', CAMERA)] == [146, 147, 148, 149]


def test_a_reset_forgets_measurements_and_what_moves_but_not_what_sits_still():
    ours = Measurements(MetricSettings(source='range'), live=False)
    ours.add('tf_static', tf(transform('cam', 'lidar', 0)))
    ours.add('tf', tf(transform('cam', 'arm', NOW)))
    ours.add('range', cloud(NOW, [(0, 0, 2)]))
    ours.reset()
    assert ours.take(NOW, 'cam', CAMERA) == ()
    ours.add('range', cloud(NOW, [(0, 0, 2)]))
    assert ours.take(NOW, 'cam', CAMERA)[0].problem == ''
    ours.add('tf', tf(transform('cam', 'arm', NOW)))
    assert ours.take(NOW, 'cam', CAMERA) == () and ours.tree.connected('cam', 'arm')
    ours.reset()
    assert ours.tree.connected('cam', 'lidar') and not ours.tree.connected('cam', 'arm')


def test_a_reset_forgets_calibration_and_acceleration():
    ours = Measurements(MetricSettings(source='range'))
    ours.add('range/camera_info', info(NOW, CAMERA))
    ours.take(NOW, 'cam', None)
    ours.reset()
    ours.add('range', depth_image(NOW, RAMP, '64FC1'))
    assert 'no calibration' in ours.take(NOW, 'cam', None)[0].problem
    ours = Measurements(MetricSettings(source='camera_height', gravity='imu'))
    for index, push in enumerate(((0, 0, 9.81), (9.81, 0, 0))):
        ours.reset()
        ours.add('imu', imu(NOW + index, push, frame_id='cam'))
        assert ours.take(NOW + index, 'cam', CAMERA)[0].down == pytest.approx(-np.array(push) / 9.81)


def test_what_comes_out_of_order_is_given_oldest_first():
    messages = [('range', cloud(NOW - ago, [(0, 0, 2)], 'cam')) for ago in (1, 3, 2)]
    given, _ = measure('range', *messages)
    assert [item.stamp_ns - NOW for item in given] == [-3, -2, -1]


def test_a_note_is_made_once():
    loop = ('tf', tf(transform('a', 'a', 0)))
    assert len(measure('range', loop, loop)[1].notes) == 1


def test_acceleration_of_long_ago_is_not_smoothed_with():
    felt = [('imu', imu(NOW - ago * SECOND, push, frame_id='cam')) for ago, push in ((6, (0, 0, 9.81)), (0, (9.81, 0, 0)))]
    assert down(*felt) == pytest.approx([-1, 0, 0], abs=1e-9)


def test_a_cloud_of_one_row_needs_no_row_step():
    message = cloud(NOW, [(0, 0, 2), (1, 0, 3)], 'cam')
    message.row_step = 0
    assert points(('range', message)).tolist() == [[0, 0, 2], [1, 0, 3]]


def test_depth_lies_in_the_rectified_picture_of_its_camera():
    own = Camera(24, 32, 30.0, 30.0, 15.5, 11.5, 'plumb_bob', (-0.3, 0.1, 0.0, 0.0, 0.0), P=(20.0, 20.0, 15.5, 11.5))
    message = depth_image(NOW, np.full((24, 32), 2.0), '64FC1')
    seen = points(('range', message), ('range/camera_info', info(NOW, own)))
    assert seen[0] == pytest.approx([-1.55, -1.15, 2], abs=1e-6)


def test_before_the_camera_is_not_before_the_sensor():
    mast = tf(transform('cam', 'lidar', 0, (0, 0, -1)))    # a metre behind the camera
    seen = points(('range', cloud(NOW, [(0, 0, 0.5), (0, 0, 3), (0, 0, -2)])), ('tf_static', mast))
    assert seen.tolist() == [[0, 0, 2]]


def test_callbacks_may_add_while_a_worker_takes():
    ours, given = Measurements(MetricSettings(source='range'), live=False), []
    message = cloud(NOW, [(0, 0, 2)], 'cam')
    threads = [threading.Thread(target=lambda: [ours.add('range', message) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        given += ours.take(NOW, 'cam', CAMERA)
    assert len([*given, *ours.take(NOW, 'cam', CAMERA)]) == 2000


def test_a_damaged_transform_becomes_a_note():
    loop, nowhere = transform('a', 'a', 0), transform('a', 'b', 0, (np.nan, 0, 0))
    _, ours = measure('range', ('tf_static', 5), ('tf', tf(loop)), ('tf', tf(nowhere)))
    assert [word in ' '.join(ours.notes) for word in ('close a loop', 'is no pose', 'transforms')] == [True] * 3


# Odometry.

BASE_CAM = transform('base_link', 'cam', 0, (0.2, 0, 1.0), OPTICAL)
LEFT = (0, 0, np.sqrt(0.5), np.sqrt(0.5))    # turned to the left by 90 degrees


def pose(*messages, **settings):
    (only,), ours = measure('odometry', *messages, **settings)
    assert only.problem == '' and only.stamp_ns == NOW and only.T_odom_cam.dtype == np.float64
    return only.T_odom_cam, ours.notes


@pytest.mark.parametrize('settings', [{}, {'extrinsic': '0,1.0,-0.2,0.5,-0.5,0.5,0.5'}])
def test_the_camera_is_carried_by_its_base(settings):
    messages = [('odometry', odometry(NOW, (5, 2, 0), LEFT)), ('tf_static', tf(BASE_CAM))]
    T_odom_cam, notes = pose(*messages[:1 if settings else 2], **settings)
    assert T_odom_cam[:3, 3] == pytest.approx([5, 2.2, 1.0]) and notes == []
    assert (T_odom_cam @ [0, 0, 1, 0])[:3] == pytest.approx([0, 1, 0])    # the camera looks where the base goes


def test_a_camera_of_which_nothing_is_said_is_taken_to_look_along_x_and_the_user_hears_of_it():
    T_odom_cam, notes = pose(('odometry', odometry(NOW, (5, 2, 0), LEFT)))
    assert T_odom_cam[:3, 3] == pytest.approx([5, 2, 0]) and (T_odom_cam @ [0, 0, 1, 0])[:3] == pytest.approx([0, 1, 0])
    assert "nothing says where the camera 'cam' sits on 'base_link'" in notes[0] and 'metric.extrinsic' in notes[0]


def test_live_the_first_second_waits_for_what_says_where_the_camera_sits():
    ours = Measurements(MetricSettings(source='odometry'))
    for tenths in range(12):
        ours.add('odometry', odometry(NOW + tenths * SECOND // 10))
        assert len(ours.take(NOW + tenths * SECOND // 10, 'cam', CAMERA)) == (tenths >= 10), tenths


@pytest.mark.parametrize('settings', [{}, {'extrinsic': '0,1.0,-0.2,0.5,-0.5,0.5,0.5'}])
def test_odometry_from_tf_is_where_the_camera_was_when_the_picture_was_taken(settings):
    moving = ('tf', tf(*(transform('odom', 'base_link', NOW + at * SECOND // 10, (at, 0, 0)) for at in (-1, 1))))
    T_odom_cam, _ = pose(moving, ('tf_static', tf(BASE_CAM)), odometry='tf', **settings)
    assert T_odom_cam[:3, 3] == pytest.approx([0.2, 0, 1.0])


def test_odometry_from_tf_waits_until_the_transform_goes_on():
    ours = Measurements(MetricSettings(source='odometry', odometry='tf'))
    ours.add('tf_static', tf(BASE_CAM))
    ours.add('tf', tf(transform('odom', 'base_link', NOW - SECOND // 10)))
    assert ours.take(NOW, 'cam', CAMERA) == ()
    ours.add('tf', tf(transform('odom', 'base_link', NOW + SECOND // 100, (1.1, 0, 0))))
    late, = ours.take(NOW + SECOND // 10, 'cam', CAMERA)
    assert late.stamp_ns == NOW and late.T_odom_cam[0, 3] == pytest.approx(1.2)
    problems = [item.problem for at in range(2, 9) for item in ours.take(NOW + at * SECOND // 10, 'cam', CAMERA)]
    assert problems and all("from 'base_link' to 'odom' ends" in text for text in problems)


@pytest.mark.parametrize(('xyz', 'turn'), [((np.nan, 0, 0), (0, 0, 0, 1)), ((0, 0, 0), (0, 0, 0, 0))])
def test_odometry_that_is_no_pose_is_a_problem(xyz, turn):
    assert 'the odometry is no pose' in problem(('odometry', odometry(NOW, xyz, turn)), source='odometry')


# Gravity.

TILT = (0, np.sin(np.radians(15)), 0, np.cos(np.radians(15)))    # nose down by 30 degrees
MOUNTED = transform('imu', 'cam', 0, (1, 2, 3), OPTICAL)


def down(*messages, **settings):
    (*_, newest), _ = measure('camera_height', *messages, **{'gravity': 'imu', **settings})
    assert newest.problem == '' and np.linalg.norm(newest.down) == pytest.approx(1)
    return newest.down


@pytest.mark.parametrize('settings', [{}, {'extrinsic': MOUNT}])
@pytest.mark.parametrize('message', [
    imu(NOW, turn=TILT, known=True),
    imu(NOW, (-9.81 * 0.5, 0, 9.81 * np.sqrt(0.75))),                            # no orientation
    imu(NOW, (-9.81 * 0.5, 0, 9.81 * np.sqrt(0.75)), known=True),                # one that was never filled in
    imu(NOW, (-9.81 * 0.5, 0, 9.81 * np.sqrt(0.75)), (0, 0, 0, 0), known=True),
])
def test_down_is_where_the_imu_feels_it_seen_from_the_camera(message, settings):
    felt = down(('imu', message), *([] if settings else [('tf_static', tf(MOUNTED))]), **settings)
    assert felt == pytest.approx(body(0.5, 0, -np.sqrt(0.75)), abs=1e-6)    # nose down: gravity pulls forward, too


def test_shaking_is_smoothed():
    times = NOW + np.arange(-400, 1) * SECOND // 200
    shaken = [('imu', imu(int(at), (8 * np.sin(at / 1e9 * 2 * np.pi * 10), 0, 9.81), frame_id='cam')) for at in times]
    assert abs(down(*shaken)[0]) < 0.06
    assert down(shaken[7])[0] != pytest.approx(0, abs=0.05)    # alone


@pytest.mark.parametrize('message', [
    imu(NOW, (0, 0, 0), frame_id='cam'), imu(NOW, (np.nan, 0, 0), (0, 0, 0, 3), True, 'cam')])
def test_an_imu_that_knows_nothing_is_a_problem(message):
    assert 'the IMU gives no direction of gravity' in problem(('imu', message), source='camera_height', gravity='imu')


def test_an_imu_that_sits_nowhere_is_a_problem():
    assert "no transform from 'imu' to 'cam'" in problem(('imu', imu(NOW)), source='camera_height', gravity='imu')


@pytest.mark.parametrize('settings', [{}, {'extrinsic': MOUNT}])
def test_down_may_come_from_a_frame_that_stands_upright(settings):
    mast = tf(transform('base_link', 'cam', 0, (0, 0, 1), OPTICAL))
    assert down(('tf_static', mast), gravity='tf', **settings) == pytest.approx([0, 1, 0])
