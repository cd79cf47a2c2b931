"""Video Depth Anything gives the published numbers with the parity kit's weights; keeping keys and values changes none."""

import numpy as np
import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.errors import WeightsError  # noqa: E402
from depth_ros.families.video_depth_anything import context, remember  # noqa: E402
from depth_ros.models import video_depth_anything, weights  # noqa: E402
from depth_ros.models.vit import Encoder  # noqa: E402
from test.families.tiny import video_depth_anything as tiny  # noqa: E402
from test.models.manifest import manifest  # noqa: E402
from test.parity.compare import Golden  # noqa: E402


def network_of(golden):
    """The small network, of the parity kit's tensors."""
    tensors = tiny.fill(tiny.shapes())
    for key, value in golden.meta['overrides'].items():
        tensors[key].fill_(value)
    with torch.device('meta'):
        network = video_depth_anything.VideoDepthAnything(weights.shapes_of(tensors))
    return weights.load(network, tensors, 'pseudo-random')


@pytest.fixture(scope='module')
def network():
    return network_of(Golden('vda_s_forward_seed0'))


@pytest.fixture
def small_network():
    tensors = tiny.small()
    with torch.device('meta'):
        network = video_depth_anything.VideoDepthAnything(weights.shapes_of(tensors))
    return weights.load(network, tensors, 'pseudo-random')


def listen(network):
    """{stage: what came out of it} of all that the network computes from now on; call the second to stop."""
    head, heard = network.head, {}
    stages = {
        'vit_block0': network.pretrained.blocks[0],
        'mm0_groupnorm': head.motion_modules[0].temporal_transformer.norm,
        **{f'motion{i}': module for i, module in enumerate(head.motion_modules)},
        'refinenet4': head.scratch.refinenet4,
        'output_conv1': head.scratch.output_conv1,
        'pre_relu': head.scratch.output_conv2,
    }

    def hear(name):
        return lambda module, inputs, output: heard.setdefault(name, []).append(output)

    hooks = [module.register_forward_hook(hear(name)) for name, module in stages.items()]
    return heard, lambda: [hook.remove() for hook in hooks]


def check_window(network):
    golden = Golden('vda_s_forward_seed0')
    heard, stop = listen(network)
    features = network.pretrained.features(torch.from_numpy(golden['x'][0]))
    disparity = network.decode(features)
    stop()
    golden.check('vit_features', features.transpose(0, 1).flatten(2, 3))
    for name, parts in heard.items():
        value = torch.cat(parts)    # the fine half of the head takes a few frames at a time
        golden.check(name, value.transpose(0, 1)[None] if name.startswith('motion') else value)
    golden.check('depth', disparity[None])
    return golden


def test_every_stage_of_a_window_gives_the_published_numbers(network):
    golden = check_window(network)
    assert golden.report()
    assert {row[0] for row in golden.rows} == set(golden.meta['tensors']) - {'frames', 'x'}


def test_a_position_table_sampled_elsewhere_is_noticed(network):
    network.pretrained.position_offset = 0
    try:
        assert not check_window(network).report()
    finally:
        network.pretrained.position_offset = 0.1


def stream_without_cache(network, frames):
    """The published streaming form as it stands: what is kept are the normalised tokens, all projected again every time.

    Returns (maps (T, h, w), tokens kept of the first and of the last frame, one of (N, 1, C) per attention).
    """
    kept, maps = (), []
    for frame in frames:
        past, own = context(kept), []

        def attend(attention, x, past=past, own=own):
            own.append(x)
            earlier = [one[len(own) - 1] for one in past]
            return attention(torch.cat((*earlier, x), dim=1))[:, -1:]

        maps.append(network.decode(frame[None], attend))
        kept = remember(kept, own)
    return torch.cat(maps), kept[0], kept[-1]


def stream_with_cache(network, frames):
    step, kept, maps = video_depth_anything.Step(network), (), []
    for frame in frames:
        out = step(frame, **{f'past{slot:02}': one for slot, one in enumerate(context(kept))})
        maps.append(out['map'])
        kept = remember(kept, out['keep'])
    return torch.cat(maps)


