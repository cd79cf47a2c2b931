"""Metres from how far the camera went: right where it can be known, refused with a reason where it cannot."""

import numpy as np
import pytest

from depth_ros.core.measurement import Measurement
from depth_ros.core.odometry import Odometry, evenly
from depth_ros.core.two_view import Tracker
from depth_ros.settings import MetricSettings
from test.core.made_room import CAMERA, PERIOD_NS, frame, pose, see

STEP_M = 0.15
WAY = [pose(x=0.3 * STEP_M * n, z=STEP_M * n, turn_deg=(0, 0.5 * n, 0)) for n in range(8)]


def said(poses, odometry=None, stamps=None):
    """Return what is said of the last picture; its map is 2 / Z + 0.3."""
    odometry = poses if odometry is None else odometry
    stamps = [number * PERIOD_NS for number in range(len(odometry))] if stamps is None else stamps
    waiting = [Measurement(stamp, T_odom_cam=T) for stamp, T in zip(stamps, odometry, strict=True)]
    source = Odometry(MetricSettings(source='odometry'), Tracker())
    for number, T in enumerate(poses):
        rgb, inverse = see(T)
        now = number * PERIOD_NS
        ready = tuple(item for item in waiting if item.stamp_ns <= now)
        waiting = waiting[len(ready):]
        result = source.correspond(frame(rgb, number, ready), 2 * inverse + 0.3, CAMERA)[0]
        assert result.stamp_ns == now
    return result


def error(result):
    """Return the median relative error of the inverse depth."""
    assert not result.problem, result.problem
    return float(np.median(np.abs(result.inverse_depth / ((result.value - 0.3) / 2) - 1)))


def test_corners_have_the_metres_of_the_way():
    result = said(WAY)
    assert error(result) < 0.03 and len(result.value) >= 20 and (0 < result.weight).all() and (result.weight <= 1).all()


def test_the_origin_of_the_odometry_does_not_matter():
    other = pose(x=100, y=-20, turn_deg=(10, 50, -30))
    assert error(said(WAY, [other @ T for T in WAY])) < 0.03


def test_twice_the_way_is_twice_the_distance():
    double = [T.copy() for T in WAY]
    for T in double:
        T[:3, 3] *= 2
    ratio = said(WAY).inverse_depth / said(WAY, double).inverse_depth
    assert ratio == pytest.approx(2)


def test_odometry_between_the_pictures_is_interpolated():
    stamps = [round((number - 0.3) * PERIOD_NS) for number in range(8)]    # and carried on for the newest picture
    moved = [T.copy() for T in WAY]
    for T in moved:
        T[:3, 3] -= 0.3 * (WAY[1] - WAY[0])[:3, 3]
    assert error(said(WAY, moved, stamps)) < 0.04


@pytest.mark.parametrize('poses, problem', [
    ([np.eye(4)] * 4, 'stands or only turns'),
    ([pose(turn_deg=(0, 2 * n, n)) for n in range(5)], 'stands or only turns')], ids=['standing', 'turning'])
def test_standing_and_turning_say_nothing(poses, problem):
    assert problem in said(poses).problem


@pytest.mark.parametrize('odometry, problem', [
    ([np.eye(4)] * 8, 'went 0.000 m while'),
    ([*WAY[:7], pose(x=-30)], 'leapt by'),
    ([T @ pose(turn_deg=(0, 8 * n, 0)) for n, T in enumerate(WAY)], 'turned by'),
    ([*WAY[:7], np.full((4, 4), np.nan)], 'not finite'),
    ([], 'no odometry')], ids=['wheels that slip', 'leap', 'another camera', 'nan', 'none'])
def test_odometry_that_contradicts_the_pictures_is_refused(odometry, problem):
    result = said(WAY, odometry)
    assert problem in result.problem and not len(result.value)


def test_after_a_reset_metres_come_back():
    way = [pose(x=0.3 * STEP_M * n, z=STEP_M * n) for n in range(14)]
    reset = [*way[:6], *(np.linalg.inv(way[6]) @ T for T in way[6:])]
    assert error(said(way, reset)) < 0.04


def test_the_keyframe_from_before_a_leap_is_not_waited_for():
    way = [pose(x=0.03 * n, z=0.1 * n) for n in range(9)]    # so slow that the keyframe would last for all of it
    leapt = [*way[:6], *(pose(x=-30) @ T for T in way[6:])]
    assert 'leapt by' in said(way[:7], leapt[:7]).problem
    assert 'no odometry' not in said(way, leapt).problem


def test_odometry_whose_clock_is_off_is_refused():
    assert 'no odometry within 0.05 s' in said(WAY, WAY, [number * PERIOD_NS - 10 ** 9 for number in range(8)]).problem


def test_the_reason_of_a_measurement_without_a_pose_is_passed_on():
    source = Odometry(MetricSettings(source='odometry'), Tracker())
    rgb, inverse = see(np.eye(4))
    result = source.correspond(frame(rgb, 0, (Measurement(0, problem='no transform'),)), inverse, CAMERA)[0]
    assert result.problem == 'no transform'


def test_corners_are_taken_evenly_from_near_and_far():
    values = np.concatenate([np.full(500, 0.1), np.linspace(0.1, 1, 160)])
    kept = values[evenly(values, np.ones(len(values)))]
    assert np.mean(kept > 0.5) > 0.4 and len(evenly(np.empty(0), np.empty(0))) == 0


def test_the_same_pictures_give_the_same_bytes():
    assert said(WAY[:3]).inverse_depth.tobytes() == said(WAY[:3]).inverse_depth.tobytes()
