"""Parameters of a running node: what may change takes effect, what may not is refused with the reason."""

from typing import Any

import pytest
import rclpy
from rcl_interfaces.srv import DescribeParameters, ListParameters

from depth_ros.ros import parameters
from depth_ros.settings import options
from test.ros.rig import HEIGHT, WIDTH, Rig, camera_info, grey_picture, image


def size_of_cloud(rig: Rig) -> tuple[int, int]:
    stamp_ns = rig.send(image(grey_picture(), rig.tick()), camera_info(rig.clock_ns))
    message = rig.answer('points', stamp_ns)
    return message.height, message.width


def test_a_live_parameter_takes_effect_at_the_next_picture(metric: Rig) -> None:
    metric.warm_up('points')
    assert size_of_cloud(metric) == (HEIGHT, WIDTH)
    assert metric.set_parameter('cloud.stride_px', 2).successful
    assert size_of_cloud(metric) == (HEIGHT // 2, WIDTH // 2)
    assert metric.set_parameter('cloud.stride_px', 1).successful


def test_a_live_parameter_of_the_stream_takes_effect_too(metric: Rig) -> None:
    metric.warm_up('depth/image')
    assert metric.set_parameter('metric.max_depth_m', 3.0).successful
    stamp_ns = metric.send(image(grey_picture(255), metric.tick()), camera_info(metric.clock_ns))
    assert bytes(metric.answer('depth/image', stamp_ns).data[:4]) == b'\x00\x00\xc0\x7f'    # NaN: beyond 3 m
    assert metric.set_parameter('metric.max_depth_m', 100.0).successful


@pytest.mark.parametrize(('name', 'value', 'reason'), [
    ('family', 'lite', 'family can only be set before configure'),
    ('node.image_transport', 'compressed', 'node.image_transport can only be set before configure'),
    ('camera.model', 'fisheye', 'expected one of rectified, raw, rectify'),
    ('cloud.stride_px', 0, 'out of range'),
    ('cloud.stride_px', 'two', 'Wrong parameter type'),
    ('cloud.min_depth_m', 25.0, 'cloud.min_depth_m=25 is not below cloud.max_depth_m=20'),
    ('cloud.scan.max_range_m', 0.1, 'cloud.scan.min_range_m=0.1 is not below'),
    ('cloud.roi', '1,2,3', 'expected four numbers'),
])
def test_what_may_not_change_is_refused_with_the_reason(metric: Rig, name: str, value: Any, reason: str) -> None:
    result = metric.set_parameter(name, value)
    assert not result.successful
    assert reason in result.reason


def test_the_same_value_again_is_no_change(metric: Rig) -> None:
    assert metric.set_parameter('family', 'onnx').successful    # `ros2 param load` sends whole files


def test_choices_that_yaml_takes_for_switches_or_numbers_are_still_choices() -> None:
    context = rclpy.Context()
    rclpy.init(context=context)
    words = {'alignment.per_frame': 'off', 'cloud.far': 'inf', 'cloud.scan.far': 'nan'}
    given = ['--ros-args', *(part for name, word in words.items() for part in ('-p', f'{name}:={word}'))]
    node = rclpy.create_node('reading', context=context, cli_args=given)
    parameters.declare(node)
    assert {name: node.get_parameter(name).value for name in words} == words
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def test_every_setting_is_a_parameter_with_its_help_and_limits(metric: Rig) -> None:
    listed = metric.call(ListParameters, 'list_parameters', ListParameters.Request()).result.names
    assert {name for name, _ in options()} <= set(listed)
    described = metric.call(DescribeParameters, 'describe_parameters', DescribeParameters.Request(
        names=[name for name, _ in options()])).descriptors
    for (name, item), descriptor in zip(options(), described, strict=True):
        assert (descriptor.name, descriptor.description) == (name, item.metadata['help'])
        ranges = [*descriptor.integer_range, *descriptor.floating_point_range]
        assert [(limit.from_value, limit.to_value) for limit in ranges] == (
            [] if item.metadata['low'] is None else [(item.metadata['low'], item.metadata['high'])])
        assert all(choice in descriptor.additional_constraints for choice in item.metadata['choices'])
