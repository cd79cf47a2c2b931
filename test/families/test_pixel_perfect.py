"""What Pixel-Perfect Depth shows its network, and the way from noise to a map."""

import cv2
import numpy as np
import pytest

from depth_ros.core.frame import Clip, Quantity
from depth_ros.families import pixel_perfect
from depth_ros.settings import build
from test.parity.compare import Golden


def infer(settings, graphs, clip, state=None):
    return pixel_perfect.family(build({'family': 'pixel_perfect', **settings})).infer(graphs, clip, state)


class Semantics:
    """Counts how often it is asked."""

    inputs = {'rgb': []}
    asked = 0

    def run(self, inputs):
        self.asked += 1
        return {'semantics': inputs['rgb'].mean(axis=1)}


class StraightFlow:
    """Knows the data, and so the velocity from it to the noise, which is the same all the way."""

    inputs = {'latent': [], 'rgb': [], 'semantics': [], 't': []}

    def __init__(self, data):
        self.data = data
        self.times = []

    def run(self, inputs):
        now = inputs['t'][0] / 1000
        self.times.append(int(inputs['t'][0]))
        noise = (inputs['latent'] - (1 - now) * self.data) / now    # eq. 1 solved for x_1
        return {'velocity': noise - self.data}


@pytest.fixture
def clip():
    return Clip(np.random.default_rng(0).integers(0, 256, (1, 32, 48, 3), dtype=np.uint8), (0,))


@pytest.mark.parametrize('steps', [1, 2, 4, 10])
def test_along_a_straight_flow_any_number_of_steps_ends_at_the_data(steps, clip):
    data = np.linspace(-0.5, 0.5, 32 * 48, dtype=np.float32).reshape(1, 1, 32, 48)
    semantics, flow = Semantics(), StraightFlow(data)
    prediction, _ = infer({'model.steps': steps}, {'semantics': semantics, 'denoise': flow}, clip)
    assert np.allclose(prediction.maps, data[:, 0] + 0.5, atol=1e-4)
    assert len(flow.times) == steps and semantics.asked == 1


def test_the_time_steps_are_the_published_integers():
    assert pixel_perfect.time_steps(4) == [*Golden('ppd_seed0').meta['timesteps'], 0]


def test_every_picture_of_a_stream_starts_from_the_noise_of_the_seed(clip):
    seen = []

    class Listener(Semantics):
        def run(self, inputs):
            seen.append(inputs['latent'])
            return {'velocity': np.zeros_like(inputs['latent'])}

    graphs = {'semantics': Semantics(), 'denoise': Listener()}
    _, state = infer({'model.steps': 1}, graphs, clip)
    infer({'model.steps': 1}, graphs, clip, state)
    infer({'model.steps': 1}, graphs, clip)    # another stream
    infer({'model.steps': 1, 'model.seed': 7}, graphs, clip)
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2]) and not np.array_equal(seen[0], seen[3])
    assert abs(seen[0].mean()) < 0.1 and abs(seen[0].std() - 1) < 0.1


def test_the_picture_is_shown_at_the_published_size():
    family = pixel_perfect.family(build({'family': 'pixel_perfect'}))
    for row in Golden('ppd_seed0').meta['resize_keep_aspect_table']:
        assert family.size(*row['input_hw'], None) == tuple(row['output_hw'])


def test_a_shorter_side_shrinks_the_area_and_keeps_the_aspect():
    family = pixel_perfect.family(build({'family': 'pixel_perfect', 'model.short_side_px': 384}))
    assert family.size(480, 640, None) == (384, 512)
    assert family.size(1024, 1024, None) == (448, 448)


def test_a_picture_is_averaged_when_it_shrinks_and_sharpened_when_it_grows():
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    shrink = pixel_perfect.family(build({})).shrink
    assert np.array_equal(shrink(rgb, (20, 30)), cv2.resize(rgb, (30, 20), interpolation=cv2.INTER_AREA))
    assert np.array_equal(shrink(rgb, (80, 96)), cv2.resize(rgb, (96, 80), interpolation=cv2.INTER_CUBIC))


def test_what_lies_at_the_far_end_is_passed_on_as_it_is(clip):
    sky = np.full((1, 1, 32, 48), 0.52, np.float32)    # beyond the normalised range of -0.5 to 0.5
    graphs = {'semantics': Semantics(), 'denoise': StraightFlow(sky)}
    assert np.allclose(infer({}, graphs, clip)[0].maps, 1.02, atol=1e-4)


def test_the_map_is_a_log_depth_and_the_weights_are_not_for_commerce():
    family = pixel_perfect.family(build({'family': 'pixel_perfect'}))
    assert family.quantity is Quantity.LOG_DEPTH_AFFINE and family.offline.length == 1
    assert 'NC' in family.network.files['semantics'].licence
