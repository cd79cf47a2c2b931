"""The runner: one network on one set of pictures, pushed through `DepthStream` as `depth_ros process` does, then compared.

`predict` runs the network once and keeps its maps in files, for the one fit of a whole video is known only at its end.
`score` compares them with the truth. A video is one stream; every other picture is a stream of its own.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.core.metric import NominalScale
from depth_ros.core.stream import DepthStream
from depth_ros.errors import InputError
from depth_ros.evaluation import metrics
from depth_ros.evaluation.datasets import Sample, Sequence
from depth_ros.evaluation.flying import score_cloud, through_small
from depth_ros.evaluation.measured import RangeSensor, made
from depth_ros.evaluation.protocols import VideoFit, align_picture, to_metric_depth
from depth_ros.evaluation.trajectory import score_trajectory
from depth_ros.io.output import writing
from depth_ros.settings import CloudSettings

STILL_PICTURES, STILL_SETTLED = 20, 12    # the last ones of them are measured
STILL_NOISE_GREY = 4.0                    # standard deviation of the made sensor noise
STILL_PERIOD_NS = 33_333_333
STILL_PIXELS = 300_000                    # about as many are looked at
LEAST_POSES = 3                           # make a path
BOUNDARY_PX = 120                         # short side at which `boundary_f1` compares; a pixel is its tolerance
CLOUD_STEP_PX = 4                         # every n-th pixel becomes a point of `cloud_f1`,
CLOUDS = 10                               # so many pictures, evenly spread, are searched for flying points
CLOUD_REACH = 0.05                        # which is met within this share of the truth's median depth
NAN = math.nan


@dataclass(frozen=True)
class FrameScore:
    """One picture; NaN where something cannot be known."""

    index: int
    stamp_ns: int
    ms: float                            # from picture to depth, wall time
    segment: int = 0
    absrel: float = NAN                  # with one scale and shift for this picture, as all up to cloud_f1
    delta1: float = NAN                  # share of pixels within 1.25
    rmse_m: float = NAN
    silog: float = NAN                   # x 100
    boundary_f1: float = NAN             # every n-th pixel, so that the short side has about BOUNDARY_PX
    boundary_f1_full: float = NAN        # every pixel: near 0 for maps that come from a smaller network
    edge_chamfer_m: float = NAN
    cloud_f1: float = NAN
    metric_absrel: float = NAN           # as it came, of frames that are in metres
    metric_scale: float = NAN            # from map to metres
    video_absrel: float = NAN            # with one scale and shift for the video, as the next two
    factor: float = NAN                  # median of truth over prediction
    tae: float = NAN                     # disagreement with the frame before, through the true motion
    rotation_error_deg: float = NAN      # of the turn since the frame before
    rotation_deg: float = NAN            # that turn itself: the error of standing still


@dataclass(frozen=True)
class Score:
    """One network on one set."""

    dataset: str
    network: str
    is_video: bool
    metrics: dict[str, float]            # only those that are known
    frames: list[FrameScore]
    notes: tuple[str, ...] = ()


class Said(NamedTuple):
    """What the network said of a picture, besides the map."""

    ms: float
    segment: int
    T_world_cam: np.ndarray | None       # (4, 4), world = first camera of the segment
    truth: np.ndarray | None             # (4, 4), true T_world_cam
    anchor: Anchor
    is_metric: bool
    T_metric_cam: np.ndarray | None = None    # (4, 4), m


@dataclass(frozen=True)
class Predicted:
    """What a network said of a whole set. The maps lie in files, so that memory stays small."""

    sequence: Sequence
    quantity: Quantity
    folder: Path
    said: list[Said]
    scale: float                         # of the one fit of the video
    shift: float
    cloud: CloudSettings                 # how flying points are told

    def map(self, index: int) -> np.ndarray:
        """Return the (H, W) float32 map of a picture, in the network's own space."""
        return np.load(_file(self.folder, index))

    def alone(self, index: int, truth_m: np.ndarray) -> np.ndarray:
        """Return (H, W) depth in m after a fit of this picture to its truth (H, W) m."""
        far_m = self.sequence.far_m
        return align_picture(self.map(index), truth_m, metrics.scored(truth_m, truth_m, far_m=far_m), self.quantity, far_m)

    def together(self, index: int) -> np.ndarray:
        """Return (H, W) depth in m after the one fit of the video."""
        return to_metric_depth(self.map(index), self.scale, self.shift, self.quantity, self.sequence.far_m)


