"""From followed corners: how the camera turned, which way it went, and how near everything is."""

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Frame
from depth_ros.core.two_view import Tracker, TwoView, _rays, two_view, values_at
from test.core.made_room import CAMERA, frame, pose, see

STEPS = {'ahead': pose(z=0.3), 'aside': pose(x=0.2), 'up': pose(y=-0.2), 'back': pose(z=-0.3),
         'ahead in a curve': pose(x=0.05, z=0.3, turn_deg=(1, 4, 0.5)), 'aside, turning': pose(x=-0.2, turn_deg=(-1, 3, 2))}


def views(*poses):
    tracker = Tracker()
    return [tracker.see(frame(see(T)[0], number), CAMERA) for number, T in enumerate(poses)]


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def turn_deg(R):
    return np.degrees(np.linalg.norm(cv2.Rodrigues(R)[0]))


@pytest.mark.parametrize('step', STEPS.values(), ids=STEPS.keys())
def test_a_known_step_is_found_with_its_turn_its_direction_and_the_depth_of_what_is_seen(step):
    view = views(np.eye(4), step)[1]
    assert turn_deg(view.R_key_now.T @ step[:3, :3]) < 0.15
    assert angle_deg(view.direction, step[:3, 3]) < 2
    true = values_at(see(step)[1], view.pixels)
    nearness = view.inverse_depth / np.linalg.norm(step[:3, 3])
    clear = view.parallax_px > 3
    assert clear.sum() > 30 and np.median(np.abs(nearness / true - 1)[clear]) < 0.03


def test_a_camera_that_only_turns_goes_nowhere():
    view = views(np.eye(4), pose(turn_deg=(2, -5, 3)))[1]
    assert view.direction is None and 'only turns' in view.problem
    assert turn_deg(view.R_key_now.T @ pose(turn_deg=(2, -5, 3))[:3, :3]) < 0.1


def test_a_camera_that_stands_sees_no_motion_in_the_noise():
    noise = np.random.default_rng(0)
    rgb = see(np.eye(4))[0]
    tracker = Tracker()
    for number in range(5):
        noisy = np.clip(rgb + noise.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)
        view = tracker.see(frame(noisy, number), CAMERA)
        assert view.direction is None and turn_deg(view.R_key_now) < 0.1


def test_small_steps_add_up_until_they_can_be_seen():
    steps = views(*(pose(x=0.01 * number) for number in range(13)))
    assert steps[1].direction is None and steps[3].direction is None
    assert steps[-1].key_ns == 0 and angle_deg(steps[-1].direction, np.array([1.0, 0, 0])) < 5


def test_a_long_way_has_several_keyframes():
    assert len({view.key_ns for view in views(*(pose(z=0.3 * number) for number in range(8)))}) > 1


def test_a_plain_wall_has_no_corners_to_follow():
    tracker = Tracker()
    plain = np.full((240, 320, 3), 90, np.uint8)
    for number in range(2):
        view = tracker.see(frame(plain, number), CAMERA)
    assert view.R_key_now is None and 'only 0 corners' in view.problem


def geometry(key_rays, now_rays, pixel):
    return two_view(TwoView(0, 1, pixels=np.zeros((len(key_rays), 2))), key_rays, now_rays, pixel)


def cloud(count=200):
    return np.random.default_rng(1).uniform((-3, -2, 2), (3, 2, 9), (count, 3))


def test_nothing_is_said_where_most_of_what_is_seen_moves_by_itself():
    points, random = cloud(), np.random.default_rng(2)
    moved = points - (0, 0, 0.4)
    moved[:130] += random.normal(0, 0.3, (130, 3))
    view = geometry(points[:, :2] / points[:, 2:], moved[:, :2] / moved[:, 2:], 1 / 260)
    assert view.R_key_now is None and 'rigid' in view.problem


def test_a_third_of_the_corners_may_move_by_itself():
    points, random = cloud(), np.random.default_rng(2)
    moved = points - (0.3, 0, 0.1)
    moved[:66] += random.normal(0, 0.3, (66, 3))
    view = geometry(points[:, :2] / points[:, 2:], moved[:, :2] / moved[:, 2:], 1 / 260)
    assert angle_deg(view.direction, np.array([0.3, 0, 0.1])) < 1


def test_the_lens_is_undone():
    points = cloud()
    lens = Camera(480, 640, 300, 300, 319.5, 239.5, 'plumb_bob', (-0.25, 0.06, 0.001, 0.0, 0.0))
    moved = points - (0.3, 0, 0.1)
    seen = [cv2.projectPoints(each, np.zeros(3), np.zeros(3), lens.K, np.array(lens.D))[0].reshape(-1, 2)
            for each in (points, moved)]
    (a, inside_a, _), (b, inside_b, _) = (_rays(each.astype(np.float32), np.empty((480, 640)), lens) for each in seen)
    view = geometry(a[inside_a & inside_b], b[inside_a & inside_b], 1 / 300)
    assert angle_deg(view.direction, np.array([0.3, 0, 0.1])) < 0.5


def test_the_same_pictures_give_the_same_bytes():
    first, again = (views(np.eye(4), STEPS['ahead in a curve'])[1] for _ in range(2))
    assert first.R_key_now.tobytes() == again.R_key_now.tobytes()
    assert first.inverse_depth.tobytes() == again.inverse_depth.tobytes()


def test_a_frame_that_comes_twice_is_looked_at_once():
    tracker, first = Tracker(), frame(see(np.eye(4))[0])
    assert tracker.see(first, CAMERA) is tracker.see(first, CAMERA)


def test_a_real_drive_is_followed(shared):
    folder = shared / 'data/kitti_vo'
    true = np.tile(np.eye(4), (51, 1, 1))
    true[:, :3] = np.loadtxt(folder / 'poses.txt').reshape(-1, 3, 4)
    camera = Camera(376, 1241, 718.856, 718.856, 607.1928, 185.2157)
    tracker, errors = Tracker(), []
    for number, file in enumerate(sorted((folder / 'image_l').glob('*.png'))):
        view = tracker.see(Frame(cv2.imread(str(file)), number, camera), camera)
        if number:
            T_key_now = np.linalg.inv(true[view.key_ns]) @ true[number]
            errors.append((angle_deg(view.direction, T_key_now[:3, 3]), turn_deg(view.R_key_now.T @ T_key_now[:3, :3])))
    direction_deg, rotation_deg = np.array(errors).T
    assert np.median(direction_deg) < 0.7 and direction_deg.max() < 4
    assert np.median(rotation_deg) < 0.1 and rotation_deg.max() < 0.4
