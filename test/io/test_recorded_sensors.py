from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera, rays
from depth_ros.errors import InputError
from depth_ros.io.source import open_source
from depth_ros.settings import CameraSettings, MetricSettings
from test.io.made import CAMERA, SECOND, START, camera_entries, image, info, jpeg, picture, write_ros1, write_ros2
from test.io.sensors import OPTICAL, cloud, depth_image, imu, odometry, tf, transform

TENTH = SECOND // 10
SEEN = [(5, 1, 0.5), (4, -1, 0.2), (-3, 0, 0)]    # of a LiDAR, x forward
MAST = transform('mast', 'lidar', 0, (0, 0, 0.5))
EYE = transform('mast', 'cam', 0, turn=OPTICAL)
WRITERS = {'mcap': write_ros2, 'db3': lambda path, entries: write_ros2(path, entries, 'SQLITE3'),
           'ROS 1': lambda path, entries: write_ros1(path.with_suffix('.bag'), entries)}


def entries(*more, count=5):
    """Return pictures every 0.1 s, logged 5 ms late, and what else is given, by log time."""
    return sorted([*camera_entries(count), *more], key=lambda entry: entry[1])


def clouds(delay=0, count=5):
    """Return a cloud per picture, stamped 20 ms after it, logged `delay` ns after its stamp."""
    stamps = [START + index * TENTH + 20_000_000 for index in range(count)]
    return [('/lidar/points', stamp + delay, cloud(stamp, SEEN)) for stamp in stamps]


def frames(path, source='range', topic='', **settings):
    cut = {name: settings.pop(name) for name in ('start_s', 'end_s') if name in settings}
    opened = open_source(path, metric=MetricSettings(source=source, **settings), metric_topic=topic, **cut)
    return list(opened.frames()), opened.notes


def stamps(frame):
    return [measurement.stamp_ns - frame.stamp_ns for measurement in frame.measured]


@pytest.mark.parametrize('kind', WRITERS)
@pytest.mark.parametrize('topic', ['', '/lidar/points', 'lidar/points'])
def test_the_clouds_of_a_bag_ride_on_its_frames(tmp_path, kind, topic):
    path = WRITERS[kind](tmp_path / 'bag', entries(*clouds(), ('/tf_static', START + SECOND, tf(MAST, EYE))))
    read, notes = frames(path, topic=topic)
    assert [stamps(frame) for frame in read] == [[20_000_000]] * 5 and notes == []
    expected = [[-1, -1, 5], [1, -0.7, 4]]    # right, down, forward; the third is behind
    assert all(frame.measured[0].points_m == pytest.approx(np.array(expected), abs=1e-6) for frame in read)


@pytest.mark.parametrize(('delay_s', 'tolerance_s', 'given'), [
    (0.0, 0.05, [1, 1, 1, 1, 1]),
    (0.9, 0.05, [1, 1, 1, 1, 1]),     # logged long after the picture
    (1.0, 0.05, [1, 1, 1, 1, 1]),     # as long as a second and the tolerance
    (1.25, 0.05, [0, 0, 0, 1, 1]),    # longer than anybody waits: with a later picture
    (0.0, 0.01, [0, 1, 1, 1, 1]),     # not within the tolerance: with the next picture
])
def test_a_measurement_may_be_logged_after_its_picture(tmp_path, delay_s, tolerance_s, given):
    path = write_ros2(tmp_path / 'bag', entries(*clouds(round(delay_s * 1e9)), ('/tf_static', START, tf(MAST, EYE))))
    read, _ = frames(path, tolerance_s=tolerance_s)
    assert [len(frame.measured) for frame in read] == given


def test_the_transforms_of_the_whole_bag_count_even_for_a_part_of_it(tmp_path):
    late = ('/tf_static', START + SECOND, tf(EYE))
    path = write_ros2(tmp_path / 'bag', entries(*clouds(), ('/tf_static', START, tf(MAST)), late))
    read, _ = frames(path, start_s=0.2, end_s=0.45)
    assert len(read) == 3 and all(measured.problem == '' for frame in read for measured in frame.measured)
    assert [stamps(frame) for frame in read] == [[20_000_000]] * 3


