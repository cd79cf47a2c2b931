"""A tiny DVD in a folder: the transformer with LoRA under the published keys, and a VAE of a few channels."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from depth_ros.models import dvd
from test.parity.fill import weight

SETTINGS: dict[str, object] = {'model.short_side_px': 32}
RANK = 4


def write(folder: Path) -> Path:
    """Write the two files with pseudo-random weights and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(fill(transformer_shapes(layers=2, dim=128, ffn=64, text=32)), folder / 'model.safetensors')
    torch.save(fill(vae_shapes(width=8)), folder / 'Wan2.1_VAE.pth')
    return folder


def fill(shapes: dvd.Shapes) -> dict[str, torch.Tensor]:
    """Return the pseudo-random tensors of the parity kit."""
    return {key: torch.from_numpy(weight(key, shape, 0)) for key, shape in shapes.items()}


def transformer_shapes(layers: int, dim: int, ffn: int, text: int, rank: int = RANK) -> dict[str, tuple[int, ...]]:
    """Return {official key: shape} of a file with LoRA; the network itself says the keys that it uses."""
    hints = {
        'pipe.dit.patch_embedding.bias': (dim,),
        'pipe.dit.text_embedding.0.weight': (dim, text),
        'pipe.dit.time_embedding.0.weight': (dim, 256),
        'pipe.dit.blocks.0.ffn.0.base_layer.bias': (ffn,),
        'pipe.dit.blocks.0.ffn.0.lora_A.default.weight': (rank, dim),
        **{f'pipe.dit.blocks.{block}.modulation': (1, 6, dim) for block in range(layers)},
    }
    return dvd.expected('dit', hints)


def vae_shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Return {official key: shape} of a VAE whose finest layers have `width` channels."""
    return dvd.expected('vae', {'encoder.conv1.bias': (width,), 'decoder.head.2.weight': (3, width, 3, 3, 3)})
