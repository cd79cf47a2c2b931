"""Geometry between a keyframe and now, from tracked corners: `Tracker` and `TwoView`.

Corners (Shi and Tomasi 1994) are followed with pyramidal Lucas-Kanade. From where they are seen follow the turn of the
camera, the direction of its way and, in units of that way, how near everything is. Nothing is drawn at random.
"""

import math
import sys
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.core.frame import Frame
from depth_ros.core.pose import nearest_rotation

PIXELS = 150_000                  # of the picture that corners are followed in, at most
CELLS = (4, 3)                    # columns and rows, each with its own corners, so that they are everywhere
CELL_CORNERS = 24
CORNER_QUALITY, CORNER_APART_PX = 0.01, 8
FLOW = {'winSize': (15, 15), 'maxLevel': 3, 'criteria': (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 12, 0.03)}
BACK = {'maxLevel': 1, 'flags': cv2.OPTFLOW_USE_INITIAL_FLOW}    # from where they were, which is half the time
BACK_PX = 0.5                     # forth and back may miss by this much
LEAST_CORNERS = 30
KEEP_CORNERS = 0.65               # a keyframe ends when less than this share of its corners is left,
KEEP_PARALLAX_PX = 20.0           # or when they have moved so far beyond the turn (median)
STILL_PX = 1.0                    # corners that miss the best turn by less did not move beyond it
MOVED_SHARE = 0.1                 # so many of the corners have to move beyond the turn as one, or the camera has not moved
INLIER_PX = 1.0                   # distance from the epipolar line
RIGID_SHARE = 0.5
TURN_PASSES, START_PASSES, PASSES = 4, 2, 4    # of reweighting; fixed: the same pictures, the same result
AXES = np.cross(np.eye(3)[:, None], np.eye(3)).swapaxes(1, 2)    # (3, 3, 3): AXES[i] @ v = axis i x v


def _no_corners() -> np.ndarray:
    return np.empty(0)


def _no_pixels() -> np.ndarray:
    return np.empty((0, 2), np.float32)


@dataclass(frozen=True)
class TwoView:
    """What two pictures say: seen from the keyframe, the camera of now is turned by `R_key_now` and `direction` away."""

    key_ns: int                             # stamp of the keyframe
    stamp_ns: int                           # of now
    R_key_now: np.ndarray | None = None     # (3, 3) float64; None where not even that is known
    direction: np.ndarray | None = None     # (3,) float64, unit, in the keyframe; None without parallax
    pixels: np.ndarray = field(default_factory=_no_pixels)         # (N, 2) float32, x and y of now's corners
    inverse_depth: np.ndarray = field(default_factory=_no_corners)    # (N,) float64 along Z, in 1 / way; < 0 is noise
    weight: np.ndarray = field(default_factory=_no_corners)           # (N,) squared sine between ray and way
    parallax_px: np.ndarray = field(default_factory=_no_corners)      # (N,) motion beyond the turn; of followed pixels
    problem: str = ''                       # why something is missing


class Tracker:
    """Follows corners from picture to picture, and says how the camera stands to the keyframe they were found in."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget every picture."""
        self.seen: tuple[Frame, TwoView] | None = None    # newest
        self.grey = np.empty((0, 0), np.uint8)
        self.key_ns = 0
        self.found = 0                                    # corners in the keyframe
        self.key_rays = np.empty((0, 2))                  # (N, 2) of those still followed
        self.corners = np.empty((0, 2), np.float32)       # (N, 2) px in `grey`

    def renew(self) -> None:
        """Let the next picture end the keyframe; what is between the two is still told."""
        self.found = sys.maxsize

    def see(self, frame: Frame, camera: Camera) -> TwoView:
        """Return the geometry of the next picture; the same frame again gives the same answer."""
        if self.seen and self.seen[0] is frame:
            return self.seen[1]
        grey = _shrunk(frame.rgb)
        if grey.shape == self.grey.shape:
            view = self._follow(frame, grey, camera)
        else:
            view = TwoView(frame.stamp_ns, frame.stamp_ns, np.eye(3), problem='the camera has not moved yet: first picture')
        moved = len(view.parallax_px) and np.median(view.parallax_px) > KEEP_PARALLAX_PX
        if moved or len(self.corners) < max(LEAST_CORNERS, KEEP_CORNERS * self.found):
            corners = _corners(grey)
            key_rays, valid, _ = _rays(corners, grey, camera)
            self.key_ns, self.corners, self.key_rays = frame.stamp_ns, corners[valid], key_rays[valid]
            self.found = len(self.corners)
        self.seen, self.grey = (frame, view), grey
        return view

    def _follow(self, frame: Frame, grey: np.ndarray, camera: Camera) -> TwoView:
        if len(self.corners):
            there, found, _ = cv2.calcOpticalFlowPyrLK(self.grey, grey, self.corners, None, **FLOW)    # type: ignore[call-overload]
            back, again, _ = cv2.calcOpticalFlowPyrLK(    # type: ignore[call-overload]
                grey, self.grey, there, self.corners.copy(), **(FLOW | BACK))
            keep = (found * again > 0).ravel() & (np.abs(back - self.corners).max(axis=1) < BACK_PX)
            now_rays, valid, pixels = _rays(there, grey, camera)
            keep &= valid
            self.corners, self.key_rays = there[keep], self.key_rays[keep]
        if len(self.corners) < LEAST_CORNERS:
            return TwoView(self.key_ns, frame.stamp_ns, problem=f'only {len(self.corners)} corners could be followed, '
                           f'{LEAST_CORNERS} are needed; the picture is too dark, too plain or too blurred')
        focal_px = camera.fx * grey.shape[1] / camera.width
        view = TwoView(self.key_ns, frame.stamp_ns, pixels=pixels[keep])
        return two_view(view, self.key_rays, now_rays[keep], 1 / focal_px)


