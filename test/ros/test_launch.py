"""The launch file, as far as it can be read without `launch`, and as it runs where that is installed."""

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest

from depth_ros.settings import options

PATH = Path(__file__).parents[2] / 'launch' / 'depth.launch.py'
ARGUMENTS = {'image_topic', 'camera_info_topic', 'metric_source', 'range_topic', 'range_info_topic', 'odometry_topic',
             'imu_topic', 'camera_height', 'cameras', 'namespace', 'name', 'params_file', 'family', 'weights',
             'backend', 'image_transport', 'use_sim_time', 'autostart', 'rviz', 'log_level'}


def constant(name: str) -> Any:
    """Return the value of a constant of the launch file."""
    return next(ast.literal_eval(node.value) for node in ast.parse(PATH.read_text()).body
                if isinstance(node, ast.Assign) and node.targets[0].id == name)


def test_every_argument_has_a_description() -> None:
    assert {name for name, _, _ in constant('ARGUMENTS')} == ARGUMENTS
    assert all(len(text) > 10 for _, _, text in constant('ARGUMENTS'))


def test_an_argument_that_is_a_parameter_is_empty_unless_given() -> None:
    defaults = {name: default for name, default, _ in constant('ARGUMENTS')}
    assert {defaults[name] for name in constant('PARAMETERS')} == {''}


def test_arguments_set_parameters_that_exist() -> None:
    known = {name: item for name, item in options()}
    assert set(constant('PARAMETERS').values()) - set(known) == {'use_sim_time'}
    assert {name for name, parameter in constant('PARAMETERS').items()
            if parameter not in known or known[parameter].type is bool} == set(constant('SWITCHES'))
    assert {name for name, parameter in constant('PARAMETERS').items()
            if parameter in known and known[parameter].type is float} == set(constant('NUMBERS'))


@pytest.fixture
def started() -> Any:
    """Return a function that gives the nodes that the launch file starts for some arguments."""
    launch = pytest.importorskip('launch', reason='launch comes with a ROS installation')
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS installation')
    module = runpy.run_path(str(PATH))

    def start(**given: str) -> list[Any]:
        context = launch.LaunchContext()
        context.launch_configurations.update({name: default for name, default, _ in module['ARGUMENTS']} | given)
        declared = module['generate_launch_description']().get_launch_arguments()
        assert {argument.name for argument in declared} == ARGUMENTS
        return module['start'](context)

    return start


def test_the_display_starts_on_request_only(started: Any) -> None:
    assert len(started()) == 1
    assert [node.node_package for node in started(rviz='true')] == ['depth_ros', 'rviz2']


def test_every_camera_has_a_node_for_its_own_topics(planned: Any) -> None:
    node, display = planned(cameras='left right', namespace='car', rviz='true')
    assert node.name is None and node.arguments[:4] == ['--names', 'left', 'right', '--ros-args']
    assert ('left:image', 'left/image_raw') in node.remappings
    assert ('right:camera_info', 'right/camera_info') in node.remappings
    assert ('/image_raw', '/car/left/image_raw') in display.remappings
    assert ('/depth_node/points', '/car/left/points') in display.remappings
    node, = planned(cameras='left', image_topic='/color/image', camera_info_topic='/color/info')
    assert {('left:image', 'left/color/image'), ('left:camera_info', 'left/color/info')} < set(node.remappings)
    node, = planned(image_topic='/front/image_raw/compressed')
    assert node.name == 'depth_node' and ('image', '/front/image_raw') in node.remappings
    assert ('camera_info', '/front/camera_info') in node.remappings


def test_what_measures_is_where_it_was_said_to_be(planned: Any) -> None:
    node, = planned(metric_source='range', range_topic='/lidar/points', camera_height='1.65')
    assert {('range', '/lidar/points'), ('range/camera_info', '/lidar/camera_info')} < set(node.remappings)
    assert not {'odometry', 'imu'} & {name for name, _ in node.remappings}    # their own names then
    assert node.parameters == [{'metric.source': 'range', 'metric.height_m': 1.65}]
    node, = planned(range_topic='tof/image', range_info_topic='tof/info', odometry_topic='odom', imu_topic='imu/data')
    assert {('range', 'tof/image'), ('range/camera_info', 'tof/info'), ('odometry', 'odom'),
            ('imu', 'imu/data')} < set(node.remappings)


def test_cameras_share_what_measures_by_its_full_name_only(planned: Any) -> None:
    node, = planned(cameras='left right', range_topic='tof/image', odometry_topic='/odom')
    assert {('left:range', 'left/tof/image'), ('right:range/camera_info', 'right/tof/camera_info'),
            ('left:odometry', '/odom'), ('right:odometry', '/odom')} < set(node.remappings)


def test_a_switch_is_true_or_false_and_a_number_is_one(planned: Any) -> None:
    with pytest.raises(RuntimeError, match='expected true or false'):
        planned(autostart='maybe')
    with pytest.raises(RuntimeError, match='camera_height:=1,65: expected a number'):
        planned(camera_height='1,65')
