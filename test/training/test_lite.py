"""The training script runs, leaves a usable file, and goes on where it stopped."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from depth_ros.models.lite import LiteConfig  # noqa: E402
from depth_ros.training import corpus, lite, losses  # noqa: E402

TINY = LiteConfig(channels=(8, 8, 16, 32), depths=(1, 1, 1), match=8, embedding=16, frames=2, spatial_blocks=1)


def test_a_short_run_leaves_a_network_and_a_checkpoint_to_go_on_from(tmp_path, monkeypatch):
    (tmp_path / 'world').mkdir()
    corpus.render_world(tmp_path / 'world', range(1), None, minutes=1)
    (tmp_path / 'photos').mkdir()
    stages = (
        lite.Stage('pictures', 0.5, images=2, frames=(1,), photo_share=0.0, size=0.25),
        lite.Stage('clips', 0.5, images=4, frames=(2,), photo_share=0.0, size=0.25),
    )
    monkeypatch.setattr(lite, 'STAGES', stages)
    before = torch.get_num_threads()
    path = lite.train_lite(tmp_path, None, None, minutes=0.02, threads=1, cfg=TINY)
    torch.set_num_threads(before)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    assert session.get_modelmeta().custom_metadata_map['version'].startswith('clips-')
    rows = (tmp_path / 'log.csv').read_text().splitlines()
    assert rows[0].startswith('stage,step,seconds,rate,loss,ssi') and len(rows) >= 3
    step = int(torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['step'])
    assert step >= 2

    lite.train_lite(tmp_path, None, None, minutes=0.02, threads=1, cfg=TINY)  # nothing left to do
    torch.set_num_threads(before)
    assert int(torch.load(tmp_path / 'checkpoint.pt', weights_only=True)['step']) == step


def test_a_perfect_prediction_costs_almost_nothing():
    h, w, T = 64, 96, 3
    disparity = 0.5 + torch.rand(1, T, h, w, generator=torch.Generator().manual_seed(0))
    T_prev_cam = torch.eye(4).repeat(1, T, 1, 1)
    T_prev_cam[:, 1:, 0, 3] = 0.1
    K = torch.tensor([[[80.0, 0, 47.5], [0, 80, 31.5], [0, 0, 1]]])
    batch = {
        'disparity': disparity,
        'weight': torch.ones_like(disparity),
        'T_prev_cam': T_prev_cam,
        'K': K,
        'scaled': torch.ones(1),
        'moves': torch.ones(1),
    }
    own = disparity / disparity[:, 0].mean()  # another unit
    motion = torch.zeros(1, T, 6)
    motion[:, 1:, 3] = 0.1 * disparity[:, 0].mean()  # depth, and so the way, in that unit
    flow = torch.zeros(1, T, 2, h // 8, w // 8)
    for t in range(1, T):
        flow[:, t] = losses.rigid_flow(disparity[:, t], K, T_prev_cam[:, t])[0] * 2 / (w // 8)
    predicted = {'disparity': own, 'confidence': torch.full_like(own, 0.9999), 'motion': motion, 'flow': flow}
    parts = lite.loss_parts(predicted, batch)
    assert set(parts) == set(lite.WEIGHTS)
    for name, value in parts.items():
        np.testing.assert_allclose(value, 0, atol=2e-3, err_msg=name)


def test_a_rotation_becomes_its_vector():
    vectors = torch.tensor([[0.1, -0.2, 0.3], [0.0, 0.0, 0.0], [1e-4, 0, 0]])
    from depth_ros.models.lite import rigid

    R = rigid(torch.cat([vectors, torch.zeros(3, 3)], 1))[:, :3, :3]
    np.testing.assert_allclose(lite.rotation_vector(R), vectors, atol=1e-6)
