"""Depth from one camera: the node, and rviz2 if wanted. Or from several: a node for each, in one process.

    ros2 launch depth_ros depth.launch.py image_topic:=/camera/image_raw rviz:=true
    ros2 launch depth_ros depth.launch.py metric_source:=range range_topic:=/lidar/points
    ros2 launch depth_ros depth.launch.py cameras:="left right"    # /left/image_raw and /right/image_raw
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

# Name, default, description. Those that are parameters of the node are empty unless given, so that they beat the
# parameter file only then.
ARGUMENTS = (
    ('image_topic', 'image_raw', 'Topic of the pictures.'),
    ('camera_info_topic', '', 'Topic of the calibration; empty: camera_info beside the pictures.'),
    ('metric_source', '', 'What brings metres (parameter metric.source): range, camera_height, odometry, family or fixed.'),
    ('range_topic', '', 'For the source range: LiDAR (PointCloud2) or depth image. Empty: range.'),
    ('range_info_topic', '', 'Calibration of that depth image; empty: camera_info beside it.'),
    ('odometry_topic', '', 'For the source odometry: nav_msgs/Odometry. Empty: odometry.'),
    ('imu_topic', '', 'For the source camera_height, with metric.gravity imu. Empty: imu.'),
    ('camera_height', '', 'For the source camera_height: over the ground [m] (parameter metric.height_m).'),
    ('cameras', '', 'Names of several cameras, e.g. "left right": a node for each, in one process, topics below its name.'),
    ('namespace', '', 'Namespace of the node.'),
    ('name', 'depth_node', 'Name of the node; its outputs are below it.'),
    ('params_file', '', 'Parameter file; share/depth_ros/config/depth.yaml lists every parameter with its default.'),
    ('family', '', 'Model family (parameter family).'),
    ('weights', '', 'File with the weights (parameter weights).'),
    ('backend', '', 'What runs the network (parameter backend).'),
    ('image_transport', '', 'raw or compressed (parameter node.image_transport).'),
    ('use_sim_time', '', 'true: take the time from /clock, as with a played bag. Default: false.'),
    ('autostart', '', 'false: wait for a lifecycle manager (parameter node.autostart). Default: true.'),
    ('rviz', 'false', 'true: start rviz2 too.'),
    ('log_level', 'info', 'debug, info, warn, error or fatal.'),
)
PARAMETERS = {'family': 'family', 'weights': 'weights', 'backend': 'backend', 'metric_source': 'metric.source',
              'camera_height': 'metric.height_m', 'image_transport': 'node.image_transport',
              'use_sim_time': 'use_sim_time', 'autostart': 'node.autostart'}
SWITCHES = ('use_sim_time', 'autostart')
NUMBERS = ('camera_height',)
SHOWN = ('preview', 'points', 'relative/points', 'pose', 'path')    # in config/depth.rviz, of a node with the default name


def generate_launch_description() -> LaunchDescription:
    declared = [DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """Return the nodes for the arguments as they were given."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    namespace = f'/{given["namespace"].strip("/")}'.rstrip('/')
    cameras = given['cameras'].split()
    topics = {name: inputs(given, f'{name}/' if cameras else '') for name in cameras or [given['name']]}
    explicit = {parameter: typed(name, given[name]) for name, parameter in PARAMETERS.items() if given[name]}
    depth = Node(
        package='depth_ros', executable='depth_node', name=None if cameras else given['name'],
        namespace=given['namespace'], output='screen',
        parameters=[source for source in (given['params_file'], explicit) if source],    # the later one wins
        arguments=[*(['--names', *cameras] if cameras else []), '--ros-args', '--log-level', given['log_level']],
        remappings=[(f'{name}:{topic}' if cameras else topic, to) for name in topics for topic, to in topics[name].items()])
    first, image = next(iter(topics)), next(iter(topics.values()))['image']
    renamed = [(f'/depth_node/{topic}', f'{namespace}/{first}/{topic}') for topic in SHOWN]
    display = Node(
        package='rviz2', executable='rviz2', name='rviz2',
        arguments=['-d', str(Path(get_package_share_directory('depth_ros'), 'config', 'depth.rviz'))],
        remappings=[('/image_raw', image if image.startswith('/') else f'{namespace}/{image}'), *renamed])
    return [depth, display] if is_true('rviz', given['rviz']) else [depth]


def inputs(given: dict[str, str], prefix: str) -> dict[str, str]:
    """Return {name in the node: topic} of what a node listens to, with the `prefix` of one camera of many."""
    image, info = (topic.lstrip('/') if prefix else topic for topic in (given['image_topic'], given['camera_info_topic']))
    image = prefix + image.removesuffix('/compressed')
    topics = {'image': image, 'image/compressed': f'{image}/compressed',
              'camera_info': prefix + info if info else beside(image)}
    # What measures beside the camera: below its name, too, but for a full name, which all cameras share.
    sensors = {'range': given['range_topic'], 'range/camera_info': given['range_info_topic'] or beside(given['range_topic']),
               'odometry': given['odometry_topic'], 'imu': given['imu_topic']}
    return topics | {name: topic if topic.startswith('/') else prefix + topic for name, topic in sensors.items() if topic}


def beside(topic: str) -> str:
    """Return the topic camera_info in the namespace of `topic`, '' for ''."""
    return '/'.join([*topic.split('/')[:-1], 'camera_info']) if topic else ''


def typed(name: str, value: str) -> bool | float | ParameterValue:
    if name in SWITCHES:
        return is_true(name, value)
    if name in NUMBERS:
        return number(name, value)
    return ParameterValue(value, value_type=str)    # without a type, a file named 12 would become a number


def is_true(name: str, value: str) -> bool:
    if value.lower() not in ('true', 'false'):
        raise RuntimeError(f'{name}:={value}: expected true or false')
    return value.lower() == 'true'


def number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise RuntimeError(f'{name}:={value}: expected a number') from None
