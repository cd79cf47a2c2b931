"""DepthVLM (arXiv 2605.15876): SILog with lambda 0.5 on metres, in two stages: the depth head alone, then the language
model with it; the vision tower stays as it is.

The network speaks of a camera of 1000 px focal length. Instead of enlarging pictures to it, which come out the same but for
their sharpness, depth is multiplied by 1000 px / focal length (Metric3D, Yin et al. 2023, sec. 3.2): a picture of half the
focal length looks like one from twice as far. Only depth is taught here; the paper mixes in questions with answers in text.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.models import depthvlm as network
from depth_ros.training import losses
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage

FOCAL_PX = 1000.0
FARTHEST_M = 120.0      # what is farther is not looked at
MEAN_SHARE = 0.5        # lambda


def open_learner(files: Mapping[str, Path], device: str) -> Learner:
    """Return the network of the folder `weights`. Raises WeightsError if it does not fit."""
    graphs = network.open_graphs(files, torch.float32, device)
    depth = graphs['depth']
    assert isinstance(depth, network.Depth)
    return Learner(graphs, dict(depth.network.named_parameters()))


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips of one frame."""
    pictures = (255 * batch['rgb'][:, 0]).round().to(torch.uint8).permute(0, 2, 3, 1)    # (B, h, w, 3)
    own = torch.cat([graphs['depth'](picture[None])['depth_m'] for picture in pictures])[:, None]    # (B, 1, h, w)
    true = canonical_depth(batch['disparity'], batch['K'])
    return losses.silog(own, true, batch['weight'] * (batch['disparity'] > 1 / FARTHEST_M), MEAN_SHARE)


def canonical_depth(disparity: Tensor, K: Tensor) -> Tensor:
    """Return depth [m] (B, T, h, w) as it would be if the same pictures came from a camera of 1000 px focal length."""
    focal_px = (K[:, 0, 0] * K[:, 1, 1]).sqrt()[:, None, None, None]
    return FOCAL_PX / focal_px / disparity.clamp(min=1 / FARTHEST_M)


RECIPE = Recipe(
    quantity=Quantity.DEPTH_METRIC,
    open=open_learner,
    loss=loss,
    stages=(
        Stage('head', 3.5e-4, ('depth_head.',)),
        Stage('language and head', 2e-5, ('model.language_model.', 'depth_head.')),
    ),
    draws=((4, 1),),
    shape=(192, 256),
    role='weights',
)
