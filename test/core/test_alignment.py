"""Fits find the scale and shift that were put in, and refuse what cannot be trusted."""

import cv2
import numpy as np
import pytest

from depth_ros.core.alignment import Fit, ScaleLock, Stitcher, accept, fit_robustly, fit_scale_shift
from depth_ros.core.frame import Quantity
from depth_ros.core.window import WindowSpec
from depth_ros.settings import AlignmentSettings


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_the_fit_finds_the_scale_and_shift_that_were_put_in(random):
    x = random.random((20, 30))
    assert fit_scale_shift(x, 2.5 * x - 0.75) == pytest.approx((2.5, -0.75))


def test_pixels_of_weight_zero_do_not_count():
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert fit_scale_shift(x, [1, 3, 5, 100], np.array([1, 1, 1, 0])) == pytest.approx((2, 1))


def test_a_constant_source_has_scale_zero_and_the_mean_of_the_target():
    assert fit_scale_shift(np.ones(4), np.array([1.0, 2, 3, 4])) == (0.0, 2.5)


def test_noise_in_the_source_fades_the_plain_fit_and_not_the_symmetric_one(random):
    truth = random.normal(size=100_000)
    x, y = (truth + 0.5 * random.normal(size=truth.size) for _ in range(2))
    assert fit_scale_shift(x, y)[0] == pytest.approx(0.8, abs=0.01)          # 1 / (1 + 0.5**2)
    assert fit_scale_shift(x, y, symmetric=True)[0] == pytest.approx(1.0, abs=0.01)


def test_a_third_of_moving_outliers_does_not_move_the_robust_fit(random):
    x = random.random((60, 80))
    y = 1.7 * x + 0.2
    y[:20] = 5 + random.random((20, 80))
    fit = fit_robustly(x, y)
    assert (fit.scale, fit.shift) == pytest.approx((1.7, 0.2), abs=1e-7)
    assert fit.residual < 1e-6


def test_invalid_pixels_are_left_out_of_the_fit(random):
    x = random.random((60, 80))
    y = 3 * x + 1
    x[:10], y[10:20] = np.nan, np.inf
    assert fit_robustly(x, y).scale == pytest.approx(3)


@pytest.mark.parametrize('source', [np.full((60, 80), 0.3), np.full((60, 80), np.nan)])
def test_a_map_without_shape_allows_no_fit(source, random):
    assert fit_robustly(source, random.random((60, 80))) is None


@pytest.mark.parametrize('fit', [None, Fit(-1.0, 2.0), Fit(0.0, 1.0), Fit(0.1), Fit(10.0), Fit(float('nan'))])
def test_a_fit_that_cannot_be_trusted_is_held_back_and_says_so(fit):
    last = Fit(1.5, 0.1)
    held = accept(fit, last, AlignmentSettings())
    assert (held.scale, held.shift, held.held) == (1.5, 0.1, True)


def test_a_map_that_swaps_near_and_far_never_gets_a_negative_scale(random):
    spec = WindowSpec.rolling(2, 1)
    truth = random.random((1, 40, 60)).astype(np.float32)
    stitcher = Stitcher(spec, AlignmentSettings())
    stitcher.add((0, 0), range(1, 2), np.concatenate([truth, truth]))
    swapped = stitcher.add((0, 1), range(1, 2), 1 - np.concatenate([truth, truth]))
    assert swapped[0].fit.held and swapped[0].fit.scale == 1.0


def test_a_residual_far_above_its_running_level_starts_a_new_segment(random):
    spec = WindowSpec.rolling(2, 1)
    stitcher = Stitcher(spec, AlignmentSettings())
    maps = random.random((12, 40, 60)).astype(np.float32)
    maps[1:6] = maps[0] + 0.01 * maps[1:6]
    segments = []
    for position in range(6):
        pair = maps[[max(0, position - 1), position]]
        segments += [item.segment for item in stitcher.add((max(0, position - 1), position), range(1, 2), pair)]
    other = stitcher.add((5, 6), range(1, 2), maps[[8, 9]])
    assert segments == [0] * 6
    assert (other[0].segment, other[0].fit) == (1, Fit())


