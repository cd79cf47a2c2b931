"""The network `lite`: causal, steady, and the same in torch and in ONNX."""

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from depth_ros.models import lite  # noqa: E402

SMALL = lite.LiteConfig(tokens=32, decoder=(8, 8, 16), match=8, embedding=16, frames=2)


def network(cfg=SMALL):
    torch.manual_seed(0)
    model = lite.Lite(cfg).eval()
    with torch.no_grad():
        for p in model.parameters():  # as after training: no accidental zeros
            p.add_(0.02 * torch.randn_like(p))
    return model


def frames(count, h=64, w=96):
    return torch.rand(1, count, 3, h, w, generator=torch.Generator().manual_seed(1))


def stream(model, rgb):
    state = model.empty_memory(rgb[:, 0])
    out = []
    for t in range(rgb.shape[1]):
        *maps, memory, valid = model(rgb[:, t], *state)
        state = memory, valid
        out.append(maps)
    return [torch.stack(m, 1) for m in zip(*out, strict=True)]


@torch.no_grad()
def test_one_by_one_equals_the_clip_at_once():
    model, rgb = network(), frames(5)
    at_once = model.clip(rgb)
    for name, one_by_one in zip(
        ('disparity', 'confidence', 'T_prev_cam', 'pose_embedding'), stream(model, rgb), strict=True
    ):
        torch.testing.assert_close(one_by_one, at_once[name], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_lead_is_the_clip_s_own_frames_back_and_forth():
    model, rgb = network(), frames(3)
    led = model.clip(rgb, lead=5)['disparity']
    order = [1, 0, 1, 2, 1, 0, 1, 2]
    torch.testing.assert_close(stream(model, rgb[:, order])[0][:, 5:], led, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_future_does_not_change_the_past():
    model, rgb = network(), frames(4)
    other = rgb.clone()
    other[:, 3] = 0
    torch.testing.assert_close(
        model.clip(rgb)['disparity'][:, :3], model.clip(other)['disparity'][:, :3], atol=1e-6, rtol=0
    )


@torch.no_grad()
def test_the_past_does_change_the_present():
    model, rgb = network(), frames(2)
    alone = model(rgb[:, 1], *model.empty_memory(rgb[:, 1]))[0]
    assert (model.clip(rgb)['disparity'][:, 1] - alone).abs().max() > 1e-4


@torch.no_grad()
def test_a_stream_starts_at_identity_and_forward_keeps_nothing():
    model, rgb = network(), frames(2)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    start = model.empty_memory(rgb[:, 0])
    first, again = model(rgb[:, 0], *start), model(rgb[:, 0], *start)
    torch.testing.assert_close(first[2][0], torch.eye(4))
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    assert all((before[k] == v).all() for k, v in model.state_dict().items())


@torch.no_grad()
def test_disparity_is_not_negative_and_confidence_is_a_share():
    disparity, confidence, *_ = stream(network(), frames(3))
    assert disparity.shape == confidence.shape == (1, 3, 64, 96)
    assert (disparity >= 0).all() and (confidence >= 0).all() and (confidence <= 1).all()


def test_a_rotation_vector_becomes_its_rotation():
    cv2 = pytest.importorskip('cv2')
    motion = torch.tensor([[0.3, -0.2, 0.1, 1.0, 2.0, 3.0], [0.0, 0, 0, 0, 0, 0]])
    T = lite.rigid(motion).numpy()
    np.testing.assert_allclose(T[0, :3, :3], cv2.Rodrigues(motion[0, :3].double().numpy())[0], atol=1e-6)
    np.testing.assert_allclose(T[0, :3, 3], [1, 2, 3])
    np.testing.assert_allclose(T[1], np.eye(4), atol=1e-7)


def test_matching_finds_a_shifted_picture_one_cell_to_the_right():
    geometry = lite.Geometry(lite.LiteConfig())
    geometry.sharpness.data.fill_(5.0)
    g = torch.Generator().manual_seed(0)
    wide = torch.nn.functional.normalize(torch.randn(1, 48, 6, 9, generator=g), dim=1)
    flow, sure = geometry.match(wide[..., :-1], wide[..., 1:])  # what is here at x was there at x - 1
    np.testing.assert_allclose(
        flow[0, 0, :, 1:].detach(), -2 / 8, atol=2e-2
    )  # one cell in units of half the longer side
    np.testing.assert_allclose(flow[0, 1, :, 1:].detach(), 0, atol=2e-2)
    assert (sure > 0.9).float().mean() > 0.8


def test_the_switches_of_the_ablation_switch_off():
    rgb = frames(3)
    still = network(lite.LiteConfig(**{**lite.asdict(SMALL), 'gem': False})).clip(rgb)
    assert (still['motion'] == 0).all()
    model = network(lite.LiteConfig(**{**lite.asdict(SMALL), 'gem': False, 'temporal': False}))
    alone = torch.stack([model(rgb[:, t], *model.empty_memory(rgb[:, t]))[0] for t in range(3)], 1)
    torch.testing.assert_close(model.clip(rgb)['disparity'], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_exported_graph_equals_torch_at_every_size(tmp_path):
    onnxruntime, _ = pytest.importorskip('onnxruntime'), pytest.importorskip('onnx')
    model = network()
    lite.export(model, tmp_path / 'lite.onnx', version='test')
    session = onnxruntime.InferenceSession(str(tmp_path / 'lite.onnx'), providers=['CPUExecutionProvider'])
    for h, w in ((64, 96), (96, 64), (32, 160)):
        rgb = frames(3, h, w)
        state = ours = model.empty_memory(rgb[:, 0])
        for t in range(3):
            expected = model(rgb[:, t], *ours)
            ours = expected[4:]
            out = session.run(
                list(lite.OUTPUTS), dict(zip(lite.INPUTS, (a.numpy() for a in (rgb[:, t], *state)), strict=True))
            )
            state = [torch.from_numpy(a) for a in out[4:]]
            for a, b in zip(out, expected, strict=True):
                np.testing.assert_allclose(a, b.numpy(), atol=1e-4)
