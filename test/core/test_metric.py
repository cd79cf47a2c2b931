"""Metres only from a source of metres, only while it fits, and a nominal scale that does not flicker."""

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera, rays
from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.core.measurement import Correspondences, Measurement
from depth_ros.core.metric import MetricAnchor, NominalScale, patience_s
from depth_ros.core.scale_fit import ScaleFit
from depth_ros.core.sources import RangeSource
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

MAP = np.array([[0.5, 0.0, -1.0, np.nan, 0.001]], np.float32)
NONE, RANGE = MetricSettings(), MetricSettings(source='range')
CAMERA = Camera(48, 64, 50, 50, 31.5, 23.5)
SECOND = 1_000_000_000
PERIOD = SECOND // 30
SCALE, SHIFT = 0.5, 0.1    # of the made stream: inverse depth = SCALE * map + SHIFT


def picture(map, number=0, measured=(), camera=None):
    return Frame(np.zeros((*map.shape, 3), np.uint8), SECOND + number * PERIOD, camera, measured=measured)


def frame(map, segment=0, quantity=Quantity.DISPARITY_AFFINE):
    return DepthFrame(0, picture(map), map.astype(np.float32), quantity, segment=segment)


def metres(map, quantity, settings, source=None):
    return MetricAnchor(quantity, source)(picture(map), map, settings)


# --- without correspondences


def test_metric_disparity_becomes_depth_and_what_is_not_positive_becomes_nan():
    depth_m, anchor = metres(MAP, Quantity.DISPARITY_METRIC, NONE)
    assert depth_m[0, 0] == 2 and np.isnan(depth_m[0, 1:]).all() and anchor.state == 'locked'


def test_metric_depth_out_of_limits_becomes_nan():
    depth_m, _ = metres(MAP, Quantity.DEPTH_METRIC, NONE)
    assert depth_m[0, 0] == 0.5 and np.isnan(depth_m[0, 1:]).all()


@pytest.mark.parametrize('quantity', [Quantity.DISPARITY_AFFINE, Quantity.DEPTH_AFFINE, Quantity.LOG_DEPTH_AFFINE])
def test_relative_maps_have_no_metres(quantity):
    depth_m, anchor = metres(MAP, quantity, NONE)
    assert depth_m is None and anchor.state == 'none'


def test_a_fixed_scale_makes_metres_in_the_space_of_the_family():
    fixed = MetricSettings(source='fixed', scale=0.5, shift=0.25)
    assert metres(MAP, Quantity.DISPARITY_AFFINE, fixed)[0][0, 0] == 2.0
    assert metres(MAP, Quantity.DEPTH_AFFINE, fixed)[0][0, 0] == 0.5
    assert metres(MAP, Quantity.LOG_DEPTH_AFFINE, fixed)[0][0, 0] == pytest.approx(np.exp(0.5) - 1)


def test_what_is_in_metres_already_takes_no_fixed_scale():
    with pytest.raises(SettingsError, match='depth_metric'):
        metres(MAP, Quantity.DEPTH_METRIC, MetricSettings(source='fixed'))


def test_the_map_that_came_is_left_as_it_was():
    before = MAP.copy()
    metres(MAP, Quantity.DEPTH_METRIC, NONE)
    assert np.array_equal(MAP, before, equal_nan=True)


# --- with a range sensor


def world(number=0):
    """Return true depth (48, 64): a slanted floor before a wall, which comes nearer from picture to picture."""
    depth_m = np.linspace(6, 1.5, 48)[:, None] * np.ones(64)
    depth_m[:, 40:] = 3.0 - 0.005 * number
    return depth_m


def seen(depth_m, scale=SCALE, shift=SHIFT, noise=0.0):
    wrong = np.random.default_rng(7).normal(0, noise, depth_m.shape)
    return ((1 / depth_m - shift) / scale + wrong).astype(np.float32)


def scan(depth_m, number, count=60, outliers=0.0, seed=0, factor=1.0, rows=slice(None), columns=slice(None)):
    """Return what a sensor in the camera's place measures at `count` pixels."""
    random = np.random.default_rng(seed)
    inside = np.zeros(depth_m.shape, bool)
    inside[rows, columns] = True
    pixels = np.argwhere(inside)[random.choice(int(inside.sum()), count, replace=False)]
    z = depth_m[tuple(pixels.T)] * factor
    wrong = random.random(count) < outliers
    z[wrong] = random.uniform(0.3, 20, int(wrong.sum()))
    xy = rays(CAMERA)[tuple(pixels.T)]
    points = np.concatenate([xy * z[:, None], z[:, None]], axis=1).astype(np.float32)
    return Measurement(SECOND + number * PERIOD, points)


