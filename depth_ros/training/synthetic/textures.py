"""Noise and patterns with the statistics of real surfaces, and how they are sampled without aliasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np


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
