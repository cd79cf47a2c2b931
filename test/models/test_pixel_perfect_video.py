"""The network gives the published numbers with the parity kit's weights, two windows long; and takes published files."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from depth_ros.core.frame import Clip
from depth_ros.errors import WeightsError
from depth_ros.families import pixel_perfect_video as family
from depth_ros.models import pixel_perfect_video
from depth_ros.models.pi3 import Pi3
from depth_ros.models.pixel_perfect_video import Semantics, VideoDiT, references, sincos_2d
from depth_ros.models.vit import MEAN, STD, VisionTransformer
from depth_ros.runtime.torch_graph import TorchGraph
from test.families.tiny import pixel_perfect_video as tiny
from test.models.manifest import manifest
from test.models.test_pixel_perfect import PUBLISHED
from test.parity.compare import Golden
from test.parity.networks import filled, listen

SIDE = 4    # of the coarse grid in the kit, for frames of 64 x 64 px


@pytest.fixture(scope='module')
def networks() -> Iterator[dict[str, Any]]:
    """Both networks at their published sizes, 5.3 GB, for frames of 64 x 64 px."""
    encoder = dict(embed_dim=1024, depth=24, heads=16, registers=4, mask_token=False, position_offset=0.0, antialias=True)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    with torch.device('meta'):
        dit = VideoDiT(replace(PUBLISHED, semantics=2048), SIDE, temporal=3)
        pi3 = Pi3(VisionTransformer(**encoder), dim=1024, depth=36, head_dim=64, hidden=4096, registers=5)
    filled(dit, 'dit_video.', {'pos_embed': sincos_2d(1024, SIDE)})
    filled(pi3, '', {'image_mean': mean, 'image_std': std})
    yield {'denoise': dit, 'semantics': Semantics(pi3)}
    del dit, pi3
    gc.collect()


def infer(networks, golden, window):
    """The maps of a window of the kit's video, whose frames the published path shows as BGR."""
    ids = golden['window_frame_ids'][window]
    graphs = {name: TorchGraph(network, 'cpu', torch.float32) for name, network in networks.items()}
    clip = Clip(golden['frames'][ids].astype(np.float32) / 255, tuple(ids))
    return family.infer(graphs, clip, golden['noise'], steps=4, seed=0, swap_channels=True)[0].maps


@pytest.mark.slow
def test_every_stage_of_a_window_gives_the_published_numbers(networks):
    dit, pi3 = networks['denoise'], networks['semantics'].pi3
    golden = Golden('ppvd_seed0')
    heard = listen({
        'semantics': pi3, 'pi3_decoder0': pi3.decoder[0], 'pi3_decoder1': pi3.decoder[1], 'fusion': dit.proj_fusion,
        'velocity': dit, 'temporal0': dit.temporal_blocks[0], 'temporal2': dit.temporal_blocks[2],
        **{f'block{i}': dit.blocks[i] for i in (0, 11, 17, 18, 23)}})
    maps = infer(networks, golden, 0)

    golden.check('semantics_w0', heard['semantics'][0])
    golden.check('semantics_l2', heard['fusion:in'][0][..., 1024:])
    golden.check('tokens_in', heard['block0:in'][0])
    golden.check('block18_in', heard['block18:in'][0][:, 4 * SIDE ** 2:])
    for name in ('pi3_decoder0', 'pi3_decoder1', 'block11', 'block17', 'block18', 'temporal0', 'temporal2', 'block23'):
        golden.check(name, heard[name][0])
    golden.check('velocity_w0', torch.stack([out['velocity'][:, 0] for out in heard['velocity']]))
    golden.arrays = {'preds': golden['preds'][0]}
    golden.check('preds', maps)
    assert golden.report()


@pytest.mark.slow
def test_the_next_window_starts_from_the_same_noise_and_gives_the_published_numbers(networks):
    golden = Golden('ppvd_seed0')
    heard = listen({'semantics': networks['semantics'].pi3, 'velocity': networks['denoise']})
    maps = infer(networks, golden, 1)
    golden.check('semantics_w1', heard['semantics'][0])
    golden.check('velocity_last', heard['velocity'][-1]['velocity'])
    golden.arrays = {'preds': golden['preds'][1]}
    golden.check('preds', maps)
    assert golden.report()


def test_the_table_of_positions_is_the_published_one():
    golden = Golden('ppvd_seed0')
    golden.check('pos_embed', sincos_2d(1024, SIDE))
    golden.check('pos_embed_512', sincos_2d(1024, 32))
    assert golden.report()


@pytest.mark.parametrize('prefix', ['dit_video.', ''])
def test_the_keys_and_shapes_are_those_of_the_published_file_with_and_without_their_prefix(prefix, shared):
    published = manifest(shared, 'ppvd_dit_video', prefix)
    assert pixel_perfect_video.expected('model', published) == published


def test_the_semantics_are_those_of_the_published_pi3(shared):
    published = manifest(shared, 'pi3')
    assert pixel_perfect_video.expected('semantics', published) == published


def test_a_file_of_single_pictures_is_refused_in_one_sentence(shared):
    with pytest.raises(WeightsError, match='pos_embed; take the official file of this family'):
        pixel_perfect_video.expected('model', manifest(shared, 'ppd_dit', 'dit.'))


def opened(folder, side_px=tiny.SIDE_PX):
    files = {'model': folder / 'ppvd.pth', 'semantics': folder / 'model.safetensors'}
    return pixel_perfect_video.open_graphs(files, torch.float32, 'cpu', side_px)


def test_a_file_for_another_picture_size_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(WeightsError, match='frames of 64 x 64 px, asked for were 512 x 512; set model.short_side_px to 64'):
        opened(tiny.write(tmp_path), 512)


def test_a_half_written_file_of_semantics_is_named(tmp_path):
    path = tiny.write(tmp_path) / 'model.safetensors'
    tensors = load_file(path)
    del tensors['decoder.3.norm2.bias']
    save_file(tensors, path)
    with pytest.raises(WeightsError, match=r'model.safetensors does not fit Pi3: 1 missing \(decoder.3.norm2.bias\)'):
        opened(tmp_path)


def test_references_are_means_of_four_by_four_tokens_of_the_first_three_frames():
    x = torch.arange(5.0)[:, None, None] + torch.zeros(5, 8 * 4, 1)    # frame t is t everywhere,
    x[:, :4 * 4] += 10                                                 # and more in its upper half
    found = references(x, 8, 4)
    assert found.shape == (5, 3 * 2, 1)
    assert all(row.flatten().tolist() == [10, 0, 11, 1, 12, 2] for row in found)


def test_without_temporal_blocks_a_frame_sees_the_first_three_and_no_other():
    dit = VideoDiT(tiny.SIZES, SIDE, temporal=0)
    rgb, latent, semantics = torch.rand(6, 3, 64, 64), torch.randn(6, 1, 64, 64), torch.randn(6, SIDE ** 2, 128)

    @torch.inference_mode()
    def last_frame(rgb):
        return dit(latent, rgb, semantics, torch.tensor([500]))['velocity'][5]

    others = [torch.cat((rgb[:i], 1 - rgb[i:i + 1], rgb[i + 1:])) for i in range(6)]
    changes = [float((last_frame(other) - last_frame(rgb)).abs().max()) for other in others]
    assert [change > 1e-6 for change in changes] == [True, True, True, False, False, True]
