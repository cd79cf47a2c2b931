"""The publishers alone, for frames that no shipped network gives yet."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import String

from depth_ros.core.camera import Camera
from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.families.family import Family, SizeRule
from depth_ros.io import topics
from depth_ros.ros.outputs import Outputs
from depth_ros.settings import CloudSettings, Settings, build
from test.ros.rig import wait

FAMILY = Family('posing', Quantity.DISPARITY_AFFINE, SizeRule(fixed=(6, 8)), infer=lambda *_: (None, None),
                gives_pose=True, embedding_dim=3, embedding_meaning='how the camera moves')


@pytest.fixture
def node() -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node('depth_node', context=context)
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def listen(node: Any, kind: type, topic: str, outputs: Outputs, **qos: Any) -> list[Any]:
    """Return the list that messages will be in, once the publisher knows that somebody listens."""
    heard: list[Any] = []
    before = outputs.listeners()
    node.create_subscription(kind, f'depth_node/{topic}', heard.append, QoSProfile(depth=1, **qos))
    wait(lambda: outputs.listeners() > before or topic.endswith('info'), f'a listener of {topic}')
    return heard


def spin_until(node: Any, heard: list[Any]) -> Any:
    executor = rclpy.executors.SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    wait(lambda: executor.spin_once(timeout_sec=0.1) or heard, 'a message')
    return heard[-1]


def depth_frame(stamp_ns: int = 1_500_000_000, **values: Any) -> DepthFrame:
    frame = Frame(np.zeros((6, 8, 3), np.uint8), stamp_ns, Camera(6, 8, 5, 5, 3.5, 2.5), 'optical')
    return DepthFrame(0, frame, np.ones((6, 8), np.float32), Quantity.DISPARITY_AFFINE, **values)


def test_a_pose_is_that_of_the_camera_in_its_own_world(node: Any) -> None:
    outputs = Outputs(node, FAMILY, {}, print, Settings())
    heard = listen(node, PoseStamped, 'pose', outputs)
    T_world_cam = np.eye(4)
    T_world_cam[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]    # a quarter turn about z
    T_world_cam[:3, 3] = 1, 2, 3
    outputs.publish(depth_frame(T_world_cam=T_world_cam), CloudSettings())
    message = spin_until(node, heard)
    p, q = message.pose.position, message.pose.orientation
    assert (p.x, p.y, p.z) == (1, 2, 3)
    assert (q.x, q.y, q.z, q.w) == pytest.approx((0, 0, 0.5 ** 0.5, 0.5 ** 0.5))
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1, 500_000_000)
    assert message.header.frame_id == 'depth_ros_world_unscaled'


def test_a_path_goes_out_while_somebody_subscribes(node: Any) -> None:
    outputs = Outputs(node, FAMILY, {}, print, Settings())
    heard = listen(node, Path, 'path', outputs)
    for index in range(3):
        outputs.publish(replace(depth_frame(T_metric_cam=np.eye(4)), index=index), CloudSettings())
    message = spin_until(node, heard)
    assert (len(message.poses), message.header.frame_id) == (3, 'depth_ros_world')


def test_a_pose_is_on_offer_where_the_network_or_the_pictures_give_one(node: Any) -> None:
    still, walking = replace(FAMILY, gives_pose=False), build({'pose.from_pictures': True})
    for family, settings, offered in ((FAMILY, Settings(), True), (still, Settings(), False), (still, walking, True)):
        outputs = Outputs(node, family, {}, print, settings)
        assert {'pose', 'path'} <= set(outputs.publishers) if offered else not {'pose', 'path'} & set(outputs.publishers)
        outputs.destroy()


class BroadcasterStandIn:
    """Stands in for tf2_ros.TransformBroadcaster, which no wheel brings; keeps what it was to send."""

    def __init__(self, node: Any) -> None:
        self.pub_tf, self.sent = node.create_publisher(String, '/tf', 1), []

    def sendTransform(self, transform: Any) -> None:    # noqa: N802
        self.sent.append(transform)


def test_the_camera_hangs_on_the_world_in_tf_while_its_way_is_in_metres(node: Any,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'tf2_ros', SimpleNamespace(TransformBroadcaster=BroadcasterStandIn))
    said: list[str] = []
    outputs = Outputs(node, FAMILY, {}, said.append, build({'node.publish_tf': True}))
    assert outputs.listeners() == 1    # /tf itself
    T_metric_cam = np.eye(4)
    T_metric_cam[:3, 3] = 1, 2, 3
    outputs.publish(depth_frame(T_metric_cam=T_metric_cam), CloudSettings())
    outputs.publish(depth_frame(T_world_cam=T_metric_cam), CloudSettings())    # in no unit: not for /tf
    nameless = replace(depth_frame().frame, frame_id='')
    outputs.publish(replace(depth_frame(T_metric_cam=T_metric_cam), frame=nameless), CloudSettings())
    assert len(said) == 1 and 'the pictures have no frame_id' in said[0]
    sent, = outputs.broadcaster.sent
    at, turn = sent.transform.translation, sent.transform.rotation
    assert (sent.header.frame_id, sent.child_frame_id) == ('depth_ros_world', 'optical')
    assert (sent.header.stamp.sec, at.x, at.y, at.z, turn.w) == (1, 1, 2, 3, 1)
    outputs.destroy()
    assert not node.count_publishers('/tf')


def test_an_embedding_is_a_row_of_floats_with_the_header_of_the_depth(node: Any) -> None:
    outputs = Outputs(node, FAMILY, {}, print, Settings())
    heard = listen(node, Image, 'pose_embedding', outputs)
    outputs.publish(depth_frame(embedding=np.array([1, 2, 3], np.float32)), CloudSettings())
    message = spin_until(node, heard)
    assert (message.height, message.width, message.encoding, message.header.frame_id) == (1, 3, '32FC1', 'optical')
    assert list(np.frombuffer(message.data, np.float32)) == [1, 2, 3]


def test_who_comes_late_still_learns_what_an_embedding_is(node: Any) -> None:
    outputs = Outputs(node, FAMILY, {'weights_sha256': 'abc'}, print, Settings())
    heard = listen(node, String, 'pose_embedding/info', outputs, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    said = json.loads(spin_until(node, heard).data)
    assert said == {'family': 'posing', 'dimension': 3, 'meaning': 'how the camera moves', 'weights_sha256': 'abc'}


def test_what_nobody_listens_to_is_not_made(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError('made')

    monkeypatch.setattr(topics, 'make_cloud', fail)
    outputs = Outputs(node, FAMILY, {}, print, Settings())
    every_frame = CloudSettings(rate_hz=0.0)
    listen(node, Image, 'preview', outputs)
    outputs.publish(depth_frame(), every_frame)
    listen(node, PointCloud2, 'relative/points', outputs)
    with pytest.raises(AssertionError, match='made'):
        outputs.publish(depth_frame(), every_frame)


def test_the_cloud_comes_at_its_own_rate_by_the_stamps(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, made = Outputs(node, FAMILY, {}, print, Settings()), []
    listen(node, PointCloud2, 'relative/points', outputs)
    monkeypatch.setattr(outputs.messages, 'make', lambda topic, *_: made.append(topic))
    for index in range(300):
        outputs.publish(depth_frame(stamp_ns=index * 1_000_000_000 // 30), CloudSettings(rate_hz=10.0))
    assert len(made) == 100
