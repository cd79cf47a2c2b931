"""The renderer tells the truth: known walls, known poses, known bytes."""

import hashlib
import itertools

import cv2
import numpy as np
import pytest

from depth_ros.training import synthetic
from depth_ros.training.synthetic import BALL, BOX, CONE, SHELL, TUBE, Scene, Solid
from depth_ros.training.synthetic.builder import Builder, smooth_curve
from depth_ros.training.synthetic.patterns import PATTERNS, cloud, make_texture

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


def test_a_cut_cone_has_its_radius_at_every_height():
    cone = Solid(CONE, np.array([3.0, 0, 0]), np.array([0.5, 0.5, 0.4]), taper=0.5)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[:72, :96])
    depth_m, seen = synthetic.trace(world_of(cone), forward(), K, u, v)
    points = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]) * depth_m  # right, down, forward
    x, y, z = points[2, seen == 0] - 3, points[0, seen == 0], -points[1, seen == 0]
    np.testing.assert_allclose(np.hypot(x, y), 0.375 - 0.3125 * z, atol=2e-3)  # 0.5 at z = -0.4, 0.25 at z = 0.4
    assert z.min() < -0.3 and z.max() > 0.3


def test_a_cone_seen_from_above_is_its_top_its_flank_and_no_more():
    cone = Solid(CONE, np.zeros(3), np.array([0.5, 0.5, 0.5]), taper=0.4)
    above = synthetic.look(np.array([0, 0, 2.5]), 0.0, -np.pi / 2 + 1e-7)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[:72, :96])
    depth_m, seen = synthetic.trace(world_of(cone), above, K, u, v)
    slope = np.hypot((u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1])
    np.testing.assert_allclose(depth_m[slope < 0.0999], 2.0, rtol=1e-5)  # the top, radius 0.2 at 2 m
    flank = (slope > 0.1001) & (slope < 0.1665)  # until the bottom's rim, radius 0.5 at 3 m
    # the radius grows by 0.3 per metre: slope * z = 0.2 + 0.3 (z - 2)
    np.testing.assert_allclose(depth_m[flank], 0.4 / (0.3 - slope[flank]), rtol=1e-4)
    assert (seen[slope > 0.1668] == -1).all()


def test_a_turned_vase_has_the_profile_it_was_given():
    scene = world_of()
    profile = [(0.0, 0.2), (0.3, 0.4), (0.8, 0.1)]
    Builder(scene, np.random.default_rng(0)).place(3, 0, -0.4).revolve(profile)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[:72, :96])
    depth_m, seen = synthetic.trace(scene, forward(), K, u, v)
    points = np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]) * depth_m
    x, y, z = points[2, seen >= 0] - 3, points[0, seen >= 0], 0.4 - points[1, seen >= 0]
    flank = (z > 0.01) & (z < 0.79)
    np.testing.assert_allclose(np.hypot(x, y)[flank], np.interp(z[flank], *zip(*profile, strict=True)), atol=2e-3)


