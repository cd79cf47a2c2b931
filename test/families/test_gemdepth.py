"""What the network says of a window becomes disparity, camera poses, intrinsics and an embedding."""

import dataclasses

import numpy as np
import pytest

from depth_ros.core.frame import Clip, Frame
from depth_ros.core.window import WindowSpec
from depth_ros.families import gemdepth
from depth_ros.families.preprocess import normalise
from depth_ros.pipeline import open_stream, window_spec
from depth_ros.settings import build
from test.core.test_published_stitching import EIGHT, VDA
from test.families.tiny import gemdepth as tiny
from test.parity.compare import Golden


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return str(tiny.write(tmp_path_factory.mktemp('gemdepth')))


def stream(weights, **values):
    return open_stream(build({**tiny.SETTINGS, 'family': 'gemdepth', 'weights': weights, 'threads': 1, **values}))


def test_pictures_reach_the_network_as_published():
    golden = Golden('gemdepth_forward_seed0')
    family = gemdepth.family(build({'model.short_side_px': 56}))
    size = family.size(60, 80, None)
    golden.check('x', normalise(np.stack([family.shrink(rgb, size) for rgb in golden['frames']]))[None])
    assert golden.report()


@pytest.mark.parametrize(('length', 'stride', 'blend'), [(32, 22, 8), (16, 10, 4), (8, 4, 2)])
def test_the_length_alone_chooses_a_published_window(length, stride, blend):
    settings = build({'length': length})
    spec = window_spec(gemdepth.family(settings), settings, live=False)
    assert (spec.length, spec.stride, spec.blend, spec.anchors) == (length, stride, blend, 2)
    assert spec.past_end
    assert spec.floor == 0
    assert spec == {32: VDA, 8: EIGHT}.get(length, spec)    # which the published numbers belong to


@pytest.mark.parametrize(('values', 'live', 'stride'), [
    ({}, True, 1), ({'length': 8}, True, 1), ({'length': 8, 'stride': 3}, True, 3), ({'length': 8, 'stride': 3}, False, 3)])
def test_live_or_with_a_stride_the_window_rolls(values, live, stride):
    settings = build(values)
    assert window_spec(gemdepth.family(settings), settings, live) == WindowSpec.rolling(8, stride)


def test_without_a_length_it_is_the_published_one_of_32():
    settings = build({})
    assert window_spec(gemdepth.family(settings), settings, live=False).keyframes == (0, 12, *range(24, 32))


@pytest.mark.parametrize('quaternion', [(0, 0, 0, 1), (0, 1, 0, 1)])    # looking along the world's z, or along its x
def test_a_camera_that_went_one_ahead_stands_one_ahead_of_the_first(quaternion):
    first, second = np.zeros(9), np.zeros(9)
    first[:7] = 0, 0, 5, *quaternion     # the world lies 5 ahead of the camera,
    second[:7] = 0, 0, 4, *np.multiply(2, quaternion)    # then 4; no quaternion need be of length 1
    T_ref_cam = poses(np.stack((first, second)))
    assert T_ref_cam[0] == pytest.approx(np.eye(4))
    assert T_ref_cam[1] == pytest.approx(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]))


def test_poses_are_rigid_whatever_the_network_says():
    T_ref_cam = poses(np.random.default_rng(0).normal(size=(8, 9)) * [[1, 1, 1, 5, 5, 5, 5, 1, 1]])
    R = T_ref_cam[:, :3, :3]
    assert R @ R.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (8, 1, 1)), abs=1e-12)
    assert np.linalg.det(R) == pytest.approx(np.ones(8))
    assert poses(np.zeros((2, 9))) == pytest.approx(np.tile(np.eye(4), (2, 1, 1)))


def test_a_right_angle_of_view_has_half_the_side_as_focal_length():
    pose = np.zeros((1, 9))
    pose[0, 7:] = np.pi / 2, 2 * np.arctan(0.5)
    assert gemdepth.intrinsics(pose, (56, 70))[0] == pytest.approx(np.array([[70, 0, 34.5], [0, 28, 27.5], [0, 0, 1]]))