@dataclass(frozen=True)
class Look:
    """One picture to look at."""

    index: int
    sample: Sample
    depth_m: np.ndarray                  # (H, W), fitted as the set is scored; at a nominal scale without a truth


def predict(stream: DepthStream, sequence: Sequence, folder: Path,
            advance: Callable[[], None] = lambda: None, sensor: RangeSensor | None = None) -> Predicted:
    """Run the network over the set and keep its maps in `folder`; `advance` is called once per picture.

    What the metric source of the stream's settings measures is made from the truth, ranges as by the `sensor`.

    Raises InputError for a set without truth and OutputError if the maps find no room.
    """
    if not (sequence.has_depth or sequence.has_poses):
        raise InputError(f'{sequence.name} has neither depth nor poses, there is nothing to score against; add a folder '
                         'depth/ or a file poses_tum.txt')
    fit, said = VideoFit(stream.family.quantity), list[Said]()
    for sample, depth, ms in run(stream, sequence, sensor):
        with writing(folder):
            np.save(_file(folder, len(said)), depth.map)
        if sequence.is_video and sample.depth_m is not None:
            fit.add(depth.map, sample.depth_m, metrics.scored(sample.depth_m, sample.depth_m, far_m=sequence.far_m))
        said.append(Said(ms, depth.segment, depth.T_world_cam, sample.T_world_cam, depth.anchor, depth.depth_m is not None,
                         depth.T_metric_cam))
        advance()
    return Predicted(sequence, stream.family.quantity, folder, said, *fit.solve(), stream.settings.cloud)


def run(stream: DepthStream, sequence: Sequence,
        sensor: RangeSensor | None = None) -> Iterator[tuple[Sample, DepthFrame, float]]:
    """Yield (sample, depth, ms) of every picture in order; depths that come together share the time."""
    stream.reset('next set')
    measure = made(stream.settings.metric, sensor or RangeSensor())
    waiting, spent_s = deque[Sample](), 0.0
    for sample in chain(sequence.samples(), [None]):
        frame = sample and Frame(sample.rgb, sample.stamp_ns, sample.camera, measured=measure(sample))
        start = time.perf_counter()
        done = stream.push(frame) if frame else []
        if sample is None or not sequence.is_video:
            done += stream.flush()
        spent_s += time.perf_counter() - start
        if sample:
            waiting.append(sample)
        for depth in done:
            yield waiting.popleft(), depth, 1e3 * spent_s / len(done)
        spent_s = 0.0 if done else spent_s


def still_noise(stream: DepthStream, sequence: Sequence) -> float:
    """Return how much depth trembles while nothing moves: the first picture again and again, with sensor noise."""
    first, noise = next(sequence.samples()), np.random.default_rng(0)
    step = max(1, round(math.sqrt(first.rgb[..., 0].size / STILL_PIXELS)))

    def samples() -> Iterator[Sample]:
        for number in range(STILL_PICTURES):
            noisy = first.rgb + noise.normal(0, STILL_NOISE_GREY, first.rgb.shape).astype(np.float32)
            rgb = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
            yield replace(first, rgb=rgb, stamp_ns=number * STILL_PERIOD_NS)

    maps = [depth.map[::step, ::step] for _, depth, _ in run(stream, replace(sequence, is_video=True, samples=samples))]
    return metrics.still_noise(np.stack(maps[-STILL_SETTLED:]))


