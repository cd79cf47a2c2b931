"""The renderer tells the truth: known walls, known poses, known bytes."""

import hashlib
import itertools

import cv2
import numpy as np
import pytest

from depth_ros.training import synthetic
from depth_ros.training.synthetic import BALL, BOX, SHELL, TUBE, Scene, Solid

K = synthetic.make_K(96, 72, 60.0)


def world_of(*solids):
    scene = Scene('room', synthetic.default_bank(64), np.array([[-9.0, -9, -9], [9, 9, 9]]), list(solids))
    scene.lights = [(np.array([0.0, 0, 3]), np.ones(3))]
    return scene


def forward():
    """A camera in the origin that looks along +x of the world."""
    return synthetic.look(np.zeros(3), 0.0, 0.0)


def test_look_has_optical_axes():
    T_world_cam = forward()
    np.testing.assert_allclose(T_world_cam[:3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-12)  # forward
    np.testing.assert_allclose(T_world_cam[:3, :3] @ [1, 0, 0], [0, -1, 0], atol=1e-12)  # right
    np.testing.assert_allclose(T_world_cam[:3, :3] @ [0, 1, 0], [0, 0, -1], atol=1e-12)  # down


def test_a_wall_two_metres_away_is_two_metres_away_in_every_pixel():
    wall = Solid(BOX, np.array([2.5, 0, 0]), np.array([0.5, 9, 9]))
    _, depth_m = synthetic.render(world_of(wall), forward(), K, 72, 96)
    np.testing.assert_allclose(depth_m, 2.0, rtol=1e-6)


def test_the_inside_of_a_shell_is_its_far_wall():
    room = Solid(SHELL, np.zeros(3), np.array([3.0, 9, 9]), textures=(0, 1, 2, 3, 4, 5))
    _, depth_m = synthetic.render(world_of(room), forward(), K, 72, 96)
    np.testing.assert_allclose(depth_m[36, 48], 3.0, rtol=1e-6)


def test_a_ball_and_a_tube_are_nearest_in_their_middle_and_round():
    v, u = np.mgrid[:72, :96]
    x = (u - K[0, 2]) / K[0, 0]
    y = (v - K[1, 2]) / K[1, 1]
    ball = Solid(BALL, np.array([3.0, 0, 0]), np.full(3, 0.5))
    _, depth_m = synthetic.render(world_of(ball), forward(), K, 72, 96)
    a = 1 + x**2 + y**2  # |z (x, y, 1) - (0, 0, 3)| = 0.5
    expected = (3 - np.sqrt(np.maximum(9 - a * 8.75, 0))) / a
    hit = 9 - a * 8.75 > 1e-3
    np.testing.assert_allclose(depth_m[hit], expected[hit], rtol=1e-4)
    assert np.isinf(depth_m[9 - a * 8.75 < -1e-3]).all()

    tube = Solid(TUBE, np.array([3.0, 0, 0]), np.array([0.5, 0.5, 0.4]))
    _, depth_m = synthetic.render(world_of(tube), forward(), K, 72, 96)
    np.testing.assert_allclose(depth_m[36, 47:49], 2.5, rtol=1e-3)
    assert np.isinf(depth_m[0]).all()  # above its cap


def test_a_pixel_unprojected_with_its_depth_lies_on_the_solid_it_sees():
    scene = synthetic.make_scene(4, 'room', synthetic.texture_bank(1, size=64, each=2))
    T_world_cam = synthetic.make_path(scene, 1, 1)[0]
    v, u = (a.ravel() for a in np.mgrid[:72, :96].astype(np.float32))
    depth_m, seen = synthetic.trace(scene, T_world_cam, K, u, v)
    assert (seen >= 0).all()
    points = (np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]) * depth_m).T @ T_world_cam[:3, :3].T + T_world_cam[
        :3, 3
    ]
    for number in np.unique(seen):
        solid = scene.solids[number]
        local = np.abs((points[seen == number] - solid.centre) @ solid.R) / solid.half
        outermost = {
            BALL: np.linalg.norm(local, axis=1),
            TUBE: np.maximum(np.hypot(local[:, 0], local[:, 1]), local[:, 2]),
        }.get(solid.shape, local.max(1))
        assert np.abs((outermost - 1) * solid.half.min()).max() < 2e-3


