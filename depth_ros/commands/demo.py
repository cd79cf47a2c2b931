"""`depth_ros demo`: a recording played as a camera to the real node, and what the node makes of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from depth_ros.errors import InputError, need

if TYPE_CHECKING:
    from depth_ros.core.camera import Camera
    from depth_ros.core.frame import DepthFrame

NODE = '/depth_node'
NOMINAL_FOV_DEG = 60.0
QUIET_S = 2.0     # without a message means that the node is done
START_S = 60.0    # for the node to be up
ROOM_FRAMES = 90


def demo(
    input: Annotated[Path | None, typer.Argument(help='Bag, video or folder; default: a room rendered here.')] = None,
    out: Annotated[Path, typer.Option(help='Folder for preview.mp4, cloud.ply and demo.mcap.')] = Path('demo'),
    camera: Annotated[str | None, typer.Option(help='Intrinsics fx,fy,cx,cy in pixels of the input.')] = None,
    frames: Annotated[int, typer.Option(help='Length of the rendered sequence.', min=1)] = ROOM_FRAMES,
    set: Annotated[list[str] | None, typer.Option(help='Any setting of the node, as name=value; repeatable.')] = None,
) -> None:
    """Play a recording to a live node, record all topics, and print rate, latency and drops."""
    need('rclpy', "pip install 'depth_ros[ros]', or source a ROS 2 installation")
    share_whole_pictures()
    from depth_ros.io.output import writing
    from depth_ros.io.source import open_source

    if input:
        open_source(input)    # says what is wrong before there is a folder
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    truth, camera = None, camera or ''
    if input is None:
        input, truth, camera = render_room(out / 'room', frames)
    bag, rate_hz = out / 'demo.mcap', open_source(input).rate_hz
    report(bag, out, record(input, bag, camera, set or []), rate_hz, truth)


def share_whole_pictures() -> None:
    """Give Fast DDS, here and in the processes to come, shared memory that holds whole pictures, unless told otherwise."""
    import depth_ros

    places = Path(depth_ros.__file__).parents[1] / 'config', Path(sys.prefix) / 'share' / 'depth_ros' / 'config'
    for profiles in (place / 'fastdds.xml' for place in places):
        if profiles.is_file():
            os.environ.setdefault('FASTDDS_DEFAULT_PROFILES_FILE', str(profiles))


def render_room(folder: Path, frames: int) -> tuple[Path, np.ndarray, str]:
    """Render the living room as PNGs into `folder`; return it, the true depth (T, H, W) float32 m and fx,fy,cx,cy."""
    import cv2

    from depth_ros.training.synthetic import room_sequence

    folder.mkdir(exist_ok=True)
    for old in folder.glob('*.png'):
        old.unlink()
    truth = []
    for number, (rgb, depth_m, _, K, _) in enumerate(room_sequence(frames)):  # noqa: B007
        cv2.imwrite(str(folder / f'{number:06}.png'), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        truth.append(depth_m)
        _say(f'rendering a room with exact depth: {number + 1} of {frames}', end='\r')
    print()
    return folder, np.stack(truth), f'{K[0, 0]},{K[1, 1]},{K[0, 2]},{K[1, 2]}'


def record(input: Path, bag: Path, camera: str, settings: list[str]) -> int:
    """Run node, player and recorder; return how many frames were played."""
    from depth_ros.ros.play import IMAGE, INFO
    from depth_ros.ros.record import recording

    # Reliable, so that what is missing was dropped by the node. Few clouds: the recorder shares the cores with the node.
    values = [f'qos_overrides.{IMAGE}.subscription.reliability:=reliable', 'cloud.rate_hz:=2.0']
    values += [f'{name}:={value}' for name, _, value in (text.partition('=') for text in settings)]
    arguments = ['-r', f'image:={IMAGE}', '-r', f'camera_info:={INFO}', *(part for v in values for part in ('-p', v))]
    with _process('depth_ros.ros.depth_node', '--ros-args', *arguments) as node, recording(bag, NODE) as recorder:
        deadline_s = time.monotonic() + START_S
        if not recorder.spin_until_heard(lambda: node.poll() is not None or time.monotonic() > deadline_s):
            raise InputError('the node did not start; its reason stands above')
        print(f'playing {input} to {NODE}')
        with _process('depth_ros.ros.play', str(input), f'--intrinsics={camera}', '--listeners=2',
                      stdout=subprocess.PIPE) as player:
            recorder.spin_until_quiet(lambda: player.poll() is not None, QUIET_S)
            return int(player.communicate()[0] or 0)


@contextmanager
def _process(module: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen]:
    """Run a module of ours while the block lasts."""
    process = subprocess.Popen([sys.executable, '-m', module, *arguments], **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)


def report(bag: Path, out: Path, played: int, rate_hz: float, truth: np.ndarray | None) -> None:
    """Print what the bag holds; write the preview and the cloud of the last picture."""
    from depth_ros.commands.results import write_cloud
    from depth_ros.io.preview import PreviewVideo
    from depth_ros.settings import CloudSettings

    video, arrivals_ns, stamps_ns, maps = PreviewVideo(out / 'preview.mp4', rate_hz), [], [], []
    depth = None
    for log_ns, depth in recorded_depth(bag):
        video.add(depth)
        arrivals_ns.append(log_ns)
        stamps_ns.append(depth.stamp_ns)
        if truth is not None:
            maps.append(depth.map)
    if depth is None:
        raise InputError(f'the node published no depth for {played} pictures; its reasons stand above')
    video.close()
    p50, p95, p99 = np.percentile(np.subtract(arrivals_ns, stamps_ns) / 1e6, (50, 95, 99))
    seconds = max(1e-9, (arrivals_ns[-1] - arrivals_ns[0]) / 1e9)
    print(f'rate     {(len(stamps_ns) - 1) / seconds:.1f} Hz of {"relative" if depth.depth_m is None else "metric"} depth')
    print(f'latency  p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms, from the stamp of a picture to its depth')
    print(f'dropped  {played - len(stamps_ns)} of {played} pictures')
    if truth is not None:
        numbers = [round((stamp - stamps_ns[0]) / 1e9 * rate_hz) for stamp in stamps_ns]
        print(f'truth    {100 * abs_rel(np.stack(maps), truth[numbers]):.1f} % off (AbsRel, after one scale and shift '
              'for the whole sequence)')
    if depth.camera is None:
        print(f'cloud    assumes a field of view of {NOMINAL_FOV_DEG:.0f} degrees, for the recording has no calibration')
    write_cloud(out / 'cloud.ply', replace(depth, frame=replace(depth.frame, camera=_camera(depth))), CloudSettings())
    print(f'written  {", ".join(str(out / name) for name in ("preview.mp4", "cloud.ply", "demo.mcap"))}')


def recorded_depth(bag: Path) -> 'Iterator[tuple[int, DepthFrame]]':
    """Yield (arrival ns, depth frame) of every depth map in the recording, with its picture."""
    from depth_ros.core.frame import DepthFrame, Frame, Quantity
    from depth_ros.io.bag import open_reader
    from depth_ros.io.camera_msg import camera_from_info
    from depth_ros.io.image_msg import decode_image
    from depth_ros.io.messages import stamp_ns
    from depth_ros.ros.play import IMAGE, INFO

    pictures: dict[int, Any] = {}
    info = None
    names = {f'{NODE}/relative/image': Quantity.DISPARITY_AFFINE, f'{NODE}/depth/image': Quantity.DEPTH_METRIC}
    with open_reader(bag) as reader:
        wanted = [item for item in reader.connections if item.topic in (IMAGE, INFO, *names)]
        for connection, log_ns, raw in reader.messages(wanted):
            message = reader.deserialize(raw, connection.msgtype)
            if connection.topic == INFO:
                info = message
            elif connection.topic == IMAGE:
                pictures[stamp_ns(message.header)] = message
            elif (picture := pictures.pop(stamp_ns(message.header), None)) is not None:
                map = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
                camera = camera_from_info(info, message.height, message.width, 'rectified') if info else None
                frame = Frame(decode_image(picture), stamp_ns(message.header), camera, message.header.frame_id)
                quantity = names[connection.topic]
                yield log_ns, DepthFrame(0, frame, map, quantity, depth_m=map if quantity.is_metric else None)


def abs_rel(maps: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean relative error of depth, after one scale and shift of disparity (T, H, W) to the truth in m."""
    from depth_ros.core.alignment import fit_scale_shift

    valid = np.isfinite(truth) & np.isfinite(maps)
    disparity, true_m = maps[valid], truth[valid]
    scale, shift = fit_scale_shift(disparity, 1 / true_m)
    return float(np.mean(np.abs(1 / np.maximum(scale * disparity + shift, 1e-3) - true_m) / true_m))


def _camera(depth: 'DepthFrame') -> 'Camera':
    from depth_ros.core.camera import Camera

    height, width = depth.map.shape
    focal_px = width / 2 / np.tan(np.radians(NOMINAL_FOV_DEG / 2))
    return depth.camera or Camera(height, width, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)


def _say(text: str, end: str) -> None:
    if sys.stdout.isatty():
        print(text, end=end, flush=True)
