"""`depth_ros bench`: what each stage of a frame costs on this machine, from message in to messages out."""

import json
import os
import platform
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from depth_ros.commands.process import parse_setting
from depth_ros.errors import SettingsError

WARM_UP = 50
PUBLISHED = ('depth/image', 'points', 'relative/image', 'relative/points', 'pose', 'pose_embedding')


def bench(
    family: Annotated[str, typer.Option(help='Model family.')] = 'lite',
    weights: Annotated[str, typer.Option(help='File with the weights; default: the shipped ones.')] = '',
    size: Annotated[str, typer.Option(help='Size of the pictures, height x width.')] = '480x640',
    frames: Annotated[int, typer.Option(help='Frames to time; memory is watched over all of them.', min=1)] = 300,
    threads: Annotated[int, typer.Option(help='CPU threads of the network.')] = 0,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    out: Annotated[Path | None, typer.Option(help='Write the figures as JSON, too.')] = None,
) -> None:
    """Time every stage of a live frame and compare our message packing with the element-wise way."""
    from depth_ros.pipeline import open_stream
    from depth_ros.settings import build

    height, width = parse_size(size)
    given = {'family': family, 'weights': weights, 'threads': threads}
    stream = open_stream(build({**given, **dict(parse_setting(text) for text in set or ())}), live=True)
    stages, growth_mb = time_stages(stream, height, width, frames)
    rest = [sum(frame) - infer for frame, infer in zip(zip(*stages.values(), strict=True), stages['infer'], strict=True)]
    figures = {
        'machine': machine(), 'backend': stream.info['backend'],
        'family': family, 'size': [height, width], 'frames': frames,
        'median_ms': {name: _ms(np.median(seconds)) for name, seconds in stages.items()},
        'p95_ms': {name: _ms(np.percentile(seconds, 95)) for name, seconds in stages.items()},
        'all_but_inference_ms': _ms(np.median(rest)),
        'all_but_inference_over_inference': round(float(np.sum(rest) / max(np.sum(stages['infer']), 1e-9)), 3),
        'memory_growth_mb': round(growth_mb, 2),
        'packing_speedup': round(compare_packing(height, width), 1),
    }
    _print(figures)
    if out:
        out.write_text(json.dumps(figures, indent=1) + '\n')


def time_stages(stream: Any, height: int, width: int, frames: int) -> tuple[dict[str, list[float]], float]:
    """Return the seconds of every stage for every frame, and how much memory grew after the warm-up [MB].

    A family that runs once for several frames is charged for all of them at the frame that it runs at.
    """
    from depth_ros.core.camera import Camera
    from depth_ros.core.frame import Frame
    from depth_ros.io.image_msg import decode_image

    camera = Camera(height, width, width, width, (width - 1) / 2, (height - 1) / 2)
    spent: list[dict[str, float]] = []
    before_mb, warm_up = 0.0, min(WARM_UP, frames)
    publish = publisher()
    for number, message in enumerate(pictures(height, width, warm_up + frames)):
        start = time.perf_counter()
        rgb = decode_image(message)
        decoded = time.perf_counter()
        depths = stream.push(Frame(rgb, number * 33_333_333, camera, 'camera'))
        pushed = time.perf_counter()
        for depth in depths:
            publish(depth)
        done = time.perf_counter()
        if number == warm_up:
            before_mb = resident_mb()
        if number >= warm_up:
            known = dict(stream.seconds)
            spent.append({'decode': decoded - start, **known, 'window and rest': pushed - decoded - sum(known.values()),
                          'messages': done - pushed})
    names = dict.fromkeys(name for frame in [{'decode': 0.0, 'resize': 0.0, 'infer': 0.0}, *spent] for name in frame)
    return {name: [frame.get(name, 0.0) for frame in spent] for name in names}, resident_mb() - before_mb


def pictures(height: int, width: int, count: int) -> Iterator[Any]:
    """Yield rgb8 messages of a texture that moves by one pixel a frame."""
    import cv2

    from depth_ros.io.image_msg import image_message
    from depth_ros.io.messages import make_header, recorded_types

    noise = np.random.default_rng(0).integers(0, 255, (height, 2 * width, 3), dtype=np.uint8)
    texture = cv2.GaussianBlur(noise, (0, 0), 5)
    types = recorded_types()
    for number in range(count):
        start = abs(number % (2 * width) - width)
        rgb = np.ascontiguousarray(texture[:, start:start + width])
        yield image_message(types, make_header(types, number * 33_333_333, 'camera'), rgb, 'rgb8')


def publisher() -> Callable[[Any], None]:
    """Return a function that makes what a node publishes of a depth frame, with a full-size cloud every time."""
    from depth_ros.io.messages import recorded_types
    from depth_ros.io.topics import DepthMessages
    from depth_ros.settings import CloudSettings

    messages, settings = DepthMessages(recorded_types()), CloudSettings()

    def publish(depth: Any) -> None:
        for topic in PUBLISHED:
            messages.make(topic, depth, settings)

    return publish


def compare_packing(height: int, width: int, rounds: int = 3) -> float:
    """Return how many times faster a depth image and a cloud are packed from arrays than element by element."""
    from depth_ros.io.cloud_msg import pack_points
    from depth_ros.io.messages import array_payload

    random = np.random.default_rng(0)
    depth_m = random.random((height, width)).astype(np.float32)
    xyz, rgb = random.random((height, width, 3)).astype(np.float32), random.integers(0, 255, (height, width, 3), np.uint8)
    ratios = []
    for _ in range(rounds):
        start = time.perf_counter()
        array_payload(depth_m), array_payload(pack_points(xyz, rgb))
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


def resident_mb() -> float:
    """Return the memory that this process holds now [MB]; NaN where the system does not say."""
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
    except OSError:
        return float('nan')
    return pages * os.sysconf('SC_PAGE_SIZE') / 1e6


def machine() -> str:
    """Return what this runs on, in words."""
    return f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}'


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of "480x640"."""
    try:
        height, width = (int(part) for part in text.split('x'))
    except ValueError:
        raise SettingsError(f'--size {text}: expected height x width, e.g. 480x640') from None
    if min(height, width) < 16:
        raise SettingsError(f'--size {text}: expected at least 16x16')
    return height, width


def _ms(seconds: Any) -> float:
    return round(1e3 * float(seconds), 3)


def _print(figures: dict[str, Any]) -> None:
    height, width = figures['size']
    print(f'{figures["machine"]}; {figures["family"]}, {height}x{width}, {figures["frames"]} frames')
    print(f'{"stage":18}{"median ms":>12}{"p95 ms":>12}')
    for name, median in figures['median_ms'].items():
        print(f'{name:18}{median:12.2f}{figures["p95_ms"][name]:12.2f}')
    print(f'all but inference {figures["all_but_inference_ms"]:.2f} ms, '
          f'{figures["all_but_inference_over_inference"]:.2f} of inference')
    print(f'memory grew by {figures["memory_growth_mb"]:.1f} MB; packing from arrays is '
          f'{figures["packing_speedup"]:.0f} times as fast as element by element')
