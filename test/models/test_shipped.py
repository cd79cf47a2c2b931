"""The file that this package ships."""

import json
from pathlib import Path

import numpy as np
import pytest

import depth_ros.models
from depth_ros.training import synthetic

onnxruntime = pytest.importorskip('onnxruntime')

FILE = Path(depth_ros.models.__file__).parent / 'weights' / 'lite.onnx'


@pytest.fixture(scope='module')
def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(str(FILE), options, providers=['CPUExecutionProvider'])


def start(session, h, w):
    facts = session.get_modelmeta().custom_metadata_map
    shape = [eval_size(n, h, w) for n in json.loads(facts['memory_shape'])]
    return np.zeros(shape, np.float32), np.zeros(json.loads(facts['memory_valid_shape']), np.float32)


def eval_size(entry, h, w):
    return {'h/16': h // 16, 'w/16': w // 16}.get(entry, entry)


def play(session, pictures):
    """Return all outputs for pictures (h, w, 3) uint8, frame by frame."""
    state, results = start(session, *pictures[0].shape[:2]), []
    names = [o.name for o in session.get_outputs()]
    for rgb in pictures:
        feed = {
            'rgb': rgb.transpose(2, 0, 1)[None].astype(np.float32) / 255,
            'memory': state[0],
            'memory_valid': state[1],
        }
        results.append(dict(zip(names, session.run(None, feed), strict=True)))
        state = results[-1]['next_memory'], results[-1]['next_memory_valid']
    return results


def test_it_keeps_its_limits_and_says_what_it_is(session):
    facts = session.get_modelmeta().custom_metadata_map
    assert FILE.stat().st_size < 16e6
    assert int(facts['parameters']) < 8e6
    assert facts['family'] == 'lite' and facts['licence'] == 'Apache-2.0' and facts['train_commit'] and facts['version']
    assert [i.name for i in session.get_inputs()] == ['rgb', 'memory', 'memory_valid']
    assert [o.name for o in session.get_outputs()] == [
        'disparity',
        'confidence',
        'T_prev_cam',
        'pose_embedding',
        'next_memory',
        'next_memory_valid',
    ]


@pytest.mark.parametrize('size', [(192, 256), (192, 320), (160, 512), (256, 192)])
def test_every_size_in_multiples_of_32_runs(session, size):
    h, w = size
    out = play(session, [np.random.default_rng(0).integers(0, 256, (h, w, 3), np.uint8)] * 2)[1]
    embedding = int(session.get_modelmeta().custom_metadata_map['embedding'])
    assert out['disparity'].shape == out['confidence'].shape == (1, h, w)
    assert out['T_prev_cam'].shape == (1, 4, 4) and out['pose_embedding'].shape == (1, embedding)
    assert (out['disparity'] >= 0).all() and np.isfinite(out['disparity']).all()
    assert (out['confidence'] >= 0).all() and (out['confidence'] <= 1).all()


def test_the_rendered_room_comes_out_nearly_right_and_on_one_scale(session):
    frames = list(synthetic.room_sequence(12, height=192, width=256))
    out = play(session, [f[0] for f in frames])
    disparity, truth = np.stack([o['disparity'][0] for o in out]), np.stack([1 / f[1] for f in frames])
    scale, shift = np.polyfit(disparity.ravel(), truth.ravel(), 1)  # one for all frames
    assert scale > 0
    depth_m = 1 / np.maximum(scale * disparity + shift, 0.05)
    error = np.abs(depth_m * truth - 1).mean((1, 2))
    assert error.mean() < 0.2
    factor = np.median(depth_m * truth, axis=(1, 2))
    assert factor.std() / factor.mean() < 0.05


def test_a_still_noisy_picture_gives_a_still_map_and_a_camera_at_rest(session):
    rgb = next(iter(synthetic.room_sequence(1, height=192, width=256)))[0].astype(float)
    rng = np.random.default_rng(0)
    out = play(session, [np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8) for _ in range(12)])
    settled = np.stack([o['disparity'][0] for o in out[4:]])
    low, high = np.percentile(settled, [5, 95])
    assert settled.std(0).mean() < 0.01 * (high - low)
    np.testing.assert_allclose(out[0]['T_prev_cam'][0], np.eye(4), atol=1e-6)
    angle = np.degrees(np.arccos(np.clip((np.trace(out[-1]['T_prev_cam'][0, :3, :3]) - 1) / 2, -1, 1)))
    assert angle < 0.5
