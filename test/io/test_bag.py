import sqlite3

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.errors import InputError
from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import make_header, recorded_types
from depth_ros.io.source import open_source
from depth_ros.settings import CameraSettings
from test.io.made import (
    CAMERA,
    SECOND,
    START,
    camera_entries,
    compressed,
    image,
    info,
    jpeg,
    picture,
    text,
    write_ros1,
    write_ros2,
)


def make(kind, folder, entries):
    if kind == 'ROS 1':
        return write_ros1(folder / 'bag.bag', entries)
    plugin = 'SQLITE3' if 'db3' in kind else 'MCAP'
    path = write_ros2(folder / 'bag', entries, plugin)
    return path / f'bag.{kind.split()[0]}' if 'file' in kind else path


@pytest.mark.parametrize('kind', ['mcap folder', 'mcap file', 'db3 folder', 'db3 file', 'ROS 1'])
def test_every_kind_of_bag_gives_the_same_frames(tmp_path, kind):
    source = open_source(make(kind, tmp_path, camera_entries()))
    recorded = list(source.recorded())
    assert len(recorded) == source.count == 5 and source.rate_hz == pytest.approx(10, rel=0.05)
    for index, (log_ns, frame) in enumerate(recorded):
        assert np.array_equal(frame.rgb, picture(index))
        assert (frame.stamp_ns, frame.frame_id, frame.camera) == (START + index * SECOND // 10, 'cam', CAMERA)
        assert log_ns == frame.stamp_ns + 5_000_000
    assert source.notes == []


def test_a_bag_without_message_definitions_is_read_with_the_usual_ones(tmp_path):
    path = make('db3 folder', tmp_path, camera_entries())
    with sqlite3.connect(path / 'bag.db3') as database:
        database.execute('DELETE FROM message_definitions')
    database.close()
    assert len(list(open_source(path).frames())) == 5


def test_a_folder_whose_recorder_was_killed_needs_no_metadata(tmp_path):
    path = make('mcap folder', tmp_path, camera_entries())
    (path / 'metadata.yaml').unlink()
    assert len(list(open_source(path).frames())) == 5


def test_start_and_end_cut_a_part_out(tmp_path):
    source = open_source(make('mcap folder', tmp_path, camera_entries(20)), start_s=0.5, end_s=1.0)
    assert [frame.stamp_ns - START for frame in source.frames()] == [n * SECOND // 10 for n in range(5, 10)]
    assert source.count == 5


def bag_of(tmp_path, *entries):
    return write_ros2(tmp_path / 'bag', sorted(entries, key=lambda entry: entry[1]))


def one(topic, msg, at=0):
    return topic, START + at, msg


def test_a_compressed_topic_is_found_and_its_camera_info_lies_beside_the_raw_topic(tmp_path):
    path = bag_of(tmp_path, one('/a/image/compressed', compressed(START, jpeg(picture(1), '.png'), 'rgb8; png')),
                  one('/a/camera_info', info(START)), one('/b/camera_info', info(START, Camera(24, 32, 9, 9, 9, 9))))
    frame, = open_source(path).frames()
    assert np.array_equal(frame.rgb, picture(1)) and frame.camera == CAMERA


def test_the_only_camera_info_serves_from_another_namespace(tmp_path):
    path = bag_of(tmp_path, one('/a/image', image(START, picture())), one('/left/camera_info', info(START)))
    assert next(open_source(path).frames()).camera == CAMERA


def test_of_two_foreign_camera_infos_none_is_guessed(tmp_path):
    path = bag_of(tmp_path, one('/a/image', image(START, picture())), one('/left/camera_info', info(START)),
                  one('/right/camera_info', info(START)))
    assert next(open_source(path).frames()).camera is None


def test_a_picture_gets_the_last_camera_info_before_it_or_else_the_first(tmp_path):
    zoomed = Camera(24, 32, 60.0, 60.0, 15.5, 11.5)
    path = bag_of(tmp_path, *(one('/image', image(START + at, picture(at)), at) for at in (0, 10, 20, 30)),
                  one('/camera_info', info(START, CAMERA), 5), one('/camera_info', info(START, zoomed), 20))
    assert [frame.camera.fx for frame in open_source(path).frames()] == [30, 30, 60, 60]


def test_a_raw_looking_topic_of_a_distorting_lens_is_remarked_upon(tmp_path):
    lens = Camera(24, 32, 30.0, 31.0, 15.5, 11.5, 'plumb_bob', (0.1, 0.0, 0.0, 0.0, 0.0))
    for topic, notes in (('image', 1), ('image_rect', 0)):
        source = open_source(write_ros2(tmp_path / topic, [one(f'/{topic}', image(START, picture())),
                                                           one('/camera_info', info(START, lens))]))
        assert not next(source.frames()).camera.is_distorted and len(source.notes) == notes
    source = open_source(tmp_path / 'image', camera=CameraSettings(model='raw'))
    camera = next(source.frames()).camera
    assert camera == Camera(24, 32, 30.0, 31.0, 15.5, 11.5, 'plumb_bob', lens.D, P=(30, 31, 15.5, 11.5))
    assert source.notes == []


def test_stated_intrinsics_replace_camera_info(tmp_path):
    path = make('mcap folder', tmp_path, camera_entries(1))
    source = open_source(path, camera=CameraSettings(fx_fy_cx_cy='99,99,16,12'))
    assert next(source.frames()).camera == Camera(24, 32, 99.0, 99.0, 16.0, 12.0)


def test_raw_and_compressed_of_one_camera_are_one_choice_and_depth_is_none(tmp_path):
    types, pixels = recorded_types(), np.ones((4, 4), np.float32)
    depth = image_message(types, make_header(types, START, 'cam'), pixels, '32FC1')
    path = bag_of(tmp_path, one('/a/image', image(START, picture(2))), one('/depth/image', depth),
                  one('/a/image/compressed', compressed(START, jpeg(picture(2)))),
                  one('/depth_ros/preview', image(START, picture(3))))
    assert open_source(path).recording.image.name == '/a/image'


def test_several_image_topics_need_a_choice(tmp_path):
    path = bag_of(tmp_path, one('/left/image', image(START, picture(1))), one('/right/image', image(START, picture(2))))
    with pytest.raises(InputError, match='several image topics, choose one as the topic: /left/image, /right/image'):
        open_source(path)
    frame, = open_source(path, topic='right/image').frames()
    assert np.array_equal(frame.rgb, picture(2))


def test_a_topic_that_is_not_there_is_answered_with_those_that_are(tmp_path):
    path = make('mcap folder', tmp_path, camera_entries(1))
    for wanted in ('/front', '/talk'):
        with pytest.raises(InputError, match=f'no pictures on {wanted}; its image topics: /cam/image'):
            open_source(path, topic=wanted)
    with pytest.raises(InputError, match=r'has no pictures; its topics: /talk \(std_msgs/msg/String\)'):
        open_source(write_ros2(tmp_path / 'silent', [one('/talk', text('hello'))]))


def test_a_repeated_stamp_is_left_out_with_a_note(tmp_path):
    source = open_source(bag_of(tmp_path, *(one('/image', image(START + at // 2, picture(at)), at) for at in range(4))))
    assert [frame.stamp_ns - START for frame in source.frames()] == [0, 1]
    assert source.notes == ['2 pictures were left out, they have the stamp of the one before']


def test_a_damaged_picture_is_named_with_its_place_and_time(tmp_path):
    path = bag_of(tmp_path, one('/image/compressed', compressed(START, jpeg(picture(1)))),
                  one('/image/compressed', compressed(START + SECOND, jpeg(picture(2))[:-9]), SECOND))
    frames = open_source(path).frames()
    next(frames)
    with pytest.raises(InputError, match='picture 1 of /image/compressed, 1.000 s after the start: .* truncated JPEG'):
        next(frames)


def test_a_camera_info_of_another_size_is_named_with_both_sizes(tmp_path):
    path = bag_of(tmp_path, one('/image', image(START, picture(1, 12, 16))), one('/camera_info', info(START)))
    with pytest.raises(InputError, match='32x24 pixels, the picture has 16x12'):
        next(open_source(path).frames())


def cut(path, share, target):
    data = path.read_bytes()
    target.write_bytes(data[:round(len(data) * share)])
    return target


def long_entries():
    """Return pictures that fill several chunks."""
    return [one('/image', image(START + at, picture(at, 240, 320)), at) for at in range(20)]


def test_of_an_mcap_file_that_was_cut_off_the_whole_part_is_read(tmp_path):
    whole = write_ros2(tmp_path / 'bag', long_entries()) / 'bag.mcap'
    source = open_source(cut(whole, 0.6, tmp_path / 'cut.mcap'))
    frames = list(source.frames())
    assert 5 <= len(frames) < 20 and np.array_equal(frames[4].rgb, picture(4, 240, 320))
    assert source.notes == ['cut.mcap was cut off; what is whole of it was read']


def test_damage_in_the_middle_ends_the_frames_there_with_a_note(tmp_path):
    path = write_ros1(tmp_path / 'bag.bag', long_entries())
    data = bytearray(path.read_bytes())
    at = data.find(b'op=\x02', len(data) // 2)    # a message
    data[at:at + 3] = b'po='
    path.write_bytes(data)
    source = open_source(path)
    assert 1 <= len(list(source.frames())) < 20
    assert 'bag.bag is damaged and was read up to there' in source.notes[0]


def test_the_folder_of_a_recorder_that_lost_its_power_is_read(tmp_path):
    path = write_ros2(tmp_path / 'bag', long_entries())
    (path / 'metadata.yaml').unlink()
    cut(path / 'bag.mcap', 0.6, path / 'bag.mcap')
    source = open_source(path)
    assert 5 <= len(list(source.frames())) < 20 and 'bag.mcap was cut off' in source.notes[0]


@pytest.mark.parametrize(('name', 'share', 'remedy'), [
    ('bag.mcap', 0.001, 'mcap recover'), ('bag.mcap', 0, 'mcap recover'), ('bag.bag', 0.6, 'rosbag reindex'),
    ('bag.bag', 0.0, 'rosbag reindex'), ('bag.db3', 0.001, 'ros2 bag reindex')])
def test_a_bag_of_which_nothing_is_readable_is_refused_with_a_remedy(tmp_path, name, share, remedy):
    kind = {'mcap': 'mcap file', 'db3': 'db3 file', 'bag': 'ROS 1'}[name[4:]]
    torn = cut(make(kind, tmp_path, long_entries()), share, tmp_path / f'torn.{name[4:]}')
    with pytest.raises(InputError, match=f'cannot read the bag torn.{name[4:]} .* try `{remedy}`'):
        open_source(torn)


def test_the_genuine_ros_1_bags_give_their_picture_and_camera(shared):
    for name, height, fx in (('aruco_images', 960, 1031.8684), ('aruco_marker', 720, 1300.1272),
                             ('fiducial_board_611', 720, 1300.1272)):
        frame, = open_source(shared / f'data/ros1_bags/{name}.bag').frames()
        assert frame.rgb.shape == (height, 1280, 3) and frame.frame_id == 'raspicam'
        assert frame.camera.fx == pytest.approx(fx, abs=1e-3) and not frame.camera.is_distorted
        raw, = open_source(shared / f'data/ros1_bags/{name}.bag', camera=CameraSettings(model='raw')).frames()
        assert raw.camera.is_distorted and raw.camera.distortion_model == 'plumb_bob'