def two_view(view: TwoView, key_rays: np.ndarray, now_rays: np.ndarray, pixel: float) -> TwoView:
    """Return the `view` of corners with its geometry: they were along `key_rays` and are along `now_rays`, (N, 2) x/z, y/z.

    `pixel` is the size of one of the picture that they were followed in, in x/z.
    """
    none = replace(view, pixels=_no_pixels())
    a, b = (np.column_stack((each, np.ones(len(each)))) for each in (key_rays, now_rays))    # (N, 3)
    R = fit_turn(a, b)
    only_turned = float(np.mean(_apart(a @ R.T, b) < STILL_PX * pixel))
    still = replace(none, R_key_now=R.T, problem=f'the camera stands or only turns: {only_turned:.0%} of the corners moved '
                    f'less than {STILL_PX:g} px beyond the turn')
    if only_turned > 1 - MOVED_SHARE:
        return still
    R, t = fit_way(a, b, R, pixel)
    nearness, parallax_px = inverse_depth(a @ R.T, b, t), _apart(a @ R.T, b) / pixel
    on_line = epipolar_miss(a, b, R, t) < INLIER_PX * pixel
    if RIGID_SHARE < only_turned > on_line.mean() - MOVED_SHARE:    # the way explains little that the turn does not
        return still
    clear = on_line & (parallax_px > STILL_PX)
    if np.sum(nearness[clear] > 0) < np.sum(nearness[clear] < 0):
        t, nearness = -t, -nearness
    rigid = on_line & ((nearness > 0) | ~clear)    # far away the sign is noise
    if rigid.mean() < RIGID_SHARE:
        return replace(none, problem=f'only {rigid.mean():.0%} of the corners move as one rigid scene, {RIGID_SHARE:.0%} '
                       'are needed; something moves before the camera')
    weight = 1 - (b @ t) ** 2 / (b * b).sum(axis=1)
    return replace(view, R_key_now=R.T, direction=-R.T @ t, pixels=view.pixels[rigid], inverse_depth=nearness[rigid],
                   weight=weight[rigid], parallax_px=parallax_px[rigid])


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    distance: np.ndarray = np.linalg.norm(a[:, :2] / a[:, 2:] - b[:, :2], axis=1)
    return distance


def fit_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) that brings most rays `a` (N, 3) onto `b` (N, 3): weighted Kabsch, Geman-McClure."""
    a, b = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (a, b))
    weight = np.ones(len(a))
    for _ in range(TURN_PASSES):
        R = nearest_rotation((b * weight[:, None]).T @ a)
        weight = _weight(np.linalg.norm(a @ R.T - b, axis=1), 2)
    return R


def fit_way(a: np.ndarray, b: np.ndarray, turn: np.ndarray, pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """Return (R, t) with b' [t]x R a = 0 for most rays (N, 3): R (3, 3) and t (3,) of unit length.

    Gauss-Newton on the distance from the epipolar lines (Sampson 1982) with Geman-McClure weights. It starts from the best
    `turn` alone, which is right for a way along the axis, and from five-point samples (Nister 2004) of OpenCV, whose
    random numbers are the same every time.
    """
    products = np.einsum('ni,nj->nij', b, a).reshape(-1, 9)    # b' E a = products @ E
    starts = [(turn, _direction(a @ turn.T, b)), *_sampled(a, b, turn, pixel)]
    ways = [_refine(a, b, products, R, t, START_PASSES) for R, t in starts]
    merits = [np.mean(1 / (1 + (epipolar_miss(a, b, *way) / pixel) ** 2)) for way in ways]
    return _refine(a, b, products, *ways[int(np.argmax(merits))], PASSES)


def _sampled(a: np.ndarray, b: np.ndarray, turn: np.ndarray, pixel: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the (R, t) of the essential matrix that most samples agree on; of its two turns the one near `turn`."""
    E, _ = cv2.findEssentialMat(a[:, :2], b[:, :2], np.eye(3), method=cv2.USAC_ACCURATE, prob=0.999,
                                threshold=INLIER_PX * pixel)
    if E is None or E.shape != (3, 3) or not np.isfinite(E).all():
        return []
    *turns, t = cv2.decomposeEssentialMat(E)
    return [(max(turns, key=lambda R: float(np.sum(R * turn))), t.ravel())]


