"""Recipes name topics, types, quality of service and parameters as they are in a running node, and in other packages."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.qos import (
    DurabilityPolicy,
    LivelinessPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import CameraInfo, Image

from depth_ros.io.image_msg import image_message
from depth_ros.io.messages import make_header
from depth_ros.ros import parameters
from depth_ros.ros.sensors import RANGE_TYPES, TYPES
from depth_ros.settings import build, options
from test.ros.rig import COMMAND, FRAME_ID, Rig, camera_info, grey_picture, image, stamp_of
from test.ros.test_metres import DEPTH_M, Robot, value
from test.ros.test_metres import TYPES as MESSAGES

ROOT = Path(__file__).parents[2]
FILES = {path.stem: path for path in sorted((ROOT / 'config' / 'recipes').glob('*.yaml'))}
PAGES = {path.stem: path.read_text() for path in sorted((ROOT / 'docs' / 'recipes').glob('*.md'))}
INDEX = PAGES.pop('README')
LAUNCH = ROOT / 'launch' / 'depth.launch.py'

IMAGE, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
RELIABLE, BEST_EFFORT = (QoSProfile(depth=10, reliability=reliability, durability=DurabilityPolicy.VOLATILE,
                                    liveliness=LivelinessPolicy.AUTOMATIC)
                         for reliability in (ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT))

# Facts about the others; the pages say which versions they were read in.
RGBD = {'rgb/image': IMAGE, 'rgb/camera_info': INFO, 'depth/image': IMAGE}    # CommonDataSubscriber, RGBDOdometry
CONSUMERS = {    # executable -> {name in the node: type}
    'rgbd_odometry': RGBD,
    'rtabmap': RGBD,
    'nvblox_node': {'camera_0/depth/image': IMAGE, 'camera_0/depth/camera_info': INFO,
                    'camera_0/color/image': IMAGE, 'camera_0/color/camera_info': INFO},
    'rectify_node': {'image': IMAGE, 'camera_info': INFO},
    'cameracalibrator': {'image': IMAGE},
}
OF_CAMERAS = {    # all reliable as they come
    **{f'/{name}/{topic}': kind for name in ('camera', 'left', 'right')
       for topic, kind in (('image_raw', IMAGE), ('camera_info', INFO))},
    **{f'/{sensor}/{topic}': kind for sensor in ('camera/camera/color', 'camera/camera/aligned_depth_to_color', 'oak/rgb',
                                                 'oak/stereo')
       for topic, kind in (('image_raw', IMAGE), ('camera_info', INFO))},
    '/velodyne_points': 'sensor_msgs/msg/PointCloud2',
}
INPUTS = {'image_topic': (IMAGE,), 'camera_info_topic': (INFO,), 'range_topic': RANGE_TYPES, 'range_info_topic': (INFO,),
          'odometry_topic': (TYPES['odometry'],), 'imu_topic': (TYPES['imu'],)}    # by launch argument


def asked(node: str, values: dict[str, Any]) -> QoSProfile:
    """Return what a consumer with these parameters asks for, at its strictest."""
    if node == 'nvblox_node':    # parseQosString
        return {'SYSTEM_DEFAULT': RELIABLE, 'DEFAULT': RELIABLE, 'SENSOR_DATA': BEST_EFFORT}[values['input_qos']]
    return BEST_EFFORT if values.get('qos') == 2 else RELIABLE    # rtabmap_ros: 0 system default, 1 reliable, 2 best effort


def sections(content: dict[str, Any], prefix: str = '') -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (namespace, name, parameters) of each node of a parameter file; any namespace is /somewhere."""
    for key, inner in content.items():
        name = f'{prefix}/{key}'.replace('//', '/')
        if 'ros__parameters' in inner:
            namespace, _, node = name.replace('/**', '/somewhere').rpartition('/')
            yield namespace or '/', node, flat(inner['ros__parameters'])
        else:
            yield from sections(inner, name)


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    return {key: value for name, item in values.items()
            for key, value in (flat(item, f'{prefix}{name}.') if isinstance(item, dict) else {prefix + name: item}).items()}


