"""Small things that stand on tables, desks, shelves and kitchen counters.

The origin of each is the middle of its foot; +y points away from the wall. Sizes are those of the real things, so
that a network may learn them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from depth_ros.training.synthetic.builder import Builder, smooth_curve
from depth_ros.training.synthetic.scene import BALL, BOX, TUBE, yawed

UPRIGHT = np.array([[1, 0, 0], [0, 0, -1.0], [0, 1, 0]])  # turns a tube's axis from z to y


def mug(b: Builder) -> None:
    r, h, skin = b.rng.uniform(0.032, 0.045), b.rng.uniform(0.07, 0.11), b.skin('plain', 'plain', 'stripes', 'photo')
    b.revolve([(0, r * b.rng.uniform(0.75, 1)), (h, r)], **skin)
    b.add(TUBE, 0, 0, h, r * 0.88, r * 0.88, 0.001, **b.paint(b.rng.uniform(0.02, 0.3, 3)))
    b.sweep([(r * 0.9, 0, h * 0.8), (r * 1.7, 0, h * 0.6), (r * 0.9, 0, h * 0.2)], 0.006, 2, **skin)


def bottle(b: Builder) -> None:
    r, h, neck = b.rng.uniform(0.025, 0.045), b.rng.uniform(0.12, 0.22), b.rng.uniform(0.3, 0.5)
    skin = b.skin('plain', 'plain', 'noise')
    b.revolve([(0, r), (h, r), (h + r, r * neck * 1.2), (h + 3 * r, r * neck)], **skin)
    b.add(TUBE, 0, 0, h + 3 * r, r * neck * 1.1, r * neck * 1.1, 0.01, **b.skin('plain'))
    b.add(TUBE, 0, 0, h * 0.5, r * 1.01, r * 1.01, h * 0.25, **b.skin('text', 'photo', 'stripes'))


def vase(b: Builder) -> None:
    """A surface of revolution with a random smooth profile, maybe with stalks in it."""
    r, h, skin = b.rng.uniform(0.03, 0.08), b.rng.uniform(0.1, 0.35), b.skin('plain', 'plain', 'noise', 'stripes')
    belly = smooth_curve(np.stack([np.linspace(0, h, 5), r * b.rng.uniform(0.4, 1.2, 5), np.zeros(5)], 1), 2)[:, :2]
    b.revolve(np.maximum(belly, [0, 0.01]), **skin)
    stalk = b.paint(np.array([0.25, 0.35, 0.1]))
    for _ in range(int(b.rng.integers(0, 5))):
        x, y = b.rng.normal(0, 0.06, 2)
        b.sweep([(0, 0, h * 0.8), (x * 0.4, y * 0.4, h * 1.3), (x, y, h * b.rng.uniform(1.4, 2.0))], 0.003, 2, **stalk)
        b.add(BALL, x, y, h * 1.7, *b.rng.uniform(0.01, 0.04, 3), **b.paint())


def cable(b: Builder) -> None:
    """A wire that lies about."""
    points = np.cumsum(b.rng.normal(0, 0.09, (5, 3)), 0)
    points[:, 2] = 0.004
    b.sweep(points, b.rng.uniform(0.002, 0.005), 3, **b.paint(np.full(3, b.rng.choice([0.02, 0.02, 0.8]))))


def rack(b: Builder) -> None:
    """A basket or rack of thin wires."""
    w, d, h = b.rng.uniform([0.1, 0.08, 0.05], [0.22, 0.16, 0.15])
    wire, thin = b.paint(np.full(3, b.rng.choice([0.03, 0.5, 0.8]))), b.rng.uniform(0.0015, 0.003)
    for z in (0.01, h):
        for s in (-1, 1):
            b.bar((-w, s * d, z), (w, s * d, z), thin, **wire)
            b.bar((s * w, -d, z), (s * w, d, z), thin, **wire)
    for x in np.linspace(-w, w, int(b.rng.integers(4, 9))):
        for s in (-1, 1):
            b.bar((x, s * d, 0), (x, s * d, h), thin, **wire)
        b.bar((x, -d, 0.01), (x, d, 0.01), thin, **wire)
    if b.rng.random() < 0.5:
        plate(b)


def pens(b: Builder) -> None:
    """A pot of pens."""
    b.revolve([(0, 0.035), (0.09, 0.038)], **b.skin('plain', 'tiles'))
    for _ in range(int(b.rng.integers(2, 7))):
        x, y = b.rng.uniform(-0.025, 0.025, 2)
        b.bar((x * 0.5, y * 0.5, 0.05), (1.6 * x, 1.6 * y, b.rng.uniform(0.13, 0.18)), 0.004, **b.paint())


def can(b: Builder) -> None:
    r, h = b.rng.uniform(0.03, 0.055), b.rng.uniform(0.05, 0.09)
    b.add(TUBE, 0, 0, h, r, r, h, **b.skin('text', 'photo', 'plain'))
    b.add(TUBE, 0, 0, 2 * h, r * 0.97, r * 0.97, 0.003, **b.paint(np.full(3, 0.7)))


def bowl(b: Builder) -> None:
    r, skin = b.rng.uniform(0.06, 0.14), b.skin('plain', 'plain', 'wood')
    b.revolve([(0, r * 0.4), (0.02, r * 0.65), (r * 0.3, r * 0.9), (r * 0.55, r)], **skin)
    b.add(TUBE, 0, 0, r * 0.55, r * 0.92, r * 0.92, 0.001, **{**skin, 'tint': skin['tint'] * 0.6})
    fruit = b.colour()
    for _ in range(int(b.rng.integers(0, 6))):
        x, y = b.rng.uniform(-0.5, 0.5, 2) * r
        b.add(BALL, x, y, r * 0.55 + 0.01, *([b.rng.uniform(0.03, 0.042)] * 3), **b.paint(fruit))


def plate(b: Builder) -> None:
    r, skin = b.rng.uniform(0.08, 0.14), b.skin('plain', 'plain', 'stripes')
    b.add(TUBE, 0, 0, 0.004, r * 0.7, r * 0.7, 0.004, **skin)
    b.add(TUBE, 0, 0, 0.012, r, r, 0.004, **skin)
    if b.rng.random() < 0.5:
        b.add(BALL, 0, 0, 0.02, *b.rng.uniform(0.02, 0.06, 3), **b.skin('noise', 'plain'))


def books(b: Builder) -> None:
    z = 0.0
    for _ in range(int(b.rng.integers(1, 6))):
        hx, hy, hz = b.rng.uniform(0.07, 0.12), b.rng.uniform(0.09, 0.15), b.rng.uniform(0.006, 0.025)
        turn = yawed(b.rng.normal(0, 0.2))
        b.add(BOX, 0, 0, z + hz, hx, hy, hz, R=turn, **b.skin('plain', 'plain', 'text', 'photo'))
        b.add(BOX, 0.002, 0.003, z + hz, hx, hy, hz * 0.7, R=turn, **b.paint(np.array([0.85, 0.82, 0.72])))
        z += 2 * hz


def papers(b: Builder) -> None:
    for k in range(int(b.rng.integers(1, 6))):
        x, y = b.rng.normal(0, 0.05, 2)
        kind, turn = 'text' if b.rng.random() < 0.7 else 'photo', yawed(b.rng.normal(0, 0.4))
        b.sheet(x, y, 0.002 + 0.002 * k, 0.105, 0.1485, 0.001, kind, turn)


def monitor(b: Builder) -> None:
    w, dark = b.rng.uniform(0.22, 0.4), b.paint(np.full(3, b.rng.choice([0.03, 0.05, 0.5])))
    h, foot = w * b.rng.uniform(0.52, 0.65), b.rng.uniform(0.06, 0.16)
    b.add(TUBE, 0, -0.03, 0.008, w * 0.35, 0.1, 0.008, **dark)
    b.add(BOX, 0, -0.06, foot / 2 + h / 2, 0.03, 0.015, foot / 2 + h / 2, **dark)
    b.add(BOX, 0, -0.02, foot + h, w, 0.02, h, **dark)
    glow = 0.0 if b.rng.random() < 0.35 else b.rng.uniform(0.4, 1.2)
    index = int(b.rng.choice(b.scene.bank.groups[str(b.rng.choice(['text', 'photo', 'plain']))]))
    tint = np.full(3, 0.04 if glow == 0 else 1.0)
    face = np.array([w - 0.01, 0.001, h - 0.012])
    b.add(BOX, 0, 0.001, foot + h, *(face + [0, 0.02, 0]), textures=(index,), tile_m=2 * face + 0.01, tint=tint, glow=glow)


def keyboard(b: Builder) -> None:
    w, skin = b.rng.uniform(0.15, 0.23), b.paint(np.full(3, b.rng.choice([0.03, 0.06, 0.6, 0.8])))
    b.add(BOX, 0, 0, 0.008, w, b.rng.uniform(0.06, 0.075), 0.008, **skin)
    keys = {**b.skin('tiles'), 'tile_m': np.full(3, 0.12)}
    keys['tint'] = skin['tint'] * b.rng.uniform(1.2, 3.0)
    b.add(BOX, 0, 0, 0.018, w * 0.96, 0.052, 0.003, **keys)
    b.add(BALL, w + 0.09, 0.01, 0.008, 0.032, 0.055, 0.025, **skin)


def laptop(b: Builder) -> None:
    w, skin = b.rng.uniform(0.14, 0.18), b.paint(np.full(3, b.rng.choice([0.04, 0.1, 0.5, 0.7])))
    b.add(BOX, 0, 0, 0.008, w, 0.115, 0.008, **skin)
    b.add(BOX, 0, -0.02, 0.017, w * 0.9, 0.055, 0.002, **b.paint(np.full(3, 0.08), 'tiles', 0.1))
    a = b.rng.uniform(0.15, 0.6)  # how far the lid leans back
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    middle = np.array([0, -0.115, 0.01]) + lean @ np.array([0, 0, 0.105])
    b.add(BOX, *middle, w, 0.004, 0.105, R=lean, **skin)
    index = int(b.rng.choice(b.scene.bank.groups[str(b.rng.choice(['text', 'photo']))]))
    screen = dict(textures=(index,), tile_m=np.array([2 * w, 1, 0.2]), glow=0.8)
    b.add(BOX, *(middle + lean @ [0, 0.003, 0]), w * 0.95, 0.003, 0.095, R=lean, **screen)


def desk_lamp(b: Builder) -> None:
    skin, h, reach = b.skin('plain'), b.rng.uniform(0.3, 0.5), b.rng.uniform(0.1, 0.3)
    b.add(TUBE, 0, 0, 0.012, 0.08, 0.08, 0.012, **skin)
    if b.rng.random() < 0.5:  # a gooseneck, or two straight arms
        b.sweep([(0, 0, 0), (-0.02, 0, h * 0.7), (reach * 0.5, 0, h * 1.1), (reach, 0, h)], 0.007, 3, **skin)
    else:
        b.bar((0, 0, 0), (-0.08, 0, h * 0.6), 0.006, **skin)
        b.bar((-0.08, 0, h * 0.6), (reach, 0, h), 0.006, **skin)
    b.revolve([(h - 0.09, 0.07), (h, 0.03)], x=reach, glow=b.rng.choice([0.0, 0.5]), **skin)


def pot(b: Builder) -> None:
    r, h, steel = b.rng.uniform(0.08, 0.15), b.rng.uniform(0.03, 0.1), b.paint(np.full(3, b.rng.choice([0.03, 0.4, 0.6])))
    b.add(TUBE, 0, 0, h, r, r, h, **steel)
    b.add(TUBE, 0, 0, 2 * h, r * 1.03, r * 1.03, 0.004, **b.paint(np.full(3, b.rng.uniform(0.02, 0.6))))
    b.add(BALL, 0, 0, 2 * h + 0.02, 0.018, 0.018, 0.018, **b.paint(np.full(3, 0.04)))
    b.bar((r, 0, 1.7 * h), (r + b.rng.uniform(0.04, 0.2), 0, 1.8 * h), 0.009, **b.paint(np.full(3, 0.04)))


def kettle(b: Builder) -> None:
    skin, r, h = b.skin('plain'), b.rng.uniform(0.07, 0.09), b.rng.uniform(0.16, 0.24)
    dark = b.paint(np.full(3, 0.03))
    b.revolve([(0, r), (h, r * b.rng.uniform(0.55, 0.8)), (h + 0.02, 0.02)], **skin)
    b.sweep([(r * 0.7, 0, h), (r * 1.6, 0, h), (r * 1.6, 0, h * 0.3), (r * 0.9, 0, h * 0.15)], 0.011, 2, **dark)
    b.bar((-0.6 * r, 0, 0.7 * h), (-1.4 * r, 0, 0.95 * h), 0.012, **skin)


def carton(b: Builder) -> None:
    half = b.rng.uniform([0.025, 0.02, 0.04], [0.12, 0.09, 0.15])
    b.add(BOX, 0, 0, half[2], *half, **b.skin('text', 'photo', 'plain', 'plain', 'stripes'))


def microwave(b: Builder) -> None:
    skin = b.paint(np.full(3, b.rng.choice([0.04, 0.4, 0.75])))
    b.add(BOX, 0, 0, 0.14, 0.25, 0.17, 0.14, **skin)
    b.add(BOX, -0.05, 0.17, 0.14, 0.17, 0.004, 0.11, **b.paint(np.full(3, 0.02)))
    b.bar((0.14, 0.19, 0.05), (0.14, 0.19, 0.23), 0.008, **b.paint(np.full(3, 0.5)))


def flowerpot(b: Builder) -> None:
    b.leaves(b.rng.uniform(0.04, 0.09))


def ball(b: Builder) -> None:
    r = b.rng.uniform(0.02, 0.08)
    b.add(BALL, 0, 0, r, r, r, r, **b.skin('plain', 'noise', 'stripes'))


def toy(b: Builder) -> None:
    z, skin = 0.0, b.skin('plain', 'cloth')
    for _ in range(int(b.rng.integers(2, 5))):
        half, shape = b.rng.uniform(0.02, 0.06, 3), int(b.rng.choice([BOX, BALL]))
        b.add(shape, *b.rng.normal(0, 0.01, 2), z + half[2], *half, R=yawed(b.rng.uniform(0, 3)), **skin)
        z += 1.7 * half[2]
        skin = b.skin('plain', 'cloth') if b.rng.random() < 0.5 else skin


# fmt: off
KITCHEN: Sequence[Callable[[Builder], None]] = (
    mug, bottle, bottle, can, bowl, plate, pot, pot, kettle, carton, carton, microwave, flowerpot, rack, vase,
)
DESK = (
    mug, bottle, books, papers, papers, keyboard, laptop, monitor, monitor, desk_lamp, carton, can, flowerpot, cable,
    cable, pens, pens,
)
ANY = (
    mug, bottle, can, bowl, plate, books, books, papers, laptop, carton, carton, flowerpot, ball, toy, kettle, pot,
    vase, vase, desk_lamp, rack, pens, cable,
)
# fmt: on
SETS = {'kitchen': KITCHEN, 'desk': DESK, 'any': ANY}


def lay(b: Builder, hx: float, hy: float, z: float, count: int, things: str = 'any') -> None:
    """Put `count` things of a set on a rectangle of half size hx, hy at height z, in slots along x, so that few
    overlap."""
    for slot in b.rng.permutation(count):
        x = hx * (2 * (slot + b.rng.uniform(0.25, 0.75)) / count - 1)
        thing = SETS[things][int(b.rng.integers(len(SETS[things])))]
        thing(b.child(x, hy * b.rng.uniform(-0.75, 0.75), z, b.rng.normal(0, 0.35)))
