"""Indoors: living rooms, kitchens, offices, bedrooms and corridors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.training.synthetic import furniture, kitchen
from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.scene import BALL, BOX, SHELL, TUBE, Scene, yawed
from depth_ros.training.synthetic.tabletop import lay
from depth_ros.training.synthetic.textures import Textures

# fmt: off
ALONG_WALLS = {
    'living': ['cabinet', 'shelf', 'shelf', 'sofa', 'sofa', 'table', 'lamp', 'plant', 'stuff', ''],
    'kitchen': ['cabinet', 'shelf', 'table', 'plant', 'stuff', ''],
    'office': ['desk', 'desk', 'desk', 'cabinet', 'shelf', 'plant', ''],
    'bedroom': ['bed', 'bed', 'cabinet', 'cabinet', 'desk', 'shelf', 'lamp', 'stuff', ''],
}
ALONG_CORRIDOR = ['door', 'door', 'rail', 'picture', 'cabinet', 'pillar', 'plant', 'shelf', 'stuff', 'window', 'stairs', '']
IN_THE_MIDDLE = {
    'living': ['table', 'table', 'chair', 'chair', 'stuff', 'plant', 'lamp', 'pole', 'sofa', 'stairs', 'bicycle', 'person'],
    'kitchen': ['dining', 'dining', 'island', 'chair', 'chair', 'stuff', 'person'],
    'office': ['table', 'desk', 'desk', 'dining', 'office_chair', 'office_chair', 'office_chair', 'person'],
    'bedroom': ['stuff', 'stuff', 'chair', 'chair', 'table', 'plant', 'person'],
}
FURNITURE = (
    'table', 'chair', 'shelf', 'cabinet', 'sofa', 'bed', 'lamp', 'plant', 'stuff', 'pole', 'person', 'stairs', 'bicycle',
)
# fmt: on
PIECES: dict[str, Callable[[Builder], None]] = {
    **{name: getattr(furniture, name) for name in FURNITURE},
    **{name: getattr(kitchen, name) for name in ('desk', 'dining', 'island', 'office_chair')},
}


def make_room(rng: np.random.Generator, bank: Textures) -> Scene:
    style = str(rng.choice(list(ALONG_WALLS), p=[0.32, 0.28, 0.26, 0.14]))
    w, d = np.exp(rng.uniform(np.log(2.4), np.log(7.0), 2))
    h = rng.uniform(2.3, 3.1)
    scene = Scene('room', bank, np.array([[-w / 2, -d / 2, 0], [w / 2, d / 2, h]]), ambient=rng.uniform(0.12, 0.45))
    b = Builder(scene, rng)
    door = _walls(b, w, d, h)
    sides = [(0, -d / 2, 0.0, w), (0, d / 2, np.pi, w), (w / 2, 0, np.pi / 2, d), (-w / 2, 0, -np.pi / 2, d)]
    counters = rng.permutation(4)[: rng.integers(1, 3) if style == 'kitchen' else 0]
    for number, (x, y, yaw, length) in enumerate(sides):  # along the walls; local +y looks into the room
        b.place(x, y, 0, yaw)
        if number in counters and number != door:
            kitchen.counter(b, length - 0.1, h)
            continue
        _furnish_wall(b, length, style, number == door)
    for _ in range(int(rng.integers(1, 3 + int(w * d / 10)))):
        thing = str(rng.choice(IN_THE_MIDDLE[style]))
        PIECES[thing](b.place(*(rng.uniform(-0.25, 0.25, 2) * [w, d]), 0, rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.4:
        b.place(*(rng.uniform(-0.3, 0.3, 2) * [w, d])).bar((0, 0, h - 0.6), (0, 0, h), 0.006, **b.skin('plain'))
        b.add(BALL, 0, 0, h - 0.6, *rng.uniform(0.08, 0.2, 3), glow=1.0, **b.paint(np.full(3, 0.8)))
    if rng.random() < 0.2:
        furniture.person(b.place(*(rng.uniform(-0.4, 0.4, 2) * [w, d]), 0, rng.uniform(0, 6)), rng.uniform(0.2, 1.0))
    warm = 1 + rng.uniform(-0.2, 1.0) * np.array([0.2, 0.0, -0.35])
    for _ in range(int(rng.integers(1, 4))):
        where = np.array([*(rng.uniform(-0.4, 0.4, 2) * [w, d]), h - 0.1])
        scene.lights.append((where, rng.uniform(1.0, 2.5) * (1 + 0.1 * rng.uniform(-1, 1, 3)) * warm))
    return scene


def _wall_skin(b: Builder) -> dict:
    """Mostly bare paint in a pale colour; else wallpaper, tiles, bricks, boards."""
    rng, skin = b.rng, b.skin('noise', 'noise', 'stripes', 'tiles', 'brick', 'wood', 'cloth', 'photo')
    if rng.random() < 0.72:
        tinge = rng.choice([0.03, 0.1, 0.3]) * np.sort(rng.uniform(-1, 1, 3))
        pale = rng.uniform(0.4, 1.0) * (1 + (tinge[::-1] if rng.random() < 0.7 else rng.permutation(tinge)))  # mostly warm
        skin = b.paint(pale, str(rng.choice(['plain', 'plain', 'noise'], p=[0.4, 0.4, 0.2])))
    return {**skin, 'tile_m': np.full(3, rng.uniform(1.2, 3.0))}


def _walls(b: Builder, w: float, d: float, h: float) -> int:
    """Build the room: x in +-w/2, y in +-d/2, z in 0..h. Return the side whose doorway is open into the next room
    (0 -y, 1 +y, 2 +x, 3 -x), or -1.

    A closed room is one shell. With a doorway the shell is the flat around it, and the walls are slabs.
    """
    rng = b.rng
    wall, other = _wall_skin(b), _wall_skin(b)
    other = wall if rng.random() < 0.7 else other
    floor = b.skin('wood', 'wood', 'wood', 'tiles', 'cloth', 'cloth', 'noise', 'ground')
    ceiling = b.paint(np.full(3, rng.uniform(0.5, 1.0)))
    door = int(rng.integers(0, 4)) if rng.random() < 0.45 else -1
    more = rng.uniform(1.5, 4.0) if door >= 0 else 0.0
    picked = [s['textures'][0] for s in (wall, other, wall, other, floor, ceiling)]
    shell = dict(textures=tuple(picked), tile_m=wall['tile_m'], tint=wall['tint'])
    b.place(0, 0).add(SHELL, 0, 0, h / 2, w / 2 + more, d / 2 + more, h / 2, **shell)
    b.add(BOX, 0, 0, -0.05, w / 2 + more, d / 2 + more, 0.05 + 1e-3, **floor)
    b.add(BOX, 0, 0, h + 0.05, w / 2 + more, d / 2 + more, 0.05 + 1e-3, **ceiling)
    skirting = b.skin('plain', 'plain', 'wood')
    sides = ((0, -d / 2, 0.0, w), (0, d / 2, np.pi, w), (w / 2, 0, np.pi / 2, d), (-w / 2, 0, -np.pi / 2, d))
    for number, (x, y, yaw, length) in enumerate(sides):
        b.place(x, y, 0, yaw)
        if number == door:
            _doorway(b, length, h, wall if number % 2 == 0 else other)
            continue
        if door >= 0:
            b.add(BOX, 0, -0.05, h / 2, length / 2 + 0.1, 0.05, h / 2, **(wall if number % 2 == 0 else other))
        b.add(BOX, 0, 0, 0.05, length / 2, 0.015, 0.05, **skirting)
    return door


def _doorway(b: Builder, length: float, h: float, skin: dict) -> None:
    """A wall with an opening, maybe with the door ajar, and a few things in the room behind."""
    rng, frame = b.rng, b.skin('wood', 'plain', 'plain')
    half, top = rng.uniform(0.38, 0.8), rng.uniform(1.95, 2.2)
    at = rng.uniform(-0.4, 0.4) * max(length - 2 * half, 0)
    left, right = at - half + length / 2, length / 2 - at - half
    for middle, wide in ((-length / 2 + left / 2, left / 2), (length / 2 - right / 2, right / 2)):
        b.add(BOX, middle, -0.05, h / 2, max(wide, 0.01), 0.05, h / 2, **skin)
    b.add(BOX, at, -0.05, (h + top) / 2, half, 0.05, (h - top) / 2, **skin)
    for side in (-1, 1):
        b.add(BOX, at + side * half, -0.05, top / 2, 0.04, 0.065, top / 2, **frame)
    b.add(BOX, at, -0.05, top, half + 0.04, 0.065, 0.04, **frame)
    if rng.random() < 0.6:
        leaf = b.child(at - half, -0.1, 0, -rng.uniform(0.3, 1.9))
        leaf.add(BOX, half, 0, top / 2, half, 0.02, top / 2 - 0.01, **frame)
    for _ in range(3):
        thing = str(rng.choice(['chair', 'plant', 'stuff', 'lamp', 'cabinet', 'shelf']))
        PIECES[thing](b.child(at + rng.normal(0, 0.9), -rng.uniform(0.9, 2.5), 0, rng.uniform(0, 6)))


def _furnish_wall(b: Builder, length: float, style: str, has_door: bool) -> None:
    """Furniture, pictures, and a door or a window along the wall whose middle is the builder's place."""
    rng = b.rng
    slot = -length / 2 + 0.6
    while slot < length / 2 - 0.5 and not has_door:
        thing = str(rng.choice(ALONG_WALLS[style]))
        if thing:
            PIECES[thing](b.child(slot, rng.uniform(0.3, 0.45), 0, rng.normal(0, 0.03)))
        slot += rng.uniform(0.9, 1.9)
    for _ in range(rng.integers(0, 3)):
        x, z = rng.uniform(-0.4, 0.4) * length, rng.uniform(1.3, 1.8)
        if not has_door:
            b.picture(x, 0.02, z, rng.uniform(0.12, 0.5), 0.015, rng.uniform(0.15, 0.4))
    if has_door or rng.random() < 0.35:
        return
    at = rng.uniform(-0.35, 0.35) * length
    if rng.random() < 0.35:
        b.add(BOX, at, 0, 1.0, 0.45, 0.03, 1.0, **b.skin('wood', 'plain'))
        b.add(BALL, at + 0.38, 0.06, 1.0, 0.03, 0.03, 0.03, **b.paint())
    else:
        _window(b.child(at, 0, rng.uniform(-0.1, 0.1)))


