"""The network gives the published numbers with the parity kit's weights, stage by stage; and takes published files."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from depth_ros.core.frame import Clip
from depth_ros.errors import WeightsError
from depth_ros.families import pixel_perfect as family
from depth_ros.models import pixel_perfect
from depth_ros.models.dit import FinalLayer, Sizes, TimeEmbedding, refine
from depth_ros.models.pixel_perfect import CascadeDiT, Semantics
from depth_ros.models.vit import VisionTransformer
from depth_ros.runtime.torch_graph import TorchGraph
from test.families.tiny import pixel_perfect as tiny
from test.models.manifest import manifest
from test.parity.compare import Golden
from test.parity.networks import filled, listen

PUBLISHED = Sizes(dim=1024, depth=24, head_dim=64, hidden=4096, patch=16, channels=4, waves=256, semantics=1024, fused=4096)


@pytest.fixture(scope='module')
def networks() -> Iterator[dict[str, Any]]:
    """Both networks at their published sizes, 3.2 GB."""
    with torch.device('meta'):
        dit, semantics = CascadeDiT(PUBLISHED), Semantics(VisionTransformer(1024, depth=24, heads=16))
    yield {'denoise': filled(dit, 'dit.', {}), 'semantics': filled(semantics, '', {})}
    del dit, semantics
    gc.collect()


@pytest.mark.slow
def test_every_stage_gives_the_published_numbers(networks):
    dit, semantics = networks['denoise'], networks['semantics']
    golden = Golden('ppd_seed0')
    heard = listen({
        'semantics': semantics.pretrained, 'x_embed': dit.x_embedder, 't_embed': dit.t_embedder, 'fusion': dit.proj_fusion,
        'velocity': dit, **{f'block{i}': dit.blocks[i] for i in (0, 11, 12, 23)}})
    graphs = {name: TorchGraph(network, 'cpu', torch.float32) for name, network in networks.items()}
    clip = Clip(golden['image_bgr'][None, ..., ::-1], (0,))
    golden.check('image', clip.rgb.transpose(0, 3, 1, 2) / 255)
    prediction, _ = family.infer(graphs, clip, golden['noise'], steps=4, seed=0)

    golden.check('semantics', heard['semantics'][0][0])
    golden.check('semantics_l2', heard['fusion:in'][0][..., 1024:])
    golden.check('x_embed', heard['x_embed'][-1])    # the kit has it of the last step, the blocks of the first
    for name in ('block0', 'block11', 'fusion', 'block12', 'block23'):
        golden.check(name, heard[name][0])
    golden.check('t_embed', torch.cat(heard['t_embed']))
    golden.check('step_input', torch.cat(heard['x_embed:in']))
    golden.check('velocity', torch.cat([out['velocity'] for out in heard['velocity']]))
    golden.check('depth', prediction.maps)
    assert golden.report()


@pytest.mark.parametrize('prefix', ['dit.', '', 'pipeline.dit.'])
def test_the_keys_and_shapes_are_those_of_the_published_file_whatever_stands_before_them(prefix, shared):
    published = manifest(shared, 'ppd_dit', prefix)
    assert pixel_perfect.expected('model', published) == published


def test_the_semantics_are_those_of_the_published_depth_anything(shared):
    published = manifest(shared, 'dav2_vitl')
    assert pixel_perfect.expected('semantics', published) == published


def test_a_file_of_another_network_is_refused_in_one_sentence(shared):
    for role, other in (('model', 'dav2_vitl'), ('semantics', 'ppd_dit')):
        with pytest.raises(WeightsError, match='take the official file of this family'):
            pixel_perfect.expected(role, manifest(shared, other))


def opened(folder):
    files = {'model': folder / 'ppd.pth', 'semantics': folder / 'depth_anything_v2_vitl.pth'}
    return pixel_perfect.open_graphs(files, torch.float32, 'cpu')


def rewrite(path, change):
    tensors = torch.load(path, weights_only=True)
    torch.save(change(tensors), path)


def test_a_missing_entry_is_named(tmp_path):
    path = tiny.write(tmp_path) / 'ppd.pth'
    rewrite(path, lambda tensors: {key: t for key, t in tensors.items() if 'fusion.4.bias' not in key})
    with pytest.raises(WeightsError, match=r'ppd.pth does not fit CascadeDiT: 1 missing \(proj_fusion.4.bias\)'):
        opened(tmp_path)


def test_the_depth_head_of_the_semantics_may_be_missing_but_nothing_may_be_left_over(tmp_path):
    path = tiny.write(tmp_path) / 'depth_anything_v2_vitl.pth'
    rewrite(path, lambda tensors: {key: t for key, t in tensors.items() if not key.startswith('depth_head')})
    assert set(opened(tmp_path)) == {'semantics', 'denoise'}
    rewrite(path, lambda tensors: tensors | {'head.proj.weight': torch.zeros(1)})
    with pytest.raises(WeightsError, match='left over .head.proj.weight'):
        opened(tmp_path)


def test_semantics_of_another_size_are_refused_with_both_sizes(tmp_path):
    tiny.write(tmp_path)
    smaller = Semantics(VisionTransformer(32, depth=2, heads=1))
    torch.save(smaller.state_dict(), tmp_path / 'depth_anything_v2_vitl.pth')
    with pytest.raises(WeightsError, match='takes semantics of 64 channels, .* gives 32'):
        opened(tmp_path)


def test_semantics_are_one_token_of_unit_length_for_each_coarse_patch(tmp_path):
    graph = opened(tiny.write(tmp_path))['semantics']
    tokens = graph(torch.rand(1, 3, 32, 48))['semantics']
    assert tokens.shape == (1, 2 * 3, 64)
    assert torch.allclose(tokens.norm(dim=-1), torch.ones(1, 6), atol=1e-5)


def test_a_coarse_token_becomes_the_four_fine_tokens_of_its_place():
    fine = torch.arange(4 * 6).reshape(4, 6)                                     # a grid of 4 x 6, token = its number
    coarse = fine.reshape(2, 2, 3, 2).permute(0, 2, 1, 3).reshape(1, 2 * 3, 4)   # row, column | row and column within
    assert torch.equal(refine(coarse, 2, 3).flatten(), fine.flatten())


def test_the_pixels_of_a_token_lie_row_by_row_in_its_patch():
    sizes = Sizes(dim=4, depth=2, head_dim=4, hidden=4, patch=4, channels=4, waves=4, semantics=4, fused=4)
    layer = FinalLayer(sizes)
    torch.nn.init.zeros_(layer.linear.weight)
    layer.linear.bias.data = torch.tensor([1.0, 2.0, 3.0, 4.0])
    picture = layer(torch.randn(1, 1 * 2, 4), torch.randn(1, 4), 1, 2)
    assert picture[0, 0].tolist() == [[1, 2, 1, 2], [3, 4, 3, 4]]


def test_time_steps_that_half_precision_cannot_tell_apart_stay_apart():
    embedding = TimeEmbedding(8, 16).to(torch.bfloat16)
    assert torch.tensor(750).bfloat16() == torch.tensor(752).bfloat16()
    assert not torch.equal(embedding(torch.tensor([750])), embedding(torch.tensor([752])))
