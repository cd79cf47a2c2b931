"""Small things that stand on tables, desks, shelves and kitchen counters.

The origin of each is the middle of its foot; +y points away from the wall. Sizes are those of the real things, so
that a network may learn them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.scene import BALL, BOX, TUBE, yawed

UPRIGHT = np.array([[1, 0, 0], [0, 0, -1.0], [0, 1, 0]])  # turns a tube's axis from z to y


def mug(b: Builder) -> None:
    r, h, skin = b.rng.uniform(0.032, 0.045), b.rng.uniform(0.035, 0.055), b.skin('plain', 'plain', 'stripes', 'photo')
    b.add(TUBE, 0, 0, h, r, r, h, **skin)
    b.add(TUBE, 0, 0, 2 * h, r * 0.85, r * 0.85, 0.001, **b.paint(b.rng.uniform(0.05, 0.4, 3)))
    b.add(TUBE, r * 1.3, 0, h, 0.5 * r, 0.55 * h, 0.006, R=UPRIGHT, **skin)


def bottle(b: Builder) -> None:
    r, h = b.rng.uniform(0.025, 0.045), b.rng.uniform(0.07, 0.12)
    skin = b.skin('plain', 'plain', 'noise')
    b.add(TUBE, 0, 0, h, r, r, h, **skin)
    b.add(BALL, 0, 0, 2 * h, r, r, r * 1.2, **skin)
    b.add(TUBE, 0, 0, 2 * h + 0.045, r * 0.35, r * 0.35, 0.045, **skin)
    b.add(TUBE, 0, 0, h * 0.9, r * 1.01, r * 1.01, h * 0.4, **b.skin('text', 'photo', 'stripes'))


def can(b: Builder) -> None:
    r, h = b.rng.uniform(0.03, 0.055), b.rng.uniform(0.05, 0.09)
    b.add(TUBE, 0, 0, h, r, r, h, **b.skin('text', 'photo', 'plain'))
    b.add(TUBE, 0, 0, 2 * h, r * 0.97, r * 0.97, 0.003, **b.paint(np.full(3, 0.7)))


def bowl(b: Builder) -> None:
    r, skin = b.rng.uniform(0.06, 0.14), b.skin('plain', 'plain', 'wood')
    for k in range(4):
        b.add(TUBE, 0, 0, 0.008 + r * 0.14 * k, *([r * (0.55 + 0.15 * k)] * 2), r * 0.08, **skin)
    fruit = b.colour()
    for _ in range(int(b.rng.integers(0, 6))):
        x, y = b.rng.uniform(-0.4, 0.4, 2) * r
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
        b.sheet(
            x,
            y,
            0.002 + 0.002 * k,
            0.105,
            0.1485,
            0.001,
            'text' if b.rng.random() < 0.7 else 'photo',
            yawed(b.rng.normal(0, 0.4)),
        )


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
    b.add(
        BOX,
        0,
        0.0 - 0.02,
        0.017,
        w * 0.9,
        0.055,
        0.002,
        **{**b.skin('tiles'), 'tint': np.full(3, 0.08), 'tile_m': np.full(3, 0.1)},
    )
    a = b.rng.uniform(0.15, 0.6)  # how far the lid leans back
    lean = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    middle = np.array([0, -0.115, 0.01]) + lean @ np.array([0, 0, 0.105])
    b.add(BOX, *middle, w, 0.004, 0.105, R=lean, **skin)
    index = int(b.rng.choice(b.scene.bank.groups[str(b.rng.choice(['text', 'photo']))]))
    b.add(
        BOX,
        *(middle + lean @ [0, 0.003, 0]),
        w * 0.95,
        0.003,
        0.095,
        R=lean,
        textures=(index,),
        tile_m=np.array([2 * w, 1, 0.2]),
        glow=0.8,
    )


def desk_lamp(b: Builder) -> None:
    skin, h, reach = b.skin('plain'), b.rng.uniform(0.25, 0.45), b.rng.uniform(0.1, 0.25)
    b.add(TUBE, 0, 0, 0.012, 0.08, 0.08, 0.012, **skin)
    b.bar((0, 0, 0), (0.03, 0, h), 0.006, **skin)
    b.bar((0.03, 0, h), (reach, 0, h * 1.15), 0.006, **skin)
    b.add(TUBE, reach, 0, h * 1.08, 0.06, 0.06, 0.05, glow=0.5, **skin)


def pot(b: Builder) -> None:
    r, h, steel = b.rng.uniform(0.08, 0.15), b.rng.uniform(0.03, 0.1), b.paint(np.full(3, b.rng.choice([0.03, 0.4, 0.6])))
    b.add(TUBE, 0, 0, h, r, r, h, **steel)
    b.add(TUBE, 0, 0, 2 * h, r * 1.03, r * 1.03, 0.004, **b.paint(np.full(3, b.rng.uniform(0.02, 0.6))))
    b.add(BALL, 0, 0, 2 * h + 0.02, 0.018, 0.018, 0.018, **b.paint(np.full(3, 0.04)))
    b.bar((r, 0, 1.7 * h), (r + b.rng.uniform(0.04, 0.2), 0, 1.8 * h), 0.009, **b.paint(np.full(3, 0.04)))


def kettle(b: Builder) -> None:
    skin, r, h = b.skin('plain'), b.rng.uniform(0.07, 0.09), b.rng.uniform(0.08, 0.12)
    for k in range(4):
        b.add(TUBE, 0, 0, h / 4 * (2 * k + 1), *([r * (1 - 0.1 * k)] * 2), h / 4, **skin)
    b.add(BALL, 0, 0, 2 * h, r * 0.6, r * 0.6, 0.03, **skin)
    b.add(BOX, r * 1.25, 0, h * 1.2, 0.012, 0.012, h * 0.75, **b.paint(np.full(3, 0.03)))
    b.bar((-0.6 * r, 0, 1.5 * h), (-1.4 * r, 0, 1.9 * h), 0.012, **skin)


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
        half = b.rng.uniform(0.02, 0.06, 3)
        b.add(
            int(b.rng.choice([BOX, BALL])),
            *b.rng.normal(0, 0.01, 2),
            z + half[2],
            *half,
            R=yawed(b.rng.uniform(0, 3)),
            **skin,
        )
        z += 1.7 * half[2]
        skin = b.skin('plain', 'cloth') if b.rng.random() < 0.5 else skin


KITCHEN: Sequence[Callable[[Builder], None]] = (
    mug,
    bottle,
    bottle,
    can,
    bowl,
    plate,
    pot,
    pot,
    kettle,
    carton,
    carton,
    microwave,
    flowerpot,
)
DESK = (mug, bottle, books, papers, papers, keyboard, laptop, monitor, monitor, desk_lamp, carton, can, flowerpot)
ANY = (mug, bottle, can, bowl, plate, books, books, papers, laptop, carton, carton, flowerpot, ball, toy, kettle, pot)

SETS = {'kitchen': KITCHEN, 'desk': DESK, 'any': ANY}


def lay(b: Builder, hx: float, hy: float, z: float, count: int, things: str = 'any') -> None:
    """Put `count` things of a set on a rectangle of half size hx, hy at height z, in slots along x, so that few
    overlap."""
    for slot in b.rng.permutation(count):
        x = hx * (2 * (slot + b.rng.uniform(0.25, 0.75)) / count - 1)
        thing = SETS[things][int(b.rng.integers(len(SETS[things])))]
        thing(b.child(x, hy * b.rng.uniform(-0.75, 0.75), z, b.rng.normal(0, 0.35)))
