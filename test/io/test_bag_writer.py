import numpy as np
import pytest

from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.io.bag_writer import DepthBag
from depth_ros.io.messages import stamp_ns
from depth_ros.io.source import open_source
from depth_ros.settings import CloudSettings
from test.io.made import (
    CAMERA,
    SECOND,
    START,
    camera_entries,
    image,
    picture,
    read_all,
    text,
    write_ros1,
    write_ros2,
)


def flat(index, frame, metres=None, **parts):
    """Return a wall: disparity 0.5, or depth in metres."""
    map = np.full(frame.rgb.shape[:2], 0.5, np.float32)
    depth_m = None if metres is None else np.full(map.shape, metres, np.float32)
    return DepthFrame(index, frame, map, Quantity.DISPARITY_AFFINE, depth_m, **parts)


def write(source, target, points=False, metres=None, cloud=None, last=None, **parts):
    bag = DepthBag(target, cloud or CloudSettings(), points, source.recording)
    for index, (log_ns, frame) in enumerate(source.recorded()):
        if index != last:
            bag.add(flat(index, frame, metres, **parts), log_ns)
        else:
            break
    bag.close(complete=last is None)
    return target


def topics(path):
    return sorted({name for name, _, _ in read_all(path)})


def test_the_originals_are_copied_through_and_ours_lie_beside_them(tmp_path):
    entries = camera_entries()
    path = write(open_source(write_ros2(tmp_path / 'in', entries)), tmp_path / 'out.mcap')
    messages = read_all(path)
    originals = [entry for entry in messages if not entry[0].startswith('/depth_ros/')]
    assert [(name, log_ns, repr(msg)) for name, log_ns, msg in originals] == \
        [(name, log_ns, repr(msg)) for name, log_ns, msg in entries]
    ours = [(log_ns, msg) for name, log_ns, msg in messages if name == '/depth_ros/relative/image']
    for index, (log_ns, msg) in enumerate(ours):
        assert stamp_ns(msg.header) == START + index * SECOND // 10 == log_ns - 5_000_000
        assert (msg.height, msg.width, msg.encoding, msg.header.frame_id) == (24, 32, '32FC1', 'cam')
    assert len(ours) == 5


def test_the_bag_is_one_file_that_the_mcap_library_reads(tmp_path):
    reader = pytest.importorskip('mcap.reader', reason='needs the package mcap')
    path = write(open_source(write_ros2(tmp_path / 'in', camera_entries())), tmp_path / 'out.mcap')
    assert sorted(item.name for item in tmp_path.iterdir() if item.is_file()) == ['out.mcap']
    with path.open('rb') as stream:
        bag = reader.make_reader(stream, validate_crcs=True)
        assert bag.get_header().profile == 'ros2'
        assert bag.get_summary().statistics.message_count == sum(1 for _ in bag.iter_messages()) == 25
        assert all(schema.encoding == 'ros2msg' for schema in bag.get_summary().schemas.values())


def test_metres_and_only_metres_lie_on_the_depth_topic(tmp_path):
    source = open_source(write_ros2(tmp_path / 'in', camera_entries(2)))
    relative, metric = write(source, tmp_path / 'a.mcap', points=True), tmp_path / 'b' / 'b.mcap'
    metric.parent.mkdir()
    write(source, metric, metres=2.0)
    ours = [name for name in topics(relative) if name.startswith('/depth_ros/')]
    assert ours == ['/depth_ros/alignment', '/depth_ros/relative/image', '/depth_ros/relative/points']
    found = {name: msg for name, _, msg in read_all(metric) if name.startswith('/depth_ros/')}
    assert sorted(found) == ['/depth_ros/alignment', '/depth_ros/depth/camera_info', '/depth_ros/depth/image']
    depth, info = found['/depth_ros/depth/image'], found['/depth_ros/depth/camera_info']
    assert np.all(depth.data.view(np.float32) == 2) and repr(info.header) == repr(depth.header)
    assert (info.k[0], info.p[5], info.width) == (CAMERA.fx, CAMERA.fy, depth.width)


def test_points_come_on_request_at_their_own_rate(tmp_path):
    source = open_source(write_ros2(tmp_path / 'in', camera_entries(10)))
    path = write(source, tmp_path / 'out.mcap', points=True, metres=2.0, cloud=CloudSettings(rate_hz=5.0))
    clouds = [msg for name, _, msg in read_all(path) if name == '/depth_ros/points']
    assert len(clouds) == 5 and (clouds[0].height, clouds[0].width) == (24, 32)
    xyz = clouds[0].data.view(np.float32).reshape(24, 32, 4)[..., :3]
    assert np.all(xyz[..., 2] == 2) and xyz[0, 31, 0] == pytest.approx(2 * 15.5 / 30)


