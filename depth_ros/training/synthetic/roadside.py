"""Things that stand out of doors: trees, hedges, cars, houses, posts, fences."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.scene import BALL, BOX, TUBE, yawed

TIP = np.array([[1, 0, 0], [0, 0, -1.0], [0, 1, 0]])  # a tube's axis from z to y


def green(b: Builder) -> np.ndarray:
    """The colour of leaves or grass: from bluish dark to dry."""
    return b.rng.uniform(0.4, 1.2) * np.array([b.rng.uniform(0.35, 0.85), 0.75, b.rng.uniform(0.1, 0.3)])


def tree(b: Builder) -> None:
    r, h = b.rng, b.rng.uniform(0.8, 2.5)
    bark, leaves = (
        b.paint(np.array([0.25, 0.2, 0.15]) * r.uniform(0.5, 2), 'noise'),
        b.paint(green(b), 'leaf', r.uniform(1.0, 2.5)),
    )
    b.bar((0, 0, 0), (*r.normal(0, 0.08, 2), 2 * h), r.uniform(0.06, 0.22), **bark)
    for _ in range(r.integers(0, 4)):
        b.bar((0, 0, h * r.uniform(0.8, 1.8)), (*r.normal(0, 0.5 * h, 2), h * r.uniform(2.0, 3.0)), 0.04, **bark)
    if r.random() < 0.25:  # a conifer: a pile of discs
        for k in range(5):
            b.revolve([(h * (0.5 + 0.5 * k), h * (0.8 - 0.14 * k)), (h * (1.3 + 0.5 * k), h * 0.1)], **leaves)
        return
    for _ in range(r.integers(5, 12)):
        x, y, z = r.normal(0, 0.4 * h, 3)
        b.add(BALL, x, y, 2.3 * h + z * 0.7, *(r.uniform(0.25, 0.6, 3) * h), R=yawed(r.uniform(0, 3)), **leaves)


def bush(b: Builder) -> None:
    leaves = b.paint(green(b), 'leaf', b.rng.uniform(0.6, 1.5))
    for _ in range(int(b.rng.integers(2, 5))):
        half = b.rng.uniform(0.25, 0.8, 3)
        b.add(BALL, *b.rng.normal(0, 0.4, 2), half[2] * 0.6, *half, **leaves)


def hedge(b: Builder, length: float) -> None:
    """A hedge along x, a box with bulges."""
    h, leaves = b.rng.uniform(0.5, 1.1), b.paint(green(b), 'leaf', b.rng.uniform(0.8, 1.6))
    b.add(BOX, 0, 0, h * 0.9, length / 2, 0.35, h * 0.9, **leaves)
    for x in np.arange(-length / 2, length / 2, 1.2):
        b.add(BALL, x + b.rng.uniform(0, 1), b.rng.normal(0, 0.1), h, *b.rng.uniform(0.3, 0.6, 2), h, **leaves)


def fence(b: Builder, length: float) -> None:
    """Posts and rails along x: thin things at known places."""
    skin, h, step = b.skin('plain', 'wood'), b.rng.uniform(0.7, 1.6), b.rng.uniform(0.4, 2.0)
    for x in np.arange(-length / 2, length / 2, step):
        b.add(BOX, x, 0, h / 2, 0.03, 0.03, h / 2, **skin)
    for z in np.linspace(0.25, 0.95, int(b.rng.integers(2, 4))) * h:
        b.add(BOX, 0, 0.03, z, length / 2, 0.012, 0.035, **skin)


def car(b: Builder, velocity: float = 0.0) -> None:
    """A car, van or lorry that faces +x."""
    r = b.rng
    moving = dict(velocity=yawed(b.yaw) @ np.array([velocity, 0, 0]))
    body, dark = b.paint(), b.paint(np.full(3, 0.03))
    long, wide, kind = r.uniform(1.8, 2.4), r.uniform(0.8, 0.95), r.random()
    if kind < 0.15:  # a lorry or a bus
        long, tall = r.uniform(3, 5.5), r.uniform(1.2, 1.6)
        b.add(BOX, 0, 0, 0.5 + tall, long, 1.2, tall, **b.skin('plain', 'plain', 'photo', 'text'), **moving)
        b.add(BOX, long, 0, 0.5 + tall, 0.05, 1.1, tall * 0.5, **dark, **moving)
    elif kind < 0.3:  # a van
        b.add(BOX, 0, 0, 1.15, long * 1.1, wide, 0.85, **body, **moving)
        b.add(BOX, 0.1, 0, 1.5, long * 1.12, wide * 1.01, 0.28, **dark, **moving)
    else:
        top = r.uniform(0.25, 0.4)
        b.add(BOX, 0, 0, 0.6, long, wide, 0.3, **body, **moving)
        b.add(BALL, 0, 0, 0.85, long * 0.98, wide, 0.25, **body, **moving)
        b.add(BOX, -0.15, 0, 0.95 + top, long * 0.5, wide * 0.88, top, **dark, **moving)
        b.add(BOX, -0.2, 0, 0.97 + 2 * top, long * 0.42, wide * 0.84, 0.04, **body, **moving)
    b.add(BOX, 0, 0, 0.02, long * 0.97, wide * 0.95, 0.004, **b.paint(np.full(3, 0.02)), **moving)  # its own shade
    for sx in (-1, 1):
        for sy in (-1, 1):
            b.add(TUBE, sx * long * 0.62, sy * wide * 0.92, 0.32, 0.32, 0.32, 0.1, R=TIP, **dark, **moving)
            b.add(
                TUBE, sx * long * 0.62, sy * wide * 1.03, 0.32, 0.18, 0.18, 0.01, R=TIP, **b.paint(np.full(3, 0.5)), **moving
            )
    for sy in (-1, 1):
        lights = b.paint(np.array([0.6, 0.05, 0.04])), b.paint(np.full(3, 0.85))
        for sx, lamp in zip((-1, 1), lights, strict=True):
            b.add(BOX, sx * long, sy * wide * 0.75, 0.7, 0.03, 0.14, 0.07, **lamp, **moving)


def house(b: Builder, hx: float, hy: float, h: float) -> None:
    """A box with rows of windows, a roof (flat, or a ridge along y), and something at the door."""
    r = b.rng
    wall, roof = b.skin('facade', 'facade', 'brick', 'plain', 'tiles', 'photo'), b.skin('plain', 'tiles', 'brick')
    wall['tile_m'] = np.full(
        3, r.uniform(4, 10) if wall['textures'][0] in b.scene.bank.groups['facade'] else r.uniform(1.5, 3)
    )
    b.add(BOX, 0, 0, h / 2, hx, hy, h / 2, **wall)
    if h < 9 and r.random() < 0.6:
        a = r.uniform(0.4, 0.8)
        half = hx / np.cos(a) / 2 + 0.2
        for s in (-1, 1):
            lean = np.array([[np.cos(a), 0, s * np.sin(a)], [0, 1, 0], [-s * np.sin(a), 0, np.cos(a)]])
            b.add(BOX, s * hx / 2, 0, h + hx / 2 * np.tan(a), half, hy + 0.3, 0.08, R=lean, **roof)
            b.add(BOX, 0, s * hy * 0.98, h, hx * 0.5, 0.05, hx * np.tan(a) * 0.5, **wall)
    else:
        b.add(BOX, 0, 0, h, hx + 0.3, hy + 0.3, 0.15, **roof)
    if wall['textures'][0] not in b.scene.bank.groups['facade']:
        _windows(b, hx, hy, h)


def _windows(b: Builder, hx: float, hy: float, h: float) -> None:
    """Dark panes with a pale frame on both faces along x."""
    pane, frame = (
        b.paint(b.rng.uniform(0.01, 0.25) * np.array([0.8, 0.95, 1.1])),
        b.paint(np.full(3, b.rng.uniform(0.3, 0.9))),
    )
    storeys, n = max(int(h / 3), 1), max(int(hy / 1.6), 1)
    for z in (np.arange(min(storeys, 3)) + 0.5) * h / storeys:
        for y in (2 * np.arange(n) + 1 - n) * hy / n:
            b.add(BOX, 0, y, z, hx + 0.02, 0.55, 0.75, **frame)
            b.add(BOX, 0, y, z, hx + 0.04, 0.48, 0.68, **pane)


def wires(b: Builder, length: float) -> None:
    """Poles along x with a cross arm, and wires that hang between them."""
    skin, dark = b.paint(np.array([0.3, 0.25, 0.2])), b.paint(np.full(3, 0.02))
    gap, h = b.rng.uniform(18, 30), b.rng.uniform(5, 8)
    for x in np.arange(-length / 2, length / 2, gap):
        b.bar((x, 0, 0), (x, 0, h), 0.12, **skin)
        b.add(BOX, x, 0, h - 0.4, 0.06, 0.9, 0.06, **skin)
        for y in (-0.8, 0, 0.8):
            sag = [(x + k * gap / 4, y, h - 0.3 - 0.8 * (1 - (k / 2 - 1) ** 2)) for k in range(5)]
            b.sweep(sag, 0.015, 1, **dark)


def cone(b: Builder) -> None:
    """A traffic cone."""
    h, orange = b.rng.uniform(0.45, 0.75), b.paint(np.array([0.85, 0.2, 0.03]))
    b.add(BOX, 0, 0, 0.02, 0.5 * h / 2, 0.5 * h / 2, 0.02, **orange)
    b.revolve([(0.04, 0.2 * h), (h, 0.04)], **orange)
    b.revolve([(0.4 * h, 0.145 * h), (0.6 * h, 0.11 * h)], **b.paint(np.full(3, 0.9)))


def street_lamp(b: Builder) -> None:
    """A lamp post that leans over +y."""
    h, skin = b.rng.uniform(2.5, 8.0), b.paint(np.full(3, b.rng.uniform(0.05, 0.5)))
    b.bar((0, 0, 0), (0, 0, h), b.rng.uniform(0.04, 0.1), **skin)
    b.bar((0, 0, h), (0, 1.3, h + 0.2), 0.04, **skin)
    b.add(BOX, 0, 1.3, h + 0.18, 0.1, 0.25, 0.05, **skin)


def sign(b: Builder) -> None:
    """A round or square traffic sign that faces along y."""
    b.bar((0, 0, 0), (0, 0, 2.4), 0.03, **b.paint(np.full(3, 0.4)))
    colour = np.array(((0.7, 0.05, 0.05), (0.05, 0.15, 0.6), (0.8, 0.8, 0.8), (0.75, 0.55, 0.05)))[b.rng.integers(4)]
    if b.rng.random() < 0.5:
        b.add(TUBE, 0, 0.02, 2.3, 0.33, 0.33, 0.012, R=TIP, **b.paint(colour))
        b.add(TUBE, 0, 0.02, 2.3, 0.24, 0.24, 0.016, R=TIP, **b.paint(np.full(3, 0.85)))
    else:
        b.add(BOX, 0, 0.02, 2.3, 0.35, 0.012, b.rng.uniform(0.2, 0.4), **b.paint(colour))
        b.sheet(0, 0.02, 2.3, 0.3, 0.016, 0.18, 'text')


def bin_or_bollard(b: Builder) -> None:
    if b.rng.random() < 0.5:
        b.add(TUBE, 0, 0, 0.45, 0.07, 0.07, 0.45, **b.skin('plain', 'stripes'))
    else:
        h = b.rng.uniform(0.4, 0.65)
        b.add(BOX, 0, 0, h, 0.28, 0.35, h, **b.skin('plain'))
        b.add(BOX, 0, 0, 2 * h, 0.3, 0.38, 0.04, **b.skin('plain'))


def rock(b: Builder) -> None:
    s = b.rng.uniform(0.15, 1.5)
    skin = b.paint(b.rng.uniform(0.2, 0.7) * np.array([1.0, 0.95, 0.88]), 'noise', b.rng.uniform(0.8, 2))
    for _ in range(int(b.rng.integers(1, 4))):
        half = s * b.rng.uniform(0.5, 1.3, 3)
        b.add(
            int(b.rng.choice([BALL, BALL, BOX])),
            *b.rng.normal(0, 0.5 * s, 2),
            0,
            *half,
            R=yawed(b.rng.uniform(0, 3)),
            **skin,
        )