def _refine(a: np.ndarray, b: np.ndarray, products: np.ndarray, R: np.ndarray, t: np.ndarray,
            passes: int) -> tuple[np.ndarray, np.ndarray]:
    for _ in range(passes):
        Tx = _cross(t)
        across = Tx[:, np.argmin(np.abs(t))]
        sideways = np.stack((across, Tx @ across)) / np.linalg.norm(across)    # (2, 3), orthogonal to t
        E, slopes = Tx @ R, np.stack((*(Tx @ AXES), *(_cross(way) for way in sideways))) @ R    # (5, 3, 3)
        length = _length(a, b, E)
        J = products @ slopes.reshape(5, 9).T / length[:, None]    # (N, 5)
        miss = products @ E.ravel() / length
        weight = _weight(np.abs(miss), 3)
        Jw = (J * weight[:, None]).T
        H = Jw @ J
        step = np.linalg.solve(H + np.diag(1e-6 * np.diag(H) + 1e-15), -Jw @ miss)
        R = cv2.Rodrigues(step[:3] / max(1.0, 10 * np.linalg.norm(step[:3])))[0] @ R
        t = t + step[3:] @ sideways
        t = t / np.linalg.norm(t)
    return R, t


def epipolar_miss(a: np.ndarray, b: np.ndarray, R: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return (N,) how far each pair of rays is from its epipolar line, in x/z."""
    E = _cross(t) @ R
    return np.abs(np.einsum('ni,ni->n', b, a @ E.T)) / _length(a, b, E)


def _length(a: np.ndarray, b: np.ndarray, E: np.ndarray) -> np.ndarray:
    on_b, on_a = a @ E[:2].T, b @ E[:, :2]
    return np.sqrt(np.einsum('ni,ni->n', on_b, on_b) + np.einsum('ni,ni->n', on_a, on_a)) + 1e-12


def _cross(v: np.ndarray) -> np.ndarray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def _weight(miss: np.ndarray, outlier: float) -> np.ndarray:
    """Return Geman-McClure weights (N,) of misfits (N,) >= 0: a quarter at `outlier` times their median."""
    middle = np.partition(miss, len(miss) // 2)[len(miss) // 2]
    weight: np.ndarray = 1 / (1 + (miss / (outlier * middle + 1e-9)) ** 2) ** 2
    return weight


def _direction(y: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the way (3,) that lies in most epipolar planes of the turned rays `y` and `b` (N, 3)."""
    normals = np.cross(y, b)
    weight = np.ones(len(b))
    for _ in range(START_PASSES):
        t: np.ndarray = np.linalg.eigh((normals * weight[:, None]).T @ normals)[1][:, 0]
        weight = _weight(np.abs(normals @ t), 2)
    return t


def inverse_depth(y: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Return (N,) 1/Z in the second camera of points on its rays `b` and, turned, on the first's `y`: Z b = Z' y + t."""
    across = np.cross(y, b)
    below = np.einsum('ni,ni->n', across, np.cross(y, t))
    return np.einsum('ni,ni->n', across, across) / np.where(below == 0, 1e-12, below)


def values_at(map: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return the values (N,) float64 of a map (H, W) at the pixels nearest to (N, 2), x and y."""
    x, y = np.rint(pixels).astype(int).T
    values: np.ndarray = map[y.clip(0, map.shape[0] - 1), x.clip(0, map.shape[1] - 1)].astype(np.float64)
    return values


def _shrunk(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    grey, ratio = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), math.sqrt(PIXELS / (height * width))
    if ratio >= 1:
        return grey
    return cv2.resize(grey, (max(1, round(width * ratio)), max(1, round(height * ratio))), interpolation=cv2.INTER_AREA)


def _corners(grey: np.ndarray) -> np.ndarray:
    columns, rows = CELLS
    height, width = grey.shape
    found = []
    for row in range(rows):
        for column in range(columns):
            left, top = column * width // columns, row * height // rows
            cell = grey[top:(row + 1) * height // rows, left:(column + 1) * width // columns]
            corners = cv2.goodFeaturesToTrack(cell, CELL_CORNERS, CORNER_QUALITY, CORNER_APART_PX)
            if corners is not None:
                found.append(corners.reshape(-1, 2) + np.array([left, top], np.float32))
    return np.concatenate(found).astype(np.float32) if found else np.empty((0, 2), np.float32)


def _rays(corners: np.ndarray, grey: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x/z and y/z (N, 2) of corners (N, 2) of `grey`, which are within lens and picture (N,), and their pixels."""
    scale = np.array([camera.width / grey.shape[1], camera.height / grey.shape[0]])
    pixels = ((corners + 0.5) * scale - 0.5).astype(np.float32)
    if not len(pixels):
        return np.empty((0, 2)), np.empty(0, bool), pixels
    inside = ((pixels >= 0) & (pixels <= (camera.width - 1, camera.height - 1))).all(axis=1)
    x, y = pixels.T[..., None]
    found = cv2.remap(rays(camera), x, y, cv2.INTER_LINEAR).reshape(-1, 2).astype(np.float64)
    return found, inside & np.isfinite(found).all(axis=1), pixels