def as_text(values: dict[str, Any]) -> dict[str, str]:
    """Return the values as text: ROS reads inf as a number, PyYAML as a word."""
    return {key: str(value) for key, value in values.items()}


def nodes(recipe: str) -> list[tuple[str, str, dict[str, Any]]]:
    return list(sections(yaml.safe_load(FILES[recipe].read_text())))


def our_names(recipe: str) -> set[str]:
    return {name for _, name, _ in nodes(recipe) if name in ('depth_node', 'left', 'right')}


def commands(page: str, *start: str) -> list[list[str]]:
    """Return the words of the commands on a page that begin with `start`."""
    lines = '\n'.join(re.findall(r'```bash\n(.*?)```', page, re.DOTALL)).replace('\\\n', ' ').splitlines()
    return [words for words in map(shlex.split, lines) if words[:len(start)] == list(start)]


def assigned(words: list[str]) -> dict[str, str]:
    """Return {name: value} of words such as name:=value."""
    return dict(word.split(':=', 1) for word in words if ':=' in word)


def launched(page: str) -> dict[str, str]:
    """Return the arguments that the page gives to our launch file."""
    words, = commands(page, 'ros2', 'launch', 'depth_ros', 'depth.launch.py')
    return assigned(words)


def of_others(recipe: str) -> dict[str, str]:
    """Return {topic: type} of what cameras and, where the page starts it, image_proc publish."""
    rectified = [assigned(words)['image_rect'] for words in commands(PAGES[recipe], 'ros2', 'run', 'image_proc')]
    return OF_CAMERAS | dict.fromkeys(rectified, IMAGE)


def consumed(recipe: str) -> Iterator[tuple[str, str, QoSProfile]]:
    """Yield (topic, type, quality of service) of all that a recipe's consumers subscribe to."""
    values = {name: given for _, name, given in nodes(recipe)}
    for given in values.values():
        for key, sources in given.items():
            if key.endswith('.observation_sources'):    # of a layer of Nav2: SensorDataQoS
                for source in sources.split():
                    of_source = f'{key.rpartition(".")[0]}.{source}'
                    yield given[f'{of_source}.topic'], f'sensor_msgs/msg/{given[f"{of_source}.data_type"]}', BEST_EFFORT
    for words in commands(PAGES[recipe], 'ros2', 'run'):
        for name, topic in assigned(words).items():
            if name in CONSUMERS.get(words[3], {}):
                yield topic, CONSUMERS[words[3]][name], asked(words[3], values.get(words[3], {}))


@pytest.fixture(scope='module')
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """The node as it is shipped, with metres from a known relation."""
    with Rig('recipes', tmp_path_factory.mktemp('recipes'), family='lite', metric__source='fixed', metric__scale=1.0,
             metric__shift=0.1) as rig:
        rig.warm_up('depth/image')
        yield rig


@pytest.fixture(scope='module')
def published(rig: Rig) -> dict[str, Any]:
    """Return what the node publishes: {private topic: type and quality of service}."""
    own = f'{rig.namespace}/depth_node/'
    found = {topic.removeprefix(own): rig.node.get_publishers_info_by_topic(topic)
             for topic, _ in rig.node.get_topic_names_and_types() if topic.startswith(own)}
    return {topic: infos[0] for topic, infos in found.items() if infos}


def test_every_recipe_has_a_page_that_is_listed() -> None:
    assert FILES.keys() == PAGES.keys()
    assert set(re.findall(r'\((\w+)\.md\)', INDEX)) == set(PAGES)
    assert {'nav2_local_costmap', 'nvblox', 'rtabmap', 'realsense', 'oak', 'usb_cam', 'two_cameras',
            'lidar_anchoring'} <= set(PAGES)


