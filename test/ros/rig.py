"""One real node under test: its process, and a camera and a listener that talk to it."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as RclpyParameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depth_ros.io.messages import array_payload, stamp_ns

TIMEOUT_S = 60.0    # the machine may be busy; nothing waits as long unless it fails
HEIGHT, WIDTH = 48, 64
FRAME_ID = 'camera_optical_frame'
KINDS = {'depth/image': Image, 'relative/image': Image, 'preview': Image, 'confidence': Image, 'pose_embedding': Image,
         'depth/camera_info': CameraInfo, 'points': PointCloud2, 'relative/points': PointCloud2,
         'alignment': DiagnosticArray}
COMMAND = (sys.executable, '-m', 'depth_ros.ros.depth_node')
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)


def wait(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the first true value of `condition`, or fail saying `what` did not come."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f'waited {timeout_s:.0f} s for {what}')


def grey_picture(grey: int = 100, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.full((height, width, 3), grey, np.uint8)


def image(rgb: np.ndarray, stamp_ns: int, frame_id: str = FRAME_ID) -> Image:
    """Return the rgb8 message of a picture (H, W, 3)."""
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding='rgb8', step=3 * rgb.shape[1])
    message.data = array_payload(rgb)
    return stamped(message, stamp_ns, frame_id)


def camera_info(stamp_ns: int, height: int = HEIGHT, width: int = WIDTH, focal_px: float = 50.0) -> CameraInfo:
    """Return the camera_info of an undistorted camera with its principal point in the middle."""
    cx, cy = (width - 1) / 2, (height - 1) / 2
    message = CameraInfo(height=height, width=width, distortion_model='plumb_bob', d=[0.0] * 5)
    message.k = [focal_px, 0.0, cx, 0.0, focal_px, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [focal_px, 0.0, cx, 0.0, 0.0, focal_px, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return stamped(message, stamp_ns)


def stamped(message: Any, stamp_ns: int, frame_id: str = FRAME_ID) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    return message


def stamp_of(message: Any) -> int:
    return stamp_ns(message.header)


class NodeProcess:
    """The node as a user starts it."""

    def __init__(self, folder: Path, namespace: str, command: tuple[str, ...] = COMMAND, **values: Any) -> None:
        arguments = ['--ros-args', '-r', f'__ns:={namespace}']
        for name, value in values.items():
            arguments += ['-p', f'{name.replace("__", ".")}:={value if value != "" else repr(value)}']
        self.path = folder / 'log.txt'
        with self.path.open('wb') as log:
            self.process = subprocess.Popen([*command, *arguments], stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self.path.read_text()

    def stop(self, how: int = signal.SIGINT) -> int:
        """Interrupt the node and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(TIMEOUT_S)
        finally:
            self.process.kill()


