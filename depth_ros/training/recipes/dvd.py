"""DVD (arXiv 2603.12250): regression of depth latents with latent manifold rectification, on videos and pictures together.

    z_x = E(rgb), z_d = E(disparity), z' = F(z_x; tau = 0.5)                     (eq. 1 and 5)
    L = L_video + L_image, each |z' - z_d|^2 + 0.5 L_sp + 0.5 L_temp             (eq. 6, 7 and 10; table 5)

Disparity goes from 0 to 1 between its 2 % and 98 % quantiles of the clip, in three equal channels. The VAE and the
transformer stay as they are; the factors of the low-rank adaptation of its linear layers learn, W = W_0 + B A. For that the
transformer is not folded as for inference. All tokens of the empty text are alike, so one stands for the published 512.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from depth_ros.core.frame import Quantity
from depth_ros.models import dvd as network
from depth_ros.models import weights
from depth_ros.training import losses
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage

TAU = 0.5


def open_learner(files: Mapping[str, Path], device: str) -> Learner:
    """Return the network of the files `dit` and `vae`. Raises WeightsError if they do not fit."""
    vae = network.load_vae(weights.read_tensors(files['vae']), files['vae'].name, device=device)
    tensors = {key: value.to(device, torch.float32) for key, value in weights.read_tensors(files['dit']).items()}
    transformer = network.load_transformer(tensors, files['dit'].name, device=device)
    inner = {key.removeprefix(network.DIT_PREFIX): value for key, value in tensors.items()}
    time = torch.tensor([network.TIMESTEPS * TAU], device=device)
    text = torch.zeros(1, 1, inner['text_embedding.0.weight'].shape[1], device=device)

    def denoise(latent: Tensor) -> dict[str, Tensor]:
        """As the graph of this name, with LoRA merged now."""
        state = network.single_file.convert_wan_transformer_to_diffusers(dict(network.merged(inner, torch.float32, device)))
        return {'latent': functional_call(transformer, state, (latent, time, text), {'return_dict': False})[0]}

    return Learner({'encode': network.Encoder(vae), 'denoise': denoise}, tensors)


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips, of 1 + 4n frames each; one of pictures is a batch of clips of one."""
    disparity = losses.to_quantiles(batch['disparity'], batch['weight']).clamp(0, 1)    # (B, T, h, w)
    parts = []
    for rgb, truth in zip(batch['rgb'].transpose(1, 2), disparity, strict=True):    # (3, T, h, w), (T, h, w)
        with torch.no_grad():
            seen = graphs['encode'](rgb[None])['latent']
            target = graphs['encode'](truth.expand(1, 3, *truth.shape))['latent']
        parts.append(losses.latent_regression(graphs['denoise'](seen)['latent'], target))
    return torch.stack(parts).mean()


RECIPE = Recipe(
    quantity=Quantity.DISPARITY_AFFINE,
    open=open_learner,
    loss=loss,
    stages=(Stage('adaptation', 1e-4, ('.lora_',)),),
    draws=((1, 9), (8, 1)),    # one video to eight pictures
    shape=(192, 256),
    role='dit',
)
