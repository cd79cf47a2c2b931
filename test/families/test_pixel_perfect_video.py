"""What Pixel-Perfect Video Depth shows its network, and how its windows become one video."""

from dataclasses import replace

import numpy as np
import pytest

from depth_ros.core.frame import Clip, Frame
from depth_ros.core.stream import DepthStream
from depth_ros.families import pixel_perfect_video
from depth_ros.families.family import Prediction
from depth_ros.settings import build
from test.parity.compare import Golden

AS_PUBLISHED = {'family': 'pixel_perfect_video', 'alignment.fit': 'least_squares', 'alignment.cuts': False,
                'alignment.scale_low': 1e-3, 'alignment.scale_high': 1e3, 'model.short_side_px': 64}


def test_the_windows_of_a_video_are_the_published_ones_and_so_is_the_video_made_of_them():
    golden, settings, seen = Golden('ppvd_seed0'), build(AS_PUBLISHED), []

    def infer(graphs, clip, state):
        seen.append(clip.indices)
        return Prediction(golden['preds'][len(seen) - 1]), None

    family = replace(pixel_perfect_video.family(settings), infer=infer)
    stream = DepthStream(family, {}, family.offline, settings)
    done = [depth for i, rgb in enumerate(golden['frames']) for depth in stream.push(Frame(rgb, i))] + stream.flush()
    assert np.array_equal(seen, golden['window_frame_ids'])
    golden.check('aligned', np.stack([depth.map for depth in done]))
    assert golden.report()


def test_live_a_window_is_the_published_one_and_comes_after_thirteen_frames():
    settings, seen = build(AS_PUBLISHED | {'alignment.fit': 'robust'}), []

    def infer(graphs, clip, state):
        seen.append(clip.indices)
        return Prediction(np.random.default_rng(0).random((16, 64, 64), np.float32)), None

    family = replace(pixel_perfect_video.family(settings), infer=infer)
    stream = DepthStream(family, {}, family.live, settings)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    done = [len(stream.push(Frame(rgb, i))) for i in range(39)]
    assert [i for i, count in enumerate(done) if count] == [12, 25, 38] and sum(done) == 39
    assert seen[1] == (0, 5, 12, *range(13, 26))
    assert seen[2] == (0, 18, 25, *range(26, 39))


class Recorder:
    inputs: dict[str, list[int]] = {}

    def __init__(self):
        self.seen = []

    def run(self, inputs):
        self.seen.append(inputs)
        return {'semantics': np.zeros(1), 'velocity': np.zeros_like(inputs['rgb'][:, :1])}


@pytest.mark.parametrize('swap', [False, True])
def test_the_network_sees_rgb_or_bgr_where_that_is_asked_for(swap):
    family = pixel_perfect_video.family(build(AS_PUBLISHED | {'model.swap_channels': swap}))
    graphs = {'semantics': Recorder(), 'denoise': Recorder()}
    red = family.shrink(np.full((30, 40, 3), (255, 0, 0), np.uint8), family.size(30, 40, None))
    family.infer(graphs, Clip(np.stack([red] * 16), tuple(range(16))), None)
    for seen in (graphs['semantics'].seen[0], graphs['denoise'].seen[-1]):
        assert seen['rgb'].shape == (16, 3, 64, 64)
        assert seen['rgb'].mean(axis=(0, 2, 3)).tolist() == ([0, 0, 1] if swap else [1, 0, 0])


def test_one_noise_serves_every_window_and_each_frame_has_its_own():
    family = pixel_perfect_video.family(build(AS_PUBLISHED))
    graphs = {'semantics': Recorder(), 'denoise': Recorder()}
    clip = Clip(np.zeros((16, 64, 64, 3), np.float32), tuple(range(16)))
    _, state = family.infer(graphs, clip, None)
    family.infer(graphs, clip, state)
    first, second = (graphs['denoise'].seen[i]['latent'] for i in (0, 4))
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], first[1])


def test_a_picture_is_squeezed_to_a_square_by_bilinear_interpolation():
    family = pixel_perfect_video.family(build({'family': 'pixel_perfect_video'}))
    assert family.size(480, 640, None) == (512, 512)
    ramp = np.tile(np.arange(8, dtype=np.uint8)[:, None, None] * 30, (1, 16, 3))
    assert np.allclose(family.shrink(ramp, (4, 4))[:, 0, 0] * 255, [15, 75, 135, 195])
