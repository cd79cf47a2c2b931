"""GemDepth (arXiv 2605.10525): depth of a video whose tokens know where the camera is.

The tokens of DINOv2 look at each other within a frame and across all frames (GEM); a camera head reads the poses off them;
an embedding of those poses goes back into the tokens, which attend to each other over space and time (ASTT) and become
disparity in the temporal DPT head of Video Depth Anything. Attribute names are the keys of the published checkpoint.

Published inference throws dice: whether poses are injected, and which attentions of the ASTT are dropped. Here nothing is
dropped and `pose_injection` decides.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_ros.errors import InputError
from depth_ros.models import weights
from depth_ros.models.dpt import dpt_like
from depth_ros.models.vit import Block, Encoder, Mlp, Rope, rope_2d, vit_like
from depth_ros.models.weights import Shapes, count, shape

POSE = 9                 # translation (3), quaternion x y z w (4), vertical and horizontal field of view (2) [rad]
REFINEMENTS = 4          # of the camera head
FRAMES = 50              # entries of the frame-index table
GEM_HEAD_DIM, CAMERA_HEAD_DIM, SPACE_HEAD_DIM, TIME_HEAD_DIM = 64, 128, 32, 8
UNUSED = ('pos_encoder.', 'frame_blocks.1.', 'global_blocks.1.', 'head.proj.', '.temporal_transformer.layer_norm.',
          '.fusion_gate1.')    # how (or, after a dot, where) entries are named that no published inference reads


class GemDepth(nn.Module):
    """The whole network, in the sizes that a file shows."""

    def __init__(self, shapes: Shapes) -> None:
        """Raise WeightsError if `shapes` are not those of a GemDepth file."""
        super().__init__()
        dim = shape(shapes, 'pretrained.patch_embed.proj.weight', 4)[0]
        registers = shape(shapes, 'register_token', 4)[2]
        self.pretrained = vit_like(shapes, 'pretrained.')
        self.camera_token = nn.Parameter(torch.zeros(1, 2, 1, dim))              # of the first frame, of all others
        self.register_token = nn.Parameter(torch.zeros(1, 2, registers, dim))
        self.frame_blocks = nn.ModuleList([_gem_block(dim)])
        self.global_blocks = nn.ModuleList([_gem_block(dim)])
        self.camera_head = CameraHead(2 * dim, count(shapes, 'camera_head.trunk.'),
                                      shape(shapes, 'camera_head.pose_branch.fc1.weight', 2)[0])
        self.cam_rot_encoder = GeometryEncoder(shapes, 'cam_rot_encoder.')
        self.cam_trans_encoder = GeometryEncoder(shapes, 'cam_trans_encoder.')
        self.cam_trans_scale_encoder = GeometryEncoder(shapes, 'cam_trans_scale_encoder.')
        self.dec_norm = nn.LayerNorm(dim, eps=1e-6)
        rounds = count(shapes, 'spatial_blocks.')
        self.spatial_blocks = nn.ModuleList(_astt_block(dim, SPACE_HEAD_DIM) for _ in range(rounds))
        self.time_blocks = nn.ModuleList(_astt_block(dim, TIME_HEAD_DIM) for _ in range(rounds))
        self.head = dpt_like(shapes, 'head.')

    def forward(self, features: Tensor, pose_injection: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Return disparity (T, h, w), poses (T, 9) and pose embedding (T, C) of a window of tokens (T, 4, h/14, w/14, C).

        A pose is translation and quaternion (x, y, z, w, of any length) from the window's own world to the camera, and
        the vertical and horizontal field of view [rad]; without `pose_injection` the embedding is that of standing still.
        """
        frames, _, rows, columns, _ = features.shape
        if frames > FRAMES:
            raise InputError(f'window of {frames} frames: the frame-index table has {FRAMES}; take a shorter window')
        grid, patch = (rows, columns), self.pretrained.patch
        *early, tokens = features.flatten(2, 3).unbind(1)                                # (T, N, C) each
        pose = self.camera_head(self.gem(tokens, grid))[-1]                              # (T, 9)
        embedding = self.embed_pose(pose if pose_injection else standing(pose))          # (T, C)
        tokens = self.astt(self.dec_norm(tokens + embedding[:, None]), grid)
        disparity = F.relu(self.head([*early, tokens], grid, (rows * patch, columns * patch)))
        return disparity, pose, embedding

    def gem(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return camera tokens (T, 2C): what each frame says of its camera by itself, and among all frames (T, N, C)."""
        special = torch.cat((self.camera_token, self.register_token), dim=2)[0]          # (2, 1 + registers, C)
        special = torch.cat((special[:1], special[1:].expand(len(tokens) - 1, -1, -1)))  # (T, 1 + registers, C)
        tokens = torch.cat((special, tokens), dim=1)
        positions = torch.cat((grid_positions(grid, tokens.device).new_zeros(special.shape[1], 2),
                               grid_positions(grid, tokens.device)))                     # (1 + registers + N, 2)
        alone = self.frame_blocks[0](tokens, rope_2d(positions, GEM_HEAD_DIM))
        together = across(self.global_blocks[0], alone, rope_2d(positions.repeat(len(tokens), 1), GEM_HEAD_DIM))
        return torch.cat((alone[:, 0], together[:, 0]), dim=-1)

    def embed_pose(self, pose: Tensor) -> Tensor:
        """Return the embedding (T, C) of poses (T, 9): rotation, direction and length of the way from the first frame."""
        turn, way, log_length = relative_to_first(pose.float())
        dtype = pose.dtype
        embedding: Tensor = (self.cam_rot_encoder(turn.to(dtype)) + self.cam_trans_encoder(way.to(dtype))
                             + self.cam_trans_scale_encoder(log_length.to(dtype)))
        return embedding

    def astt(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return tokens (T, N, C) that have looked over space and time, two times in turn."""
        frames = len(tokens)
        tokens = tokens + frame_index_table(tokens.shape[-1])[:frames, None].to(tokens)
        rope = rope_2d(grid_positions(grid, tokens.device).repeat(frames, 1), SPACE_HEAD_DIM)
        for space, time in zip(self.spatial_blocks, self.time_blocks, strict=True):
            tokens = across(space, tokens, rope)                        # every patch of every frame; no code for the time
            tokens = time(tokens.transpose(0, 1)).transpose(0, 1)       # every patch by itself; no code at all
        return tokens


class CameraHead(nn.Module):
    """Reads the pose of each camera off its token, by refining a first guess (VGGT, Wang et al. 2025, section 3.3)."""

    def __init__(self, dim: int, depth: int, hidden: int) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(dim)
        self.empty_pose_tokens = nn.Parameter(torch.zeros(1, 1, POSE))
        self.embed_pose = nn.Linear(POSE, dim)
        self.poseLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 3 * dim))
        self.trunk = nn.ModuleList(Block(dim, max(1, dim // CAMERA_HEAD_DIM), eps=1e-5) for _ in range(depth))
        self.trunk_norm = nn.LayerNorm(dim)
        self.pose_branch = Mlp(dim, hidden, POSE)

    def forward(self, tokens: Tensor) -> list[Tensor]:
        """Return the poses (T, 9) after each refinement; `tokens` (T, C) of the cameras of one window."""
        tokens = self.token_norm(tokens)[None]                                                # (1, T, C)
        raw, poses = None, []
        for _ in range(REFINEMENTS):
            guess = self.empty_pose_tokens.expand(-1, tokens.shape[1], -1) if raw is None else raw
            shift, scale, gate = self.poseLN_modulation(self.embed_pose(guess)).chunk(3, dim=-1)
            plain = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
            x = tokens + gate * (plain * (1 + scale) + shift)
            for block in self.trunk:
                x = block(x)
            step = self.pose_branch(self.trunk_norm(x))                                       # (1, T, 9)
            raw = step if raw is None else raw + step
            poses.append(torch.cat((raw[..., :7], F.relu(raw[..., 7:])), dim=-1)[0])          # no field of view below 0
        return poses


class GeometryEncoder(nn.Module):
    """A few numbers to one token: linear layers with GELU between, then a norm."""

    def __init__(self, shapes: Shapes, prefix: str) -> None:
        super().__init__()
        out, inside = shape(shapes, f'{prefix}encoder.1.weight', 2)
        keys = sorted((key for key in shapes if key.startswith(f'{prefix}encoder.') and key.endswith('.weight')), key=len)
        sizes = [shape(shapes, key, 2) for key in reversed(keys)]    # the deeper, the earlier
        encoder = nn.Sequential(nn.Linear(sizes[0][1], sizes[0][0]), nn.GELU())
        for width, into in sizes[1:-1]:
            encoder = nn.Sequential(encoder, nn.Linear(into, width), nn.GELU())
        self.encoder = nn.Sequential(encoder, nn.Linear(inside, out))
        self.norm_layer = nn.LayerNorm(out, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return (T, C) of (T, 1 to 4)."""
        return self.norm_layer(self.encoder(x))


def across(block: nn.Module, tokens: Tensor, rope: Rope) -> Tensor:
    """Return tokens (T, N, C) that all looked at each other."""
    return block(tokens.flatten(0, 1)[None], rope)[0].unflatten(0, tokens.shape[:2])


def grid_positions(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return (row, column) of each patch (N, 2), from 1 on; 0 is left to tokens without a place."""
    return torch.cartesian_prod(*(torch.arange(1, side + 1, device=device) for side in grid))


def frame_index_table(dim: int) -> Tensor:
    """Return (50, dim): sines, then cosines of the index over 10000^(2i/dim) (Vaswani et al. 2017)."""
    speed = 10000 ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim / 2))
    angle = torch.arange(FRAMES, dtype=torch.float64)[:, None] * speed
    return torch.cat((angle.sin(), angle.cos()), dim=-1).float()


def relative_to_first(pose: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return quaternion (T, 4), way (T, 3) and log of its length (T, 1) of poses (T, 9), as published.

    q = q0^-1 q, t = R(q0^-1) (t - t0), as if the poses led from camera to world; t is over the mean length of those that
    are not zero, whose log is the third. For the encoders only: quaternions of any length are not rotations.
    """
    t, q = pose[:, :3], pose[:, 3:7]
    back = q[:1] * q.new_tensor((-1, -1, -1, 1)) / q[:1].square().sum(dim=-1, keepdim=True)
    way = _turn(back, t - t[:1])
    length = way.norm(dim=-1)                                              # (T)
    mean = (length.sum() / (length > 0).sum().clamp(min=1)).clamp(min=1e-8)
    return _times(back, q), way / mean, torch.log(mean + 1e-8).expand(len(pose), 1)


def standing(pose: Tensor) -> Tensor:
    """Return poses (T, 9) that never moved."""
    return torch.zeros_like(pose) + pose.new_tensor((0, 0, 0, 0, 0, 0, 1, 0, 0))


def _times(a: Tensor, b: Tensor) -> Tensor:
    """Return the product of quaternions (..., 4), x y z w."""
    u, v, p, q = a[..., :3], b[..., :3], a[..., 3:], b[..., 3:]
    u, v = torch.broadcast_tensors(u, v)
    return torch.cat((p * v + q * u + torch.linalg.cross(u, v), p * q - (u * v).sum(-1, keepdim=True)), dim=-1)


def _turn(q: Tensor, x: Tensor) -> Tensor:
    """Return points (..., 3) turned by quaternions (..., 4)."""
    u, p = torch.broadcast_tensors(q[..., :3], x)[0], q[..., 3:]
    return x + 2 * torch.linalg.cross(u, torch.linalg.cross(u, x) + p * x) / q.square().sum(-1, keepdim=True)


def _gem_block(dim: int) -> Block:
    return Block(dim, max(1, dim // GEM_HEAD_DIM), eps=1e-5, qk_norm=True)


def _astt_block(dim: int, head_dim: int) -> Block:
    return Block(dim, max(1, dim // head_dim), layer_scale=False)


class Window(nn.Module):
    """Graph: tokens of the frames of a window -> what the network says of them."""

    def __init__(self, network: GemDepth, pose_injection: bool) -> None:
        super().__init__()
        self.network = network
        self.pose_injection = pose_injection

    def forward(self, **frames: Tensor) -> dict[str, Tensor]:
        """Return 'disparity' (T, h, w), 'pose' (T, 9) and 'embedding' (T, C) of the frames (4, h/14, w/14, C) in order."""
        parts = self.network(torch.stack(tuple(frames.values())), self.pose_injection)
        return dict(zip(('disparity', 'pose', 'embedding'), parts, strict=True))


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the file must have, in the size that it shows; what is not used may be of any shape.

    Raises WeightsError if it is not a file of this family.
    """
    with torch.device('meta'):
        network = weights.shapes_of(GemDepth(shapes))
    return network | {key: tuple(shapes[key]) for key in shapes if is_unused(key)}


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str, pose_injection: bool = True
                ) -> dict[str, nn.Module]:
    """Return the graphs encoder and window of the file `files['model']`; WeightsError if it does not fit."""
    path = files['model']
    tensors = {key: value for key, value in weights.read_tensors(path).items() if not is_unused(key)}
    with torch.device('meta'):
        network = GemDepth(weights.shapes_of(tensors))
    weights.load(network, tensors, path.name, dtype, device)
    return {'encoder': Encoder(network.pretrained), 'window': Window(network, pose_injection)}


def is_unused(key: str) -> bool:
    """Return whether a published entry is one that no inference reads."""
    return any(part in key if part.startswith('.') else key.startswith(part) for part in UNUSED)
