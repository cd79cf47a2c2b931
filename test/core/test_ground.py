"""The ground under a camera of known height: which pixels it is, how far away they are, and when it is not there."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.camera import rays
from depth_ros.core.frame import Quantity
from depth_ros.core.ground import CameraHeight
from depth_ros.core.measurement import Measurement
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings
from test.core.made_room import CAMERA, HEIGHT_M, frame, pose, see

SETTINGS = MetricSettings(source='camera_height', height_m=HEIGHT_M)
SPACES = {Quantity.DISPARITY_AFFINE: lambda inverse: inverse,
          Quantity.LOG_DEPTH_AFFINE: lambda inverse: np.log1p(1 / inverse),
          Quantity.DEPTH_AFFINE: lambda inverse: 1 / inverse}
RAYS = np.dstack((rays(CAMERA), np.ones((240, 320))))


def found(inverse_depth, settings=SETTINGS, quantity=Quantity.DISPARITY_AFFINE, measured=(), times=1):
    """Return what is said of a map of this inverse depth (H, W) with a scale and a shift of its own."""
    source = CameraHeight(settings, quantity)
    map = (1.7 * SPACES[quantity](inverse_depth) + 0.3).astype(np.float32)
    for number in range(times):
        said = source.correspond(frame(np.zeros((240, 320, 3), np.uint8), number, measured), map, CAMERA)[0]
    return said


def assert_right(said, quantity=Quantity.DISPARITY_AFFINE, share=0.01):
    """Every pixel that is said to be ground has the inverse depth that its map value stands for."""
    assert not said.problem and len(said.value) > 50 and (said.weight >= 0).all()
    expected = 1.7 * SPACES[quantity](said.inverse_depth) + 0.3
    error = np.abs(expected - said.value) / np.ptp(said.value)
    assert np.median(error) < share, np.median(error)


@pytest.mark.parametrize('quantity', SPACES)
def test_the_floor_of_a_room_has_its_metres_in_every_space(quantity):
    assert_right(found(see(np.eye(4))[1], quantity=quantity), quantity)


@pytest.mark.parametrize('pitch_deg', [-5, 10, 30])
def test_a_camera_that_looks_down_or_up_is_told_by_its_pitch(pitch_deg):
    inverse = see(pose(turn_deg=(-pitch_deg, 0, 0)))[1]
    assert_right(found(inverse, replace(SETTINGS, pitch_deg=float(pitch_deg))))


def test_a_camera_that_is_turned_clockwise_is_told_by_its_roll():
    assert_right(found(see(pose(turn_deg=(0, 0, 40)))[1], replace(SETTINGS, roll_deg=40.0)))


def test_gravity_may_be_measured_and_the_newest_counts():
    T = pose(turn_deg=(-20, 0, 10))
    wrong, right = Measurement(0, down=np.array([0, 0, 1.0])), Measurement(1, down=T[:3, :3].T @ (0, 1, 0))
    assert_right(found(see(T)[1], replace(SETTINGS, gravity='imu'), measured=(wrong, right)))


def test_before_gravity_is_measured_there_are_no_metres():
    said = found(see(np.eye(4))[1], replace(SETTINGS, gravity='imu'))
    assert 'no gravity came yet' in said.problem and not len(said.value)
    said = found(see(np.eye(4))[1], replace(SETTINGS, gravity='tf'), measured=(Measurement(0, problem='no transform'),))
    assert said.problem == 'no transform'


def test_a_banked_road_is_still_ground():
    assert_right(found(see(pose(turn_deg=(0, 0, 6)))[1]), share=0.02)


def test_what_stands_on_the_floor_does_not_matter():
    inverse = see(np.eye(4))[1].copy()
    inverse[100:240, 20:90] = 0.7      # two boxes and noise
    inverse[120:240, 230:300] = 0.9
    inverse += np.random.default_rng(0).normal(0, 0.003, inverse.shape).astype(np.float32)
    assert_right(found(inverse), share=0.02)


def test_what_is_ground_does_not_change_from_frame_to_frame():
    inverse = see(np.eye(4))[1]
    assert len(found(inverse, times=5).value) == len(found(inverse).value)


@pytest.mark.parametrize('map, why', [
    (np.full((240, 320), 0.5), 'a wall'),
    (0.5 + 0.3 * RAYS[..., 0], 'a wall at an angle'),
    (0.5 - 0.3 * RAYS[..., 1], 'a ceiling'),
    (np.random.default_rng(0).uniform(0.1, 1, (240, 320)), 'nothing at all'),
    (np.full((240, 320), np.nan), 'no depth'),
    (np.full((240, 320), np.inf), 'no depth')])
def test_a_picture_without_ground_says_so(map, why):
    said = found(map)
    assert said.problem.startswith('no ground is in view') and not len(said.value), why


def test_a_camera_that_looks_at_the_sky_sees_no_ground():
    assert 'no ground is in view' in found(see(np.eye(4))[1], replace(SETTINGS, pitch_deg=-60.0)).problem


def test_a_camera_that_looks_straight_down_sees_ground_at_one_depth():
    assert 'too little to tell' in found(see(pose(turn_deg=(-89, 0, 0)))[1], replace(SETTINGS, pitch_deg=89.0)).problem


def test_a_table_is_no_ground_where_the_floor_is_seen_beside_it():
    inverse = RAYS[..., 1] / HEIGHT_M
    inverse[:, :130] *= 3
    said = found(inverse)
    assert_right(said)
    assert np.median(said.inverse_depth) == pytest.approx(np.median(inverse[120:, 130:]), rel=0.3)


def test_a_hole_in_most_of_the_ground_is_doubtful():
    inverse = RAYS[..., 1] / HEIGHT_M
    inverse[:, 210:] = 0
    assert 'under what looks like ground' in found(inverse).problem


def test_ground_that_leans_too_much_is_none():
    lean = np.tan(np.radians(25))
    assert 'degrees sideways' in found((RAYS[..., 1] + lean * RAYS[..., 0]) / HEIGHT_M).problem


@pytest.mark.parametrize('height_m', [0.0, -1.5])
def test_a_camera_needs_a_height(height_m):
    with pytest.raises(SettingsError, match='metric.height_m'):
        CameraHeight(replace(SETTINGS, height_m=height_m), Quantity.DISPARITY_AFFINE)
