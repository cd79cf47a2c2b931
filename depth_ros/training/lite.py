"""How the shipped network `lite` is trained: `depth_ros train --recipe lite --out DIR`.

0. prepare: render the synthetic world, ask the teachers about the photographs (once; both are kept under OUT);
1. pictures: single frames of both, first tiny ones (more steps in the same time), so that the encoder sees as many
   different scenes as possible;
2. clips: rendered clips with pose, and photographs seen by a turning camera, still mixed with single pictures (DVD's
   joint training); the normalisation layers are frozen here.

After each stage OUT/lite.onnx is a usable network. OUT/checkpoint.pt is written every few minutes, and a run started
again with the same OUT goes on from it. OUT/log.csv has one line per hundred steps.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import Process
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from depth_ros.models.lite import Lite, LiteConfig, export
from depth_ros.training import corpus as data
from depth_ros.training import losses


@dataclass(frozen=True)
class Stage:
    name: str
    share: float  # of the training time
    images: int  # per step, frames times clips
    frames: tuple[int, ...]  # lengths of clips to choose from
    photo_share: float
    size: float = 1.0  # of the pictures, relative to 256x192 and 384x128


STAGES = (
    Stage('tiny pictures', 0.54, images=16, frames=(1,), photo_share=0.6, size=0.5),
    Stage('tiny clips', 0.13, images=24, frames=(1, 1, 4, 8), photo_share=0.5, size=0.5),
    Stage('small pictures', 0.02, images=16, frames=(1,), photo_share=0.6, size=0.75),
    Stage('small clips', 0.17, images=24, frames=(1, 1, 4, 8), photo_share=0.5, size=0.75),
    Stage('pictures', 0.02, images=16, frames=(1,), photo_share=0.6),
    Stage('clips', 0.12, images=24, frames=(1, 4, 8), photo_share=0.5),
)
WEIGHTS = {
    'ssi': 1.0,
    'gradient': 0.5,
    'silog': 0.5,
    'temporal': 1.0,
    'reference': 0.5,
    'rotation': 10.0,
    'translation': 0.1,
    'flow': 0.5,
    'confidence': 0.1,
    'level': 0.02,
}
PEAK_RATE, LAST_RATE, WARM_UP = 1.2e-3, 1e-5, 300
FARTHEST_M = 80.0


def train_lite(
    out: Path,
    corpus: Path | None,
    teachers: Path | None,
    minutes: float = 60.0,
    render_minutes: float = 9.0,
    seed: int = 0,
    threads: int = 1,
    commit: str = 'unknown',
    cfg: LiteConfig | None = None,
) -> Path:
    """Train for `minutes` (rendering not counted) and return OUT/lite.onnx."""
    cfg = cfg or LiteConfig()
    world, photos = prepare(out, corpus, teachers, render_minutes, max(threads, 2), seed)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = Lite(cfg).to(device, memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(model, avg_fn=_running_average, use_buffers=True)
    late = [p for name, p in model.named_parameters() if name.startswith('geometry.')]
    early = [p for name, p in model.named_parameters() if not name.startswith('geometry.')]
    optimiser = torch.optim.AdamW([{'params': early}, {'params': late}], weight_decay=0.02, betas=(0.9, 0.98))
    step, spent = resume(out / 'checkpoint.pt', model, average, optimiser)

    before = 0.0
    for stage in STAGES:
        until = before + stage.share
        if spent < 60 * minutes * until:
            step, spent = run_stage(
                stage,
                model,
                average,
                optimiser,
                data_of(stage, world, photos, seed + step),
                out,
                step,
                spent,
                60 * minutes * until,
                60 * minutes,
            )
            export(_copy_of(average, cfg), out / 'lite.onnx', version=f'{stage.name}-{step}', commit=commit)
        before = until
    return out / 'lite.onnx'


def run_stage(
    stage: Stage,
    model,
    average,
    optimiser,
    batches: Iterator,
    out: Path,
    step: int,
    spent: float,
    until: float,
    total: float,
) -> tuple[int, float]:
    """Train until `until` seconds of `total` are spent; return the step and the seconds."""
    device = next(model.parameters()).device
    model.train()
    if max(stage.frames) > 1:
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
    sums: dict[str, float] = {}
    last, saved, count = time.monotonic(), spent, 0
    for batch in batches:
        rate = learning_rate(step, spent / total)
        early, late = optimiser.param_groups
        early['lr'], late['lr'] = rate, PEAK_RATE * min(1.0, 4 - 4 * min(spent / total, 1.0))  # motion starts late
        batch = {k: v.to(device) for k, v in batch.items()}
        with torch.autocast(device.type, torch.bfloat16):
            predicted = model.clip(batch['rgb'], lead=12 if max(stage.frames) > 1 and step % 3 == 0 else 0)
        parts = loss_parts({k: v.float() for k, v in predicted.items()}, batch)
        loss = sum(WEIGHTS[k] * v for k, v in parts.items())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(norm):
            optimiser.step()
            average.update_parameters(model)
        step += 1
        now = time.monotonic()
        spent, last = spent + now - last, now
        for k, v in {'loss': loss, **parts}.items():
            sums[k] = sums.get(k, 0.0) + float(v.detach())
        count += 1
        if count == 100 or spent >= until:
            log(
                out / 'log.csv',
                {
                    'stage': stage.name,
                    'step': step,
                    'seconds': round(spent),
                    'rate': f'{rate:.2e}',
                    **{k: f'{v / count:.4f}' for k, v in sums.items()},
                },
            )
            sums, count = {}, 0
        if spent - saved > 180 or spent >= until:
            save(out / 'checkpoint.pt', model, average, optimiser, step, spent)
            saved = spent
        if spent >= until:
            break
    return step, spent


def loss_parts(predicted: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return every loss of a batch of clips by name, unweighted."""
    disparity, weight = batch['disparity'], batch['weight']  # (B, T, h, w)
    own = predicted['disparity']
    target = losses.standardise(disparity, weight)
    aligned = losses.standardise(own, weight, least=0.02)  # not by least squares: that also forgives a wrong sign
    parts = {
        'ssi': losses.scale_and_shift_invariant(aligned, target, weight),
        'gradient': losses.gradient_matching(aligned, target, weight),
        'temporal': losses.lmr_temporal(aligned, target, weight),
        'reference': losses.temporal_gradient(aligned, target, weight),
        'confidence': losses.confidence(predicted['confidence'], aligned - target, weight),
        'level': own[:, 0].mean((1, 2)).clamp(min=1e-3).log().square().mean(),
    }

    exact = weight * batch['scaled'][:, None, None, None] * (disparity > 1 / FARTHEST_M)
    parts['silog'] = losses.silog(own, disparity, exact)
    if own.shape[1] < 2:
        return parts
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


