"""Video Depth Anything (Chen et al. 2025): SSI + 10 TGM on disparity; only the head learns.

Both losses are taken of maps that are standardised over the whole clip. The rate is ours.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.models import video_depth_anything as network
from depth_ros.models.vit import normalised
from depth_ros.training import losses
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage

CHANGE_SHARE = 10.0
FLAT = 1e-3    # mean deviation below which a map is not scaled up any more


def open_learner(files: Mapping[str, Path], device: str) -> Learner:
    """Return the network of the file `model`. Raises WeightsError if it does not fit."""
    graphs = network.open_graphs(files, torch.float32, device)
    head = graphs['head']
    assert isinstance(head, network.Head)
    return Learner(graphs, dict(head.network.named_parameters()))


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips."""
    maps = torch.stack([graphs['head'](**graphs['encoder'](normalised(rgb)))['map'] for rgb in batch['rgb']])
    own, true = standardised(maps, batch)
    ssi = losses.scale_and_shift_invariant(own, true, batch['weight'])
    return ssi + CHANGE_SHARE * losses.temporal_gradient_matching(own, true, batch['weight'])


def standardised(maps: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return disparity (B, T, h, w) as predicted and as it is, both of mean 0 and mean deviation 1 over each clip."""
    weight = batch['weight']
    return losses.standardise(maps, weight, FLAT), losses.standardise(batch['disparity'], weight)


RECIPE = Recipe(
    quantity=Quantity.DISPARITY_AFFINE,
    open=open_learner,
    loss=loss,
    stages=(Stage('head', 1e-4, ('head.',)),),
    draws=((1, 8),),
    shape=(182, 252),
)
