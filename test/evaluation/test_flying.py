"""What hangs in the air is told from what is wrong."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.evaluation.flying import flying, score_cloud, through_small
from depth_ros.evaluation.metrics import scored
from depth_ros.settings import CloudSettings

CAMERA = Camera(480, 640, 500, 500, 320, 240)
TRUTH = np.where(np.arange(640) < 320, 1.0, 3.0).astype(np.float32) * np.ones((480, 1), np.float32)    # a box, a wall


def smeared():
    depth_m = TRUTH.copy()
    depth_m[:, 316:324] = np.linspace(1.2, 2.8, 8)
    return depth_m


def judge(depth_m, **settings):
    pytest.importorskip('scipy')
    return score_cloud(depth_m, TRUTH, scored(depth_m, TRUTH), CAMERA, CloudSettings(**settings))


def test_a_smeared_edge_flies_and_the_surfaces_do_not():
    found = flying(smeared(), TRUTH, 0.05)
    assert found[:, 158:162].all() and found.sum() == 4 * 240


def test_a_wall_that_is_wrong_as_a_whole_is_off_the_surface_and_does_not_fly():
    assert not flying(TRUTH * np.float32(1.2), TRUTH, 0.05)[:, 160:].any()    # behind everything
    flat = np.full((480, 640), 3, np.float32)
    assert not flying(flat - np.float32(1), flat, 0.05).any()                 # and no edge, nothing flies
    assert judge(TRUTH * np.float32(1.2))['off_5'] == 1
    in_front = TRUTH * np.float32(0.8)
    assert not flying(in_front, TRUTH, 0.05)[:, :160].any()
    assert not flying(TRUTH - np.float32(0.08), TRUTH, 0.05)[:, 160:].any()    # 8 cm of 3 m are less than 5 %


def test_what_is_far_may_be_farther_off():
    wall = np.full((480, 640), 3, np.float32)
    pytest.importorskip('scipy')
    assert score_cloud(wall + np.float32(0.1), wall, scored(wall, wall), CAMERA, CloudSettings())['off_5'] < 0.05


def test_the_filter_takes_what_flies_and_leaves_the_rest():
    known = judge(smeared())
    assert known['flying_5'] == pytest.approx(4 / 320) and known['flying_5_left'] <= known['flying_5'] / 4
    assert known['off_5_left'] < known['off_5'] and known['kept_5'] > 0.98
    assert known['edge_chamfer_left_m'] < known['edge_chamfer_m']
    nothing = judge(smeared(), edge_ratio=10.0)
    assert nothing['flying_5_left'] == nothing['flying_5'] and nothing['kept_5'] == 1


def test_the_truth_through_a_small_network_is_itself_but_for_its_edges():
    through = through_small(TRUTH)
    assert through[:, :310] == pytest.approx(TRUTH[:, :310]) and through[:, 330:] == pytest.approx(TRUTH[:, 330:])
    assert flying(through, TRUTH, 0.05)[:, 155:165].any(axis=1).all()
    truth = TRUTH.copy()
    truth[100, 100], truth[200:240, 200:240] = np.nan, np.nan
    holes = np.isnan(through_small(truth))
    assert not holes[100, 100] and holes[220, 220] and not holes[:, :190].any()


def test_a_truth_without_edges_or_without_depth_has_no_flying_points():
    for truth in (np.full((480, 640), 2, np.float32), np.full((480, 640), np.nan, np.float32)):
        assert not flying(truth + np.float32(1), truth, 0.05).any()
