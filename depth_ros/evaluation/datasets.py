"""Pictures with truth: a standard folder that anyone can write, and public recordings as they are distributed.

The standard folder:

    rgb/             pictures, in the natural order of their names
    depth/           16-bit PNGs of the same size, with the same stems or in the same order; 0 and 65535: unknown
    poses_tum.txt    one line `time tx ty tz qx qy qz qw` per picture: seconds, and T_world_cam in metres
    camera.yaml      fx, fy, cx, cy [px] of the pictures, or k (the nine numbers of the matrix); d (plumb_bob) if distorted;
                     depth_scale: units of the depth pictures per metre (1000: they are in mm);
                     far_m: depth beyond is not scored (default 80); video: whether the pictures are consecutive frames of
                     one camera (default true); rate_hz: of a video without times (default 30); licence: of the data

One of depth/ and poses_tum.txt may be absent. Stamps are the times of the poses, else of the file names, else at the rate.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.errors import InputError
from depth_ros.io.video import CameraOf, PictureFolder, open_folder

INDOORS_M, OUTDOORS_M = 10.0, 80.0
DEFAULTS = {'far_m': OUTDOORS_M, 'video': True, 'rate_hz': 30.0, 'licence': ''}
CAMERA_KEYS = ('fx', 'fy', 'cx', 'cy', 'k', 'd', 'depth_scale', *DEFAULTS)
ReadDepth = Callable[[int, int, int], np.ndarray]    # number, height and width of the picture -> (H, W) m

# In ICL-NUIM's files y points up, in the camera (fy = -480) and in the world. Mirroring y in both gives y down and
# fy = +480, and conjugating a rotation with a mirror leaves it a rotation.
ICL_CAMERA, ICL_MIRROR = (481.2, 480.0, 319.5, 239.5), np.diag([1.0, -1.0, 1.0, 1.0])
MOTORCYCLE_CAMERA, MOTORCYCLE_BASELINE_M, MOTORCYCLE_OFFSET_PX = (994.978, 994.978, 311.193, 254.877), 0.193001, 31.086
TUM_CAMERA = (525.0, 525.0, 319.5, 239.5)


@dataclass(frozen=True)
class Sample:
    """One picture and what is known of it."""

    rgb: np.ndarray                    # (H, W, 3) uint8
    stamp_ns: int
    depth_m: np.ndarray | None         # (H, W) float32 metres along Z, NaN where unknown
    T_world_cam: np.ndarray | None     # (4, 4) float64, metres
    camera: Camera | None


@dataclass(frozen=True)
class Sequence:
    """Pictures with truth that can be read again and again."""

    name: str
    is_video: bool                     # consecutive frames of one camera; else each picture stands alone
    count: int
    far_m: float                       # depth beyond this is not scored
    has_depth: bool
    has_poses: bool
    samples: Callable[[], Iterator[Sample]]    # raises InputError for the first file that cannot be used
    licence: str = ''


def open_datasets(path: Path) -> list[Sequence]:
    """Return the data sets in a folder, or up to two levels below it, by name; folders of another kind are passed over.

    Raises InputError if there is none, or if one is not complete. Pictures are read later, by `Sequence.samples`.
    """
    if not path.is_dir():
        raise InputError(f'{path} is no folder; give the folder of a data set, or one that holds several')
    found = _search(path.resolve(), levels=2)
    if not found:
        raise InputError(f'{path} holds no data set with truth; lay it out as rgb/, depth/ (16-bit PNG) and camera.yaml')
    return sorted(found, key=lambda sequence: sequence.name)


def _search(path: Path, levels: int) -> list[Sequence]:
    for marks, open_layout in LAYOUTS:
        if all((path / mark).exists() for mark in marks):
            return [open_layout(path)]
    folders = sorted(item for item in path.iterdir() if item.is_dir()) if levels else []
    return [sequence for folder in folders for sequence in _search(folder, levels - 1)]


# --- layouts


def _standard(path: Path) -> Sequence:
    about, camera_of = _read_camera(path / 'camera.yaml')
    pictures = open_folder(path / 'rgb', about['rate_hz'])
    depth = None
    if (path / 'depth').is_dir():
        depth = _depth_pngs(_partners(pictures.files, path / 'depth'), about['depth_scale'])
    poses = None
    if (path / 'poses_tum.txt').is_file():
        stamps, poses = _read_tum(path / 'poses_tum.txt', pictures.count)
        pictures = replace(pictures, stamps_ns=stamps)
    if depth is None and poses is None:
        raise InputError(f'{path} has neither depth/ nor poses_tum.txt, so there is nothing to score; add one of them')
    return _sequence(path.name, pictures, camera_of, depth, poses, about['far_m'], about['video'], about['licence'])


def _seven_scenes(path: Path) -> Sequence:
    pictures = open_folder(path / 'rgb', 30.0)
    stamps, poses = _read_tum(path / 'poses_rgb_tum.txt', pictures.count)
    K = _numbers(path / 'intrinsics_rgb.txt', (3, 3))
    return _sequence(path.name, replace(pictures, stamps_ns=stamps), _pinhole(K[0, 0], K[1, 1], K[0, 2], K[1, 2]),
                     _depth_pngs(_partners(pictures.files, path / 'depth'), 1000), poses, INDOORS_M, True,
                     'Microsoft 7-Scenes, non-commercial research')


def _kitti_odometry(path: Path) -> Sequence:
    pictures = open_folder(path / 'image_l', 10.0)
    P = _numbers(path / 'calib.txt', (-1, 12))[0].reshape(3, 4)
    poses = np.tile(np.eye(4), (pictures.count, 1, 1))
    poses[:, :3] = _numbers(path / 'poses.txt', (pictures.count, 12)).reshape(-1, 3, 4)
    return _sequence(path.name, pictures, _pinhole(P[0, 0], P[1, 1], P[0, 2], P[1, 2]), None, poses, OUTDOORS_M, True,
                     'KITTI, CC BY-NC-SA 3.0')


def _icl_nuim(path: Path) -> Sequence:
    pictures = open_folder(path / 'color', 1.0)
    poses = ICL_MIRROR @ _read_poses(path / 'pose.txt', (pictures.count, 7)) @ ICL_MIRROR
    depth = _depth_pngs(_partners(pictures.files, path / 'depth'), 5000)
    return _sequence(path.name, pictures, _pinhole(*ICL_CAMERA), depth, poses, INDOORS_M, False, 'ICL-NUIM, CC BY 3.0')


def _annotated(path: Path) -> Sequence:
    """Open pictures of KITTI or NYU that a JSON file lists; 256 units per metre are KITTI's."""
    import json

    file = path / 'test_annotations.json'
    try:
        entries = sorted(json.loads(file.read_text(encoding='utf8'))['files'], key=lambda entry: entry['rgb'])
        scale, focal = float(entries[0]['depth_scale']), entries[0]['cam_in']
        files, depths = ([path.joinpath(*Path(entry[kind]).parts[-2:]) for entry in entries] for kind in ('rgb', 'depth'))
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f'{file} lists no pictures, or not what they need; copy the data set again') from error
    for item in (*files, *depths):
        if not item.is_file():
            raise InputError(f'{item} is missing; copy the data set again')
    far_m, licence = (OUTDOORS_M, 'KITTI, CC BY-NC-SA 3.0') if scale == 256 else (INDOORS_M, 'NYU Depth V2')
    return _sequence(path.name, _unrelated(files), _pinhole(*focal), _depth_pngs(depths, scale), None, far_m, False, licence)