@pytest.mark.parametrize('kind', synthetic.KINDS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind):
    def picture(seed):
        scene = synthetic.make_scene(seed, kind, synthetic.texture_bank(0, size=64, each=2))
        rgb, depth_m = synthetic.render(scene, synthetic.make_path(scene, seed, 2)[1], K, 72, 96)
        assert rgb.shape == (72, 96, 3) and rgb.dtype == np.uint8 and depth_m.dtype == np.float32
        assert (depth_m > synthetic.NEAR_M).all()
        return hashlib.sha256(rgb.tobytes() + depth_m.tobytes()).digest()

    assert picture(3) == picture(3)
    assert picture(3) != picture(4)


def test_the_next_frame_warped_by_depth_and_pose_looks_like_this_one():
    frames = list(itertools.islice(synthetic.room_sequence(8, height=120, width=160), 6))
    (rgb_a, depth_m, T_world_a, K_cam, stamp_a), (rgb_b, depth_b, T_world_b, _, stamp_b) = frames[0], frames[5]
    assert (stamp_a, stamp_b) == (0, 166666667)
    T_b_a = np.linalg.inv(T_world_b) @ T_world_a
    v, u = np.mgrid[:120, :160]
    p = np.linalg.inv(K_cam) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1) * depth_m.ravel()
    q = K_cam @ (T_b_a[:3, :3] @ p + T_b_a[:3, 3:])
    at = [(q[i] / q[2]).reshape(120, 160).astype(np.float32) for i in (0, 1)]
    warped = cv2.remap(rgb_b, *at, cv2.INTER_LINEAR, borderValue=0).astype(float)
    there = cv2.remap(depth_b, *at, cv2.INTER_NEAREST, borderValue=-1)
    visible = np.abs(there - q[2].reshape(120, 160)) < 0.05  # inside, not occluded
    assert visible.mean() > 0.8
    error = np.abs(warped - rgb_a).mean(-1)[visible].mean()
    assert error < 3.5
    assert error < 0.5 * np.abs(rgb_b.astype(float) - rgb_a).mean(-1)[visible].mean()


def test_paths_are_smooth_and_stay_out_of_the_furniture():
    bank = synthetic.texture_bank(0, size=16, each=1)
    for seed in range(4):
        scene = synthetic.make_scene(seed, 'room', bank)
        path = synthetic.make_path(scene, seed, 30)
        assert path.shape == (30, 4, 4) and path.dtype == np.float64
        np.testing.assert_allclose(
            path[:, :3, :3] @ path[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (30, 1, 1)), atol=1e-9
        )
        assert np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).max() < 0.15  # 4.5 m/s at 30 Hz
        assert synthetic.clearance(scene, path[:, :3, 3]) > 0.1


def test_a_moving_solid_moves_with_time():
    ball = Solid(BALL, np.array([3.0, 0, 0]), np.full(3, 0.5), velocity=np.array([1.0, 0, 0]))
    middle = [synthetic.render(world_of(ball), forward(), K, 72, 96, time_s=t)[1][36, 48] for t in (0.0, 2.0)]
    np.testing.assert_allclose(np.diff(middle), 2.0, atol=2e-3)


def test_a_perfect_sensor_changes_nothing_and_a_poor_one_repeats_by_seed():
    rgb = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    np.testing.assert_array_equal(synthetic.expose(rgb, synthetic.Sensor(), 0, np.random.default_rng(0)), rgb)
    poor = synthetic.Sensor(noise=4, shot=4, blur_px=0.6, drift=0.1, vignette=0.3, jpeg=60)
    first, again = (synthetic.expose(rgb, poor, 3, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != rgb).any()


def test_an_unknown_kind_of_scene_names_the_known_ones():
    with pytest.raises(ValueError, match='room, corridor, street, terrain'):
        synthetic.make_scene(0, 'castle')