def test_a_picture_is_encoded_once_however_many_windows_look_at_it(weights):
    family, graphs = (part := stream(weights)).family, part.graphs
    seen = []
    counting = {**graphs, 'encoder': Counting(graphs['encoder'], seen)}
    rgb = np.random.default_rng(0).random((12, 28, 42, 3), np.float32)
    _, state = family.infer(counting, Clip(rgb[:8], tuple(range(8))), None)
    kept, state = family.infer(counting, Clip(rgb[[0, 3, 6, 7, 8, 9, 10, 11]], (0, 3, 6, 7, 8, 9, 10, 11)), state)
    assert sum(seen) == 12
    assert set(state) == {0, 3, 6, 7, 8, 9, 10, 11}
    alone, _ = family.infer(graphs, Clip(rgb[[0, 3, 6, 7, 8, 9, 10, 11]], (0, 3, 6, 7, 8, 9, 10, 11)), None)
    assert kept.maps == pytest.approx(alone.maps, abs=1e-5)


def test_a_prediction_has_all_parts_for_every_frame(weights):
    opened = stream(weights)
    rgb = np.random.default_rng(0).random((5, 28, 42, 3), np.float32)
    prediction, _ = opened.family.infer(opened.graphs, Clip(rgb, (0, 1, 2, 3, 3)), None)
    shapes = {name: value.shape for name, value in vars(prediction).items() if value is not None}
    assert shapes == {'maps': (5, 28, 42), 'T_ref_cam': (5, 4, 4), 'K': (5, 3, 3), 'embedding': (5, 64)}
    assert (prediction.maps > 0).any()


def test_without_pose_injection_every_frame_stands_still_for_the_tokens_but_not_for_the_poses(weights):
    rgb = np.random.default_rng(0).random((8, 28, 42, 3), np.float32)
    predictions = {}
    for injection in (True, False):
        opened = stream(weights, **{'model.pose_injection': injection})
        predictions[injection], _ = opened.family.infer(opened.graphs, Clip(rgb, tuple(range(8))), None)
    on, off = predictions[True], predictions[False]
    assert np.ptp(off.embedding, axis=0).max() < 1e-6 < np.ptp(on.embedding, axis=0).max()
    assert on.T_ref_cam == pytest.approx(off.T_ref_cam)
    assert np.abs(on.maps - off.maps).max() > 1e-3


def test_the_same_video_gives_the_same_bytes_twice(weights):
    rgb = np.random.default_rng(0).integers(0, 255, (10, 48, 64, 3), np.uint8)
    runs = []
    for _ in range(2):
        opened = stream(weights, **{'alignment.cuts': False})
        done = [depth for i, picture in enumerate(rgb) for depth in opened.push(Frame(picture, i, None, ''))]
        runs.append([dataclasses.asdict(depth) for depth in done + opened.flush()])
    assert len(runs[0]) == 10
    assert all(np.array_equal(a['map'], b['map']) and np.array_equal(a['embedding'], b['embedding'])
               for a, b in zip(*runs, strict=True))


class Counting:
    """A graph that counts the pictures it gets."""

    def __init__(self, graph, seen):
        self.graph, self.seen, self.inputs = graph, seen, graph.inputs

    def run(self, inputs):
        self.seen.append(len(inputs['rgb']))
        return self.graph.run(inputs)


def poses(pose):
    """Return the T_ref_cam that the family makes of the network's poses (T, 9)."""
    frames = len(pose)
    clip = Clip(np.zeros((frames, 14, 14, 3), np.float32), tuple(range(frames)))
    window = {'disparity': np.ones((frames, 14, 14), np.float32), 'pose': pose, 'embedding': np.zeros((frames, 4))}
    graphs = {'encoder': Saying({f'frame{i:02}': None for i in range(frames)}), 'window': Saying(window)}
    return gemdepth.infer(graphs, clip, None)[0].T_ref_cam


class Saying:
    """A graph that always says the same."""

    inputs: dict = {}

    def __init__(self, outputs):
        self.outputs = outputs

    def run(self, _):
        return self.outputs