class Stream:
    """A made stream with its anchor."""

    def __init__(self, settings=RANGE, quantity=Quantity.DISPARITY_AFFINE):
        self.settings, self.number = settings, 0
        self.anchor = MetricAnchor(quantity, RangeSource(settings))

    def __call__(self, map, *measured):
        depth_m, anchor = self.anchor(picture(map, self.number, measured, CAMERA), map, self.settings)
        self.number += 1
        return depth_m, anchor

    def locked(self, count=3):
        for number in range(count):
            result = self(seen(world(number)), scan(world(number), number, seed=number))
        assert result[1].state == 'locked'
        return self


def test_sixty_points_lock_a_stream_with_the_second_picture_and_its_metres_are_true():
    stream = Stream()
    depth_m, anchor = stream(seen(world(0)), scan(world(0), 0))
    assert depth_m is None and anchor.state == 'converging' and '1 of 2' in anchor.reason
    depth_m, anchor = stream(seen(world(1)), scan(world(1), 1))
    assert (anchor.state, anchor.reason, anchor.points) == ('locked', '', 60)
    assert depth_m == pytest.approx(world(1), rel=0.01)
    assert (anchor.scale, anchor.shift) == (pytest.approx(SCALE, rel=0.02), pytest.approx(SHIFT, abs=0.01))


@pytest.mark.parametrize('count', [40, 400])
def test_three_outliers_in_ten_do_not_matter(count):
    stream = Stream()
    for number in range(6):
        depth_m, anchor = stream(seen(world(number), noise=0.02), scan(world(number), number, count, 0.3, seed=number))
    assert anchor.state == 'locked' and anchor.inliers < 0.85
    assert np.median(np.abs(depth_m / world(5) - 1)) < 0.03


@pytest.mark.parametrize(('quantity', 'value'), [(Quantity.LOG_DEPTH_AFFINE, np.log1p), (Quantity.DEPTH_AFFINE, np.asarray)])
def test_other_families_are_fitted_in_their_own_space(quantity, value):
    stream = Stream(quantity=quantity)
    for number in range(3):
        map = ((value(world(number)) + 2) / 3).astype(np.float32)
        depth_m, anchor = stream(map, scan(world(number), number, seed=number))
    assert anchor.state == 'locked' and depth_m == pytest.approx(world(2), rel=0.02)


def test_a_sensor_that_stops_loses_the_lock_holds_the_metres_for_a_while_and_then_gives_none():
    stream = Stream(MetricSettings(source='range', timeout_s=0.5, hold_s=1.0)).locked()
    story = [stream(seen(world(3))) for _ in range(60)]
    states = [anchor.state for _, anchor in story]
    assert states == sorted(states) and states.count('locked') == 15    # locked before lost; half a second of it
    assert sum(depth_m is not None for depth_m, _ in story) == 45       # and a second of holding
    assert 'no fix for 2.0 s' in story[-1][1].reason and story[-1][1].age_s == pytest.approx(2.0, abs=0.04)


def test_stop_gives_no_metres_once_the_lock_is_lost():
    stream = Stream(MetricSettings(source='range', timeout_s=0.5, on_lost='stop')).locked()
    story = [stream(seen(world(3))) for _ in range(40)]
    assert all((depth_m is None) == (anchor.state == 'lost') for depth_m, anchor in story) and story[-1][0] is None


def test_a_sensor_that_comes_back_locks_again():
    stream = Stream(MetricSettings(source='range', timeout_s=0.1, on_lost='stop')).locked()
    assert [stream(seen(world(3)))[1].state for _ in range(10)][-1] == 'lost'
    states = [stream(seen(world(n)), scan(world(n), stream.number, seed=n))[1].state for n in range(3)]
    assert states[-1] == 'locked'


def test_a_source_that_never_measures_says_so():
    stream = Stream()
    for _ in range(70):
        depth_m, anchor = stream(seen(world()))
    assert depth_m is None and anchor.state == 'converging' and 'nothing has been measured yet' in anchor.reason


def test_the_scale_walks_in_small_steps_while_metres_go_out():
    stream, scales = Stream().locked(10), []
    for number in range(10, 60):    # the stream's scale slides by 1 % a picture
        map = seen(world(number), SCALE * 1.01 ** min(number - 10, 30))
        depth_m, anchor = stream(map, scan(world(number), number, seed=number))
        scales.append(anchor.scale)
    assert np.max(np.abs(np.diff(scales) / scales[:-1])) < 0.03
    assert depth_m == pytest.approx(world(59), rel=0.05)


