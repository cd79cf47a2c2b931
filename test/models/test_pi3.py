"""Pi3 up to its features; its parity with the published numbers is part of that of Pixel-Perfect Video Depth."""

import pytest
import torch

from depth_ros.errors import WeightsError
from depth_ros.models import weights
from depth_ros.models.pi3 import UNUSED, Pi3, pi3_like
from depth_ros.models.vit import VisionTransformer
from test.models.manifest import manifest
from test.parity.fill import fill_torch


@pytest.fixture
def network() -> Pi3:
    encoder = VisionTransformer(32, depth=1, heads=1, positions=1 + 4 * 4, registers=4, mask_token=False)
    network = Pi3(encoder, dim=32, depth=4, head_dim=16, hidden=64, registers=5)
    fill_torch(network, 0)
    return network.eval()


def test_the_keys_and_shapes_are_those_of_the_published_file_without_the_heads(shared):
    published = manifest(shared, 'pi3')
    with torch.device('meta'):
        network = pi3_like(published)
    assert weights.shapes_of(network) == {key: size for key, size in published.items() if not key.startswith(UNUSED)}


def test_another_file_is_refused(shared):
    with pytest.raises(WeightsError, match='no 4-dimensional entry encoder.patch_embed.proj.weight'):
        pi3_like(manifest(shared, 'dav2_vits'))


def test_there_is_one_feature_of_two_layers_for_each_patch(network):
    assert network(torch.rand(3, 3, 28, 42)).shape == (3, 2 * 3, 2 * 32)


def test_the_order_of_the_pictures_does_not_matter(network):
    pictures, order = torch.rand(4, 3, 28, 28), torch.tensor([2, 0, 3, 1])
    assert torch.allclose(network(pictures)[order], network(pictures[order]), atol=1e-5)


def test_every_picture_sees_the_others(network):
    pictures = torch.rand(3, 3, 28, 28)
    changed = torch.cat((pictures[:2], 1 - pictures[2:]))
    assert (network(pictures)[0] - network(changed)[0]).abs().max() > 1e-3
