"""A synthetic world with exact depth and pose: scenes, camera paths, a renderer and a sensor model.

Everything is numpy (cv2 only to sample pictures), and everything follows from a seed. A scene is a list of solids
(boxes, balls, tubes, and the inside of a box for the walls of a room); rays are intersected with them in closed form,
so depth is exact. Shadows come from a shadow map of the first light. There are no mirrors, no glass, no indirect
light.

World axes: x, y on the floor, z up. Camera axes: OpenCV (x right, y down, z forward), pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

KINDS = ('room', 'corridor', 'street', 'terrain')
NEAR_M = 0.05
BOX, BALL, TUBE, SHELL = range(4)


# ---------------------------------------------------------------- textures


def cloud(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """Return tileable noise (size, size), mean 0 and deviation 1, whose amplitude falls as frequency**-slope.

    Photographs have slopes near 1 (Field 1987), smooth stains near 2.
    """
    f = np.fft.fftfreq(size)[:, None] ** 2 + np.fft.rfftfreq(size)[None] ** 2
    f[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) * f ** (-slope / 2)
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(size, size))
    return noise / noise.std()


def make_texture(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """Return one tileable picture (size, size, 3) uint8 of the given kind."""
    base = rng.uniform(0.3, 0.9) * (1 + rng.uniform(0.02, 0.35) * rng.uniform(-1, 1, 3))
    second = np.clip(base * rng.uniform(0.4, 1.5) * (1 + 0.2 * rng.uniform(-1, 1, 3)), 0, 1)
    y, x = np.mgrid[:size, :size] / size
    n = int(rng.integers(2, 9))
    mix = np.zeros((size, size))
    if kind == 'noise':
        mix = 0.5 + rng.uniform(0.03, 0.3) * cloud(rng, size, rng.uniform(0.8, 2.0))
    elif kind == 'wood':
        warp = cloud(rng, size, 2.0) * 0.01
        row = np.floor((y + warp * 0.1) * n)
        grain = np.sin(2 * np.pi * ((y + warp) * n * 6 + 2 * cv2.blur(cloud(rng, size, 1.2), (size // 4 + 1, 1))))
        mix = 0.4 + 0.25 * rng.uniform(-1, 1, n)[row.astype(int) % n] + 0.12 * grain
        mix[np.abs((y * n) % 1) < 0.03] = 1.2
    elif kind == 'tiles':
        rows, columns = n, int(rng.integers(2, 9))
        shift = 0.5 * (np.floor(y * rows) % 2) if rng.random() < 0.5 and rows % 2 == 0 else 0.0
        fx, fy = (x * columns + shift) % 1, (y * rows) % 1
        which = (np.floor(x * columns + shift) % columns + columns * np.floor(y * rows)).astype(int)
        mix = 0.4 + rng.uniform(0, 0.3) * rng.uniform(-1, 1, rows * columns)[which]
        joint = rng.uniform(0.02, 0.08)
        mix[(fx < joint) | (fy < joint * rows / columns)] = rng.choice([-0.5, 1.2])
    elif kind == 'stripes':
        wave = x if rng.random() < 0.5 else y
        mix = (((wave * n) % 1) < rng.uniform(0.1, 0.6)).astype(float)
    elif kind == 'facade':
        fx, fy = (x * n) % 1, (y * n) % 1
        left, top = rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3)
        pane = (fx > left) & (fx < 1 - left) & (fy > top) & (fy < rng.uniform(0.6, 0.85))
        which = (np.floor(x * n) + n * np.floor(y * n)).astype(int)
        mix = np.where(pane, 1.0 + 0.4 * rng.uniform(-1, 1, n * n)[which], 0.0)
    grit = rng.uniform(0.02, 0.18) * cloud(rng, size, rng.uniform(0.7, 1.4)) + rng.uniform(0.0, 0.12) * cloud(
        rng, size, 1.8
    )
    picture = (base + np.clip(mix, -0.5, 1.5)[..., None] * (second - base)) * (1 + grit)[..., None]
    return (np.clip(picture, 0.02, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Textures:
    """A bank of square pictures as mipmaps: `levels[l]` stacks all pictures, size/2**l each, with a wrapped border of
    1."""

    size: int
    groups: dict[str, tuple[int, ...]]
    levels: tuple[np.ndarray, ...]


def texture_bank(seed: int = 0, photos: Sequence[np.ndarray] = (), size: int = 256, each: int = 8) -> Textures:
    """Return `each` procedural pictures of every kind, and a square crop of each photograph (uint8 (H, W, 3)) given."""
    rng = np.random.default_rng((7, seed))
    pictures: list[np.ndarray] = []
    groups: dict[str, tuple[int, ...]] = {}
    for kind in ('noise', 'wood', 'tiles', 'stripes', 'facade'):
        groups[kind] = tuple(range(len(pictures), len(pictures) + each))
        pictures += [make_texture(rng, size, kind) for _ in range(each)]
    first = len(pictures)
    for photo in photos:
        side = min(photo.shape[:2])
        top, left = (int(rng.integers(0, n - side + 1)) for n in photo.shape[:2])
        crop = np.ascontiguousarray(photo[top : top + side, left : left + side])
        pictures.append(cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA))
    groups['photo'] = tuple(range(first, len(pictures))) or groups['noise']
    return Textures(size, groups, _mipmaps(pictures))


def _mipmaps(pictures: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Return the stacked pictures at full, half, quarter ... size, each with its opposite edge repeated on all
    sides."""
    levels = []
    while pictures[0].shape[0] >= 2:
        levels.append(np.concatenate([np.pad(p, ((1, 1), (1, 1), (0, 0)), mode='wrap') for p in pictures]))
        half = pictures[0].shape[0] // 2
        pictures = [cv2.resize(p, (half, half), interpolation=cv2.INTER_AREA) for p in pictures]
    return tuple(levels)


