"""From a depth map to points: drop what hangs in the air, cut, unproject, thin."""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import cv2
import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.errors import SettingsError
from depth_ros.settings import CloudSettings, corners

STEP_PX = 2       # of the finest comparison; each coarser one looks twice as far
LEVEL = 0.7       # of the slope at a point is too much for the slope beyond the point's surfaces
NAN = np.float32(np.nan)


def make_cloud(depth_m: np.ndarray, rgb: np.ndarray, camera: Camera, settings: CloudSettings,
               confidence: np.ndarray | None = None, out: np.ndarray | None = None,
               fuse: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Return the points as float32 x, y, z [m] in the optical frame and a fourth value: the colour as 0x00RRGGBB in the bits
    of the float, or the confidence, NaN where there is none.

    depth_m (H, W), +inf: far, -inf: too near, NaN: unknown; rgb (H, W, 3) uint8; confidence (H, W). Organised (H', W', 4),
    NaN where there is no point; (N, 4) with `settings.organised` off or a voxel size. `out` (H', W', 4) takes the points of
    an organised cloud, if it has its shape; `fuse` is shown the cleaned depth (H, W) and returns what to make points of.
    Raises SettingsError for a region that misses the picture.
    """
    region, step = parse_region(settings.roi, *depth_m.shape), settings.stride_px
    z = clean(depth_m, settings, confidence)
    if fuse:    # which may fill what is unknown, not what is too near
        z = np.where(depth_m < settings.min_depth_m, NAN, fuse(z))
    z = z[region][::step, ::step]
    if settings.field == 'rgb':
        value = pack_colour(rgb[region][::step, ::step])
    else:
        value = np.full(z.shape, NAN) if confidence is None else confidence[region][::step, ::step]
    x, y = _rays(camera, region, step)
    if camera.is_distorted:    # beyond the reach of the lens model there is no ray
        z = np.where(np.isnan(x), NAN, z)
    out = out if out is not None and out.shape == (*z.shape, 4) else np.empty((*z.shape, 4), np.float32)
    with np.errstate(invalid='ignore'):    # 0 * inf
        points = x * z, y * z, z
    cv2.merge((*points, value), out)
    if settings.far == 'inf':
        out[np.isinf(z), :3] = np.inf
    if settings.organised and not settings.voxel_m:
        return out
    dense = out.reshape(-1, 4).take(np.flatnonzero(np.isfinite(z)), axis=0)
    return thin(dense, settings.voxel_m) if settings.voxel_m else dense


def unpack_colour(points: np.ndarray) -> np.ndarray:
    """Return the colours (..., 3) uint8 of points (..., 4) float32."""
    return points[..., 3:].view(np.uint8)[..., 2::-1]


def unproject(depth_m: np.ndarray, ray_xy: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) float32 points of depth (H, W) along rays (H, W, 2); the third coordinate is the depth itself."""
    return cv2.merge((ray_xy[..., 0] * depth_m, ray_xy[..., 1] * depth_m, depth_m))


def clean(depth_m: np.ndarray, settings: CloudSettings, confidence: np.ndarray | None = None) -> np.ndarray:
    """Return (H, W) float32 depth with NaN for what is no surface, unknown, too near or not trusted.

    What is too far becomes what `settings.far` says.
    """
    limit_m = settings.max_depth_m
    z = apply_far(depth_m, limit_m, settings.far)
    wanted = cv2.inRange(z, settings.min_depth_m, np.inf if settings.far == 'inf' else limit_m) > 0
    if settings.min_confidence and confidence is not None:
        wanted &= confidence >= settings.min_confidence
    if settings.edge_ratio:
        flying = find_flying(depth_m, settings.edge_ratio, settings.edge_px)
        if settings.edges == 'drop':
            wanted &= ~flying
        else:
            surface_m = _surface(depth_m, settings.edges == 'near', STEP_PX * 2 ** _levels(depth_m, settings.edge_px))
            fits = cv2.inRange(surface_m, settings.min_depth_m, limit_m) > 0
            z = np.where(flying, np.where(fits, surface_m, NAN), z)
    return np.where(wanted, z, NAN)


def apply_far(depth_m: np.ndarray, limit_m: float, far: str) -> np.ndarray:
    """Return (H, W) depth whose pixels beyond the limit are +inf (`inf`) or the limit (`cap`), and NaN for -inf.

    `nan` leaves all to who looks for finite depth within the limit.
    """
    if far == 'nan':
        return depth_m
    value = np.float32(np.inf if far == 'inf' else limit_m)
    return np.where(depth_m > limit_m, value, np.where(np.isneginf(depth_m), NAN, depth_m))


# --- points that fly


def find_flying(depth_m: np.ndarray, ratio: float, reach_px: int = 0) -> np.ndarray:
    """Return (H, W) bool: the pixel hangs between a nearer surface on one side and a farther one on the other.

    In inverse depth, where planes are straight: across the pixel, in u or in v, the map changes in one direction by more
    than `ratio` of itself on both sides, and beyond them it levels out. So a smeared edge does; a slanted floor goes on,
    however flat one looks at it, and a true edge has its jump on one side only. Neighbours 2 px away are compared and, on
    coarser grids, those 4, 8, ... up to `reach_px` away; 0: as far as a 60th of the short side.
    """
    height, width = depth_m.shape
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse = 1 / depth_m
        flying = _hangs(inverse, ratio, STEP_PX)
        by_size: dict[int, list[int]] = {}    # of a pixel of the coarser grids -> distances to look at
        for level in range(1, _levels(depth_m, reach_px)):
            by_size.setdefault(max(2, 2 ** (level - 1)), []).append(STEP_PX * 2 ** level)
        for size, distances in by_size.items():
            grid = inverse[size // 2:height // size * size:size, size // 2:width // size * size:size]
            if grid.size:
                found = _hangs(np.ascontiguousarray(grid), ratio, *(distance // size for distance in distances))
                found = cv2.resize(found, None, fx=size, fy=size, interpolation=cv2.INTER_NEAREST)
                flying[:found.shape[0], :found.shape[1]] |= found
    return flying.view(bool)


def _levels(depth_m: np.ndarray, reach_px: int) -> int:
    """Return on how many grids smears are looked for."""
    reach_px = reach_px or max(STEP_PX, min(depth_m.shape) / 60)
    return 1 + max(0, round(np.log2(reach_px / STEP_PX)))


def _hangs(inverse: np.ndarray, ratio: float, *steps: int) -> np.ndarray:
    """Return (h, w) uint8, 1 where it hangs, for one grid of inverse depth (h, w) and neighbours so many `steps` away."""
    found, least = np.zeros(inverse.shape, np.uint8), inverse * np.float32(ratio)
    for step, axis in product(steps, (0, 1)):
        size, part = inverse.shape[axis], _columns if axis else _rows
        if size <= 4 * step:
            continue
        jump = cv2.absdiff(part(inverse, step, size), part(inverse, 0, size - step))
        outer_before, before, after, outer_after = (part(jump, step * i, size + step * (i - 4)) for i in range(4))
        across = cv2.absdiff(part(inverse, 3 * step, size - step), part(inverse, step, size - 3 * step))
        hangs = np.minimum(before, after) > part(least, 2 * step, size - 2 * step)
        hangs &= across > np.maximum(before, after)               # both sides change in one direction
        across *= np.float32(LEVEL / 2)
        hangs &= across > np.maximum(outer_before, outer_after)    # NaN: unknown, so it stays
        part(found, 2 * step, size - 2 * step)[...] |= hangs.view(np.uint8)
    return found


def _rows(grid: np.ndarray, first: int, last: int) -> np.ndarray:
    return grid[first:last]


def _columns(grid: np.ndarray, first: int, last: int) -> np.ndarray:
    return grid[:, first:last]


def _surface(depth_m: np.ndarray, nearer: bool, size_px: int) -> np.ndarray:
    """Return (H, W) the nearest or the farthest depth of the square of `size_px` around each pixel; NaN where there is none.
    """
    nothing = np.float32(np.inf if nearer else -np.inf)
    find = cv2.erode if nearer else cv2.dilate
    found = find(np.where(np.isfinite(depth_m), depth_m, nothing), np.ones((size_px + 1,) * 2, np.uint8))
    return np.where(np.isfinite(found), found, NAN)


# --- what is taken


@lru_cache(maxsize=8)
def parse_region(text: str, height: int, width: int) -> tuple[slice, slice]:
    """Return the rows and columns of 'u0,v0,u1,v1': shares of the picture if none is above 1, else pixels; '': all.

    Raises SettingsError for text that is no region, and for a region without a pixel of the picture.
    """
    u0, v0, u1, v1 = corners(text)
    if max(abs(u0), abs(v0), abs(u1), abs(v1)) <= 1:
        u0, v0, u1, v1 = u0 * width, v0 * height, u1 * width, v1 * height
    rows, columns = (slice(round(np.clip(low, 0, size)), round(np.clip(high, 0, size)))
                     for low, high, size in ((v0, v1, height), (u0, u1, width)))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise SettingsError(f'cloud.roi={text!r} holds no pixel of a {width}x{height} picture; give another part of it')
    return rows, columns


@lru_cache(maxsize=8)
def _rays_at(camera: Camera, v0: int, v1: int, u0: int, u1: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    taken = rays(camera)[v0:v1:step, u0:u1:step]
    return np.ascontiguousarray(taken[..., 0]), np.ascontiguousarray(taken[..., 1])


def _rays(camera: Camera, region: tuple[slice, slice], step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x/z and y/z (H', W') float32 of the pixels that are taken."""
    rows, columns = region
    return _rays_at(camera, rows.start, rows.stop, columns.start, columns.stop, step)


def thin(points: np.ndarray, voxel_m: float) -> np.ndarray:
    """Return the first of the points (N, C) in each cube of that size, in their order."""
    cell = np.floor(points[:, :3] * (1 / voxel_m)).astype(np.int64)
    key = (cell[:, 0] << 42) + (cell[:, 1] << 21) + cell[:, 2]
    fresh = np.flatnonzero(np.diff(key, prepend=key[:1] + 1))    # neighbours mostly share a cube
    return points[fresh[np.sort(np.unique(key[fresh], return_index=True)[1])]]


def pack_colour(rgb: np.ndarray) -> np.ndarray:
    """Return (H, W) float32 with the bits 0x00RRGGBB."""
    colour = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]    # 0xFFRRGGBB on a little-endian machine
    return (colour & 0x00FFFFFF).view(np.float32)
