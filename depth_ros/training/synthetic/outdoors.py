"""Out of doors: streets, highways and country roads, and open ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depth_ros.training.synthetic import furniture, roadside
from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.roadside import green
from depth_ros.training.synthetic.scene import BALL, BOX, Scene
from depth_ros.training.synthetic.textures import Textures

THINGS: dict[str, Callable[[Builder], None]] = {
    'tree': roadside.tree,
    'bush': roadside.bush,
    'rock': roadside.rock,
    'car': roadside.car,
    'lamp': roadside.street_lamp,
    'sign': roadside.sign,
    'bin': roadside.bin_or_bollard,
    'cone': roadside.cone,
    'pole': furniture.pole,
    'bicycle': furniture.bicycle,
    'stairs': furniture.stairs,
    'person': furniture.person,
    'stuff': furniture.stuff,
    'table': furniture.table,
}


def _daylight(scene: Scene, rng: np.random.Generator) -> None:
    """A sky, blue or overcast, and the sun, bright or veiled."""
    overcast = rng.random() < 0.35
    haze, blue = rng.uniform(0.8, 1.8) * np.array([0.9, 0.97, 1.05]), rng.uniform(0.3, 1.2) * np.array([0.25, 0.5, 1.1])
    scene.sky = np.stack([haze, blue])
    if overcast:
        scene.sky[1] = scene.sky[0] * rng.uniform(0.6, 1.1)
    a, up = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.2)
    sun = 300.0 * np.array([np.cos(a) * np.cos(up), np.sin(a) * np.cos(up), np.sin(up)])
    scene.lights = [(sun, (0.35 if overcast else 1.0) * rng.uniform(1.0, 2.4) * np.array([1.05, 1.0, 0.9]))]


def make_street(rng: np.random.Generator, bank: Textures) -> Scene:
    """A road along y: in town with pavements, parked cars and house fronts, in the country, or a highway."""
    kind = str(rng.choice(['town', 'suburb', 'country', 'highway'], p=[0.4, 0.3, 0.15, 0.15]))
    half_road = rng.uniform(6, 12) if kind == 'highway' else rng.uniform(2.7, 6.0)
    scene = Scene('street', bank, np.array([[-half_road, -20, 0], [half_road, 30, 3]]), ambient=rng.uniform(0.2, 0.55))
    _daylight(scene, rng)
    b = Builder(scene, rng)
    b.add(BOX, 0, 0, -0.5, 900, 900, 0.5, **b.paint(green(b), 'ground', rng.uniform(2, 5)))
    asphalt = rng.uniform(0.06, 0.4) * (1 + 0.04 * rng.uniform(-1, 1, 3))
    b.add(BOX, 0, 0, -0.49, half_road, 900, 0.5, **b.paint(asphalt, 'ground', rng.uniform(1.5, 4)))
    _lane_marks(b, half_road, 4 if kind == 'highway' else 2)
    for side in (-1, 1):
        if kind in ('town', 'suburb'):
            _pavement(b, side, half_road, kind)
        else:
            _verge(b, side, half_road, kind == 'highway')
    lane = half_road * 0.5
    for x, heading in ((-lane, -1), (lane, 1)):  # oncoming on the left, ahead on the right
        for y in np.arange(9, 90, 20 if kind == 'highway' else 35) + rng.uniform(0, 15):
            if rng.random() < 0.45:
                roadside.car(b.place(x + rng.normal(0, 0.2), y, 0, heading * np.pi / 2), velocity=rng.uniform(2, 10))
    return scene


def _lane_marks(b: Builder, half_road: float, lanes: int) -> None:
    """White or yellow lines: dashes between the lanes, unbroken ones at the edges."""
    rng = b.rng
    white = b.paint(np.full(3, rng.uniform(0.5, 0.9)), 'ground')
    middle = b.paint(np.array([0.7, 0.5, 0.08]), 'ground') if rng.random() < 0.2 else white
    wide, dash, gap = rng.uniform(0.05, 0.09), rng.uniform(1.0, 2.0), rng.uniform(3, 9)
    for x in np.linspace(-half_road, half_road, lanes + 1)[1:-1]:
        if rng.random() < 0.3:
            b.add(BOX, x, 0, 0.013, wide, 400, 0.003, **middle)
            continue
        for y in np.arange(-18, 90, 2 * dash + gap):
            b.add(BOX, x, y, 0.013, wide, dash, 0.003, **middle)
    if rng.random() < 0.6:
        for side in (-1, 1):
            b.add(BOX, side * (half_road - 0.3), 0, 0.013, wide, 400, 0.003, **white)
    if rng.random() < 0.25:  # a crossing
        y = rng.uniform(5, 40)
        for x in np.arange(-half_road + 0.4, half_road, 1.0):
            b.add(BOX, x, y, 0.013, 0.25, 1.5, 0.003, **white)


def _pavement(b: Builder, side: int, half_road: float, kind: str) -> None:
    """Kerb and pavement, parked cars, poles and people, then gardens, trees or house fronts."""
    rng = b.rng
    wide = rng.uniform(1.2, 3.5)
    grey = rng.uniform(0.2, 0.6) * (1 + 0.05 * rng.uniform(-1, 1, 3))
    b.place(0, 0).add(BOX, side * (half_road + wide / 2), 0, -0.4, wide / 2, 900, 0.52, **b.paint(grey, 'ground', 2))
    b.add(BOX, side * half_road, 0, -0.395, 0.08, 900, 0.52, **b.paint(grey * 1.3, 'noise', 2))
    y, suburb = -25.0, kind == 'suburb'
    while y < 110:
        depth, front = rng.uniform(4, 8), rng.uniform(3, 8)
        back = half_road + wide + (rng.uniform(2, 7) if suburb else rng.uniform(0, 0.6))
        b.place(side * (back + depth), y + front, 0)
        if rng.random() < (0.7 if suburb else 0.92):
            roadside.house(b, depth, front * rng.uniform(0.75, 1.0), rng.uniform(3, 7) if suburb else rng.uniform(6, 18))
        if suburb:
            if rng.random() < 0.5:
                edge = b.place(side * (half_road + wide + 0.5), y + front, 0, np.pi / 2)
                (roadside.hedge if rng.random() < 0.6 else roadside.fence)(edge, 1.8 * front)
            for _ in range(int(rng.integers(0, 3))):
                x = half_road + wide + rng.uniform(0.8, back - half_road - wide + 0.8)
                place = b.place(side * x, y + rng.uniform(0, 2 * front), 0, rng.uniform(0, 6))
                (roadside.tree if rng.random() < 0.7 else roadside.bush)(place)
        y += 2 * front
    for y in np.arange(-18, 80, rng.uniform(6, 16)):
        thing = str(rng.choice(['tree', 'lamp', 'lamp', 'pole', 'person', 'person', 'sign', 'bin', 'bicycle', 'cone']))
        turned = np.pi / 2 * side if thing == 'lamp' else 0.0
        THINGS[thing](b.place(side * (half_road + rng.uniform(0.4, 0.8)), y + rng.uniform(-2, 2), 0.12, turned))
    if rng.random() < 0.25:
        roadside.wires(b.place(side * (half_road + wide * 0.8), 30, 0.12, np.pi / 2), 100)
    parked = rng.uniform(0, 0.95)
    for y in np.arange(-15, 75, rng.uniform(5.2, 7.0)):
        if rng.random() < parked:
            roadside.car(b.place(side * (half_road - 1.1), y, 0, np.pi / 2 * (1 if side > 0 else -1)))


def _verge(b: Builder, side: int, half_road: float, highway: bool) -> None:
    """Grass, a guard rail or a fence, trees and bushes, now and then a house or a hill."""
    rng = b.rng
    if highway or rng.random() < 0.4:
        steel = b.paint(np.full(3, rng.uniform(0.3, 0.6)))
        b.place(0, 0).add(BOX, side * (half_road + 0.6), 0, 0.6, 0.03, 400, 0.15, **steel)
        for y in np.arange(-18, 50, 4.0):
            b.add(BOX, side * (half_road + 0.7), y, 0.35, 0.05, 0.06, 0.35, **steel)
    elif rng.random() < 0.6:
        roadside.fence(b.place(side * (half_road + rng.uniform(1, 3)), 15, 0, np.pi / 2), 60)
    for y in np.arange(-20, 110, rng.uniform(3, 8)):
        x = side * (half_road + rng.uniform(2.5, 14 + 10 * highway))
        thing = str(rng.choice(['tree', 'tree', 'tree', 'bush', 'bush', 'rock', 'house', 'lamp', 'sign']))
        b.place(x, y + rng.uniform(-2, 2), 0, rng.uniform(0, 6))
        if thing == 'house':
            b.place(x + side * 8, y, 0)
            roadside.house(b, rng.uniform(3, 6), rng.uniform(3, 6), rng.uniform(3, 8))
        else:
            THINGS[thing](b)
    if rng.random() < 0.3:
        roadside.wires(b.place(side * (half_road + 3), 30, 0, np.pi / 2), 100)
    for _ in range(int(rng.integers(0, 4))):
        size = rng.uniform(20, 90)
        b.place(side * (size * 1.3 + rng.uniform(30, 200)), rng.uniform(20, 400), -0.1 * size)
        b.add(BALL, 0, 0, 0, size, size * rng.uniform(0.7, 3), size * rng.uniform(0.2, 0.5), **b.paint(green(b), 'leaf', 9))


def make_terrain(rng: np.random.Generator, bank: Textures) -> Scene:
    """Open ground, meadow, park, wood or desert, with hills, rocks, trees, paths, posts and a hut."""
    scene = Scene('terrain', bank, np.array([[-12, -12, 0], [12, 12, 6]]), ambient=rng.uniform(0.2, 0.55))
    _daylight(scene, rng)
    b = Builder(scene, rng)
    dry = rng.uniform(0.15, 0.7) * np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 0.95)])
    meadow = rng.random() < 0.6
    ground = b.paint(green(b) if meadow else dry, str(rng.choice(['ground', 'ground', 'noise'])), rng.uniform(1.5, 5))
    b.add(BOX, 0, 0, -0.5, 900, 900, 0.5, **ground)
    if rng.random() < 0.4:
        b.place(*rng.uniform(-3, 3, 2), 0, rng.uniform(0, 6))
        b.add(BOX, 0, 0, -0.49, rng.uniform(0.6, 2), 900, 0.5, **b.paint(rng.uniform(0.2, 0.6) * np.ones(3), 'ground', 2))
    for _ in range(rng.integers(3, 12)):
        r, a, size = rng.uniform(20, 200), rng.uniform(0, 2 * np.pi), rng.uniform(8, 60)
        b.place(r * np.cos(a), r * np.sin(a), -0.1 * size, rng.uniform(0, 6))
        b.add(BALL, 0, 0, 0, size, size * rng.uniform(0.5, 2), size * rng.uniform(0.2, 0.6), **ground)
    wild = ['tree', 'bush', 'rock', 'stuff', 'person', 'sign', 'lamp', 'table', 'car', 'bicycle', 'stairs']
    share = np.array([0.32, 0.16, 0.2, 0.06, 0.08, 0.03, 0.03, 0.04, 0.03, 0.03, 0.02])
    for thing in rng.choice(wild, rng.integers(14, 40), p=share):
        r, a = 3 + 42 * rng.random() ** 1.5, rng.uniform(0, 2 * np.pi)
        THINGS[str(thing)](b.place(r * np.cos(a), r * np.sin(a), 0, rng.uniform(0, 6)))
    if rng.random() < 0.4:
        r, a = rng.uniform(4, 15), rng.uniform(0, 2 * np.pi)
        roadside.fence(b.place(r * np.cos(a), r * np.sin(a), 0, rng.uniform(0, 6)), rng.uniform(6, 25))
    if rng.random() < 0.4:
        r, a = rng.uniform(12, 30), rng.uniform(0, 2 * np.pi)
        b.place(r * np.cos(a), r * np.sin(a), 0, rng.uniform(0, 6))
        roadside.house(b, *rng.uniform([2, 2, 2.5], [5, 5, 5]))
    return scene
