"""Kitchen counters, desks and dining tables: furniture that carries many small things."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.furniture import chair
from depth_ros.training.synthetic.scene import BALL, BOX, TUBE
from depth_ros.training.synthetic.tabletop import keyboard, lay, monitor


def counter(b: Builder, length: float, room_height: float) -> None:
    """A kitchen along a wall of this length: cupboards below and above, worktop, sink, stove, fridge, things."""
    rng, front, top = b.rng, b.skin('plain', 'plain', 'wood'), b.skin('plain', 'noise', 'wood', 'ground')
    handle, steel = b.paint(np.full(3, rng.uniform(0.03, 0.7))), b.paint(np.full(3, rng.uniform(0.3, 0.7)))
    deep, high, hx = 0.31, rng.uniform(0.84, 0.94), length / 2
    fridge = rng.random() < 0.6 and length > 1.8
    if fridge:
        cold = b.child(-hx + 0.32, deep, 0)
        tall, skin = rng.uniform(0.8, 1.0), b.paint(np.full(3, rng.choice([0.05, 0.45, 0.8, 0.9])))
        cold.add(BOX, 0, 0, tall, 0.3, 0.32, tall, **skin)
        for z, half in ((tall * 0.62, tall * 0.6), (tall * 1.63, tall * 0.36)):
            cold.add(BOX, 0, 0.33, z, 0.297, 0.02, half, **skin)
            cold.add(BOX, 0.26, 0.37, z, 0.012, 0.015, half * 0.6, **handle)
    start = -hx + (0.66 if fridge else 0.0)
    middle, half = (start + hx) / 2, (hx - start) / 2
    b.add(BOX, middle, deep, high / 2 + 0.04, half, deep - 0.02, high / 2 - 0.06, **front)
    b.add(BOX, middle, deep + 0.01, high - 0.02, half, deep + 0.02, 0.02, **top)
    b.add(BOX, middle, 0.004, high + 0.28, half, 0.008, 0.28, **b.skin('tiles', 'tiles', 'plain', 'brick'))
    _doors(b, start, hx, 2 * deep - 0.01, 0.12, high - 0.06, front, handle)
    if rng.random() < 0.75:
        low, up = high + rng.uniform(0.45, 0.6), min(rng.uniform(2.0, 2.3), room_height - 0.05)
        end = hx if rng.random() < 0.6 else start + (hx - start) * rng.uniform(0.4, 0.9)
        b.add(BOX, (start + end) / 2, 0.16, (low + up) / 2, (end - start) / 2, 0.16, (up - low) / 2, **front)
        _doors(b, start, end, 0.325, low, up, front, handle)
    elif rng.random() < 0.7:
        b.add(BOX, middle, 0.12, 1.5, half * 0.8, 0.12, 0.015, **b.skin('wood', 'plain'))
        lay(b.child(middle, 0.12, 1.515), half * 0.75, 0.07, 0, int(half * 5), 'kitchen')
    _sink(b.child(rng.uniform(start + 0.3, hx - 0.3), deep, high), steel)
    _stove(b.child(rng.uniform(start + 0.3, hx - 0.3), deep, high))
    lay(b.child(middle, deep + 0.02, high), half * 0.95, deep * 0.75, 0, int(rng.uniform(2, 6) * half), 'kitchen')
    for x in rng.uniform(start + 0.2, hx - 0.2, 3):
        b.child(x, 0, 0).aim(0, deep, high + 0.05, 0.9)


def _doors(b: Builder, x0: float, x1: float, y: float, z0: float, z1: float, front: dict, handle: dict) -> None:
    """Fronts side by side with thin gaps, each with a handle; some are three drawers."""
    n = max(int(round((x1 - x0) / 0.5)), 1)
    half, round_handle = (x1 - x0) / n / 2, b.rng.random() < 0.5
    for k in range(n):
        x = x0 + (2 * k + 1) * half
        parts = 3 if b.rng.random() < 0.3 else 1
        for j in range(parts):
            hz = (z1 - z0) / parts / 2
            z = z0 + (2 * j + 1) * hz
            b.add(BOX, x, y, z, half - 0.004, 0.01, hz - 0.004, **front)
            if round_handle:
                b.add(BALL, x + (0 if parts > 1 else half * 0.7), y + 0.03, z, 0.015, 0.015, 0.015, **handle)
            else:
                wide, tall = (0.08, 0.007) if parts > 1 else (0.007, 0.08)
                b.add(BOX, x + (0 if parts > 1 else half * 0.75), y + 0.03, z, wide, 0.008, tall, **handle)


def _sink(b: Builder, steel: dict) -> None:
    b.add(BOX, 0, 0, 0.003, 0.24, 0.2, 0.003, **steel)
    b.add(BOX, 0, 0.01, 0.005, 0.2, 0.16, 0.003, **{**steel, 'tint': steel['tint'] * 0.35})
    h = b.rng.uniform(0.15, 0.32)
    b.sweep([(0, -0.2, 0), (0, -0.2, h * 0.8), (0, -0.11, h), (0, -0.02, h * 0.7)], 0.011, 3, **steel)


def _stove(b: Builder) -> None:
    b.add(BOX, 0, 0, 0.004, 0.29, 0.25, 0.004, **b.paint(np.full(3, 0.02)))
    for x in (-0.14, 0.14):
        for y in (-0.11, 0.12):
            b.add(TUBE, x, y, 0.01, 0.08, 0.08, 0.004, **b.paint(np.full(3, b.rng.uniform(0.01, 0.15))))
    b.add(BOX, 0, 0.31, -0.45, 0.29, 0.02, 0.22, **b.paint(np.full(3, 0.03)))
    b.bar((-0.22, 0.36, -0.2), (0.22, 0.36, -0.2), 0.01, **b.paint(np.full(3, 0.5)))


def desk(b: Builder) -> None:
    """A desk with a screen at the wall side, keyboard in front of it, and what lies about; an office chair."""
    rng, skin = b.rng, b.skin('wood', 'wood', 'plain')
    hx, hy, h = rng.uniform(0.5, 0.9), rng.uniform(0.3, 0.42), rng.uniform(0.68, 0.78)
    b.add(BOX, 0, 0, h - 0.015, hx, hy, 0.015, **skin)
    for s in (-1, 1):
        if rng.random() < 0.4:
            b.add(BOX, s * (hx - 0.2), 0, h / 2 - 0.02, 0.2, hy * 0.9, h / 2 - 0.03, **skin)
        else:
            for y in (-hy + 0.05, hy - 0.05):
                b.bar((s * (hx - 0.05), y, 0), (s * (hx - 0.05), y, h - 0.03), 0.02, **skin)
    for k in range(int(rng.integers(0, 3))):
        x = rng.uniform(-0.2, 0.2) * hx if k == 0 else rng.choice([-0.65, 0.65]) * hx
        monitor(b.child(x, -hy * 0.55, h, rng.normal(0, 0.15)))
        if k == 0:
            keyboard(b.child(x, rng.uniform(0.15, 0.5) * hy, h, rng.normal(0, 0.1)))
    lay(b, hx * 0.92, hy * 0.85, h, int(rng.integers(2, 9)), 'desk')
    x, y, _ = rng.uniform(-0.4, 0.4, 3) * hx
    if rng.random() < 0.6:
        office_chair(b.child(x, hy + 0.35, 0, np.pi + rng.normal(0, 0.6)))
    b.aim(0, 0, h + 0.05, 1.0)
    b.aim(x, y * 0.5, h + 0.05, 0.8)


def office_chair(b: Builder) -> None:
    rng, cloth, dark = b.rng, b.skin('plain', 'cloth'), b.paint(np.full(3, b.rng.uniform(0.02, 0.3)))
    seat = rng.uniform(0.42, 0.52)
    for a in np.arange(5) * 2 * np.pi / 5:
        b.bar((0, 0, 0.1), (0.3 * np.cos(a), 0.3 * np.sin(a), 0.05), 0.02, **dark)
        b.add(BALL, 0.3 * np.cos(a), 0.3 * np.sin(a), 0.03, 0.03, 0.03, 0.03, **dark)
    b.bar((0, 0, 0.1), (0, 0, seat), 0.03, **dark)
    b.add(BOX, 0, 0, seat, 0.24, 0.23, 0.04, **cloth)
    b.add(BOX, 0, -0.24, seat + 0.35, 0.22, 0.03, 0.27, **cloth)
    b.bar((0, -0.25, seat), (0, -0.26, seat + 0.2), 0.02, **dark)
    for s in (-1, 1) if rng.random() < 0.6 else ():
        b.bar((s * 0.27, 0, seat), (s * 0.27, 0, seat + 0.2), 0.015, **dark)
        b.add(BOX, s * 0.27, 0, seat + 0.21, 0.035, 0.14, 0.015, **dark)


def dining(b: Builder) -> None:
    """A table with a cloth maybe, laid, and chairs around it."""
    rng, skin = b.rng, b.skin('wood', 'wood', 'plain')
    hx, hy, h = rng.uniform(0.35, 0.9), rng.uniform(0.35, 0.5), rng.uniform(0.7, 0.78)
    if rng.random() < 0.3:
        b.add(TUBE, 0, 0, h - 0.015, hx, hy, 0.015, **skin)
        b.bar((0, 0, 0), (0, 0, h), 0.05, **skin)
    else:
        b.add(BOX, 0, 0, h - 0.02, hx, hy, 0.02, **skin)
        for sx in (-1, 1):
            for sy in (-1, 1):
                b.bar((sx * (hx - 0.05), sy * (hy - 0.05), 0), (sx * (hx - 0.05), sy * (hy - 0.05), h), 0.025, **skin)
    if rng.random() < 0.35:
        b.add(BOX, 0, 0, h + 0.001, hx * rng.uniform(0.4, 1.02), hy * 1.01, 0.003, **b.skin('cloth', 'stripes', 'plain'))
    lay(b, hx * 0.85, hy * 0.85, h + 0.004, int(rng.integers(2, 10)), str(rng.choice(['any', 'kitchen', 'desk'])))
    for side in (-1, 1):
        for x in np.arange(-hx + 0.25, hx - 0.2, 0.55):
            if rng.random() < 0.6:
                away = rng.uniform(0.05, 0.3)
                chair(b.child(x, side * (hy + away), 0, (0 if side < 0 else np.pi) + rng.normal(0, 0.2)))
    b.aim(0, 0, h, np.pi)
    b.aim(hx * 0.4, 0, h, np.pi)


def island(b: Builder) -> None:
    rng, h = b.rng, 0.9
    hx, hy = rng.uniform(0.5, 1.0), rng.uniform(0.3, 0.45)
    b.add(BOX, 0, 0, h / 2, hx * 0.96, hy * 0.9, h / 2 - 0.02, **b.skin('plain', 'wood'))
    b.add(BOX, 0, 0, h - 0.02, hx, hy, 0.02, **b.skin('plain', 'wood', 'ground'))
    lay(b, hx * 0.9, hy * 0.8, h, int(rng.integers(2, 9)), 'kitchen')
    b.aim(0, 0, h, np.pi)
