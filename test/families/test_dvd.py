from collections import Counter
from dataclasses import replace

import cv2
import numpy as np
import pytest

from depth_ros.commands.process import process
from depth_ros.core.frame import Clip
from depth_ros.errors import InputError, SettingsError
from depth_ros.families import dvd
from depth_ros.settings import build
from test.parity.compare import Golden

TABLES = Golden('dvd_stitch_seed0').meta


def made(**values):
    return dvd.family(build({name.replace('__', '.'): value for name, value in values.items()}))


@pytest.mark.parametrize('row', TABLES['resize_table'], ids=lambda row: '{}x{}'.format(*row['hw']))
def test_a_picture_covers_480x640_as_published(row):
    assert list(made().size(*row['hw'], None)) == row['out']


def test_the_short_side_can_be_smaller_and_the_long_one_follows():
    size = made(model__short_side_px=240).size
    assert size(480, 640, None) == (240, 320) and size(500, 500, None) == (320, 320)
    assert made(model__short_side_px=1).size(1, 1, None) == (16, 16)


@pytest.mark.parametrize('side', [29, 79, 85, 1098])
def test_the_last_bit_of_a_ratio_does_not_add_a_row(side):
    assert made().size(side, 4 * side // 3, None)[0] <= 496
    assert made().size(side, 2 * side, None)[0] == 480


@pytest.mark.parametrize('row', TABLES['pad_table'], ids=lambda row: f'{row["T"]}')
def test_a_window_is_filled_up_to_a_whole_number_of_steps_with_its_last_frame(row):
    frames = np.arange(row['T'])
    filled = dvd.filled_up(frames)
    assert len(filled) == row['padded'] and np.array_equal(filled[:row['T']], frames)
    assert (filled[row['T']:] == frames[-1]).all()


@pytest.mark.parametrize('size', [(96, 128), (16, 48)])
def test_pictures_are_resized_bilinearly_between_pixel_centres_without_rounding(size):
    torch = pytest.importorskip('torch')
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    picture = torch.from_numpy(rgb).float().permute(2, 0, 1)[None] / 255
    wanted = torch.nn.functional.interpolate(picture, size, mode='bilinear', align_corners=False)[0].permute(1, 2, 0)
    found = made().shrink(rgb, size)
    assert found.dtype == np.float32
    assert np.allclose(found, wanted.numpy(), atol=1e-5)


class Fake:
    """A graph that notes what it was given."""

    def __init__(self, name, answer):
        self.name, self.answer, self.inputs, self.given = name, answer, {}, None

    def run(self, inputs):
        self.given = inputs
        return self.answer(inputs)


def test_a_window_passes_encoder_transformer_and_decoder_and_loses_what_filled_it_up():
    graphs = {
        'encode': Fake('encode', lambda given: {'latent': given['rgb'][:, :, ::4, ::8, ::8]}),
        'denoise': Fake('denoise', lambda given: {'latent': -given['latent']}),
        'decode': Fake('decode', lambda given: {'maps': np.arange(9, dtype=np.float32)[:, None, None] * np.ones((16, 32))}),
    }
    rgb = np.random.default_rng(0).random((7, 16, 32, 3), np.float32)
    prediction, state = dvd.infer(graphs, Clip(rgb, tuple(range(7))), None)
    assert state is None and prediction.maps.shape == (7, 16, 32)
    assert prediction.maps[:, 0, 0].tolist() == list(range(7))
    given = graphs['encode'].given['rgb']
    assert given.shape == (1, 3, 9, 16, 32) and np.array_equal(given[0, :, 8], rgb[6].transpose(2, 0, 1))
    assert np.array_equal(graphs['decode'].given['latent'], -graphs['denoise'].given['latent'])


def test_a_recording_is_processed_by_the_folded_transformer(tmp_path, monkeypatch):
    pytest.importorskip('diffusers', reason="diffusers is not installed: pip install 'depth_ros[families]'")
    from depth_ros.models.dvd import wan
    from test.families.tiny import dvd as tiny

    calls = Counter()
    for name in ('WanTransformer3DModel', 'WanTransformerBlock', 'WanTimeTextImageEmbedding', 'WanAttention'):
        forward = getattr(wan, name).forward
        monkeypatch.setattr(getattr(wan, name), 'forward', lambda *given, name=name, forward=forward, **named: (
            calls.update([name]), forward(*given, **named))[1])
    (tmp_path / 'pictures').mkdir()
    for number in range(9):
        cv2.imwrite(str(tmp_path / 'pictures' / f'{number}.png'), np.full((32, 48, 3), 20 * number, np.uint8))
    process([tmp_path / 'pictures'], tmp_path / 'out', family='dvd', weights=str(tiny.write(tmp_path / 'weights')), length=5,
            stride=4, set=[f'{key}={value}' for key, value in tiny.SETTINGS.items()])
    layers, windows = 2, 3    # of the first frame, and after four more and four more
    # Time and empty text are looked at once, at opening; of the two attentions of a block only the one among tokens runs.
    assert calls == {'WanTimeTextImageEmbedding': 1, 'WanAttention': layers * windows}


def test_the_published_windows_share_nine_or_twenty_one_frames():
    family = made()
    assert family.offline == family.presets[45]
    assert (family.offline.stride, family.presets[81].stride) == (36, 60)
    for spec in family.presets.values():
        assert spec.keyframes[-1] == spec.length - 1 and spec.anchors == spec.blend == spec.overlap
        assert spec.moved_back and spec.scale_limits == (0.7, 1.5) and spec.floor == 0


def test_a_live_window_brings_one_step_of_the_vae():
    live = made().live
    assert live.live and live.stride == dvd.STEP and live.length % dvd.STEP == 1 and live.lag == 3


def test_settings_choose_file_and_tau():
    network = made(model__variant='1.1', model__tau=0.3).network
    assert network.files['dit'].name == 'dvd_1.1.safetensors' and network.options == {'tau': 0.3}
    assert made().network == replace(made().network, options={'tau': 0.5})
    assert made().network.files['dit'].name == 'model.safetensors'
    with pytest.raises(SettingsError, match='dvd has 1.0, 1.1'):
        made(model__variant='2')


def test_a_picture_longer_than_the_table_of_positions_is_refused():
    assert made().size(1, 34, None) == (480, 16320)
    with pytest.raises(InputError, match='1025x30 tokens.*1024 positions'):
        made().size(10_000, 341_510, None)
