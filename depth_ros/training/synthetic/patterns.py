"""Noise and patterns with the statistics of real surfaces, as tileable pictures."""

from __future__ import annotations

from collections.abc import Callable

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


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] / size
    return x, y


# Each pattern returns a mixing map (size, size): 0 is the first colour, 1 the second.


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.zeros((size, size))


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    return 0.5 + rng.uniform(0.03, 0.3) * cloud(rng, size, rng.uniform(0.8, 2.0))


def _wood(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _grid(size)
    n = int(rng.integers(2, 9))
    warp = cloud(rng, size, 2.0) * 0.01
    row = np.floor((y + warp * 0.1) * n)
    grain = np.sin(2 * np.pi * ((y + warp) * n * 6 + 2 * cv2.blur(cloud(rng, size, 1.2), (size // 4 + 1, 1))))
    mix = 0.4 + 0.25 * rng.uniform(-1, 1, n)[row.astype(int) % n] + rng.uniform(0.03, 0.14) * grain
    mix[np.abs((y * n) % 1) < rng.uniform(0, 0.04)] = 1.2
    return mix


def _tiles(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _grid(size)
    rows, columns = int(rng.integers(2, 9)), int(rng.integers(2, 9))
    shift = 0.5 * (np.floor(y * rows) % 2) if rng.random() < 0.5 and rows % 2 == 0 else 0.0
    fx, fy = (x * columns + shift) % 1, (y * rows) % 1
    which = (np.floor(x * columns + shift) % columns + columns * np.floor(y * rows)).astype(int)
    mix = 0.4 + rng.uniform(0, 0.3) * rng.uniform(-1, 1, rows * columns)[which]
    joint = rng.uniform(0.02, 0.08)
    mix[(fx < joint) | (fy < joint * rows / columns)] = rng.choice([-0.5, 1.2])
    return mix


def _brick(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _grid(size)
    rows, columns = 2 * int(rng.integers(4, 9)), int(rng.integers(3, 7))
    shift = 0.5 * (np.floor(y * rows) % 2)
    fx, fy = (x * columns + shift) % 1, (y * rows) % 1
    which = (np.floor(x * columns + shift) % columns + columns * np.floor(y * rows)).astype(int)
    mix = 0.25 + 0.35 * rng.uniform(-1, 1, rows * columns)[which] + 0.15 * cloud(rng, size, 1.0)
    mix[(fx < 0.05) | (fy < 0.1)] = 1.3
    return mix


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    wave, n = _grid(size)[int(rng.random() < 0.5)], int(rng.integers(2, 9))
    return (((wave * n) % 1) < rng.uniform(0.1, 0.6)).astype(float)


def _facade(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _grid(size)
    n = int(rng.integers(2, 9))
    fx, fy = (x * n) % 1, (y * n) % 1
    left, top = rng.uniform(0.1, 0.3), rng.uniform(0.1, 0.3)
    pane = (fx > left) & (fx < 1 - left) & (fy > top) & (fy < rng.uniform(0.6, 0.85))
    which = (np.floor(x * n) + n * np.floor(y * n)).astype(int)
    return np.where(pane, 1.0 + 0.4 * rng.uniform(-1, 1, n * n)[which], 0.0)


def _text(rng: np.random.Generator, size: int) -> np.ndarray:
    """Lines of dark words on light ground, a heading, maybe a picture."""
    x, y = _grid(size)
    lines = int(rng.integers(12, 40))
    line, fy = np.floor(y * lines).astype(int), (y * lines) % 1
    letters = rng.random((lines, size // 2))[line, (x * size / 2).astype(int)] < 0.7
    words = rng.random((lines, size // 8 + 1))[line, (x * size / 8).astype(int)] < 0.82
    ends = x < rng.uniform(0.5, 0.95, lines)[line]
    mix = (letters & words & ends & (fy > 0.3) & (fy < 0.8) & (x > 0.07)).astype(float)
    mix[y < 0.06] = 0
    if rng.random() < 0.6:
        mix[(y > 0.06) & (y < 0.14)] = ((x * 9 % 1 > 0.3) & (x > 0.1) & (x < 0.8))[(y > 0.06) & (y < 0.14)]
    if rng.random() < 0.5:
        a, b, c, d = rng.uniform([0.05, 0.2, 0.3, 0.15], [0.4, 0.6, 0.6, 0.4])
        box = (x > a) & (x < a + c) & (y > b) & (y < b + d)
        mix[box] = (0.5 + 0.4 * cloud(rng, size, 1.2))[box]
    return mix


def _books(rng: np.random.Generator, size: int) -> np.ndarray:
    """Spines side by side; the mixing map carries their shade, labels and gaps."""
    x, y = _grid(size)
    edges = np.sort(np.concatenate([[0.0], rng.random(int(rng.integers(9, 18)))]))
    which = np.searchsorted(edges, x, side='right') - 1
    mix = rng.uniform(-0.5, 1.5, len(edges))[which]
    label = np.abs(y - rng.uniform(0.2, 0.8, len(edges))[which]) < rng.uniform(0, 0.15, len(edges))[which]
    mix[label] = 1.3 - mix[label]
    mix[(x - edges[which] < 0.006) | (y < rng.uniform(0, 0.15, len(edges))[which])] = -0.5
    return mix


def _cloth(rng: np.random.Generator, size: int) -> np.ndarray:
    x, y = _grid(size)
    n = int(rng.integers(24, 64))
    weave = np.sin(2 * np.pi * n * x) * np.sin(2 * np.pi * n * y)
    return 0.5 + rng.uniform(0.02, 0.2) * weave + rng.uniform(0.05, 0.25) * cloud(rng, size, rng.uniform(1.0, 2.0))


def _leaf(rng: np.random.Generator, size: int) -> np.ndarray:
    """Leaves seen from afar: dark gaps between bright flecks."""
    return 0.5 + 0.7 * np.tanh(1.5 * cloud(rng, size, rng.uniform(0.3, 0.8)) + 0.7 * cloud(rng, size, 1.5))


def _ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Grass, gravel, asphalt: fine and coarse flecks, no direction."""
    fine, coarse = cloud(rng, size, rng.uniform(0.2, 0.6)), cloud(rng, size, 1.3)
    return 0.5 + rng.uniform(0.05, 0.35) * fine + rng.uniform(0.02, 0.15) * coarse


PATTERNS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    'noise': _noise,
    'wood': _wood,
    'tiles': _tiles,
    'stripes': _stripes,
    'facade': _facade,
    'brick': _brick,
    'plain': _plain,
    'text': _text,
    'books': _books,
    'cloth': _cloth,
    'leaf': _leaf,
    'ground': _ground,
}


def _colours(rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The two colours (3,) 0..1 that a pattern mixes."""
    if kind in ('plain', 'cloth', 'leaf', 'ground'):  # near white: the tint of the solid gives the colour
        low = rng.uniform(0.35, 0.6) if kind == 'leaf' else rng.uniform(0.6, 0.85)
        return np.full(3, 0.95), low * (1 + 0.08 * rng.uniform(-1, 1, 3))
    if kind == 'wood':
        brown = rng.uniform(0.3, 0.9) * np.array([1.0, rng.uniform(0.68, 0.88), rng.uniform(0.4, 0.75)])
        return brown, brown * rng.uniform(0.5, 0.85)
    if kind == 'brick':
        red = rng.uniform(0.4, 0.8) * np.array([1.0, rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.8)])
        return red, np.full(3, rng.uniform(0.5, 0.85))
    if kind == 'text':
        paper, ink = np.array([0.93, 0.92, 0.9]), rng.uniform(0.02, 0.3, 3)
        return (paper, ink) if rng.random() < 0.8 else (rng.uniform(0, 1, 3), paper)
    tinge = rng.uniform(0.02, 0.25) * np.sort(rng.uniform(-1, 1, 3))
    base = rng.uniform(0.3, 0.9) * (1 + (tinge[::-1] if rng.random() < 0.7 else rng.permutation(tinge)))  # mostly warm
    return base, np.clip(base * rng.uniform(0.4, 1.5) * (1 + 0.15 * rng.uniform(-1, 1, 3)), 0, 1)


def make_texture(rng: np.random.Generator, size: int, kind: str) -> np.ndarray:
    """Return one tileable picture (size, size, 3) uint8 of the given kind, a name in PATTERNS."""
    base, second = _colours(rng, kind)
    mix = PATTERNS[kind](rng, size)
    if kind == 'books':
        hues = rng.uniform(0.5, 1.3, (size // 12 + 1, 3))[(np.arange(size) // 12)]
        base, second = base * hues[None], second * hues[None]
    strength = {'plain': 0.1, 'text': 0.1}.get(kind, 1.0) * rng.uniform(0, 1)
    grit = strength * (0.15 * cloud(rng, size, rng.uniform(0.7, 1.4)) + rng.uniform(0, 0.12) * cloud(rng, size, 1.8))
    picture = (base + np.clip(mix, -0.5, 1.5)[..., None] * (second - base)) * (1 + grit)[..., None]
    return (np.clip(picture, 0.02, 1) * 255).astype(np.uint8)