def test_a_single_wrong_scan_is_left_out():
    stream = Stream().locked(10)
    before = stream.anchor.anchor
    _, anchor = stream(seen(world(10)), scan(world(10), 10, factor=2.0))
    assert anchor.state == 'locked' and 'contradict' in anchor.reason
    assert anchor.scale == pytest.approx(before.scale, rel=1e-6)


def test_a_scale_that_has_changed_for_good_is_taken_after_a_pause_without_metres():
    stream, story = Stream().locked(10), []
    for number in range(10, 20):
        story.append(stream(seen(world(number), 2 * SCALE), scan(world(number), number, seed=number)))
    states = [anchor.state for _, anchor in story]
    assert 'converging' in states and states[-1] == 'locked'
    assert story[-1][0] == pytest.approx(world(19), rel=0.02)
    assert all(depth_m is None for depth_m, anchor in story if anchor.state == 'converging')


def test_points_that_have_nothing_to_do_with_the_picture_never_lock():
    stream = Stream()
    for number in range(30):
        upside_down = scan(world(number)[::-1].copy(), number, seed=number)    # as with a wrong extrinsic
        depth_m, anchor = stream(seen(world(number)), upside_down)
        assert depth_m is None and anchor.state == 'converging'
    assert 'do not fit the picture' in anchor.reason


def test_points_at_one_depth_do_not_lock_and_keep_a_lock():
    wall = {'columns': slice(40, None)}    # of the made world
    stream = Stream()
    for number in range(5):
        _, anchor = stream(seen(world(number)), scan(world(number), number, seed=number, **wall))
    assert anchor.state == 'converging' and 'equally far' in anchor.reason
    stream = Stream().locked(5)
    for number in range(5, 65):
        depth_m, anchor = stream(seen(world(number)), scan(world(number), number, seed=number, **wall))
    assert anchor.state == 'locked' and depth_m == pytest.approx(world(64), rel=0.03)


def test_few_points_behind_the_camera_and_points_beside_the_picture_are_said():
    stream = Stream()
    assert '12 points' in stream(seen(world()), scan(world(), 0, 12))[1].reason
    behind = Measurement(SECOND + PERIOD, np.float32([[0, 0, -1]] * 50))
    assert 'none of 50 measured points lies in the picture, 0 of them' in stream(seen(world()), behind)[1].reason
    beside = Measurement(SECOND + 2 * PERIOD, np.float32([[9, 0, 1]] * 50))
    assert '50 of them in front' in stream(seen(world()), beside)[1].reason
    broken = Measurement(SECOND + 3 * PERIOD, np.full((50, 3), np.nan, np.float32))
    assert 'none of 50' in stream(seen(world()), broken)[1].reason


def test_what_the_sensor_could_not_do_is_passed_on():
    problem = Measurement(SECOND, problem='frame lidar is not connected to camera')
    assert Stream()(seen(world()), problem)[1].reason == 'frame lidar is not connected to camera'


def test_a_late_measurement_belongs_to_the_picture_of_its_time():
    stream = Stream()
    for number in range(12):    # always five pictures late, while the scene changes by 20 cm a picture
        late = [scan(world(40 * (number - 5)), number - 5, seed=number)] if number >= 5 else []
        depth_m, anchor = stream(seen(world(40 * number)), *late)
    assert anchor.state == 'locked' and depth_m == pytest.approx(world(40 * 11), rel=0.01)
    assert anchor.age_s == pytest.approx(5 / 30, abs=0.01)


def test_a_measurement_of_the_future_waits_for_its_picture():
    stream = Stream()
    stream(seen(world(0)), scan(world(40), 1))
    _, anchor = stream(seen(world(40)))
    assert anchor.points == 60 and anchor.residual < 0.01