def test_a_new_segment_starts_on_its_own_scale_and_takes_nothing_over_from_the_one_before(random):
    stitcher = Stitcher(WindowSpec(4, (2, 3), anchors=2, blend=2), AlignmentSettings())
    truth, other = random.random((2, 8, 40, 60)).astype(np.float32)
    stitcher.add((0, 1, 2, 3), range(4), truth[:4])
    stitcher.add((2, 3, 4, 5), range(2, 4), truth[2:6] / 2)
    assert stitcher.fit.scale == pytest.approx(2)
    done = stitcher.add((4, 5, 6, 7), range(2, 4), other[4:]) + stitcher.flush()
    assert [(item.index, item.segment) for item in done] == [(4, 0), (5, 0), (6, 1), (7, 1)]
    for item, map in zip(done, (*truth[4:6], *other[6:]), strict=True):    # nothing is cross-faded
        assert item.map == pytest.approx(map, abs=1e-6)


def test_a_window_moved_back_is_fitted_to_all_frames_that_it_shares_and_cross_fades_over_them():
    ramp = np.linspace(0, 1, 100, dtype=np.float32).reshape(10, 10)
    error = np.float32([0, 0.1, 0.1, -0.1, -0.1])    # of the first window; over all that is shared it is none
    stitcher = Stitcher(WindowSpec(5, (3, 4), anchors=2, blend=2, moved_back=True),
                        AlignmentSettings(fit='least_squares', cuts=False))
    assert [item.index for item in stitcher.add(range(5), range(5), ramp + error[:, None, None])] == [0]
    done = stitcher.add(range(1, 6), range(4, 5), np.stack([ramp / 2] * 5)) + stitcher.flush()
    assert [item.index for item in done] == [1, 2, 3, 4, 5]
    assert (stitcher.fit.scale, stitcher.fit.shift) == pytest.approx((2, 0), abs=1e-6)
    assert [float((item.map - ramp).mean()) for item in done] == pytest.approx([0.1, 0.1 * 2 / 3, -0.1 / 3, 0, 0], abs=1e-6)


def scene(shift_px, nearer=1.0):
    """A textured wall with a bump, seen by a camera that moved sideways and forward: picture and disparity."""
    random = np.random.default_rng(1)
    texture = cv2.GaussianBlur(random.integers(0, 255, (400, 400)).astype(np.float32), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    v, u = np.mgrid[:400, :400]
    disparity = (1 + np.exp(-((u - 180) ** 2 + (v - 220) ** 2) / 5000)).astype(np.float32)
    view = np.array([[nearer, 0, -shift_px], [0, nearer, 0]]) @ np.array([[1, 0, -200], [0, 1, -200], [0, 0, 1.0]])
    view += [[0, 0, 80], [0, 0, 60]]
    return (cv2.warpAffine(texture, view, (160, 120)).astype(np.uint8),
            nearer * cv2.warpAffine(disparity, view, (160, 120)))


def seen(disparity, quantity):
    return {Quantity.DISPARITY_AFFINE: disparity, Quantity.DEPTH_AFFINE: 1 / disparity,
            Quantity.LOG_DEPTH_AFFINE: np.log1p(1 / disparity)}[quantity]


@pytest.mark.parametrize('quantity', [Quantity.DISPARITY_AFFINE, Quantity.DEPTH_AFFINE, Quantity.LOG_DEPTH_AFFINE])
def test_the_scale_lock_takes_out_what_the_network_adds_from_frame_to_frame(quantity):
    lock, random = ScaleLock(quantity, AlignmentSettings()), np.random.default_rng(2)
    scales = []
    for step in range(10):
        picture, disparity = scene(shift_px=2 * step)
        truth = seen(disparity, quantity)
        scale, shift = (1.0, 0.0) if step == 0 else (random.uniform(0.7, 1.4), random.uniform(-0.2, 0.2))
        steady, _ = lock(scale * truth + np.float32(shift), picture)
        scales.append(fit_scale_shift(truth, steady)[0])
    assert np.std(scales) < 0.02


@pytest.mark.parametrize(('quantity', 'least'), [
    (Quantity.DISPARITY_AFFINE, 0.6), (Quantity.DEPTH_AFFINE, 0.6),
    (Quantity.LOG_DEPTH_AFFINE, 0.1)])    # whose unit is a guess: far fewer than ten times the depth are in view here
def test_the_scale_lock_lets_a_wall_come_nearer(quantity, least):
    lock = ScaleLock(quantity, AlignmentSettings())
    for step in range(10):
        nearer = 1.02 ** step
        picture, disparity = scene(0, nearer)
        given = seen(disparity / nearer, quantity)    # by a network that does not see the wall come
        steady, _ = lock(given, picture)
    moved = np.median(steady - given) / np.median(seen(disparity, quantity) - given)
    assert least < moved < 1.1
