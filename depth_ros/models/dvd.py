"""DVD: the transformer of Wan2.1-1.3B as a regressor of depth, between the encoder and the decoder of Wan2.1's VAE.

    z = (E(2 rgb - 1) - mean) / std                        posterior mean of the VAE, no sampling
    z_depth = F(z; tau)                                    one pass, no noise, empty text
    disparity = (clamp(D(z_depth * std + mean), -1, 1) + 1) / 2, averaged over the three channels

Zhang et al., "DVD: Deterministic Video Depth Estimation with Generative Priors", arXiv 2603.12250, equation 5. The networks
are diffusers' `WanTransformer3DModel` and `AutoencoderKLWan`. Of the transformer only what can change is kept
(`DepthTransformer`), which is exact:

- The text is all zeros, so all keys of a cross-attention are the same, every token attends to all of them alike, and the
  output is o(v(text)) for every token: a constant.
- tau is fixed, so every modulation is a constant: scale and shift are the affine part of the layer norm before, the gate
  multiplies the linear layer behind, and the constant of the cross-attention joins its bias.

A block is then x + attn(norm(x)), x + ffn(norm(x)), and 283 of 1419 million parameters are gone, besides the embeddings of
time and text.

Files: `dit` as published, with the keys `pipe.dit.*` (others are left alone, the prefix may be missing) and LoRA beside its
base layer, W = base_layer + lora_B lora_A; `vae` is `Wan2.1_VAE.pth`, whose keys may have the prefix `model.`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from depth_ros.errors import WeightsError, need
from depth_ros.models import weights
from depth_ros.models.weights import Shapes, count, shape

REMEDY = "pip install 'depth_ros[families]'"
diffusers = need('diffusers', REMEDY)
wan = need('diffusers.models.transformers.transformer_wan', REMEDY)
single_file = need('diffusers.loaders.single_file_utils', REMEDY)

Hosted = Any                     # a module of diffusers

HEAD = 128                       # channels of one attention head
PATCH = (1, 2, 2)                # latent frames, rows and columns in a token
LATENT = 16                      # channels of a latent; its mean and std are constants of the VAE
TIMESTEPS = 1000                 # tau = 1
POSITIONS = 1024                 # of the position table, in each direction
DIT_PREFIX, VAE_PREFIX = 'pipe.dit.', 'model.'
ADAPTED = tuple(f'{attention}.{layer}' for attention in ('self_attn', 'cross_attn') for layer in 'qkvo') + ('ffn.0', 'ffn.2')
SOURCES = {'dit': 'model.safetensors of FayeHongfeiZhang/DVD', 'vae': 'Wan2.1_VAE.pth of Wan-AI/Wan2.1-T2V-1.3B'}


# 1. Encoder, transformer and decoder.

class Coder(nn.Module):
    """A VAE, and what its latents are like over many videos."""

    mean: Tensor    # (1, 16, 1, 1, 1)
    std: Tensor

    def __init__(self, vae: Hosted) -> None:
        super().__init__()
        self.vae = vae
        for name in ('mean', 'std'):
            values = torch.tensor(vae.config[f'latents_{name}'], device=vae.post_quant_conv.weight.device)
            self.register_buffer(name, values.view(1, -1, 1, 1, 1), persistent=False)


class Encoder(Coder):
    """Pictures to latents. The first frame gives a latent of its own, every four frames after it another one."""

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return `latent` (1, 16, 1 + n, h/8, w/8) of `rgb` (1, 3, 1 + 4n, h, w) in 0..1; h and w are multiples of 16."""
        mean = self.vae.encode(2 * rgb - 1).latent_dist.mode()
        return {'latent': ((mean - self.mean) / self.std).to(rgb.dtype)}


class Block(nn.Module):
    """A block of the transformer whose modulation and text are constants. Takes the modules of `block` over."""

    def __init__(self, block: Hosted, modulation: Tensor, text: Tensor) -> None:    # (6, D), (D,), both float32
        super().__init__()
        shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = block.scale_shift_table[0].float() + modulation
        cross = block.attn2.float()
        seen = cross.to_out[0](cross.to_v(text))    # (D,): what every token gets from the text
        self.norm1 = _modulated(block.norm1, scale, shift)
        self.attn = block.attn1
        self.attn.to_out[0] = _gated(self.attn.to_out[0], gate, seen)
        self.norm2 = _modulated(block.norm3, ffn_scale, ffn_shift)
        self.ffn = block.ffn
        self.ffn.net[2] = _gated(self.ffn.net[2], ffn_gate)
        self.to(block.attn1.to_q.weight.dtype)

    def forward(self, x: Tensor, positions: tuple[Tensor, Tensor]) -> Tensor:    # (1, N, D)
        x = x + self.attn(self.norm1(x), rotary_emb=positions)
        return x + self.ffn(self.norm2(x))


