"""Light, shadow, texture and sky: from traced pixels to a picture."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.lens import look, make_K
from depth_ros.training.synthetic.rays import trace
from depth_ros.training.synthetic.scene import BALL, BOX, CONE, TUBE, Scene, Solid
from depth_ros.training.synthetic.textures import sample


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
    ray, z = ray[on], depth[on]
    solids, which = _seen_solids(scene, seen[on])
    world = T_world_cam[:3, 3].astype(np.float32) + z[:, None] * ray  # (n, 3)
    R = np.array([s.R for s in solids], np.float32)[which]  # (n, 3, 3)
    half = np.array([s.half for s in solids], np.float32)[which]
    centre = np.array([s.centre + s.velocity * time_s for s in solids], np.float32)[which]
    local = _turn(R.transpose(0, 2, 1), world - centre)
    normal = _normal(local / half, half, np.array([s.shape for s in solids])[which], [s.taper for s in solids], which)

    axis, rows = _largest(np.abs(normal)), np.arange(len(normal))  # texture on the two other axes
    tile = np.array([s.tile_m for s in solids], np.float32)[which]
    tex = local / tile + 0.5
    ucol, vrow = np.array([1, 0, 0])[axis], np.array([2, 2, 1])[axis]
    face = np.array([(s.textures * 6)[:6] for s in solids])[which, 2 * axis + (local[rows, axis] > 0)]
    normal = _turn(R, normal)
    cosine = np.abs(_dot(normal, ray)) / _length(ray)
    texel = tile[rows, ucol] / scene.bank.size
    lod = np.log2(np.maximum(z / (K[0, 0] * texel) / np.maximum(cosine, 0.05) ** 0.6, 1e-3))
    albedo = (sample(scene.bank, face, tex[rows, ucol], -tex[rows, vrow], lod) / 255) ** 2
    albedo *= np.array([s.tint for s in solids], np.float32)[which]
    glow = np.array([s.glow for s in solids], np.float32)[which]
    colour[on] = albedo * (_light(scene, world, normal) + glow[:, None])
    gloss = np.array([s.gloss for s in solids], np.float32)[which]
    shiny = np.flatnonzero(gloss)
    if shiny.size:
        colour[on[shiny]] += gloss[shiny, None] * _highlight(scene, world[shiny], normal[shiny], ray[shiny])
    if scene.sky is not None:  # haze
        haze = 1 - np.exp(-z / 900)
        colour[on] += haze[:, None] * (scene.sky[0].astype(np.float32) * 0.6 - colour[on])
    colour *= np.float32(scene.exposure)
    return colour if scene.contrast == 1 else 0.2 * np.maximum(5 * colour, 0) ** np.float32(scene.contrast)


# Sums over three columns, written out: numpy's reductions along so short an axis are slow.


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]


def _length(a: np.ndarray) -> np.ndarray:
    return np.sqrt(_dot(a, a))


def _turn(R: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return R (N, 3, 3) times a (N, 3)."""
    return R[:, :, 0] * a[:, :1] + R[:, :, 1] * a[:, 1:2] + R[:, :, 2] * a[:, 2:]


def _largest(a: np.ndarray) -> np.ndarray:
    """Return the column (N,) of the largest of three; of equals the first."""
    return np.where(a[:, 2] > np.maximum(a[:, 0], a[:, 1]), 2, np.where(a[:, 1] > a[:, 0], 1, 0))


def _seen_solids(scene: Scene, seen: np.ndarray) -> tuple[list[Solid], np.ndarray]:
    """Return the solids that are seen at all, and for each of the numbers `seen` (N,) its place in that list (N,)."""
    some = np.zeros(len(scene.solids), bool)
    some[seen] = True
    return [scene.solids[i] for i in np.flatnonzero(some)], (np.cumsum(some) - 1)[seen]


def _normal(unit: np.ndarray, half: np.ndarray, shape: np.ndarray, tapers: list[float], which: np.ndarray) -> np.ndarray:
    """Return the outward normals (N, 3), in the solids' own axes, at points `unit` (N, 3) = local / half of their
    surfaces."""
    axis, rows = _largest(np.abs(unit)), np.arange(len(unit))
    flat = np.zeros_like(unit)
    flat[rows, axis] = np.sign(unit[rows, axis])
    normal = np.where((shape == BOX)[:, None], flat, -flat)  # the shell is seen from inside
    ball, tube, cone = shape == BALL, (shape == TUBE) | (shape == CONE), shape == CONE
    normal[ball] = (unit / half)[ball]
    round_ = unit / half
    round_[:, 2] = 0
    if cone.any():  # the gradient of x^2 + y^2 - r(z)^2, r = 1 + b + b z
        b = (np.array(tapers, np.float32)[which][cone] - 1) / 2
        round_[cone, 2] = -(1 + b + b * unit[cone, 2]) * b / half[cone, 2]
    cap_normal = np.zeros_like(unit)
    cap_normal[:, 2] = np.sign(unit[:, 2])
    normal[tube] = np.where((np.abs(unit[:, 2]) > 0.9999)[:, None], cap_normal, round_)[tube]
    return normal / (_length(normal)[:, None] + 1e-9)


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
        x, y, z = (1 - np.exp(-np.abs(room) / 0.25) * 0.5).T
        ambient = ambient * (0.55 + 0.45 * (x * y * z) / 0.8)
    total = np.repeat(ambient[:, None], 3, 1).astype(np.float32)
    for number, (position, colour) in enumerate(scene.lights):
        to = position.astype(np.float32) - world
        r = _length(to) + 1e-6
        cosine = np.maximum(_dot(normal, to) / r, 0)
        fall = 1.0 if scene.sky is not None else 1 / (1 + (r / 2.5) ** 2)
        if number == 0 and scene.shadow is not None:
            cosine = cosine * _lit(scene.shadow, world)
        total += (cosine * fall)[:, None] * colour.astype(np.float32)
    return total


def _highlight(scene: Scene, world: np.ndarray, normal: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Return the first light's gleam (N, 3) on lacquer (Phong 1975), seen along ray (N, 3)."""
    position, colour = scene.lights[0]
    to = position.astype(np.float32) - world
    away = ray - 2 * _dot(normal, ray)[:, None] * normal
    cosine = np.maximum(_dot(away, to) / (_length(away) * _length(to) + 1e-6), 0) ** 24
    gleams = np.flatnonzero(cosine > 1e-3)
    if scene.shadow is not None:
        cosine[gleams] *= _lit(scene.shadow, world[gleams])
    return cosine[:, None] * colour.astype(np.float32)


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
