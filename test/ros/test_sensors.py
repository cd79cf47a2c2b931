"""The topics that metres come from: which are heard, and what is said of those that are not."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
import rclpy
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image, Imu, LaserScan, PointCloud2
from std_msgs.msg import String

from depth_ros.ros import sensors
from depth_ros.ros.sensors import Sensors
from test.ros.rig import wait


class Listener:
    """A node with sensors, and what they handed over and warned of."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('listener', context=self.context)
        self.elsewhere = rclpy.Context()    # a process has only one type for a topic
        rclpy.init(context=self.elsewhere)
        self.sensor = rclpy.create_node('sensor', context=self.elsewhere)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.heard: list[tuple[str, Any]] = []
        self.warnings: list[str] = []

    def listen(self, *kinds: str) -> Sensors:
        self.sensors = Sensors(self.node, kinds, lambda kind, message: self.heard.append((kind, message)),
                               self.warnings.append)
        return self.sensors

    def until(self, condition: Any, what: str) -> Any:
        return wait(lambda: self.executor.spin_once(timeout_sec=0.02) or condition(), what)

    def hear(self, kind: str, message: Any, **qos: Any) -> Any:
        """Publish until the message is heard, and return its publisher."""
        publisher = self.sensor.create_publisher(type(message), kind, QoSProfile(**{'depth': 1, **qos}))
        self.heard.clear()

        def came() -> bool:
            publisher.publish(message)
            return any(type(got) is type(message) for _, got in self.heard)

        self.until(came, f'a {type(message).__name__} on {kind}')
        return publisher


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(sensors, 'LOOK_S', 0.05)
    monkeypatch.setattr(sensors, 'PATIENCE_S', 0.3)
    monkeypatch.setattr(sensors, 'SILENCE_S', 0.3)
    listener = Listener()
    yield listener
    listener.executor.shutdown()
    for node, context in ((listener.node, listener.context), (listener.sensor, listener.elsewhere)):
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def test_range_is_heard_as_the_type_that_it_has_also_when_that_changes(listener: Listener) -> None:
    listener.listen('range', 'range/camera_info')
    assert 'range' not in listener.sensors.subscriptions
    cloud = listener.hear('range', PointCloud2())
    listener.hear('range/camera_info', CameraInfo())
    assert listener.sensors.problem() == '' and not listener.warnings
    listener.sensor.destroy_publisher(cloud)
    listener.hear('range', Image(), reliability=ReliabilityPolicy.BEST_EFFORT)
    assert listener.warnings == ['/range is published as sensor_msgs/msg/Image now, it was sensor_msgs/msg/PointCloud2']
    assert float(listener.sensors.rates()['range_rate_hz']) > 0
    listener.sensors.destroy()
    assert not list(listener.node.get_subscriptions_info_by_topic('/range'))


def test_range_is_heard_once_nobody_in_the_process_needs_the_other_type(listener: Listener) -> None:
    other = listener.node.create_subscription(Image, 'range', lambda message: None, 1)
    listener.listen('range')
    cloud = listener.sensor.create_publisher(PointCloud2, 'range', 1)
    listener.until(lambda: '/range cannot be heard as sensor_msgs/msg/PointCloud2' in listener.sensors.problem(), 'a word')
    listener.node.destroy_subscription(other)
    listener.sensor.destroy_publisher(cloud)
    cloud = listener.hear('range', PointCloud2())
    assert listener.sensors.problem() == ''
    listener.node.create_subscription(PointCloud2, 'range', lambda message: None, 1)
    listener.sensor.destroy_publisher(cloud)
    image = listener.sensor.create_publisher(Image, 'range', 1)
    listener.until(lambda: '/range cannot be heard as sensor_msgs/msg/Image' in listener.sensors.problem(), 'a word')
    listener.sensor.destroy_publisher(image)
    listener.hear('range', PointCloud2())    # as before


def test_what_does_not_come_is_said_with_the_remedy(listener: Listener) -> None:
    listener.listen('imu')
    assert listener.sensors.problem() == ''    # it may still come
    listener.until(lambda: 'nobody publishes on /imu' in listener.sensors.problem(), 'a word on nobody')
    publisher = listener.hear('imu', Imu())
    assert listener.sensors.problem() == ''
    listener.until(lambda: 'it is still published; look at the sensor' in listener.sensors.problem(), 'a word on silence')
    listener.sensor.destroy_publisher(publisher)
    listener.until(lambda: 'nobody publishes it any more' in listener.sensors.problem(), 'a word on its end')


def test_a_range_that_is_none_is_named_also_after_one_that_was(listener: Listener) -> None:
    listener.listen('range')
    listener.sensor.destroy_publisher(listener.hear('range', PointCloud2()))
    listener.sensor.create_publisher(LaserScan, 'range', 1)
    listener.until(lambda: '/range is published as sensor_msgs/msg/LaserScan, which is not understood'
                   in listener.sensors.problem(), 'a word on the type')


def test_a_publisher_that_offers_too_little_is_explained(listener: Listener) -> None:
    name = 'qos_overrides./odometry.subscription.durability'
    listener.node = rclpy.create_node('asking', context=listener.context,
                                      parameter_overrides=[Parameter(name, value='transient_local')])
    listener.executor.add_node(listener.node)
    listener.listen('odometry')
    listener.sensor.create_publisher(Odometry, 'odometry', QoSProfile(depth=1, durability=DurabilityPolicy.VOLATILE))
    listener.until(lambda: f'remove the parameter {name}' in listener.sensors.problem(), 'a word on the mismatch')
    assert len(listener.warnings) == 1


def test_what_was_latched_before_is_heard_and_what_is_not_latched_is_explained(listener: Listener,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sensors.TYPES, 'tf_static', 'std_msgs/msg/String')    # stands in for tf2_msgs, which no wheel brings
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    listener.node = rclpy.create_node('listener', namespace='robot', context=listener.context)    # /tf is for all
    listener.executor.add_node(listener.node)
    listener.sensor.create_publisher(String, '/tf_static', latched).publish(String(data='from before'))
    listener.listen('tf_static')
    listener.until(lambda: listener.heard, 'what was latched')
    listener.sensor.create_publisher(String, '/tf_static', 1)    # as a played bag does
    listener.until(lambda: listener.warnings, 'a word on it')
    assert 'qos_overrides./tf_static.subscription.durability' in listener.warnings[0]


@pytest.mark.skipif(find_spec('tf2_msgs') is not None, reason='tf2_msgs is installed')
def test_transforms_that_cannot_be_heard_are_said_with_the_remedy(listener: Listener,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    listener.listen('tf', 'range')
    assert listener.warnings == ['/tf is not heard, for tf2_msgs is not installed; if the sensor has a frame of its own, '
                                 'install ros-jazzy-tf2-msgs or set metric.extrinsic']
