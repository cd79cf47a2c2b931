"""DINOv2: where its table of positions is sampled, what turns by a position, what it refuses."""

import math

import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from depth_ros.errors import InputError, WeightsError  # noqa: E402
from depth_ros.models.vit import VisionTransformer, layers_of, rope_2d, rotate, vit_like  # noqa: E402
from depth_ros.models.weights import count, shape, shapes_of  # noqa: E402
from test.models.manifest import manifest  # noqa: E402


def transformer(**options):
    torch.manual_seed(0)
    network = VisionTransformer(embed_dim=8, depth=4, heads=2, positions=1 + 6 * 6, **options)
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.3)
    return network.eval().requires_grad_(False)


def table_of_columns(**options):
    """A transformer whose table says in which column of its own grid a token is."""
    network = transformer(**options)
    network.pos_embed[0, 1:] = torch.arange(6.0).repeat(6)[:, None]
    return network


def columns(network, h, w):
    return network._positions(h, w)[0, 1:, 0].view(h, w)


def test_the_table_is_untouched_on_its_own_grid():
    network = table_of_columns()
    assert network._positions(6, 6) is network.pos_embed


@pytest.mark.parametrize(('offset', 'factor'), [(0.1, 12.1 / 6), (0.0, 12 / 6)])
def test_another_grid_samples_the_table_by_its_own_factor(offset, factor):
    found = columns(table_of_columns(position_offset=offset), 5, 12)
    place = (torch.arange(3, 9) + 0.5) / factor - 0.5    # away from the border
    assert torch.allclose(found[2, 3:9], cubic(torch.arange(6.0), place), atol=1e-5)


def cubic(values, place):
    """Cubic convolution (Keys 1981, a = -0.75) of values at 0, 1, 2, ..."""
    d = (place[:, None] - torch.arange(len(values))).abs()
    near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * d**3 + 3.75 * d**2 - 6 * d + 3
    return torch.where(d < 1, near, torch.where(d < 2, far, 0)) @ values


@pytest.mark.parametrize('antialias', [False, True])
def test_a_much_coarser_grid_hears_all_of_the_table_only_if_that_is_asked_for(antialias):
    network = table_of_columns(position_offset=0, antialias=antialias)
    before = columns(network, 1, 1).clone()
    network.pos_embed[0, 1::6] += 1    # the first column, which a cubic kernel around the middle does not reach
    assert torch.equal(columns(network, 1, 1), before) != antialias


def test_rows_and_columns_do_not_change_places():
    found = columns(table_of_columns(), 3, 12)
    assert torch.allclose(found[0], found[2], atol=1e-5)
    assert found[0, 11] - found[0, 0] > 4


def test_the_class_token_has_a_place_of_its_own_in_every_grid():
    network = transformer()
    assert torch.equal(network._positions(3, 4)[0, 0], network.pos_embed[0, 0])


def test_layers_come_back_in_the_order_asked_for_one_token_per_patch():
    network, x = transformer(), torch.randn(2, 3, 28, 42)
    first, last = network(x, [1, 3])
    assert first.shape == last.shape == (2, 2 * 3, 8)
    assert torch.equal(network(x, [3, 1])[0], last)
    assert torch.equal(network(x, [3])[0], last)


def test_registers_are_looked_at_and_not_given_back():
    with_registers, x = transformer(registers=4), torch.randn(1, 3, 28, 42)
    before = with_registers(x, [3])[0]
    with_registers.register_tokens += torch.arange(8)
    assert not torch.allclose(with_registers(x, [3])[0], before)
    for block in with_registers.blocks:    # nothing looks at anything any more
        block.ls1.gamma.zero_()
        block.ls2.gamma.zero_()
    patches = with_registers.patch_embed(x) + with_registers._positions(2, 3)[:, 1:]
    assert torch.equal(with_registers(x, [3])[0], with_registers.norm(patches))


def test_every_picture_of_a_batch_is_seen_alone():
    network, x = transformer(), torch.randn(3, 3, 28, 28)
    together = network(x, [3])[0]
    assert torch.allclose(network(x[1:2], [3])[0][0], together[1], atol=1e-6)


@pytest.mark.parametrize('size', [(27, 28), (28, 43), (13, 28)])
def test_a_picture_that_does_not_fall_into_patches_is_refused(size):
    with pytest.raises(InputError, match='multiples of 14'):
        transformer()(torch.zeros(1, 3, *size), [0])


def test_a_quarter_turn_by_row_and_a_half_turn_by_column():
    rope = rope_2d(torch.tensor([[math.pi / 2, math.pi]]), head_dim=4)
    turned = rotate(torch.tensor([1.0, 0, 1, 0]).view(1, 1, 1, 4), rope)
    assert torch.allclose(turned.flatten(), torch.tensor([0.0, 1, -1, 0]), atol=1e-6)


def test_what_two_turned_tokens_say_to_each_other_depends_on_their_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, 64)
    positions = torch.tensor([[3.0, 5], [1, 2], [13, 4], [11, 1]])
    a, b, c, d = (rope_2d(position[None], 64) for position in positions)
    assert torch.allclose((rotate(q, a) * rotate(k, b)).sum(), (rotate(q, c) * rotate(k, d)).sum(), atol=1e-4)


def test_the_slowest_channels_turn_a_hundredth_as_fast_as_the_first_almost():
    cos, _ = rope_2d(torch.tensor([[1.0, 0]]), head_dim=64)
    angle = cos[0, :16].arccos()
    assert angle[0] == pytest.approx(1)
    assert angle[15] == pytest.approx(100 ** (-15 / 16), rel=1e-3)


def test_positions_may_differ_from_picture_to_picture():
    positions = torch.randn(2, 1, 6, 2)
    q = torch.randn(2, 4, 6, 8)
    alone = rotate(q[1:], rope_2d(positions[1, 0], 8))
    assert torch.equal(rotate(q, rope_2d(positions, 8))[1:], alone)


@pytest.mark.parametrize(('name', 'depth', 'heads'), [('dav2_vits', 12, 6), ('dav2_vitb', 12, 12), ('dav2_vitl', 24, 16)])
def test_sizes_are_those_of_the_file(name, depth, heads, shared):
    published = manifest(shared, name)
    with torch.device('meta'):
        network = vit_like(published, 'pretrained.')
    assert (len(network.blocks), network.blocks[0].attn.heads) == (depth, heads)
    assert {f'pretrained.{key}': value for key, value in shapes_of(network).items()}.items() <= published.items()


def test_a_published_encoder_with_registers_fits(shared):
    published = manifest(shared, 'pi3')
    with torch.device('meta'):
        network = vit_like(published, 'encoder.', position_offset=0, antialias=True)
    ours = {key: value for key, value in published.items() if key.startswith('encoder.')}
    assert {f'encoder.{key}': value for key, value in shapes_of(network).items()} == ours


def test_a_file_without_a_transformer_is_named_as_such():
    for look in (lambda: vit_like({}, 'pretrained.'), lambda: count({'head.a': (1,)}, 'blocks.'),
                 lambda: shape({'a': (1,)}, 'a', 2)):
        with pytest.raises(WeightsError, match='take the official file'):
            look()


def test_the_head_looks_at_the_published_blocks():
    assert [layers_of(depth) for depth in (12, 24, 40, 4)] == [(2, 5, 8, 11), (4, 11, 17, 23), (9, 19, 29, 39), (0, 1, 2, 3)]
