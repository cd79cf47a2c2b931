"""Data sets are read as they lie there, or refused with one sentence that says what to do."""

import shutil
from dataclasses import replace
from itertools import islice

import cv2
import numpy as np
import pytest

from depth_ros.errors import InputError
from depth_ros.evaluation.datasets import open_datasets
from depth_ros.evaluation.metrics import temporal_alignment_error

POSES = '# time tx ty tz qx qy qz qw\n5.0 0 0 0 0 0 0 1\n5.1 1 2 3 0 0.7071067811865476 0 0.7071067811865476\n'


def write(path, **more):
    """Write a standard folder of two pictures of 6x4; `more` goes into camera.yaml, None takes a key out."""
    about = {'fx': 10, 'fy': 11, 'cx': 2.5, 'cy': 1.5, 'depth_scale': 1000, **more}
    for folder in ('rgb', 'depth'):
        (path / folder).mkdir(parents=True)
    (path / 'camera.yaml').write_text('\n'.join(f'{key}: {value}' for key, value in about.items() if value is not None))
    for name in ('a9', 'a10'):
        cv2.imwrite(str(path / 'rgb' / f'{name}.png'), np.full((4, 6, 3), (10, 20, 30), np.uint8))
        depth_mm = np.full((4, 6), int(name[1:]) * 100, np.uint16)
        depth_mm[0, :2] = 0, 65535
        cv2.imwrite(str(path / 'depth' / f'{name}.png'), depth_mm)
    return path


def only(path):
    sequence, = open_datasets(path)
    return sequence


# --- the standard folder


def test_a_standard_folder_gives_pictures_depth_poses_and_camera(tmp_path):
    path = write(tmp_path / 'mine')
    (path / 'poses_tum.txt').write_text(POSES)
    sequence = only(path)
    assert (sequence.name, sequence.count) == ('mine', 2)
    assert sequence.is_video and sequence.has_depth and sequence.has_poses
    first, second = sequence.samples()
    assert first.rgb[0, 0].tolist() == [30, 20, 10]
    assert (first.stamp_ns, second.stamp_ns) == (5_000_000_000, 5_100_000_000)
    assert np.isnan(first.depth_m[0, :2]).all() and first.depth_m.dtype == np.float32    # 0 and 65535 are unknown
    assert (first.depth_m[1, 1], second.depth_m[1, 1]) == pytest.approx((0.9, 1.0))      # a9 before a10
    camera = first.camera
    assert (camera.height, camera.width, camera.fx, camera.fy, camera.cx, camera.cy) == (4, 6, 10, 11, 2.5, 1.5)
    np.testing.assert_allclose(second.T_world_cam, [[0, 0, 1, 1], [0, 1, 0, 2], [-1, 0, 0, 3], [0, 0, 0, 1]], atol=1e-12)


def test_a_sequence_can_be_read_again(tmp_path):
    sequence = only(write(tmp_path))
    assert len(list(sequence.samples())) == len(list(sequence.samples())) == 2


def test_camera_yaml_says_more_where_it_has_to(tmp_path):
    sequence = only(write(tmp_path, far_m=12, video='false', licence='CC0', k='[7, 0, 3, 0, 8, 2, 0, 0, 1]',
                          d='[0.1, 0, 0, 0]', rate_hz=10))
    assert (sequence.far_m, sequence.is_video, sequence.licence, sequence.has_poses) == (12, False, 'CC0', False)
    first, second = sequence.samples()
    assert (first.camera.fx, first.camera.fy, first.camera.cx, first.camera.cy) == (7, 8, 3, 2)
    assert (first.camera.distortion_model, first.camera.D) == ('plumb_bob', (0.1, 0, 0, 0))
    assert second.stamp_ns == 100_000_000