def score(predicted: Predicted, network: str, still: float = NAN) -> Score:
    """Compare what was predicted with the truth; `still` is the noise of the still camera, measured beside it.

    Raises InputError where not one pixel can be compared.
    """
    sequence, frames = predicted.sequence, list(compare(predicted))
    if sequence.has_depth and not any(math.isfinite(frame.absrel) for frame in frames):
        raise InputError(f'{sequence.name}: there is no pixel to score, for no true depth lies between 0 and '
                         f'{sequence.far_m:g} m or the network gave none; check depth_scale and far_m in camera.yaml')
    found = {name: _mean(getattr(frame, name) for frame in frames) for name in (
        'absrel', 'delta1', 'rmse_m', 'silog', 'boundary_f1', 'boundary_f1_full', 'edge_chamfer_m', 'cloud_f1',
        'metric_absrel', 'video_absrel', 'tae')}
    found['still_noise'] = still
    found['ms_median'] = float(np.median([frame.ms for frame in frames]))
    notes: list[str] = []
    found |= _metres(predicted, frames) | _clouds(predicted)
    if sequence.is_video:
        found['factor_variation'] = metrics.scale_variation([frame.factor for frame in frames])
        found['segments'] = len({frame.segment for frame in frames})
        motion, notes = _motion(predicted, frames)
        found |= motion
    known = {name: float(value) for name, value in found.items() if math.isfinite(value)}
    return Score(sequence.name, network, sequence.is_video, known, frames, tuple(notes))


def _metres(predicted: Predicted, frames: list[FrameScore]) -> dict[str, float]:
    """Return how many frames are in metres, how they compare with their own fits, and the steps of the scale."""
    known = [frame for frame in frames if math.isfinite(frame.metric_absrel)]
    if not known:
        return {}
    scales = np.array([frame.metric_scale for frame in frames])
    steps = np.abs(np.diff(scales) / scales[:-1])
    return {'metric_share': len(known) / len(frames), 'metric_first': known[0].index,
            'metric_over_alone': _mean(frame.metric_absrel for frame in known) / _mean(frame.absrel for frame in known),
            'metric_step': float(np.nanmax(steps)) if np.isfinite(steps).any() else NAN}


def compare(predicted: Predicted) -> Iterator[FrameScore]:
    """Yield the score of every picture, in order."""
    last: tuple[Sample, np.ndarray | None] | None = None
    for index, (sample, said) in enumerate(zip(predicted.sequence.samples(), predicted.said, strict=True)):
        is_fitted = predicted.sequence.is_video and predicted.sequence.has_depth
        together = predicted.together(index) if is_fitted else None
        known = _alone(predicted, index, sample) if sample.depth_m is not None else {}
        if sample.depth_m is not None and together is not None:
            known |= _together(sample.depth_m, together, predicted.sequence.far_m)
        if predicted.sequence.is_video and last:
            known |= _since(predicted, index, last, (sample, together))
        last = sample, together
        yield FrameScore(index, sample.stamp_ns, said.ms, said.segment, **known)


def looks(predicted: Predicted, indices: Container[int]) -> Iterator[Look]:
    """Yield the pictures `indices` with their depth, in order."""
    for index, sample in enumerate(predicted.sequence.samples()):
        if index not in indices:
            continue
        if sample.depth_m is None:
            frame = Frame(sample.rgb, sample.stamp_ns, sample.camera)
            depth_m = NominalScale().depth(DepthFrame(index, frame, predicted.map(index), predicted.quantity))
        else:
            depth_m = predicted.together(index) if predicted.sequence.is_video else predicted.alone(index, sample.depth_m)
        yield Look(index, sample, depth_m)


