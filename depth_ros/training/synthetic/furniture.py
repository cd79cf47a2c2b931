"""Furniture, plants, people and other things of a size to walk around.

The origin is the middle of the footprint on the floor; +y looks away from the wall behind it.
"""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.scene import BALL, BOX, TUBE, yawed
from depth_ros.training.synthetic.tabletop import lay


def table(b: Builder) -> None:
    r, skin = b.rng, b.skin('wood', 'wood', 'plain')
    hx, hy, h, leg = r.uniform(0.4, 1.0), r.uniform(0.3, 0.5), r.uniform(0.4, 0.8), r.uniform(0.012, 0.04)
    b.add(BOX, 0, 0, h, hx, hy, r.uniform(0.012, 0.03), **skin)
    for sx in (-1, 1):
        for sy in (-1, 1):
            b.add(BOX, sx * (hx - 0.06), sy * (hy - 0.06), h / 2, leg, leg, h / 2, **skin)
    lay(b, hx * 0.9, hy * 0.85, h + 0.03, int(r.integers(1, 9)))
    b.aim(0, 0, h, np.pi)


def chair(b: Builder) -> None:
    r, skin = b.rng, b.skin('wood', 'wood', 'plain')
    w, h, leg = r.uniform(0.19, 0.26), r.uniform(0.4, 0.48), r.uniform(0.01, 0.025)
    kind = r.random()
    if kind < 0.3:  # bent steel tube
        steel = b.paint(np.full(3, r.uniform(0.03, 0.6)))
        for s in (-w, w):
            b.sweep([(s, w, 0.02), (s, -w, 0.02), (s, -w * 0.9, h), (s, -w, h + 0.4)], leg * 0.7, 3, **steel)
            b.sweep([(s, w, 0.02), (s, w, h - 0.03), (s, -w * 0.8, h - 0.03)], leg * 0.7, 2, **steel)
    else:
        for sx in (-1, 1):
            for sy in (-1, 1):
                top = h if sy > 0 else h + 0.4
                b.add(BOX, sx * (w - 0.02), sy * (w - 0.02), top / 2, leg, leg, top / 2, **skin)
    b.add(BOX, 0, 0, h, w, w, 0.02, **(b.skin('cloth', 'plain') if r.random() < 0.4 else skin))
    if kind < 0.65:
        b.add(BOX, 0, -w, h + 0.3, w, 0.012, r.uniform(0.08, 0.2), **skin)
    else:  # slats
        for x in np.linspace(-w, w, int(r.integers(4, 8)))[1:-1]:
            b.bar((x, -w + 0.02, h), (x, -w + 0.02, h + 0.38), 0.008, **skin)
        b.add(BOX, 0, -w + 0.02, h + 0.39, w, 0.015, 0.03, **skin)


def shelf(b: Builder) -> None:
    r, skin = b.rng, b.skin('wood', 'wood', 'plain')
    w, d, h, n = r.uniform(0.35, 0.7), r.uniform(0.12, 0.2), r.uniform(0.5, 1.1), int(r.integers(2, 6))
    b.add(BOX, 0, -d, h, w, 0.01, h, **skin)
    for sx in (-1, 1):
        b.add(BOX, sx * w, 0, h, 0.015, d, h, **skin)
    for i in range(n + 1):
        z = 0.03 + (2 * h - 0.06) * i / n
        b.add(BOX, 0, 0, z, w, d, 0.012, **skin)
        if r.random() < 0.7 and i < n:
            row_of_books(b, w - 0.03, d * 0.8, z + 0.012, (h - 0.06) / n)
        else:
            lay(b, w * 0.85, d * 0.5, z + 0.012, int(r.integers(0, 4)))
    b.aim(0, 0, min(1.2, h), 0.6)


def row_of_books(b: Builder, hx: float, hy: float, z: float, hz: float) -> None:
    """Books side by side from -hx on, up to where the row happens to end: single ones, and blocks of many."""
    r, x, end = b.rng, -hx, hx * b.rng.uniform(-0.3, 1.0)
    while x < end:
        single = r.random() < 0.4
        w, tall = r.uniform(0.01, 0.03) if single else r.uniform(0.06, 0.2), hz * r.uniform(0.6, 0.95)
        w = min(w, (hx - x) / 2)
        kind = 'plain' if single else 'books'
        paint = b.paint(None if single else np.full(3, r.uniform(0.4, 1.1)), kind)
        paint['tile_m'] = np.array([r.uniform(0.3, 0.5), 0.2, 2 * tall])
        b.add(BOX, x + w, r.uniform(-0.02, 0.02), z + tall, w, hy * r.uniform(0.7, 1.0), tall, **paint)
        x += 2 * w + (0.001 if r.random() < 0.9 else 0.06)
        if w < 0.005:
            return


