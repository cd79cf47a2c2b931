"""Depth from one camera: the node, and rviz2 if wanted.

    ros2 launch depth_ros depth.launch.py image_topic:=/camera/image_raw rviz:=true
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
PARAMETERS = {'family': 'family', 'weights': 'weights', 'backend': 'backend', 'image_transport': 'node.image_transport',
              'use_sim_time': 'use_sim_time', 'autostart': 'node.autostart'}
SWITCHES = ('use_sim_time', 'autostart')


def generate_launch_description() -> LaunchDescription:
    declared = [DeclareLaunchArgument(name, default_value=default, description=text) for name, default, text in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def start(context: LaunchContext) -> list[Node]:
    """Return the nodes for the arguments as they were given."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    namespace = f'/{given["namespace"].strip("/")}'.rstrip('/')
    image = given['image_topic'].removesuffix('/compressed')
    info = given['camera_info_topic'] or '/'.join([*image.split('/')[:-1], 'camera_info'])
    explicit = {parameter: typed(name, given[name]) for name, parameter in PARAMETERS.items() if given[name]}
    depth = Node(
        package='depth_ros', executable='depth_node', name=given['name'], namespace=given['namespace'], output='screen',
        parameters=[source for source in (given['params_file'], explicit) if source],    # the later one wins
        arguments=['--ros-args', '--log-level', given['log_level']],
        remappings=[('image', image), ('image/compressed', f'{image}/compressed'), ('camera_info', info)])
    # Our display file has the names of a node with the default arguments.
    topics = ('preview', 'points', 'relative/points')
    renamed = [(f'/depth_node/{topic}', f'{namespace}/{given["name"]}/{topic}') for topic in topics]
    display = Node(
        package='rviz2', executable='rviz2', name='rviz2',
        arguments=['-d', str(Path(get_package_share_directory('depth_ros'), 'config', 'depth.rviz'))],
        remappings=[('/image_raw', image if image.startswith('/') else f'{namespace}/{image}'), *renamed])
    return [depth, display] if is_true('rviz', given['rviz']) else [depth]


def typed(name: str, value: str) -> bool | ParameterValue:
    # Without a type, a file named 12 would become a number.
    return is_true(name, value) if name in SWITCHES else ParameterValue(value, value_type=str)


def is_true(name: str, value: str) -> bool:
    if value.lower() not in ('true', 'false'):
        raise RuntimeError(f'{name}:={value}: expected true or false')
    return value.lower() == 'true'
