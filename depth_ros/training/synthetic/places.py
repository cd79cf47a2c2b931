"""Scenes of every kind, each from a seed."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.lens import make_K
from depth_ros.training.synthetic.outdoors import make_street, make_terrain
from depth_ros.training.synthetic.paths import make_path
from depth_ros.training.synthetic.rays import trace
from depth_ros.training.synthetic.render import shade, shadow_map
from depth_ros.training.synthetic.rooms import make_corridor, make_room
from depth_ros.training.synthetic.scene import KINDS, Scene
from depth_ros.training.synthetic.textures import Textures, default_bank


def make_scene(seed: int, kind: str = 'room', bank: Textures | None = None) -> Scene:
    """Return the scene of this seed. `kind` is one of KINDS; `bank` replaces the procedural textures (e.g. adds
    photographs)."""
    if kind not in KINDS:
        raise ValueError(f'unknown kind of scene {kind!r}; there are {", ".join(KINDS)}')
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    build = {'room': make_room, 'corridor': make_corridor, 'street': make_street, 'terrain': make_terrain}[kind]
    scene = build(rng, bank or default_bank())
    scene.shadow = shadow_map(scene, 512)
    _expose(scene, seed, rng.uniform(0.3, 0.65), rng.uniform(1.0, 1.5))
    return scene


def _expose(scene: Scene, seed: int, grey: float, contrast: float) -> None:
    """Set the exposure so that two thumbnails of the scene come out at this mean grey (0..1), as a camera would; the sky
    counts half."""
    v, u = (a.ravel().astype(np.float32) for a in np.mgrid[:15, :20])
    K, seen = make_K(20, 15, 75), []
    for i in range(2):
        T = make_path(scene, 7000 * seed + i, 1)[0]
        depth, which = trace(scene, T, K, u, v)
        grey_of = np.sqrt(np.clip(shade(scene, T, K, u, v, depth, which), 0, 2).mean(1))
        seen.append(np.average(grey_of, weights=np.where(which < 0, 0.5, 1.0)))
    linear = float(np.mean(seen)) ** 2
    scene.contrast = contrast
    scene.exposure = float(np.clip(grey**2 / max(linear, 1e-3), 0.5, 4.0))
