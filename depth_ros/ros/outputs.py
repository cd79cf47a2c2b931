"""What the node publishes. Every message is made only while somebody listens, and only if the frame has it."""

import importlib
import json
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import String

from depth_ros.core.frame import DepthFrame
from depth_ros.families.family import Family
from depth_ros.io.messages import MessageTypes, array_payload
from depth_ros.io.topics import DepthMessages
from depth_ros.ros.qos import advertise
from depth_ros.settings import CloudSettings


def message_types() -> MessageTypes:
    """Return the message classes of this ROS installation."""
    def find(name: str) -> Any:    # such as sensor_msgs/msg/Image
        package, _, kind = name.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), kind)

    return MessageTypes.load(find, array_payload, list)


class Outputs:
    """The publishers of one configured node, by private topic name."""

    def __init__(self, node: Node, family: Family, info: dict[str, str], warn: Callable[[str], None]) -> None:
        self.node = node
        self.messages = DepthMessages(message_types())
        given = {'pose': family.gives_pose, 'pose_embedding': family.embedding_dim > 0}
        self.publishers = {topic: advertise(node, kind, f'~/{topic}', warn)
                           for topic, (kind, _) in self.messages.table.items() if given.get(topic, True)}
        self.latched: list[Publisher] = []
        if family.embedding_dim:
            said = {'family': family.name, 'dimension': family.embedding_dim, 'meaning': family.embedding_meaning, **info}
            self.latched.append(advertise(node, String, '~/pose_embedding/info', warn, latched=True))
            self.latched[0].publish(String(data=json.dumps(said)))

    def listeners(self) -> int:
        """Return how many subscriptions there are to any result."""
        return sum(publisher.get_subscription_count() for publisher in self.publishers.values())

    def publish(self, depth: DepthFrame, cloud: CloudSettings) -> None:
        """Publish what somebody listens to, all with the stamp and frame of the picture."""
        due = self.messages.cloud_due(depth.stamp_ns, cloud.rate_hz)
        for topic, publisher in self.publishers.items():
            if publisher.get_subscription_count() and (due or not topic.endswith('points')):
                message = self.messages.make(topic, depth, cloud)
                if message is not None:
                    publisher.publish(message)

    def destroy(self) -> None:
        for publisher in [*self.publishers.values(), *self.latched]:
            self.node.destroy_publisher(publisher)