@lru_cache(maxsize=2)
def default_bank(size: int = 256) -> Textures:
    return texture_bank(0, size=size)


def sample(bank: Textures, index: np.ndarray, u: np.ndarray, v: np.ndarray, lod: np.ndarray) -> np.ndarray:
    """Return texture colours (N, 3) float32 0..255 at (u, v), in tiles, trilinear between the mipmap levels."""
    n, width = u.size, 1024
    grid = [np.pad(a.astype(np.float32), (0, -n % width)).reshape(-1, width) for a in (index, u % 1, v % 1, lod)]
    index, u, v, lod = grid
    lod = np.clip(lod, 0, len(bank.levels) - 1)
    colour = np.zeros((*u.shape, 3), np.float32)
    for level, atlas in enumerate(bank.levels):
        weight = 1 - np.abs(lod - level)
        if not (weight > 0).any():
            continue
        size = bank.size >> level
        sampled = cv2.remap(atlas, u * size + 0.5, index * (size + 2) + v * size + 0.5, cv2.INTER_LINEAR)
        colour += np.maximum(weight, 0)[..., None] * sampled
    return colour.reshape(-1, 3)[:n]


# ---------------------------------------------------------------- scenes


@dataclass
class Solid:
    """One convex solid (or the inside of a box): |local| <= half along each local axis, local = R.T @ (world -
    centre)."""

    shape: int
    centre: np.ndarray  # (3,) m
    half: np.ndarray  # (3,) m
    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    textures: tuple[int, ...] = (0,)  # one, or six: -x +x -y +y -z +z
    tile_m: np.ndarray = field(default_factory=lambda: np.ones(3))
    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    glow: float = 0.0
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m/s


@dataclass
class Scene:
    kind: str
    bank: Textures
    extent: np.ndarray  # (2, 3) m, where a camera may be
    solids: list[Solid] = field(default_factory=list)
    lights: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # position (3,) m, colour (3,)
    ambient: float = 0.35
    sky: np.ndarray | None = None  # (2, 3) colours at horizon and zenith, or None indoors
    shadow: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # T_light_world, K, depth map


def yawed(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


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


# ---------------------------------------------------------------- cameras


def look(position: np.ndarray, yaw: float, pitch: float, roll: float = 0.0) -> np.ndarray:
    """Return T_world_cam (4, 4) of a camera that looks along yaw (0 = +x, to the left positive) and pitch (up
    positive)."""
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0])
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    T = np.eye(4)
    T[:3, :3] = np.stack([c * right + s * down, c * down - s * right, forward], 1)
    T[:3, 3] = position
    return T


def clearance(scene: Scene, points: np.ndarray) -> float:
    """Return a lower bound [m] of the distance from points (N, 3) to the solids; below zero means inside one."""
    nearest = np.inf
    for s in scene.solids:
        inside = np.abs((points - s.centre) @ s.R) - s.half
        if s.shape == BALL:
            inside = (np.linalg.norm((inside + s.half) / s.half, axis=1, keepdims=True) - 1) * s.half.min()
        distance = -inside.max() if s.shape == SHELL else inside.max(1).min()
        nearest = min(nearest, distance)
    return float(nearest)


def make_path(scene: Scene, seed: int, frames: int, rate_hz: float = 30.0, motion: str | None = None) -> np.ndarray:
    """Return T_world_cam (frames, 4, 4) float64: a smooth path through the free part of the scene.

    `motion` is hand, walk, turn, drive or fly; by default the seed chooses what suits the scene.
    """
    rng = np.random.default_rng((11, seed))
    outdoors = scene.sky is not None
    usual = {'street': ['drive', 'drive', 'walk', 'turn', 'hand'], 'terrain': ['walk', 'fly', 'turn', 'hand', 'drive']}
    motion = motion or str(rng.choice(usual.get(scene.kind, ['hand', 'hand', 'walk', 'turn', 'fly'])))
    speed = {'hand': 0.15, 'walk': 0.9, 'turn': 0.1, 'drive': 8.0, 'fly': 0.8 + 2.0 * outdoors}[motion] * rng.uniform(
        0.5, 1.5
    )
    height = {'drive': (1.2, 1.7), 'fly': (1.0, 2.2 + 3 * outdoors)}.get(motion, (0.9, 1.8))
    shake, spin = {
        'hand': (0.03, 0.05),
        'walk': (0.025, 0.03),
        'turn': (0.01, 0.01),
        'drive': (0.02, 0.006),
        'fly': (0.05, 0.04),
    }[motion]
    t = np.arange(frames) / rate_hz  # s
    best, most = None, -np.inf
    for _ in range(24):
        low, high = scene.extent + np.array([[0.35], [-0.35]])
        start = rng.uniform(low, np.maximum(high, low + 1e-3))
        start[2] = np.clip(rng.uniform(*height), 0.3, high[2])
        if scene.kind in ('street', 'corridor') and (motion == 'drive' or rng.random() < 0.6):
            yaw = np.pi / 2 + rng.normal(0, 0.12)
        else:  # rather look across the scene than into the next wall
            yaw = np.arctan2(*(-start[1::-1] + rng.normal(0, 0.8, 2))) + rng.normal(0, 0.5)
        pitch = rng.normal(-0.12 if motion != 'fly' else -0.25, 0.15) * (0.3 if motion == 'drive' else 1)
        course = yaw + (0 if motion in ('drive', 'walk') else rng.uniform(-np.pi, np.pi))
        turn = rng.normal(0, {'hand': 0.15, 'walk': 0.15, 'turn': 0.6, 'drive': 0.05, 'fly': 0.2}[motion])  # rad/s
        heading = course + turn * t * (motion in ('drive', 'walk'))
        step = speed / rate_hz * np.stack([np.cos(heading), np.sin(heading), np.zeros_like(t)], 1)
        wobble = _wobble(rng, t, 6)
        position = start + np.cumsum(step, 0) - step[0] + shake * wobble[:, :3]
        free = min(clearance(scene, position), 0.5)
        if free > most:
            angles = (
                np.stack([yaw + turn * t, np.full_like(t, pitch), np.full_like(t, rng.normal(0, 0.03))], 1)
                + spin * wobble[:, 3:]
            )
            best, most = (position, angles), free
        if most > 0.3:
            break
    assert best is not None
    return np.stack([look(p, *a) for p, a in zip(*best, strict=True)])


