"""Pixel-Perfect Depth (2601.05246): flow matching in pixel space + gradient matching, on normalised log depth.

    x_t = t x_1 + (1 - t) x_0,  v = x_1 - x_0                      x_1: noise (eq. 1 and 2)
    L = |v' - v|^2 + 0.5 GM(x_0', x_0),  x_0' = x_t - t v'         (eq. 3 and 10)

The second stage of the paper, which goes on from a trained network; its first is without GM. The semantics stay as they
are. The share of GM, and 2 % and 98 % for the "lower and upper percentiles" of eq. 8, are ours.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.models import dit, weights
from depth_ros.models import pixel_perfect as network
from depth_ros.training import losses
from depth_ros.training.recipes.recipe import Batch, Graphs, Learner, Recipe, Stage

FARTHEST_M = 80.0       # what is farther, and sky, is put there
EDGE_SHARE = 0.5
STEPS = 1000            # of the time: noise


def open_learner(files: Mapping[str, Path], device: str) -> Learner:
    """Return the network of the files `model` and `semantics`. Raises WeightsError if they do not fit."""
    graphs = network.open_graphs(files, torch.float32, device)
    prefix = dit.prefix_of(weights.read_shapes(files['model']))
    return Learner(graphs, {prefix + name: value for name, value in graphs['denoise'].named_parameters()})


def loss(graphs: Graphs, batch: Batch, generator: torch.Generator) -> Tensor:
    """Return the objective of a batch of clips of one frame."""
    data = log_depth(batch['disparity'], batch['weight'])
    velocity, depth = flow(graphs, batch, data, generator)
    return velocity + EDGE_SHARE * losses.gradient_matching(depth, data, batch['weight'])


def log_depth(disparity: Tensor, weight: Tensor) -> Tensor:
    """Return log(1 + Z) over each clip from -0.5 (near) to 0.5 (far) (eq. 8); (B, T, h, w), disparity in 1/m."""
    return losses.to_quantiles(torch.log1p(1 / disparity.clamp(min=1 / FARTHEST_M)), weight) - 0.5


def flow(graphs: Graphs, batch: Batch, data: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the flow matching loss at one random time per clip, and the data (B, T, h, w) that the velocities speak of."""
    noise = torch.randn(data.shape, generator=generator).to(data)
    time = torch.rand((len(data), 1, 1, 1), generator=generator).to(data)
    sample = losses.between(data, noise, time)
    velocity = torch.stack([
        velocity_of(graphs, rgb, x, t.view(1)) for rgb, x, t in zip(batch['rgb'], sample, time, strict=True)
    ])
    return losses.flow_matching(velocity, data, noise, batch['weight']), sample - time * velocity


def velocity_of(graphs: Graphs, rgb: Tensor, sample: Tensor, time: Tensor) -> Tensor:
    """Return the velocity (T, h, w) at `sample` (T, h, w) and `time` (1) in 0..1 of frames (T, 3, h, w) in 0..1."""
    with torch.no_grad():
        semantics = graphs['semantics'](rgb)['semantics']
    velocity: Tensor = graphs['denoise'](sample[:, None], rgb, semantics, STEPS * time)['velocity']
    return velocity[:, 0]


RECIPE = Recipe(
    quantity=Quantity.LOG_DEPTH_AFFINE,
    open=open_learner,
    loss=loss,
    stages=(Stage('fine-tuning', 1e-4, ('',)),),
    draws=((4, 1),),
    shape=(192, 256),
)