class Rig:
    """A node process, and a node of our own that publishes pictures to it and listens to what it says."""

    def __init__(self, name: str, folder: Path, **values: Any) -> None:
        self.namespace = f'/{name}_{os.getpid()}'
        self.folder, self.values = folder, values
        self.clock_ns = 1_700_000_000_000_000_000
        self.received: dict[str, list[Any]] = defaultdict(list)
        self.subscriptions: dict[str, Any] = {}

    def __enter__(self) -> 'Rig':
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('rig', namespace=self.namespace, context=self.context)
        self.images = self.node.create_publisher(Image, 'image', RELIABLE)
        self.infos = self.node.create_publisher(CameraInfo, 'camera_info', RELIABLE)
        self.compressed = self.node.create_publisher(CompressedImage, 'image/compressed', RELIABLE)
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, RELIABLE)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()
        reliable = {f'qos_overrides.{self.namespace}/{topic}.subscription.reliability': 'reliable'
                    for topic in ('image', 'camera_info', 'image/compressed', 'range', 'odometry', 'imu')}
        self.process = NodeProcess(self.folder, self.namespace, **{
            'family': 'onnx', 'cloud__rate_hz': 0.0, 'node__diagnostics_period_s': 0.2, **reliable, **self.values})
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)
        self.thread.join()
        self.node.destroy_node()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except Exception:    # the context goes at the end
            if self.context.ok():
                raise

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        status = message.status[0]
        if status.hardware_id == f'{self.namespace}/depth_node':
            self.received['diagnostics'].append(status)

    # What the listener does.

    def listen(self, *topics: str) -> None:
        """Listen to these outputs only, and wait until both sides know."""
        for topic in set(self.subscriptions) - set(topics):
            self.node.destroy_subscription(self.subscriptions.pop(topic))
        for topic in set(topics) - set(self.subscriptions):
            name = f'depth_node/{topic}'
            self.subscriptions[topic] = self.node.create_subscription(
                KINDS[topic], name, lambda message, topic=topic: self.received[topic].append(message), RELIABLE)
            wait(lambda name=name: self.node.count_publishers(f'{self.namespace}/{name}'), f'a publisher of {topic}')

    def answer(self, topic: str, stamp_ns: int) -> Any:
        """Return the message on `topic` with this stamp, once it has come."""
        return wait(lambda: next((m for m in self.received[topic] if stamp_of(m) == stamp_ns), None),
                    f'{topic} with stamp {stamp_ns}; the node says:\n{self.process.log}')

    def status(self, condition: Callable[[dict[str, str], Any], Any]) -> Any:
        """Return the first status on /diagnostics from now on whose values fulfil `condition(values, status)`."""
        seen = len(self.received['diagnostics'])

        def found() -> Any:
            return next((status for status in self.received['diagnostics'][seen:]
                         if condition({item.key: item.value for item in status.values}, status)), None)

        return wait(found, f'such a status; the last one was {self.received["diagnostics"][-1:]}')

    def said(self) -> dict[str, str]:
        """Return what /diagnostics says after everything that was sent before this call has arrived."""
        for _ in range(2):    # the first may have been on its way already
            status = self.status(lambda values, status: True)
        return {item.key: item.value for item in status.values}

    # What the camera does.

    def tick(self, seconds: float = 0.1) -> int:
        """Let time pass; return the stamp of the next picture."""
        self.clock_ns += int(seconds * 1e9)
        return self.clock_ns

    def warm_up(self, *topics: str) -> None:
        """Send pictures until all these topics answer: then both sides know of each other."""
        self.listen(*topics)

        def answered() -> bool:
            before = {topic: len(self.received[topic]) for topic in topics}
            self.send(image(grey_picture(), self.tick()), camera_info(self.clock_ns))
            deadline_s = time.monotonic() + 0.5
            while not (done := all(len(self.received[topic]) > before[topic] for topic in topics)):
                if time.monotonic() > deadline_s:
                    break
                time.sleep(0.01)
            return done

        wait(answered, f'an answer on {topics}; the node says:\n{self.process.log}')

    def send(self, message: Image, info: CameraInfo | None = None) -> int:
        """Publish camera_info, then the picture; return the stamp of the picture."""
        if info is not None:
            self.infos.publish(info)
        self.images.publish(message)
        return stamp_of(message)

    # Services.

    def call(self, kind: type, name: str, request: Any) -> Any:
        client = self.node.create_client(kind, f'depth_node/{name}')
        assert client.wait_for_service(TIMEOUT_S), f'no service {name}; the node says:\n{self.process.log}'
        future = client.call_async(request)
        answer = wait(lambda: future.result() if future.done() else None, f'an answer of {name}')
        self.node.destroy_client(client)
        return answer

    def state(self) -> str:
        return self.call(GetState, 'get_state', GetState.Request()).current_state.label

    def change_state(self, transition: int) -> bool:
        return self.call(ChangeState, 'change_state', ChangeState.Request(transition=Transition(id=transition))).success

    def set_parameter(self, name: str, value: Any) -> Any:
        """Return the result (successful, reason) of setting a parameter."""
        parameter = RclpyParameter(name, value=value).to_parameter_msg()
        return self.call(SetParameters, 'set_parameters', SetParameters.Request(parameters=[parameter])).results[0]
