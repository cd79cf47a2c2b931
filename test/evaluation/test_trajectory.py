"""Errors of a camera path that is wrong in a known way."""

import numpy as np
import pytest

from depth_ros.errors import InputError
from depth_ros.evaluation.trajectory import score_trajectory

COUNT, RADIUS = 40, 3.0
CHORD = 2 * RADIUS * np.sin(np.pi / COUNT)    # from one camera to the next
STAMPS = np.arange(COUNT) * 100_000_000


def turn(degrees):
    """Return (4, 4), a rotation about z."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    T = np.eye(4)
    T[:2, :2] = [[c, -s], [s, c]]
    return T


@pytest.fixture
def circle():
    """Return (COUNT, 4, 4): once around, looking along."""
    poses = np.array([turn(360 * k / COUNT) for k in range(COUNT)])
    poses[:, :3, 3] = poses[:, :3, :3] @ (RADIUS, 0, 0)
    return poses


def scaled(poses, factor):
    poses = poses.copy()
    poses[:, :3, 3] *= factor
    return poses


def test_the_same_path_from_another_origin_has_no_error(circle):
    moved = turn(30) @ circle
    moved[:, :3, 3] += 1, 2, 3
    errors = score_trajectory(circle, moved, STAMPS, scale=False)
    assert errors.pop('scale') == 1
    assert list(errors.values()) == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_a_path_of_twice_the_size_has_no_error_once_it_may_be_scaled(circle):
    errors = score_trajectory(circle, scaled(circle, 2), STAMPS, scale=True)
    assert errors['ate_m'] == pytest.approx(0, abs=1e-9) and errors['scale'] == pytest.approx(0.5)


def test_a_path_of_twice_the_size_is_off_by_its_radius_if_metres_count(circle):
    errors = score_trajectory(circle, scaled(circle, 2), STAMPS, scale=False)
    assert errors['ate_m'] == pytest.approx(RADIUS)
    assert errors['rpe_m'] == pytest.approx(CHORD)
    assert errors['rpe_deg'] == pytest.approx(0, abs=1e-6)


def test_a_camera_that_turns_one_degree_too_much_per_frame_is_one_degree_off(circle):
    estimate = circle @ np.array([turn(k) for k in range(COUNT)])
    errors = score_trajectory(circle, estimate, STAMPS, scale=True)
    assert errors['rotation_error_deg_median'] == pytest.approx(1)
    assert errors['rpe_deg'] == pytest.approx(1)
    assert errors['ate_m'] == pytest.approx(0, abs=1e-9)


def test_one_wrong_turn_shows_in_the_mean_square_and_not_in_the_median(circle):
    estimate = circle.copy()
    estimate[20:] = circle[20:] @ turn(39)
    errors = score_trajectory(circle, estimate, STAMPS, scale=False)
    assert errors['rotation_error_deg_median'] == pytest.approx(0, abs=1e-6)
    assert errors['rpe_deg'] == pytest.approx(39 / np.sqrt(COUNT - 1))


def test_a_camera_that_stands_still_cannot_be_aligned_but_its_rotation_is_scored(circle):
    errors = score_trajectory(circle, np.tile(np.eye(4), (COUNT, 1, 1)), STAMPS, scale=True)
    assert np.isnan([errors['ate_m'], errors['rpe_m'], errors['rpe_deg']]).all()
    assert errors['rotation_error_deg_median'] == pytest.approx(360 / COUNT)


def test_paths_of_different_length_are_refused(circle):
    with pytest.raises(InputError, match='40 true poses, 39 estimated ones and 40 stamps'):
        score_trajectory(circle, circle[1:], STAMPS, scale=True)
