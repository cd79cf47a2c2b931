"""What the last clouds agree on is there."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.core.fusion import History, _vote

CAMERA = Camera(40, 60, 50, 50, 29.5, 19.5)
WALL = np.full((40, 60), 2.0, np.float32)


def frame(**parts):
    rgb = np.zeros((40, 60, 3), np.uint8)
    return DepthFrame(0, Frame(rgb, 0, CAMERA), WALL, Quantity.DEPTH_METRIC, depth_m=WALL, **parts)


def history(*frames, z=WALL):
    kept = History()
    for depth in frames:
        kept.fuse(z, depth, 5, 20.0)
    return kept


def holed():
    z = WALL.copy()
    z[10:20, 20:30] = np.nan
    return z


def test_a_hole_is_filled_with_what_the_last_clouds_saw_there():
    assert np.all(history(*[frame()] * 3).fuse(holed(), frame(), 5, 20.0) == 2)


def test_a_point_that_none_of_the_last_clouds_saw_is_voted_out_and_comes_back_once_it_stays():
    flicker = WALL.copy()
    flicker[5, 5] = 1.0
    kept = history(*[frame()] * 3)
    assert np.isnan(kept.fuse(flicker, frame(), 3, 20.0)[5, 5])
    for _ in range(3):
        now = kept.fuse(flicker, frame(), 3, 20.0)
    assert now[5, 5] == 1 and np.isfinite(now).all()


def test_a_camera_that_went_ahead_sees_the_wall_nearer():
    ahead = np.eye(4)
    ahead[2, 3] = 0.5
    kept = history(*[frame(T_metric_cam=np.eye(4))] * 3)
    now = kept.fuse(holed() - np.float32(0.5), frame(T_metric_cam=ahead), 5, 20.0)
    assert np.nanmax(np.abs(now - 1.5)) < 1e-6 and np.isfinite(now[10:20, 20:30]).mean() > 0.4    # with gaps: it is nearer


def test_a_camera_that_turned_undoes_the_turn_though_it_has_no_metres():
    angle = 0.2    # about y: what was ahead is 10 px farther left
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    turned = np.eye(4)
    turned[:3, :3] = R
    x = (np.arange(60) - CAMERA.cx) / CAMERA.fx
    wall = (2 / (np.cos(angle) - x * np.sin(angle)) * np.ones((40, 1))).astype(np.float32)    # the same wall at Z = 2
    hole = wall.copy()
    hole[18:22, 20:24] = np.nan
    now = history(*[frame(T_world_cam=np.eye(4))] * 3).fuse(hole, frame(T_world_cam=turned), 5, 20.0)
    filled = now[18:22, 20:24]
    known = np.isfinite(filled)
    assert known.mean() > 0.5 and filled[known] == pytest.approx(wall[18:22, 20:24][known], rel=0.01)


def test_a_translation_without_metres_does_not_count():
    ahead = np.eye(4)
    ahead[2, 3] = 0.5
    assert np.all(history(*[frame()] * 3).fuse(holed(), frame(T_world_cam=ahead), 5, 20.0) == 2)


@pytest.mark.parametrize('parts', [{'segment': 1}, {'anchor': Anchor('locked', scale=1.1)}, {'T_metric_cam': np.eye(4)}])
def test_a_new_segment_or_scale_begins_with_nothing(parts):
    assert np.isnan(history(*[frame()] * 3).fuse(holed(), frame(**parts), 5, 20.0)[15, 25])


def test_another_camera_begins_with_nothing():
    other = frame()
    other = replace(other, frame=replace(other.frame, camera=replace(CAMERA, fx=55)))
    assert np.isnan(history(*[frame()] * 3).fuse(holed(), other, 5, 20.0)[15, 25])


def test_what_most_saw_and_all_that_saw_it_agree_on_fills_and_what_most_deny_goes():
    near = np.float32(1.0)
    for views, z, voted in (((2, 2, 2), np.nan, 2), ((2, 2, np.nan), np.nan, 2), ((2, np.nan, np.nan), np.nan, np.nan),
                            ((2, 2, near), np.nan, np.nan), ((2, 2, np.nan, np.nan), np.nan, np.nan),
                            ((2, 2), near, np.nan), ((2, near), near, near), ((2, np.nan), near, near)):
        seen = [np.full((2, 3), view, np.float32) for view in views]
        now = np.full((2, 3), z, np.float32)
        assert np.array_equal(_vote(now, now, np.stack(seen)), np.full((2, 3), voted), equal_nan=True)


def test_only_so_many_clouds_are_kept_and_two_are_enough():
    kept = history(frame(), frame())
    assert np.all(kept.fuse(holed(), frame(), 2, 20.0) == 2) and len(kept.views) == 2


def test_what_is_behind_the_camera_now_is_not_seen():
    past, turned = np.eye(4), np.diag([-1.0, 1.0, -1.0, 1.0])    # about y, by half a turn
    kept = history(*[frame(T_metric_cam=past)] * 3)
    assert np.array_equal(kept.fuse(holed(), frame(T_metric_cam=turned), 5, 20.0), holed(), equal_nan=True)


def test_what_is_far_is_no_surface_and_maps_without_depth_do_no_harm():
    capped = np.full((40, 60), 20.0, np.float32)
    assert np.all(history(*[frame()] * 3, z=capped).fuse(WALL, frame(), 5, 20.0) == 2)
    nothing = np.full((40, 60), np.nan, np.float32)
    assert np.isnan(history(*[frame()] * 3, z=nothing).fuse(nothing, frame(), 5, 20.0)).all()


@pytest.mark.parametrize('model, D', [('plumb_bob', (-0.2, 0.03, 0.0, 0.0)), ('equidistant', (0.0, 0.0, 0.0, 0.0))])
def test_a_distorted_camera_is_undone(model, D):
    depth = frame()
    depth = replace(depth, frame=replace(depth.frame, camera=replace(CAMERA, distortion_model=model, D=D)))
    assert np.all(history(*[depth] * 3).fuse(holed(), depth, 5, 20.0) == 2)
