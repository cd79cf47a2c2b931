import importlib

import pytest

from depth_ros.io.messages import MessageTypes, array_payload


@pytest.fixture(scope='session')
def live_types():
    """Return the message classes of rclpy, or skip."""
    pytest.importorskip('sensor_msgs.msg', reason='needs the message packages of ROS 2')

    def find(name):
        package, _, kind = name.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), kind)

    return MessageTypes.load(find, array_payload, list)
