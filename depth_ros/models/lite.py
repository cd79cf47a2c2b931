"""`lite`, the small streaming video-depth network that this package ships.

One frame goes in, one frame comes out, and a bounded memory is carried along. In the order of the computation:

1. an encoder, the first six stages of EfficientNet-Lite0 (Tan & Le 2019), strides 2 to 32;
2. the Geometry-Embedding Module, after GemDepth: features at stride 8 are matched with those of the previous frame
   (one softmax over all positions), a head reads the camera's motion from the displacements, and an embedding of that
   motion goes back into the tokens;
3. spatial attention within the frame, then temporal attention to the tokens remembered from the last frames (stride
   16);
4. a decoder back to stride 2, and a sub-pixel convolution to full size.

What the outputs mean. `disparity` is inverse depth up to one scale and (on real scenes) one shift for the whole
stream; it is near 1 on average when a stream starts. `T_prev_cam` maps points of this camera into the previous one.
Its rotation is absolute; its translation is in the stream's unit, that is, the unit in which depth is 1 / disparity
*if the shift were zero*. The training on rendered scenes asks for exactly that; on real pictures the shift is not
controlled, so treat the length as approximate. The network does not know the focal length: rotation comes out right
for fields of view as in training (about 50 to 90 degrees).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import WeightsError, need
from depth_ros.models import weights

STRIDE = 16  # of the tokens; h and w must be multiples of 32
MOTION_UNIT = 0.1  # rad or stream units, of what the motion head says


@dataclass(frozen=True)
class LiteConfig:
    """Sizes of the network, and the switches of an ablation."""

    tokens: int = 128  # channels of the tokens, at stride 16
    decoder: tuple[int, int, int] = (24, 48, 64)  # channels of the decoder at strides 2, 4, 8
    heads: int = 4
    spatial_blocks: int = 2
    frames: int = 3  # remembered frames
    match: int = 48  # channels of the matching features
    embedding: int = 64  # D of the pose embedding
    gem: bool = True
    temporal: bool = True

    @property
    def memory_channels(self) -> int:
        """Tokens of the remembered frames, and the last frame's matching features folded from stride 8 to 16."""
        return self.frames * self.tokens + 4 * self.match


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Inverted(nn.Module):
    """Inverted residual (MobileNetV2, Sandler et al. 2018): expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int):
        super().__init__()
        wide = inputs * expand
        self.expand = nn.Conv2d(inputs, wide, 1) if expand > 1 else None
        self.filter = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.filter(y), inplace=True))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """Features at strides 2, 4, 8, 16, 32 of a picture: EfficientNet-Lite0 up to its sixth stage.

    Its normalisation layers are folded into the convolutions. Padding is symmetric, where TensorFlow's pads the end
    only; weights trained there serve all the same.
    """

    STAGES = (  # channels, blocks, kernel, stride, expansion
        (16, 1, 3, 1, 1),  # stride 2
        (24, 2, 3, 2, 6),  # 4
        (40, 2, 5, 2, 6),  # 8
        (80, 3, 3, 2, 6),
        (112, 3, 5, 1, 6),  # 16
        (192, 4, 5, 2, 6),  # 32
    )
    CHANNELS = (16, 24, 40, 112, 192)  # of what comes out

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.stages = nn.ModuleList()
        inputs = 32
        for channels, blocks, kernel, stride, expand in self.STAGES:
            first = Inverted(inputs, channels, kernel, stride, expand)
            rest = (Inverted(channels, channels, kernel, 1, expand) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(first, *rest))
            inputs = channels

    def forward(self, rgb: Tensor) -> tuple[Tensor, ...]:
        x = F.relu6(self.stem(rgb * (255 / 128) - 127 / 128), inplace=True)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features[0], features[1], features[2], features[4], features[5]  # strides 2, 4, 8, 16, 32


class Tokens(nn.Module):
    """Tokens at stride 16 out of the features at strides 16 and 32."""

    def __init__(self, channels: int):
        super().__init__()
        self.from16 = nn.Conv2d(Encoder.CHANNELS[3], channels, 1, bias=False)
        self.from32 = nn.Conv2d(Encoder.CHANNELS[4], channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, f16: Tensor, f32: Tensor) -> Tensor:
        return F.relu(self.norm(self.from16(f16) + double(self.from32(f32))))


class Attention(nn.Module):
    """Pre-norm attention of `x` (B, N, C) to `x` and, if given, `memory` (B, S, C), then a two-layer network; both
    residual."""

    def __init__(self, channels: int, heads: int, remembers: bool = False):
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.norm_memory = nn.LayerNorm(channels) if remembers else None
        self.q, self.kv, self.out = (
            nn.Linear(channels, channels),
            nn.Linear(channels, 2 * channels),
            nn.Linear(channels, channels),
        )
        self.mlp = nn.Sequential(
            nn.Linear(channels, 2 * channels), nn.GELU(approximate='tanh'), nn.Linear(2 * channels, channels)
        )

    def by_head(self, x: Tensor) -> Tensor:
        B, N, C = x.shape
        return x.reshape(B, N, self.heads, C // self.heads).transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        source = normed
        if memory is not None and self.norm_memory is not None:
            source = torch.cat([normed, self.norm_memory(memory)], 1)  # (B, N + S, C)
        k, v = self.kv(source).chunk(2, -1)
        q, k, v = (self.by_head(a) for a in (self.q(normed), k, v))  # (B, heads, ., C/heads)
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        if bias is not None:
            logits = logits + bias  # (B, 1, 1, N + S)
        x = x + self.out((logits.softmax(-1) @ v).transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm_mlp(x))


def grid(like: Tensor) -> Tensor:
    """Return cell positions (2, h, w) of a map (B, C, h, w): x, y from the middle, in units of the longer side's
    half."""
    ones = torch.ones_like(like[0, :1])
    at = torch.cat([ones.cumsum(-1), ones.cumsum(-2)])  # counts instead of shapes: these export as they are
    return (at - at.mean((1, 2), keepdim=True)) * (2.0 / at.amax((0, 1, 2)))


def to_map(tokens: Tensor, like: Tensor) -> Tensor:
    """Return tokens (B, N, C) as a map (B, C, h, w) of the size of `like`."""
    B, _, C = tokens.shape
    return tokens.transpose(1, 2).reshape(B, C, *like.shape[-2:])


class Geometry(nn.Module):
    """The Geometry-Embedding Module: how did the camera move since the previous frame?"""

    precise = True  # in float16 a match would be as far off as the camera moves

    def __init__(self, cfg: LiteConfig):
        super().__init__()
        c8, c16 = Encoder.CHANNELS[2], cfg.tokens
        self.to_match = nn.Conv2d(c8, cfg.match, 1)
        self.sharpness = nn.Parameter(torch.tensor(3.5))  # logarithm of the inverse temperature
        self.nearness = nn.Parameter(torch.tensor(5.0))  # logarithm of the price of a displacement
        self.per_token = nn.Sequential(nn.Conv2d(c16 + 12 + 2, 128, 1), nn.ReLU(), nn.Conv2d(128, 129, 1))
        self.to_embedding = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, cfg.embedding))
        self.to_motion = nn.Linear(cfg.embedding, 6)
        self.back = nn.Linear(cfg.embedding, c16)
        self.back_flow = nn.Conv2d(12, c16, 1, bias=False)

    def match(self, features: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
        """Return displacements to the previous frame (B, 2, h, w), in units of `grid`, and how sure the match is (B,
        1, h, w)."""
        at = grid(features)  # (2, h, w)
        here = at.flatten(1).transpose(0, 1)  # (N, 2)
        # Similarity less distance |a - b|^2 as one product; |a|^2 is the same for a whole row, softmax drops it.
        far = here.square().sum(-1, keepdim=True)  # (N, 1)
        place_a = torch.cat([2 * here, -torch.ones_like(far)], 1) * self.nearness.exp()  # (N, 3)
        place_b = torch.cat([here, far], 1).expand(features.shape[0], -1, -1)  # (B, N, 3)
        queries = features.flatten(2).transpose(1, 2) * self.sharpness.exp()
        queries = torch.cat([queries, place_a.expand(features.shape[0], -1, -1)], 2)
        keys = torch.cat([previous.flatten(2).transpose(1, 2), place_b], 2)
        likely = (queries @ keys.transpose(1, 2)).softmax(-1)  # (B, N, N)
        return to_map(likely @ here - here, features), to_map(likely.amax(-1, keepdim=True), features)

    def forward(self, f16: Tensor, features: Tensor, previous: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        """Return the tokens with the motion in them, motion (B, 6), its embedding (B, D) and the flow; zero where not
        `known` (B,)."""
        flow, sure = self.match(features, previous)
        folded = F.pixel_unshuffle(torch.cat([flow * 10, sure], 1), 2)  # (B, 12, h/16, w/16)
        folded = folded * known[:, None, None, None]
        at = grid(f16).expand(f16.shape[0], -1, -1, -1)
        votes, weight = self.per_token(torch.cat([f16, folded, at], 1)).flatten(2).split([128, 1], 1)
        pooled = (votes.relu() * weight.softmax(-1)).sum(-1)  # (B, 128)
        embedding = self.to_embedding(pooled) * known[:, None]  # (B, D)
        motion = self.to_motion(embedding) * known[:, None] * MOTION_UNIT
        tokens = f16 + (self.back(embedding) * known[:, None])[:, :, None, None] + self.back_flow(folded)
        return tokens, motion, embedding, flow


def rigid(motion: Tensor) -> Tensor:
    """Return T (B, 4, 4) of a rotation vector and a translation (B, 6), by Rodrigues' formula."""
    r, t = motion[:, :3], motion[:, 3:]
    zero, one = torch.zeros_like(r[:, 0]), torch.ones_like(r[:, 0])
    x, y, z = r[:, 0], r[:, 1], r[:, 2]
    W = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    angle2 = r.square().sum(-1)[:, None, None] + 1e-12
    angle = angle2.sqrt()
    R = torch.eye(3, dtype=r.dtype, device=r.device) + angle.sin() / angle * W + (1 - angle.cos()) / angle2 * (W @ W)
    bottom = torch.stack([zero, zero, zero, one], -1)[:, None]
    return torch.cat([torch.cat([R, t[:, :, None]], 2), bottom], 1)