def _motorcycle(path: Path) -> Sequence:
    files = [path / 'motorcycle_left.png']
    return _sequence(path.name, _unrelated(files), _pinhole(*MOTORCYCLE_CAMERA),
                     partial(_motorcycle_depth, path / 'motorcycle_disp.npz'), None, INDOORS_M, False, 'Middlebury 2014')


def _motorcycle_depth(file: Path, number: int, height: int, width: int) -> np.ndarray:
    """Return Z = f * baseline / (disparity + the distance of the principal points), NaN where there is no disparity."""
    disparity_px = np.load(file)['arr_0']
    _check_size(file, disparity_px, height, width)
    depth_m = MOTORCYCLE_CAMERA[0] * MOTORCYCLE_BASELINE_M / (disparity_px + MOTORCYCLE_OFFSET_PX)
    return np.where(np.isfinite(disparity_px), depth_m, np.nan).astype(np.float32)


def _tum_frame(path: Path) -> Sequence:
    return _sequence(path.name, _unrelated([path / 'TUM_color.png']), _pinhole(*TUM_CAMERA),
                     _depth_pngs([path / 'TUM_depth.png'], 5000), None, INDOORS_M, False, 'TUM RGB-D, CC BY 4.0')


def _arkit(path: Path) -> Sequence:
    depth = partial(_read_depth, [path / 'arkit_depth.png'], 1000, True)
    return _sequence(path.name, _unrelated([path / 'image.jpg']), lambda height, width: None, depth, None, INDOORS_M,
                     False, 'Apache-2.0')