def _window(b: Builder) -> None:
    """A bright pane with bars, a sill, and often curtains or blinds."""
    rng, frame = b.rng, b.skin('plain', 'plain', 'wood')
    hx, hz = rng.uniform(0.35, 1.0), rng.uniform(0.45, 0.7)
    b.add(BOX, 0, 0, 1.5, hx, 0.01, hz, glow=rng.uniform(0.6, 4.0), **b.skin('plain', 'photo', 'photo'))
    for s in np.linspace(-1, 1, int(rng.integers(2, 4))):
        b.add(BOX, s * hx, 0.02, 1.5, 0.025, 0.025, hz + 0.02, **frame)
    for s in (-1, 1):
        b.add(BOX, 0, 0.02, 1.5 + s * hz, hx + 0.02, 0.025, 0.025, **frame)
    b.add(BOX, 0, 0.08, 1.5 - hz, hx + 0.06, 0.1, 0.015, **frame)
    if rng.random() < 0.5:
        lay(b, hx * 0.9, 0.05, 1.515 - hz, int(rng.integers(0, 4)))
    covering = rng.random()
    if covering < 0.45:
        cloth, low = b.skin('cloth', 'plain', 'stripes'), rng.choice([0.03, 0.7])
        for s in (-1, 1):
            for k in range(int(rng.integers(2, 6))):
                x = s * (hx + 0.1 - 0.09 * k)
                b.add(TUBE, x, 0.12, (2.25 + low) / 2, 0.055, 0.035, (2.25 - low) / 2, **cloth)
        b.bar((-hx - 0.3, 0.12, 2.26), (hx + 0.3, 0.12, 2.26), 0.012, **frame)
    elif covering < 0.6:
        slat = b.skin('plain')
        for z in np.arange(1.5 + hz, 1.5 + hz - rng.uniform(0.3, 2) * hz, -0.08):
            b.add(BOX, 0, 0.06, z, hx, 0.02, 0.004, **slat)