def cabinet(b: Builder) -> None:
    r, skin = b.rng, b.skin('wood', 'plain', 'plain')
    w, d, h = r.uniform(0.3, 0.9), r.uniform(0.2, 0.35), r.uniform(0.3, 1.1)
    b.add(BOX, 0, 0, h, w, d, h, **skin)
    handle = b.paint(np.full(3, r.uniform(0.03, 0.7)))
    for sx in (-1, 1):
        b.add(BOX, sx * w / 2, d, h, w / 2 - 0.008, 0.009, h - 0.02, **skin)
        b.add(TUBE, sx * 0.06, d + 0.025, h, 0.008, 0.008, 0.07, **handle)
    lay(b, w * 0.85, d * 0.6, 2 * h, int(r.integers(0, 5)))
    b.aim(0, 0, 2 * h, 0.8)


def sofa(b: Builder) -> None:
    r, skin = b.rng, b.skin('cloth', 'cloth', 'plain')
    w, d = r.uniform(0.6, 1.1), r.uniform(0.38, 0.48)
    b.add(BOX, 0, 0, 0.21, w, d, 0.21, **skin)
    b.add(BOX, 0, -d + 0.1, 0.6, w, 0.1, 0.25, **skin)
    for sx in (-1, 1):
        b.add(BOX, sx * w, 0, 0.3, 0.09, d, 0.3, **skin)
    for _ in range(r.integers(0, 3)):
        b.add(BALL, r.uniform(-w, w) * 0.7, -d + 0.28, 0.55, 0.2, 0.09, 0.17, **b.skin('cloth', 'stripes', 'photo', 'plain'))
    b.aim(0, 0, 0.45, 0.8)


def bed(b: Builder) -> None:
    r = b.rng
    w, d = r.uniform(0.45, 0.9), r.uniform(0.95, 1.05)
    b.add(BOX, 0, d - 0.3, 0.15, w, d, 0.15, **b.skin('wood'))
    b.add(BOX, 0, d - 0.3, 0.38, w, d, 0.1, **b.skin('cloth', 'cloth', 'stripes', 'plain'))
    b.add(BOX, 0, -0.35, 0.5, w, 0.03, 0.5, **b.skin('wood'))
    for sx in (-1, 1):
        b.add(BALL, sx * w / 2, 0.0, 0.53, w * 0.4, 0.22, 0.1, **b.paint(np.full(3, r.uniform(0.4, 0.9)), 'cloth'))
    b.aim(0, 0.4, 0.5, 1.0)


def lamp(b: Builder) -> None:
    """A floor lamp: upright, or with an arm that bends over."""
    r, skin, h, wide = b.rng, b.skin('plain'), b.rng.uniform(1.2, 1.8), b.rng.uniform(0.1, 0.22)
    b.add(TUBE, 0, 0, 0.015, 0.14, 0.14, 0.015, **skin)
    x = r.uniform(0.3, 0.7) if r.random() < 0.35 else 0.0
    b.sweep([(0, 0, 0), (-0.2 * x, 0, h * 0.7), (0.5 * x, 0, h * 1.08), (x, 0, h)], 0.011, 3, **skin)
    shade = b.paint(np.full(3, r.uniform(0.5, 0.95)))
    b.revolve([(h - r.uniform(0.15, 0.3), wide), (h, wide * r.uniform(0.3, 1))], x=x, glow=r.uniform(0, 0.9), **shade)


def rail(b: Builder, length: float) -> None:
    """A railing along x: a handrail on thin rods, or wires between posts."""
    skin, h = b.paint(np.full(3, b.rng.choice([0.03, 0.3, 0.7]))), b.rng.uniform(0.9, 1.1)
    b.bar((-length / 2, 0, h), (length / 2, 0, h), 0.022, **skin)
    if b.rng.random() < 0.6:
        b.bar((-length / 2, 0, 0.1), (length / 2, 0, 0.1), 0.012, **skin)
        for x in np.arange(-length / 2, length / 2, b.rng.uniform(0.1, 0.18)):
            b.bar((x, 0, 0.1), (x, 0, h), 0.007, **skin)
    else:
        for z in np.linspace(0.15, 0.85, 5) * h:
            b.bar((-length / 2, 0, z), (length / 2, 0, z), 0.004, **skin)
        for x in np.linspace(-length / 2, length / 2, max(int(length), 2)):
            b.bar((x, 0, 0), (x, 0, h), 0.02, **skin)