def _wobble(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
    """Return n smooth curves (len(t), n) of about unit size: a few sines between 0.2 and 2.5 Hz."""
    f, phase = rng.uniform(0.2, 2.5, (4, n)), rng.uniform(0, 2 * np.pi, (4, n))
    return (np.sin(2 * np.pi * f * t[:, None, None] + phase) / (1 + f)).sum(1)


def make_K(width: int, height: int, fov_deg: float) -> np.ndarray:
    """Return K (3, 3) of a centred camera with this horizontal field of view."""
    f = 0.5 * width / np.tan(np.radians(fov_deg) / 2)
    return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


# ---------------------------------------------------------------- rendering


def trace(
    scene: Scene,
    T_world_cam: np.ndarray,
    K: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    time_s: float = 0.0,
    moving: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return depth along Z (N,) float32 [m] (inf = nothing) and the number of the solid seen (-1 = none), at pixels
    (u, v) (N,)."""
    depth = np.full(u.size, np.inf, np.float32)
    seen = np.full(u.size, -1, np.int32)
    R, origin = T_world_cam[:3, :3], T_world_cam[:3, 3]
    for number, s in enumerate(scene.solids):
        if not moving and s.velocity.any():
            continue
        centre = s.centre + s.velocity * time_s
        M = (s.R.T @ R @ np.linalg.inv(K)) / s.half[:, None]  # pixel (u, v, 1) -> local direction
        o = (s.R.T @ (origin - centre)) / s.half
        if s.shape == SHELL:
            pick = np.arange(u.size)
        else:
            box = _screen_box(s, R.T @ (centre - origin), R.T @ s.R, K)
            if box is None:
                continue
            pick = np.flatnonzero((u >= box[0]) & (u <= box[1]) & (v >= box[2]) & (v <= box[3]))
        if not pick.size:
            continue
        up, vp = u[pick], v[pick]
        d = [(M[i, 0] * up + M[i, 1] * vp + M[i, 2]).astype(np.float32) for i in range(3)]
        near, far = INTERVAL[s.shape](d, o)
        t = far if s.shape == SHELL else near
        hit = (t > NEAR_M) & (far >= near) & (t < depth[pick])
        pick = pick[hit]
        depth[pick], seen[pick] = t[hit], number
    return depth, seen


def _screen_box(
    s: Solid, centre_cam: np.ndarray, R_cam_obj: np.ndarray, K: np.ndarray
) -> tuple[float, float, float, float] | None:
    """Return (u0, u1, v0, v1) around the solid's box, cut at the near plane; None if it lies behind the camera."""
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * s.half
    p = centre_cam + corner @ R_cam_obj.T  # (8, 3)
    front = p[:, 2] > NEAR_M
    if not front.any():
        return None
    points = [p[front]]
    if not front.all():  # edges that cross the near plane
        a, b = np.array([(i, i | k) for k in (1, 2, 4) for i in range(8) if not i & k]).T
        cross = front[a] != front[b]
        pa, pb = p[a[cross]], p[b[cross]]
        w = (NEAR_M - pa[:, 2:]) / (pb[:, 2:] - pa[:, 2:])
        points.append(pa + w * (pb - pa))
    q = np.concatenate(points) @ K.T
    uv = q[:, :2] / q[:, 2:]
    return (*(f(uv[:, 0]) for f in (np.min, np.max)), *(f(uv[:, 1]) for f in (np.min, np.max)))


def _slab(d: np.ndarray, o: float) -> tuple[np.ndarray, np.ndarray]:
    """Entry and exit of |o + t d| <= 1."""
    with np.errstate(divide='ignore'):
        inverse = 1 / np.where(np.abs(d) < 1e-9, np.float32(1e-9), d)
    middle, half = -np.float32(o) * inverse, np.abs(inverse)
    return middle - half, middle + half


def _box(d, o):
    n0, f0 = _slab(d[0], o[0])
    n1, f1 = _slab(d[1], o[1])
    n2, f2 = _slab(d[2], o[2])
    return np.maximum(np.maximum(n0, n1), n2), np.minimum(np.minimum(f0, f1), f2)


def _quadric(a, b, c):
    """Entry and exit of a t^2 + 2 b t + c <= 0; an empty interval where there is none."""
    a = np.maximum(a, np.float32(1e-12))
    root = b * b - a * np.float32(c)
    half = np.sqrt(np.maximum(root, 0)) / a
    middle = -b / a
    return np.where(root > 0, middle - half, np.inf).astype(np.float32), np.where(
        root > 0, middle + half, -np.inf
    ).astype(np.float32)


def _ball(d, o):
    o = o.astype(np.float32)
    return _quadric(d[0] ** 2 + d[1] ** 2 + d[2] ** 2, d[0] * o[0] + d[1] * o[1] + d[2] * o[2], float(o @ o) - 1)


def _tube(d, o):
    o32 = o.astype(np.float32)
    n0, f0 = _quadric(d[0] ** 2 + d[1] ** 2, d[0] * o32[0] + d[1] * o32[1], float(o[:2] @ o[:2]) - 1)
    n1, f1 = _slab(d[2], o[2])
    return np.maximum(n0, n1), np.minimum(f0, f1)


INTERVAL = {BOX: _box, BALL: _ball, TUBE: _tube, SHELL: _box}


def shade(
    scene: Scene,
    T_world_cam: np.ndarray,
    K: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    depth: np.ndarray,
    seen: np.ndarray,
    time_s: float = 0.0,
) -> np.ndarray:
    """Return linear colours (N, 3) float32 of the traced pixels: texture times light, or sky."""
    ray = (np.stack([u, v, np.ones_like(u)], 1) @ np.linalg.inv(K).T @ T_world_cam[:3, :3].T).astype(
        np.float32
    )  # (N, 3)
    colour = np.zeros((u.size, 3), np.float32)
    if scene.sky is not None:
        colour[seen < 0] = _sky(scene, ray[seen < 0])
    on = np.flatnonzero(seen >= 0)
    if not on.size:
        return colour
    ray, z, which, solids = ray[on], depth[on], seen[on], scene.solids
    world = T_world_cam[:3, 3].astype(np.float32) + z[:, None] * ray  # (n, 3)
    R = np.array([s.R for s in solids], np.float32)[which]  # (n, 3, 3)
    half = np.array([s.half for s in solids], np.float32)[which]
    centre = np.array([s.centre + s.velocity * time_s for s in solids], np.float32)[which]
    local = np.einsum('nji,nj->ni', R, world - centre)
    shape = np.array([s.shape for s in solids])[which]

    unit = local / half
    axis = np.abs(unit).argmax(1)
    rows = np.arange(len(axis))
    flat = np.zeros_like(unit)
    flat[rows, axis] = np.sign(unit[rows, axis])
    normal = np.where((shape == BOX)[:, None], flat, -flat)  # the shell is seen from inside
    ball = shape == BALL
    normal[ball] = (unit / half)[ball]
    tube = shape == TUBE
    cap = np.abs(unit[:, 2]) > 0.9999
    round_ = unit / half
    round_[:, 2] = 0
    cap_normal = np.zeros_like(unit)
    cap_normal[:, 2] = np.sign(unit[:, 2])
    normal[tube] = np.where(cap[:, None], cap_normal, round_)[tube]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9

    axis = np.abs(normal).argmax(1)  # texture on the two other axes
    tile = np.array([s.tile_m for s in solids], np.float32)[which]
    tex = local / tile + 0.5
    ucol, vrow = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    face = np.array([(s.textures * 6)[:6] for s in solids])[which, 2 * axis + (local[rows, axis] > 0)]
    normal = np.einsum('nij,nj->ni', R, normal)
    cosine = np.abs((normal * ray).sum(1)) / np.linalg.norm(ray, axis=1)
    texel = tile[rows, ucol] / scene.bank.size
    lod = np.log2(np.maximum(z / (K[0, 0] * texel) / np.maximum(cosine, 0.05) ** 0.6, 1e-3))
    albedo = (sample(scene.bank, face, tex[rows, ucol], -tex[rows, vrow], lod) / 255) ** 2
    albedo *= np.array([s.tint for s in solids], np.float32)[which]
    glow = np.array([s.glow for s in solids], np.float32)[which]
    colour[on] = albedo * (_light(scene, world, normal) + glow[:, None])
    if scene.sky is not None:  # haze
        haze = 1 - np.exp(-z / 900)
        colour[on] += haze[:, None] * (scene.sky[0].astype(np.float32) * 0.6 - colour[on])
    return colour


def _sky(scene: Scene, ray: np.ndarray) -> np.ndarray:
    up = np.clip(ray[:, 2] / np.linalg.norm(ray, axis=1), 0, 1)[:, None]
    assert scene.sky is not None
    colour = scene.sky[0] + (scene.sky[1] - scene.sky[0]) * np.sqrt(up)
    where = ray[:, :2] / (np.abs(ray[:, 2:]) + 0.15) * 0.15
    noise = scene.bank.groups['noise'][0]
    clouds = sample(scene.bank, np.full(len(ray), noise), where[:, 0], where[:, 1], np.full(len(ray), 1.0)).mean(
        1, keepdims=True
    )
    return (colour * (0.75 + clouds / 500)).astype(np.float32)


def _light(scene: Scene, world: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the light (N, 3) that falls on points: an ambient part, darker near floor and corners, and diffuse
    lights."""
    low, high = scene.extent.astype(np.float32)
    ambient = scene.ambient * (0.75 + 0.25 * normal[:, 2])
    if scene.sky is None:
        room = np.minimum(world - low, high - world)
        ambient = ambient * (0.55 + 0.45 * np.prod(1 - np.exp(-np.abs(room) / 0.25) * 0.5, axis=1) / 0.8)
    total = np.repeat(ambient[:, None], 3, 1).astype(np.float32)
    for number, (position, colour) in enumerate(scene.lights):
        to = position.astype(np.float32) - world
        r = np.linalg.norm(to, axis=1) + 1e-6
        cosine = np.maximum((normal * to).sum(1) / r, 0)
        fall = 1.0 if scene.sky is not None else 1 / (1 + (r / 2.5) ** 2)
        if number == 0 and scene.shadow is not None:
            cosine = cosine * _lit(scene.shadow, world)
        total += (cosine * fall)[:, None] * colour.astype(np.float32)
    return total


def shadow_map(scene: Scene, size: int = 768) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (T_light_world, K, depth map) of the first light: a wide lens under the ceiling, or a far one in the
    sun."""
    position = scene.lights[0][0]
    if scene.sky is None:
        T, K = look(position, 0.0, -np.pi / 2 + 1e-4), make_K(size, size, 140)
    else:
        aim = np.array([0, 15.0 if scene.kind == 'street' else 0, 0]) - position
        T = look(position, np.arctan2(aim[1], aim[0]), np.arcsin(aim[2] / np.linalg.norm(aim)))
        K = make_K(size, size, 13)
    v, u = (a.ravel() for a in np.mgrid[:size, :size].astype(np.float32))
    depth, _ = trace(scene, T, K, u, v, moving=False)
    return np.linalg.inv(T), K, depth.reshape(size, size)


def _lit(shadow: tuple[np.ndarray, np.ndarray, np.ndarray], world: np.ndarray) -> np.ndarray:
    """Return 0..1 (N,): the share of five taps of the shadow map that see the point; outside the map all is lit."""
    T, K, depth = shadow
    p = world @ T[:3, :3].T.astype(np.float32) + T[:3, 3].astype(np.float32)
    z = np.maximum(p[:, 2], 1e-3)
    u, v = K[0, 0] * p[:, 0] / z + K[0, 2], K[1, 1] * p[:, 1] / z + K[1, 2]
    size, bias = depth.shape[0], 0.02 + 0.008 * np.minimum(z, 60)
    outside = (p[:, 2] < 1e-3) | (u < 0) | (v < 0) | (u > size - 1) | (v > size - 1)
    lit = np.zeros(len(z), np.float32)
    for du, dv in ((0, 0), (1.2, 0.5), (-0.5, 1.2), (-1.2, -0.5), (0.5, -1.2)):
        column = np.clip(u + du, 0, size - 1).astype(np.int32)
        row = np.clip(v + dv, 0, size - 1).astype(np.int32)
        lit += z < depth[row, column] + bias
    return np.where(outside, 1, lit / 5)


def render(
    scene: Scene, T_world_cam: np.ndarray, K: np.ndarray, height: int, width: int, time_s: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture (H, W, 3) uint8 and depth along Z (H, W) float32 [m], inf for the sky.

    Depth is exact at pixel centres. In the picture, pixels on the border of two solids are the mean of four rays.
    `time_s` moves the moving solids.
    """
    v, u = (a.ravel() for a in np.mgrid[:height, :width].astype(np.float32))
    depth, seen = trace(scene, T_world_cam, K, u, v, time_s)
    colour = shade(scene, T_world_cam, K, u, v, depth, seen, time_s)

    image = seen.reshape(height, width)
    border = np.zeros((height, width), bool)
    for a, b in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = image[a] != image[b]
        border[a] |= differ
        border[b] |= differ
    edge = np.flatnonzero(border.ravel())
    if edge.size:
        ue = (u[edge, None] + np.array([-0.375, 0.125, 0.375, -0.125], np.float32)).ravel()  # a rotated 2x2 grid
        ve = (v[edge, None] + np.array([-0.125, -0.375, 0.125, 0.375], np.float32)).ravel()
        z, s = trace(scene, T_world_cam, K, ue, ve, time_s)
        fine = shade(scene, T_world_cam, K, ue, ve, z, s, time_s)
        colour[edge] = _tone(fine).reshape(-1, 4, 3).mean(1) ** 2  # mean of what is displayed
    rgb = np.clip(255 * _tone(colour), 0, 255).astype(np.uint8).reshape(height, width, 3)
    return rgb, depth.reshape(height, width)


def _tone(linear: np.ndarray) -> np.ndarray:
    """Display value 0..1 of linear light: a square root with a soft shoulder that reaches 1 at 4."""
    x = np.clip(linear, 0, 4)
    return np.sqrt(x * (1 + x / 16) / (1 + x)) * np.float32(1.0)


# ---------------------------------------------------------------- sensor


@dataclass(frozen=True)
class Sensor:
    """What a camera does to a picture; drawn once per clip, so that only noise and exposure drift change from frame
    to frame."""

    noise: float = 0.0  # deviation of the read noise, in grey values
    shot: float = 0.0  # deviation of the shot noise at white, in grey values
    blur_px: float = 0.0
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    drift: float = 0.0  # relative exposure swing
    period_frames: float = 40.0
    vignette: float = 0.0  # darkening in the corners
    jpeg: int = 0  # quality, 0 = none


def make_sensor(rng: np.random.Generator) -> Sensor:
    """Return a random camera, from clean to poor."""
    poor = rng.uniform(0, 1) ** 1.5
    red, green, blue = (rng.uniform(0.6, 1.35) * (1 + 0.12 * rng.uniform(-1, 1, 3))).tolist()
    return Sensor(
        noise=5 * poor * rng.random(),
        shot=8 * poor * rng.random(),
        blur_px=1.2 * poor * rng.random(),
        gain=(red, green, blue),
        gamma=float(rng.uniform(0.75, 1.3)),
        drift=0.15 * poor * rng.random(),
        period_frames=float(rng.uniform(10, 60)),
        vignette=0.4 * rng.random() ** 2,
        jpeg=int(rng.integers(40, 95)) if rng.random() < 0.4 else 0,
    )


def expose(rgb: np.ndarray, sensor: Sensor, frame: int, rng: np.random.Generator) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 as this camera takes it."""
    h, w = rgb.shape[:2]
    x = np.arange(256, dtype=np.float32) / 255
    swing = 1 + sensor.drift * np.sin(2 * np.pi * frame / sensor.period_frames)
    gain = np.array(sensor.gain, np.float32) * np.float32(swing)
    curve = 255 * np.clip(x[:, None] ** sensor.gamma * gain, 0, 1.2)  # (256, 3)
    out: Any = np.stack([curve[rgb[..., c], c] for c in range(3)], -1).astype(np.float32)
    if sensor.vignette:
        yy, xx = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        out *= (1 - sensor.vignette * (xx**2 + yy**2) / 2)[..., None].astype(np.float32)
    if sensor.blur_px > 0.2:
        out = cv2.GaussianBlur(out, (0, 0), sensor.blur_px)
    if sensor.noise or sensor.shot:
        deviation = np.sqrt(sensor.noise**2 + sensor.shot**2 * np.clip(out, 0, 255) / 255)
        out += deviation * rng.standard_normal(out.shape, np.float32)
    out = np.clip(out + 0.5, 0, 255).astype(np.uint8)
    if sensor.jpeg:
        out = cv2.imdecode(cv2.imencode('.jpg', out, [cv2.IMWRITE_JPEG_QUALITY, sensor.jpeg])[1], cv2.IMREAD_COLOR)
    return out


# ---------------------------------------------------------------- the demo


def living_room_bank(size: int = 512) -> Textures:
    """Return the few calm materials of the demo's room, one picture per group."""
    rng = np.random.default_rng(21)

    def blend(low, high, mix, grit=0.03):
        picture = np.array(low) + np.clip(mix, 0, 1)[..., None] * (np.array(high) - np.array(low))
        picture = picture * (1 + grit * cloud(rng, size, 0.7))[..., None]
        return (np.clip(picture, 0, 1) * 255).astype(np.uint8)

    y, x = np.mgrid[:size, :size] / size
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * 64 * x) * np.sin(2 * np.pi * 64 * y) + 0.1 * cloud(rng, size, 1.0)
    plank = np.floor(y * 8).astype(int)
    seam = (((y * 8) % 1) < 0.02) | (((x * 2 + 0.37 * plank) % 1) < 0.004)
    shade_of = rng.uniform(0.2, 0.8, (8, 2))[plank, np.floor(x * 2 + 0.37 * plank).astype(int) % 2]
    grain = cv2.blur(cloud(rng, size, 0.6), (size // 6 + 1, 1))
    floor = np.where(seam, 0.0, shade_of + 0.25 * grain / grain.std())
    rug = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 6 * x) + np.sin(2 * np.pi * 6 * y)) * 0.6 + 0.1 * cloud(rng, size, 0.9)
    covers = np.array(
        [[0.62, 0.2, 0.16], [0.2, 0.34, 0.5], [0.85, 0.78, 0.62], [0.24, 0.4, 0.28], [0.8, 0.55, 0.2], [0.3, 0.26, 0.3]]
    )
    books = (
        covers[rng.integers(0, 6, 16)][np.floor(x * 16).astype(int)]
        * np.where((x * 16) % 1 < 0.07, 0.4, 1.0)[..., None]
    )
    books[np.abs(y - 0.25) < 0.03] *= 1.25
    hills = [
        np.clip((y - 0.42 - 0.16 * k + 0.06 * np.sin(2 * np.pi * (x * (1 + k) + k / 3))) * 40, 0, 1) for k in range(3)
    ]
    painting = np.stack([0.95 - 0.5 * y, 0.75 - 0.25 * y, 0.55 + 0.2 * y], -1)
    for hill, colour in zip(hills, ((0.35, 0.45, 0.5), (0.2, 0.4, 0.35), (0.5, 0.3, 0.15)), strict=True):
        painting = painting + hill[..., None] * (np.array(colour) - painting)
    pictures = {
        'wall': blend((0.80, 0.78, 0.72), (0.88, 0.86, 0.81), 0.5 + 0.15 * cloud(rng, size, 1.6), 0.015),
        'ceiling': blend((0.9, 0.9, 0.88), (0.95, 0.95, 0.94), 0.5 + 0.2 * cloud(rng, size, 1.4), 0.01),
        'floor': blend((0.42, 0.27, 0.15), (0.74, 0.53, 0.34), floor),
        'oak': blend((0.55, 0.38, 0.22), (0.78, 0.6, 0.4), 0.5 + 0.3 * grain / grain.std()),
        'dark': blend((0.2, 0.14, 0.1), (0.36, 0.25, 0.18), 0.5 + 0.3 * grain / grain.std()),
        'cloth': blend((0.25, 0.36, 0.47), (0.42, 0.55, 0.66), weave),
        'linen': blend((0.75, 0.5, 0.2), (0.92, 0.72, 0.38), weave),
        'rug': blend((0.62, 0.25, 0.2), (0.86, 0.78, 0.64), rug, 0.06),
        'books': (np.clip(books, 0, 1) * 255).astype(np.uint8),
        'leaf': blend((0.12, 0.28, 0.1), (0.36, 0.58, 0.22), 0.5 + 0.35 * cloud(rng, size, 1.1)),
        'clay': blend((0.66, 0.36, 0.22), (0.8, 0.5, 0.34), 0.5 + 0.2 * cloud(rng, size, 1.2)),
        'white': blend((0.86, 0.85, 0.82), (0.95, 0.95, 0.93), 0.5 + 0.2 * cloud(rng, size, 1.2), 0.01),
        'painting': (np.clip(painting, 0, 1) * 255).astype(np.uint8),
        'outside': (np.stack([0.72 + 0.2 * y, 0.85 + 0.1 * y, 1 - 0.05 * y], -1) * 255).astype(np.uint8),
    }
    return Textures(size, {name: (i,) for i, name in enumerate(pictures)}, _mipmaps(list(pictures.values())))


def make_living_room(seed: int = 0) -> Scene:
    """Return a furnished living room, 5.6 m x 4.6 m; the seed moves the small things about."""
    rng = np.random.default_rng((23, seed))
    w, d, h = 5.6, 4.6, 2.6
    bank = living_room_bank()
    scene = Scene('room', bank, np.array([[-w / 2, -d / 2, 0], [w / 2, d / 2, h]]), ambient=0.42)
    b = Builder(scene, rng)

    def skin(name: str, tile_m: float = 1.0, tint: float = 1.0, **more) -> dict:
        return dict(textures=bank.groups[name], tile_m=np.full(3, tile_m), tint=np.full(3, tint), **more)

    wall, floor, ceiling = (bank.groups[n][0] for n in ('wall', 'floor', 'ceiling'))
    b.add(
        SHELL,
        0,
        0,
        h / 2,
        w / 2,
        d / 2,
        h / 2,
        textures=(wall, wall, wall, wall, floor, ceiling),
        tile_m=np.full(3, 2.0),
    )
    for x, y, hx, hy in (
        (0, -d / 2, w / 2, 0.015),
        (0, d / 2, w / 2, 0.015),
        (-w / 2, 0, 0.015, d / 2),
        (w / 2, 0, 0.015, d / 2),
    ):
        b.add(BOX, x, y, 0.05, hx, hy, 0.05, **skin('white'))

    b.place(0.35, 1.75, 0, np.pi)  # sofa with cushions, a painting above it
    for x, y, z, hx, hy, hz in (
        (0, 0, 0.24, 1.0, 0.42, 0.12),
        (0, -0.33, 0.55, 1.0, 0.1, 0.27),
        (-1.02, 0, 0.33, 0.1, 0.43, 0.27),
        (1.02, 0, 0.33, 0.1, 0.43, 0.27),
        (-0.48, 0.04, 0.4, 0.46, 0.36, 0.06),
        (0.48, 0.04, 0.4, 0.46, 0.36, 0.06),
    ):
        b.add(BOX, x, y, z, hx, hy, hz, **skin('cloth', 0.8))
    for x in (-0.9, 0.9):
        for y in (-0.35, 0.35):
            b.add(TUBE, x, y, 0.06, 0.025, 0.025, 0.06, **skin('dark'))
    for x, name in ((-0.72, 'linen'), (0.65, 'white'), (0.3, 'linen')):
        b.add(BALL, x, -0.16, 0.62, 0.22, 0.09, 0.19, R=yawed(rng.uniform(-0.3, 0.3)), **skin(name, 0.6))
    b.add(BOX, 0.1, -0.53, 1.55, 0.62, 0.015, 0.42, **skin('dark'))
    b.add(BOX, 0.1, -0.51, 1.55, 0.57, 0.01, 0.37, textures=bank.groups['painting'], tile_m=np.array([1.14, 1, 0.74]))

    b.place(0.3, 0.35, 0, 0.05)  # rug, low table and what lies on it
    b.add(BOX, 0, 0, 0.008, 1.25, 0.85, 0.008, **skin('rug', 1.7))
    b.add(BOX, 0, 0, 0.4, 0.6, 0.34, 0.02, **skin('oak'))
    for x in (-0.53, 0.53):
        for y in (-0.28, 0.28):
            b.add(BOX, x, y, 0.19, 0.025, 0.025, 0.19, **skin('oak'))
    b.add(BOX, *rng.uniform(-0.1, 0.1, 2) + [-0.25, 0.05], 0.435, 0.13, 0.1, 0.015, R=yawed(0.4), **skin('books', 0.5))
    b.add(
        BOX, *rng.uniform(-0.05, 0.05, 2) + [-0.25, 0.05], 0.462, 0.11, 0.08, 0.012, R=yawed(-0.2), **skin('linen', 0.5)
    )
    b.add(TUBE, 0.12, *rng.uniform(-0.1, 0.1, 1), 0.465, 0.04, 0.04, 0.045, **skin('white'))
    b.add(TUBE, 0.36, 0.08, 0.49, 0.06, 0.06, 0.07, **skin('clay'))
    b.add(BALL, 0.36, 0.08, 0.66, 0.12, 0.12, 0.13, **skin('leaf', 0.3))
    b.add(BALL, *rng.uniform(-0.2, 0.2, 2) + [-0.95, -0.75], 0.11, 0.11, 0.11, 0.11, **skin('clay', 0.3))

    b.place(2.55, 0.75, 0, np.pi / 2)  # shelf with books
    b.add(BOX, 0, -0.18, 0.95, 0.6, 0.01, 0.95, **skin('oak'))
    for x in (-0.6, 0.6):
        b.add(BOX, x, 0, 0.95, 0.015, 0.18, 0.95, **skin('oak'))
    for i in range(5):
        z = 0.05 + 0.455 * i
        b.add(BOX, 0, 0, z, 0.6, 0.18, 0.015, **skin('oak'))
        x = -0.55
        while i < 4 and x < 0.4:
            width, tall = rng.uniform(0.08, 0.25), rng.uniform(0.11, 0.17)
            if rng.random() < 0.75:
                b.add(
                    BOX,
                    x + width,
                    0.02,
                    z + 0.015 + tall,
                    width,
                    0.11,
                    tall,
                    **skin('books', rng.uniform(0.5, 0.9), rng.uniform(0.6, 1.2)),
                )
            else:
                b.add(
                    BALL,
                    x + 0.1,
                    0,
                    z + 0.1,
                    0.08,
                    0.08,
                    0.085,
                    **skin(str(rng.choice(['clay', 'white', 'linen'])), 0.3),
                )
            x += 2 * width + 0.04

    b.place(2.5, -0.9, 0, np.pi / 2)  # cabinet with a screen
    b.add(BOX, 0, 0, 0.26, 0.75, 0.24, 0.26, **skin('dark'))
    for x in (-0.37, 0.37):
        b.add(BOX, x, 0.245, 0.26, 0.35, 0.006, 0.2, **skin('oak'))
        b.add(TUBE, x * 0.2, 0.27, 0.28, 0.01, 0.01, 0.06, **skin('white'))
    b.add(BOX, 0, -0.05, 0.56, 0.18, 0.08, 0.02, **skin('dark'))
    b.add(BOX, 0, -0.05, 0.92, 0.55, 0.02, 0.32, **skin('dark', tint=0.3))

    b.place(2.2, 1.75)  # lamp, plants
    b.add(TUBE, 0, 0, 0.015, 0.15, 0.15, 0.015, **skin('dark'))
    b.add(TUBE, 0, 0, 0.75, 0.012, 0.012, 0.75, **skin('dark'))
    b.add(TUBE, 0, 0, 1.6, 0.19, 0.19, 0.14, **skin('white', glow=1.1))
    for x, y, tall in ((-1.15, 1.85, 1.0), (2.45, -1.95, 0.8)):
        b.place(x, y)
        b.add(TUBE, 0, 0, 0.19, 0.17, 0.17, 0.19, **skin('clay'))
        for _ in range(16):
            a, r, z = rng.uniform(0, 6.3), rng.uniform(0.02, 0.24), rng.uniform(0.5, tall)
            tilt = yawed(a) @ np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
            b.add(
                BALL,
                r * np.cos(a),
                r * np.sin(a),
                z,
                0.17,
                0.06,
                0.025,
                R=tilt,
                **skin('leaf', 0.3, rng.uniform(0.8, 1.3)),
            )
        b.add(TUBE, 0, 0, tall / 2, 0.012, 0.012, tall / 2, **skin('dark'))

    b.place(-1.9, d / 2, 0, np.pi)  # window and curtains
    b.add(
        BOX, 0, 0, 1.5, 0.62, 0.005, 0.62, textures=bank.groups['outside'], tile_m=np.array([1.24, 1, 1.24]), glow=1.3
    )
    for s in (-1, 0, 1):
        b.add(BOX, s * 0.62, 0.02, 1.5, 0.028, 0.028, 0.65, **skin('white'))
        b.add(BOX, 0, 0.02, 1.5 + s * 0.62, 0.65, 0.028, 0.028, **skin('white'))
    for s in (-1, 1):
        for k in range(4):
            b.add(TUBE, s * (0.72 + 0.075 * k), 0.06, 1.2, 0.05, 0.04, 1.15, **skin('linen', 0.7))
    b.place(-1.55, 0.75, 0, -0.5)  # an armchair
    for x, y, z, hx, hy, hz in (
        (0, 0, 0.3, 0.36, 0.36, 0.12),
        (0, -0.32, 0.6, 0.36, 0.08, 0.3),
        (-0.36, 0, 0.4, 0.07, 0.36, 0.2),
        (0.36, 0, 0.4, 0.07, 0.36, 0.2),
    ):
        b.add(BOX, x, y, z, hx, hy, hz, **skin('linen', 0.8))
    scene.lights = [
        (np.array([0.2, -0.2, h - 0.12]), np.array([2.1, 2.0, 1.8])),
        (np.array([2.2, 1.75, 1.62]), np.array([0.8, 0.7, 0.5])),
        (np.array([-1.9, d / 2 - 0.3, 1.6]), np.array([0.8, 0.95, 1.15])),
    ]
    scene.shadow = shadow_map(scene)
    return scene


def room_sequence(
    frames: int = 90, height: int = 480, width: int = 640, seed: int = 0, rate_hz: float = 30.0
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]]:
    """Yield (rgb, depth_m, T_world_cam, K, stamp_ns) of a hand-held camera that pans and walks through a living room.

    rgb (H, W, 3) uint8, depth_m (H, W) float32, T_world_cam (4, 4) and K (3, 3) float64.
    """
    scene = make_living_room(seed)
    K = make_K(width, height, 72.0)
    t = np.arange(frames) / rate_hz  # s
    wobble = _wobble(np.random.default_rng((29, seed)), t, 6)
    for i in range(frames):
        position = np.array([-2.1 + 0.28 * t[i], -1.75 + 0.08 * t[i], 1.5]) + 0.015 * wobble[i, :3]
        T_world_cam = look(
            position,
            np.radians(44 + 9 * np.sin(0.9 * t[i])) + 0.02 * wobble[i, 3],
            -0.2 + 0.015 * wobble[i, 4],
            0.012 * wobble[i, 5],
        )
        rgb, depth_m = render(scene, T_world_cam, K, height, width)
        yield rgb, depth_m, T_world_cam, K, round(i * 1e9 / rate_hz)