def make_corridor(rng: np.random.Generator, bank: Textures) -> Scene:
    w, d, h = rng.uniform(1.4, 4.0), rng.uniform(8, 30), rng.uniform(2.2, 3.6)
    scene = Scene('corridor', bank, np.array([[-w / 2, -d / 2, 0], [w / 2, d / 2, h]]), ambient=rng.uniform(0.12, 0.4))
    b = Builder(scene, rng)
    _walls(b, w, d, h)
    door, step = b.skin('wood', 'plain'), rng.uniform(1.5, 4.0)
    for y in np.arange(-d / 2 + 1, d / 2 - 1, step):
        for side in (-1, 1):
            thing = str(rng.choice(ALONG_CORRIDOR))
            b.place(side * w / 2, y + rng.uniform(-0.4, 0.4), 0, np.pi / 2 * side)  # local +y looks into the corridor
            if thing == 'door':
                b.add(BOX, 0, 0, 1.0, 0.45, rng.uniform(0.01, 0.06), 1.0, **door)
            elif thing == 'pillar':
                b.add(BOX, 0, 0, h / 2, 0.2, rng.uniform(0.1, 0.3), h / 2, **b.skin())
            elif thing == 'picture':
                b.picture(0, 0.02, 1.6, rng.uniform(0.2, 0.5), 0.015, rng.uniform(0.2, 0.4))
            elif thing == 'window':
                _window(b)
            elif thing == 'rail':
                furniture.rail(b.child(0, 0.08, 0), step)
            elif thing:
                b.at = b.at + yawed(b.yaw) @ np.array([0, 0.3, 0])
                PIECES[thing](b)
        b.place(0, y).add(BOX, 0, 0, h, 0.5, 0.1, 0.03, glow=1.5, **b.paint(np.ones(3)))
        if rng.random() < 0.15:
            furniture.stuff(b.place(rng.uniform(-0.3, 0.3) * w, y))
    if rng.random() < 0.5:
        at = rng.uniform([-0.3, -0.4], [0.3, 0.4]) * [w, d]
        furniture.person(b.place(*at, 0, np.pi / 2), rng.uniform(-1, 1.3))
    scene.lights = [
        (np.array([0, y, h - 0.15]), np.full(3, rng.uniform(0.6, 1.6))) for y in np.linspace(-d / 2.5, d / 2.5, 4)
    ]
    return scene
