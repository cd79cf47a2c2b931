import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.errors import InputError
from depth_ros.io.source import open_source
from depth_ros.settings import CameraSettings
from test.io.made import SECOND, jpeg, picture


def write_video(path, count=6, rate_hz=10.0):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'MJPG'), rate_hz, (64, 48))
    for index in range(count):
        video.write(np.full((48, 64, 3), (40 * index, 0, 255 - 40 * index), np.uint8))    # from red to blue
    video.release()
    return path


def write_pictures(folder, names, suffix='.png'):
    folder.mkdir()
    for index, name in enumerate(names):
        (folder / f'{name}{suffix}').write_bytes(jpeg(picture(index), '.png'))
    return folder


def test_a_video_gives_its_frames_in_rgb_at_its_own_rate(tmp_path):
    source = open_source(write_video(tmp_path / 'a.avi'))
    frames = list(source.frames())
    assert len(frames) == source.count == 6 and source.rate_hz == 10
    assert [frame.stamp_ns for frame in frames] == [index * SECOND // 10 for index in range(6)]
    assert np.abs(frames[0].rgb.astype(int) - (255, 0, 0)).max() < 12
    assert frames[0].camera is None and frames[0].frame_id == 'camera_optical_frame'


def test_a_video_can_be_read_twice_and_in_part(tmp_path):
    source = open_source(write_video(tmp_path / 'a.avi'), start_s=0.2, end_s=0.5)
    assert [frame.stamp_ns for frame in source.frames()] == [2 * SECOND // 10, 3 * SECOND // 10, 4 * SECOND // 10]
    assert len(list(source.frames())) == source.count == 3


def test_the_genuine_video_is_read_whole(shared):
    source = open_source(shared / 'data/videos/golf.mov')
    frames = list(source.frames())
    assert len(frames) == source.count == 40 and frames[0].rgb.shape == (1080, 1920, 3)
    assert np.diff([frame.stamp_ns for frame in frames]) == pytest.approx(SECOND / 30, abs=1e6)


@pytest.mark.parametrize('content', [b'', b'hello', b'\0' * 5000])
def test_a_file_without_frames_is_refused(tmp_path, content):
    (tmp_path / 'a.mp4').write_bytes(content)
    with pytest.raises(InputError, match='a.mp4 has no readable frames'):
        open_source(tmp_path / 'a.mp4')


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match='does not exist'):
        open_source(tmp_path / 'none')


def test_pictures_come_in_natural_order_at_the_stated_rate(tmp_path):
    source = open_source(write_pictures(tmp_path / 'in', ['frame_10', 'frame_9', 'frame_100']), rate_hz=4)
    frames = list(source.frames())
    assert [frame.stamp_ns for frame in frames] == [0, SECOND // 4, SECOND // 2] and source.count == 3
    for frame, seed in zip(frames, (1, 0, 2), strict=True):
        assert np.array_equal(frame.rgb, picture(seed))


@pytest.mark.parametrize(('names', 'stamps_ns'), [
    (('1305031102.175304', '1305031102.211214'), (1305031102175304000, 1305031102211214000)),
    (('1403636579763555584', '1403636579813555456'), (1403636579763555584, 1403636579813555456)),
    (('1403636579763', '1403636579813'), (1403636579763000000, 1403636579813000000)),
    (('000000', '000001'), (0, SECOND // 30)),
    (('1', '1305031102.2'), (0, SECOND // 30)),
])
def test_names_are_stamps_only_where_all_of_them_clearly_are(tmp_path, names, stamps_ns):
    frames = open_source(write_pictures(tmp_path / 'in', names)).frames()
    assert tuple(frame.stamp_ns for frame in frames) == pytest.approx(stamps_ns, abs=1)


def test_grey_and_sixteen_bit_pictures_become_rgb(tmp_path):
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in' / '0.png'), np.full((4, 6), 90, np.uint8))
    cv2.imwrite(str(tmp_path / 'in' / '1.png'), np.full((4, 6), 90 * 257, np.uint16))
    cv2.imwrite(str(tmp_path / 'in' / '2.png'), np.full((4, 6, 4), 90, np.uint8))
    for frame in open_source(tmp_path / 'in').frames():
        assert frame.rgb.shape == (4, 6, 3) and np.all(frame.rgb == 90)


def test_pictures_of_a_folder_get_the_stated_camera_in_each_size(tmp_path):
    folder = write_pictures(tmp_path / 'in', '0')
    (folder / '1.png').write_bytes(jpeg(picture(1, 48, 64), '.png'))
    first, second = open_source(folder, camera=CameraSettings(fx_fy_cx_cy='30,30,16,12')).frames()
    assert first.camera == Camera(24, 32, 30, 30, 16, 12) and second.camera == Camera(48, 64, 30, 30, 16, 12)


def test_a_folder_without_pictures_names_the_folders_in_it(tmp_path):
    write_pictures(tmp_path / 'rgb', '0')
    (tmp_path / 'readme.txt').write_text('hello')
    with pytest.raises(InputError, match='has no pictures .* it has the folders rgb'):
        open_source(tmp_path)


def test_a_picture_that_is_none_is_named(tmp_path):
    folder = write_pictures(tmp_path / 'in', '01')
    (folder / '1.png').write_bytes(b'hello')
    with pytest.raises(InputError, match='1.png: 5 bytes that are no readable picture'):
        list(open_source(folder).frames())


def test_the_genuine_folder_is_read_whole(shared):
    frames = list(open_source(shared / 'data/kitti_vo/image_l', rate_hz=10).frames())
    assert len(frames) == 51 and frames[50].rgb.shape == (376, 1241, 3) and frames[50].stamp_ns == 5 * SECOND
