"""Each metric of maps that are wrong in a known way."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera, rays
from depth_ros.evaluation import metrics

CAMERA = Camera(120, 160, fx=100.0, fy=100.0, cx=79.5, cy=59.5)
ORIGIN = np.eye(4)


@pytest.fixture
def truth_m():
    return np.random.default_rng(0).uniform(1, 9, (20, 30))


def step_at(column, near_m=1.0, far_m=2.0, shape=(20, 30)):
    """Return a map that is near left of `column` and far from there on."""
    return np.where(np.arange(shape[1]) < column, near_m, far_m) * np.ones(shape)


# --- accuracy


def test_ten_percent_too_far_everywhere_is_an_absrel_of_a_tenth(truth_m):
    assert metrics.absrel(1.1 * truth_m, truth_m) == pytest.approx(0.1)


def test_delta_is_the_share_of_pixels_within_a_quarter_both_ways():
    depth_m, truth_m = np.array([[1.24, 1.26, 1 / 1.24, 1 / 1.26]]), np.ones((1, 4))
    assert metrics.delta(depth_m, truth_m) == 0.5
    assert metrics.delta(depth_m, truth_m, power=2) == 1


def test_rmse_is_in_metres(truth_m):
    assert metrics.rmse(truth_m + 10 + np.array([3, -4] * 15), truth_m + 10) == pytest.approx(np.sqrt(12.5))


def test_silog_forgives_the_scale_and_is_a_hundredfold_log_deviation(truth_m):
    assert metrics.silog(3 * truth_m, truth_m) == pytest.approx(0, abs=1e-6)
    assert metrics.silog(truth_m * np.array([1.1, 1 / 1.1] * 15), truth_m) == pytest.approx(100 * np.log(1.1))


@pytest.mark.parametrize('metric', [metrics.absrel, metrics.rmse, metrics.silog, metrics.scale_factor, metrics.delta])
def test_unknown_pixels_of_either_map_and_masked_ones_do_not_count(metric, truth_m):
    depth_m, broken, valid = truth_m * 1.1, truth_m.copy(), np.ones(truth_m.shape, bool)
    depth_m[0], broken[1], broken[2], valid[3], depth_m[3] = np.nan, np.nan, 0, False, 100
    assert metric(depth_m, broken, valid) == pytest.approx(metric(depth_m[4:], truth_m[4:]))


@pytest.mark.parametrize('metric', [metrics.absrel, metrics.rmse, metrics.silog, metrics.scale_factor, metrics.delta,
                                    metrics.boundary_f1])
def test_a_metric_over_no_pixel_is_not_a_number(metric, truth_m):
    assert np.isnan(metric(truth_m, np.zeros(truth_m.shape)))


def test_truth_beyond_the_far_limit_is_not_scored():
    assert metrics.scored(np.ones((1, 3)), np.array([[9.9, 10.1, np.inf]]), far_m=10).tolist() == [[True, False, False]]


# --- over time


def test_the_scale_factor_is_what_the_map_lacks(truth_m):
    assert metrics.scale_factor(truth_m / 1.3, truth_m) == pytest.approx(1.3)


def test_a_scale_that_alternates_by_two_percent_varies_by_two_percent():
    assert metrics.scale_variation([0.98, 1.02] * 5 + [np.nan]) == pytest.approx(0.02)
    assert metrics.scale_variation([0.7] * 5) == pytest.approx(0)


def plane_from(T_world_cam, camera=CAMERA, n=(0.1, 0.3, 1.0), distance=3.0):
    """Return the depth of the plane n . x = distance, seen from a camera."""
    xyz = np.concatenate([rays(camera), np.ones((camera.height, camera.width, 1))], axis=-1)
    return (distance - np.dot(n, T_world_cam[:3, 3])) / (xyz @ T_world_cam[:3, :3].T @ n)


def moved(x, y, z, degrees=0.0):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s, x], [0, 1, 0, y], [-s, 0, c, z], [0, 0, 0, 1.0]])


@pytest.mark.parametrize('T_world_cam', [moved(0, 0, 0), moved(0.2, 0.1, 0.3), moved(0.1, 0, 0, degrees=5)])
def test_perfect_maps_of_a_plane_agree_under_any_motion(T_world_cam):
    error = metrics.temporal_alignment_error(plane_from(ORIGIN), plane_from(T_world_cam), CAMERA, np.linalg.inv(T_world_cam))
    assert error < 1e-6


def test_a_wrong_direction_of_the_motion_is_an_error():
    there = moved(0.2, 0.1, 0.3)
    assert metrics.temporal_alignment_error(plane_from(ORIGIN), plane_from(there), CAMERA, there) > 0.1


@pytest.mark.parametrize('T_world_cam, tolerance', [(moved(0, 0, 0), 1e-6), (moved(0, 0, 0, degrees=5), 1e-5),
                                                    (moved(0.05, 0, 0), 1e-3)])    # wrong parallax, too
def test_a_scale_that_alternates_by_two_percent_is_an_alignment_error_of_four(T_world_cam, tolerance):
    one, other = 1.02 * plane_from(ORIGIN), 0.98 * plane_from(T_world_cam)
    error = metrics.temporal_alignment_error(one, other, CAMERA, np.linalg.inv(T_world_cam))
    assert error == pytest.approx((1.02 / 0.98 - 0.98 / 1.02) / 2, abs=tolerance)    # both directions: 0.0408, 0.0392


def column_before_wall(x):
    """Return what a camera at (x, 0, 0) sees of a column 0.4 m wide at 2 m before a wall at 4 m."""
    across = (np.arange(160) - CAMERA.cx) / CAMERA.fx * 2 + x    # m, at the column
    return np.where(np.abs(across) < 0.2, 2.0, 4.0) * np.ones((120, 1))


def test_what_the_other_camera_cannot_see_does_not_count():
    error = metrics.temporal_alignment_error(column_before_wall(0), column_before_wall(0.2), CAMERA, moved(-0.2, 0, 0))
    assert error < 0.01    # 5 of 160 columns hidden, off by 1 and by 0.5, would be 0.02


def test_maps_that_share_nothing_have_no_alignment_error():
    assert np.isnan(metrics.temporal_alignment_error(plane_from(ORIGIN), plane_from(ORIGIN), CAMERA, moved(100, 0, 0)))


def test_the_alignment_error_follows_a_distorted_lens():
    bent = Camera(120, 160, 100.0, 100.0, 79.5, 59.5, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0, 0.0))
    there = moved(0.2, 0.1, 0.3)
    one, other = plane_from(ORIGIN, bent), plane_from(there, bent)
    assert metrics.temporal_alignment_error(one, other, bent, np.linalg.inv(there)) < 1e-4


def test_still_noise_is_the_deviation_over_time_as_a_share_of_the_range():
    ramp = np.tile(np.linspace(0, 10, 101), (50, 1))    # 5 to 95 %: 9
    maps = ramp + np.random.default_rng(0).normal(0, 0.09, (200, 50, 101))
    assert metrics.still_noise(maps) == pytest.approx(0.01, rel=0.02)
    assert metrics.still_noise(np.stack([ramp] * 5)) == pytest.approx(0)


def test_still_noise_leaves_out_pixels_with_holes():
    maps = np.stack([np.tile(np.linspace(0, 10, 101), (50, 1))] * 4)
    maps[0, 0], maps[1, 0] = np.nan, 1000
    assert metrics.still_noise(maps) == pytest.approx(0)


# --- boundaries


def test_equal_maps_have_equal_boundaries_whatever_the_scale():
    assert metrics.boundary_f1(3 * step_at(15), step_at(15)) == 1


@pytest.mark.parametrize('shift_px', [1, 5])
def test_a_shifted_boundary_is_missed(shift_px):
    assert metrics.boundary_f1(step_at(15 + shift_px), step_at(15)) == 0


def test_a_boundary_with_near_and_far_swapped_is_missed():
    assert metrics.boundary_f1(step_at(15, 2, 1), step_at(15, 1, 2)) == 0


def test_one_true_and_one_false_boundary_are_an_f1_of_two_thirds():
    both = step_at(15) * step_at(5)
    assert metrics.boundary_f1(both, step_at(15)) == pytest.approx(2 / 3)    # precision 1/2, recall 1


def test_a_boundary_too_weak_for_high_thresholds_counts_by_the_weight_of_the_low_ones():
    weak = step_at(15, 1, 1.12)    # beyond 5, 7.2, 9.4 and 11.7 %
    assert metrics.boundary_f1(weak, step_at(15)) == pytest.approx((5 + 65 / 9 + 85 / 9 + 105 / 9) / 150)


def test_the_four_directions_count_alike():
    square = np.full((20, 30), 2.0)
    square[5:15, 10:20] = 1
    upper = np.where(np.arange(20)[:, None] < 10, square, 2.0)    # 10 + 5 + 5 of 40 contours, and 10 that are none
    assert metrics.boundary_f1(upper, square) == pytest.approx(2 * 20 / (30 + 40))


def test_the_rim_of_a_hole_is_no_boundary():
    truth, depth_m = step_at(15, 3, 6), step_at(15, 3, 6)
    truth[:10, 14] = np.nan    # hides where the step is
    truth[:, 3] = 0
    depth_m[:10, 14], depth_m[:, 20] = 6, np.nan
    assert metrics.boundary_f1(depth_m, truth) == 1
    assert np.isnan(metrics.boundary_f1(truth, np.where(truth > 0, 1.0, np.nan)))    # and none in the truth is no score


def test_the_outline_of_an_object_in_front_is_recalled():
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:20] = True
    assert metrics.boundary_recall(np.where(mask, 1.0, 2.0), mask) == 1
    assert metrics.boundary_recall(np.where(mask, 2.0, 1.0), mask) == 0    # a hole is no object in front
    assert metrics.boundary_recall(np.where(np.roll(mask, 1, 1), 1.0, 2.0), mask) == pytest.approx(18 / 40)


def test_of_a_blurred_boundary_only_the_steepest_place_is_recalled():
    blurred = np.ones((20, 30)) * np.cumprod(np.where(np.isin(np.arange(30), [13, 14, 15]), 1.3, 1))
    blurred[:, 14:] *= 1.1    # the step from 13 to 14 is the steepest
    assert metrics.boundary_recall(blurred, step_at(14) == 1) == 1
    assert metrics.boundary_recall(blurred, step_at(13) == 1) == 0
    assert metrics.boundary_f1(blurred, blurred) == 1    # not thinned here


def test_of_equally_steep_places_one_is_recalled():
    slope = np.ones((20, 30)) * np.cumprod(np.where(np.isin(np.arange(30), [13, 14, 15]), 1.3, 1))
    assert sorted(metrics.boundary_recall(slope, step_at(column) == 1) for column in (13, 14, 15)) == [0, 0, 1]


def test_boundaries_at_both_ends_of_a_row_are_thinned_on_their_own():
    ends = step_at(1) * step_at(29)
    assert metrics.boundary_recall(ends, step_at(1) == 1) == metrics.boundary_recall(ends, step_at(29) == 1) == 1


# --- point clouds


def grid(z_m):
    x, y = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21))
    return np.stack([x, y, np.full(x.shape, z_m)], axis=-1).reshape(-1, 3)


def test_the_chamfer_distance_of_planes_one_centimetre_apart_is_one_centimetre():
    assert metrics.chamfer(grid(2), grid(2.01)) == pytest.approx(0.01)


def test_chamfer_counts_what_is_too_much_and_what_is_missing():
    lone = np.array([[0.0, 0, 5]])
    assert metrics.chamfer(np.concatenate([grid(2), lone]), grid(2)) == pytest.approx(3 / 442 / 2)
    assert metrics.chamfer(grid(2), np.concatenate([grid(2), lone])) == pytest.approx(3 / 442 / 2)
    assert np.isnan(metrics.chamfer(grid(2), np.empty((0, 3))))


def test_cloud_f1_joins_the_shares_that_are_near():
    half_wrong = np.concatenate([grid(2), grid(3)])
    assert metrics.cloud_f1(half_wrong, grid(2.005), 0.01) == pytest.approx((2 / 3, 0.5, 1))
    assert metrics.cloud_f1(grid(3), grid(2), 0.01) == (0, 0, 0)


def test_a_step_is_a_depth_edge_in_any_unit_and_the_rim_of_a_hole_is_none():
    with_hole = step_at(15)
    with_hole[:, 25] = 0
    edges = metrics.depth_edges(with_hole)
    assert set(np.nonzero(edges)[1]) <= {14, 15} and edges.any(axis=1)[1:-1].all()
    np.testing.assert_array_equal(metrics.depth_edges(1000 * with_hole), edges)
    assert not metrics.depth_edges(step_at(15, 1, 1.05)).any()


def test_the_cloud_is_that_of_the_pixels_asked_for():
    where = np.zeros((120, 160), bool)
    where[10, 20] = True
    point = metrics.cloud(np.full((120, 160), 2.0), CAMERA, where)
    np.testing.assert_allclose(point, [[2 * (20 - 79.5) / 100, 2 * (10 - 59.5) / 100, 2]], rtol=1e-6)


def test_points_that_fly_at_an_edge_show_in_the_edge_chamfer_and_errors_elsewhere_do_not():
    telescope = Camera(20, 30, 1e6, 1e6, 14.5, 9.5)    # neighbours are in one line, so distances are along z
    truth, flying, elsewhere = step_at(15), step_at(15), step_at(15)
    flying[:, 15], elsewhere[:, :5] = 1.5, 0.3
    edge = set(np.nonzero(metrics.depth_edges(truth))[1])
    columns = max(edge) - min(edge) + 1 + 2 * 3
    assert metrics.edge_chamfer(flying, truth, telescope) == pytest.approx(0.5 / columns / 2, rel=1e-3)
    assert metrics.edge_chamfer(elsewhere, truth, telescope) == 0
    assert metrics.edge_chamfer(flying, truth, telescope, valid=flying != 1.5) == 0