@pytest.mark.parametrize('page', ['README', *PAGES])
def test_a_page_links_only_what_is_there(page: str) -> None:
    links = re.findall(r'\]\(([^):]+)\)', PAGES.get(page, INDEX))
    assert all((ROOT / 'docs' / 'recipes' / link).exists() for link in links)
    assert page == 'README' or f'../../config/recipes/{page}.yaml' in links


@pytest.mark.parametrize('recipe', FILES)
def test_ros_reads_of_a_file_what_stands_there_for_each_node(recipe: str) -> None:
    assert our_names(recipe)
    rclpy.init()
    try:
        for namespace, name, values in nodes(recipe):
            node = rclpy.create_node(name, namespace=namespace, cli_args=['--ros-args', '--params-file', str(FILES[recipe])])
            read = {key: item.value for key, item in node._parameter_overrides.items()}
            assert as_text(read) == as_text(values), name
            if name in our_names(recipe):
                parameters.declare(node)    # raises for a name that is not known or a value that is not allowed
            node.destroy_node()
    finally:
        rclpy.shutdown()


@pytest.mark.parametrize('recipe', FILES)
def test_what_a_consumer_asks_for_is_published_so_that_it_gets_it(recipe: str, published: dict[str, Any]) -> None:
    for topic, kind, quality in consumed(recipe):
        node, _, rest = topic.lstrip('/').partition('/')
        if node in our_names(recipe) and rest in published:
            offered = published[rest]
            assert offered.topic_type == kind, topic
            assert qos_check_compatible(offered.qos_profile, quality) == (QoSCompatibility.OK, ''), topic
        else:
            assert of_others(recipe).get(topic) == kind, f'{topic} is published by nobody'


def test_recipes_of_consumers_consume_what_is_ours() -> None:
    ours = {recipe: {topic.rpartition('/')[2] if 'points' in topic or 'scan' in topic else topic.removeprefix('/depth_node/')
                     for topic, _, _ in consumed(recipe) if topic.split('/')[1] in our_names(recipe)} for recipe in FILES}
    assert ours['nav2_local_costmap'] == {'points', 'scan'} and 'points' in ours['two_cameras']
    assert ours['nvblox'] == {'depth/image', 'depth/camera_info'} == ours['rtabmap']


def test_messages_are_as_the_consumers_read_them(rig: Rig) -> None:
    rig.warm_up('depth/image', 'depth/camera_info', 'points')
    stamp = rig.send(image(grey_picture(), rig.tick()), camera_info(rig.clock_ns))
    depth, info, cloud = (rig.answer(topic, stamp) for topic in ('depth/image', 'depth/camera_info', 'points'))
    assert depth.encoding == '32FC1' and (info.height, info.width) == (depth.height, depth.width)
    assert stamp_of(depth) == stamp_of(info) == stamp_of(cloud)    # nvblox and RTAB-Map match exactly equal stamps
    assert depth.header.frame_id == info.header.frame_id == cloud.header.frame_id
    assert [(field.name, field.datatype) for field in cloud.fields[:3]] == [('x', 7), ('y', 7), ('z', 7)]    # float32


def test_the_node_takes_what_cameras_publish(rig: Rig) -> None:
    for topic, kind in (('image', IMAGE), ('camera_info', INFO)):
        wanted, = rig.node.get_subscriptions_info_by_topic(f'{rig.namespace}/{topic}')
        sent, = rig.node.get_publishers_info_by_topic(f'{rig.namespace}/{topic}')
        assert wanted.topic_type == sent.topic_type == kind
        # As the recipes ask for it with qos_overrides, and the drivers send.
        assert {wanted.qos_profile.reliability, sent.qos_profile.reliability} == {ReliabilityPolicy.RELIABLE}