def test_depth_of_other_names_belongs_to_the_picture_in_the_same_place(tmp_path):
    path = write(tmp_path)
    for number, name in enumerate(('a9', 'a10')):
        (path / 'depth' / f'{name}.png').rename(path / 'depth' / f'depth_{number}.png')
    assert [sample.depth_m[1, 1] for sample in only(path).samples()] == pytest.approx([0.9, 1.0])


def test_poses_without_depth_are_a_data_set_too(tmp_path):
    path = write(tmp_path, depth_scale=None)
    (path / 'poses_tum.txt').write_text(POSES)
    shutil.rmtree(path / 'depth')
    sequence = only(path)
    assert (sequence.has_depth, sequence.has_poses) == (False, True)
    assert next(sequence.samples()).depth_m is None


def test_a_folder_of_folders_gives_all_by_name_and_passes_over_the_rest(tmp_path):
    for name in ('b', 'a', 'more/c'):
        write(tmp_path / name)
    (tmp_path / 'pictures').mkdir()
    assert [sequence.name for sequence in open_datasets(tmp_path)] == ['a', 'b', 'c']


# --- what cannot be used


def spoil_depth(values):
    return lambda path: cv2.imwrite(str(path / 'depth/a10.png'), values)


@pytest.mark.parametrize('spoil, message', [
    (lambda path: (path / 'depth/a10.png').unlink(), 'no depth for a10.png .1 of 2 are missing.; add it'),
    (lambda path: (path / 'camera.yaml').unlink(), 'camera.yaml is missing; write fx, fy, cx, cy'),
    (spoil_depth(np.ones((3, 6), np.uint16)), 'a10.png is 6x3, its picture 6x4; register the depth'),
    (spoil_depth(np.ones((4, 6), np.uint8)), 'type uint8.*store depth as PNG with one channel of 16 bits'),
    (spoil_depth(np.ones((4, 6, 3), np.uint16)), '3 channels of type uint16'),
    (lambda path: (path / 'depth/a10.png').write_bytes(b'no picture'), 'depth/a10.png is no readable picture'),
    (lambda path: (path / 'depth/a10.png').write_bytes(b''), 'depth/a10.png is no readable picture'),
    (lambda path: (path / 'rgb/a10.png').write_bytes(b'no picture'), 'a10.png: 10 bytes that are no readable picture'),
    (lambda path: shutil.rmtree(path / 'depth'), 'neither depth/ nor poses_tum.txt'),
    (lambda path: (path / 'poses_tum.txt').write_text('1 0 0 0 0 0 0 1'), '1 lines of 8 numbers, expected 2 of 8'),
    (lambda path: (path / 'poses_tum.txt').write_text('1 0 0 0 0 0 0 1\n' * 2), 'times that do not increase; sort'),
    (lambda path: (path / 'poses_tum.txt').write_text('left right'), 'holds no table of numbers'),
    (lambda path: (path / 'poses_tum.txt').write_text('1 0 0 0 0 0 0 0\n2 0 0 0 0 0 0 1'), 'poses_tum.txt has quaternions'),
])
def test_a_folder_that_is_not_complete_says_what_to_do(spoil, message, tmp_path):
    spoil(write(tmp_path))
    with pytest.raises(InputError, match=message):
        list(only(tmp_path).samples())


@pytest.mark.parametrize('about, message', [
    ({'fx': None}, "'fx'.; it needs fx, fy, cx, cy and depth_scale"),
    ({'fx': -5}, 'positive focal lengths'),
    ({'depth_scale': None}, "'depth_scale'"),
    ({'depth_scale': 0}, 'depth_scale is 0.0, not a positive number'),
    ({'far': 10}, 'far is none of fx, fy'),
    ({'video': 'perhaps'}, 'video is perhaps, not true or false'),
    ({'k': '[1, 2, 3]'}, 'k has 3 numbers, not 9'),
    ({'fx': '[1'}, 'does not describe the pictures'),
])
def test_a_camera_yaml_that_cannot_be_used_says_why(about, message, tmp_path):
    write(tmp_path, **about)
    with pytest.raises(InputError, match=message):
        open_datasets(tmp_path)


