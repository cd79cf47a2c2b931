"""A real drive with the shipped network: its path is in metres, whoever says what a metre is."""

import pytest

from depth_ros.evaluation.datasets import open_datasets
from depth_ros.evaluation.score import predict, score
from depth_ros.pipeline import open_stream


@pytest.mark.parametrize('values, limit', [
    ({'metric__source': 'camera_height', 'metric__height_m': 1.65}, 0.1), ({'metric__source': 'odometry'}, 0.05)],
    ids=['height of the camera', 'odometry'])
def test_the_path_of_a_real_drive_is_in_metres(shared, tmp_path, values, limit):
    pytest.importorskip('evo')
    drive, = open_datasets(shared / 'data/kitti_vo')
    metrics = score(predict(open_stream(pose__from_pictures=True, **values), drive, tmp_path), 'lite').metrics
    assert metrics['trajectory_scale'] == pytest.approx(1, abs=limit)
    assert metrics['trajectory_length'] == pytest.approx(1, abs=limit)
    assert metrics['ate_m'] < 0.5 and metrics['metric_ate_m'] < 1.2    # of 52 m
