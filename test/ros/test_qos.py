"""Quality of service: matched with everyone, overridable, and a mismatch is explained."""

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from test.ros.rig import Rig, wait


def profile_of(rig: Rig, topic: str, publishers: bool) -> QoSProfile:
    look = rig.node.get_publishers_info_by_topic if publishers else rig.node.get_subscriptions_info_by_topic
    return next(info.qos_profile for info in look(f'{rig.namespace}/{topic}') if info.node_name == 'depth_node')


def test_a_best_effort_camera_is_heard_unless_the_user_asks_for_reliable(metric: Rig) -> None:
    # The rig asks for reliable with the parameter qos_overrides./<namespace>/image.subscription.reliability.
    assert profile_of(metric, 'image', publishers=False).reliability == ReliabilityPolicy.RELIABLE
    publisher = metric.node.create_publisher(Image, 'image', QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    name = f'{metric.namespace}/image'
    wait(lambda: f'nothing arrives from a publisher of {name}' in metric.process.log, 'a warning')
    assert f'remove the parameter qos_overrides.{name}.subscription.reliability' in metric.process.log
    metric.node.destroy_publisher(publisher)


def test_results_are_reliable_and_not_latched(metric: Rig) -> None:
    profile = profile_of(metric, 'depth_node/depth/image', publishers=True)
    assert (profile.reliability, profile.durability) == (ReliabilityPolicy.RELIABLE, DurabilityPolicy.VOLATILE)


def test_a_subscriber_that_asks_for_too_much_is_told_of_in_the_log(metric: Rig) -> None:
    subscription = metric.node.create_subscription(Image, 'depth_node/preview', lambda message: None, QoSProfile(
        depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
    name = f'{metric.namespace}/depth_node/preview'
    wait(lambda: f'a subscriber of {name} gets nothing' in metric.process.log, 'a warning')
    assert 'subscribe with durability volatile' in metric.process.log
    metric.node.destroy_subscription(subscription)