@pytest.mark.parametrize(('own', 'frame_id'), [(True, 'tof'), (False, 'cam')])
def test_a_depth_image_finds_its_calibration_beside_it_or_is_registered(tmp_path, own, frame_id):
    flat = np.full((24, 32), 2000, np.uint16)
    depth = [('/depth/image', stamp, depth_image(stamp, flat, '16UC1', frame_id))
             for stamp in range(START, START + 5 * TENTH, TENTH)]
    calibration = [('/depth/camera_info', START, info(START, CAMERA, 'tof'))] if own else []
    beside = ('/tf_static', START, tf(transform('cam', 'tof', 0, (1, 0, 0))))
    path = write_ros2(tmp_path / 'bag', entries(*depth, *calibration, beside))
    read, _ = frames(path)
    assert [len(frame.measured) for frame in read] == [1] * 5
    middle = read[0].measured[0].points_m.mean(axis=0)
    assert middle == pytest.approx([1.0 if own else 0.0, 0, 2], abs=1e-5)


def test_the_calibration_of_the_pictures_is_not_that_of_depth_in_their_namespace(tmp_path):
    small = [('/cam/depth', START, depth_image(START, np.full((12, 16), 2000, np.uint16), '16UC1'))]
    read, _ = frames(write_ros2(tmp_path / 'bag', entries(*small)))
    assert read[0].measured[0].problem == '' and len(read[0].measured[0].points_m) == 12 * 16


