"""Clouds are where the depth says, without points that hang in the air."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera, rays
from depth_ros.core.cloud import find_flying, make_cloud, parse_region, thin, unpack_colour
from depth_ros.errors import SettingsError
from depth_ros.settings import CloudSettings, build

CAMERA = Camera(40, 60, 50, 50, 30, 20)
RGB = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
WALL = np.full((40, 60), 2.0, np.float32)


def cloud(depth_m, confidence=None, **settings):
    return make_cloud(depth_m, RGB, CAMERA, CloudSettings(**settings), confidence)


def smeared(width_px, near_m=1.0, far_m=4.0):
    """Return a box before a wall, (480, 640) m, whose edge at u = 320 is smeared over so many pixels of inverse depth."""
    share = np.clip((np.arange(640) - 320.5) / width_px + 0.5, 0, 1)
    return (1 / (1 / near_m + share * (1 / far_m - 1 / near_m))).astype(np.float32) * np.ones((480, 1), np.float32)


def test_a_wall_two_metres_away_becomes_a_plane_at_z_two():
    points = cloud(WALL)
    assert np.all(points[..., 2] == 2) and np.array_equal(unpack_colour(points), RGB)
    assert points[20, 30, :3] == pytest.approx((0, 0, 2)) and points[10, 55, :3] == pytest.approx((1.0, -0.4, 2))


def test_points_out_of_range_and_invalid_depth_are_holes():
    depth_m = np.full((40, 60), 5.0, np.float32)
    depth_m[0], depth_m[1], depth_m[2], depth_m[3] = np.nan, 0.05, 30, np.inf
    points = cloud(depth_m, edge_ratio=0.0)
    assert np.isnan(points[:4, :, :3]).all() and np.isfinite(points[4:, :, :3]).all()


def test_a_map_without_any_depth_gives_a_cloud_without_points():
    for depth_m in (np.full((40, 60), np.nan, np.float32), np.zeros((40, 60), np.float32)):
        assert np.isnan(cloud(depth_m)[..., :3]).all()
        assert cloud(depth_m, organised=False).shape == (0, 4) == cloud(depth_m, voxel_m=0.1).shape


def test_a_stride_takes_every_nth_pixel_with_its_own_ray():
    full, thinned = cloud(WALL), cloud(WALL, stride_px=4)
    assert np.array_equal(thinned, full[::4, ::4], equal_nan=True)
    assert cloud(WALL, stride_px=32).shape == (2, 2, 4)


@pytest.mark.parametrize('edge_px', [0, 256])
def test_pictures_of_one_row_or_one_column_have_clouds(edge_px):
    for height, width in ((1, 60), (40, 1), (1, 1)):
        camera, rgb = Camera(height, width, 50, 50, 0, 0), np.zeros((height, width, 3), np.uint8)
        points = make_cloud(np.ones((height, width), np.float32), rgb, camera, CloudSettings(edge_px=edge_px))
        assert np.isfinite(points[..., :3]).all()


# --- flying points


@pytest.mark.parametrize('width_px', [3, 5, 10, 14])
def test_of_a_smeared_edge_nothing_stays_that_hangs_between_the_surfaces(width_px):
    depth_m = smeared(width_px)
    flying = find_flying(depth_m, 0.05)[10:-10]
    off = (depth_m > 1.25) & (depth_m < 2.5)    # far from either, in depth and in inverse depth
    assert flying[off[10:-10]].all()
    assert not flying[:, :320 - width_px // 2 - 5].any() and not flying[:, 320 + width_px // 2 + 5:].any()


def test_an_edge_smeared_into_the_sky_flies_and_the_sky_does_not():
    depth_m = smeared(8, far_m=1e9)
    depth_m[depth_m > 100] = np.inf    # as the metric layer tells the sky
    flying = find_flying(depth_m, 0.05)
    assert flying[(depth_m > 1.25) & (depth_m < 4)].all() and not flying[np.isinf(depth_m)].any()


def test_what_flies_does_not_depend_on_which_side_is_near_and_on_which_axis_the_edge_lies():
    depth_m = smeared(8)[:, 80:-80]
    flying = find_flying(depth_m, 0.05)
    assert flying.any() and np.array_equal(find_flying(np.ascontiguousarray(depth_m.T), 0.05), flying.T)
    mirrored = find_flying(np.ascontiguousarray(depth_m[:, ::-1]), 0.05)
    assert abs(int(mirrored.sum()) - int(flying.sum())) <= 2 * 480    # coarse grids see pixels in pairs


def test_a_true_edge_loses_nothing():
    assert not find_flying(smeared(1e-6), 0.05).any()


def test_a_floor_loses_nothing_up_to_the_horizon_and_where_it_meets_the_wall():
    v = np.arange(480, dtype=np.float32)[:, None] * np.ones((1, 640), np.float32)
    floor = 0.3 * 500 / np.maximum(v - 200, 1e-3)    # 0.3 m below a camera of f = 500 px whose horizon is row 200
    for far_m in (8.0, 1000.0):
        assert not find_flying(np.minimum(floor, far_m), 0.05).any()


def test_a_thin_pole_before_two_walls_stays():
    depth_m = np.full((480, 640), 4.0, np.float32)
    depth_m[:, 303:], depth_m[:, 300:303] = 1.25, 1.0
    assert not find_flying(depth_m, 0.05)[:, 300:303].any()


def test_beside_a_hole_nothing_flies():
    depth_m = np.full((480, 640), 2.0, np.float32)
    depth_m[200:220, 300:340] = np.nan
    assert not find_flying(depth_m, 0.05).any()


def test_a_flying_point_can_be_put_on_the_nearer_or_the_farther_surface():
    rgb, camera = np.zeros((480, 640, 3), np.uint8), Camera(480, 640, 500, 500, 320, 240)
    for edges, surface_m in (('near', 1.0), ('far', 4.0)):
        z = make_cloud(smeared(8), rgb, camera, CloudSettings(edges=edges))[..., 2]
        assert np.isfinite(z).all() and z[240, 320] == surface_m


@pytest.mark.parametrize('far', ['nan', 'inf', 'cap'])
@pytest.mark.parametrize('parts', [{'edges': 'far', 'max_depth_m': 3.0}, {'edges': 'near', 'min_depth_m': 1.1}])
def test_a_flying_point_whose_surface_is_out_of_range_is_dropped(far, parts):
    depth_m = smeared(8)
    z = make_cloud(depth_m, np.zeros((480, 640, 3), np.uint8), Camera(480, 640, 500, 500, 320, 240),
                   CloudSettings(far=far, **parts))[..., 2]
    assert np.isnan(z[240, 320])


def test_no_confidence_no_point():
    confidence = np.ones((40, 60), np.float32)
    confidence[:20], confidence[20], confidence[21] = 0.4, np.nan, 0.5
    kept = np.isfinite(cloud(WALL, confidence, min_confidence=0.5)[..., 2])
    assert not kept[:21].any() and kept[21:].all()
    assert np.isfinite(cloud(WALL, min_confidence=0.5)[..., 2]).all()    # of a family that says none


# --- what is far, what is taken, what is told


@pytest.mark.parametrize('far, z', [('nan', np.nan), ('inf', np.inf), ('cap', 20.0)])
def test_what_is_too_far_and_only_that_is_nothing_or_infinite_or_at_the_limit(far, z):
    depth_m = WALL.copy()
    depth_m[0], depth_m[1], depth_m[2], depth_m[3], depth_m[4], depth_m[5] = 30, np.inf, 0.05, -np.inf, np.nan, 20
    points = cloud(depth_m, far=far, edge_ratio=0.0)
    assert np.array_equal(points[:2, :, 2], np.full((2, 60), z), equal_nan=True)
    assert np.isnan(points[2:5, :, :3]).all()    # what is too near or unknown is no free space
    assert np.all(points[5, :, 2] == 20) and np.all(points[6:, :, 2] == 2)
    assert np.isinf(points[:2, :, :3]).all() == (far == 'inf')


def test_capped_points_lie_on_the_rays_of_their_pixels():
    points = cloud(np.full((40, 60), np.inf, np.float32), far='cap', max_depth_m=10.0)
    assert points[20, 55, :3] == pytest.approx((5, 0, 10))


def test_a_cap_that_no_float32_holds_is_a_point_all_the_same():
    assert np.isfinite(cloud(np.full((40, 60), np.inf, np.float32), far='cap', max_depth_m=10.1)[..., :3]).all()


@pytest.mark.parametrize('far', ['nan', 'inf', 'cap'])
def test_a_pixel_beyond_the_reach_of_the_lens_model_has_no_point(far, monkeypatch):
    known = rays(CAMERA).copy()
    known[0] = np.nan
    monkeypatch.setattr('depth_ros.core.cloud.rays', lambda camera: known)
    camera = Camera(40, 60, 50, 50, 30, 20, 'plumb_bob', (0.1, 0.0, 0.0, 0.0))
    depth_m = WALL.copy()
    depth_m[:, :30] = np.inf
    settings = CloudSettings(far=far, edge_ratio=0.0)
    assert np.isnan(make_cloud(depth_m, RGB, camera, settings)[0, :, :3]).all()
    dense = make_cloud(depth_m, RGB, camera, CloudSettings(far=far, edge_ratio=0.0, organised=False))
    assert len(dense) == 39 * (60 if far == 'cap' else 30) and np.isfinite(dense[:, :3]).all()


def test_what_is_too_near_is_not_filled_from_the_past():
    depth_m = WALL.copy()
    depth_m[0], depth_m[1], depth_m[2] = 0.03, -np.inf, np.nan
    points = make_cloud(depth_m, RGB, CAMERA, CloudSettings(edge_ratio=0.0), fuse=lambda z: WALL)
    assert np.isnan(points[:2, :, :3]).all() and np.all(points[2:, :, 2] == 2)


def test_a_region_is_given_in_pixels_or_as_shares():
    assert np.array_equal(cloud(WALL, roi='30,10,60,40'), cloud(WALL)[10:40, 30:60])
    assert np.array_equal(cloud(WALL, roi='0.5,0.25,1,1'), cloud(WALL)[10:40, 30:60])
    assert parse_region('-5,0,1000,20', 40, 60) == (slice(0, 20), slice(0, 60))    # what lies outside is cut off


@pytest.mark.parametrize('roi, reason', [('1,2,3', 'expected four numbers'), ('a,b,c,d', 'expected four numbers'),
                                         ('70,0,90,40', 'no pixel'), ('0.5,0,0.5,1', 'no pixel'), ('9,9,3,3', 'no pixel'),
                                         ('nan,0,1,1', 'no pixel')])
def test_a_region_that_is_none_is_refused_in_a_sentence(roi, reason):
    with pytest.raises(SettingsError, match=reason):
        cloud(WALL, roi=roi)


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(SettingsError, match='min_depth_m=5 is not below cloud.max_depth_m=3'):
        build({'cloud.min_depth_m': 5.0, 'cloud.max_depth_m': 3.0})
    for name in ('cloud.scan.min_range_m', 'metric.min_depth_m', 'metric.range_min_m'):
        with pytest.raises(SettingsError, match=name):
            build({name: 200.0})


def test_a_dense_cloud_has_the_finite_points_in_their_order():
    depth_m = WALL.copy()
    depth_m[::2] = np.nan
    assert np.array_equal(cloud(depth_m, organised=False), cloud(WALL)[1::2].reshape(-1, 4))


def test_one_point_stays_in_each_voxel_the_first_one():
    points = np.array([[0.01, 0, 1], [0.02, 0, 1], [0.11, 0, 1], [-0.01, 0, 1], [0.03, 0, 1]], np.float32)
    assert thin(points, 0.1).tolist() == points[[0, 2, 3]].tolist()
    assert len(cloud(WALL, voxel_m=1e-3)) == 40 * 60                                     # far below the distance of points
    occupied = np.floor(cloud(WALL)[..., :3].reshape(-1, 3) / np.float32(0.25))
    assert len(cloud(WALL, voxel_m=0.25)) == len(np.unique(occupied, axis=0))


def test_cubes_far_apart_are_not_taken_for_one():
    points = np.array([[0, 0, 1025], [0, 1, 1], [1, -2048, 1], [1025, 1, 1], [0, 1025, 1]], np.float32)
    assert len(thin(points, 1.0)) == 5 and len(thin(points - np.float32(0.5), 0.001)) == 5


def test_how_far_to_look_is_a_setting():
    depth_m = smeared(40)
    found = [int(find_flying(depth_m, 0.05, reach_px).sum()) for reach_px in (2, 16)]
    assert found[0] < found[1] / 2 and int(find_flying(depth_m, 0.05).sum()) == int(find_flying(depth_m, 0.05, 8).sum())


def test_the_fourth_value_can_be_the_confidence():
    confidence = np.random.default_rng(0).random((40, 60), np.float32)
    assert np.array_equal(cloud(WALL, confidence, field='confidence')[..., 3], confidence)
    part = cloud(WALL, confidence, field='confidence', roi='30,10,60,40', stride_px=2)[..., 3]
    assert np.array_equal(part, confidence[10:40:2, 30:60:2])
    assert np.isnan(cloud(WALL, field='confidence')[..., 3]).all()
