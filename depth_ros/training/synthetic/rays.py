"""Exact ray casting: where rays meet solids, in closed form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from depth_ros.training.synthetic.scene import BALL, BOX, CONE, NEAR_M, SHELL, TUBE, Scene, Solid

FEW = 256  # pixels; solids that cover fewer are traced together


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
    M, o, square = _pixel_to_local(scene.solids, T_world_cam, K, time_s)
    few: list[tuple[int, np.ndarray]] = []
    for number, pick in _candidates(scene.solids, T_world_cam, K, u, v, time_s, moving):
        s = scene.solids[number]
        if pick.size < FEW and s.shape != SHELL:
            few.append((number, pick))
            continue
        up, vp, m = u[pick], v[pick], M[number]
        d = [(m[i, 0] * up + m[i, 1] * vp + m[i, 2]).astype(np.float32) for i in range(3)]
        near, far = _interval(s.shape, d, o[number], square[number], s.taper)
        hit = far >= near
        _nearer(depth, seen, pick[hit], number, (far if s.shape == SHELL else near)[hit])
    for shape in (BOX, BALL, TUBE, CONE):
        together = [(number, pick) for number, pick in few if scene.solids[number].shape == shape]
        if together:
            _trace_few(scene.solids, shape, together, M, o, square, u, v, depth, seen)
    return depth, seen


def _nearer(depth: np.ndarray, seen: np.ndarray, pick: np.ndarray, number: int | np.ndarray, t: np.ndarray) -> None:
    """Enter solids at depth t where they are nearer than what is known at the picked pixels; of equals the first of the
    scene wins."""
    known = depth[pick]
    hit = (t > NEAR_M) & ((t < known) | ((t == known) & (number < seen[pick])))
    pick = pick[hit]
    depth[pick], seen[pick] = t[hit], number[hit] if isinstance(number, np.ndarray) else number


def _trace_few(solids, shape, together, M, o, square, u, v, depth, seen) -> None:
    """Trace solids of one shape that cover few pixels each, all at once, as pairs of a solid and a pixel."""
    pick = np.concatenate([p for _, p in together])
    which = np.repeat([n for n, _ in together], [p.size for _, p in together])
    up, vp, m = u[pick], v[pick], M[which]
    d = [(m[:, i, 0] * up + m[:, i, 1] * vp + m[:, i, 2]).astype(np.float32) for i in range(3)]
    near, far = _interval(shape, d, o[which].T, square[which], np.array([s.taper for s in solids])[which])
    hit = np.flatnonzero((near > NEAR_M) & (far >= near))
    order = hit[np.lexsort((which[hit], near[hit], pick[hit]))]  # by pixel, then from near to far
    first = order[np.diff(pick[order], prepend=-1) != 0]
    _nearer(depth, seen, pick[first], which[first], near[first])


def _pixel_to_local(
    solids: list[Solid], T_world_cam: np.ndarray, K: np.ndarray, time_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return M (n, 3, 3) with M (u, v, 1) the direction of a pixel's ray, and o (n, 3) the camera, in units of each
    solid's half sizes along its axes; and |o|^2 (n,), without z for a tube."""
    R, origin, K_inverse = T_world_cam[:3, :3], T_world_cam[:3, 3], np.linalg.inv(K)
    turn = np.array([s.R.T for s in solids]).reshape(-1, 3, 3)
    half = np.array([s.half for s in solids]).reshape(-1, 3)
    o = np.array([s.R.T @ (origin - (s.centre + s.velocity * time_s)) for s in solids]).reshape(-1, 3) / half
    square = [x[:2] @ x[:2] if s.shape == TUBE else y @ y for s, x, y in zip(solids, o, o.astype(np.float32), strict=True)]
    return turn @ R @ K_inverse / half[..., None], o, np.array(square, np.float64)


def _candidates(
    solids: list[Solid], T_world_cam: np.ndarray, K: np.ndarray, u: np.ndarray, v: np.ndarray, time_s: float, moving: bool
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number of each solid that may be seen, and the indices of the pixels in its box on the screen."""
    if not u.size:
        return
    boxes = _screen_boxes(solids, T_world_cam, K, time_s)
    first, last = np.maximum.accumulate(v), np.minimum.accumulate(v[::-1])[::-1]  # pixels mostly come row by row
    begin, end = np.searchsorted(first, boxes[:, 2]), np.searchsorted(last, boxes[:, 3], 'right')
    for number in np.flatnonzero((begin < end) & (boxes[:, 0] <= u.max()) & (boxes[:, 1] >= u.min())).tolist():
        if not moving and solids[number].velocity.any():
            continue
        (u0, u1, v0, v1), a, b = boxes[number].tolist(), begin[number], end[number]
        uu, vv = u[a:b], v[a:b]
        pick = np.flatnonzero((uu >= u0) & (uu <= u1) & (vv >= v0) & (vv <= v1))
        if pick.size:
            yield number, pick + a


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


# Where a ray enters and leaves solids: d a list of three (N,) float32, o three numbers, or three (N,) for N solids.


def _interval(
    shape: int, d: list[np.ndarray], o: np.ndarray, square: float | np.ndarray, taper: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return entry and exit (N,) float32 along o + t d; exit < entry where the ray misses. `square` is |o|^2."""
    if shape == CONE:
        return _cone(d, o.astype(np.float32), taper)
    if shape in (BALL, TUBE):
        return (_ball if shape == BALL else _tube)(d, o, square)
    return _box(d, o)


def _slab(d: np.ndarray, o: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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


def _ball(d, o, square):
    o = o.astype(np.float32)
    return _quadric(d[0] ** 2 + d[1] ** 2 + d[2] ** 2, d[0] * o[0] + d[1] * o[1] + d[2] * o[2], square - 1)


def _tube(d, o, square):
    o32 = o.astype(np.float32)
    n0, f0 = _quadric(d[0] ** 2 + d[1] ** 2, d[0] * o32[0] + d[1] * o32[1], square - 1)
    n1, f1 = _slab(d[2], o[2])
    return np.maximum(n0, n1), np.minimum(f0, f1)


def _cone(d, o, taper):
    """x^2 + y^2 <= r(z)^2 with r = a + b z from 1 at z = -1 to taper at z = 1, between its caps."""
    a, b = np.float32((1 + taper) / 2), np.float32((taper - 1) / 2)
    r = a + b * o[2]
    A = d[0] ** 2 + d[1] ** 2 - (b * d[2]) ** 2
    B = d[0] * o[0] + d[1] * o[1] - r * b * d[2]
    C = o[0] ** 2 + o[1] ** 2 - r * r
    A = np.where(np.abs(A) < 1e-12, np.float32(1e-12), A)
    discriminant = B * B - A * C
    root = np.sqrt(np.maximum(discriminant, 0))
    t0, t1 = (-B - root) / A, (-B + root) / A
    low, high = np.minimum(t0, t1), np.maximum(t0, t1)
    n, f = _slab(d[2], o[2])
    steep = A < 0  # along the axis: inside before the lower or after the upper root, on the side that the caps leave
    before = n <= low
    near = np.where(steep, np.where(before, n, np.maximum(n, high)), np.maximum(n, low))
    far = np.where(steep, np.where(before, np.minimum(f, low), f), np.minimum(f, high))
    none = discriminant <= 0
    near = np.where(none, np.where(steep, n, np.inf), near)
    return near.astype(np.float32), np.where(none, np.where(steep, f, -np.inf), far).astype(np.float32)