class Decoder(nn.Module):
    """Disparity and confidence at full size from the tokens and the encoder's features."""

    def __init__(self, cfg: LiteConfig):
        super().__init__()
        f2, f4, f8 = Encoder.CHANNELS[:3]
        d2, d4, d8 = cfg.decoder
        self.from16, self.at8 = conv(cfg.tokens, d8, kernel=1), conv(d8 + f8, d8)
        self.from8, self.at4 = conv(d8, d4, kernel=1), conv(d4 + f4, d4)
        self.from4, self.at2 = conv(d4, d2, kernel=1), conv(d2 + f2, d2)
        self.fine = conv(d2, d2)
        self.head = nn.Conv2d(d2, 8, 3, 1, 1)  # four pixels of either map (sub-pixel convolution, Shi et al. 2016)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias[:4], 0.5)  # softplus(0.5) is about 1

    def forward(self, tokens: Tensor, f8: Tensor, f4: Tensor, f2: Tensor) -> tuple[Tensor, Tensor]:
        x = self.at8(torch.cat([double(self.from16(tokens)), f8], 1))
        x = self.at4(torch.cat([double(self.from8(x)), f4], 1))
        x = self.at2(torch.cat([double(self.from4(x)), f2], 1))  # (B, d2, h/2, w/2)
        maps = F.pixel_shuffle(self.head(self.fine(x)), 2)  # (B, 2, h, w)
        return F.softplus(maps[:, 0]), maps[:, 1].sigmoid()


