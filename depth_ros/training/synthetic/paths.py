"""How cameras move through a scene, where they look, and what keeps them out of walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_ros.training.synthetic.lens import look, make_K
from depth_ros.training.synthetic.rays import trace
from depth_ros.training.synthetic.scene import BALL, SHELL, Scene


@dataclass(frozen=True)
class Motion:
    """How one kind of camera moves; rates are deviations or typical values."""

    speed: float  # m/s
    height: tuple[float, float]  # m
    shake: float  # m
    spin: float  # rad
    turn: float  # rad/s
    pitch: tuple[float, float]  # mean and deviation, rad
    follows: bool  # whether it moves where it looks
    studies: float  # share of paths that look at something near


MOTIONS = {
    'hand': Motion(0.15, (0.9, 1.8), 0.03, 0.05, 0.15, (-0.2, 0.2), False, 0.75),
    'walk': Motion(0.9, (0.9, 1.8), 0.025, 0.03, 0.15, (-0.12, 0.15), True, 0.0),
    'turn': Motion(0.1, (0.9, 1.8), 0.01, 0.01, 0.6, (-0.15, 0.18), False, 0.3),
    'drive': Motion(8.0, (1.2, 1.8), 0.02, 0.006, 0.05, (-0.04, 0.04), True, 0.0),
    'fly': Motion(0.8, (1.0, 2.2), 0.05, 0.04, 0.2, (-0.25, 0.2), False, 0.2),
}
USUAL = {'street': ['drive', 'drive', 'drive', 'walk', 'turn', 'hand'], 'terrain': ['walk', 'fly', 'turn', 'hand', 'drive']}


def clearance(scene: Scene, points: np.ndarray) -> float:
    """Return a lower bound [m] of the distance from points (N, 3) to the solids; below zero means inside one."""
    half = np.array([s.half for s in scene.solids])[:, None]  # (n, 1, 3)
    offset = points - np.array([s.centre for s in scene.solids])[:, None]
    local = np.abs(offset @ np.array([s.R for s in scene.solids]))  # (n, N, 3)
    outside = (local - half).max(2)
    shape = np.array([s.shape for s in scene.solids])
    ball, shell = shape == BALL, shape == SHELL
    outside[ball] = (np.linalg.norm(local[ball] / half[ball], axis=2) - 1) * half[ball].min(2)
    outside[shell] *= -1
    return float(outside.min())


def make_path(scene: Scene, seed: int, frames: int, rate_hz: float = 30.0, motion: str | None = None) -> np.ndarray:
    """Return T_world_cam (frames, 4, 4) float64: a smooth path through the free part of the scene.

    `motion` is hand, walk, turn, drive or fly; by default the seed chooses what suits the scene.
    """
    rng = np.random.default_rng((11, seed))
    motion = motion or str(rng.choice(USUAL.get(scene.kind, ['hand', 'hand', 'hand', 'walk', 'turn', 'fly'])))
    how, t = MOTIONS[motion], np.arange(frames) / rate_hz  # s
    speed = rng.uniform(0.5, 1.5) * (how.speed + 2.0 * (motion == 'fly' and scene.sky is not None))
    studies = bool(scene.targets) and rng.random() < how.studies
    enough = 0.12 if studies else 0.3
    best, most = None, -np.inf
    for attempt in range(32):
        position, yaw, pitch = _study(scene, rng) if studies and attempt < 24 else _stand(scene, rng, how, motion)
        course = yaw + (0 if how.follows else rng.uniform(-np.pi, np.pi))
        turn = rng.normal(0, how.turn * (0.4 if studies else 1.0))
        heading = course + turn * t * how.follows
        step = speed / rate_hz * np.stack([np.cos(heading), np.sin(heading), np.zeros_like(t)], 1)
        wobble = _wobble(rng, t, 6)
        way = position + np.cumsum(step, 0) - step[0] + how.shake * wobble[:, :3]
        roll = rng.normal(0, 0.01 if motion == 'drive' else 0.05)
        angles = np.stack([yaw + turn * t, np.full_like(t, pitch), np.full_like(t, roll)], 1) + how.spin * wobble[:, 3:]
        free = min(clearance(scene, way), enough)
        free = free if free < 0.12 else free - 0.2 * (_blocked(scene, look(way[0], *angles[0])))
        if free > most:
            best, most = (way, angles), free
        if most >= enough:
            break
    assert best is not None
    return np.stack([look(p, *a) for p, a in zip(*best, strict=True)])


def _stand(scene: Scene, rng: np.random.Generator, how: Motion, motion: str) -> tuple[np.ndarray, float, float]:
    """A place (3,), yaw and pitch that suit the motion; on a street in the right lane, along it."""
    low, high = scene.extent + np.array([[0.35], [-0.35]])
    at = rng.uniform(low, np.maximum(high, low + 1e-3))
    rise = 3.0 * (motion == 'fly' and scene.sky is not None)
    at[2] = np.clip(rng.uniform(how.height[0], how.height[1] + rise), 0.3, high[2])
    pitch = rng.normal(*how.pitch)
    if scene.kind in ('street', 'corridor') and (motion == 'drive' or rng.random() < 0.5):
        if motion == 'drive':
            at[0] = high[0] * rng.uniform(0.15, 0.65)
        return at, np.pi / 2 + rng.normal(0, 0.05 if motion == 'drive' else 0.2), pitch
    # rather look across the scene than into the next wall
    return at, np.arctan2(*(-at[1::-1] + rng.normal(0, 0.8, 2))) + rng.normal(0, 0.5), pitch


def _study(scene: Scene, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    """A place (3,), yaw and pitch from which a target is seen close up, mostly from above."""
    target, front, spread = scene.targets[int(rng.integers(len(scene.targets)))]
    away, up = np.exp(rng.uniform(np.log(0.5), np.log(2.6))), np.radians(rng.uniform(5, 50))
    side = front + rng.uniform(-spread, spread)
    at = target + away * np.array([np.cos(side) * np.cos(up), np.sin(side) * np.cos(up), np.sin(up)])
    low, high = scene.extent + np.array([[0.2], [-0.2]])
    at = np.clip(at, low, np.maximum(high, low + 1e-3))
    to = target - at
    yaw, pitch = np.arctan2(to[1], to[0]), np.arctan2(to[2], np.hypot(to[0], to[1]))
    return at, yaw + rng.normal(0, 0.15), pitch + rng.normal(0.05, 0.12)


def _blocked(scene: Scene, T_world_cam: np.ndarray) -> bool:
    """Whether something stands right before the lens (at most half of 25 rays reach 0.35 m)."""
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[2:19:4, 2:19:4])
    depth, _ = trace(scene, T_world_cam, make_K(20, 20, 70), u, v)
    return bool(np.median(depth) < 0.35)


def _wobble(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
    """Return n smooth curves (len(t), n) of about unit size: a few sines between 0.2 and 2.5 Hz."""
    f, phase = rng.uniform(0.2, 2.5, (4, n)), rng.uniform(0, 2 * np.pi, (4, n))
    return (np.sin(2 * np.pi * f * t[:, None, None] + phase) / (1 + f)).sum(1)
