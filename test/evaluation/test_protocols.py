"""A map that is right up to scale and shift becomes right; one that is not does not."""

import numpy as np
import pytest

from depth_ros.core.frame import Quantity
from depth_ros.evaluation.protocols import NEAR_M, VideoFit, align_picture, align_video, to_metric_depth

RELATIVE = {
    Quantity.DISPARITY_AFFINE: lambda z: 3 / z + 0.5,
    Quantity.LOG_DEPTH_AFFINE: lambda z: 3 * np.log1p(z) + 0.5,
    Quantity.DEPTH_AFFINE: lambda z: 3 * z + 0.5,
}


@pytest.fixture
def truth_m():
    return np.random.default_rng(0).uniform(1, 9, (20, 30)).astype(np.float32)


@pytest.mark.parametrize('quantity', RELATIVE)
def test_a_map_right_up_to_scale_and_shift_becomes_the_truth(quantity, truth_m):
    np.testing.assert_allclose(align_picture(RELATIVE[quantity](truth_m), truth_m, None, quantity, 10), truth_m, rtol=1e-5)


@pytest.mark.parametrize('quantity', RELATIVE)
def test_one_scale_and_shift_of_a_video_are_those_that_were_put_in(quantity, truth_m):
    scale, shift = align_video(iter([RELATIVE[quantity](truth_m)] * 3), [truth_m] * 3, [None] * 3, quantity)
    assert (scale, shift) == pytest.approx((1 / 3, -1 / 6), rel=1e-5)
    np.testing.assert_allclose(to_metric_depth(RELATIVE[quantity](truth_m), scale, shift, quantity, 10), truth_m, rtol=1e-5)


def test_a_drifting_scale_is_forgiven_per_picture_and_not_per_video(truth_m):
    maps = [truth_m, 2 * truth_m]
    scale, shift = align_video(maps, [truth_m] * 2, [None] * 2, Quantity.DEPTH_AFFINE)
    x, y = np.concatenate(maps).reshape(-1), np.concatenate([truth_m] * 2).reshape(-1)
    assert (scale, shift) == pytest.approx(np.polyfit(x, y, 1), rel=1e-4)
    for map in maps:
        np.testing.assert_allclose(align_picture(map, truth_m, None, Quantity.DEPTH_AFFINE, 10), truth_m, rtol=1e-5)


def test_unknown_truth_masked_pixels_and_holes_of_the_map_do_not_enter_the_fit(truth_m):
    map, valid = 2 * truth_m, np.ones(truth_m.shape, bool)
    truth_with_holes, valid[3] = truth_m.copy(), False
    truth_with_holes[0], truth_with_holes[1] = np.nan, 0
    map[2], map[3] = np.nan, 1000
    fit = VideoFit(Quantity.DEPTH_AFFINE)
    fit.add(map, truth_with_holes, valid)
    assert fit.solve() == pytest.approx((0.5, 0), abs=1e-6)
    depth_m = align_picture(map, truth_with_holes, valid, Quantity.DEPTH_AFFINE, 10)
    np.testing.assert_allclose(depth_m[4:], truth_m[4:], rtol=1e-5)
    np.testing.assert_allclose(depth_m[:2], truth_m[:2], rtol=1e-5)    # predicted where the truth is unknown
    assert np.isnan(depth_m[2]).all()


def test_a_shift_of_disparity_is_not_a_shift_of_depth(truth_m):
    wrong_space = align_picture(1 / truth_m + 1, truth_m, None, Quantity.DEPTH_AFFINE, 10)
    assert np.abs(wrong_space / truth_m - 1).mean() > 0.1


def test_disparity_at_or_below_that_of_the_far_limit_becomes_the_far_limit():
    disparity = np.array([[-1.0, 0.0, 0.05, 0.1, 0.5]])
    assert to_metric_depth(disparity, 1, 0, Quantity.DISPARITY_METRIC, 10)[0] == pytest.approx([10, 10, 10, 10, 2])


@pytest.mark.parametrize('quantity', [Quantity.DEPTH_METRIC, Quantity.LOG_DEPTH_AFFINE])
def test_depth_lies_between_the_near_and_the_far_limit(quantity):
    depth_m = to_metric_depth(np.array([[-5.0, 1e4, np.nan]]), 1, 0, quantity, 10)
    assert depth_m[0] == pytest.approx([NEAR_M, 10, np.nan], nan_ok=True)
    assert depth_m.dtype == np.float32


def test_a_flat_map_becomes_the_mean_of_the_truth(truth_m):
    flat = np.full(truth_m.shape, 3.7, np.float32)    # whose sums do not cancel exactly
    assert align_picture(flat, truth_m, None, Quantity.DEPTH_AFFINE, 10) == pytest.approx(truth_m.mean())
    assert align_video([flat] * 3, [truth_m] * 3, [None] * 3, Quantity.DEPTH_AFFINE) == pytest.approx((0, truth_m.mean()))


def test_without_truth_there_is_no_fit_and_no_depth(truth_m):
    unknown = np.full(truth_m.shape, np.nan)
    assert np.isnan(align_picture(truth_m, unknown, None, Quantity.DISPARITY_AFFINE, 10)).all()
    assert np.isnan(align_video([truth_m], [unknown], [None], Quantity.DISPARITY_AFFINE)).all()