class DepthTransformer(nn.Module):
    """Wan's transformer at one tau, with empty text: latents of pictures to latents of disparity.

    Takes the modules of `transformer` over and frees the others, block by block.
    """

    def __init__(self, transformer: Hosted, tau: float) -> None:
        super().__init__()
        time, modulation, text = constants(transformer, tau)
        shift, scale = transformer.scale_shift_table[0].float() + time
        self.positions = transformer.rope
        self.patch_embedding = transformer.patch_embedding
        self.blocks = nn.ModuleList()
        while transformer.blocks:
            self.blocks.append(Block(transformer.blocks.pop(0), modulation, text))
        self.norm = _modulated(transformer.norm_out, scale, shift).to(transformer.proj_out.weight.dtype)
        self.head = transformer.proj_out

    def forward(self, latent: Tensor) -> dict[str, Tensor]:
        """Return `latent` of the disparity, (1, 16, t, h, w) like that of the pictures; h and w are even."""
        positions = self.positions(latent)
        x = self.patch_embedding(latent)                         # (1, D, t, h/2, w/2)
        grid = x.shape[2:]
        x = x.flatten(2).transpose(1, 2).contiguous()            # (1, N, D)
        for block in self.blocks:
            x = block(x, positions)
        x = self.head(self.norm(x))                              # (1, N, 2 * 2 * 16)
        x = x.unflatten(1, grid).unflatten(-1, (2, 2, LATENT))   # (1, t, h/2, w/2, 2, 2, 16)
        return {'latent': x.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4)}


class Decoder(Coder):
    """Latents to maps."""

    def forward(self, latent: Tensor) -> dict[str, Tensor]:
        """Return `maps` (1 + 4n, 8h, 8w) in 0..1 of `latent` (1, 16, 1 + n, h, w): disparity, 1 is near."""
        mean = (latent * self.std + self.mean).to(latent.dtype)
        video = self.vae.decode(mean).sample                     # (1, 3, T, H, W), clamped to -1..1
        return {'maps': ((video[0].float() + 1) / 2).mean(0)}    # float: bfloat16 would leave 128 steps between 0.5 and 1


def constants(transformer: Hosted, tau: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what time and empty text amount to, in float32: time (D,), modulation of all blocks (6, D), text (D,)."""
    embedder = transformer.condition_embedder.float()
    timestep = torch.full((1,), TIMESTEPS * tau, device=transformer.proj_out.weight.device)
    nothing = timestep.new_zeros(1, 1, embedder.text_embedder.linear_1.in_features)
    time, modulation, text, _ = embedder(timestep, nothing)
    return time[0], modulation[0].unflatten(0, (6, -1)), text[0, 0]


def _modulated(norm: Hosted, scale: Tensor, shift: Tensor) -> nn.LayerNorm:
    """Return the layer norm, which has no affine part of its own, with 1 + scale and shift for one."""
    layer = nn.LayerNorm(scale.shape, norm.eps, device='meta')
    layer.weight, layer.bias = _fixed(1 + scale), _fixed(shift)
    return layer


def _gated(linear: nn.Linear, gate: Tensor, offset: Tensor | float = 0.0) -> nn.Linear:
    """Return x -> gate * linear(x) + offset as one layer."""
    layer = nn.Linear(linear.in_features, linear.out_features, device='meta')
    layer.weight = _fixed(gate[:, None] * linear.weight.float())
    layer.bias = _fixed(gate * linear.bias.float() + offset)
    return layer


def _fixed(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value, requires_grad=False)


# 2. The files.

def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return key -> shape that the file of this role ('dit', 'vae') must have, in the sizes that `shapes` shows.

    Raises WeightsError if it is another file altogether.
    """
    prefix = _prefix(role, shapes)
    inner = {key.removeprefix(prefix): size for key, size in shapes.items() if key.startswith(prefix)}
    wanted = _expected_dit(inner) if role == 'dit' else _expected_vae(inner)
    unused = {key: tuple(size) for key, size in shapes.items() if not key.startswith(prefix)}
    return {**{prefix + key: size for key, size in wanted.items()}, **(unused if role == 'dit' else {})}


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str, tau: float = 0.5) -> dict[str, nn.Module]:
    """Return the graphs `encode`, `denoise` and `decode` of the files `dit` and `vae`; both coders share one VAE.

    Raises WeightsError if a file does not fit.
    """
    vae = load_vae(weights.read_tensors(files['vae']), files['vae'].name, dtype, device)
    transformer = load_transformer(weights.read_tensors(files['dit']), files['dit'].name, dtype, device)
    graphs = {'encode': Encoder(vae), 'denoise': DepthTransformer(transformer, tau), 'decode': Decoder(vae)}
    return {name: graph.eval() for name, graph in graphs.items()}