LAYOUTS: list[tuple[tuple[str, ...], Callable[[Path], Sequence]]] = [    # what lies there, and who opens it
    (('rgb', 'intrinsics_rgb.txt', 'poses_rgb_tum.txt'), _seven_scenes),
    (('image_l', 'calib.txt', 'poses.txt'), _kitti_odometry),
    (('color', 'depth', 'pose.txt'), _icl_nuim),
    (('test_annotations.json',), _annotated),
    (('motorcycle_left.png', 'motorcycle_disp.npz'), _motorcycle),
    (('TUM_color.png', 'TUM_depth.png'), _tum_frame),
    (('image.jpg', 'arkit_depth.png'), _arkit),
    (('rgb', 'camera.yaml'), _standard),
    (('rgb', 'depth'), _standard),    # says that camera.yaml is missing
]


# --- reading


def _sequence(name: str, pictures: PictureFolder, camera_of: CameraOf, depth: ReadDepth | None, poses: np.ndarray | None,
              far_m: float, is_video: bool, licence: str) -> Sequence:
    samples = partial(_samples, pictures, camera_of, depth, poses)
    return Sequence(name, is_video, pictures.count, far_m, depth is not None, poses is not None, samples, licence)


def _samples(pictures: PictureFolder, camera_of: CameraOf, depth: ReadDepth | None,
             poses: np.ndarray | None) -> Iterator[Sample]:
    for number, frame in enumerate(pictures.frames(camera_of)):
        depth_m = depth(number, *frame.rgb.shape[:2]) if depth else None
        yield Sample(frame.rgb, frame.stamp_ns, depth_m, None if poses is None else poses[number], frame.camera)


def _unrelated(files: list[Path]) -> PictureFolder:
    """Return pictures that have nothing to do with each other, one second apart."""
    return PictureFolder(files, [number * 1_000_000_000 for number in range(len(files))], 1.0)


def _pinhole(fx: float, fy: float, cx: float, cy: float, D: tuple[float, ...] = ()) -> CameraOf:
    model = 'plumb_bob' if D else ''
    return lambda height, width: Camera(height, width, float(fx), float(fy), float(cx), float(cy), model, D)


def _depth_pngs(files: list[Path], scale: float) -> ReadDepth:
    return partial(_read_depth, files, scale, False)