@pytest.fixture(scope='module')
def streamed(network):
    """Tokens of the published stream's frames."""
    from depth_ros.families.preprocess import normalise, shrink_cubic
    golden = Golden('vda_s_stream_seed0')
    pictures = np.stack([shrink_cubic(rgb, (56, 70)) for rgb in golden['frames']])
    return network.pretrained.features(torch.from_numpy(normalise(pictures)))


def test_a_stream_gives_the_published_numbers_and_remembers_the_published_tokens(network, streamed):
    golden = Golden('vda_s_stream_seed0')
    heard, stop = listen(network)
    _, first, last = stream_without_cache(network, streamed)
    stop()
    golden.check('pre_relu', torch.cat(heard['pre_relu']))
    golden.check('cache_first_mm0', first[0])
    golden.check('cache_last_mm3', last[7])
    assert golden.report()
    assert [list(tokens.shape) for tokens in first] == golden.meta['cache_shapes']


def test_keys_and_values_that_are_kept_say_the_same_as_all_projected_anew(network, streamed):
    expected, _, _ = stream_without_cache(network, streamed)
    found = stream_with_cache(network, streamed)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert not torch.allclose(found[1], network.decode(streamed[1:2])[0], atol=1e-2)    # the past matters


def test_a_stream_far_beyond_its_memory_says_the_same_too(small_network):
    torch.manual_seed(0)
    small_network.double()    # so that only what is not the same shows
    frames = torch.randn(60, 4, 2, 3, 64).double()
    expected, _, _ = stream_without_cache(small_network, frames)
    assert expected.std() > 0.1
    assert (stream_with_cache(small_network, frames) - expected).abs().max() < 1e-10


def test_the_frames_of_a_window_look_at_each_other_and_their_order_matters(small_network):
    torch.manual_seed(0)
    frames = torch.randn(5, 4, 2, 3, 64)
    maps = small_network.decode(frames)
    assert not torch.allclose(small_network.decode(frames.flip(0)).flip(0), maps, atol=1e-3)
    other = frames.clone()
    other[4] += 1
    assert not torch.allclose(small_network.decode(other)[0], maps[0], atol=1e-3)


def test_what_belongs_to_a_frame_travels_alone(small_network):
    torch.manual_seed(0)
    out = Encoder(small_network.pretrained)(torch.randn(3, 3, 28, 42))
    assert list(out) == ['frame00', 'frame01', 'frame02']
    assert out['frame01'].shape == (4, 2, 3, 64)
    assert out['frame01'].untyped_storage().nbytes() == 4 * out['frame01'].numel()    # does not hold on to the others


@pytest.mark.parametrize('name', ['vda_vits', 'vda_vitb', 'vda_vitl'])
def test_every_published_file_fits(name, shared):
    published = manifest(shared, name)
    assert video_depth_anything.expected('model', published) == published


def test_the_file_of_another_size_or_network_is_refused_in_one_sentence(tmp_path):
    shapes = tiny.shapes(depth=1, features=32, channels=(8, 8, 32, 32), positions=2)
    path = tmp_path / 'video_depth_anything_vits.pth'
    torch.save({key: torch.zeros(shape) for key, shape in shapes.items()}, path)
    video_depth_anything.open_graphs({'model': path}, torch.float32, 'cpu', size='small')
    with pytest.raises(WeightsError, match='holds the small network .* asked for was large .* model.variant'):
        video_depth_anything.open_graphs({'model': path}, torch.float32, 'cpu', size='large')
    without_time = {key: shape for key, shape in shapes.items() if 'motion_modules' not in key}
    with pytest.raises(WeightsError, match='no temporal modules'):
        video_depth_anything.expected('model', without_time)


def test_a_file_that_broke_off_or_lost_an_entry_is_refused_in_one_sentence(tmp_path):
    path = tiny.write(tmp_path)
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match='damaged'):
        video_depth_anything.open_graphs({'model': broken}, torch.float32, 'cpu')
    tensors = weights.read_tensors(path)
    del tensors['pretrained.norm.bias']
    torch.save(tensors, broken)
    with pytest.raises(WeightsError, match='1 missing .pretrained.norm.bias'):
        video_depth_anything.open_graphs({'model': broken}, torch.float32, 'cpu')