def double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=False)


class Lite(nn.Module):
    def __init__(self, cfg: LiteConfig = LiteConfig()):
        super().__init__()
        self.cfg = cfg
        c16 = cfg.tokens
        self.encoder = Encoder()
        self.tokens = Tokens(c16)
        self.geometry = Geometry(cfg)
        self.place = nn.Conv2d(2, c16, 1)  # position -> token
        self.spatial = nn.ModuleList(Attention(c16, cfg.heads) for _ in range(cfg.spatial_blocks))
        self.temporal = Attention(c16, cfg.heads, remembers=True)
        self.age = nn.Parameter(torch.randn(cfg.frames, c16) * 0.02)  # which remembered frame a token is from
        self.decoder = Decoder(cfg)

    def forward(self, rgb: Tensor, memory: Tensor, memory_valid: Tensor) -> tuple[Tensor, ...]:
        """One step of the stream, the exported graph.

        rgb (B, 3, h, w) sRGB 0..1; memory (B, memory_channels, h/16, w/16); memory_valid (B, frames), 1 = slot is
        filled. Returns disparity (B, h, w) >= 0, confidence (B, h, w) 0..1, T_prev_cam (B, 4, 4), pose_embedding (B,
        D), and the next memory and memory_valid. Zeros start a stream.
        """
        f2, f4, f8, f16, f32 = self.encoder(rgb)
        f16 = self.tokens(f16, f32)
        tokens, motion, embedding, _, memory, memory_valid = self.step(f8, f16, memory, memory_valid)
        disparity, confidence = self.decoder(tokens, f8, f4, f2)
        return disparity, confidence, rigid(motion), embedding, memory, memory_valid

    def clip(self, rgb: Tensor, lead: int = 0) -> dict[str, Tensor]:
        """The same stream over a whole clip rgb (B, T, 3, h, w): only the coarse step runs frame by frame.

        For training. With `lead`, the stream has seen so many frames before, the clip's own, back and forth, so that
        the network also meets an old memory; no gradients flow through these.
        """
        B, T = rgb.shape[:2]
        f2, f4, f8, f16, f32 = self.encoder(rgb.flatten(0, 1))
        f16 = self.tokens(f16, f32)
        by_frame8, by_frame16 = f8.unflatten(0, (B, T)), f16.unflatten(0, (B, T))
        memory, memory_valid = self.empty_memory(rgb[:, 0])
        lead = lead if T > 1 else 0
        with torch.no_grad():
            for i in range(lead, 0, -1):
                t = T - 1 - abs((i % (2 * T - 2)) - (T - 1))  # ... 2 1 2 3 2 1, then 0
                *_, memory, memory_valid = self.step(by_frame8[:, t], by_frame16[:, t], memory, memory_valid)
        steps = []
        for t in range(T):
            first = t == 0 and not lead
            *step, memory, memory_valid = self.step(by_frame8[:, t], by_frame16[:, t], memory, memory_valid, first)
            steps.append(step)
        tokens, motion, embedding, flow = (torch.stack(a, 1) for a in zip(*steps, strict=True))
        disparity, confidence = self.decoder(tokens.flatten(0, 1), f8, f4, f2)
        return {
            'disparity': disparity.unflatten(0, (B, T)),
            'confidence': confidence.unflatten(0, (B, T)),
            'T_prev_cam': rigid(motion.flatten(0, 1)).unflatten(0, (B, T)),
            'motion': motion,
            'pose_embedding': embedding,
            'flow': flow,
        }

    def step(
        self, f8: Tensor, f16: Tensor, memory: Tensor, memory_valid: Tensor, first: bool = False
    ) -> tuple[Tensor, ...]:
        """The coarse part of one frame: motion, attention, and what is remembered.

        `first` leaves out what an empty memory makes zero; the result is the same, it only trains faster.
        """
        cfg = self.cfg
        old, previous = memory.split([cfg.frames * cfg.tokens, 4 * cfg.match], 1)
        with torch.autocast(f8.device.type, enabled=False):  # bf16 would round displacements to half a pixel
            features = F.normalize(self.geometry.to_match(f8.float()), dim=1)  # (B, match, h/8, w/8)
            if cfg.gem and not first:
                before = F.pixel_shuffle(previous.float(), 2)
                x, motion, embedding, flow = self.geometry(f16.float(), features, before, memory_valid[:, 0])
        if first or not cfg.gem:
            x, flow = f16, torch.zeros_like(features[:, :2])
            motion, embedding = f16.new_zeros(len(f16), 6), f16.new_zeros(len(f16), cfg.embedding)

        x = x.to(self.place.weight.dtype) + self.place(grid(f16).expand(f16.shape[0], -1, -1, -1))
        tokens = x.flatten(2).transpose(1, 2)  # (B, N, C)
        for block in self.spatial:
            tokens = block(tokens)
        if first or not cfg.temporal:
            tokens = self.temporal(tokens)
        else:
            B, N, C = tokens.shape
            slots = old.reshape(B, cfg.frames, C, N)
            remembered = (slots.transpose(2, 3) + self.age[:, None]).flatten(1, 2)  # (B, frames * N, C)
            closed = (memory_valid - 1)[:, :, None].expand(-1, -1, N).flatten(1) * 1e4
            bias = torch.cat([torch.zeros_like(tokens[:, :, 0]), closed], 1)[:, None, None]  # (B, 1, 1, N + frames * N)
            tokens = self.temporal(tokens, remembered, bias)
        x = to_map(tokens, f16)  # (B, C, h/16, w/16)

        kept = old[:, : (cfg.frames - 1) * cfg.tokens]
        next_memory = torch.cat([x, kept, F.pixel_unshuffle(features, 2)], 1)
        next_valid = torch.cat([torch.ones_like(memory_valid[:, :1]), memory_valid[:, :-1]], 1)
        return x, motion, embedding, flow, next_memory, next_valid

    def empty_memory(self, rgb: Tensor) -> tuple[Tensor, Tensor]:
        """Return the zeros (B, memory_channels, h/16, w/16) and (B, frames) that start a stream of pictures like rgb
        (B, 3, h, w)."""
        B, _, h, w = rgb.shape
        return (rgb.new_zeros(B, self.cfg.memory_channels, h // STRIDE, w // STRIDE), rgb.new_zeros(B, self.cfg.frames))


class Step(nn.Module):
    """Graph: a picture and what is remembered -> what the network says of it, and what to remember."""

    resident = ('next_memory',)    # outputs that need not leave the device

    def __init__(self, network: Lite) -> None:
        super().__init__()
        self.network = network
        cfg = network.cfg
        self.inputs = {'memory': [1, cfg.memory_channels, 'h16', 'w16'], 'memory_valid': [1, cfg.frames]}

    def forward(self, rgb: Tensor, memory: Tensor, memory_valid: Tensor) -> dict[str, Tensor]:
        """Return OUTPUTS by name."""
        return dict(zip(OUTPUTS, self.network(rgb, memory, memory_valid), strict=True))


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str) -> dict[str, nn.Module]:
    """Return the graph step, with the weights that are in the ONNX file `files['step']`.

    Raises WeightsError if it is not such a file.
    """
    path = files['step']
    onnx = need('onnx', "pip install 'depth_ros[export]'")
    try:
        model = onnx.load(str(path))
        config = next(item.value for item in model.metadata_props if item.key == 'config')
        network = Lite(LiteConfig(**json.loads(config)))
    except Exception as error:  # of protobuf, about the file; or of its facts
        raise WeightsError(f'{path} is no ONNX file as `depth_ros train --recipe lite` writes it; give one') from error
    tensors = {item.name: torch.tensor(onnx.numpy_helper.to_array(item)) for item in model.graph.initializer}
    unused = {key: value for key, value in network.state_dict().items() if key.endswith('num_batches_tracked')}
    weights.load(network, unused | tensors, path.name, dtype, device)
    return {'step': Step(network)}


INPUTS = ('rgb', 'memory', 'memory_valid')
OUTPUTS = ('disparity', 'confidence', 'T_prev_cam', 'pose_embedding', 'next_memory', 'next_memory_valid')


def export(model: Lite, path, version: str, commit: str = 'unknown') -> None:
    """Write the network as one ONNX file (opset 17, dynamic h and w, weights inside), with its facts as metadata."""
    import onnx

    model = model.eval().float()
    rgb = torch.rand(1, 3, 192, 256)
    axes = {
        'rgb': {2: 'h', 3: 'w'},
        'memory': {2: 'h16', 3: 'w16'},
        'disparity': {1: 'h', 2: 'w'},
        'confidence': {1: 'h', 2: 'w'},
        'next_memory': {2: 'h16', 3: 'w16'},
    }
    torch.onnx.export(
        model,
        (rgb, *model.empty_memory(rgb)),
        str(path),
        input_names=list(INPUTS),
        output_names=list(OUTPUTS),
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
        training=torch.onnx.TrainingMode.PRESERVE,  # parameters keep their names: training can start from the file
        do_constant_folding=False,
    )
    graph = onnx.load(str(path))
    cfg = model.cfg
    facts = {
        'family': 'lite',
        'version': version,
        'embedding': cfg.embedding,
        'multiple_px': 32,
        'stride': STRIDE,
        'frames': cfg.frames,
        'memory_shape': json.dumps([1, cfg.memory_channels, 'h/16', 'w/16']),
        'memory_valid_shape': json.dumps([1, cfg.frames]),
        'config': json.dumps(asdict(cfg)),
        'quantity': 'disparity_affine',
        'parameters': sum(p.numel() for p in model.parameters()),
        'licence': 'Apache-2.0',
        'train_commit': commit,
    }
    onnx.helper.set_model_props(graph, {k: str(v) for k, v in facts.items()})
    onnx.checker.check_model(graph)
    onnx.save(graph, str(path))