def test_a_folder_without_data_sets_says_how_to_make_one(tmp_path):
    with pytest.raises(InputError, match='no data set with truth; lay it out as rgb/, depth/'):
        open_datasets(tmp_path)
    with pytest.raises(InputError, match='is no folder'):
        open_datasets(tmp_path / 'nowhere')


# --- recordings as they are distributed


@pytest.fixture(scope='module')
def real(shared):
    return {sequence.name: sequence for sequence in open_datasets(shared / 'data')}


def alignment_error(one, other):
    T_other_one = np.linalg.inv(other.T_world_cam) @ one.T_world_cam
    return temporal_alignment_error(one.depth_m, other.depth_m, one.camera, T_other_one)


def test_all_recordings_with_truth_are_found(real):
    assert {name: (item.count, item.is_video, item.far_m, item.has_depth, item.has_poses)
            for name, item in real.items()} == {
        'arkit': (1, False, 10, True, False),
        'icl_nuim_living_room': (5, False, 10, True, True),
        'kitti_demo': (3, False, 80, True, False),
        'kitti_vo': (51, True, 80, False, True),
        'middlebury_motorcycle': (1, False, 10, True, False),
        'nyu_demo': (3, False, 10, True, False),
        'redkitchen': (100, True, 10, True, True),
        'tum_frame': (1, False, 10, True, False)}
    assert all(item.licence for item in real.values())


@pytest.mark.parametrize('name, size, focal_px, known, median_m', [
    ('arkit', (1440, 1920), None, 1.0, 2.65),
    ('icl_nuim_living_room', (480, 640), 481.2, 1.0, 3.03),
    ('kitti_demo', (375, 1242), 707.0493, 0.195, 13.84),
    ('middlebury_motorcycle', (500, 741), 994.978, 0.927, 2.75),
    ('nyu_demo', (480, 640), 518.8579, 0.733, 3.26),
    ('redkitchen', (480, 640), 525, 0.726, 1.88),
    ('tum_frame', (480, 640), 525, 0.808, 2.41)])
def test_depth_is_in_metres_and_as_large_as_its_picture(name, size, focal_px, known, median_m, real):
    sample = next(real[name].samples())
    assert sample.rgb.shape == (*size, 3) and sample.depth_m.shape == size
    assert (sample.camera.fx if sample.camera else None) == focal_px
    assert np.isfinite(sample.depth_m).mean() == pytest.approx(known, abs=0.001)
    assert np.nanmedian(sample.depth_m) == pytest.approx(median_m, abs=0.01)


def test_redkitchen_is_one_consistent_world(real):
    samples = list(islice(real['redkitchen'].samples(), 31))
    assert samples[1].stamp_ns - samples[0].stamp_ns == pytest.approx(1e9 / 30, abs=1e4)
    assert alignment_error(samples[0], samples[1]) < 0.01
    assert alignment_error(samples[0], samples[30]) < 0.03


def test_the_car_of_kitti_drives_52_metres(real):
    positions = np.array([sample.T_world_cam[:3, 3] for sample in real['kitti_vo'].samples()])
    assert np.linalg.norm(np.diff(positions, axis=0), axis=1).sum() == pytest.approx(51.76, abs=0.01)


def test_the_mirrored_camera_of_icl_nuim_becomes_a_common_one(real):
    samples = list(real['icl_nuim_living_room'].samples())
    assert samples[0].camera.fy == 480
    assert np.linalg.det([sample.T_world_cam[:3, :3] for sample in samples]) == pytest.approx(1)
    assert alignment_error(samples[0], samples[3]) < 0.02
    mirror = np.diag([1.0, -1, 1, 1])
    one, other = (replace(samples[k], T_world_cam=mirror @ samples[k].T_world_cam @ mirror) for k in (0, 3))
    assert alignment_error(one, other) > 0.05    # the poses of the file do not fit a camera whose y points down
