"""What `lite` is trained on: rendered scenes and photographs with teachers, kept in two cache folders, and clips
drawn from them.

Two kinds of clip leave this module, both as `Clip`: of the synthetic world with exact inverse depth and pose, and of
a photograph seen by a turning camera (a homography K R K^-1 per frame), whose teacher disparity is carried along and
whose rotation is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from depth_ros.training import synthetic

CLIP_FRAMES = 10  # frames of the one clip of each rendered scene; the views after it are single
VIEWS = 4
SHAPES = ((192, 256), (128, 384))  # (h, w) that training sees; the wide one for streets
KIND_SHARE = {'room': 0.55, 'corridor': 0.12, 'street': 0.2, 'terrain': 0.13}


@dataclass
class Clip:
    """T frames of one camera. `scaled` says that disparity is 1/depth up to scale; else it is also shifted (a
    teacher's)."""

    rgb: np.ndarray  # (T, h, w, 3) uint8
    disparity: np.ndarray  # (T, h, w) float32, 0 = sky
    weight: np.ndarray  # (T, h, w) float32, 0 where nothing is known
    T_world_cam: np.ndarray  # (T, 4, 4) float64, metres (a turning photograph: rotation only)
    K: np.ndarray  # (3, 3) of the first frame
    scaled: bool
    moves: bool  # whether the translation is known


def read_pictures(folder: Path, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return up to `count` pictures (H, W, 3) uint8 RGB of a folder, chosen by the generator."""
    paths = sorted(p for p in folder.iterdir() if p.suffix in ('.jpg', '.png'))
    chosen = rng.choice(len(paths), min(count, len(paths)), replace=False)
    pictures = (cv2.imread(str(paths[i])) for i in chosen)
    return [p[..., ::-1] for p in pictures if p is not None]


def render_scene(seed: int, bank: synthetic.Textures) -> dict[str, np.ndarray]:
    """Return one scene as arrays: rgb (N, h, w, 3), disparity (N, h, w) float16 [1/m], T_world_cam, K; first a clip,
    then views."""
    rng = np.random.default_rng((3, seed))
    kind = str(rng.choice(list(KIND_SHARE), p=list(KIND_SHARE.values())))
    height, width = SHAPES[int(kind == 'street' and rng.random() < 0.6)]
    scene = synthetic.make_scene(seed, kind, bank)
    rate_hz = float(rng.choice([30, 15, 10]))
    path = list(synthetic.make_path(scene, seed, CLIP_FRAMES, rate_hz))
    K_clip = synthetic.make_K(width, height, rng.uniform(50, 90))
    jobs = [(T, K_clip, i / rate_hz) for i, T in enumerate(path)]
    for i in range(VIEWS):
        T = synthetic.make_path(scene, 1000 * seed + i, 1)[0]
        jobs.append((T, synthetic.make_K(width, height, rng.uniform(42, 95)), 0.0))
    frames = [synthetic.render(scene, T, K, height, width, time_s) for T, K, time_s in jobs]
    return {
        'rgb': np.stack([f[0] for f in frames]),
        'disparity': np.stack([1 / f[1] for f in frames]).astype(np.float16),
        'T_world_cam': np.stack([j[0] for j in jobs]),
        'K': np.stack([j[1] for j in jobs]),
    }


def render_world(out: Path, seeds: range, photos: Path | None) -> None:
    """Render the scenes of these seeds into `out`; what is there is kept."""
    bank, block = None, -1
    for seed in seeds:
        target = out / f'{seed:06d}'
        if not target.exists():
            if bank is None or seed // 100 != block:  # textures are shared by the scenes of a hundred
                block = seed // 100
                rng = np.random.default_rng((5, block))
                bank = synthetic.texture_bank(block, read_pictures(photos, 40, rng) if photos else ())
            unfinished = target.with_suffix('.tmp')
            unfinished.mkdir(exist_ok=True)
            for name, array in render_scene(seed, bank).items():  # single files: a loader maps the frames it wants
                np.save(unfinished / f'{name}.npy', array)
            unfinished.rename(target)


# ---------------------------------------------------------------- photographs with teachers


def ask_teachers(corpus: Path, teachers: Path, out: Path, every: int = 6) -> None:
    """Write, for each photograph and every n-th frame of each clip, the picture and its teachers' disparity into `out`.

    The teachers are TCMonoDepth-small and FastDepth (MIT both); each map is standardised by its median and mean
    deviation, and they are averaged as far as they agree: FastDepth knows only rooms. A picture on which they
    disagree counts less.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    tcmono, fast = (
        onnxruntime.InferenceSession(str(next(teachers.glob(p))), options)
        for p in ('tcmonodepth*.onnx', 'fastdepth*.onnx')
    )
    paths = sorted((corpus / 'images').glob('*.jpg')) + [
        p for c in sorted((corpus / 'clips').iterdir()) for p in sorted(c.iterdir())[::every]
    ]
    for path in paths:
        target = out / f'{path.parent.name}_{path.stem}.npz'
        picture = cv2.imread(str(path))
        if target.exists() or picture is None or min(picture.shape[:2]) < 128:
            continue
        rgb = picture[..., ::-1]
        if (rgb.min(-1) > 245).mean() > 0.3:  # a product on white
            continue
        scale = min(1.0, 256 / min(rgb.shape[:2]))
        rgb = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        a = _both_ways(lambda x: tcmono.run(None, {'input': x * 255})[0][0, 0], rgb, (320, 192))
        b = _both_ways(lambda x: 1 / np.maximum(fast.run(None, {'image': x})[0][0, 0], 0.1), rgb, (224, 224))
        agree = float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
        trust = np.clip((agree - 0.2) / 0.4, 0, 1)
        np.savez(
            target,
            rgb=rgb,
            disparity=(a + 0.5 * trust * (b - a)).astype(np.float16),
            weight=np.clip(0.3 + agree, 0.2, 1.0),
        )


def _both_ways(network, rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Mean of a network's standardised maps of the picture and of its mirror image, at the picture's size."""
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    there, back = (network(np.ascontiguousarray(x.transpose(2, 0, 1)[None])) for x in (small, small[:, ::-1]))
    m = there + back[:, ::-1]
    m = (m - np.median(m)) / (np.abs(m - np.median(m)).mean() + 1e-6)
    return cv2.resize(m, rgb.shape[1::-1], interpolation=cv2.INTER_CUBIC)


# ---------------------------------------------------------------- clips


def rendered_clip(path: Path, frames: int, shape: tuple[int, int], rng: np.random.Generator) -> Clip:
    """A clip of the synthetic world: consecutive frames (or every second), forwards or backwards; sometimes a camera
    at rest."""
    scene = {name: np.load(path / f'{name}.npy', mmap_mode='r') for name in ('rgb', 'disparity', 'T_world_cam', 'K')}
    total = CLIP_FRAMES if frames > 1 else CLIP_FRAMES + VIEWS
    step = int(rng.integers(1, max((total - 1) // max(frames - 1, 1), 1) + 1)) if frames > 1 else 1
    first = int(rng.integers(0, total - step * (frames - 1)))
    pick = first + step * np.arange(frames)
    if frames > 1 and rng.random() < 0.15:
        pick[:] = first
    elif rng.random() < 0.4:
        pick = pick[::-1]
    rgb, disparity = scene['rgb'][pick], scene['disparity'][pick].astype(np.float32)
    K = scene['K'][pick[0]].copy()
    (h, w), (H, W) = shape, rgb.shape[1:3]
    crop_h = min(H, W * h / w) / rng.uniform(1.0, 1.5)
    crop_w = crop_h * w / h
    x0, y0 = rng.uniform(0, W - crop_w), rng.uniform(0, H - crop_h)
    s = w / crop_w
    A = np.array([[s, 0, -0.5 - s * (x0 - 0.5)], [0, s, -0.5 - s * (y0 - 0.5)]])  # source -> crop, centres at integers
    rgb = np.stack([cv2.warpAffine(f, A, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for f in rgb])
    disparity = np.stack(
        [cv2.warpAffine(d, A, (w, h), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT) for d in disparity]
    )
    if rng.random() < 0.3:
        rgb = rgb[..., rng.permutation(3)]
    return Clip(
        rgb, disparity, np.ones_like(disparity), scene['T_world_cam'][pick], np.vstack([A, [0, 0, 1]]) @ K, True, True
    )


def turning_clip(path: Path, frames: int, shape: tuple[int, int], rng: np.random.Generator) -> Clip:
    """A photograph seen by a camera that turns about its centre: x_photo = K_photo R_t K^-1 x."""
    photo = np.load(path)
    rgb, target, trust = photo['rgb'], photo['disparity'].astype(np.float32), float(photo['weight'])
    (h, w), (H, W) = shape, rgb.shape[:2]
    f = 0.5 * max(H, W) / np.tan(np.radians(rng.uniform(50, 80)) / 2)
    crop_h = min(H, W * h / w) * rng.uniform(0.6, 1.0) * (0.92 if frames > 1 else 1.0)
    crop_w = crop_h * w / h
    K_photo = np.array([[f, 0, (W - 1) / 2], [0, f, (H - 1) / 2], [0, 0, 1.0]])
    K = np.array([[f * w / crop_w, 0, (w - 1) / 2], [0, f * h / crop_h, (h - 1) / 2], [0, 0, 1.0]])
    aim = np.array([rng.uniform(-1, 1) * (H - crop_h) / 2 / f, rng.uniform(-1, 1) * (W - crop_w) / 2 / f, 0])
    aim[:2] = np.arctan(aim[:2]) * [-1, 1]  # about x (looking down is negative), about y
    t = np.arange(frames) - (frames - 1) / 2
    rate = rng.normal(0, 1, 3) * [0.012, 0.02, 0.008] * rng.choice([0, 0.3, 1.0])  # rad per frame
    jitter = rng.normal(0, 0.002, (frames, 3)) * (rate.any())
    T = np.tile(np.eye(4), (frames, 1, 1))
    rgbs, maps, weights = [], [], []
    for i in range(frames):
        T[i, :3, :3] = cv2.Rodrigues(aim)[0] @ cv2.Rodrigues(rate * t[i] + jitter[i])[0]
        Hom = K_photo @ T[i, :3, :3] @ np.linalg.inv(K)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        rgbs.append(cv2.warpPerspective(rgb, Hom, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT))
        maps.append(cv2.warpPerspective(target, Hom, (w, h), flags=flags, borderMode=cv2.BORDER_REFLECT))
        weights.append(cv2.warpPerspective(np.full((H, W), trust, np.float32), Hom, (w, h), flags=flags))
    return Clip(np.stack(rgbs), np.stack(maps), np.stack(weights), T, K, False, False)


def seen_by_a_camera(clip: Clip, rng: np.random.Generator) -> Clip:
    """The clip, maybe mirrored, maybe grey, through a random sensor."""
    if rng.random() < 0.5:
        M = np.diag([-1.0, 1, 1, 1])
        clip.rgb, clip.disparity, clip.weight = clip.rgb[:, :, ::-1], clip.disparity[..., ::-1], clip.weight[..., ::-1]
        clip.T_world_cam = M @ clip.T_world_cam @ M
        clip.K = clip.K.copy()
        clip.K[0, 2] = clip.rgb.shape[2] - 1 - clip.K[0, 2]
    if rng.random() < 0.1:
        clip.rgb = np.repeat(clip.rgb.mean(-1, keepdims=True).astype(np.uint8), 3, -1)
    sensor = synthetic.make_sensor(rng)
    first = int(rng.integers(0, 1000))
    clip.rgb = np.stack([synthetic.expose(f, sensor, first + i, rng) for i, f in enumerate(clip.rgb)])
    return clip


class Material:
    """The two cache folders, and batches drawn from them."""

    def __init__(self, world: Path, photos: Path):
        self.rendered: dict[bool, list[Path]] = {False: [], True: []}  # by whether they are wide
        for path in sorted(p for p in world.iterdir() if p.suffix != '.tmp'):
            h, w = np.load(path / 'rgb.npy', mmap_mode='r').shape[1:3]
            self.rendered[w > 2 * h].append(path)
        self.photos = sorted(photos.glob('*.npz'))

    def batch(
        self,
        images: int,
        lengths: Sequence[int],
        photo_share: float,
        shapes: tuple[tuple[int, int], tuple[int, int]],
        rng: np.random.Generator,
    ) -> dict[str, np.ndarray]:
        """Return about `images` frames in clips of one of these lengths and one of these shapes (h, w), usual or wide:
        rgb (B, T, 3, h, w) 0..1, disparity and weight (B, T, h, w), T_prev_cam (B, T, 4, 4), K (B, 3, 3), scaled
        (B,), moves (B,)."""
        wide = bool(rng.random() < 0.18)
        frames = int(rng.choice(lengths))
        clips = max(round(images / frames), 1)
        taught = int(clips * photo_share + rng.random()) if self.photos else 0
        pool = self.rendered[wide] or self.rendered[not wide]
        drawn = []
        for i in range(clips):
            source, make = (self.photos, turning_clip) if i < taught else (pool, rendered_clip)
            clip = make(source[rng.integers(len(source))], frames, shapes[wide], rng)
            drawn.append(seen_by_a_camera(clip, rng))
        return collate(drawn)


def collate(clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    def relative(T):
        return np.concatenate([np.eye(4)[None], np.linalg.inv(T[:-1]) @ T[1:]])

    return {
        'rgb': np.stack([c.rgb for c in clips]).transpose(0, 1, 4, 2, 3).astype(np.float32) / 255,
        'disparity': np.stack([c.disparity for c in clips]),
        'weight': np.stack([c.weight for c in clips]),
        'T_prev_cam': np.stack([relative(c.T_world_cam) for c in clips]).astype(np.float32),
        'K': np.stack([c.K for c in clips]).astype(np.float32),
        'scaled': np.array([c.scaled for c in clips], np.float32),
        'moves': np.array([c.moves for c in clips], np.float32),
    }