def _alone(predicted: Predicted, index: int, sample: Sample) -> dict[str, float]:
    """Return what one picture scores after its own fit."""
    assert sample.depth_m is not None
    depth_m, truth_m = predicted.alone(index, sample.depth_m), sample.depth_m
    valid = metrics.scored(depth_m, truth_m, far_m=predicted.sequence.far_m)
    step = max(1, round(min(valid.shape) / BOUNDARY_PX))
    known = {'absrel': metrics.absrel(depth_m, truth_m, valid), 'delta1': metrics.delta(depth_m, truth_m, valid),
             'rmse_m': metrics.rmse(depth_m, truth_m, valid), 'silog': metrics.silog(depth_m, truth_m, valid),
             'boundary_f1': metrics.boundary_f1(*(each[::step, ::step] for each in (depth_m, truth_m, valid))),
             'boundary_f1_full': metrics.boundary_f1(depth_m, truth_m, valid)}
    said = predicted.said[index]
    if said.is_metric:
        metres = to_metric_depth(predicted.map(index), said.anchor.scale, said.anchor.shift, predicted.quantity,
                                 predicted.sequence.far_m)
        known |= {'metric_absrel': metrics.absrel(metres, truth_m, valid), 'metric_scale': said.anchor.scale}
    if sample.camera and valid.any() and find_spec('scipy'):
        every = np.zeros(valid.shape, bool)
        every[::CLOUD_STEP_PX, ::CLOUD_STEP_PX] = True
        points, truth = (metrics.cloud(z, sample.camera, valid & every) for z in (depth_m, truth_m))
        reach_m = CLOUD_REACH * float(np.median(truth_m[valid]))
        known['cloud_f1'] = metrics.cloud_f1(points, truth, reach_m)[0]
        known['edge_chamfer_m'] = metrics.edge_chamfer(depth_m, truth_m, sample.camera, valid)
    return known


def _together(truth_m: np.ndarray, depth_m: np.ndarray, far_m: float) -> dict[str, float]:
    """Return what one frame scores after the one fit of its video."""
    valid = metrics.scored(depth_m, truth_m, far_m=far_m)
    return {'video_absrel': metrics.absrel(depth_m, truth_m, valid), 'factor': metrics.scale_factor(depth_m, truth_m, valid)}


def _since(predicted: Predicted, index: int, last: tuple[Sample, np.ndarray | None],
           now: tuple[Sample, np.ndarray | None]) -> dict[str, float]:
    """Return what can be said of the step from the last frame to this one, through the true motion."""
    (sample_a, depth_a_m), (sample_b, depth_b_m) = last, now
    if sample_a.T_world_cam is None or sample_b.T_world_cam is None:
        return {}
    T_a_b = np.linalg.inv(sample_a.T_world_cam) @ sample_b.T_world_cam
    known = {'rotation_deg': _angle_deg(T_a_b)}
    if depth_a_m is not None and depth_b_m is not None and sample_b.camera:
        a, b = (np.where(depth_m < predicted.sequence.far_m, depth_m, np.nan) for depth_m in (depth_a_m, depth_b_m))
        known['tae'] = metrics.temporal_alignment_error(a, b, sample_b.camera, np.linalg.inv(T_a_b))
    said_a, said_b = predicted.said[index - 1], predicted.said[index]
    if said_a.segment == said_b.segment and said_a.T_world_cam is not None and said_b.T_world_cam is not None:
        said_T_a_b = np.linalg.inv(said_a.T_world_cam) @ said_b.T_world_cam
        known['rotation_error_deg'] = _angle_deg(np.linalg.inv(T_a_b) @ said_T_a_b)
    return known