def test_a_measurement_far_from_every_picture_is_not_used():
    old = Measurement(SECOND - SECOND // 2, scan(world(), 0).points_m)
    assert '0.500 s away' in Stream()(seen(world()), old)[1].reason


def test_without_calibration_there_are_no_metres_and_the_reason_is_said():
    anchor = MetricAnchor(Quantity.DISPARITY_AFFINE, RangeSource(RANGE))
    depth_m, said = anchor(picture(seen(world())), seen(world()), RANGE)
    assert depth_m is None and 'not calibrated' in said.reason


def test_a_map_without_a_finite_value_gives_no_metres_and_harms_nothing():
    stream = Stream().locked()
    nothing = np.full((48, 64), np.nan, np.float32)
    assert not np.isfinite(stream(nothing, scan(world(), 3))[0]).any()
    assert stream(seen(world(4)), scan(world(4), 4))[0] == pytest.approx(world(4), rel=0.02)


def test_a_new_segment_starts_from_nothing():
    stream = Stream().locked()
    stream.anchor.reset()
    assert stream(seen(world(), 2 * SCALE), scan(world(), 3))[1].state == 'converging'
    assert stream(seen(world(), 2 * SCALE), scan(world(), 4))[0] == pytest.approx(world(), rel=0.02)


def wavy(depth_m, number):
    """Return the map of a network that is off by some percent, elsewhere in every tenth picture."""
    waves = cv2.resize(np.random.default_rng(number // 10).normal(1, 0.08, (4, 5)), depth_m.shape[::-1])
    return seen(depth_m * waves)


def test_a_wall_that_fills_the_view_for_seconds_leaves_scale_and_shift_apart():
    wall, stream, story = 2.0 * np.ones((48, 64)), Stream(), []
    for number in range(180):
        depth_m = wall if 30 <= number < 150 else world(number)
        story.append((*stream(wavy(depth_m, number), scan(depth_m, number, 100, 0.15, seed=number)), depth_m))
    assert {anchor.state for _, anchor, _ in story[1:]} == {'locked'}
    assert all(np.median(np.abs(metres / truth - 1)) < 0.15 for metres, _, truth in story[1:])
    assert story[150][1].scale == pytest.approx(SCALE, rel=0.15)


def test_a_map_without_contrast_never_locks_in_whatever_order_the_points_come():
    stream = Stream()
    for number in range(20):
        ordered = scan(world(number), number, seed=number)
        ordered = Measurement(ordered.stamp_ns, ordered.points_m[np.argsort(-ordered.points_m[:, 2])])
        _, anchor = stream(np.full((48, 64), 0.3, np.float32), ordered)
        assert anchor.state == 'converging'
    assert 'rank correlation 0.00' in anchor.reason


def test_a_map_of_nothing_does_not_cost_a_lock_of_any_family():
    stream = Stream(quantity=Quantity.DEPTH_AFFINE)
    for number in range(5):
        stream(((world(number) - 1e-3) * 2).astype(np.float32), scan(world(number), number, seed=number))
    assert stream(np.full((48, 64), np.nan, np.float32))[1].state == 'locked'


def test_a_view_of_sky_alone_whose_depth_the_fit_cannot_tell_loses_the_lock_and_gets_it_back():
    stream = Stream()
    for number in range(5):
        _, anchor = stream(wavy(world(number), number), scan(world(number), number, seed=number))
    sky = np.full((48, 64), (1e-3 - anchor.shift) / anchor.scale, np.float32)    # at a kilometre, by the fit
    _, anchor = stream(sky)
    assert anchor.state == 'lost' and 'uncertain by' in anchor.reason
    assert stream(wavy(world(6), 6))[1].state == 'locked'


def test_twenty_points_are_enough_and_more_than_a_thousand_are_thinned():
    assert 'needs 20' in Stream()(seen(world()), scan(world(), 0, 19))[1].reason
    assert '1 of 2' in Stream()(seen(world()), scan(world(), 0, 20))[1].reason
    assert Stream()(seen(world()), scan(world(), 0, 2500))[1].points == 834    # every third


def test_points_that_weigh_nothing_or_have_no_depth_are_not_used():
    fit, map = ScaleFit(Quantity.DISPARITY_AFFINE), seen(world()).ravel()[::7].astype(np.float64)
    inverse, weight = 1 / world().ravel()[::7], np.ones(len(map))
    inverse[:50], weight[50:100], map[100:150] = -1.0, 0.0, np.nan
    fit.learn(Correspondences(SECOND, map, inverse, weight))
    assert fit.points == len(map) - 150 and fit.scale == pytest.approx(SCALE, rel=1e-4)


def test_wrong_scans_now_and_then_are_no_change_of_the_scale():
    stream = Stream().locked(10)
    for number in range(10, 40):
        factor = 2.0 if number % 3 == 0 else 1.0
        depth_m, anchor = stream(seen(world(number)), scan(world(number), number, seed=number, factor=factor))
        assert anchor.state == 'locked' and depth_m == pytest.approx(world(number), rel=0.02)


def test_late_fixes_do_not_make_the_newest_one_older():
    stream = Stream().locked(10)
    late = Measurement(SECOND + 4 * PERIOD, scan(world(4), 4).points_m)
    assert stream(seen(world(10)), scan(world(10), 10), late)[1].age_s == 0


def test_points_that_agree_in_order_alone_are_too_far_off_to_be_a_fix():
    fit, depth_m = ScaleFit(Quantity.DEPTH_AFFINE), np.repeat([0.01, 10.0], 40)
    depth_m = depth_m * np.random.default_rng(0).uniform(0.3, 3, 80)
    fit.learn(Correspondences(SECOND, depth_m + np.random.default_rng(1).normal(0, 1, 80), 1 / depth_m, np.ones(80)))
    assert fit.fixes == 0 and 'median error of depth' in fit.problem


def test_points_by_which_near_and_far_are_swapped_are_no_fix():
    fit, random = ScaleFit(Quantity.DISPARITY_AFFINE), np.random.default_rng(0)
    inverse = random.uniform(0.3, 1.0, 100)
    map = inverse.copy()
    fit.learn(Correspondences(SECOND, map, inverse, np.ones(100)))      # agrees, and is remembered
    fit.learn(Correspondences(2 * SECOND, 1.3 - inverse + random.normal(0, 0.5, 100), inverse, np.ones(100)))
    assert fit.fixes == 1 and 'near and far would be swapped' in fit.problem and fit.agreement > 0.15


def test_what_waited_in_a_segment_ends_with_it():
    stream = Stream()
    stream(seen(world()), scan(world(), 1))
    stream.anchor.reset()
    assert 'nothing has been measured yet' in stream(seen(world()))[1].reason


def test_a_slow_network_has_twice_its_period_more():
    slow = MetricSettings(source='family', every_s=5.0, timeout_s=2.0)
    assert patience_s(slow) == 12 and patience_s(RANGE) == RANGE.timeout_s


def test_a_fixed_shift_alone_counts_and_a_limit_of_zero_leaves_all_that_is_ahead():
    fixed = MetricSettings(source='fixed', scale=1.0, shift=0.5, min_depth_m=0.0)
    assert metres(MAP, Quantity.DISPARITY_AFFINE, fixed)[0][0, :2].tolist() == [1.0, 2.0]


def test_two_streams_of_the_same_measurements_give_the_same_bytes_and_know_nothing_of_each_other():
    streams = Stream(), Stream(), Stream()
    for number in range(12):
        first, second, _ = (stream(wavy(world(n), n), scan(world(n), number, outliers=0.2, seed=n))
                            for stream, n in zip(streams, (number, number, number + 50), strict=True))
        assert first[1] == second[1] and np.array_equal(first[0], second[0]) if first[0] is not None else not number


def test_a_sensor_that_sees_nothing_but_what_is_near_says_that_the_rest_is_a_guess():
    depth_m = np.linspace(10, 1.0, 48)[:, None] * np.ones((48, 64))
    stream = Stream()
    for number in range(4):
        _, anchor = stream(seen(depth_m), scan(depth_m, number, seed=number, rows=slice(43, None)))
    assert anchor.state == 'locked' and 'of the picture is far from all depth that was measured' in anchor.reason
    for number in range(4, 12):
        _, anchor = stream(seen(depth_m), scan(depth_m, number, seed=number))
    assert (anchor.state, anchor.reason) == ('locked', '')


# --- for looking only


def test_the_nominal_scale_is_one_relation_for_a_whole_segment():
    nominal, random = NominalScale(), np.random.default_rng(0)
    first = random.random((40, 60))
    one = nominal.depth(frame(first))
    brighter = nominal.depth(frame(first + 0.3))
    assert np.nanmedian(brighter) < np.nanmedian(one)
    again = nominal.depth(frame(first + 0.3, segment=1))
    assert again == pytest.approx(one, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize('quantity', [Quantity.DEPTH_AFFINE, Quantity.LOG_DEPTH_AFFINE])
def test_nominal_depth_grows_where_the_family_says_farther_and_in_its_own_space(quantity):
    truth = np.linspace(1, 8, 50)[None].repeat(4, 0)    # the nominal near and far
    map = 0.1 * (np.log1p(truth) if quantity is Quantity.LOG_DEPTH_AFFINE else truth) - 3
    nominal = NominalScale().depth(frame(map, quantity=quantity))
    assert nominal == pytest.approx(truth, abs=0.25)
