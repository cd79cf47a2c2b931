"""Video Depth Anything from pictures to maps: as published, each picture encoded once, in the variant asked for."""

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.core.frame import Clip, Frame, Quantity  # noqa: E402
from depth_ros.errors import SettingsError, WeightsError  # noqa: E402
from depth_ros.families.video_depth_anything import FILES, context, family, infer, remember  # noqa: E402
from depth_ros.pipeline import open_graphs, open_stream  # noqa: E402
from depth_ros.settings import build  # noqa: E402
from test.core.test_published_stitching import METRIC, VDA  # noqa: E402
from test.families.tiny import video_depth_anything as tiny  # noqa: E402
from test.parity.compare import Golden  # noqa: E402


@pytest.fixture(scope='module')
def published(tmp_path_factory):
    """The file of the small network at its published size, of the parity kit's tensors."""
    tensors = tiny.fill(tiny.shapes())
    for key, value in Golden('vda_s_e2e_seed0').meta['overrides'].items():
        tensors[key].fill_(value)
    path = tmp_path_factory.mktemp('published') / 'video_depth_anything_vits.pth'
    torch.save(tensors, path)
    return str(path)


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return str(tiny.write(tmp_path_factory.mktemp('tiny')))


def settings(weights, **values):
    return build({'family': 'video_depth_anything', 'weights': weights, 'threads': 1, 'model.short_side_px': 56,
                  'alignment.cuts': False, **values})


def played(stream, pictures):
    """Return the depth frames of a stream, in order."""
    done = [depth for number, rgb in enumerate(pictures) for depth in stream.push(Frame(rgb, number * 33_000_000))]
    return done + stream.flush()


class Counting:
    """A graph that remembers how many pictures it was given at once."""

    def __init__(self, graph):
        self.graph, self.inputs, self.pictures = graph, graph.inputs, []

    def run(self, inputs):
        self.pictures.append(len(inputs['rgb']))
        return self.graph.run(inputs)


def counted(stream):
    stream.graphs = {**stream.graphs, 'encoder': Counting(stream.graphs['encoder'])}
    return stream, stream.graphs['encoder'].pictures


def noise(count, height=56, width=70):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def test_a_video_comes_out_as_published(published):
    golden = Golden('vda_s_e2e_seed0')
    done = played(open_stream(settings(published, **{'alignment.fit': 'least_squares'})), golden['frames'])
    golden.check('depth', np.stack([depth.map for depth in done]))
    assert golden.report()
    fits = np.array([(done[0].scale, done[0].shift), (done[-1].scale, done[-1].shift)])
    assert fits == pytest.approx(np.array(golden.meta['scale_shift_per_window']), abs=1e-4)


def test_a_live_stream_comes_out_as_published(published):
    golden = Golden('vda_s_stream_seed0')
    stream = open_stream(settings(published), live=True)
    golden.check('depth', np.stack([stream.push(Frame(rgb, number * 33_000_000))[0].map
                                    for number, rgb in enumerate(golden['frames'])]))
    assert golden.report()


def test_a_live_frame_is_seen_with_the_published_others():
    golden, kept = Golden('vda_s_stream_seed0'), ()
    for number, ids in enumerate(golden['context_ids']):
        assert context(kept) == (tuple(ids) if number else ())
        kept = remember(kept, number)
    assert list(kept) == golden.meta['final_frame_id_list']


def test_a_long_live_stream_remembers_its_first_frame_a_far_one_and_no_more_than_it_needs():
    kept = ()
    for number in range(1000):
        kept = remember(kept, number)
    assert len(kept) == 42
    assert context(kept) == (0, 959, *range(971, 1000))


def test_each_picture_is_encoded_once_however_many_windows_hold_it(weights):
    stream, pictures = counted(open_stream(settings(weights)))
    assert len(played(stream, noise(60))) == 60
    assert sum(pictures) == 60
    assert max(pictures) <= 8    # so that the memory is bounded


def test_kept_tokens_give_the_bytes_of_tokens_made_anew(weights):
    graphs, _ = open_graphs(family(settings(weights)), settings(weights))
    rgb = np.random.default_rng(0).random((54, 56, 70, 3), np.float32)
    second = (0, 12, *range(24, 54))
    _, state = infer(graphs, Clip(rgb[:32], tuple(range(32))), None)
    kept, after = infer(graphs, Clip(rgb[list(second)], second), state)
    anew, _ = infer(graphs, Clip(rgb[list(second)], second), None)
    assert kept.maps.tobytes() == anew.maps.tobytes()
    assert set(after) == set(second)    # and nothing older


