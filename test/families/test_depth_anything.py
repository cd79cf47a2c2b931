"""Depth Anything V2 from a picture to its map: as published, in the variant asked for."""

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.core.frame import Frame, Quantity  # noqa: E402
from depth_ros.errors import SettingsError, WeightsError  # noqa: E402
from depth_ros.families.depth_anything import FILES, family  # noqa: E402
from depth_ros.pipeline import open_stream  # noqa: E402
from depth_ros.settings import build  # noqa: E402
from test.families.tiny import depth_anything as tiny  # noqa: E402
from test.families.tiny import video_depth_anything as video  # noqa: E402
from test.parity.compare import Golden  # noqa: E402


def stream(weights, **values):
    return open_stream(build({'family': 'depth_anything', 'weights': str(weights), 'threads': 1,
                              'model.short_side_px': 56, **values}))


def pushed(stream, rgb):
    depth, = stream.push(Frame(np.ascontiguousarray(rgb), 0, None, 'camera'))
    return depth


def test_a_picture_comes_out_as_published(tmp_path):
    golden = Golden('dav2_s_seed0')
    tensors = video.fill(tiny.shapes())
    for key, value in golden.meta['overrides'].items():
        tensors[key].fill_(value)
    torch.save(tensors, tmp_path / 'depth_anything_v2_vits.pth')
    depth = pushed(stream(tmp_path, **{'model.variant': 'small'}), golden['image_bgr'][..., ::-1])
    golden.check('depth_full', depth.map)
    assert golden.report()


def test_metres_end_where_the_training_did(tmp_path):
    path = tiny.write(tmp_path)
    rgb = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    logit = pushed(stream(path), rgb).map    # its ReLU touches nothing: the tiny network says about 5
    for name, farthest in (('hypersim', 20), ('vkitti', 80)):
        metric = path.rename(tmp_path / FILES[f'{name}-small'].name)
        depth = pushed(stream(metric), rgb)
        assert depth.quantity is Quantity.DEPTH_METRIC
        assert logit.min() > 0 and abs(depth.map - farthest / (1 + np.exp(-logit))).max() < 0.1 * depth.map.std()
        path = metric.rename(path)


@pytest.mark.parametrize('variant', FILES)
def test_the_variant_is_that_of_the_setting_or_of_the_file(variant, tmp_path):
    (tmp_path / FILES[variant].name).touch()
    for values in ({'model.variant': variant}, {'weights': str(tmp_path / FILES[variant].name)}, {'weights': str(tmp_path)}):
        found = family(build(values))
        assert found.network.files['model'] == FILES[variant]
        assert found.quantity.is_metric == ('-' in variant)
        said = {'small': 'Apache-2.0', 'base': 'CC-BY-NC-4.0', 'large': 'CC-BY-NC-4.0'}
        assert found.licence_weights == said.get(variant, 'not stated')


@pytest.mark.parametrize(('variant', 'error', 'words'), [
    ('huge', SettingsError, 'expected one of small, base'),
    ('large', WeightsError, 'vits.pth is small, asked for was model.variant=large'),
])
def test_a_variant_that_is_not_that_of_the_file_is_refused(variant, error, words, tmp_path):
    with pytest.raises(error, match=words):
        stream(tiny.write(tmp_path), **{'model.variant': variant})


def test_a_picture_of_any_shape_is_seen_at_the_same_short_side():
    size = family(build({})).size
    assert size(480, 640, None) == (518, 686) and size(540, 1920, None)[0] == 518
