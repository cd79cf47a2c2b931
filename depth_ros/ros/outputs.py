"""What the node publishes. Every message is made only while somebody listens, and only if the frame has it."""

import importlib
import json
import os
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import TransformStamped, Vector3
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from depth_ros.core.frame import DepthFrame
from depth_ros.errors import MissingDependency
from depth_ros.families.family import Family
from depth_ros.io.messages import MessageTypes, array_payload
from depth_ros.io.topics import DepthMessages
from depth_ros.ros.qos import advertise
from depth_ros.settings import CloudSettings, Settings


def message_types() -> MessageTypes:
    """Return the message classes of this ROS installation."""
    def find(name: str) -> Any:    # such as sensor_msgs/msg/Image
        package, _, kind = name.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), kind)

    return MessageTypes.load(find, array_payload, list)


def tf_broadcaster(node: Node) -> Any:
    """Return what publishes on /tf. Raises MissingDependency where ROS was installed without it."""
    try:
        from tf2_ros import TransformBroadcaster
    except ImportError as error:
        distro = os.environ.get('ROS_DISTRO', '<distro>')
        raise MissingDependency(f'node.publish_tf needs tf2_ros; install ros-{distro}-tf2-ros-py or set it to '
                                'false') from error
    return TransformBroadcaster(node)


class Outputs:
    """The publishers of one configured node, by private topic name."""

    def __init__(self, node: Node, family: Family, info: dict[str, str], warn: Callable[[str], None],
                 settings: Settings) -> None:
        self.node, self.warn = node, warn
        self.broadcaster: Any = tf_broadcaster(node) if settings.node.publish_tf else None    # first: it may fail
        self.messages = DepthMessages(message_types())
        moves = family.gives_pose or settings.pose.from_pictures
        given = {'pose': moves, 'path': moves, 'pose_embedding': family.embedding_dim > 0}
        self.publishers = {topic: advertise(node, kind, f'~/{topic}', warn)
                           for topic, (kind, _) in self.messages.table.items() if given.get(topic, True)}
        self.latched: list[Publisher] = []
        if family.embedding_dim:
            said = {'family': family.name, 'dimension': family.embedding_dim, 'meaning': family.embedding_meaning, **info}
            self.latched.append(advertise(node, String, '~/pose_embedding/info', warn, latched=True))
            self.latched[0].publish(String(data=json.dumps(said)))

    def listeners(self) -> int:
        """Return how many want any result: subscriptions, and /tf if it was asked for."""
        subscriptions = sum(publisher.get_subscription_count() for publisher in self.publishers.values())
        return subscriptions + (self.broadcaster is not None)

    def publish(self, depth: DepthFrame, cloud: CloudSettings) -> None:
        """Publish what somebody listens to, all with the stamp and frame of the picture."""
        due = self.messages.cloud_due(depth.stamp_ns, cloud.rate_hz)
        for topic, publisher in self.publishers.items():
            if publisher.get_subscription_count() and (due or not topic.endswith('points')):
                message = self.messages.make(topic, depth, cloud)
                if message is not None:
                    publisher.publish(message)
        if self.broadcaster and depth.T_metric_cam is not None:
            self._broadcast(depth, cloud)

    def _broadcast(self, depth: DepthFrame, cloud: CloudSettings) -> None:
        """Publish the pose in metres as the transform from the world to the frame of the camera."""
        if not depth.frame_id:
            self.warn('the pictures have no frame_id, so nothing is on /tf; the camera driver must name its optical frame')
            return
        stamped = self.messages.make('pose', depth, cloud)
        at = stamped.pose.position
        transform = TransformStamped(header=stamped.header, child_frame_id=depth.frame_id)
        transform.transform.translation = Vector3(x=at.x, y=at.y, z=at.z)
        transform.transform.rotation = stamped.pose.orientation
        self.broadcaster.sendTransform(transform)

    def destroy(self) -> None:
        if self.broadcaster:
            self.node.destroy_publisher(self.broadcaster.pub_tf)
        for publisher in [*self.publishers.values(), *self.latched]:
            self.node.destroy_publisher(publisher)
