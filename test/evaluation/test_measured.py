"""Sensors made from the truth bring metres, in the made world and in a real kitchen."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from depth_ros import open_stream
from depth_ros.core.camera import Camera
from depth_ros.core.frame import Quantity
from depth_ros.evaluation.datasets import open_datasets
from depth_ros.evaluation.measured import RangeSensor, made
from depth_ros.evaluation.metrics import absrel, scored
from depth_ros.evaluation.protocols import to_metric_depth
from depth_ros.evaluation.score import predict, score
from depth_ros.settings import MetricSettings, build
from test.evaluation.made import H, W, sample, sequence, slope, stream, turned

CAMERA = Camera(H, W, 50, 50, 31.5, 23.5)
RANGE = MetricSettings(source='range')


def test_a_sensor_measures_true_points_and_the_wanted_share_of_wrong_ones_at_its_rate():
    samples = [sample(slope(), number, camera=CAMERA) for number in range(30)]    # 30 Hz
    measure = made(RANGE, RangeSensor(points=50, outliers=0.2, rate_hz=10.0))
    scans = [measure(each) for each in samples]
    assert [len(scan) for scan in scans[:7]] == [1, 0, 0, 0, 1, 0, 0] and sum(map(len, scans)) == 10
    points = scans[0][0].points_m
    u, v = (np.rint(points[:, i] / points[:, 2] * 50 + c).astype(int) for i, c in ((0, 31.5), (1, 23.5)))
    right = np.isclose(points[:, 2], samples[0].depth_m[v, u], rtol=1e-5)
    assert len(points) == 50 and right.sum() == 40


def test_odometry_is_the_true_pose_and_nothing_is_measured_without_a_source():
    picture = sample(slope(), T_world_cam=turned(5, 1.0), camera=CAMERA)
    assert np.array_equal(made(MetricSettings(source='odometry'), RangeSensor())(picture)[0].T_odom_cam, turned(5, 1.0))
    assert made(MetricSettings(), RangeSensor())(picture) == ()


def test_a_relative_network_with_a_range_sensor_is_scored_in_metres(tmp_path):
    depth_m = 510 / slope().astype(np.float32)
    video = sequence([sample(slope(), number, depth_m=depth_m, camera=CAMERA) for number in range(6)])
    network = stream(Quantity.DISPARITY_AFFINE, settings=build({'metric.source': 'range'}))
    result = score(predict(network, video, tmp_path), 'grey')
    assert result.metrics['metric_absrel'] < 5e-3 and result.metrics['metric_share'] == pytest.approx(5 / 6)
    assert result.metrics['metric_first'] == 1
    assert [frame.metric_scale for frame in result.frames[1:]] == pytest.approx([0.5] * 5, rel=0.01)


@pytest.mark.parametrize(('sensor', 'first'), [(RangeSensor(200, 0.1), 1), (RangeSensor(50, 0.1, 5.0), 6)])
def test_a_sparse_sensor_with_outliers_gives_a_real_kitchen_metres_as_good_as_a_fit_to_the_truth(
        shared, tmp_path, sensor, first):
    kitchen = open_datasets(shared / 'data' / 'redkitchen')[0]
    some = list(islice(kitchen.samples(), 40))
    made_of = replace(kitchen, count=len(some), samples=lambda: iter(some))
    predicted = predict(open_stream(threads=1, metric__source='range'), made_of, tmp_path, sensor=sensor)
    assert [said.is_metric for said in predicted.said] == [number >= first for number in range(len(some))]
    errors = []
    for index in range(first, len(some)):
        truth_m, anchor = some[index].depth_m, predicted.said[index].anchor
        valid = scored(truth_m, truth_m, far_m=kitchen.far_m)
        metres = to_metric_depth(predicted.map(index), anchor.scale, anchor.shift, predicted.quantity, kitchen.far_m)
        errors.append([absrel(depth_m, truth_m, valid) for depth_m in (metres, predicted.alone(index, truth_m))])
    in_metres, alone = np.mean(errors, axis=0)
    assert in_metres < 1.1 * alone
    scales = np.array([said.anchor.scale for said in predicted.said[first:]])
    assert np.max(np.abs(np.diff(scales) / scales[:-1])) < 0.03