def stairs(b: Builder) -> None:
    """A flight of steps up +x with a handrail."""
    skin, steps = b.skin('wood', 'plain', 'ground', 'tiles'), int(b.rng.integers(3, 14))
    rise, run, wide = b.rng.uniform(0.15, 0.19), b.rng.uniform(0.25, 0.32), b.rng.uniform(0.4, 0.8)
    for k in range(steps):
        b.add(BOX, k * run, 0, (k + 1) * rise / 2, run / 2, wide, (k + 1) * rise / 2, **skin)
    post = b.paint(np.full(3, b.rng.choice([0.03, 0.3, 0.6])))
    for k in range(0, steps, 2):
        b.bar((k * run, wide - 0.05, (k + 1) * rise), (k * run, wide - 0.05, (k + 1) * rise + 0.9), 0.01, **post)
    top = (steps - 1) * run
    b.bar((0, wide - 0.05, rise + 0.9), (top, wide - 0.05, steps * rise + 0.9), 0.02, **post)


def bicycle(b: Builder, velocity: float = 0.0) -> None:
    """A bicycle along x, of thin bars."""
    skin, dark = b.paint(), b.paint(np.full(3, 0.03))
    moving = dict(velocity=yawed(b.yaw) @ np.array([velocity, 0, 0]))
    a = np.linspace(0, 2 * np.pi, 15)
    for x in (-0.52, 0.52):
        rim = np.stack([x + 0.33 * np.cos(a), 0 * a, 0.34 + 0.33 * np.sin(a)], 1)
        for k in range(14):
            b.bar(rim[k], rim[k + 1], 0.015, **dark, **moving)
        for k in range(0, 14, 2):
            b.bar((x, 0, 0.34), rim[k], 0.002, **dark, **moving)
    seat, crank, head = (-0.2, 0, 0.85), (-0.08, 0, 0.3), (0.35, 0, 0.85)
    for p, q in ((seat, crank), (crank, head), (seat, head), (crank, (-0.52, 0, 0.34)), (seat, (-0.52, 0, 0.34))):
        b.bar(p, q, 0.016, **skin, **moving)
    b.bar((0.52, 0, 0.34), (0.33, 0, 1.0), 0.014, **skin, **moving)
    b.sweep([(0.2, -0.25, 0.98), (0.36, 0, 1.02), (0.2, 0.25, 0.98)], 0.012, 2, **dark, **moving)
    b.add(BALL, -0.22, 0, 0.92, 0.13, 0.06, 0.03, **dark, **moving)


def plant(b: Builder) -> None:
    b.leaves(b.rng.uniform(0.1, 0.22))


def stuff(b: Builder) -> None:
    r = b.rng
    for _ in range(r.integers(1, 4)):
        s = r.uniform(0.08, 0.35, 3)
        shape = int(r.choice([BOX, BOX, BOX, TUBE, BALL]))
        s = s if shape == BOX else np.array([s[0], s[0], s[2] if shape == TUBE else s[0]])
        b.add(shape, *r.uniform(-0.3, 0.3, 2), s[2], *s, R=yawed(r.uniform(0, 3)), **b.skin())


def pole(b: Builder) -> None:
    r, h = b.rng, b.rng.uniform(0.6, 1.3)
    b.add(TUBE, 0, 0, h, *([r.uniform(0.008, 0.05)] * 2), h, **b.skin('noise', 'stripes'))


def person(b: Builder, velocity: float = 0.0) -> None:
    """Someone who stands, or walks along +x: legs, arms, a body, a head with hair."""
    r = b.rng
    moving = dict(velocity=yawed(b.yaw) @ np.array([velocity, 0, 0]))
    trousers, shirt = b.skin('plain', 'cloth'), b.skin('plain', 'plain', 'cloth', 'stripes', 'photo')
    face = b.paint(r.uniform(0.15, 0.75) * np.array([1.0, 0.75, 0.6]))
    stride, wide = r.uniform(0, 0.22), r.uniform(0.85, 1.25)
    for s in (-1, 1):
        b.bar((s * stride, s * 0.1, 0.03), (0, s * 0.09, 0.85), 0.075 * wide, **trousers, **moving)
        b.add(BALL, s * stride + 0.06, s * 0.1, 0.05, 0.13, 0.05, 0.05, **b.paint(np.full(3, 0.05)), **moving)
        hand = (-s * stride + r.uniform(0, 0.25), s * 0.27 * wide, r.uniform(0.8, 1.05))
        b.bar((0, s * 0.2 * wide, 1.38), hand, 0.05, **shirt, **moving)
        b.add(BALL, *hand, 0.05, 0.05, 0.06, **face, **moving)
    b.add(BALL, 0, 0, 1.15, 0.13 * wide, 0.21 * wide, 0.38, **shirt, **moving)
    b.bar((0, 0, 1.4), (0.02, 0, 1.55), 0.06, **face, **moving)
    b.add(BALL, 0.02, 0, 1.63, 0.1, 0.08, 0.13, **face, **moving)
    b.add(BALL, -0.015, 0, 1.67, 0.105, 0.09, 0.11, **b.paint(r.uniform(0.01, 0.4) * np.array([1, 0.8, 0.6])), **moving)