@pytest.mark.parametrize('recipe', FILES)
def test_the_node_is_launched_with_arguments_that_exist_and_topics_of_the_right_type(recipe: str) -> None:
    known = next(ast.literal_eval(item.value) for item in ast.parse(LAUNCH.read_text()).body
                 if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == 'ARGUMENTS')
    given = launched(PAGES[recipe])
    assert given.keys() <= {name for name, _, _ in known}
    assert given['params_file'] == f'$RECIPES/{recipe}.yaml'
    assert given.get('cameras', 'depth_node').split() == sorted(our_names(recipe))
    for name in INPUTS.keys() & given.keys():
        assert of_others(recipe).get(given[name]) in INPUTS[name], given[name]
    for _, name, values in nodes(recipe):
        if name in our_names(recipe):
            needs = {'range': 'range_topic', 'odometry': 'odometry_topic'}.get(values['metric.source'])
            assert {'range_topic', 'odometry_topic'} & given.keys() == ({needs} if needs else set())
            overridden = {key.split('.')[1] for key in values if key.startswith('qos_overrides')}
            assert overridden <= set(given.values()), 'quality of service of a topic that nobody listens to'


def test_a_realsense_brings_metres_as_the_recipe_stands(planned: Any, networks: dict[str, Path], tmp_path: Path) -> None:
    node, = planned(**launched(PAGES['realsense']) | {'params_file': str(FILES['realsense'])})
    renamed, topics = [word for pair in node.remappings for word in ('-r', ':='.join(pair))], dict(node.remappings)
    command = (*COMMAND, '--ros-args', '--params-file', *node.parameters, *renamed, '--')
    with Rig('realsense', tmp_path, command=command, weights=networks['relative']) as rig:
        rig.images = rig.node.create_publisher(Image, topics['image'], RELIABLE)
        rig.infos = rig.node.create_publisher(CameraInfo, topics['camera_info'], RELIABLE)
        infos = rig.node.create_publisher(CameraInfo, topics['range/camera_info'], RELIABLE)
        robot = Robot(rig, topic=topics['range'])

        def aligned_depth(stamp: int) -> Image:    # in millimetres, as the driver has it
            infos.publish(camera_info(stamp))
            depth_mm = (1000 * DEPTH_M).astype(np.uint16)
            return image_message(MESSAGES, make_header(MESSAGES, stamp, FRAME_ID), depth_mm, '16UC1')

        assert float(value(robot.until('locked', aligned_depth), 'scale')) == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize('recipe', FILES)
def test_commands_use_the_recipe_and_run_nodes_that_it_has_parameters_for(recipe: str) -> None:
    for words in commands(PAGES[recipe], 'ros2'):
        files = [word for word in [*words, *assigned(words).values()] if word.startswith('$RECIPES/')]
        assert all(word == f'$RECIPES/{recipe}.yaml' for word in files)
    of_ours = our_names(recipe) | {'local_costmap'}
    started = ' '.join(' '.join(words) for words in commands(PAGES[recipe], 'ros2') if words[1] in ('run', 'launch'))
    assert all(name in started for _, name, _ in nodes(recipe) if name not in of_ours)


@pytest.mark.parametrize('page', ['README', *PAGES])
def test_a_page_speaks_of_topics_and_settings_that_exist(page: str, published: dict[str, Any]) -> None:
    text = PAGES.get(page, INDEX)
    spoken = re.findall(r'(?:~|/depth_node)/([a-z_/]+)', text)
    assert set(spoken) <= {*published, 'reset'}
    settings = {name for name, _ in options()}
    groups = '|'.join({name.split('.')[0] for name in settings if '.' in name})
    assert set(re.findall(rf'`((?:{groups})\.[\w.]+)`', text)) <= settings


def test_a_wrong_recipe_would_be_found() -> None:
    with pytest.raises(Exception, match='unknown setting'):
        build({'cloud.stride': 2})
    assert qos_check_compatible(BEST_EFFORT, RELIABLE)[0] == QoSCompatibility.ERROR
