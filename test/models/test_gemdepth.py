"""The network gives the published numbers with the parity kit's weights, from every stage on; and takes published files."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from depth_ros.core.frame import Frame
from depth_ros.core.stream import DepthStream
from depth_ros.errors import InputError, WeightsError
from depth_ros.families import gemdepth as family
from depth_ros.models import gemdepth, weights
from depth_ros.models.vit import Encoder
from depth_ros.settings import build
from test.families.tiny import gemdepth as tiny
from test.models.manifest import manifest
from test.parity.compare import Golden

ON, OFF = 'on', 'off'


@pytest.fixture(scope='module')
def network() -> Iterator[gemdepth.GemDepth]:
    """The network at its published size, 2.7 GB."""
    golden = Golden('gemdepth_forward_seed0')
    shapes = tiny.shapes(**tiny.PUBLISHED)
    tensors = tiny.fill({key: shape for key, shape in shapes.items() if not gemdepth.is_unused(key)})
    for key, value in golden.meta['overrides'].items():
        tensors[key][:] = torch.tensor(value)
    with torch.device('meta'):
        network = gemdepth.GemDepth(shapes)
    yield weights.load(network, tensors, 'pseudo-random')


@pytest.fixture(scope='module')
def features(network) -> torch.Tensor:
    with torch.inference_mode():
        return network.pretrained.features(torch.from_numpy(Golden('gemdepth_forward_seed0')['x'][0]))


def test_the_features_are_the_published_ones(features):
    golden = Golden('gemdepth_forward_seed0')
    golden.check('vit_features', features.flatten(2, 3).transpose(0, 1))
    assert golden.report()


@pytest.mark.parametrize('injection', [ON, OFF])
def test_every_stage_gives_the_published_numbers(network, features, injection):
    golden = Golden('gemdepth_forward_seed0')
    (disparity, pose, embedding), heard = listen(network, features, injection == ON)
    common = {
        'frame_block': heard['frame_blocks.0'], 'global_block': heard['global_blocks.0'],
        'camera_tokens': heard['camera_head:in'], 'pose_enc': torch.stack(heard['camera_head'])[:, None],
        'extrinsic': family.extrinsics(pose.double().numpy())[None],
        'intrinsic': corner_based(family.intrinsics(pose.double().numpy(), disparity.shape[1:]), 1)[None],
    }
    stages = {
        'rel_quat': heard['cam_rot_encoder:in'], 'rel_trans': heard['cam_trans_encoder:in'],
        'log_norm': heard['cam_trans_scale_encoder:in'], 'pose_embedding': embedding, 'dec_norm': heard['dec_norm'],
        'astt_input': heard['spatial_blocks.0:in'], 'spatial0': heard['spatial_blocks.0'], 'time0': heard['time_blocks.0'],
        'astt_out': heard['time_blocks.1'], 'motion1': heard['head.motion_modules.1'].transpose(0, 1)[None],
        'motion3': heard['head.motion_modules.3'].transpose(0, 1)[None], 'pre_relu': heard['head'], 'depth': disparity[None],
    }
    tensors = golden.meta['tensors']
    for key, value in stages.items():
        if f'{key}_{injection}' in tensors:
            golden.check(f'{key}_{injection}', value)
        elif injection == ON:
            golden.check(key, value)
    for key, value in common.items():
        golden.check(key, value)
    assert golden.report()


def test_a_video_in_windows_of_eight_gives_the_published_depth_and_cameras(network):
    golden = Golden('gemdepth_e2e_w8_seed0')
    settings = build({'family': 'gemdepth', 'length': 8, 'model.short_side_px': 56, 'alignment.fit': 'least_squares',
                      'alignment.cuts': False, 'alignment.scale_low': 1e-3, 'alignment.scale_high': 1e3})
    record, spec = family.family(settings), family.PRESETS[8]
    graphs = {'encoder': InTorch(Encoder(network.pretrained)), 'window': InTorch(gemdepth.Window(network, True))}
    stream = DepthStream(record, graphs, spec, settings)
    frames = [Frame(rgb, index, None, 'camera') for index, rgb in enumerate(golden['frames'])]
    done = [depth for frame in frames for depth in stream.push(frame)] + stream.flush()
    golden.check('depth', np.stack([depth.map for depth in done]))

    poses = {}    # a later window has the last word on frames that are cross-faded
    for number, out in enumerate(graphs['window'].outputs):
        first = spec.overlap - spec.blend if number else 0
        poses |= {number * spec.stride + slot: out['pose'][slot] for slot in range(first, spec.length)}
    pose = np.stack([poses[index] for index in range(len(frames))]).astype(np.float64)
    golden.check('extrinsics', family.extrinsics(pose))
    golden.check('intrinsics', corner_based(family.intrinsics(pose, (56, 70)), np.array([80 / 70, 60 / 56])))
    assert golden.report()


def test_the_keys_and_shapes_are_those_of_the_published_file(shared):
    published = manifest(shared, 'gemdepth_vitl')
    assert gemdepth.expected('model', published) == published
    assert tiny.shapes(**tiny.PUBLISHED) == published


def test_a_file_without_registers_is_not_of_this_family():
    with pytest.raises(WeightsError, match='register_token'):
        gemdepth.expected('model', {'pretrained.patch_embed.proj.weight': (64, 3, 14, 14)})


def test_a_file_without_an_encoder_of_the_geometry_is_not_of_this_family():
    shapes = {key: shape for key, shape in tiny.shapes(**tiny.TINY).items() if not key.startswith('cam_rot_encoder')}
    with pytest.raises(WeightsError, match='cam_rot_encoder'):
        gemdepth.expected('model', shapes)


def test_a_file_that_lacks_a_part_is_not_half_loaded(tmp_path):
    tensors = torch.load(tiny.write(tmp_path), weights_only=True)
    del tensors['dec_norm.weight']
    torch.save(tensors, tmp_path / 'gemdepth.pth')
    with pytest.raises(WeightsError, match='1 missing .dec_norm.weight'):
        gemdepth.open_graphs({'model': tmp_path / 'gemdepth.pth'}, torch.float32, 'cpu')


def test_a_window_longer_than_the_table_of_frame_indices_is_refused(tmp_path):
    window = gemdepth.open_graphs({'model': tiny.write(tmp_path)}, torch.float32, 'cpu')['window']
    with pytest.raises(InputError, match='51 frames.*50'):
        window(**{f'frame{i:02}': torch.zeros(4, 2, 2, 64) for i in range(51)})


def test_ways_are_measured_from_the_first_camera_in_units_of_their_mean_length():
    pose = torch.zeros(3, 9)
    pose[:, 2] = torch.tensor([5.0, 6.0, 8.0])
    pose[:, 6] = 1
    turn, way, log_length = gemdepth.relative_to_first(pose)
    assert torch.equal(turn, torch.tensor([0.0, 0, 0, 1]).expand(3, 4))
    assert torch.allclose(way[:, 2], torch.tensor([0, 1 / 2, 3 / 2]))
    assert torch.allclose(log_length.exp(), torch.full((3, 1), 2.0))


def test_turning_the_first_camera_turns_the_ways():
    half = 2 ** -0.5
    pose = torch.tensor([[0, 0, 0, 0, 0, half, half, 1, 1], [1, 0, 0, 0, 0, half, half, 1, 1]])    # a quarter turn about z
    turn, way, _ = gemdepth.relative_to_first(3 * pose)
    assert torch.allclose(turn, torch.tensor([0.0, 0, 0, 1]).expand(2, 4), atol=1e-6)
    assert torch.allclose(way[1], torch.tensor([0.0, -1, 0]), atol=1e-6)


class InTorch:
    """A graph that keeps what it gave."""

    def __init__(self, module):
        self.module, self.inputs, self.outputs = module, {}, []

    def run(self, inputs):
        with torch.inference_mode():
            out = self.module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        self.outputs.append({name: value.numpy() for name, value in out.items()})
        return self.outputs[-1]


def listen(network, features, pose_injection):
    """Return what the network says of a window, and {module: output, module:in: input} of its parts."""
    heard, hooks = {}, []
    names = ('frame_blocks.0', 'global_blocks.0', 'camera_head', 'cam_rot_encoder', 'cam_trans_encoder',
             'cam_trans_scale_encoder', 'dec_norm', 'spatial_blocks.0', 'time_blocks.0', 'time_blocks.1', 'head',
             'head.motion_modules.1', 'head.motion_modules.3')
    for name in names:
        hooks.append(network.get_submodule(name).register_forward_hook(
            lambda _, inputs, output, name=name: heard.update({name: output, f'{name}:in': inputs[0]})))
    try:
        with torch.inference_mode():
            return network(features, pose_injection), heard
    finally:
        for hook in hooks:
            hook.remove()


def corner_based(K, factor):
    """Return K (T, 3, 3) scaled, with pixel positions counted from the corner, as published."""
    K = K.copy()
    K[:, :2, 2] += 0.5
    K[:, :2] *= np.broadcast_to(factor, 2)[:, None]
    return K
