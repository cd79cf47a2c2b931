"""The furnished room of the demo."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from depth_ros.training.synthetic.builder import Builder
from depth_ros.training.synthetic.lens import look, make_K
from depth_ros.training.synthetic.paths import _wobble
from depth_ros.training.synthetic.patterns import cloud
from depth_ros.training.synthetic.render import render, shadow_map
from depth_ros.training.synthetic.scene import BALL, BOX, SHELL, TUBE, Scene, yawed
from depth_ros.training.synthetic.textures import Textures, _mipmaps


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
