"""What a scene is: solids with textures, lights, and the numbers that describe them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from depth_ros.training.synthetic.textures import Textures

KINDS = ('room', 'corridor', 'street', 'terrain')
NEAR_M = 0.05
BOX, BALL, TUBE, SHELL, CONE = range(5)


@dataclass
class Solid:
    """One convex solid (or the inside of a box): |local| <= half along each local axis, local = R.T @ (world -
    centre). A tube's and a cone's axis is z; a cone is broadest at its bottom."""

    shape: int
    centre: np.ndarray  # (3,) m
    half: np.ndarray  # (3,) m
    R: np.ndarray = field(default_factory=lambda: np.eye(3))
    textures: tuple[int, ...] = (0,)  # one, or six: -x +x -y +y -z +z
    tile_m: np.ndarray = field(default_factory=lambda: np.ones(3))
    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    glow: float = 0.0
    gloss: float = 0.0  # strength of the highlight
    taper: float = 1.0  # of a cone: its radius at the top (+z) as a share of that at the bottom, 0..1
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(3))  # m/s


@dataclass
class Scene:
    kind: str
    bank: Textures
    extent: np.ndarray  # (2, 3) m, where a camera may be
    solids: list[Solid] = field(default_factory=list)
    lights: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # position (3,) m, colour (3,)
    ambient: float = 0.35
    exposure: float = 1.0
    contrast: float = 1.0  # exponent of light about a mid grey of 0.2
    targets: list[tuple[np.ndarray, float, float]] = field(default_factory=list)  # point [m], seen from yaw +- spread
    sky: np.ndarray | None = None  # (2, 3) colours at horizon and zenith, or None indoors
    shadow: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # T_light_world, K, depth map


def yawed(yaw: float) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
