"""Pi3 up to its features: a geometry transformer that sees several pictures of one scene, in any order (Wang et al. 2025).

Each picture goes through DINOv2 with registers; then blocks look, in turn, at the tokens of one picture and at those of all
pictures. The features are what the published heads read points, confidence and poses from; the heads are not built.
Attribute names are the keys of the published checkpoint.
"""

import torch
from torch import Tensor, nn

from depth_ros.models.vit import Block, VisionTransformer, rope_2d, vit_like
from depth_ros.models.weights import Shapes, count, shape

UNUSED = ('point_decoder.', 'conf_decoder.', 'camera_decoder.', 'point_head.', 'conf_head.', 'camera_head.')


class Pi3(nn.Module):
    """Pictures of one scene to features that agree from view to view."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, encoder: VisionTransformer, dim: int, depth: int, head_dim: int, hidden: int, registers: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.encoder = encoder
        self.decoder = nn.ModuleList(Block(dim, dim // head_dim, hidden, qk_norm=True) for _ in range(depth))
        self.register_token = nn.Parameter(torch.zeros(1, 1, registers, dim))
        self.register_buffer('image_mean', torch.zeros(1, 3, 1, 1))
        self.register_buffer('image_std', torch.ones(1, 3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        """Return the last two layers (T, N, 2C) of pictures (T, 3, h, w) in 0..1; h and w multiples of the patch, 14 px."""
        tokens, = self.encoder((rgb - self.image_mean) / self.image_std, [len(self.encoder.blocks) - 1])    # (T, N, C)
        x = torch.cat((self.register_token[0].expand(len(rgb), -1, -1), tokens), dim=1)                     # (T, R + N, C)
        rope = rope_2d(self._positions(*(side // self.encoder.patch for side in rgb.shape[-2:])), self.head_dim)
        rope_of_all = tuple(table.repeat(len(rgb), 1) for table in rope)

        layers: list[Tensor] = []
        for i, block in enumerate(self.decoder):
            if i % 2 == 0:
                x = block(x, rope)
            else:
                x = block(x.reshape(1, -1, x.shape[-1]), rope_of_all).reshape_as(x)
            layers = [*layers, x][-2:]
        return torch.cat(layers, dim=-1)[:, self.register_token.shape[2]:]

    def _positions(self, h: int, w: int) -> Tensor:
        """Return (R + h*w, 2): patches count from 1, the registers are at 0."""
        device = self.register_token.device
        patches = torch.cartesian_prod(torch.arange(h, device=device), torch.arange(w, device=device)) + 1
        return torch.cat((patches.new_zeros(self.register_token.shape[2], 2), patches))


def pi3_like(shapes: Shapes) -> Pi3:
    """Return the network in the sizes that the file shows; WeightsError if it is another file."""
    encoder = vit_like(shapes, 'encoder.', position_offset=0.0, antialias=True)
    _, _, registers, dim = shape(shapes, 'register_token', 4)
    return Pi3(encoder, dim, count(shapes, 'decoder.'), shape(shapes, 'decoder.0.attn.q_norm.weight', 1)[0],
               shape(shapes, 'decoder.0.mlp.fc1.weight', 2)[0], registers)
