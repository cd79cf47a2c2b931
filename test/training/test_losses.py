"""Each loss on a case whose answer is known by hand."""

import math

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from depth_ros.training import losses  # noqa: E402


def maps(*values):
    """One clip (1, T, 2, 3) of the given frames."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 2, 3)


RAMP = [1, 2, 3, 4, 5, 6]
ONES = torch.ones(1, 1, 2, 3)


def test_alignment_undoes_any_scale_and_shift_of_a_clip():
    clip = maps(RAMP, [2, 4, 6, 8, 1, 3])
    aligned = losses.align(-0.5 * clip + 7, clip, torch.ones_like(clip))
    assert losses.scale_and_shift_invariant(aligned, clip, torch.ones_like(clip)) < 1e-4


def test_a_scale_that_changes_from_frame_to_frame_is_not_forgiven():
    truth = maps(RAMP, RAMP)
    flicker = maps(RAMP, [2 * x for x in RAMP])
    weight = torch.ones_like(truth)
    assert losses.scale_and_shift_invariant(losses.align(flicker, truth, weight), truth, weight) > 0.3


def test_a_clip_is_standardised_to_mean_zero_and_mean_deviation_one():
    z = losses.standardise(maps(RAMP), ONES)
    np.testing.assert_allclose([z.mean(), z.abs().mean()], [0, 1], atol=1e-6)


def test_quantiles_become_nought_and_one_and_outliers_lie_beyond():
    clip = torch.arange(101.0).reshape(1, 1, 1, 101)
    z = losses.to_quantiles(clip, torch.ones_like(clip))
    np.testing.assert_allclose(z[0, 0, 0, [0, 2, 50, 98, 100]], [-2 / 96, 0, 0.5, 1, 98 / 96], atol=1e-6)


def test_quantiles_are_of_each_clip_and_of_known_pixels():
    clips = torch.cat([maps(RAMP), 10 * maps(RAMP)])
    unknown = torch.cat([maps([1, 2, 3, 4, 5, 6000]), maps(RAMP)])
    z = losses.to_quantiles(clips, torch.ones_like(clips))
    np.testing.assert_allclose(z[0], z[1], atol=1e-6)
    weight = torch.cat([maps([1, 1, 1, 1, 1, 0]), ONES])
    np.testing.assert_allclose(losses.to_quantiles(unknown, weight, 0, 1)[0].ravel()[:5], [0, 0.25, 0.5, 0.75, 1], atol=1e-6)
    assert torch.isfinite(losses.to_quantiles(clips, torch.zeros_like(clips))).all()


def test_unknown_pixels_count_nowhere():
    weight = maps([1, 1, 1, 1, 1, 0])
    wrong = maps([1, 2, 3, 4, 5, 600])
    aligned = losses.align(wrong, maps(RAMP), weight)
    assert losses.scale_and_shift_invariant(aligned, maps(RAMP), weight) < 1e-4
    assert losses.silog(wrong, maps(RAMP), weight) < 2e-3


def test_gradient_matching_is_the_mean_slope_of_the_residual():
    residual_slope_in_x = maps([0, 0.5, 1.0, 0, 0.5, 1.0])
    loss = losses.gradient_matching(residual_slope_in_x, torch.zeros_like(ONES), ONES, scales=1)
    np.testing.assert_allclose(loss, 0.5, atol=1e-6)  # 0.5 per pixel along x, 0 along y
    np.testing.assert_allclose(losses.lmr_spatial(residual_slope_in_x, torch.zeros_like(ONES), ONES), 0.5, atol=1e-6)


def test_temporal_losses_are_the_change_that_the_truth_does_not_have():
    truth = torch.zeros(1, 3, 2, 3)
    drift = maps([0] * 6, [0.1] * 6, [0.2] * 6)
    weight = torch.ones_like(truth)
    np.testing.assert_allclose(losses.lmr_temporal(drift, truth, weight), 0.1, atol=1e-6)
    np.testing.assert_allclose(
        losses.temporal_gradient(drift, truth, weight), 0.15, atol=1e-6
    )  # 0.1 and 0.2 to the first
    np.testing.assert_allclose(losses.temporal_gradient(drift, truth, weight, references=2), 0.15, atol=1e-6)
    assert losses.lmr_temporal(drift[:, :1], truth[:, :1], weight[:, :1]) == 0


def test_change_is_matched_only_where_the_truth_hardly_changes():
    truth = maps([0] * 6, [0.01, 0.01, 0.01, 0.5, 0.5, 0.5])  # an edge passes through the right half
    guess = maps([0] * 6, [0.05, 0.03, 0.01, 9, 9, 9])
    weight = torch.ones_like(truth)
    np.testing.assert_allclose(losses.temporal_gradient_matching(guess, truth, weight), (0.04 + 0.02 + 0) / 3, atol=1e-6)
    backwards = -guess  # only how much it changes counts, not which way
    np.testing.assert_allclose(losses.temporal_gradient_matching(backwards, truth, weight), 0.02, atol=1e-6)
    assert losses.temporal_gradient_matching(guess[:, :1], truth[:, :1], weight[:, :1]) == 0


def test_latents_are_regressed_and_rectified_in_space_and_time():
    truth = torch.zeros(1, 16, 3, 4, 5)
    lifted, rising = truth + 0.1, truth + 0.1 * torch.arange(3.0)[:, None, None]
    sloping = truth + 0.1 * torch.arange(5.0)
    np.testing.assert_allclose(losses.latent_regression(lifted, truth), 0.01, atol=1e-6)  # no slope, no change
    np.testing.assert_allclose(losses.latent_regression(rising, truth), 0.05 / 3 + 0.5 * 0.1, atol=1e-6)
    np.testing.assert_allclose(losses.latent_regression(sloping, truth), 0.06 + 0.5 * 0.1, atol=1e-6)
    np.testing.assert_allclose(losses.latent_regression(sloping[:, :, :1], truth[:, :, :1]), 0.11, atol=1e-6)  # a picture


def test_the_way_from_depth_to_noise_is_straight_and_its_velocity_is_their_difference():
    depth, noise = maps(RAMP), maps([6, 5, 4, 3, 2, 1])
    ends = [losses.between(depth, noise, torch.tensor(t)) for t in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(torch.stack(ends), torch.stack([depth, torch.full_like(depth, 3.5), noise]))
    assert losses.flow_matching(noise - depth, depth, noise, ONES) == 0
    np.testing.assert_allclose(losses.flow_matching(noise - depth + 0.3, depth, noise, ONES), 0.09, atol=1e-6)
    np.testing.assert_allclose(ends[1] - 0.5 * (noise - depth), depth)  # what the velocity says of the depth


def test_the_camera_loss_is_half_the_square_and_far_away_the_distance():
    truth = torch.zeros(1, 2, 9)
    np.testing.assert_allclose(losses.camera(truth + 0.2, truth), 0.02, atol=1e-6)
    np.testing.assert_allclose(losses.camera(truth + 3, truth), 2.5, atol=1e-6)


def test_silog_forgives_a_factor_but_not_a_spread():
    assert losses.silog(3 * maps(RAMP), maps(RAMP), ONES) < 2e-3
    spread = maps([math.e, 1, math.e, 1, math.e, 1])  # g is 1 or 0, half each: deviation 0.5
    np.testing.assert_allclose(losses.silog(spread, ONES, ONES), 0.5, atol=1e-3)
    np.testing.assert_allclose(losses.silog(3 * ONES, ONES, ONES, mean_share=0.0), math.log(3), atol=1e-3)


def test_fit_scale_finds_the_factor():
    np.testing.assert_allclose(losses.fit_scale(maps(RAMP), 2.5 * maps(RAMP), ONES).item(), 2.5, rtol=1e-5)


def test_the_pose_loss_is_radians_and_a_share_of_the_way():
    truth = torch.tensor([[[0.0, 0, 0, 0, 0, 0.5]]])
    guess = torch.tensor([[[0.01, 0, 0, 0, 0, 0.4]]])
    rotation, translation = losses.pose(guess, truth, torch.ones(1, 1, 2))
    np.testing.assert_allclose([rotation, translation], [0.01, 0.2], atol=1e-6)
    assert losses.pose(guess, truth, torch.tensor([[[1.0, 0.0]]]))[1] == 0


def approaching(*depths_m, step_m=0.5):
    """Disparity (1, T, 4, 6) of walls seen by a camera that goes `step_m` ahead each frame, K and T_prev_cam."""
    K = torch.tensor([[[5.0, 0, 2.5], [0, 5.0, 1.5], [0, 0, 1]]])
    T_prev_cam = torch.eye(4).repeat(1, len(depths_m), 1, 1)
    T_prev_cam[0, 1:, 2, 3] = step_m
    return torch.stack([torch.full((4, 6), 1 / z) for z in depths_m])[None], K, T_prev_cam


def test_temporal_alignment_is_nought_for_a_wall_that_the_camera_approaches():
    truth, K, T_prev_cam = approaching(2.0, 1.5, 1.0)
    assert losses.temporal_alignment(truth, truth, K, T_prev_cam, torch.ones_like(truth)) < 1e-6


def test_temporal_alignment_is_the_log_of_the_factor_by_which_two_frames_disagree():
    truth, K, T_prev_cam = approaching(2.0, 1.5)
    wrong = approaching(2.2, 1.5)[0]  # the wall of 1.5 m lay at 2.0 m from the frame before, which says 2.2
    loss = losses.temporal_alignment(wrong, truth, K, T_prev_cam, torch.ones_like(truth))
    np.testing.assert_allclose(loss, math.log(2.2 / 2.0), rtol=1e-5)
    still = approaching(2.0, 1.0, step_m=0.0)
    loss = losses.temporal_alignment(still[0], truth[:, :1].repeat(1, 2, 1, 1), still[1], still[2], torch.ones_like(truth))
    np.testing.assert_allclose(loss, math.log(2), rtol=1e-5)


def test_temporal_alignment_leaves_out_what_moves_and_what_is_unknown_and_has_a_gradient():
    truth, K, T_prev_cam = approaching(2.0, 1.5)
    moving, weight = truth.clone(), torch.ones_like(truth)
    moving[:, 1, :, :3] = 1.0  # half of the wall came 0.5 m nearer on its own
    guess = (1.1 * moving).requires_grad_()
    loss = losses.temporal_alignment(guess, moving, K, T_prev_cam, weight)
    loss.backward()
    assert torch.isfinite(guess.grad).all() and (guess.grad[:, 1, :, :3] == 0).all() and guess.grad.abs().sum() > 0
    assert losses.temporal_alignment(guess, moving, K, T_prev_cam, 0 * weight) == 0
    assert losses.temporal_alignment(guess[:, :1], moving[:, :1], K, T_prev_cam[:, :1], weight[:, :1]) == 0


def test_confidence_is_best_where_it_equals_the_error_s_exponential():
    error = maps([0, 0, 0, 0.3, 0.3, 0.3])
    right = torch.exp(-error / 0.3).clamp(1e-4, 1 - 1e-4)
    for other in (0.1, 0.5, 0.9):
        assert losses.confidence(right, error, ONES) < losses.confidence(torch.full_like(ONES, other), error, ONES)


def test_flow_of_a_sideways_step_is_focal_length_times_baseline_times_disparity():
    K = torch.tensor([[[40.0, 0, 15.5], [0, 40.0, 15.5], [0, 0, 1]]])
    T_prev_cam = torch.eye(4)[None].clone()
    T_prev_cam[0, 0, 3] = 0.2  # this camera stands 0.2 m to the right of the last
    flow, inside = losses.rigid_flow(torch.full((1, 32, 32), 0.5), K, T_prev_cam)
    np.testing.assert_allclose(flow[0, 0], 40 * 0.2 * 0.5 / 8, rtol=1e-5)  # cells of 8 px
    np.testing.assert_allclose(flow[0, 1], 0, atol=1e-6)
    assert inside[0, :, :3].all()
    assert losses.flow(flow, flow, inside.float()) == 0


def test_flow_at_infinity_feels_only_rotation():
    K = torch.tensor([[[40.0, 0, 15.5], [0, 40.0, 15.5], [0, 0, 1]]])
    T_prev_cam = torch.eye(4)[None].clone()
    T_prev_cam[0, :3, 3] = torch.tensor([5.0, -3.0, 2.0])
    flow, _ = losses.rigid_flow(torch.zeros(1, 32, 32), K, T_prev_cam)
    np.testing.assert_allclose(flow, 0, atol=1e-5)
