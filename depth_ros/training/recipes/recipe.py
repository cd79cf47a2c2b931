"""What a recipe is, and the loop that runs it."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.core.frame import Quantity
from depth_ros.errors import InputError, WeightsError, need
from depth_ros.models import weights
from depth_ros.training.corpus import Material
from depth_ros.training.lite import prepare

Batch = Mapping[str, Tensor]             # clips, as `corpus.collate` puts them together
Graphs = Mapping[str, Callable[..., Any]]
FOLDER = 'weights'                       # written where the weights are a folder


@dataclass(frozen=True)
class Learner:
    """A network that can learn."""

    graphs: Graphs                       # by name, as the network's module opens them
    tensors: dict[str, Tensor]           # what its graphs compute with, by the names in the file `role`


@dataclass(frozen=True)
class Stage:
    """Which of the tensors learn, and how fast."""

    name: str
    rate: float                          # of AdamW, constant
    trains: tuple[str, ...]              # parts of their names


@dataclass(frozen=True)
class Recipe:
    """How one family learns.

    A step draws one batch for each of `draws` and lowers the sum of `loss(graphs, batch, generator)` over them, so that
    (clips, 1) beside (clips, T) is what DVD calls image-video joint training.
    """

    quantity: Quantity                   # of the maps that it is for
    open: Callable[[Mapping[str, Path], str], Learner]    # {role: file}, device -> network
    loss: Callable[[Graphs, Batch, torch.Generator], Tensor]
    stages: tuple[Stage, ...]
    draws: tuple[tuple[int, int], ...]   # (clips, frames of each)
    shape: tuple[int, int]               # (h, w) of the pictures
    role: str = 'model'                  # of the file that learns


def fit(recipe: Recipe, stage: Stage, learner: Learner, steps: Iterable[Sequence[Batch]], seed: int = 0) -> Iterator[float]:
    """Take one step per item of `steps`, one batch per draw in each, and yield the loss before it.

    The noise of step n follows from the seed and n alone: same batches, same seed, same bytes. Raises WeightsError if the
    stage finds nothing to train.
    """
    trained = [value for name, value in learner.tensors.items() if any(part in name for part in stage.trains)]
    if not trained:
        raise WeightsError(f'the weights have no entries like {", ".join(stage.trains)}, which stage {stage.name!r} trains; '
                           'take the official file of this family')
    for value in learner.tensors.values():
        value.requires_grad_(False)
    for value in trained:
        value.requires_grad_(True)
    optimiser = torch.optim.AdamW(trained, lr=stage.rate)
    for step, batches in enumerate(steps):
        loss = objective(recipe, learner, batches, seed, step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        yield float(loss.detach())


def objective(recipe: Recipe, learner: Learner, batches: Sequence[Batch], seed: int = 0, step: int = 0) -> Tensor:
    """Return the loss that step number `step` lowers."""
    generator = torch.Generator().manual_seed(1_000_003 * seed + step)
    return torch.stack([recipe.loss(learner.graphs, batch, generator) for batch in batches]).sum()


def train(recipe: Recipe, paths: Mapping[str, Path], out: Path, scenes: int, steps: int, seed: int, threads: int) -> Path:
    """Train the files `paths`, by role, for `steps` in each stage on `scenes` rendered ones, and return the file written.

    The scenes are kept under OUT/world. Computes in float32, on a GPU where there is one. Raises WeightsError if the files
    do not fit, InputError if the result would take their place.
    """
    target = out / (paths[recipe.role].name if paths[recipe.role].is_file() else FOLDER)
    if target.resolve() == paths[recipe.role].resolve():
        raise InputError(f'the result would overwrite {target}; give another folder with --out')
    torch.set_num_threads(threads)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    learner = recipe.open(paths, device)
    world, photos = prepare(out, None, None, scenes, seed, processes=2)
    material = Material(world, photos)
    for number, stage in enumerate(recipe.stages):
        batches = (draw(recipe, material, np.random.default_rng((17, seed, number, n)), device) for n in range(steps))
        for n, loss in enumerate(fit(recipe, stage, learner, batches, seed)):
            print(f'{stage.name}  step {n}  loss {loss:.4f}', flush=True)
    write(learner, paths[recipe.role], target)
    return target


def draw(recipe: Recipe, material: Material, rng: np.random.Generator, device: str = 'cpu') -> list[Batch]:
    """Return the batches of one step."""
    shapes = (recipe.shape, recipe.shape)
    drawn = (material.batch(clips * frames, (frames,), 0.0, shapes, rng) for clips, frames in recipe.draws)
    return [{name: torch.from_numpy(values.copy()).to(device) for name, values in one.items()} for one in drawn]


def write(learner: Learner, source: Path, target: Path) -> None:
    """Write the file `target`: what `source` holds, with what was learnt under the same names in its place.

    Where `source` is a folder, so is `target`, with all of its files and the weights in one.
    """
    learnt = {name: value.detach().cpu().contiguous() for name, value in learner.tensors.items()}
    tensors = weights.read_tensors(source) | learnt
    if source.is_file():
        _save(tensors, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and '.safetensors' not in path.name:
            shutil.copy(path, target)
    _save(tensors, target / 'model.safetensors')


def _save(tensors: dict[str, Tensor], file: Path) -> None:
    part = file.with_name(f'{file.name}.part')    # under its own name only when it is complete
    if file.suffix == '.safetensors':
        need('safetensors.torch', 'pip install safetensors').save_file(tensors, part)
    else:
        torch.save(tensors, part)
    part.replace(file)
