"""Metres from a sensor beside the camera, live: how they come, how they go, and what is said meanwhile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image, Imu, PointCloud2, PointField
from std_srvs.srv import Trigger

from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import array_payload, make_header
from depth_ros.ros.outputs import message_types
from test.grey_network import write_network
from test.ros.rig import FRAME_ID, HEIGHT, RELIABLE, WIDTH, Rig, camera_info, image, stamp_of, stamped, wait

GREYS = np.linspace(60, 240, WIDTH).astype(np.uint8)                      # from left to right
RGB = np.repeat(np.tile(GREYS, (HEIGHT, 1))[..., None], 3, axis=2)
DEPTH_M = (255 / GREYS / 2 * np.ones((HEIGHT, 1))).astype(np.float32)     # the network sees disparity 10 * grey / 255
TYPES = message_types()


class Robot:
    """A camera that sees a slanted wall, and a sensor that knows how far it is; or another scene, and another sensor."""

    def __init__(self, rig: Rig, kind: type = Image, topic: str = 'range', rgb: np.ndarray = RGB) -> None:
        self.rig, self.sensor, self.rgb = rig, rig.node.create_publisher(kind, topic, RELIABLE), rgb
        self.elsewhere = rclpy.Context()    # a process has only one type for a topic
        rig.warm_up('alignment', 'relative/image')
        rig.listen('alignment', 'depth/image')
        wait(self.sensor.get_subscription_count, 'a listener of the sensor')

    def change(self, kind: type) -> None:
        """Take a range sensor with another type of message."""
        self.rig.node.destroy_publisher(self.sensor)
        rclpy.init(context=self.elsewhere)
        other = rclpy.create_node('other', namespace=self.rig.namespace, context=self.elsewhere)
        self.sensor = other.create_publisher(kind, 'range', RELIABLE)
        wait(self.sensor.get_subscription_count, 'the node to take the new type')

    def see(self, measured: Any = None) -> Any:
        """Send what was measured and a picture; return the status on ~/alignment of that picture."""
        if measured is not None:
            self.sensor.publish(measured)
        stamp = self.rig.send(image(self.rgb, self.rig.clock_ns), camera_info(self.rig.clock_ns))
        alignment = self.rig.answer('alignment', stamp)
        assert alignment.header.frame_id == FRAME_ID
        self.rig.tick()
        return alignment.status[0]

    def until(self, state: str, make: Any = lambda stamp: None) -> Any:
        """Go on until the alignment has this state; return its status."""
        for _ in range(60):
            status = self.see(make(self.rig.clock_ns))
            if value(status, 'state') == state:
                return status
        raise AssertionError(f'never {state}: {status}\n{self.rig.process.log}')

    def has_metres(self) -> bool:
        """Return whether the picture before had any."""
        return any(stamp_of(message) == stamp_of(self.rig.received['alignment'][-1])
                   for message in self.rig.received['depth/image'])


def value(status: Any, key: str) -> str:
    return next(item.value for item in status.values if item.key == key)


def depth_image(stamp: int, frame_id: str = FRAME_ID, depth_m: np.ndarray = DEPTH_M) -> Image:
    return image_message(TYPES, make_header(TYPES, stamp, frame_id), depth_m, '32FC1')


def cloud(stamp: int, frame_id: str = FRAME_ID, depth_m: np.ndarray = DEPTH_M) -> PointCloud2:
    """Return the wall as points."""
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    rays = np.stack([(u - (WIDTH - 1) / 2) / 50, (v - (HEIGHT - 1) / 2) / 50, np.ones((HEIGHT, WIDTH))], -1)
    message = PointCloud2(height=1, width=HEIGHT * WIDTH, point_step=12, row_step=12 * HEIGHT * WIDTH)
    message.fields = [PointField(name=name, offset=4 * at, datatype=7, count=1) for at, name in enumerate('xyz')]
    message.data = array_payload((rays * depth_m[..., None]).astype(np.float32))
    return stamped(message, stamp, frame_id)


@pytest.fixture(scope='module')
def robot(networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Robot]:
    with Rig('robot', tmp_path_factory.mktemp('robot'), weights=networks['relative'], metric__source='range',
             metric__timeout_s=0.5, metric__hold_s=0.5) as rig:
        robot = Robot(rig)
        yield robot
        rclpy.try_shutdown(context=robot.elsewhere)


def test_a_depth_image_beside_the_camera_makes_metres(robot: Robot) -> None:
    status = robot.until('locked', depth_image)
    assert (status.level, value(status, 'metric')) == (b'\x00', 'true')
    assert float(value(status, 'scale')) == pytest.approx(0.2, rel=0.02)
    message = robot.rig.answer('depth/image', stamp_of(robot.rig.received['alignment'][-1]))
    assert np.frombuffer(message.data, np.float32).reshape(HEIGHT, WIDTH) == pytest.approx(DEPTH_M, rel=0.02)
    said = robot.rig.status(lambda values, status: values.get('metric_state') == 'locked')
    values = {item.key: item.value for item in said.values}
    assert (said.level, values['metric_source'], values['metric']) == (b'\x00', 'range', 'true')
    assert float(values['metric_scale']) == pytest.approx(0.2, rel=0.02) and float(values['range_rate_hz']) > 0


def test_a_sensor_that_stops_is_lost_held_and_given_up(robot: Robot) -> None:
    robot.until('locked', depth_image)
    status = robot.until('lost')
    assert (status.level, robot.has_metres()) == (b'\x02', True)
    assert 'no fix for 0.' in status.message and value(status, 'state') == 'lost'
    robot.rig.status(lambda values, status: status.level == b'\x01' and 'the last scale is held: no fix' in status.message)
    lost_ns = stamp_of(robot.rig.received['alignment'][-1])
    while robot.rig.clock_ns < lost_ns + 700_000_000:
        status = robot.see()
    assert (value(status, 'state'), value(status, 'metric'), robot.has_metres()) == ('lost', 'false', False)
    robot.rig.status(lambda values, status: status.level == b'\x02' and 'metres lost: no fix' in status.message)


def test_another_sensor_takes_over_with_another_type_of_message(robot: Robot) -> None:
    robot.change(PointCloud2)
    robot.until('locked', cloud)
    assert robot.has_metres()
    assert 'is published as sensor_msgs/msg/PointCloud2 now' in robot.rig.process.log


BAD_CLOUDS = {
    'empty': (lambda stamp: cloud(stamp, depth_m=DEPTH_M * np.nan), 'not one valid distance'),
    'behind': (lambda stamp: cloud(stamp, depth_m=-DEPTH_M), 'lies before the camera'),
    'nowhere': (lambda stamp: cloud(stamp, frame_id='lidar'), 'set metric.extrinsic'),
    'elsewhen': (lambda stamp: cloud(stamp - 30 * 10**9), 'check the clocks'),
    'in the future': (lambda stamp: cloud(stamp + 30 * 10**9), 'synchronise the clocks'),
    'no fields': (lambda stamp: TYPES.PointCloud2(header=make_header(TYPES, stamp, FRAME_ID)), 'has no field x, y, z'),
    'before zero': (lambda stamp: cloud(0), 'check the clocks'),
}


@pytest.mark.parametrize('cause', BAD_CLOUDS)
def test_a_sensor_that_sends_what_is_of_no_use_is_lost_with_the_reason(robot: Robot, cause: str) -> None:
    make, said = BAD_CLOUDS[cause]
    robot.until('locked', cloud)
    status = robot.until('lost', make)
    assert said in status.message
    robot.rig.status(lambda values, status: said in status.message and said in values['metric_reason'])
    wait(lambda: 'metres lost: ' in robot.rig.process.log and said in robot.rig.process.log, 'a word in the log')
    robot.until('locked', cloud)


def test_the_metres_survive_what_the_camera_does(robot: Robot) -> None:
    robot.until('locked', cloud)
    robot.rig.tick(-60)    # a bag played in a loop
    status = robot.see(cloud(robot.rig.clock_ns))
    assert value(status, 'state') == 'converging' and not robot.has_metres()
    robot.until('locked', cloud)
    assert robot.rig.call(Trigger, 'reset', Trigger.Request()).success
    assert value(robot.see(cloud(robot.rig.clock_ns)), 'state') == 'converging'
    robot.until('locked', cloud)
    assert robot.rig.set_parameter('metric.on_lost', 'stop').successful
    robot.until('lost')
    assert not robot.has_metres()
    assert robot.rig.set_parameter('metric.on_lost', 'hold').successful


FLOOR = np.maximum(np.arange(HEIGHT) - (HEIGHT - 1) / 2, 0)    # pixels below the horizon of a camera that looks along it
FLOOR_RGB = np.repeat(np.tile(10 * FLOOR[:, None], (1, WIDTH))[..., None], 3, axis=2).astype(np.uint8)


def imu(stamp: int, up: float = 9.81, frame_id: str = FRAME_ID) -> Imu:
    """Return the acceleration of a camera that stands level; y points down in its frame."""
    message = stamped(Imu(), stamp, frame_id)
    message.orientation_covariance[0] = -1.0    # it does not know
    message.linear_acceleration.y = -up
    return message


def test_the_height_of_the_camera_and_an_imu_make_metres(networks: dict[str, Path], tmp_path: Path) -> None:
    with Rig('level', tmp_path, weights=networks['relative'], metric__source='camera_height', metric__gravity='imu',
             metric__height_m=1.5) as rig:
        robot = Robot(rig, Imu, 'imu', FLOOR_RGB)
        for bad in (imu(rig.clock_ns, np.nan), imu(rig.clock_ns, 0.0), imu(rig.clock_ns, frame_id='elsewhere')):
            status = robot.see(bad)
        assert value(status, 'state') == 'converging'
        robot.until('locked', imu)
        message = rig.answer('depth/image', stamp_of(rig.received['alignment'][-1]))
        depth_m = np.frombuffer(message.data, np.float32).reshape(HEIGHT, WIDTH)
        assert depth_m[HEIGHT - 8:] == pytest.approx(50 * 1.5 / FLOOR[HEIGHT - 8:, None] * np.ones(WIDTH), rel=0.03)


def test_a_slow_network_makes_metres_of_the_pictures_that_it_saw(networks: dict[str, Path], tmp_path: Path) -> None:
    slow = write_network(tmp_path, 'disparity_metric', (48, 64))
    with Rig('asking', tmp_path, weights=networks['relative'], metric__source='family', metric__family='onnx',
             metric__weights=slow, metric__every_s=0.5) as rig:
        robot = Robot(rig, Image, 'image')    # no sensor beside the camera
        for _ in range(2):
            robot.until('locked')
            message = rig.answer('depth/image', stamp_of(rig.received['alignment'][-1]))
            depth_m = np.frombuffer(message.data, np.float32).reshape(HEIGHT, WIDTH)
            assert depth_m == pytest.approx(DEPTH_M / 5, rel=0.02)    # disparity 10 * grey / 255, in 1/m
            assert rig.call(Trigger, 'reset', Trigger.Request()).success
            assert value(robot.see(), 'state') == 'converging'


def odometry(stamp: int, x: float = 0.0, w: float = 1.0) -> Odometry:
    message = stamped(Odometry(child_frame_id=FRAME_ID), stamp, 'odom')
    message.pose.pose.position.x, message.pose.pose.orientation.w = x, w
    return message


def test_no_odometry_makes_metres_of_a_picture_that_stands_still(networks: dict[str, Path], tmp_path: Path) -> None:
    with Rig('driving', tmp_path, weights=networks['relative'], metric__source='odometry') as rig:
        robot = Robot(rig, Odometry, 'odometry')
        for x, w in [(0.1, 1), (0.2, 1), (np.nan, 1), (0.3, 0), (-500, 1), (0.4, 1), (0.5, 1), (0.6, 1)]:
            status = robot.see(odometry(rig.clock_ns, float(x), float(w)))
        assert value(status, 'state') == 'converging' and status.level == b'\x01' and not robot.has_metres()
        assert float(rig.said()['odometry_rate_hz']) > 0