def _clouds(predicted: Predicted) -> dict[str, float]:
    """Return what is known of flying points: means over some pictures, of the network and (`truth_`) of the true depth
    through a network of small pictures.
    """
    sequence, scores = predicted.sequence, list[dict[str, float]]()
    wanted = {index * sequence.count // CLOUDS for index in range(CLOUDS)}
    for index, sample in enumerate(sequence.samples()):
        if index not in wanted or sample.depth_m is None or sample.camera is None or not find_spec('scipy'):
            continue
        scores.append({})
        for name, depth_m in (('', predicted.alone(index, sample.depth_m)), ('truth_', through_small(sample.depth_m))):
            valid = metrics.scored(depth_m, sample.depth_m, far_m=sequence.far_m)
            known = score_cloud(depth_m, np.where(valid, sample.depth_m, np.nan), valid, sample.camera, predicted.cloud)
            scores[-1] |= {f'cloud_{name}{key}': value for key, value in known.items()}
    return {name: _mean(each[name] for each in scores) for name in (scores[0] if scores else ())}


def _motion(predicted: Predicted, frames: list[FrameScore]) -> tuple[dict[str, float], list[str]]:
    """Return the scores of the motion, and notes on those that cannot be given."""
    turns = np.array([(frame.rotation_error_deg, frame.rotation_deg) for frame in frames])
    turns = turns[np.isfinite(turns).all(axis=1)]
    if not len(turns):
        return {}, []
    error, still = np.median(turns, axis=0)
    found = {'rotation_error_deg_median': float(error), 'rotation_deg_median': float(still)}
    name, said = predicted.sequence.name, predicted.said
    run = _longest_run([None if each.truth is None or each.T_metric_cam is None else each.segment for each in said])
    if len(run) >= LEAST_POSES:
        notes = [f'{name}: the path in metres is {len(run)} of {len(said)} frames long'] if len(run) < len(said) else []
        return found | _path_in_metres([said[index] for index in run], [frames[index].stamp_ns for index in run]), notes
    pairs = [(each.truth, each.T_world_cam) for each in said if each.truth is not None and each.T_world_cam is not None]
    if not any(T[:3, 3].any() for _, T in pairs):
        return found, [f'{name}: no translation is predicted, so rotation is scored and no trajectory']
    if len({each.segment for each in said}) > 1 or len(pairs) < len(said):
        return found, [f'{name}: several segments or missing poses, so rotation is scored and no trajectory']
    stamps_ns = np.array([frame.stamp_ns for frame in frames])
    truth, poses = (np.stack(each) for each in zip(*pairs, strict=True))
    scored = score_trajectory(truth, poses, stamps_ns, scale=not predicted.quantity.is_metric)
    return found | {key: scored[key] for key in ('ate_m', 'rpe_m', 'rpe_deg')}, []


def _path_in_metres(said: list[Said], stamps_ns: list[int]) -> dict[str, float]:
    """Return the scores of a path in metres, with one scale for all of it and (`metric_`) as it came."""
    truth, poses = (np.stack([np.asarray(pose) for pose in each])
                    for each in zip(*((one.truth, one.T_metric_cam) for one in said), strict=True))
    scaled, metric = (score_trajectory(truth, poses, np.array(stamps_ns), scale=scale) for scale in (True, False))
    lengths = [np.linalg.norm(np.diff(path[:, :3, 3], axis=0), axis=1).sum() for path in (truth, poses)]
    names = ('ate_m', 'rpe_m', 'rpe_deg')
    return {name: scaled[name] for name in names} | {f'metric_{name}': metric[name] for name in names} | {
        'trajectory_scale': scaled['scale'], 'trajectory_length': float(lengths[1] / max(lengths[0], 1e-12))}


def _longest_run(segments: list[int | None]) -> range:
    """Return the longest stretch of positions within one segment; a path that was lost begins anew."""
    best, start = range(0), 0
    for index, segment in enumerate(segments):
        if segment is None or (index > start and segment != segments[index - 1]):
            start = index + (segment is None)
        best = max(best, range(start, index + 1), key=len)
    return best


def _angle_deg(T: np.ndarray) -> float:
    """Return the angle of the rotation in (4, 4), from its sine and cosine: the cosine alone is blind near 0."""
    R = T[:3, :3]
    sine = np.linalg.norm((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])) / 2
    return math.degrees(math.atan2(sine, (np.trace(R) - 1) / 2))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else NAN


def _file(folder: Path, index: int) -> Path:
    return folder / f'{index:06}.npy'
