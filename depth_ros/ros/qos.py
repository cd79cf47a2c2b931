"""Quality of service: best effort in, reliable out, all of it overridable, and mismatches explained."""

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:    # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


# Durability too: a bag that is played gives /tf_static as no latched topic unless it is told to.
OVERRIDABLE = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.RELIABILITY, QoSPolicyKind.DURABILITY)


def subscribe(node: Node, kind: type, topic: str, callback: Callable[[Any], None], warn: Callable[[str], None], *,
              depth: int = 1, latched: bool = False) -> Subscription:
    """Return a subscription that takes the newest `depth` messages from any publisher, reliable or not.

    `latched`: it also gets what reliable, latched publishers sent before, and hears only such.
    """
    name = node.resolve_topic_name(topic)

    def explain(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        warn(f'nothing arrives from a publisher of {name}: it does not offer the {policy} asked for here; remove the '
             f'parameter qos_overrides.{name}.subscription.{policy}, or set it to what the publisher offers '
             f'(ros2 topic info -v {name})')

    asked = (ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL) if latched else (
        ReliabilityPolicy.BEST_EFFORT, DurabilityPolicy.VOLATILE)
    return node.create_subscription(
        kind, topic, callback, _profile(*asked, depth=depth),
        event_callbacks=SubscriptionEventCallbacks(incompatible_qos=explain),
        qos_overriding_options=QoSOverridingOptions(OVERRIDABLE))


def advertise(node: Node, kind: type, topic: str, warn: Callable[[str], None], *, latched: bool = False) -> Publisher:
    """Return a reliable publisher; `latched` ones give their last message to late subscribers."""
    name = node.resolve_topic_name(topic)

    def explain(event: Any) -> None:
        policy = qos_policy_name_from_kind(event.last_policy_kind).lower()
        remedy = {'durability': 'subscribe with durability volatile',
                  'reliability': f'remove the parameter qos_overrides.{name}.publisher.reliability, or subscribe with '
                                 'best effort'}.get(policy, f'change the {policy} of the subscriber')
        warn(f'a subscriber of {name} gets nothing: it asks for a {policy} that is not offered here; {remedy}')

    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return node.create_publisher(
        kind, topic, _profile(ReliabilityPolicy.RELIABLE, durability, depth=1 if latched else 5),
        event_callbacks=PublisherEventCallbacks(incompatible_qos=explain),
        qos_overriding_options=QoSOverridingOptions.with_default_policies())


def _profile(reliability: ReliabilityPolicy, durability: DurabilityPolicy, depth: int) -> QoSProfile:
    # A fresh one each time: the overrides are written into it.
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability, durability=durability)