def load_transformer(tensors: Mapping[str, Tensor], file: str, dtype: torch.dtype = torch.float32,
                     device: str = 'cpu') -> Hosted:
    """Return diffusers' transformer with LoRA merged into it. Raises WeightsError naming the `file` if it does not fit."""
    inner = _checked('dit', tensors, file)
    model = make_transformer(weights.shapes_of(inner))
    plain = dict(merged(inner, dtype, device))
    weights.load(model, single_file.convert_wan_transformer_to_diffusers(plain), file, dtype, device)
    model.rope = wan.WanRotaryPosEmbed(HEAD, PATCH, POSITIONS).to(device)    # computed, in no file: still on the meta device
    return model


def load_vae(tensors: Mapping[str, Tensor], file: str, dtype: torch.dtype = torch.float32, device: str = 'cpu') -> Hosted:
    """Return diffusers' VAE. Raises WeightsError naming the `file` if it does not fit."""
    inner = _checked('vae', tensors, file)
    model = make_vae(weights.shapes_of(inner))
    return weights.load(model, single_file.convert_wan_vae_to_diffusers(inner), file, dtype, device)


def make_transformer(shapes: Shapes) -> Hosted:
    """Return diffusers' transformer on the meta device, in the sizes of an official file without prefix."""
    (dim,), (ffn,) = shape(shapes, 'patch_embedding.bias', 1), shape(shapes, 'blocks.0.ffn.0.base_layer.bias', 1)
    (_, text), (_, frequencies) = (shape(shapes, f'{name}_embedding.0.weight', 2) for name in ('text', 'time'))
    if dim % HEAD:
        raise WeightsError(f'{dim} channels are no multiple of {HEAD}, so this is not Wan2.1; take {SOURCES["dit"]}')
    with torch.device('meta'):
        return wan.WanTransformer3DModel(
            patch_size=PATCH, num_attention_heads=dim // HEAD, attention_head_dim=HEAD, in_channels=LATENT,
            out_channels=LATENT, text_dim=text, freq_dim=frequencies, ffn_dim=ffn, num_layers=count(shapes, 'blocks.'),
            rope_max_seq_len=POSITIONS)


def make_vae(shapes: Shapes) -> Hosted:
    """Return diffusers' VAE on the meta device, in the sizes of an official file without prefix."""
    width, = shape(shapes, 'encoder.conv1.bias', 1)
    decoder_width = shape(shapes, 'decoder.head.2.weight', 5)[1]
    with torch.device('meta'):
        return diffusers.AutoencoderKLWan(base_dim=width, decoder_base_dim=decoder_width, z_dim=LATENT)