def test_what_the_family_gives_besides_is_written_too(tmp_path):
    source = open_source(write_ros2(tmp_path / 'in', camera_entries(1)))
    path = write(source, tmp_path / 'out.mcap', T_world_cam=np.eye(4), embedding=np.arange(3, dtype=np.float32),
                 confidence=np.ones((24, 32), np.float32))
    found = {name.removeprefix('/depth_ros/'): msg for name, _, msg in read_all(path)}
    assert found['pose'].pose.orientation.w == 1 and found['pose'].header.frame_id == 'depth_ros_world_unscaled'
    status, = found['alignment'].status
    assert (status.message, found['alignment'].header.frame_id) == ('none', 'cam')
    assert found['pose_embedding'].data.view(np.float32).tolist() == [0, 1, 2]
    assert found['confidence'].encoding == '32FC1'


def test_ros_1_messages_become_ros_2_messages_under_absolute_names(tmp_path):
    entries = [(name.lstrip('/'), log_ns, msg) for name, log_ns, msg in camera_entries(3)]
    path = write(open_source(write_ros1(tmp_path / 'in.bag', entries)), tmp_path / 'out.mcap')
    copied = [entry for entry in read_all(path) if not entry[0].startswith('/depth_ros/')]
    assert [(name, log_ns, repr(msg)) for name, log_ns, msg in copied] == \
        [(name, log_ns, repr(msg)) for name, log_ns, msg in camera_entries(3)]


def test_the_same_frames_give_the_same_bytes_whatever_the_name(tmp_path):
    source = open_source(write_ros2(tmp_path / 'in', camera_entries()))
    (tmp_path / 'again').mkdir()
    first, second = write(source, tmp_path / 'a.mcap', True), write(source, tmp_path / 'again' / 'b.mcap', True)
    assert first.read_bytes() == second.read_bytes()


def test_the_topics_of_an_earlier_run_are_replaced(tmp_path):
    first = write(open_source(write_ros2(tmp_path / 'in', camera_entries())), tmp_path / 'first.mcap')
    (tmp_path / 'again').mkdir()
    second = write(open_source(first), tmp_path / 'again' / 'second.mcap', metres=2.0)
    assert '/depth_ros/relative/image' not in topics(second) and '/depth_ros/depth/image' in topics(second)
    assert sum(name == '/cam/image' for name, _, _ in read_all(second)) == 5


def test_an_interrupted_bag_ends_with_its_last_frame(tmp_path):
    path = write(open_source(write_ros2(tmp_path / 'in', camera_entries())), tmp_path / 'out.mcap', last=2)
    names = [name for name, _, _ in read_all(path)]
    assert (names.count('/cam/image'), names.count('/depth_ros/relative/image'), names.count('/talk')) == (2, 2, 1)


def test_a_video_has_no_originals(tmp_path):
    bag = DepthBag(tmp_path / 'out.mcap', CloudSettings())
    bag.add(flat(0, Frame(picture(), 0, None, 'cam')), 0)
    bag.close()
    assert topics(tmp_path / 'out.mcap') == ['/depth_ros/alignment', '/depth_ros/relative/image']


def test_messages_of_an_undefined_type_are_left_out_with_a_note(tmp_path):
    import sqlite3

    path = write_ros2(tmp_path / 'in', [*camera_entries(1), ('/odd', START, text('x'))], 'SQLITE3')
    with sqlite3.connect(path / 'in.db3') as database:
        database.execute('DELETE FROM message_definitions')
        database.execute("UPDATE topics SET type = 'my_msgs/msg/Odd' WHERE name = '/odd'")
    database.close()
    (path / 'metadata.yaml').unlink()
    source = open_source(path)
    assert '/odd' not in topics(write(source, tmp_path / 'out.mcap'))
    assert source.notes == ['/odd was not copied: the bag does not define its type my_msgs/msg/Odd']


def test_of_a_bag_that_was_cut_off_the_readable_part_is_copied_even_if_recorded_out_of_order(tmp_path):
    entries = [entry for at in range(0, 20) for entry in (
        ('/talk', START + 10 * at + 5, text('late')), ('/image', START + 10 * at, image(START + at, picture(at, 240, 320))))]
    whole = write_ros2(tmp_path / 'in', entries) / 'in.mcap'
    (tmp_path / 'cut.mcap').write_bytes(whole.read_bytes()[:2_500_000])
    source = open_source(tmp_path / 'cut.mcap')
    names = [name for name, _, _ in read_all(write(source, tmp_path / 'out.mcap'))]
    assert 5 < names.count('/image') == names.count('/depth_ros/relative/image') < 20 and len(source.notes) == 1
    assert names.count('/talk') >= names.count('/image')
