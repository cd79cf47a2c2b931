"""A network that its user describes runs as described, and a wrong description is told from a wrong file."""

import hashlib

import cv2
import numpy as np
import pytest

from depth_ros import Frame, open_stream
from depth_ros.core.alignment import fit_scale_shift
from depth_ros.errors import SettingsError, WeightsError

TCMONO = {'file': 'tcmonodepth_small_192x320.onnx', 'input': 'input', 'size': [192, 320], 'value_range': [0, 255],
          'output': 'output', 'quantity': 'disparity_affine', 'licence': 'MIT'}
FASTDEPTH = {'file': 'fastdepth_224.onnx', 'input': 'image', 'size': [224, 224], 'value_range': [0, 1],
             'output': 'depth', 'quantity': 'depth_metric', 'licence': 'MIT'}


@pytest.fixture
def describe(tmp_path, shared):
    """Return a function that writes a description of a public network and returns its path."""
    def write(description, **changes):
        content = {**description, 'file': str(shared / 'models' / description['file']), **changes}
        path = tmp_path / 'network.yaml'
        path.write_text(''.join(f'{key}: {value}\n' for key, value in content.items() if value is not None))
        return str(path)
    return write


def redkitchen(shared, count=100):
    """Yield the frames and true depths (m, NaN = none) of the real sequence."""
    rgb = sorted((shared / 'data/redkitchen/rgb').glob('*.jpg'))[:count]
    for number, file in enumerate(rgb):
        truth = cv2.imread(str(shared / 'data/redkitchen/depth' / file.name.replace('color.jpg', 'depth.png')), -1) / 1000
        truth[(truth <= 0.3) | (truth >= 10)] = np.nan
        yield Frame(cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB), number * 33_333_333), truth


def whole_video(shared, stream):
    """Return (variation of the per-frame factor, AbsRel) after one scale and shift in disparity for the sequence."""
    frames, truths = zip(*redkitchen(shared), strict=True)
    maps = np.stack([depth.map for frame in frames for depth in stream.push(frame)])
    truth = np.stack(truths)
    valid = np.isfinite(truth)
    scale, shift = fit_scale_shift(maps[valid], 1 / truth[valid])
    predicted = 1 / np.clip(scale * maps + shift, 0.05, None)
    factors = np.array([np.nanmedian(t / p) for t, p in zip(truth, predicted, strict=True)])
    abs_rel = np.mean([np.nanmean(np.abs(p - t) / t) for t, p in zip(truth, predicted, strict=True)])
    return factors.std() / factors.mean(), abs_rel


@pytest.mark.slow
def test_the_scale_lock_steadies_a_real_network_on_a_real_video_and_costs_no_accuracy(describe, shared):
    weights = describe(TCMONO)
    free = whole_video(shared, open_stream(family='onnx', weights=weights, alignment__per_frame='off'))
    locked = whole_video(shared, open_stream(family='onnx', weights=weights))
    assert free[0] == pytest.approx(0.036, abs=0.003) and free[1] == pytest.approx(0.149, abs=0.002)
    assert locked[0] <= 0.025 and locked[1] <= 0.149


def test_a_metric_network_gives_metres_near_the_truth_and_is_not_rescaled(describe, shared):
    stream = open_stream(family='onnx', weights=describe(FASTDEPTH))
    for frame, truth in redkitchen(shared, 3):
        depth, = stream.push(frame)
        assert (depth.scale, depth.shift) == (1.0, 0.0)
        assert depth.depth_m.shape == truth.shape
        assert np.nanmedian(np.abs(depth.depth_m - truth) / truth) < 0.25


def test_channel_order_mean_and_std_reach_the_network(describe, shared):
    frame, _ = next(redkitchen(shared, 1))
    plain, = open_stream(family='onnx', weights=describe(TCMONO)).push(frame)
    same, = open_stream(family='onnx', weights=describe(TCMONO, value_range=[0, 1], std=[1 / 255] * 3)).push(frame)
    swapped, = open_stream(family='onnx', weights=describe(TCMONO, channel_order='bgr')).push(frame)
    turned, = open_stream(family='onnx', weights=describe(TCMONO)).push(Frame(frame.rgb[..., ::-1].copy(), 0))
    assert np.allclose(same.map, plain.map, atol=1e-4)
    assert np.array_equal(swapped.map, turned.map) and not np.allclose(swapped.map, plain.map, atol=1e-3)


def test_a_right_checksum_is_accepted_and_a_wrong_one_refused(describe, shared):
    right = hashlib.sha256((shared / 'models' / TCMONO['file']).read_bytes()).hexdigest()
    assert open_stream(family='onnx', weights=describe(TCMONO, sha256=right)).info['weights_sha256'] == right
    with pytest.raises(WeightsError, match='sha256'):
        open_stream(family='onnx', weights=describe(TCMONO, sha256='ab' * 32))


@pytest.mark.parametrize(('change', 'kind', 'words'), [
    ({'input': 'picture'}, WeightsError, ["inputs ['input']", "['picture']"]),
    ({'output': 'depth'}, WeightsError, ["outputs ['output']"]),
    ({'file': '/nowhere.onnx'}, WeightsError, ['/nowhere.onnx']),
    ({'quantity': 'metres'}, SettingsError, ['disparity_affine']),
    ({'quantity': None}, SettingsError, ['missing', 'quantity']),
    ({'gamma': 2}, SettingsError, ['gamma']),
    ({'size': None}, SettingsError, ['short_side_px']),
    ({'mean': [1, 2]}, SettingsError, ['mean', '3 numbers']),
    ({'channel_order': 'grb'}, SettingsError, ['bgr']),
])
def test_a_wrong_description_is_refused_with_what_would_be_right(describe, change, kind, words):
    with pytest.raises(kind) as error:
        open_stream(family='onnx', weights=describe(TCMONO, **change))
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value)


def test_a_file_that_is_no_network_is_refused(tmp_path):
    (tmp_path / 'x.onnx').write_bytes(b'not a network')
    (tmp_path / 'x.yaml').write_text('{file: x.onnx, input: a, output: b, size: [32, 32], value_range: [0, 1], '
                                     'quantity: depth_metric}')
    with pytest.raises(WeightsError, match='is not a network'):
        open_stream(family='onnx', weights=str(tmp_path / 'x.yaml'))


def test_the_family_onnx_without_a_description_says_what_it_needs():
    with pytest.raises(SettingsError, match='YAML'):
        open_stream(family='onnx')
