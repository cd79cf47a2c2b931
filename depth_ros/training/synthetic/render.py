"""Exact ray casting, light and shadow."""

from __future__ import annotations

import numpy as np

from depth_ros.training.synthetic.lens import look, make_K
from depth_ros.training.synthetic.scene import BALL, BOX, NEAR_M, SHELL, TUBE, Scene, Solid
from depth_ros.training.synthetic.textures import sample


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
    R, origin, K_inverse = T_world_cam[:3, :3], T_world_cam[:3, 3], np.linalg.inv(K)
    boxes = _screen_boxes(scene.solids, T_world_cam, K, time_s)
    first, last = np.maximum.accumulate(v), np.minimum.accumulate(v[::-1])[::-1]  # pixels mostly come row by row
    begin, end = np.searchsorted(first, boxes[:, 2]), np.searchsorted(last, boxes[:, 3], 'right')
    for number, s in enumerate(scene.solids):
        if begin[number] >= end[number] or (not moving and s.velocity.any()):
            continue
        rows = slice(begin[number], end[number])
        u0, u1, v0, v1 = boxes[number]
        pick = np.flatnonzero((u[rows] >= u0) & (u[rows] <= u1) & (v[rows] >= v0) & (v[rows] <= v1)) + begin[number]
        if not pick.size:
            continue
        M = (s.R.T @ R @ K_inverse) / s.half[:, None]  # pixel (u, v, 1) -> local direction
        o = (s.R.T @ (origin - s.centre - s.velocity * time_s)) / s.half
        up, vp = u[pick], v[pick]
        d = [(M[i, 0] * up + M[i, 1] * vp + M[i, 2]).astype(np.float32) for i in range(3)]
        near, far = INTERVAL[s.shape](d, o)
        t = far if s.shape == SHELL else near
        hit = (t > NEAR_M) & (far >= near) & (t < depth[pick])
        pick = pick[hit]
        depth[pick], seen[pick] = t[hit], number
    return depth, seen


CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
EDGES = np.array([(i, i | k) for k in (1, 2, 4) for i in range(8) if not i & k]).T


def _screen_boxes(solids: list[Solid], T_world_cam: np.ndarray, K: np.ndarray, time_s: float) -> np.ndarray:
    """Return u0, u1, v0, v1 (n, 4) around each solid's box, cut at the near plane; empty behind the camera, and all
    for a shell."""
    R, origin = T_world_cam[:3, :3], T_world_cam[:3, 3]
    centre = np.array([s.centre + s.velocity * time_s for s in solids]).reshape(-1, 3) - origin
    axes = np.array([s.R * s.half for s in solids]).reshape(-1, 3, 3)  # (n, 3, 3), columns
    p = (centre[:, None] + np.einsum('nij,kj->nki', axes, CORNERS)) @ R  # (n, 8, 3) in the camera
    front = p[:, :, 2] > NEAR_M
    q = p @ K.T
    with np.errstate(divide='ignore', invalid='ignore'):
        uv = q[:, :, :2] / q[:, :, 2:]
    boxes = np.stack([f(uv[:, :, i], axis=1) for i in (0, 1) for f in (np.min, np.max)], 1)
    for n in np.flatnonzero(~front.all(1)):
        boxes[n] = _cut_box(p[n], front[n], K) if front[n].any() else (1, -1, 1, -1)
    boxes[[n for n, s in enumerate(solids) if s.shape == SHELL]] = (-np.inf, np.inf, -np.inf, np.inf)
    return boxes + np.array([-0.01, 0.01, -0.01, 0.01])


def _cut_box(p: np.ndarray, front: np.ndarray, K: np.ndarray) -> tuple[float, float, float, float]:
    """Return u0, u1, v0, v1 of the part of a box with corners p (8, 3) that lies before the near plane."""
    a, b = EDGES[:, front[EDGES[0]] != front[EDGES[1]]]  # edges that cross it
    w = (NEAR_M - p[a, 2:]) / (p[b, 2:] - p[a, 2:])
    q = np.concatenate([p[front], p[a] + w * (p[b] - p[a])]) @ K.T
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
    return colour * np.float32(scene.exposure)


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
