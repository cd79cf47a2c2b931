"""What each stage of a frame costs, from message in to messages out, and whether that grows with the stream."""

import struct
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from depth_ros.benchmark.machine import gpu_peak_mb, memory_mb

if TYPE_CHECKING:
    from depth_ros.core.camera import Camera
    from depth_ros.core.frame import DepthFrame, Frame
    from depth_ros.core.measurement import Measurement
    from depth_ros.core.stream import DepthStream
    from depth_ros.core.window import WindowSpec

WARM_UP = 50
STAGES = ('decode', 'resize', 'motion', 'infer', 'resize back', 'stitch', 'anchor', 'pose', 'window and rest', 'cloud',
          'messages')
MESSAGES = ('depth/image', 'relative/image', 'pose', 'pose_embedding')
PERIOD_NS = 33_333_333
RANGE_POINTS = 200


def time_stages(stream: 'DepthStream', height: int, width: int, frames: int) -> dict[str, Any]:
    """Return the figures of `frames` pictures, rounded up to whole windows, after a warm-up.

    Stages are in ms per frame: what a window costs is shared by its new frames, so that medians and percentiles are
    those of windows. `longest_ms` is the frame that a window falls on. Growth is told by the clock, and by processor
    time, which other programs do not change.
    """
    stride = stream.spec.stride
    warm_up = warm_up_frames(stream.spec, min(WARM_UP, frames))
    frames = -(-frames // stride) * stride
    publish, before_mb = publisher(), memory_mb()
    spent: list[dict[str, float]] = []
    depths: list[DepthFrame] = []
    measure = range_sensor(height, width) if stream.settings.metric.source == 'range' else None
    computed: list[float] = []    # seconds of all threads
    for number, message in enumerate(islice(pictures(height, width), warm_up + frames)):
        start = time.process_time()
        measured = [measure(depths[-1], number)] if measure and depths else []    # it sees what the last depth says
        seconds, depths = _time_frame(stream, message, number, publish, measured)
        if number >= warm_up:
            spent.append(seconds)
            computed.append(time.process_time() - start)
        elif number == warm_up - 1:
            before_mb = memory_mb()
    after_mb, peak_mb = memory_mb(), memory_mb(peak=True)

    names = list(dict.fromkeys([*STAGES, *(name for frame in spent for name in frame)]))
    each = np.array([[frame.get(name, 0.0) for name in names] for frame in spent])            # (frames, stages) [s]
    windows = 1e3 * each.reshape(-1, stride, len(names)).mean(axis=1)                         # (windows, stages) [ms]
    total, infer = windows.sum(axis=1), windows[:, names.index('infer')]
    return {
        'frames': frames,
        'median_ms': _by_stage(names, np.median(windows, axis=0)) | {'frame': _round(np.median(total))},
        'p95_ms': _by_stage(names, np.percentile(windows, 95, axis=0)) | {'frame': _round(np.percentile(total, 95))},
        'longest_ms': _round(1e3 * each.sum(axis=1).max()),
        'metric_and_cloud_ms': _round(np.median(windows[:, [names.index('anchor'), names.index('cloud')]].sum(axis=1))),
        'all_but_inference_ms': _round(np.median(total - infer)),
        'all_but_inference_over_inference': _round((total - infer).sum() / max(infer.sum(), 1e-9)),
        'frames_per_s': _round(frames / each.sum()),
        'last_third_over_first': growth(total),
        'last_third_over_first_cpu': growth(np.array(computed).reshape(-1, stride).sum(axis=1)),
        'memory_growth_mb': None if before_mb is None or after_mb is None else _round(after_mb - before_mb),
        'peak_memory_mb': None if peak_mb is None else _round(peak_mb),
        'gpu_peak_memory_mb': gpu_peak_mb(),
    }


def warm_up_frames(spec: 'WindowSpec', least: int) -> int:
    """Return after how many frames, at least `least`, a window of distinct ones was run; then every `stride` are alike."""
    first = -(-spec.length // spec.stride) * spec.stride if spec.live else spec.length    # live it begins with copies
    return first + max(0, -(-(least - first) // spec.stride)) * spec.stride


def growth(cost: np.ndarray) -> float | None:
    """Return the median cost in the last third over that in the first: 1 where it does not grow. None for fewer than 3."""
    third = len(cost) // 3
    return _round(np.median(cost[-third:]) / max(np.median(cost[:third]), 1e-9)) if third else None


def pictures(height: int, width: int) -> Iterator[Any]:
    """Yield rgb8 messages of a texture that moves by one pixel a frame, without end."""
    import cv2

    from depth_ros.io.image_msg import image_message
    from depth_ros.io.messages import make_header, recorded_types

    noise = np.random.default_rng(0).integers(0, 255, (height, 2 * width, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 5)
    types = recorded_types()
    for number in count():
        start = abs(number % (2 * width) - width)
        rgb = np.ascontiguousarray(texture[:, start:start + width])
        yield image_message(types, make_header(types, number * PERIOD_NS, 'camera'), rgb, 'rgb8')


def make_frame(rgb: np.ndarray, number: int, *measured: 'Measurement') -> 'Frame':
    """Return the picture as a frame of the nominal camera at 30 Hz."""
    from depth_ros.core.frame import Frame

    return Frame(rgb, number * PERIOD_NS, nominal_camera(*rgb.shape[:2]), 'camera', measured)


def range_sensor(height: int, width: int) -> Callable[['DepthFrame', int], 'Measurement']:
    """Return a sensor that sees RANGE_POINTS points where a disparity map says, at a scale of its own."""
    from depth_ros.core.camera import rays
    from depth_ros.core.measurement import Measurement

    random = np.random.default_rng(0)
    at = random.integers(0, height, RANGE_POINTS), random.integers(0, width, RANGE_POINTS)
    xy = rays(nominal_camera(height, width))[at]

    def measure(depth: 'DepthFrame', number: int) -> Measurement:
        depth_m = 1 / np.maximum(0.5 * depth.map[at] + 0.1, 0.05)
        return Measurement(number * PERIOD_NS, np.concatenate([xy * depth_m[:, None], depth_m[:, None]], axis=1))

    return measure


def nominal_camera(height: int, width: int) -> 'Camera':
    """Return a camera whose focal length is the width of its picture."""
    from depth_ros.core.camera import Camera

    return Camera(height, width, width, width, (width - 1) / 2, (height - 1) / 2)


def publisher() -> Callable[[Any], tuple[float, float]]:
    """Return a function that makes what a node publishes of a depth frame, with a full-size cloud every time.

    It returns the seconds of the cloud, and of the other messages.
    """
    from depth_ros.io.messages import recorded_types
    from depth_ros.io.topics import DepthMessages
    from depth_ros.settings import CloudSettings

    messages, settings = DepthMessages(recorded_types()), CloudSettings()

    def publish(depth: Any) -> tuple[float, float]:
        start = time.perf_counter()
        messages.make('relative/points' if depth.depth_m is None else 'points', depth, settings)
        made = time.perf_counter()
        for topic in MESSAGES:
            messages.make(topic, depth, settings)
        return made - start, time.perf_counter() - made

    return publish


def compare_packing(height: int, width: int, rounds: int = 3) -> float:
    """Return how many times faster a depth image and a cloud are packed from arrays than element by element."""
    import cv2

    from depth_ros.core.cloud import pack_colour
    from depth_ros.io.messages import array_payload

    random = np.random.default_rng(0)
    depth_m = random.random((height, width)).astype(np.float32)
    xyz, rgb = random.random((height, width, 3)).astype(np.float32), random.integers(0, 255, (height, width, 3), np.uint8)
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        array_payload(depth_m), array_payload(cv2.merge((*cv2.split(xyz), pack_colour(rgb))))
        ours = time.perf_counter()
        pack_by_element(depth_m, xyz, rgb)
        ratios.append((time.perf_counter() - ours) / (ours - start))
    return float(np.median(ratios))


def pack_by_element(depth_m: np.ndarray, xyz: np.ndarray, rgb: np.ndarray) -> tuple[bytes, bytes]:
    """Return the same bytes packed one point at a time, as `sensor_msgs_py.point_cloud2` packs iterables."""
    image, cloud = bytearray(depth_m.nbytes), bytearray(16 * depth_m.size)
    one, point = struct.Struct('<f'), struct.Struct('<fffI')
    for number, value in enumerate(depth_m.ravel().tolist()):
        one.pack_into(image, 4 * number, value)
    for number, ((x, y, z), (r, g, b)) in enumerate(zip(xyz.reshape(-1, 3).tolist(), rgb.reshape(-1, 3).tolist(),
                                                        strict=True)):
        point.pack_into(cloud, 16 * number, x, y, z, r << 16 | g << 8 | b)
    return bytes(image), bytes(cloud)


def _time_frame(stream: 'DepthStream', message: Any, number: int,
                publish: Callable[[Any], tuple[float, float]],
                measured: 'Sequence[Measurement]') -> 'tuple[dict[str, float], list[DepthFrame]]':
    """Push one picture and make the messages of what comes out; return stage -> seconds, and that."""
    from depth_ros.io.image_msg import decode_image

    start = time.perf_counter()
    rgb = decode_image(message)
    decoded = time.perf_counter()
    depths = stream.push(make_frame(rgb, number, *measured))
    pushed = time.perf_counter()
    known = dict(stream.seconds)
    made = [publish(depth) for depth in depths]
    return {'decode': decoded - start, **known, 'window and rest': pushed - decoded - sum(known.values()),
            'cloud': sum(cloud for cloud, _ in made), 'messages': sum(rest for _, rest in made)}, depths


def _by_stage(names: list[str], values: np.ndarray) -> dict[str, float]:
    return {name: _round(value) for name, value in zip(names, values, strict=True)}


def _round(value: Any) -> float:
    return round(float(value), 3)
