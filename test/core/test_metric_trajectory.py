"""The way of the camera in metres: from pictures and metric depth, or from what a network predicts."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.frame import Quantity
from depth_ros.core.metric_trajectory import MetricTrajectory, metres_per_unit, weighted_median
from depth_ros.core.two_view import Tracker
from test.core.made_room import frame, pose, see

AFFINE = Quantity.DISPARITY_AFFINE
WAY = [pose(x=0.04 * n, z=0.15 * n, turn_deg=(0, 0.6 * n, 0)) for n in range(10)]
NOTHING = np.zeros((240, 320), np.float32)


def followed(poses, factor=1.0):
    """Return the path by pictures, with metric depth that is `factor` times the true one."""
    trajectory = MetricTrajectory(AFFINE, from_pictures=True, tracker=Tracker())
    seen = (see(T) for T in poses)
    return [trajectory.add(frame(rgb, number), NOTHING, factor / inverse, None)
            for number, (rgb, inverse) in enumerate(seen)]


@pytest.mark.parametrize('factor', [1.0, 3.0])
def test_the_way_is_as_long_as_the_depth_says(factor):
    path = np.stack(followed(WAY, factor))
    assert np.abs(path[:, :3, 3] - factor * np.stack(WAY)[:, :3, 3]).max() < 0.05 * factor * 1.5
    assert np.abs(path[:, :3, :3] - np.stack(WAY)[:, :3, :3]).max() < 0.02
    assert np.array_equal(path[0], np.eye(4))


def test_a_camera_that_stands_or_turns_stays_where_it_is():
    for poses in ([np.eye(4)] * 4, [pose(turn_deg=(n, 2 * n, 0)) for n in range(5)]):
        assert all(np.array_equal(T[:3, 3], np.zeros(3)) for T in followed(poses))


def test_somebody_who_walks_by_does_not_move_a_camera_that_stands():
    trajectory = MetricTrajectory(AFFINE, from_pictures=True, tracker=Tracker())
    rgb, inverse = see(np.eye(4))
    person = see(pose(x=2))[0][:, :90]
    for number in range(6):
        with_person = rgb.copy()
        with_person[:, 40 + 6 * number:130 + 6 * number] = person
        T = trajectory.add(frame(with_person, number), NOTHING, 1 / inverse, None)
        assert T is None or np.linalg.norm(T[:3, 3]) < 0.02


def test_without_metres_there_is_no_way_and_a_new_one_begins_with_them():
    trajectory = MetricTrajectory(AFFINE, from_pictures=True, tracker=Tracker())
    path = []
    for number, T in enumerate(WAY):
        rgb, inverse = see(T)
        path.append(trajectory.add(frame(rgb, number), NOTHING, None if number < 3 or number == 6 else 1 / inverse, None))
    assert [T is None for T in path] == [True] * 3 + [False] * 3 + [True] + [False] * 3
    assert np.allclose(path[3], np.eye(4)) and np.allclose(path[7], np.eye(4))
    assert path[9][:3, 3] == pytest.approx((np.linalg.inv(WAY[7]) @ WAY[9])[:3, 3], abs=0.03)


def test_without_a_calibrated_camera_there_is_no_way():
    trajectory = MetricTrajectory(AFFINE, from_pictures=True, tracker=Tracker())
    rgb, inverse = see(np.eye(4))
    assert trajectory.add(replace(frame(rgb), camera=None), NOTHING, 1 / inverse, None) is None


@pytest.mark.parametrize('quantity, own', [
    (Quantity.DISPARITY_AFFINE, lambda depth: 1 / depth), (Quantity.DEPTH_AFFINE, lambda depth: depth),
    (Quantity.LOG_DEPTH_AFFINE, np.log1p)])
def test_a_network_whose_unit_is_two_metres_goes_twice_as_far_in_metres(quantity, own):
    depth_m = np.random.default_rng(0).uniform(1, 5, (240, 320))
    map = own(depth_m / 2)
    assert metres_per_unit(map, depth_m, quantity) == pytest.approx(2)
    trajectory = MetricTrajectory(quantity, from_pictures=False, tracker=Tracker())
    path = [trajectory.add(frame(NOTHING, number), map, depth_m, T) for number, T in enumerate(WAY)]
    assert path[0] is None    # whether the network predicts a way at all is not known yet
    assert np.stack(path[1:])[:, :3, 3] == pytest.approx(2 * np.stack(WAY)[1:, :3, 3])
    assert np.stack(path[1:])[:, :3, :3] == pytest.approx(np.stack(WAY)[1:, :3, :3])


def test_a_network_that_predicts_only_turns_has_no_way():
    trajectory = MetricTrajectory(AFFINE, from_pictures=False, tracker=Tracker())
    depth_m = np.ones((240, 320))
    for number in range(4):
        assert trajectory.add(frame(NOTHING, number), depth_m, depth_m, pose(turn_deg=(0, number, 0))) is None
    assert trajectory.add(frame(NOTHING, 5), depth_m, depth_m, None) is None


def test_half_of_the_weight_is_on_each_side_of_the_weighted_median():
    assert weighted_median(np.array([5.0, 1.0, 3.0]), np.array([1.0, 1.0, 1.0])) == 3
    assert weighted_median(np.array([5.0, 1.0, 3.0]), np.array([9.0, 1.0, 1.0])) == 5


def test_the_same_pictures_give_the_same_bytes():
    assert np.stack(followed(WAY[:4])).tobytes() == np.stack(followed(WAY[:4])).tobytes()