def merged(tensors: Mapping[str, Tensor], dtype: torch.dtype, device: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors without LoRA: W = W0 + B A (alpha equals the rank), computed in float32 one by one."""
    for key, value in tensors.items():
        layer, _, kind = key.partition('.base_layer')
        if kind == '.weight':
            factors = (tensors[f'{layer}.lora_{name}.default.weight'] for name in 'BA')
            value = torch.addmm(*(matrix.to(device, torch.float32) for matrix in (value, *factors)))
        if '.lora_' not in key:
            yield layer + kind, value.to(device, dtype)


def _checked(role: str, tensors: Mapping[str, Tensor], file: str) -> dict[str, Tensor]:
    """Return the tensors of this role without their prefix, or raise WeightsError naming what does not fit."""
    shapes = weights.shapes_of(tensors)
    try:
        difference = weights.compare(shapes, expected(role, shapes))
    except WeightsError as error:
        raise WeightsError(f'{file}: {error}') from error
    if difference:
        raise WeightsError(f'{file} is not the official file: {difference}; take {SOURCES[role]}')
    prefix = _prefix(role, shapes)
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _prefix(role: str, shapes: Shapes) -> str:
    prefix = DIT_PREFIX if role == 'dit' else VAE_PREFIX
    return prefix if any(key.startswith(prefix) for key in shapes) else ''


def _expected_dit(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    lora = [key for key in shapes if '.lora_A.' in key]
    if not lora:
        raise WeightsError('this file has no LoRA layers, so it is plain Wan2.1, which knows nothing of depth, or another '
                           f'model; take {SOURCES["dit"]}')
    if not any('.base_layer.' in key for key in shapes):
        raise WeightsError(f'these are {len(lora)} LoRA layers without the layers that they change; take {SOURCES["dit"]}')
    official = single_file.convert_wan_transformer_to_diffusers({key: key for key in _dit_keys(count(shapes, 'blocks.'))})
    rank = shapes[lora[0]][0]
    wanted: dict[str, tuple[int, ...]] = {}
    for hosted, size in weights.shapes_of(make_transformer(shapes)).items():
        key = official[hosted]
        layer, _, kind = key.rpartition('.')
        if not layer.endswith(ADAPTED):
            wanted[key] = size
            continue
        wanted[f'{layer}.base_layer.{kind}'] = size
        if kind == 'weight':
            wanted[f'{layer}.lora_A.default.weight'] = (rank, size[1])
            wanted[f'{layer}.lora_B.default.weight'] = (size[0], rank)
    return wanted


def _expected_vae(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    official = single_file.convert_wan_vae_to_diffusers({key: key for key in _vae_keys()})
    return {official[hosted]: size for hosted, size in weights.shapes_of(make_vae(shapes)).items()}


def _dit_keys(layers: int) -> Iterator[str]:
    """Yield the keys of Wan's transformer, before any LoRA."""
    for name in ('patch_embedding', 'text_embedding.0', 'text_embedding.2', 'time_embedding.0', 'time_embedding.2',
                 'time_projection.1', 'head.head'):
        yield from _weight_and_bias(name)
    yield 'head.modulation'
    for block in (f'blocks.{index}.' for index in range(layers)):
        yield f'{block}modulation'
        for name in (*ADAPTED, 'norm3'):
            yield from _weight_and_bias(block + name)
        for attention in ('self_attn', 'cross_attn'):
            yield from (f'{block}{attention}.norm_{name}.weight' for name in 'qk')


def _vae_keys() -> Iterator[str]:
    """Yield the keys of Wan's VAE."""
    for name in ('conv1', 'conv2', 'encoder.conv1', 'encoder.head.2', 'decoder.conv1', 'decoder.head.2'):
        yield from _weight_and_bias(name)
    for coder in ('encoder', 'decoder'):
        yield f'{coder}.head.0.gamma'
        yield f'{coder}.middle.1.norm.gamma'
        for name in ('to_qkv', 'proj'):
            yield from _weight_and_bias(f'{coder}.middle.1.{name}')
    blocks = {'encoder.middle': (0, 2), 'decoder.middle': (0, 2), 'encoder.downsamples': (0, 1, 3, 4, 6, 7, 9, 10),
              'decoder.upsamples': (0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14)}
    for block in (f'{part}.{index}' for part, indices in blocks.items() for index in indices):
        yield f'{block}.residual.0.gamma'
        yield f'{block}.residual.3.gamma'
        for layer in (2, 6):
            yield from _weight_and_bias(f'{block}.residual.{layer}')
    for name in ('encoder.downsamples.3.shortcut', 'encoder.downsamples.6.shortcut', 'decoder.upsamples.4.shortcut',
                 'encoder.downsamples.2.resample.1', 'encoder.downsamples.5.resample.1', 'encoder.downsamples.8.resample.1',
                 'decoder.upsamples.3.resample.1', 'decoder.upsamples.7.resample.1', 'decoder.upsamples.11.resample.1',
                 'encoder.downsamples.5.time_conv', 'encoder.downsamples.8.time_conv',
                 'decoder.upsamples.3.time_conv', 'decoder.upsamples.7.time_conv'):
        yield from _weight_and_bias(name)


def _weight_and_bias(layer: str) -> tuple[str, str]:
    return f'{layer}.weight', f'{layer}.bias'
