"""How solids get into a scene: frames, colours, and parts that many things share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from depth_ros.training.synthetic.scene import BALL, BOX, CONE, TUBE, Scene, Solid, yawed


class Builder:
    """Puts textured solids into a scene; remembers the frame (position and yaw) in which parts are given."""

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self.scene, self.rng = scene, rng
        self.at, self.yaw = np.zeros(3), 0.0

    def place(self, *pose: float) -> Builder:
        """Go to x, y and, unless 0, z and yaw; what is added from now on stands there."""
        x, y, z, yaw = (*pose, 0.0, 0.0)[:4]
        self.at, self.yaw = np.array([x, y, z], float), yaw
        return self

    def child(self, x: float, y: float, z: float, turn: float = 0.0) -> Builder:
        """Return a builder whose frame stands at x, y, z of this one, turned about its vertical."""
        b = Builder(self.scene, self.rng)
        b.at, b.yaw = self.at + yawed(self.yaw) @ np.array([x, y, z], float), self.yaw + turn
        return b

    def colour(self) -> np.ndarray:
        """A colour (3,) 0..1 as things have it: more than half grey, white or black, a quarter brown, the rest gay."""
        rng, kind = self.rng, self.rng.random()
        level = rng.uniform(0.02, 0.9)
        if kind < 0.55:
            return level * (1 + 0.06 * rng.normal(size=3)).clip(0.7, 1.3)
        if kind < 0.8:
            return level * np.array([1.0, rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.7)])
        hue = rng.permutation([1.0, rng.uniform(0.1, 1), rng.uniform(0.05, 0.5)])
        return (0.02 + 0.8 * level) * (hue + rng.uniform(0, 1) * (hue.mean() - hue))  # from gay to muted

    def paint(self, colour: np.ndarray | None = None, kind: str = 'plain', tile_m: float = 1.0) -> dict:
        """A texture of this kind in a colour (3,) 0..1 of reflected light."""
        index, shine = int(self.rng.choice(self.scene.bank.groups[kind])), self.rng.uniform(-0.5, 0.5)
        gloss = max(shine, 0.0) if kind in ('plain', 'wood', 'tiles', 'photo') else 0.0  # half of them are dull
        tint = self.colour() if colour is None else colour
        return dict(textures=(index,), tile_m=np.full(3, tile_m), tint=tint, gloss=gloss)

    def skin(self, *kinds: str) -> dict:
        """A random texture, its scale and a tint, to share between the parts of one thing."""
        rng = self.rng
        kind = str(rng.choice(kinds or ('plain', 'plain', 'plain', 'noise', 'wood', 'tiles', 'stripes', 'photo')))
        paint = self.paint(kind=kind, tile_m=rng.uniform(0.5, 2.5))
        if kind not in ('plain', 'cloth'):  # these pictures have a colour of their own
            paint['tint'] = np.clip(rng.uniform(0.5, 1.15) * (1 + 0.08 * rng.uniform(-1, 1, 3)), 0, 1.2)
        return paint

    def add(self, shape: int, *numbers: float, R: np.ndarray | None = None, **skin: Any) -> None:
        """Add a solid; numbers: centre x, y, z and half sizes x, y, z in the current frame, R its rotation there."""
        at, half = np.array(numbers, float).reshape(2, 3)
        turn = yawed(self.yaw)
        self.scene.solids.append(Solid(shape, self.at + turn @ at, half, turn if R is None else turn @ R, **skin))

    def sheet(
        self, x: float, y: float, z: float, hx: float, hy: float, hz: float, kind: str, R: np.ndarray | None = None
    ) -> None:
        """A flat box whose faces one picture of this kind fills exactly once."""
        index = int(self.rng.choice(self.scene.bank.groups[kind]))
        self.add(BOX, x, y, z, hx, hy, hz, R=R, textures=(index,), tile_m=2 * np.array([hx, hy, hz]))

    def picture(self, x: float, y: float, z: float, hx: float, hy: float, hz: float) -> None:
        """A photograph (or noise) in a frame."""
        self.sheet(x, y, z, hx, hy, hz, 'photo' if self.rng.random() < 0.75 else 'text')
        if self.rng.random() < 0.6:
            self.add(BOX, x, y - 0.004, z, hx + 0.025, hy, hz + 0.025, **self.skin('plain', 'wood'))

    def bar(self, start: Sequence[float], end: Sequence[float], radius: float, **skin: Any) -> None:
        """A round bar from start to end (x, y, z each)."""
        p, q = np.array(start, float), np.array(end, float)
        length = float(np.linalg.norm(q - p))
        z = (q - p) / max(length, 1e-9)
        x = np.cross(z, [0, 1.0, 0] if abs(z[1]) < 0.9 else [1.0, 0, 0])
        x /= np.linalg.norm(x)
        self.add(TUBE, *(p + q) / 2, radius, radius, length / 2, R=np.stack([x, np.cross(z, x), z], 1), **skin)

    def sweep(self, points: np.ndarray | Sequence[Sequence[float]], radius: float, steps: int = 4, **skin: Any) -> None:
        """Sweep a round section along the smooth curve through the points (n, 3): bars with balls at their joints."""
        curve = smooth_curve(np.array(points, float), steps)
        for k in range(len(curve) - 1):
            self.bar(curve[k], curve[k + 1], radius, **skin)
            self.add(BALL, *curve[k + 1], radius, radius, radius, **skin)

    def revolve(self, profile: np.ndarray | Sequence[Sequence[float]], x: float = 0.0, y: float = 0.0, **skin: Any) -> None:
        """Turn a profile of (z, radius) pairs, from below, about the vertical through x, y: a pile of cut cones."""
        over = np.diag([1.0, -1.0, -1.0])  # the broad end of a cone is its bottom
        for (z0, r0), (z1, r1) in zip(profile[:-1], profile[1:], strict=True):
            wide, R = max(r0, r1), over if r1 > r0 else None
            self.add(CONE, x, y, (z0 + z1) / 2, wide, wide, (z1 - z0) / 2, R=R, taper=min(r0, r1) / wide, **skin)

    def leaves(self, size: float) -> None:
        """A pot of radius `size` with a plant in it: flat leaves around a stem."""
        r = self.rng
        pot, green = self.skin('plain', 'noise'), np.array([0.2, 0.4, 0.12]) * r.uniform(0.5, 1.6)
        self.revolve([(0, size * r.uniform(0.6, 1)), (size * 1.6, size), (size * 1.8, size * 1.08)], **pot)
        leaf, wide, tall = self.paint(green, 'leaf', 0.3), r.uniform(0.15, 0.5), r.uniform(1.5, 4.5)
        for _ in range(int(r.integers(6, 14))):
            a, up, z = r.uniform(0, 2 * np.pi), r.uniform(0.1, 1.2), r.uniform(1.2, tall) * size + size
            out = size * r.uniform(0.2, 1.2)
            tilt = yawed(a) @ np.array([[np.cos(up), 0, -np.sin(up)], [0, 1, 0], [np.sin(up), 0, np.cos(up)]])
            at = (out * np.cos(a), out * np.sin(a), z)
            self.add(BALL, *at, size * r.uniform(0.5, 1.3), size * wide, size * 0.06, R=tilt, **leaf)
        stem = [(0, 0, size), (*r.normal(0, 0.2, 2) * size, tall * size / 2), (0, 0, tall * size)]
        self.sweep(stem, size * 0.06, 2, **leaf)

    def aim(self, x: float, y: float, z: float, spread: float) -> None:
        """Remember a place worth looking at, seen from directions within `spread` rad of local +y."""
        at = self.at + yawed(self.yaw) @ np.array([x, y, z])
        self.scene.targets.append((at, self.yaw + np.pi / 2, spread))


def smooth_curve(points: np.ndarray, steps: int) -> np.ndarray:
    """Return ((n - 1) * steps + 1, 3) points on the Catmull-Rom spline through points (n, 3), the ends included."""
    p = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(steps) / steps)[:, None]
    parts = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]
    return np.concatenate([*parts, points[-1:]])