@pytest.mark.parametrize('length', [1, 8])
def test_what_is_carried_along_stays_where_the_network_computes(length, weights):
    graphs, _ = open_graphs(family(settings(weights)), settings(weights))
    _, state = infer(graphs, Clip(np.zeros((length, 56, 70, 3), np.float32), tuple(range(length))), None)
    assert all(isinstance(one, torch.Tensor) for one in (state if length == 1 else state.values()))


def test_the_windows_are_those_that_the_published_numbers_belong_to():
    assert family(build({})).offline == VDA
    assert family(build({'model.variant': 'metric-large'})).offline == METRIC


def test_rolling_windows_keep_tokens_too(weights):
    stream, pictures = counted(open_stream(settings(weights, length=8, stride=2), live=True))
    assert [depth.index for depth in played(stream, noise(11))] == list(range(11))
    assert sum(pictures) == 11


def test_a_window_that_a_short_video_fills_with_its_last_frame_encodes_it_once(weights):
    stream, pictures = counted(open_stream(settings(weights)))
    assert len(played(stream, noise(3))) == 3
    assert sum(pictures) == 3


def test_a_live_stream_starts_anew_after_a_reset(weights):
    stream, frames = open_stream(settings(weights), live=True), noise(4)
    first = [stream.push(Frame(rgb, number))[0].map for number, rgb in enumerate(frames)]
    stream.reset()
    again = [stream.push(Frame(rgb, number))[0].map for number, rgb in enumerate(frames)]
    assert np.array_equal(first, again)
    assert not np.array_equal(first[2], first[3])


@pytest.mark.parametrize('size', [(14, 14), (14, 300), (20, 14)])
def test_the_smallest_picture_has_a_map_too(size, published):
    for live in (False, True):
        for depth in played(open_stream(settings(published, **{'model.short_side_px': 14}), live=live), noise(3, *size)):
            assert depth.map.shape == size and np.isfinite(depth.map).all()


def test_half_precision_says_about_the_same(weights):
    def maps(precision):
        streams = [open_stream(settings(weights, **{'model.precision': precision}), live=live) for live in (False, True)]
        return np.stack([depth.map for stream in streams for depth in played(stream, noise(3))])

    half, full = maps('bf16'), maps('fp32')
    assert np.corrcoef(half.ravel(), full.ravel())[0, 1] > 0.99


@pytest.mark.parametrize('variant', FILES)
def test_the_variant_is_that_of_the_setting_of_the_file_or_of_the_folder(variant, tmp_path):
    (tmp_path / FILES[variant].name).touch()
    for values in ({'model.variant': variant}, {'weights': str(tmp_path / FILES[variant].name)}, {'weights': str(tmp_path)}):
        found = family(build(values))
        assert found.network.files['model'] == FILES[variant]
        assert found.quantity is (Quantity.DEPTH_METRIC if 'metric' in variant else Quantity.DISPARITY_AFFINE)


def test_without_a_word_it_is_the_small_one_which_is_free():
    found = family(build({}))
    assert (found.network.files['model'].name, found.licence_weights) == ('video_depth_anything_vits.pth', 'Apache-2.0')


@pytest.mark.parametrize('values', [{}, {'length': 8}, {'length': 8, 'stride': 6}])
def test_metres_are_never_fitted_to_metres(values, tmp_path):
    path = tmp_path / 'metric_video_depth_anything_vits.pth'
    torch.save(tiny.small(), path)
    done = played(open_stream(settings(str(path), **values)), noise(40))
    assert {(depth.scale, depth.shift) for depth in done} == {(1.0, 0.0)}
    for depth in done:
        valid = np.isfinite(depth.depth_m)
        assert valid.mean() > 0.5 and np.array_equal(depth.depth_m[valid], depth.map[valid])


@pytest.mark.parametrize(('values', 'error', 'words'), [
    ({'model.variant': 'huge'}, SettingsError, 'expected one of small, base'),
    ({'model.variant': 'large'}, WeightsError, 'vits.pth is small, asked for was model.variant=large'),
    ({'model.variant': 'metric-small'}, WeightsError, 'vits.pth is small, asked for was model.variant=metric-small'),
])
def test_a_variant_that_is_not_that_of_the_file_is_refused(values, error, words, weights):
    with pytest.raises(error, match=words):
        open_stream(settings(weights, **values))


def test_a_small_file_under_another_name_is_not_taken_for_the_large_one(weights, tmp_path):
    path = tmp_path / 'mine.pth'
    path.write_bytes(open(weights, 'rb').read())
    assert open_stream(settings(str(path))).family.quantity is Quantity.DISPARITY_AFFINE
    with pytest.raises(WeightsError, match='asked for was large'):
        open_stream(settings(str(path), **{'model.variant': 'large'}))
