"""Rooms, corridors, streets and terrain, each from a seed."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.furniture import Builder
from depth_ros.training.synthetic.render import shadow_map
from depth_ros.training.synthetic.scene import BALL, BOX, KINDS, SHELL, TUBE, Scene, yawed
from depth_ros.training.synthetic.textures import Textures, default_bank


def make_scene(seed: int, kind: str = 'room', bank: Textures | None = None) -> Scene:
    """Return the scene of this seed. `kind` is one of KINDS; `bank` replaces the procedural textures (e.g. adds
    photographs)."""
    if kind not in KINDS:
        raise ValueError(f'unknown kind of scene {kind!r}; there are {", ".join(KINDS)}')
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    build = {'room': make_room, 'corridor': make_corridor, 'street': make_street, 'terrain': make_terrain}[kind]
    scene = build(rng, bank or default_bank())
    scene.shadow = shadow_map(scene)
    return scene


def _walls(b: Builder, w: float, d: float, h: float) -> None:
    """The shell of a room: x in +-w/2, y in +-d/2, z in 0..h, with its own floor, ceiling and two kinds of wall."""
    pick = {k: int(b.rng.choice(b.scene.bank.groups[k])) for k in ('noise', 'wood', 'tiles', 'photo', 'stripes')}
    wall = pick['noise'] if b.rng.random() < 0.75 else pick[str(b.rng.choice(['tiles', 'stripes', 'photo', 'wood']))]
    other = wall if b.rng.random() < 0.7 else pick['noise']
    floor = pick[str(b.rng.choice(['wood', 'wood', 'tiles', 'noise', 'photo']))]
    ceiling = int(b.rng.choice(b.scene.bank.groups['noise']))
    tint = np.clip(b.rng.uniform(0.75, 1.2) * (1 + 0.15 * b.rng.uniform(-1, 1, 3)), 0, 1.25)
    b.place(0, 0).add(
        SHELL,
        0,
        0,
        h / 2,
        w / 2,
        d / 2,
        h / 2,
        textures=(wall, other, wall, other, floor, ceiling),
        tile_m=np.full(3, b.rng.uniform(1.2, 3.0)),
        tint=tint,
    )
    skirting = b.skin('noise', 'wood')
    for x, y, hx, hy in (
        (0, -d / 2, w / 2, 0.015),
        (0, d / 2, w / 2, 0.015),
        (-w / 2, 0, 0.015, d / 2),
        (w / 2, 0, 0.015, d / 2),
    ):
        b.add(BOX, x, y, 0.05, hx, hy, 0.05, **skirting)


def make_room(rng: np.random.Generator, bank: Textures) -> Scene:
    w, d, h = rng.uniform(2.8, 8.0), rng.uniform(2.8, 8.0), rng.uniform(2.3, 3.3)
    scene = Scene('room', bank, np.array([[-w / 2, -d / 2, 0], [w / 2, d / 2, h]]), ambient=rng.uniform(0.25, 0.5))
    b = Builder(scene, rng)
    _walls(b, w, d, h)
    sides = [(0, -d / 2, 0.0, w), (0, d / 2, np.pi, w), (w / 2, 0, np.pi / 2, d), (-w / 2, 0, -np.pi / 2, d)]
    for x, y, yaw, length in sides:  # along the walls; local +y looks into the room
        inwards, along = yawed(yaw) @ np.array([0, 1, 0]), yawed(yaw) @ np.array([1, 0, 0])
        slot = -length / 2 + 0.6
        while slot < length / 2 - 0.6:
            x0, y0, _ = np.array([x, y, 0]) + along * slot + inwards * rng.uniform(0.35, 0.5)
            thing = rng.choice(['cabinet', 'shelf', 'sofa', 'bed', 'table', 'lamp', 'plant', 'stuff', '', ''])
            if thing:
                getattr(b.place(x0, y0, 0, yaw), str(thing))()
            slot += rng.uniform(1.0, 2.2)
        b.place(x, y, 0, yaw)
        for _ in range(rng.integers(0, 3)):
            b.picture(
                rng.uniform(-0.4, 0.4) * length,
                0.02,
                rng.uniform(1.3, 1.8),
                rng.uniform(0.15, 0.5),
                0.015,
                rng.uniform(0.15, 0.4),
            )
        if rng.random() < 0.5:  # a door, or a window with daylight
            at, frame = rng.uniform(-0.35, 0.35) * length, b.skin('wood', 'noise')
            if rng.random() < 0.5:
                b.add(BOX, at, 0, 1.0, 0.45, 0.03, 1.0, **frame)
                b.add(BALL, at + 0.38, 0.06, 1.0, 0.03, 0.03, 0.03, **b.skin('noise'))
            else:
                b.add(BOX, at, 0, 1.5, 0.6, 0.01, 0.55, glow=rng.uniform(0.5, 1.5), **b.skin('noise', 'photo'))
                for s in (-1, 0, 1):
                    b.add(BOX, at + s * 0.6, 0.02, 1.5, 0.025, 0.025, 0.57, **frame)
                    b.add(BOX, at, 0.02, 1.5 + s * 0.55, 0.62, 0.025, 0.025, **frame)
    for _ in range(int(rng.integers(1, 3 + int(w * d / 10)))):  # in the middle
        thing = rng.choice(['table', 'chair', 'chair', 'stuff', 'plant', 'lamp', 'pole', 'cabinet', 'sofa', 'person'])
        getattr(b.place(*(rng.uniform(-0.32, 0.32, 2) * [w, d]), 0, rng.uniform(0, 2 * np.pi)), str(thing))()
    if rng.random() < 0.4:
        b.place(*(rng.uniform(-0.3, 0.3, 2) * [w, d])).add(TUBE, 0, 0, h - 0.3, 0.008, 0.008, 0.3, **b.skin('noise'))
        b.add(BALL, 0, 0, h - 0.6, 0.14, 0.14, 0.14, glow=1.0, **b.skin('noise'))
    if rng.random() < 0.3:
        b.place(*(rng.uniform(-0.4, 0.4, 2) * [w, d]), 0, rng.uniform(0, 6)).person(velocity=rng.uniform(0.2, 1.0))
    for _ in range(int(rng.integers(1, 4))):
        where = np.array([*(rng.uniform(-0.4, 0.4, 2) * [w, d]), h - 0.1])
        scene.lights.append((where, rng.uniform(1.0, 2.5) * (1 + 0.15 * rng.uniform(-1, 1, 3)) * [1.05, 1.0, 0.92]))
    return scene


def make_corridor(rng: np.random.Generator, bank: Textures) -> Scene:
    w, d, h = rng.uniform(1.6, 4.0), rng.uniform(10, 30), rng.uniform(2.2, 4.0)
    scene = Scene('corridor', bank, np.array([[-w / 2, -d / 2, 0], [w / 2, d / 2, h]]), ambient=rng.uniform(0.25, 0.5))
    b = Builder(scene, rng)
    _walls(b, w, d, h)
    door = b.skin('wood', 'noise')
    step = rng.uniform(1.5, 4.0)
    for y in np.arange(-d / 2 + 1, d / 2 - 1, step):
        for side in (-1, 1):
            thing = rng.choice(['door', 'door', 'pillar', 'picture', 'cabinet', 'stuff', 'plant', 'shelf', '', ''])
            b.place(side * w / 2, y + rng.uniform(-0.4, 0.4), 0, np.pi / 2 * side)  # local +y looks into the corridor
            if thing == 'door':
                b.add(BOX, 0, 0, 1.0, 0.45, rng.uniform(0.01, 0.06), 1.0, **door)
            elif thing == 'pillar':
                b.add(BOX, 0, 0, h / 2, 0.2, rng.uniform(0.1, 0.3), h / 2, **b.skin())
            elif thing == 'picture':
                b.picture(0, 0.02, 1.6, rng.uniform(0.2, 0.5), 0.015, rng.uniform(0.2, 0.4))
            elif thing:
                b.at = b.at + yawed(b.yaw) @ np.array([0, 0.3, 0])
                getattr(b, str(thing))()
        b.place(0, y).add(BOX, 0, 0, h, 0.5, 0.1, 0.03, glow=1.5, **b.skin('noise'))
        if rng.random() < 0.15:
            b.place(rng.uniform(-0.3, 0.3) * w, y).stuff()
    if rng.random() < 0.5:
        b.place(rng.uniform(-0.3, 0.3) * w, rng.uniform(-0.4, 0.4) * d, 0, np.pi / 2).person(
            velocity=rng.uniform(-1, 1.3)
        )
    scene.lights = [
        (np.array([0, y, h - 0.15]), np.full(3, rng.uniform(0.6, 1.6))) for y in np.linspace(-d / 2.5, d / 2.5, 4)
    ]
    return scene


def make_street(rng: np.random.Generator, bank: Textures) -> Scene:
    """A road along y, pavements, houses or trees on both sides, parked and moving cars, poles, people."""
    half_road, length = rng.uniform(2.8, 7.0), 130.0
    scene = Scene('street', bank, np.array([[-half_road, -20, 0], [half_road, 30, 3]]), ambient=rng.uniform(0.35, 0.7))
    scene.sky = np.stack([rng.uniform(0.6, 1.0, 3), rng.uniform(0.3, 0.9) * np.array([0.6, 0.8, 1.1])])
    b = Builder(scene, rng)
    b.add(
        BOX,
        0,
        0,
        -0.5,
        900,
        900,
        0.5,
        **{**b.skin('noise'), 'tile_m': np.full(3, rng.uniform(3, 9)), 'tint': np.array([0.6, 0.65, 0.5])},
    )
    b.add(
        BOX,
        0,
        0,
        -0.49,
        half_road,
        900,
        0.5,
        **{**b.skin('noise'), 'tile_m': np.full(3, 5.0), 'tint': np.full(3, rng.uniform(0.35, 0.8))},
    )
    for y in np.arange(-20, 120, 6.0):
        b.add(BOX, 0, y, -0.485, 0.07, 1.5, 0.5, **{**b.skin('noise'), 'tint': np.full(3, 1.2)})
    kerb = b.skin('tiles', 'noise')
    for side in (-1, 1):
        pavement = rng.uniform(1.5, 4.0)
        b.place(0, 0).add(BOX, side * (half_road + pavement / 2), 0, -0.4, pavement / 2, 900, 0.52, **kerb)
        y, green = -25.0, rng.random() < 0.35
        while y < length:
            depth, front = rng.uniform(4, 8), rng.uniform(3, 9)
            set_back = half_road + pavement + rng.uniform(0, 6 if green else 1.5)
            if green and rng.random() < 0.6:
                b.place(side * (set_back + 1), y + front / 2, 0, rng.uniform(0, 6)).tree()
            else:
                b.place(side * (set_back + depth), y + front, 0).house(
                    depth, front * rng.uniform(0.8, 1.0), rng.uniform(3, 18)
                )
            y += 2 * front
        for y in np.arange(-20, 90, rng.uniform(7, 25)):
            b.place(side * (half_road + 0.5), y + rng.uniform(-2, 2), 0)
            thing = rng.choice(['tree', 'post', 'post', 'pole', 'person', 'sign'])
            if thing == 'post':
                h = rng.uniform(2.5, 4.5)
                b.add(TUBE, 0, 0, h, *([rng.uniform(0.04, 0.12)] * 2), h, **b.skin('noise'))
                b.add(BOX, -side * 0.6, 0, 2 * h, 0.6, 0.08, 0.05, **b.skin('noise'))
            elif thing == 'sign':
                b.add(TUBE, 0, 0, 1.1, 0.03, 0.03, 1.1, **b.skin('noise'))
                b.picture(0, 0, 2.3, 0.35, 0.02, 0.35)
            else:
                getattr(b, str(thing))()
        for y in np.arange(-15, 80, rng.uniform(6, 18)):
            if rng.random() < 0.55:
                b.place(side * (half_road - 1.1), y + rng.uniform(-1, 1), 0, np.pi / 2 * (1 if side > 0 else -1)).car()
    if rng.random() < 0.6:
        b.place(-half_road * 0.3, rng.uniform(15, 45), 0, -np.pi / 2).car(velocity=rng.uniform(3, 9))
    if rng.random() < 0.4:
        b.place(half_road * 0.35, rng.uniform(8, 25), 0, np.pi / 2).car(velocity=rng.uniform(3, 9))
    scene.lights = [(_sun(rng), rng.uniform(0.8, 1.8) * np.array([1.05, 1.0, 0.9]))]
    return scene


def make_terrain(rng: np.random.Generator, bank: Textures) -> Scene:
    """Open ground with hills, rocks, trees, posts and a hut."""
    scene = Scene('terrain', bank, np.array([[-12, -12, 0], [12, 12, 6]]), ambient=rng.uniform(0.35, 0.7))
    scene.sky = np.stack([rng.uniform(0.6, 1.0, 3), rng.uniform(0.3, 0.9) * np.array([0.6, 0.8, 1.1])])
    b = Builder(scene, rng)
    ground = {
        **b.skin('noise', 'photo'),
        'tile_m': np.full(3, rng.uniform(3, 9)),
        'tint': rng.uniform(0.45, 0.9, 3) * [1, 1, 0.7],
    }
    b.add(BOX, 0, 0, -0.5, 900, 900, 0.5, **ground)
    for _ in range(rng.integers(3, 12)):
        r, a, size = rng.uniform(20, 200), rng.uniform(0, 2 * np.pi), rng.uniform(8, 60)
        b.place(r * np.cos(a), r * np.sin(a), -0.1 * size, rng.uniform(0, 6))
        b.add(BALL, 0, 0, 0, size, size * rng.uniform(0.5, 2), size * rng.uniform(0.2, 0.6), **ground)
    for _ in range(rng.integers(10, 40)):
        r, a = rng.uniform(3, 45), rng.uniform(0, 2 * np.pi)
        b.place(r * np.cos(a), r * np.sin(a), 0, rng.uniform(0, 6))
        thing = rng.choice(
            ['tree', 'tree', 'rock', 'rock', 'bush', 'post', 'stuff', 'person', 'car'],
            p=[0.2, 0.15, 0.2, 0.1, 0.12, 0.1, 0.05, 0.04, 0.04],
        )
        if thing == 'rock':
            s = rng.uniform(0.15, 1.5)
            b.add(
                int(rng.choice([BALL, BALL, BOX])), 0, 0, 0, *(s * rng.uniform(0.5, 1.3, 3)), **b.skin('noise', 'photo')
            )
        elif thing == 'bush':
            for _ in range(3):
                b.add(
                    BALL,
                    *rng.normal(0, 0.4, 2),
                    0.3,
                    *rng.uniform(0.2, 0.8, 3),
                    **{**b.skin('noise'), 'tint': np.array([0.4, 0.6, 0.3])},
                )
        elif thing == 'post':
            h = rng.uniform(0.4, 2.5)
            b.add(BOX, 0, 0, h, 0.05, 0.05, h, **b.skin('wood'))
        else:
            getattr(b, str(thing))()
    if rng.random() < 0.4:
        r, a = rng.uniform(12, 30), rng.uniform(0, 2 * np.pi)
        b.place(r * np.cos(a), r * np.sin(a), 0, rng.uniform(0, 6)).house(
            rng.uniform(2, 5), rng.uniform(2, 5), rng.uniform(2.5, 5)
        )
    scene.lights = [(_sun(rng), rng.uniform(0.8, 1.8) * np.array([1.05, 1.0, 0.9]))]
    return scene


def _sun(rng: np.random.Generator) -> np.ndarray:
    a, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.4, 1.2)
    return 300.0 * np.array([np.cos(a) * np.cos(up), np.sin(a) * np.cos(up), np.sin(up)])