def test_odometry_and_imu_ride_on_frames_with_every_message(tmp_path):
    at = [START + index * TENTH // 5 for index in range(-5, 25)]
    path = write_ros2(tmp_path / 'bag', entries(
        *(('/odom', stamp, odometry(stamp, ((stamp - START) / 1e9, 0, 0), child='mast')) for stamp in at),
        *(('/imu', stamp, imu(stamp, frame_id='mast')) for stamp in at), ('/tf_static', START, tf(EYE))))
    for source, settings in (('odometry', {}), ('camera_height', {'gravity': 'imu'})):
        read, notes = frames(path, source, **settings)
        assert [len(frame.measured) for frame in read] == [8, 5, 5, 5, 5] and notes == []    # up to 50 ms after the picture
    assert read[3].measured[0].down == pytest.approx([0, 1, 0])
    for settings in ({'odometry': 'tf', 'odom_frame': 'odom'}, {}):
        read, _ = frames(write_ros2(tmp_path / f'bag{len(settings)}', entries(
            *(('/odom', stamp, odometry(stamp, ((stamp - START) / 1e9, 0, 0), child='mast')) for stamp in at),
            *(('/tf', stamp, tf(transform('odom', 'mast', stamp, ((stamp - START) / 1e9, 0, 0)))) for stamp in at),
            ('/tf_static', START, tf(EYE)))), 'odometry', **settings)
        for index, frame in enumerate(read):
            here = next(item for item in frame.measured if item.stamp_ns == frame.stamp_ns)
            assert here.T_odom_cam[:3, 3] == pytest.approx([index / 10, 0, 0], abs=1e-6)


def test_odometry_without_a_mount_is_noted_once(tmp_path):
    at = [START + index * TENTH for index in range(5)]
    path = write_ros2(tmp_path / 'bag', entries(*(('/odom', stamp, odometry(stamp)) for stamp in at)))
    read, notes = frames(path, 'odometry')
    assert [len(frame.measured) for frame in read] == [1] * 5
    assert len(notes) == 1 and 'metric.extrinsic' in notes[0]


def test_reading_twice_gives_the_same_measurements(tmp_path):
    rng = np.random.default_rng(0)
    many = [('/lidar/points', START + index * TENTH // 2, cloud(START + index * TENTH // 2, rng.uniform(1, 9, (30_000, 3))))
            for index in range(8)]
    opened = open_source(write_ros2(tmp_path / 'bag', entries(*many, ('/tf_static', START, tf(MAST, EYE)))),
                         metric=MetricSettings(source='range'))
    first, second = ([measured for frame in opened.frames() for measured in frame.measured] for _ in range(2))
    assert [item.stamp_ns for item in first] == [item.stamp_ns for item in second] and len(first) == 8
    assert all(np.array_equal(a.points_m, b.points_m) for a, b in zip(first, second, strict=True))


def test_problems_ride_on_frames_too(tmp_path):
    path = write_ros2(tmp_path / 'bag', entries(*clouds(), ('/tf_static', START, tf(MAST))))
    read, _ = frames(path)
    words = "no transform from 'lidar' to 'cam' (known frames: lidar, mast)"
    assert all(words in frame.measured[0].problem for frame in read)


def test_a_damaged_message_is_left_out_with_a_note(tmp_path, monkeypatch):
    path = write_ros2(tmp_path / 'bag', entries(*clouds(), ('/tf_static', START, tf(MAST, EYE))))
    from rosbags.highlevel import AnyReader
    whole, count = AnyReader.deserialize, []

    def damaged(self, raw, msgtype):
        count.extend([1] * msgtype.endswith('PointCloud2'))
        return whole(self, raw[:20] if msgtype.endswith('PointCloud2') and len(count) == 3 else raw, msgtype)

    monkeypatch.setattr(AnyReader, 'deserialize', damaged)
    read, notes = frames(path)
    assert [len(frame.measured) for frame in read] == [1, 1, 0, 1, 1]
    assert notes == ['/lidar/points has messages that cannot be read; they were left out']


def test_a_bag_that_was_cut_off_keeps_its_measurements_up_to_there(tmp_path):
    filler = [('/wide/image', START + index * TENTH, image(START, picture(index, 240, 320))) for index in range(20)]
    more = [*clouds(count=20), *filler, ('/tf_static', START, tf(MAST, EYE))]
    whole = write_ros2(tmp_path / 'bag', entries(*more, count=20)) / 'bag.mcap'
    (tmp_path / 'cut.mcap').write_bytes(whole.read_bytes()[:whole.stat().st_size * 6 // 10])
    opened = open_source(tmp_path / 'cut.mcap', '/cam/image', metric=MetricSettings(source='range'))
    read = list(opened.frames())
    assert 5 <= len(read) < 20 and all(stamps(frame) == [20_000_000] for frame in read[:-1])
    assert opened.notes == ['cut.mcap was cut off; what is whole of it was read']


@pytest.mark.parametrize(('more', 'source', 'topic', 'words'), [
    ([], 'range', '', 'bag has no topic that may be the metric source, name it with --metric range:TOPIC: none'),
    (['/a/points', '/b/points', '/depth'], 'range', '', 'several topics .* range:TOPIC: /a/points .sensor_msgs/msg/Point.*, '
                                                        '/b/points .*, /depth .sensor_msgs/msg/Image.'),
    (['/a/points', '/odom'], 'range', '/odom', 'no sensor_msgs/msg/PointCloud2 or sensor_msgs/msg/Image on /odom; its '
                                               'topics of this kind: /a/points'),
    (['/a/points'], 'range', '/b/points', 'on /b/points; .* /a/points'),
    (['/odom'], 'odometry', '/o', 'no nav_msgs/msg/Odometry on /o; .* /odom'),
    ([], 'camera_height', '', 'no topic .* --metric camera_height:HEIGHT:TOPIC: none'),
    ([], 'odometry tf', '', 'bag has no /tf and no /tf_static'),
])
def test_a_topic_that_is_not_there_is_refused_with_those_that_are(tmp_path, more, source, topic, words):
    made = {'points': lambda: cloud(START, SEEN), 'depth': lambda: depth_image(START, np.ones((24, 32), 'f4'), '32FC1'),
            'odom': lambda: odometry(START)}
    path = write_ros2(tmp_path / 'bag', entries(*((name, START, made[name.rpartition('/')[2]]()) for name in more)))
    source, *tf_wanted = source.split()
    with pytest.raises(InputError, match=words):
        frames(path, source, topic, gravity='imu', odometry=(tf_wanted or ['topic'])[0])


def test_our_own_depth_and_the_picture_itself_are_no_candidates(tmp_path):
    path = write_ros2(tmp_path / 'bag', entries(
        *clouds(), ('/depth_ros/depth/image', START, depth_image(START, np.ones((24, 32), 'f4'), '32FC1')),
        ('/left/image', START, image(START, picture()))))
    opened = open_source(path, '/cam/image', metric=MetricSettings(source='range'))
    assert len(next(opened.frames()).measured) == 1


# Folders and videos.

def folder(path, names, start=1000):
    path.mkdir()
    for index, name in enumerate(names):
        depth = np.full((24, 32), start + index, np.uint16)
        cv2.imwrite(str(path / name), depth)
    return path


@pytest.fixture
def pictures(tmp_path):
    path = tmp_path / 'rgb'
    path.mkdir()
    for index in range(4):
        (path / f'{index}.color.png').write_bytes(jpeg(picture(index), '.png'))
    return path


@pytest.mark.parametrize(('names', 'given'), [
    ([f'{index}.depth.png' for index in range(4)], [1.0, 1.001, 1.002, 1.003]),
    (['0.color.png', '2.color.png'], [1.0, None, 1.001, None]),
])
def test_depth_pictures_lie_in_a_folder_of_their_own(tmp_path, pictures, names, given):
    opened = open_source(pictures, camera=CameraSettings(fx_fy_cx_cy='30,31,15.5,11.5'),
                         metric=MetricSettings(source='range'), metric_topic=str(folder(tmp_path / 'depth', names)))
    depths = [frame.measured[0].points_m[0, 2] if frame.measured else None for frame in opened.frames()]
    assert depths == [pytest.approx(depth) for depth in given]


def test_depth_pictures_that_do_not_fit_are_refused(tmp_path, pictures):
    few = folder(tmp_path / 'few', ['a.png', 'b.png'])
    with pytest.raises(InputError, match='few has 2 depth pictures for 4 pictures, and none has the name'):
        frames(pictures, topic=str(few))
    (tmp_path / 'colour').mkdir()
    (tmp_path / 'colour' / '0.color.png').write_bytes(jpeg(picture(), '.png'))
    with pytest.raises(InputError, match='0.color.png has uint8 pixels of .3.* channels, expected one channel of 16 bits'):
        frames(pictures, topic=str(tmp_path / 'colour'))
    cv2.imwrite(str(tmp_path / 'colour' / '0.color.png'), np.full((24, 32, 3), 2000, np.uint16))
    with pytest.raises(InputError, match='uint16 pixels of .3.* channels'):
        frames(pictures, topic=str(tmp_path / 'colour'))


@pytest.mark.parametrize(('source', 'topic', 'words'), [
    ('range', '/lidar', 'rgb has no topics for metric.source=range; take a bag, or name a folder of depth pictures'),
    ('range', '', 'rgb has no topics'), ('odometry', '/odom', 'rgb has no topics for metric.source=odometry; take a bag'),
])
def test_pictures_in_a_folder_have_no_topics(pictures, source, topic, words):
    with pytest.raises(InputError, match=words):
        frames(pictures, source, topic)


def test_a_video_has_no_topics_but_every_source_that_needs_none(tmp_path, shared):
    path = shared / 'data/videos/golf.mov'
    with pytest.raises(InputError, match='golf.mov has no topics for metric.source=range; take a bag$'):
        open_source(path, metric=MetricSettings(source='range'), metric_topic='/lidar')
    for source in ('camera_height', 'family', 'fixed', 'none'):
        assert next(open_source(path, metric=MetricSettings(source=source, height_m=1.0)).frames()).measured == ()


# Real recordings.

@pytest.mark.parametrize('kind', WRITERS)
def test_real_depth_as_cloud_and_as_image_is_the_same_surface(tmp_path, shared, kind):
    truth = cv2.imread(str(shared / 'data/redkitchen/depth/frame-000000.depth.png'), cv2.IMREAD_UNCHANGED)
    rgb = cv2.cvtColor(cv2.imread(str(shared / 'data/redkitchen/rgb/frame-000000.color.jpg')), cv2.COLOR_BGR2RGB)
    camera = Camera(480, 640, 525.0, 525.0, 320.0, 240.0)
    valid = (truth > 100) & (truth < 65535)
    points = (np.dstack([rays(camera), np.ones((480, 640))]) * (truth / 1000)[..., None])[valid][::7]
    body = np.stack([points[:, 2], -points[:, 0], -points[:, 1]], axis=1) - [0, 0, 0.5]    # as the LiDAR sees it
    more = [('/lidar', START, cloud(START, body)), ('/depth/image', START, depth_image(START, truth, '16UC1')),
            ('/tf_static', START, tf(MAST, EYE)), ('/rgb/image', START, image(START, rgb)),
            ('/rgb/camera_info', START - 1, info(START, camera))]
    path = WRITERS[kind](tmp_path / 'bag', sorted(more, key=lambda entry: entry[1]))
    depths = []
    for topic in ('/lidar', '/depth/image'):
        (frame,), _ = frames(path, topic=topic)
        x, y, z = frame.measured[0].points_m.T.astype(float)
        u, v = np.round(525 * x / z + 320).astype(int), np.round(525 * y / z + 240).astype(int)
        assert np.abs(z - truth[v, u] / 1000).max() < 2e-3 and len(z) == 20_000
        depths.append(np.median(z))
    assert depths[0] == pytest.approx(depths[1], rel=0.01)


def test_the_genuine_bags_say_what_they_lack(shared):
    for path in sorted(Path(shared / 'data/ros1_bags').glob('*.bag')):
        with pytest.raises(InputError, match=f'{path.name} has no topic that may be the metric source'):
            open_source(path, metric=MetricSettings(source='odometry'))