def test_a_swept_wire_passes_through_its_points_without_gaps():
    points = np.array([[3.0, 0.5, 0], [3, 0.2, 0.4], [3, -0.3, 0.2], [3, -0.5, -0.3]])
    scene = world_of()
    Builder(scene, np.random.default_rng(0)).sweep(points, 0.03, 4)
    curve = smooth_curve(points, 4)
    np.testing.assert_allclose(curve[::4], points, atol=1e-12)
    fine = np.concatenate([a + (b - a) * np.linspace(0, 1, 9)[:, None] for a, b in itertools.pairwise(curve)])
    p = K @ np.stack([-fine[:, 1], -fine[:, 2], fine[:, 0]])
    depth_m, seen = synthetic.trace(scene, forward(), K, *(p[:2] / p[2]).astype(np.float32))
    assert (seen >= 0).all()
    assert (depth_m > 2.95).all() and (depth_m < 2.98).all()  # at most its radius before the axis


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
        height = ((points[seen == number] - solid.centre) @ solid.R / solid.half)[:, 2]
        round_ = np.hypot(local[:, 0], local[:, 1]) + (1 - solid.taper) * (1 + height) / 2
        outermost = {
            BALL: np.linalg.norm(local, axis=1),
            TUBE: np.maximum(round_, local[:, 2]),
            CONE: np.maximum(round_, local[:, 2]),
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


def test_the_highlight_of_a_lacquered_wall_is_where_it_mirrors_the_lamp():
    wall = Solid(BOX, np.array([2.5, 0, 0]), np.array([0.5, 9, 9]))
    dull, shiny = world_of(wall), world_of(Solid(BOX, wall.centre, wall.half, gloss=0.5))
    for scene in (dull, shiny):
        scene.lights = [(np.zeros(3), np.full(3, 0.5))]  # a lamp at the camera is mirrored straight ahead
    extra = np.subtract(*(synthetic.render(s, forward(), K, 72, 96)[0].astype(float).mean(-1) for s in (shiny, dull)))
    assert extra[36, 48] > 20
    np.testing.assert_allclose(extra[[0, 0, -1, -1], [0, -1, 0, -1]], 0, atol=1)


def test_flow_of_a_wall_before_a_camera_that_steps_aside_is_focal_length_times_step_over_depth():
    wall = Solid(BOX, np.array([2.5, 0, 0]), np.array([0.5, 9, 9]))
    stepped = synthetic.look(np.array([0, -0.1, 0]), 0.0, 0.0)  # 0.1 m to the right
    flow, visible = synthetic.optical_flow(world_of(wall), forward(), stepped, K, 72, 96)
    np.testing.assert_allclose(flow[..., 0], -K[0, 0] * 0.1 / 2.0, atol=1e-4)
    np.testing.assert_allclose(flow[..., 1], 0, atol=1e-4)
    assert visible[:, 6:].all() and not visible[:, :3].any()  # 4.2 px leave on the left


def test_flow_of_a_turning_camera_knows_no_depth_and_holds_for_the_sky():
    scene = world_of(Solid(BALL, np.array([3.0, 0.4, 0]), np.full(3, 0.5)))
    turned = synthetic.look(np.zeros(3), np.radians(3), np.radians(-2))
    flow, visible = synthetic.optical_flow(scene, forward(), turned, K, 72, 96)
    v, u = np.mgrid[:72, :96]
    p = K @ turned[:3, :3].T @ forward()[:3, :3] @ np.linalg.inv(K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    np.testing.assert_allclose(flow, ((p[:2] / p[2]).T - np.stack([u, v], -1).reshape(-1, 2)).reshape(72, 96, 2), atol=1e-3)
    assert visible[10:60, 10:85].mean() > 0.98


def test_flow_of_a_moving_box_before_a_still_camera_is_its_own_and_it_covers_the_wall():
    wall = Solid(BOX, np.array([5.0, 0, 0]), np.array([0.5, 9, 9]))
    box = Solid(BOX, np.array([2.5, 0, 0]), np.array([0.5, 0.3, 0.3]), velocity=np.array([0, -0.5, 0]))  # to the right
    flow, visible = synthetic.optical_flow(world_of(wall, box), forward(), forward(), K, 72, 96, 0.0, 0.2)
    np.testing.assert_allclose(flow[36, 48], [K[0, 0] * 0.1 / 2.0, 0], atol=1e-4)  # 0.1 m at 2 m
    np.testing.assert_allclose(flow[5, 5], 0, atol=1e-4)
    edge = round(K[0, 2] + K[0, 0] * 0.3 / 2.0)  # of the box, on the right
    assert visible[36, 48] and not visible[36, edge + 2] and visible[36, edge + 7]


def test_flow_finds_the_same_colours_in_the_next_frame():
    scene = synthetic.make_scene(1, 'room', synthetic.texture_bank(1, size=64, each=2))
    a, b = synthetic.make_path(scene, 1, 4)[[0, 3]]
    flow, visible = synthetic.optical_flow(scene, a, b, K, 72, 96)
    first, then = (synthetic.render(scene, T, K, 72, 96)[0].astype(np.float32) for T in (a, b))
    v, u = np.mgrid[:72, :96].astype(np.float32)
    warped = cv2.remap(then, u + flow[..., 0], v + flow[..., 1], cv2.INTER_LINEAR)
    assert visible.mean() > 0.7
    assert np.median(np.abs(warped - first)[visible]) < 4


def measured_slope(picture):
    """The exponent s of amplitude ~ frequency**-s, from the rings between 4 and size / 4 cycles."""
    size = len(picture)
    amplitude = np.abs(np.fft.fft2(picture - picture.mean()))
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size) * size, np.fft.fftfreq(size) * size))
    rings = np.arange(4, size // 4)
    means = [amplitude[(f >= r - 0.5) & (f < r + 0.5)].mean() for r in rings]
    return -np.polyfit(np.log(rings), np.log(means), 1)[0]


def test_noise_has_the_spectrum_it_was_asked_for_and_textures_differ_in_it():
    for slope in (0.5, 1.0, 1.8):
        np.testing.assert_allclose(measured_slope(cloud(np.random.default_rng(3), 128, slope)), slope, atol=0.08)
    slopes = [measured_slope(make_texture(np.random.default_rng(i), 128, 'noise').mean(-1)) for i in range(12)]
    assert np.ptp(slopes) > 0.4 and 0.5 < np.median(slopes) < 2


def test_bare_paint_is_nearly_even_and_print_is_dark_on_light_or_light_on_dark():
    for i in range(4):
        plain = make_texture(np.random.default_rng(i), 128, 'plain').astype(float)
        assert plain.std() < 0.06 * plain.mean()
        text = make_texture(np.random.default_rng(i), 128, 'text').astype(float)
        assert text.std() > 0.15 * text.mean()
    assert set(PATTERNS) <= set(synthetic.default_bank(64).groups)


def test_a_hand_held_camera_often_looks_at_what_lies_near():
    bank = synthetic.texture_bank(0, size=16, each=1)
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[4:72:16, 4:96:16])
    near = []
    for seed in range(8):
        scene = synthetic.make_scene(seed, 'room', bank)
        T_world_cam = synthetic.make_path(scene, seed, 1, motion='hand')[0]
        near.append(np.median(synthetic.trace(scene, T_world_cam, K, u, v)[0]))
    assert np.median(near) < 2.5 and min(near) > 0.3
