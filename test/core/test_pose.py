"""Relative motions add up to a trajectory of proper rotations, windows of poses to one world."""

from collections.abc import Iterator

import numpy as np
import pytest

from depth_ros.core.pose import Trajectory, chain, fit_scale_offset, mean_rotation, nearest_rotation, rotation
from depth_ros.core.window import RollingWindow, WindowSpec

PUBLISHED = WindowSpec(8, (0, 3, 6, 7), anchors=2, blend=2)
ROLLING = WindowSpec.rolling(8, 1)


def test_four_quarter_turns_with_a_step_each_come_back():
    T_prev_cam = np.array([[0, 0, 1, 1], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    T = np.eye(4)
    for _ in range(4):
        T = chain(T, T_prev_cam)
    assert np.allclose(T, np.eye(4))


def test_a_rotation_in_float32_stays_a_rotation_over_many_frames():
    angle = 0.1
    step = np.eye(4, dtype=np.float32)
    step[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    T = np.eye(4)
    for _ in range(10_000):
        T = chain(T, step)
    assert T[:3, :3] @ T[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)


@pytest.mark.parametrize('spec', [PUBLISHED, ROLLING])
def test_a_camera_on_a_circle_seen_in_windows_of_random_scale_goes_round_the_circle(spec):
    truth, rng = circle(60), np.random.default_rng(0)
    found = walk(truth, spec, lambda: rng.uniform(0.4, 2.5))
    assert found == pytest.approx(truth, abs=1e-9)


def test_the_first_camera_is_the_world():
    tilted = chain(pose(turn(0, 1, 0, 0.7), [3, 1, 2]), np.eye(4)) @ circle(12)
    assert walk(tilted, PUBLISHED, lambda: 1.0) == pytest.approx(circle(12), abs=1e-9)


@pytest.mark.parametrize(('noise', 'error'), [(0.0, 1e-6), (0.003, 0.03)])    # of the positions, in steps of 0.5
def test_positions_outvote_a_depth_that_is_a_third_off(noise, error):
    truth, rng = circle(60), np.random.default_rng(1)
    found = walk(truth, PUBLISHED, lambda: rng.uniform(0.5, 2), depth_error=lambda: rng.uniform(0.7, 1.4), noise=noise)
    assert found == pytest.approx(truth, abs=error)


def test_after_standing_still_the_scale_is_that_of_the_depth():
    still = np.tile(np.eye(4), (20, 1, 1))
    truth = np.concatenate((still, line(20)))
    rng = np.random.default_rng(2)
    found = walk(truth, ROLLING, lambda: rng.uniform(0.5, 2))
    assert found == pytest.approx(truth, abs=1e-6)


def test_trembling_in_place_does_not_run_away_and_keeps_the_scale():
    truth = np.concatenate((np.tile(np.eye(4), (100, 1, 1)), line(20)))
    found = walk(truth, ROLLING, lambda: 1.0, noise=0.01)
    assert np.abs(found[:100, :3, 3]).max() < 0.1
    assert found[-1, 2, 3] - found[100, 2, 3] == pytest.approx(19, rel=0.05)


def test_noise_does_not_make_the_steps_of_a_long_walk_shorter_and_shorter():
    truth = line(200)
    found = walk(truth, ROLLING, lambda: 1.0, noise=0.1)
    steps = np.diff(found[:, 2, 3])
    assert steps[-100:].mean() == pytest.approx(1, abs=0.25)    # plain squares end at 0.5


def test_one_wildly_wrong_keyframe_does_not_matter():
    truth = circle(60)

    def spoil(indices, T_ref_cam):
        T_ref_cam = T_ref_cam.copy()
        if indices[0] != indices[1] - 1:    # a later window: its first slot is a keyframe from far away
            T_ref_cam[0] = pose(turn(1, 0, 0, 2.0), [30, -40, 50])
        return T_ref_cam

    assert walk(truth, PUBLISHED, lambda: 1.5, spoil=spoil) == pytest.approx(truth, abs=1e-6)


def test_every_rotation_is_a_rotation_however_rough_the_poses_of_the_windows():
    found = walk(circle(200).astype(np.float32), ROLLING, lambda: 1.0, spoil=lambda _, T: T.astype(np.float16))
    R = found[:, :3, :3]
    assert R @ R.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (200, 1, 1)), abs=1e-12)
    assert np.linalg.det(R) == pytest.approx(np.ones(200))


def test_windows_that_share_no_frame_go_on_where_the_last_one_stopped():
    trajectory, T = Trajectory(), line(4)
    trajectory.add((0, 1, 2, 3), range(4), T)
    assert trajectory.add((4, 5, 6, 7), range(4), T)[:, 2, 3] == pytest.approx([3, 4, 5, 6])


def test_a_window_filled_up_with_its_last_frame_gives_that_frame_one_pose():
    truth = line(8)
    rough = truth.copy()
    rough[6:, 2, 3] += 0.3    # the same picture again, and the network wavers
    T = Trajectory().add((0, 1, 2, 3, 4, 5, 5, 5), range(6), rough)
    assert T[:, 2, 3] == pytest.approx([0, 1, 2, 3, 4, 5, 5, 5])


def test_what_was_given_out_is_not_rewritten():
    trajectory = Trajectory()
    before = trajectory.add(tuple(range(8)), range(8), circle(8))
    rough = circle(8)[[0, 3, 6, 7, 7, 7, 7, 7]]
    rough[:, :3, 3] += np.random.default_rng(0).normal(scale=0.05, size=(8, 3))
    assert trajectory.add((0, 3, 6, 7, 8, 9, 10, 11), range(4, 8), rough)[:4] == pytest.approx(before[[0, 3, 6, 7]])


def test_the_scale_of_points_on_one_spot_is_the_expected_one():
    spot = np.tile([1.0, 2, 3], (5, 1))
    scale, offset = fit_scale_offset(spot, 7 * spot, 0.3)
    assert scale == pytest.approx(0.3)
    assert scale * spot + offset == pytest.approx(7 * spot)


def test_fewer_than_half_of_the_points_can_be_anything():
    c = np.random.default_rng(0).normal(size=(5, 3))
    C = 2 * c + [1, 2, 3]
    C[:2] = [50, 0, 0], [0, -90, 3]
    scale, offset = fit_scale_offset(c, C, 0.8)
    assert (scale, *offset) == pytest.approx((2, 1, 2, 3))


@pytest.mark.parametrize('factor', [100, 1 / 100])
def test_positions_that_deny_the_depth_altogether_are_not_believed(factor):
    c = np.random.default_rng(0).normal(size=(5, 3))
    scale, _ = fit_scale_offset(c, factor * c, 1.0)
    assert 1 / 4 <= scale <= 4


def test_a_reflection_is_no_rotation():
    assert nearest_rotation(np.diag([1.0, 1.0, -0.1])) == pytest.approx(np.eye(3))


def test_the_mean_of_rotations_about_one_axis_is_in_the_middle_whatever_two_wrong_ones_say():
    rotations = np.stack([turn(1, 0, 0, 3.0)] * 2 + [turn(0, 0, 1, angle) for angle in (0.1, 0.2, 0.3)])
    assert mean_rotation(rotations) == pytest.approx(turn(0, 0, 1, 0.2), abs=5e-3)


def test_a_quaternion_of_any_length_is_the_same_rotation():
    half = np.array([0, 0, np.sin(0.25), np.cos(0.25)])
    assert rotation(np.stack((half, -7 * half))) == pytest.approx(np.stack([turn(0, 0, 1, 0.5)] * 2))


def walk(truth, spec, unit, depth_error=lambda: 1.0, noise=0.0, spoil=lambda indices, T: T):
    """Return the trajectory of `truth` (N, 4, 4) seen in windows, each relative to its first slot and in its own unit.

    The first window has unit 1, as the fit of its depth. `depth_error` multiplies the scale that the depth shows.
    """
    trajectory, rng, found = Trajectory(), np.random.default_rng(7), {}
    for number, window in enumerate(windows(spec, len(truth))):
        T_world_cam = truth[list(window.indices)]
        T_ref_cam = np.linalg.inv(T_world_cam[0]) @ T_world_cam
        scale = unit() if number else 1.0
        T_ref_cam[:, :3, 3] = T_ref_cam[:, :3, 3] * scale + rng.normal(scale=noise, size=(spec.length, 3))
        T = trajectory.add(window.indices, window.fresh, spoil(window.indices, T_ref_cam),
                           scale * (depth_error() if number else 1.0))
        found.update({window.indices[slot]: T[slot] for slot in window.fresh})
    return np.stack([found[i] for i in range(len(truth))])


def windows(spec, frames) -> Iterator:
    window = RollingWindow(spec)
    for i in range(frames):
        yield from filter(None, [window.push(i)])
    yield from filter(None, [window.flush()])


def circle(frames):
    """A camera on a circle of radius 5, looking outwards, once round in 60 frames; relative to its first pose."""
    poses = np.stack([pose(turn(0, 1, 0, angle), [5 * np.sin(angle), 0, 5 * np.cos(angle)])
                      for angle in np.arange(frames) * np.pi / 30])
    return np.linalg.inv(poses[0]) @ poses


def line(frames):
    """A camera that goes ahead, 1 per frame."""
    return np.stack([pose(np.eye(3), [0, 0, i]) for i in range(frames)])


def pose(R, t):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def turn(x, y, z, angle):
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
