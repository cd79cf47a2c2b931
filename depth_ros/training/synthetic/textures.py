"""Banks of pictures for surfaces, and how they are sampled without aliasing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from depth_ros.training.synthetic.patterns import PATTERNS, make_texture


@dataclass(frozen=True)
class Textures:
    """A bank of square pictures as mipmaps: `levels[l]` stacks all pictures, size/2**l each, with a wrapped border of
    1."""

    size: int
    groups: dict[str, tuple[int, ...]]
    levels: tuple[np.ndarray, ...]


def texture_bank(seed: int = 0, photos: Sequence[np.ndarray] = (), size: int = 256, each: int = 5) -> Textures:
    """Return `each` procedural pictures of every kind, and a square crop of each photograph (uint8 (H, W, 3)) given."""
    rng = np.random.default_rng((7, seed))
    pictures: list[np.ndarray] = []
    groups: dict[str, tuple[int, ...]] = {}
    for kind in PATTERNS:
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
    index, u, v = (a.astype(np.float32) for a in (index, u % 1, v % 1))
    lod = np.clip(lod.astype(np.float32), 0, len(bank.levels) - 1)
    colour = np.zeros((u.size, 3), np.float32)
    for level, atlas in enumerate(bank.levels):
        weight = 1 - np.abs(lod - level)
        some = np.flatnonzero(weight > 0)
        if not some.size:
            continue
        size = bank.size >> level
        column, row = u[some] * size + 0.5, index[some] * (size + 2) + v[some] * size + 0.5
        x, y = (np.pad(a, (0, -some.size % 1024)).reshape(-1, 1024) for a in (column, row))  # cv2 wants them so
        colour[some] += weight[some, None] * cv2.remap(atlas, x, y, cv2.INTER_LINEAR).reshape(-1, 3)[: some.size]
    return colour
