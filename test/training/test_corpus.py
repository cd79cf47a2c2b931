"""The clips that training draws are consistent: pose, focal length and disparity explain how the picture moves."""

import cv2
import numpy as np
import pytest

from depth_ros.training import corpus, synthetic

SMALL = (48, 64)


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """One rendered scene, at a quarter of the usual size."""
    folder = tmp_path_factory.mktemp('world')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, 'SHAPES', (SMALL, SMALL))
        corpus.render_world(folder, range(1), None)
    return folder / '000000'


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """A smooth picture with a smooth teacher's map."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp('photos') / 'one.npz'
    rgb = cv2.GaussianBlur(rng.uniform(0, 255, (128, 160, 3)), (0, 0), 4)
    rgb = 255 * (rgb - rgb.min()) / np.ptp(rgb)
    disparity = cv2.GaussianBlur(rng.normal(size=(128, 160)), (0, 0), 20).astype(np.float16)
    np.savez(path, rgb=rgb.astype(np.uint8), disparity=disparity, weight=0.7)
    return path


def carried(clip, t):
    """Return frame t - 1 as frame t sees it, by the clip's own pose, focal length and disparity; and where it is inside."""
    h, w = clip.rgb.shape[1:3]
    T_prev_cam = np.linalg.inv(clip.T_world_cam[t - 1]) @ clip.T_world_cam[t]
    v, u = np.mgrid[:h, :w]
    ray = T_prev_cam[:3, :3] @ np.linalg.inv(clip.K) @ np.stack([u, v, np.ones_like(u)]).reshape(3, -1)
    shift = T_prev_cam[:3, 3:] * clip.disparity[t].ravel() if clip.moves else 0.0
    p = clip.K @ (ray + shift)
    x, y = (p[:2] / p[2]).reshape(2, h, w).astype(np.float32)
    inside = (x > 0) & (x < w - 1) & (y > 0) & (y < h - 1) & (clip.weight[t] > 0)
    return cv2.remap(clip.rgb[t - 1], x, y, cv2.INTER_LINEAR).astype(float), inside


def test_a_rendered_clip_moves_as_its_pose_says(scene):
    better = []
    for seed in range(6):
        clip = corpus.rendered_clip(scene, 4, SMALL, np.random.default_rng(seed))
        assert clip.rgb.shape == (4, *SMALL, 3) and clip.scaled and clip.moves
        seen, inside = carried(clip, 1)
        before = np.abs(clip.rgb[0].astype(float) - clip.rgb[1])[inside].mean()
        better.append(np.abs(seen - clip.rgb[1])[inside].mean() - before)
    assert max(better) < 0.5 and min(better) < -0.3


def test_a_photograph_seen_by_a_turning_camera_turns_as_its_pose_says(photo):
    for seed in range(6):
        clip = corpus.turning_clip(photo, 3, SMALL, np.random.default_rng(seed))
        assert clip.rgb.shape == (3, *SMALL, 3) and not clip.scaled and not clip.moves
        np.testing.assert_allclose(clip.T_world_cam[:, :3, 3], 0)
        assert 0.6 < clip.weight.max() <= 0.7001
        seen, inside = carried(clip, 2)
        assert np.abs(seen - clip.rgb[2])[inside].mean() < 2.0


def test_a_mirrored_clip_still_moves_as_its_pose_says(photo, monkeypatch):
    monkeypatch.setattr(synthetic, 'make_sensor', lambda rng: synthetic.Sensor())
    for seed in range(6):
        rng = np.random.default_rng(seed)
        clip = corpus.seen_by_a_camera(corpus.turning_clip(photo, 3, SMALL, rng), rng)
        seen, inside = carried(clip, 2)
        assert np.abs(seen - clip.rgb[2])[inside].mean() < 2.5


def test_batches_repeat_by_seed_and_keep_their_size(scene, photo):
    def first(seed):
        material = corpus.Material(scene.parent, photo.parent)
        return material.batch(6, (3,), 0.5, ((48, 64), (32, 96)), np.random.default_rng(seed))

    def same(a, b):
        return all((a[name] == b[name]).all() for name in a)

    batch = first(1)
    assert batch['rgb'].shape[:3] == (2, 3, 3) and batch['rgb'].dtype == np.float32
    assert batch['T_prev_cam'].shape == (2, 3, 4, 4) and batch['K'].shape == (2, 3, 3)
    np.testing.assert_allclose(batch['T_prev_cam'][:, 0], np.tile(np.eye(4), (2, 1, 1)), atol=1e-7)
    assert same(batch, first(1)) and not (batch['rgb'].shape == first(2)['rgb'].shape and same(batch, first(2)))
