"""The topics that metres come from: subscribed only where the metric source needs them, missed aloud."""

import importlib
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.subscription import Subscription

from depth_ros.ros.diagnostics import PATIENCE_S, SILENCE_S, Rate
from depth_ros.ros.qos import subscribe

LOOK_S = 0.5    # between two looks at who publishes `range`
TYPES = {'range/camera_info': 'sensor_msgs/msg/CameraInfo', 'odometry': 'nav_msgs/msg/Odometry',
         'imu': 'sensor_msgs/msg/Imu', 'tf': 'tf2_msgs/msg/TFMessage', 'tf_static': 'tf2_msgs/msg/TFMessage'}
RANGE_TYPES = ('sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/Image')
MEASURES = ('range', 'odometry', 'imu')    # without these there is nothing; the others only help to read them
DEPTHS = {'range': 5, 'odometry': 20, 'imu': 20, 'tf': 100, 'tf_static': 100}


class Sensors:
    """Subscriptions by kind, as `Measurements.add` calls them. The type of `range` is that of its publisher."""

    def __init__(self, node: Node, kinds: Iterable[str], hand_over: Callable[[str, Any], None],
                 warn: Callable[[str], None]) -> None:
        self.node, self.hand_over, self.warn = node, hand_over, warn
        self.topics = {kind: node.resolve_topic_name(f'/{kind}' if kind.startswith('tf') else kind) for kind in kinds}
        self.subscriptions: dict[str, Subscription] = {}
        self.arrivals = {kind: Rate() for kind in self.topics if kind in MEASURES}
        self.mismatches: dict[str, str] = {}    # what a publisher does not offer, by kind
        self.range_type, self.strange = '', ''
        self.since_s = time.monotonic()
        for kind in self.topics:
            if kind != 'range':
                self._subscribe(kind, TYPES[kind])
        # Publishers come later, and another sensor may take over.
        self.timer = node.create_timer(LOOK_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    def destroy(self) -> None:
        self.node.destroy_timer(self.timer)
        for subscription in self.subscriptions.values():
            self.node.destroy_subscription(subscription)

    def rates(self) -> dict[str, str]:
        """Return how often each sensor is heard, as text."""
        now_s = time.monotonic()
        return {f'{kind}_rate_hz': f'{arrivals.hz(now_s):.2f}' for kind, arrivals in self.arrivals.items()}

    def problem(self) -> str:
        """Return what does not come and what to do about it, '' if all is well."""
        now_s = time.monotonic()
        for kind, arrivals in self.arrivals.items():
            name, silence_s = self.topics[kind], arrivals.silence_s(now_s)
            published = self.node.count_publishers(name) > 0
            if (silence_s is None and now_s - self.since_s > PATIENCE_S) or (silence_s or 0.0) > SILENCE_S:
                return self._why_silent(kind, name, published, silence_s)
        return ''

    def _why_silent(self, kind: str, name: str, published: bool, silence_s: float | None) -> str:
        if published and kind == 'range' and self.strange:
            return (f'{name} is published as {self.strange}, which is not understood; metres need '
                    f'{" or ".join(RANGE_TYPES)} on it')
        if published and kind in self.mismatches:
            return self.mismatches[kind]
        if silence_s is not None:
            why = 'it is still published' if published else 'nobody publishes it any more'
            return f'nothing has come on {name} for {silence_s:.0f} s, and metres need it: {why}; look at the sensor'
        if not published:
            return f'nobody publishes on {name}, and metres need it; remap {kind} to the topic of the sensor'
        return (f'{name} is published, but nothing arrives, and metres need it; large messages get lost with best effort: '
                f'set qos_overrides.{name}.subscription.reliability to reliable, or use config/fastdds.xml')

    def _look(self) -> None:
        """Subscribe to `range` with the type that it is published with."""
        if 'range' not in self.topics:
            return
        types = {info.topic_type for info in self.node.get_publishers_info_by_topic(self.topics['range'])}
        usable = [kind for kind in RANGE_TYPES if kind in types]
        self.strange = '' if usable else ', '.join(sorted(types))
        if usable and self.range_type not in usable:
            if 'range' in self.subscriptions:
                self.node.destroy_subscription(self.subscriptions.pop('range'))
                self.warn(f'{self.topics["range"]} is published as {usable[0]} now, it was {self.range_type}')
                self.range_type = ''    # nothing is heard until the next line works
            try:
                self._subscribe('range', usable[0])
                self.range_type = usable[0]
                self.mismatches.pop('range', None)
            except Exception as error:    # as long as another node of this process hears it with the other type
                self.mismatches['range'] = (f'{self.topics["range"]} cannot be heard as {usable[0]} ({error}); restart the '
                                            'node if this stays')

    def _subscribe(self, kind: str, message_type: str) -> None:
        package, _, name = message_type.split('/')
        try:
            found = getattr(importlib.import_module(f'{package}.msg'), name)
        except ImportError:
            distro = os.environ.get('ROS_DISTRO', '<distro>')
            self.warn(f'{self.topics[kind]} is not heard, for {package} is not installed; if the sensor has a frame of its '
                      f'own, install ros-{distro}-{package.replace("_", "-")} or set metric.extrinsic')
            return
        self.subscriptions[kind] = subscribe(self.node, found, self.topics[kind], partial(self._take, kind),
                                             partial(self._mismatch, kind), depth=DEPTHS.get(kind, 1),
                                             latched=kind == 'tf_static')

    def _take(self, kind: str, message: Any) -> None:
        if kind in self.arrivals:
            self.arrivals[kind].tick(time.monotonic())
        self.hand_over(kind, message)

    def _mismatch(self, kind: str, text: str) -> None:
        self.mismatches[kind] = text
        self.warn(text)
