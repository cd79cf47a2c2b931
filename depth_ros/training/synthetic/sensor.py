"""What a real sensor does to a rendered picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


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
