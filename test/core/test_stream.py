"""One depth frame for each picture, in order, on one scale, whatever the family's windows."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Frame, Quantity
from depth_ros.core.stream import DepthStream
from depth_ros.core.window import WindowSpec
from depth_ros.errors import InputError
from depth_ros.families.family import Family, Prediction, SizeRule
from depth_ros.settings import build
from test.core.test_window import MOVED_BACK, SPECS, VDA

H, W = 48, 64


def affine_family(random, outliers=0.0):
    """A family whose network sees the truth (red = disparity) up to a new scale and shift for every window."""
    def infer(graphs, clip, state):
        truth = clip.rgb[..., 0] / 255.0
        maps = random.uniform(0.5, 2.0) * truth + random.uniform(-1.0, 1.0)
        width = int(outliers * W)
        for number, map in enumerate(maps):
            start = (7 * number) % (W - width)
            map[:, start:start + width] = random.uniform(4, 6)    # nearer than anything true
        return Prediction(maps), state
    return Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(H, W)), infer)


def brightness_family():
    """A single-picture family that calls bright things near."""
    return Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(H, W)),
                  lambda graphs, clip, state: (Prediction(clip.rgb[..., 0].astype(np.float32)), state))


def pictures(count, seed=0):
    random = np.random.default_rng(seed)
    base = cv2.GaussianBlur(random.integers(0, 255, (H, W + count)).astype(np.float32), (0, 0), 2)
    base = cv2.normalize(base, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [np.repeat(base[:, start:start + W, None], 3, axis=2) for start in range(count)]


def frames(count, seed=0, **changes):
    return [Frame(**{'rgb': rgb, 'stamp_ns': number * 33_000_000, **changes})
            for number, rgb in enumerate(pictures(count, seed))]


ONE_FRAME = WindowSpec()


def stream(family, spec=ONE_FRAME, **settings):
    return DepthStream(family, {}, spec, build({name.replace('__', '.'): value for name, value in settings.items()}))


def run(stream, frames):
    return [depth for frame in frames for depth in stream.push(frame)] + stream.flush()


@pytest.mark.parametrize('spec', SPECS)
@pytest.mark.parametrize('count', [1, 2, 5, 33, 60])
def test_every_frame_comes_out_once_in_order_with_its_own_stamp(spec, count):
    given = frames(count)
    out = run(stream(brightness_family(), spec), given)
    assert [depth.index for depth in out] == list(range(count))
    assert [depth.stamp_ns for depth in out] == [frame.stamp_ns for frame in given]


def test_a_stream_without_frames_gives_nothing():
    assert stream(brightness_family()).flush() == []


@pytest.mark.parametrize('spec', [*SPECS, replace(VDA, past_end=True), MOVED_BACK])
def test_no_frame_waits_longer_than_the_lag_of_its_windows(spec):
    one_by_one, waits = stream(brightness_family(), spec), []
    for number, frame in enumerate(frames(100)):
        waits += [number - depth.index for depth in one_by_one.push(frame)]
    assert waits and max(waits) <= spec.lag


@pytest.mark.parametrize('spec', [spec for spec in SPECS if spec.overlap])
@pytest.mark.parametrize('outliers', [0.0, 0.2])
def test_affine_images_of_the_truth_come_out_as_the_truth_up_to_one_scale_and_shift(spec, outliers):
    given = frames(100)
    out = run(stream(affine_family(np.random.default_rng(3), outliers), spec, alignment__cuts=False), given)
    truth = np.stack([frame.rgb[..., 0] / 255.0 for frame in given])
    maps = np.stack([depth.map for depth in out]).astype(np.float64)
    clean = inliers(maps, truth)
    scale, shift = np.polyfit(truth[clean], maps[clean], 1)
    assert scale > 0 and clean.mean() > 0.7
    assert np.abs(scale * truth + shift - maps)[clean].max() < 1e-5 * scale


def inliers(maps, truth):
    """Pixels that one scale and shift explains, found from the first map alone: the outliers are none of them."""
    low, high = (np.percentile(truth[0], share) for share in (20, 80))
    at = [np.abs(truth[0] - level) < 0.01 for level in (low, high)]
    y = [np.median(maps[0][mask]) for mask in at]
    x = [np.median(truth[0][mask]) for mask in at]
    scale = (y[1] - y[0]) / (x[1] - x[0])
    return np.abs(scale * (truth - x[0]) + y[0] - maps) < 0.02 * scale


def test_the_same_frames_give_the_same_bytes():
    first, second = (run(stream(brightness_family()), frames(20)) for _ in range(2))
    assert all(a.map.tobytes() == b.map.tobytes() for a, b in zip(first, second, strict=True))


def test_a_cut_starts_a_new_segment_and_loses_no_frame():
    given = frames(20, seed=0) + frames(20, seed=9)
    given = [Frame(frame.rgb, number * 33_000_000) for number, frame in enumerate(given)]
    live = stream(brightness_family(), WindowSpec.rolling(4, 1))
    out = run(live, given)
    assert [depth.segment for depth in out] == [0] * 20 + [1] * 20
    assert live.resets == {'cut': 1}


@pytest.mark.parametrize(('reason', 'change'), [
    ('picture size changed', {'rgb': np.zeros((H * 2, W, 3), np.uint8)}),
    ('camera changed', {'camera': Camera(H, W, 60, 60, 32, 24)}),
    ('stamp went back', {'stamp_ns': -1}),
    ('gap between stamps', {'stamp_ns': 60_000_000_000}),
])
def test_the_stream_starts_anew_where_it_cannot_go_on(reason, change):
    given = frames(40, camera=Camera(H, W, 50, 50, 32, 24))
    odd = replace(given[39], **change)
    deep = stream(brightness_family(), WindowSpec(32, (0, 12, *range(24, 32)), 2, 8))
    out = run(deep, [*given[:39], odd])
    assert [depth.index for depth in out] == list(range(40))
    assert [depth.segment for depth in out] == [0] * 39 + [1]
    assert deep.resets == {reason: 1}


def test_a_reset_that_is_asked_for_gives_out_what_was_waiting():
    deep = stream(brightness_family(), WindowSpec(8, (6, 7), 2, 2))
    assert [len(deep.push(frame)) for frame in frames(5)] == [0] * 5
    assert len(deep.reset()) == 5


def test_a_bad_picture_is_refused_and_the_stream_goes_on():
    live = stream(brightness_family())
    with pytest.raises(InputError, match=r'\(0, 64, 3\)'):
        live.push(Frame(np.zeros((0, W, 3), np.uint8), 0))
    assert len(live.push(frames(1)[0])) == 1


def test_maps_come_back_in_the_size_of_the_picture_with_nan_where_the_network_failed():
    def infer(graphs, rgb, state):
        maps = np.ones((1, 24, 32), np.float32)
        maps[:, :, :8] = np.inf
        return Prediction(maps, confidence=np.full((1, 24, 32), 0.5, np.float32)), state
    family = Family('test', Quantity.DEPTH_METRIC, SizeRule(fixed=(24, 32)), infer)
    depth, = stream(family).push(frames(1)[0])
    assert depth.depth_m.shape == depth.map.shape == depth.confidence.shape == (H, W)
    assert np.isnan(depth.depth_m[:, :14]).all() and np.all(depth.depth_m[:, 18:] == 1)


@pytest.mark.parametrize('spec', SPECS)
def test_every_frame_comes_with_its_own_confidence_embedding_and_intrinsics(spec):
    h, w = H // 2, W // 4
    K = np.array([[10.0, 0, (w - 1) / 2], [0, 20.0, (h - 1) / 2], [0, 0, 1]])

    def infer(graphs, clip, state):
        number = np.float32(clip.indices)[:, None, None]
        maps = np.tile(number, (1, h, w))
        return Prediction(maps, maps / 100, K=K + np.diag([1, 0, 0]) * number, embedding=number[:, 0]), state

    out = run(stream(Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(h, w)), infer), spec), frames(40))
    for number, depth in enumerate(out):
        assert depth.embedding == [number] and depth.confidence == pytest.approx(np.full((H, W), number / 100))
        assert depth.K == pytest.approx(np.array([[4 * (10 + number), 0, (W - 1) / 2], [0, 40, (H - 1) / 2], [0, 0, 1]]))


def ahead(count):
    """Poses of a camera that goes ahead, 1 per frame."""
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, 2, 3] = np.arange(count)
    return T


def test_each_segment_has_a_world_of_its_own_whatever_ended_the_last_one():
    random = np.random.default_rng(0)
    scenes = random.random((2, H, W)).astype(np.float32)

    def infer(graphs, clip, state):    # with frame 12 the network sees another scene, which the pictures do not show
        maps = scenes[int(12 in clip.indices or clip.indices[0] > 12)] + 0.001 * random.random((4, H, W), np.float32)
        return Prediction(maps, T_ref_cam=np.linalg.inv(ahead(30)[clip.indices[0]]) @ ahead(30)[list(clip.indices)]), state

    family = Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(H, W)), infer, gives_pose=True)
    changing = stream(family, WindowSpec(4, (2, 3), anchors=2))
    out = [depth for frame in frames(24) for depth in changing.push(frame)] + changing.reset()
    out += run(changing, [Frame(frame.rgb, frame.stamp_ns + 10 ** 9) for frame in frames(8)])
    starts = [number for number, depth in enumerate(out) if number == 0 or depth.segment != out[number - 1].segment]
    assert len(out) == 32 and starts == [0, 12, 24]
    assert [depth.T_world_cam[2, 3] for depth in out] == pytest.approx(
        [number - max(start for start in starts if start <= number) for number in range(32)])


def test_a_family_that_carries_its_state_keeps_scale_and_pose_itself():
    def infer(graphs, clip, state):
        T_world_cam = ahead(30)[[state or 0]]
        return Prediction(clip.rgb[..., 0].astype(np.float32), T_ref_cam=T_world_cam), (state or 0) + 1

    family = Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(H, W)), infer, carries_state=True, gives_pose=True)
    carried = stream(family)
    assert [depth.T_world_cam[2, 3] for depth in run(carried, frames(10))] == list(range(10))
    assert carried.lock is None and stream(brightness_family()).lock is not None


def test_a_picture_that_is_asked_to_be_rectified_comes_out_with_its_pinhole_camera():
    camera = Camera(H, W, 60, 60, 31.5, 23.5, 'plumb_bob', (-0.3, 0.1, 0, 0, 0), P=(50, 50, 31.5, 23.5))
    depth, = stream(brightness_family(), camera__model='rectify').push(frames(1, camera=camera)[0])
    assert depth.camera == Camera(H, W, 50, 50, 31.5, 23.5)


def test_metres_come_only_from_a_source_of_metres():
    relative, = stream(brightness_family()).push(frames(1)[0])
    assert relative.depth_m is None
    fixed, = stream(brightness_family(), metric__source='fixed', metric__scale=0.01,
                    metric__shift=0.0).push(frames(1)[0])
    y = frames(1)[0].rgb[20, 30, 0]
    assert fixed.depth_m[20, 30] == pytest.approx(100 / y, rel=1e-5)


@pytest.mark.parametrize('spec', [spec for spec in SPECS if spec.overlap > 1])
def test_windows_with_poses_of_their_own_world_and_unit_come_out_as_one_trajectory(spec):
    random, truth = np.random.default_rng(5), np.tile(np.eye(4), (100, 1, 1))
    truth[:, :3, 3] = np.cumsum(random.normal(size=(100, 3)), axis=0)
    truth[:, :3, :3] = [cv2.Rodrigues(np.array([0, 0.1 * number, 0.02 * number]))[0] for number in range(100)]

    def infer(graphs, clip, state):
        unit = 1.0 if state is None else random.uniform(0.5, 2.0)
        poses = np.linalg.inv(truth[clip.indices[0]]) @ truth[list(clip.indices)]
        poses[:, :3, 3] *= unit    # a unit twice as small: ways twice as long, disparity half
        K = np.tile(np.diag([W, W, 1.0]), (len(poses), 1, 1))
        return Prediction(clip.rgb[..., 0] / np.float32(unit), T_ref_cam=poses, K=K), 'started'

    family = Family('test', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(H, W)), infer, gives_pose=True)
    out = run(stream(family, spec, alignment__cuts=False), frames(100))
    found = np.stack([depth.T_world_cam for depth in out])
    assert found == pytest.approx(np.linalg.inv(truth[0]) @ truth, abs=1e-4)
    assert out[0].K == pytest.approx(np.diag([W, W, 1.0]))
