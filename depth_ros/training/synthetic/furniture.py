"""Furniture and other things made of several solids."""

from __future__ import annotations

from typing import Any

import numpy as np

from depth_ros.training.synthetic.scene import BALL, BOX, TUBE, Scene, Solid, yawed


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

    def skin(self, *kinds: str) -> dict:
        """A random texture, its scale and a tint, to share between the parts of one thing."""
        rng = self.rng
        kind = rng.choice(kinds or ('noise', 'noise', 'wood', 'tiles', 'stripes', 'photo'))
        return dict(
            textures=(int(rng.choice(self.scene.bank.groups[kind])),),
            tile_m=np.full(3, rng.uniform(0.5, 2.5)),
            tint=np.clip(rng.uniform(0.5, 1.15) * (1 + 0.2 * rng.uniform(-1, 1, 3)), 0, 1.2),
        )

    def add(self, shape: int, *numbers: float, R: np.ndarray | None = None, **skin: Any) -> None:
        """Add a solid; numbers: centre x, y, z and half sizes x, y, z in the current frame, R its rotation there."""
        at, half = np.array(numbers, float).reshape(2, 3)
        turn = yawed(self.yaw)
        self.scene.solids.append(Solid(shape, self.at + turn @ at, half, turn if R is None else turn @ R, **skin))

    def picture(self, x: float, y: float, z: float, hx: float, hy: float, hz: float) -> None:
        """A photograph (or noise) that fills the faces of a flat box exactly once."""
        index = int(self.rng.choice(self.scene.bank.groups['photo']))
        self.add(BOX, x, y, z, hx, hy, hz, textures=(index,), tile_m=2 * np.array([hx, hy, hz]), tint=np.ones(3))

    # things; the origin is the middle of the footprint on the floor, +y looks away from the wall behind it

    def table(self) -> None:
        r, skin = self.rng, self.skin('wood', 'noise')
        hx, hy, h, leg = r.uniform(0.4, 1.0), r.uniform(0.3, 0.5), r.uniform(0.45, 0.8), r.uniform(0.015, 0.04)
        self.add(BOX, 0, 0, h, hx, hy, r.uniform(0.012, 0.03), **skin)
        for sx in (-1, 1):
            for sy in (-1, 1):
                self.add(BOX, sx * (hx - 0.06), sy * (hy - 0.06), h / 2, leg, leg, h / 2, **skin)
        for _ in range(r.integers(1, 6)):
            self.clutter(r.uniform(-hx, hx) * 0.8, r.uniform(-hy, hy) * 0.8, h + 0.03)

    def clutter(self, x: float, y: float, z: float) -> None:
        r, skin = self.rng, self.skin()
        s, h = r.uniform(0.03, 0.12), r.uniform(0.03, 0.18)
        shape = int(r.choice([BOX, BOX, TUBE, BALL]))
        skin['tile_m'] = skin['tile_m'] * 0.25
        half = (s, s * r.uniform(0.5, 1.5), h) if shape == BOX else (s, s, h if shape == TUBE else s)
        self.add(shape, x, y, z + half[2], *half, R=yawed(r.uniform(0, 3)), **skin)

    def chair(self) -> None:
        r, skin = self.rng, self.skin('wood', 'noise')
        w, h, leg = r.uniform(0.19, 0.26), r.uniform(0.4, 0.48), r.uniform(0.012, 0.025)
        self.add(BOX, 0, 0, h, w, w, 0.025, **skin)
        self.add(BOX, 0, -w, h + 0.28, w, 0.015, r.uniform(0.12, 0.25), **skin)
        for sx in (-1, 1):
            for sy in (-1, 1):
                top = h if sy > 0 else h + 0.3
                self.add(BOX, sx * (w - 0.02), sy * (w - 0.02), top / 2, leg, leg, top / 2, **skin)

    def shelf(self) -> None:
        r, skin = self.rng, self.skin('wood', 'noise')
        w, d, h, n = r.uniform(0.35, 0.7), r.uniform(0.12, 0.22), r.uniform(0.5, 1.1), int(r.integers(2, 5))
        self.add(BOX, 0, -d, h, w, 0.01, h, **skin)
        for sx in (-1, 1):
            self.add(BOX, sx * w, 0, h, 0.015, d, h, **skin)
        for i in range(n + 1):
            z = 0.03 + (2 * h - 0.06) * i / n
            self.add(BOX, 0, 0, z, w, d, 0.012, **skin)
            for _ in range(r.integers(0, 4)):
                self.clutter(r.uniform(-w, w) * 0.8, 0, z + 0.012)

    def cabinet(self) -> None:
        r, skin = self.rng, self.skin('wood', 'noise', 'noise')
        w, d, h = r.uniform(0.3, 0.9), r.uniform(0.2, 0.35), r.uniform(0.3, 1.1)
        self.add(BOX, 0, 0, h, w, d, h, **skin)
        self.add(BOX, 0, d, h, 0.004, 0.004, h * 0.95, **self.skin('noise'))
        for sx in (-1, 1):
            self.add(TUBE, sx * 0.06, d + 0.015, h, 0.01, 0.01, 0.07, **self.skin('noise'))
        for _ in range(r.integers(0, 4)):
            self.clutter(r.uniform(-w, w) * 0.8, 0, 2 * h)

    def sofa(self) -> None:
        r, skin = self.rng, self.skin('noise', 'noise', 'stripes')
        w, d = r.uniform(0.6, 1.1), r.uniform(0.38, 0.48)
        self.add(BOX, 0, 0, 0.21, w, d, 0.21, **skin)
        self.add(BOX, 0, -d + 0.1, 0.6, w, 0.1, 0.25, **skin)
        for sx in (-1, 1):
            self.add(BOX, sx * w, 0, 0.3, 0.09, d, 0.3, **skin)
        for _ in range(r.integers(0, 3)):
            self.add(BALL, r.uniform(-w, w) * 0.7, -d + 0.28, 0.55, 0.2, 0.09, 0.17, **self.skin())

    def bed(self) -> None:
        r = self.rng
        w, d = r.uniform(0.45, 0.9), r.uniform(0.95, 1.05)
        self.add(BOX, 0, d - 0.3, 0.15, w, d, 0.15, **self.skin('wood'))
        self.add(BOX, 0, d - 0.3, 0.38, w, d, 0.1, **self.skin('noise', 'stripes', 'photo'))
        self.add(BOX, 0, -0.35, 0.5, w, 0.03, 0.5, **self.skin('wood'))
        for sx in (-1, 1):
            self.add(BALL, sx * w / 2, 0.0, 0.53, w * 0.4, 0.22, 0.1, **self.skin('noise'))

    def lamp(self) -> None:
        r, skin, h = self.rng, self.skin('noise'), self.rng.uniform(1.2, 1.8)
        self.add(TUBE, 0, 0, 0.015, 0.14, 0.14, 0.015, **skin)
        self.add(TUBE, 0, 0, h / 2, 0.012, 0.012, h / 2, **skin)
        self.add(TUBE, 0, 0, h, 0.16, 0.16, r.uniform(0.1, 0.16), glow=0.7, **self.skin('noise'))

    def plant(self) -> None:
        r, h, skin = self.rng, self.rng.uniform(0.12, 0.25), self.skin('noise')
        self.add(TUBE, 0, 0, h, 0.15, 0.15, h, **self.skin())
        skin.update(tint=np.array([0.35, 0.7, 0.3]), tile_m=np.full(3, 0.25))
        for _ in range(r.integers(3, 8)):
            x, y, z = r.normal(0, 0.13, 3)
            self.add(BALL, x, y, 2 * h + 0.25 + abs(z), *r.uniform(0.03, 0.16, 3), R=yawed(r.uniform(0, 3)), **skin)

    def stuff(self) -> None:
        r = self.rng
        for _ in range(r.integers(1, 4)):
            s = r.uniform(0.08, 0.35, 3)
            shape = int(r.choice([BOX, BOX, BOX, TUBE, BALL]))
            s = s if shape == BOX else np.array([s[0], s[0], s[2] if shape == TUBE else s[0]])
            self.add(shape, *r.uniform(-0.3, 0.3, 2), s[2], *s, R=yawed(r.uniform(0, 3)), **self.skin())

    def pole(self) -> None:
        r, h = self.rng, self.rng.uniform(0.6, 1.3)
        self.add(TUBE, 0, 0, h, *([r.uniform(0.008, 0.05)] * 2), h, **self.skin('noise', 'stripes'))

    def tree(self) -> None:
        r, h, bark, leaves = self.rng, self.rng.uniform(1.0, 3.0), self.skin('wood'), self.skin('noise')
        leaves.update(tint=np.array([0.4, 0.65, 0.3]) * r.uniform(0.6, 1.4), tile_m=np.full(3, r.uniform(0.4, 1.5)))
        self.add(TUBE, 0, 0, h, *([r.uniform(0.08, 0.25)] * 2), h, **bark)
        for _ in range(r.integers(3, 9)):
            x, y, z = r.normal(0, 0.35 * h, 3)
            self.add(BALL, x, y, 2 * h + z * 0.7, *(r.uniform(0.25, 0.6, 3) * h), R=yawed(r.uniform(0, 3)), **leaves)

    def car(self, velocity: float = 0.0) -> None:
        r, skin = self.rng, self.skin('noise')
        moving = dict(velocity=yawed(self.yaw) @ np.array([velocity, 0, 0]))
        skin.update(tint=r.uniform(0.15, 1.1, 3), tile_m=np.full(3, 6.0))
        dark = {**self.skin('noise'), 'tint': np.full(3, 0.15)}
        length, width = r.uniform(1.8, 2.4), r.uniform(0.8, 0.95)
        self.add(BOX, 0, 0, 0.62, length, width, 0.32, **skin, **moving)
        self.add(BOX, -0.15, 0, 1.15, length * 0.52, width * 0.9, r.uniform(0.2, 0.45), **dark, **moving)
        self.add(BOX, -0.15, 0, 1.45, length * 0.48, width * 0.86, 0.06, **skin, **moving)
        tip = np.array([[1, 0, 0], [0, 0, -1.0], [0, 1, 0]])  # the tube's axis from z to y
        for sx in (-1, 1):
            for sy in (-1, 1):
                self.add(TUBE, sx * length * 0.62, sy * width * 0.9, 0.32, 0.32, 0.32, 0.12, R=tip, **dark, **moving)

    def person(self, velocity: float = 0.0) -> None:
        r = self.rng
        moving = dict(velocity=yawed(self.yaw) @ np.array([velocity, 0, 0]))
        for sy in (-1, 1):
            self.add(TUBE, 0, sy * 0.1, 0.4, 0.08, 0.08, 0.4, **self.skin('noise'), **moving)
        self.add(BALL, 0, 0, 1.12, 0.16, 0.25, 0.42, **self.skin('noise', 'stripes'), **moving)
        self.add(BALL, 0, 0, 1.62, 0.1, 0.09, 0.13, **{**self.skin('noise'), 'tint': r.uniform(0.4, 1, 3)}, **moving)

    def house(self, hx: float, hy: float, h: float) -> None:
        wall, roof = self.skin('facade', 'facade', 'tiles', 'photo'), self.skin('noise')
        wall['tile_m'] = np.full(3, self.rng.uniform(4, 12))
        self.add(BOX, 0, 0, h / 2, hx, hy, h / 2, **wall)
        self.add(BOX, 0, 0, h, hx + 0.3, hy + 0.3, 0.15, **roof)