def _read_depth(files: list[Path], scale: float, enlarge: bool, number: int, height: int, width: int) -> np.ndarray:
    """Return (H, W) float32 depth [m] of a 16-bit PNG of `scale` units per metre, NaN where it is 0 or 65535.

    `enlarge` brings it to the size of the picture by repeating values, without inventing any.
    """
    file = files[number]
    units = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED) if file.stat().st_size else None
    if units is None:
        raise InputError(f'{file} is no readable picture; check where it comes from')
    if units.dtype != np.uint16 or units.ndim != 2:
        raise InputError(f'{file} has {units[0, 0].size} channels of type {units.dtype}, no depth; '
                         'store depth as PNG with one channel of 16 bits')
    if enlarge:
        units = cv2.resize(units, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    _check_size(file, units, height, width)
    return np.where((units == 0) | (units == 65535), np.nan, units / scale).astype(np.float32)


def _check_size(file: Path, depth: np.ndarray, height: int, width: int) -> None:
    if depth.shape != (height, width):
        raise InputError(f'{file} is {depth.shape[1]}x{depth.shape[0]}, its picture {width}x{height}; '
                         'register the depth to the picture')


def _partners(pictures: list[Path], folder: Path) -> list[Path]:
    """Return the depth file of each picture: the one of the same stem, or in the same place if no stem is the same."""
    depths = open_folder(folder, 1.0).files
    by_stem = {file.stem: file for file in depths}
    missing = [file.name for file in pictures if file.stem not in by_stem]
    if not missing:
        return [by_stem[file.stem] for file in pictures]
    if len(missing) < len(pictures):
        raise InputError(f'{folder} has no depth for {missing[0]} ({len(missing)} of {len(pictures)} are missing); '
                         'add it, or take the picture away')
    if len(depths) != len(pictures):
        raise InputError(f'{folder} has {len(depths)} files for {len(pictures)} pictures and other names than theirs; '
                         'name each like its picture')
    return depths


def _read_camera(file: Path) -> tuple[dict[str, Any], CameraOf]:
    """Return what camera.yaml says, defaults filled in, and the camera."""
    import yaml

    if not file.is_file():
        raise InputError(f'{file} is missing; write fx, fy, cx, cy [px] and depth_scale (units per metre) into it')
    try:
        about = {**DEFAULTS, **yaml.safe_load(file.read_text(encoding='utf8'))}
        _check_description(about, has_depth=(file.parent / 'depth').is_dir())
        k = about['k'] if 'k' in about else [about['fx'], 0, about['cx'], 0, about['fy'], about['cy'], 0, 0, 1]
        camera_of = _pinhole(k[0], k[4], k[2], k[5], tuple(float(number) for number in about.get('d', ())))
        camera_of(1, 1)    # checks the numbers
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError, InputError) as error:
        reason = ' '.join(str(error).split())
        raise InputError(f'{file} does not describe the pictures ({reason}); it needs '
                         'fx, fy, cx, cy and depth_scale') from error
    return about, camera_of


def _check_description(about: dict[str, Any], has_depth: bool) -> None:
    """Raise ValueError for what camera.yaml may not say, KeyError for what it has to."""
    unknown = [key for key in about if key not in CAMERA_KEYS]
    if unknown:
        raise ValueError(f'{unknown[0]} is none of {", ".join(CAMERA_KEYS)}')
    for key in ('far_m', 'rate_hz', 'depth_scale') if has_depth else ('far_m', 'rate_hz'):
        about[key] = float(about[key])
        if not 0 < about[key] < np.inf:
            raise ValueError(f'{key} is {about[key]}, not a positive number')
    if not isinstance(about['video'], bool):
        raise ValueError(f'video is {about["video"]}, not true or false')
    if len(about.get('k', range(9))) != 9:
        raise ValueError(f'k has {len(about["k"])} numbers, not 9')


def _read_tum(file: Path, count: int) -> tuple[list[int], np.ndarray]:
    """Return the stamps [ns] and the poses (N, 4, 4) of a trajectory with one line per picture."""
    stamps = [round(time * 1e9) for time in _numbers(file, (count, 8))[:, 0]]
    if sorted(set(stamps)) != stamps:
        raise InputError(f'{file} has times that do not increase; sort its lines like the pictures')
    return stamps, _read_poses(file, (count, 8))


def _numbers(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return the numbers of a text file, one row per line; -1 for any number of lines."""
    try:
        numbers = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f'{file} holds no table of numbers ({error}); copy or write it again') from error
    if numbers.shape[1] != shape[1] or shape[0] not in (-1, len(numbers)) or not np.isfinite(numbers).all():
        raise InputError(f'{file} has {len(numbers)} lines of {numbers.shape[1]} numbers, expected '
                         f'{shape[0] if shape[0] > 0 else "some"} of {shape[1]}, one per picture, all finite')
    return numbers


def _read_poses(file: Path, shape: tuple[int, int]) -> np.ndarray:
    """Return (N, 4, 4) float64; the lines end with translation and quaternion, tx ty tz qx qy qz qw."""
    lines = _numbers(file, shape)[:, -7:]
    length = np.linalg.norm(lines[:, 3:], axis=1, keepdims=True)
    if not np.allclose(length, 1, atol=0.01):
        raise InputError(f'{file} has quaternions that are not of length 1; let its lines end with tx ty tz qx qy qz qw')
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    x, y, z, w = (lines[:, 3:] / length).T
    poses[:, :3, :3] = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                                 [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                                 [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]]).transpose(2, 0, 1)
    poses[:, :3, 3] = lines[:, :3]
    return poses
