"""GemDepth (arXiv 2605.10525): SSI + gradient matching + 10 TGM on disparity, + 0.2 times the loss of the poses.

As published, dice decide whether the predicted poses go back into the tokens, so that the network knows both. The unit
of the translations (the mean depth of the clip), the rate, and that all parameters learn are ours.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.models import gemdepth as network
from depth_ros.models.vit import normalised
from depth_ros.training import losses
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage
from depth_ros.training.recipes.video_depth_anything import CHANGE_SHARE, standardised

POSE_SHARE = 0.2
INJECTED = 0.45         # of the windows (0.9 * 0.5)
FARTHEST_M = 80.0


def open_learner(files: Mapping[str, Path], device: str) -> Learner:
    """Return the network of the file `model`. Raises WeightsError if it does not fit."""
    graphs = network.open_graphs(files, torch.float32, device)
    window = graphs['window']
    assert isinstance(window, network.Window)
    standing = network.Window(window.network, pose_injection=False)
    return Learner({**graphs, 'standing': standing}, dict(window.network.named_parameters()))


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips."""
    seen = []
    for rgb in batch['rgb']:
        window = graphs['window' if torch.rand((), generator=generator) < INJECTED else 'standing']
        seen.append(window(**graphs['encoder'](normalised(rgb))))
    maps, poses = (torch.stack([one[name] for one in seen]) for name in ('disparity', 'pose'))
    weight = batch['weight']
    own, true = standardised(maps, batch)
    return (
        losses.scale_and_shift_invariant(own, true, weight)
        + losses.gradient_matching(own, true, weight)
        + CHANGE_SHARE * losses.temporal_gradient_matching(own, true, weight)
        + POSE_SHARE * losses.camera(poses, true_poses(batch))
    )


def true_poses(batch: Batch) -> Tensor:
    """Return the poses (B, T, 9) as the camera head gives them: translation and quaternion xyzw that lead from the first
    camera to each, and the vertical and horizontal field of view [rad]. Translations are in mean depths of the clip."""
    disparity, K = batch['disparity'], batch['K']
    h, w = disparity.shape[-2:]
    T_cam_first = torch.linalg.inv(torch.stack(_chained(batch['T_prev_cam'].unbind(1)), 1))
    known = batch['weight'] * (disparity > 1 / FARTHEST_M)
    unit = losses.clip_mean(1 / disparity.clamp(min=1 / FARTHEST_M), known)[:, :, 0].clamp(min=1e-3)    # (B, 1, 1)
    view = torch.stack([2 * torch.atan(h / 2 / K[:, 1, 1]), 2 * torch.atan(w / 2 / K[:, 0, 0])], -1)    # (B, 2)
    views = view[:, None].expand(-1, disparity.shape[1], 2)
    return torch.cat([T_cam_first[..., :3, 3] / unit, quaternion(T_cam_first[..., :3, :3]), views], -1)


def quaternion(R: Tensor) -> Tensor:
    """Return the unit quaternions (..., 4), x y z w, w > 0, of rotations (..., 3, 3) below 180 degrees."""
    w = (1 + R.diagonal(dim1=-2, dim2=-1).sum(-1)).clamp(min=1e-6).sqrt() / 2
    xyz = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1)
    return torch.cat([xyz / (4 * w[..., None]), w[..., None]], -1)


def _chained(T_prev_cam: tuple[Tensor, ...]) -> list[Tensor]:
    """Return T_first_cam of each frame."""
    T_first_cam = [torch.eye(4).to(T_prev_cam[0]).expand_as(T_prev_cam[0])]
    for T in T_prev_cam[1:]:
        T_first_cam.append(T_first_cam[-1] @ T)
    return T_first_cam


RECIPE = Recipe(
    quantity=Quantity.DISPARITY_AFFINE,
    open=open_learner,
    loss=loss,
    stages=(Stage('all', 1e-5, ('',)),),
    draws=((1, 8),),
    shape=(182, 252),
)
