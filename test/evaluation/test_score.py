"""A network whose errors are known gets the score that follows from them."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Quantity
from depth_ros.core.window import WindowSpec
from depth_ros.errors import InputError
from depth_ros.evaluation.score import STILL_NOISE_GREY, _longest_run, looks, predict, score, still_noise
from test.evaluation.made import H, W, sample, sequence, slope, stream, turned


def scored(made, tmp_path, **network):
    return score(predict(stream(**network), made, tmp_path), 'grey')


@pytest.mark.parametrize('quantity', Quantity)
def test_the_exact_answer_is_scored_as_perfect_in_every_quantity(tmp_path, quantity):
    result = scored(sequence([sample(slope(), n) for n in range(3)]), tmp_path, quantity=quantity)
    assert result.metrics['absrel'] < 1e-5 and result.metrics['video_absrel'] < 1e-5
    assert result.metrics['delta1'] == 1 and result.metrics['factor_variation'] < 1e-5
    assert result.metrics.get('metric_absrel', 0) < 1e-5 and ('metric_absrel' in result.metrics) == quantity.is_metric


def test_every_other_frame_ten_percent_farther_is_seen_in_the_video_and_not_in_the_pictures(tmp_path):
    truth = [255 / slope().astype(np.float32) * (1.1 if n % 2 else 1.0) for n in range(10)]
    made = sequence([sample(slope(), n, depth_m=depth_m) for n, depth_m in enumerate(truth)])
    result = scored(made, tmp_path, quantity=Quantity.DISPARITY_AFFINE)
    assert result.metrics['absrel'] < 1e-5
    assert result.metrics['factor_variation'] == pytest.approx(0.05 / 1.05, rel=1e-3)
    fit = (1 + 1 / 1.1) / 2    # the one scale of the disparities 1 and 1 / 1.1
    assert [frame.factor for frame in result.frames[:2]] == pytest.approx([fit, 1.1 * fit], rel=1e-3)
    assert result.frames[0].video_absrel == pytest.approx(1 / fit - 1, rel=1e-3)


def test_metres_that_are_a_quarter_short_are_a_quarter_off_as_metres_and_perfect_after_a_fit(tmp_path):
    made = sequence([sample(slope(), depth_m=255 / slope().astype(np.float32) / 0.75)], is_video=False)
    result = scored(made, tmp_path)
    assert result.metrics['metric_absrel'] == pytest.approx(0.25, rel=1e-3) and result.metrics['absrel'] < 1e-5
    assert 'video_absrel' not in result.metrics and 'factor_variation' not in result.metrics


def test_depth_beyond_the_reach_of_the_set_is_not_scored(tmp_path):
    truth = 255 / slope().astype(np.float32)
    truth[:5] = 30.0    # wrong, far away
    near = scored(sequence([sample(slope(), depth_m=truth)], far_m=10.0), tmp_path)
    far = scored(sequence([sample(slope(), depth_m=truth)], far_m=80.0), tmp_path)
    assert near.metrics['absrel'] < 1e-5 < 0.05 < far.metrics['absrel']


def test_pictures_that_stand_alone_do_not_know_of_each_other_and_frames_of_a_video_do(tmp_path):
    poses = [turned(10 * n) for n in range(3)]
    samples = [sample(slope(), n, T_world_cam=np.eye(4)) for n in range(3)]
    for is_video, expected in ((True, [0, 10, 20]), (False, [0, 0, 0])):
        said = predict(stream(poses=poses), sequence(samples, is_video=is_video), tmp_path).said
        angles = [np.degrees(np.arctan2(each.T_world_cam[0, 2], each.T_world_cam[0, 0])) for each in said]
        assert angles == pytest.approx(expected)


def test_a_network_that_sees_windows_scores_every_frame_in_order(tmp_path):
    samples = [sample(slope(64, 200 + 5 * n), n) for n in range(7)]
    network = stream(spec=WindowSpec(length=4, keyframes=(3,), anchors=1))
    result = score(predict(network, sequence(samples), tmp_path), 'windows')
    assert [frame.stamp_ns for frame in result.frames] == [each.stamp_ns for each in samples]
    assert result.metrics['absrel'] < 1e-3


def test_half_a_degree_too_much_turn_per_frame_is_the_rotation_error(tmp_path):
    samples = [sample(slope(), n, T_world_cam=turned(n)) for n in range(6)]
    result = scored(sequence(samples), tmp_path, poses=[turned(1.5 * n) for n in range(6)])
    assert result.metrics['rotation_error_deg_median'] == pytest.approx(0.5)
    assert result.metrics['rotation_deg_median'] == pytest.approx(1.0)
    assert 'ate_m' not in result.metrics and 'no translation is predicted' in result.notes[0]


def test_a_path_that_is_right_but_for_its_scale_has_no_trajectory_error(tmp_path):
    pytest.importorskip('evo')
    path = [turned(5 * n, x_m=0.1 * n) for n in range(8)]
    path = [replace_y(T, 0.02 * n * n) for n, T in enumerate(path)]
    half = [scaled(T, 0.5) for T in path]
    samples = [sample(slope(), n, T_world_cam=T) for n, T in enumerate(path)]
    result = scored(sequence(samples), tmp_path, poses=half, quantity=Quantity.DISPARITY_AFFINE)
    assert result.metrics['ate_m'] < 1e-6 and result.metrics['rpe_m'] < 1e-6 and not result.notes


def replace_y(T, y_m):
    T[1, 3] = y_m
    return T


def scaled(T, factor):
    T = T.copy()
    T[:3, 3] *= factor
    return T


def test_depth_of_a_rendered_room_moves_with_the_camera(tmp_path):
    from depth_ros.training.synthetic import room_sequence

    samples = []
    for _, depth_m, T_world_cam, K, stamp_ns in room_sequence(3, H, W):
        grey = np.clip(255 / depth_m, 1, 255).round()    # the true depth is the one that the grey stands for
        camera = Camera(H, W, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        samples.append(replace(sample(grey, depth_m=255 / grey, T_world_cam=T_world_cam, camera=camera), stamp_ns=stamp_ns))
    result = scored(sequence(samples), tmp_path)
    assert result.metrics['tae'] < 0.02 and np.isnan(result.frames[0].tae)
    assert result.metrics['boundary_f1'] > 0.99
    worse = [replace(each, T_world_cam=turned(0, x_m=0.3 * n)) for n, each in enumerate(samples)]
    assert scored(sequence(worse), tmp_path).metrics['tae'] > 2 * result.metrics['tae']


def test_the_noise_of_a_still_camera_is_that_of_its_pixels():
    grey = np.tile(np.linspace(60, 200, W).round(), (H, 1))
    low, high = np.percentile(grey, (5, 95))
    made = sequence([sample(grey)])
    measured = still_noise(stream(), made)
    # One channel is read. Twelve values show a standard deviation that is about 6 % short of the true one.
    assert measured == pytest.approx(0.94 * STILL_NOISE_GREY / (high - low), rel=0.05)
    assert measured == still_noise(stream(), made)


def test_what_is_shown_is_what_was_scored(tmp_path):
    truth = [255 / slope().astype(np.float32) * factor for factor in (1.0, 1.1, 1.0)]
    made = sequence([sample(slope(), n, depth_m=depth_m) for n, depth_m in enumerate(truth)])
    predicted = predict(stream(quantity=Quantity.DISPARITY_AFFINE), made, tmp_path)
    result = score(predicted, 'grey')
    shown = list(looks(predicted, [2, 1]))
    assert [look.index for look in shown] == [1, 2]
    for look in shown:
        off = np.abs(look.depth_m / look.sample.depth_m - 1).mean()
        assert off == pytest.approx(result.frames[look.index].video_absrel, rel=1e-3)


def test_a_set_with_nothing_to_score_is_refused_with_the_remedy(tmp_path):
    bare = replace(sequence([sample(slope())]), has_depth=False, has_poses=False)
    with pytest.raises(InputError, match='neither depth nor poses.*add'):
        predict(stream(), bare, tmp_path)
    with pytest.raises(InputError, match='made: there is no pixel to score.*depth_scale'):
        scored(sequence([sample(slope(), depth_m=np.full((H, W), 100.0))]), tmp_path)


def test_a_path_in_metres_is_scored_as_it_came_and_with_one_scale(tmp_path):
    pytest.importorskip('evo')
    path = [replace_y(turned(5 * n, x_m=0.1 * n), 0.02 * n * n) for n in range(8)]
    samples = [sample(slope(), n, T_world_cam=T) for n, T in enumerate(path)]
    result = scored(sequence(samples), tmp_path, poses=[scaled(T, 0.8) for T in path])    # of a network that gives metres
    assert result.metrics['trajectory_scale'] == pytest.approx(1.25) and result.metrics['ate_m'] < 1e-6
    assert result.metrics['trajectory_length'] == pytest.approx(0.8)
    assert result.metrics['metric_ate_m'] > 0.02 and result.metrics['metric_rpe_m'] > 0.02
    assert result.notes == ('made: the path in metres is 7 of 8 frames long',)


@pytest.mark.parametrize('segments, run', [
    ([0, 0, 0], range(3)), ([None, 0, 0], range(1, 3)), ([0, 0, None, 0, 0, 0, None], range(3, 6)),
    ([0, 1, 1, 1], range(1, 4)), ([None, None], range(0)), ([], range(0))])
def test_the_longest_stretch_of_a_path_is_scored(segments, run):
    assert _longest_run(segments) == run
