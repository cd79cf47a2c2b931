"""Cameras: where they look, how they move, and what keeps them out of walls."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.scene import BALL, SHELL, Scene


def look(position: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Return T_world_cam (4, 4) of a camera that looks along yaw (0 = +x, to the left positive) and pitch (up
    positive)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    T = np.eye(4)
    T[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], 1)
    T[:3, 3] = position
    return T


def clearance(scene: Scene, points: np.ndarray) -> float:
    """Return a lower bound [m] of the distance from points (N, 3) to the solids; below zero means inside one."""
    nearest = np.inf
    for s in scene.solids:
        inside = np.abs((points - s.centre) @ s.R) - s.half
        if s.shape == BALL:
            inside = (np.linalg.norm((inside + s.half) / s.half, axis=1, keepdims=True) - 1) * s.half.min()
        distance = -inside.max() if s.shape == SHELL else inside.max(1).min()
        nearest = min(nearest, distance)
    return float(nearest)


def make_path(scene: Scene, seed: int, frames: int, rate_hz: float = 30.0, motion: str | None = None) -> np.ndarray:
    """Return T_world_cam (frames, 4, 4) float64: a smooth path through the free part of the scene.

    `motion` is hand, walk, turn, drive or fly; by default the seed chooses what suits the scene.
    """
    rng = np.random.default_rng((11, seed))
    outdoors = scene.sky is not None
    usual = {'street': ['drive', 'drive', 'walk', 'turn', 'hand'], 'terrain': ['walk', 'fly', 'turn', 'hand', 'drive']}
    motion = motion or str(rng.choice(usual.get(scene.kind, ['hand', 'hand', 'walk', 'turn', 'fly'])))
    speed = {'hand': 0.15, 'walk': 0.9, 'turn': 0.1, 'drive': 8.0, 'fly': 0.8 + 2.0 * outdoors}[motion] * rng.uniform(
        0.5, 1.5
    )
    height = {'drive': (1.2, 1.7), 'fly': (1.0, 2.2 + 3 * outdoors)}.get(motion, (0.9, 1.8))
    shake, spin = {
        'hand': (0.03, 0.05),
        'walk': (0.025, 0.03),
        'turn': (0.01, 0.01),
        'drive': (0.02, 0.006),
        'fly': (0.05, 0.04),
    }[motion]
    t = np.arange(frames) / rate_hz  # s
    best, most = None, -np.inf
    for _ in range(24):
        low, high = scene.extent + np.array([[0.35], [-0.35]])
        start = rng.uniform(low, np.maximum(high, low + 1e-3))
        start[2] = np.clip(rng.uniform(*height), 0.3, high[2])
        if scene.kind in ('street', 'corridor') and (motion == 'drive' or rng.random() < 0.6):
            yaw = np.pi / 2 + rng.normal(0, 0.12)
        else:  # rather look across the scene than into the next wall
            yaw = np.arctan2(*(-start[1::-1] + rng.normal(0, 0.8, 2))) + rng.normal(0, 0.5)
        pitch = rng.normal(-0.12 if motion != 'fly' else -0.25, 0.15) * (0.3 if motion == 'drive' else 1)
        course = yaw + (0 if motion in ('drive', 'walk') else rng.uniform(-np.pi, np.pi))
        turn = rng.normal(0, {'hand': 0.15, 'walk': 0.15, 'turn': 0.6, 'drive': 0.05, 'fly': 0.2}[motion])  # rad/s
        heading = course + turn * t * (motion in ('drive', 'walk'))
        step = speed / rate_hz * np.stack([np.cos(heading), np.sin(heading), np.zeros_like(t)], 1)
        wobble = _wobble(rng, t, 6)
        position = start + np.cumsum(step, 0) - step[0] + shake * wobble[:, :3]
        free = min(clearance(scene, position), 0.5)
        if free > most:
            angles = (
                np.stack([yaw + turn * t, np.full_like(t, pitch), np.full_like(t, rng.normal(0, 0.03))], 1)
                + spin * wobble[:, 3:]
            )
            best, most = (position, angles), free
        if most > 0.3:
            break
    assert best is not None
    return np.stack([look(p, *a) for p, a in zip(*best, strict=True)])


def _wobble(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
    """Return n smooth curves (len(t), n) of about unit size: a few sines between 0.2 and 2.5 Hz."""
    f, phase = rng.uniform(0.2, 2.5, (4, n)), rng.uniform(0, 2 * np.pi, (4, n))
    return (np.sin(2 * np.pi * f * t[:, None, None] + phase) / (1 + f)).sum(1)


def make_K(width: int, height: int, fov_deg: float) -> np.ndarray:
    """Return K (3, 3) of a centred camera with this horizontal field of view."""
    f = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
