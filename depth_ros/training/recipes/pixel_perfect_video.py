"""Pixel-Perfect Video Depth (2601.05246): as Pixel-Perfect Depth, on disparity over a clip, + RTG (eq. 9 and 11).

RTG ties every frame to the three reference frames whose tokens the network shows to all. Its share is ours. The pictures
have the size that the table of positions is made for.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.models import dit, weights
from depth_ros.models import pixel_perfect_video as network
from depth_ros.training import losses
from depth_ros.training.recipes.pixel_perfect import EDGE_SHARE, flow
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage

SIDE_PX = 512
REFERENCE_SHARE = 0.5
TABLE = 'pos_embed'    # computed, not learnt


def open_learner(files: Mapping[str, Path], device: str, side_px: int = SIDE_PX) -> Learner:
    """Return the network of the files `model` and `semantics`. Raises WeightsError if they do not fit."""
    graphs = network.open_graphs(files, torch.float32, device, side_px)
    prefix = dit.prefix_of(weights.read_shapes(files['model']))
    named = graphs['denoise'].named_parameters()
    return Learner(graphs, {prefix + name: value for name, value in named if name != TABLE})


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips of more than three frames."""
    weight = batch['weight']
    data = losses.to_quantiles(batch['disparity'], weight) - 0.5
    velocity, disparity = flow(graphs, batch, data, generator)
    return (
        velocity
        + EDGE_SHARE * losses.gradient_matching(disparity, data, weight)
        + REFERENCE_SHARE * losses.temporal_gradient(disparity, data, weight, network.REFERENCES)
    )


RECIPE = Recipe(
    quantity=Quantity.DISPARITY_AFFINE,
    open=open_learner,
    loss=loss,
    stages=(Stage('fine-tuning', 1e-4, ('',)),),
    draws=((1, 8),),
    shape=(SIDE_PX, SIDE_PX),
)