def learning_rate(step: int, progress: float) -> float:
    """A short warm-up, then half a cosine over the training time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / WARM_UP) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


# ---------------------------------------------------------------- data


def prepare(
    out: Path, corpus: Path | None, teachers: Path | None, minutes: float, processes: int, seed: int
) -> tuple[Path, Path]:
    """Fill OUT/world and OUT/photos, if they are empty, and return them."""
    world, photos = out / 'world', out / 'photos'
    pictures = corpus / 'images' if corpus else None
    if not world.exists():
        world.mkdir(parents=True)
        seeds = [range(100000 * (processes * seed + k), 100000 * (processes * seed + k + 1)) for k in range(processes)]
        workers = [Process(target=data.render_world, args=(world, s, pictures, minutes)) for s in seeds]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if not photos.exists():
        photos.mkdir(parents=True)
        if corpus and teachers:
            data.ask_teachers(corpus, teachers, photos)
    return world, photos


class Batches(torch.utils.data.IterableDataset):
    def __init__(self, stage: Stage, world: Path, photos: Path, seed: int):
        self.stage, self.world, self.photos, self.seed = stage, world, photos, seed

    def __iter__(self):
        stage = self.stage
        share = stage.photo_share if any(self.photos.glob('*.npz')) else 0.0
        for batch in data.batches(self.world, self.photos, stage.images, stage.frames, share, self.seed, stage.size):
            yield {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in batch.items()}


def data_of(stage: Stage, world: Path, photos: Path, seed: int) -> Iterator:
    """Batches from one process beside the training, in an order given by the seed."""
    return iter(
        torch.utils.data.DataLoader(
            Batches(stage, world, photos, seed), batch_size=None, num_workers=1, prefetch_factor=6
        )
    )


# ---------------------------------------------------------------- checkpoints


def _running_average(averaged: Tensor, current: Tensor, count: Tensor) -> Tensor:
    decay = min(0.999, (1 + float(count)) / (10 + float(count)))
    return averaged + (1 - decay) * (current - averaged) if current.is_floating_point() else current


def _copy_of(average, cfg: LiteConfig) -> Lite:
    model = Lite(cfg)
    model.load_state_dict(average.module.state_dict())
    return model.eval()


def save(path: Path, model, average, optimiser, step: int, spent: float) -> None:
    state = {
        'model': model.state_dict(),
        'average': average.state_dict(),
        'optimiser': optimiser.state_dict(),
        'step': step,
        'spent': spent,
    }
    torch.save(state, path.with_suffix('.tmp'))
    path.with_suffix('.tmp').rename(path)


def resume(path: Path, model, average, optimiser) -> tuple[int, float]:
    """Load a checkpoint if there is one; return the step and the seconds spent so far."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location='cpu', weights_only=True)
    model.load_state_dict(state['model'])
    average.load_state_dict(state['average'])
    optimiser.load_state_dict(state['optimiser'])
    return state['step'], state['spent']


def log(path: Path, row: dict) -> None:
    print('  '.join(f'{k} {v}' for k, v in row.items()), flush=True)
    new = not path.exists()
    with path.open('a', newline='') as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(['stage', 'step', 'seconds', 'rate', 'loss', *WEIGHTS])
        writer.writerow([row.get(k, '') for k in ('stage', 'step', 'seconds', 'rate', 'loss', *WEIGHTS)])
