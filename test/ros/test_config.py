"""The files that are installed beside the node: parameters and the display."""

import ast
import re
from pathlib import Path
from typing import Any

import yaml

from depth_ros.io.topics import DepthMessages
from depth_ros.ros.outputs import message_types
from depth_ros.settings import options

CONFIG = Path(__file__).parents[2] / 'config'


def flat(values: dict[str, Any], prefix: str = '') -> dict[str, Any]:
    return {key: value for name, item in values.items()
            for key, value in (flat(item, f'{prefix}{name}.') if isinstance(item, dict) else {prefix + name: item}).items()}


def test_the_parameter_file_holds_every_setting_with_its_default_and_help() -> None:
    text = (CONFIG / 'depth.yaml').read_text()
    content = yaml.safe_load(text)
    assert list(content) == ['/**'] and list(content['/**']) == ['ros__parameters']
    assert flat(content['/**']['ros__parameters']) == {name: item.default for name, item in options()}
    comments = re.sub(r'\s*\n\s*#\s*', ' ', text)
    for name, item in options():
        meta = item.metadata
        said = [meta['help'], *([f'One of: {", ".join(meta["choices"])}.'] if meta['choices'] else []),
                *([f'{meta["low"]:g} to {meta["high"]:g}.'] if meta['low'] is not None else []),
                *(['[live]'] if meta['live'] else [])]
        assert ' '.join(said) in comments, f'{name}: config/depth.yaml should say {" ".join(said)!r}'


def test_a_value_is_given_as_the_type_of_the_setting() -> None:
    given = flat(yaml.safe_load((CONFIG / 'depth.yaml').read_text())['/**']['ros__parameters'])
    assert {name: type(value) for name, value in given.items()} == {name: type(item.default) for name, item in options()}


def displays() -> list[dict[str, Any]]:
    return yaml.safe_load((CONFIG / 'depth.rviz').read_text())['Visualization Manager']['Displays']


def test_the_display_shows_picture_depth_cloud_and_pose_and_the_launch_file_renames_what_it_shows() -> None:
    shown = {display['Topic']['Value']: display['Class'].split('/')[1] for display in displays() if display['Enabled']}
    assert shown == {'/image_raw': 'Image', '/depth_node/preview': 'Image', '/depth_node/relative/points': 'PointCloud2',
                     '/depth_node/pose': 'Pose', '/depth_node/path': 'Path'}
    launched = ast.parse((CONFIG.parent / 'launch' / 'depth.launch.py').read_text()).body
    renamed, = (ast.literal_eval(item.value) for item in launched
                if isinstance(item, ast.Assign) and ast.unparse(item.targets[0]) == 'SHOWN')
    topics = {display['Topic']['Value'] for display in displays()}
    assert topics == {'/image_raw', *(f'/depth_node/{topic}' for topic in renamed)}


def test_the_display_shows_topics_that_exist_as_they_are_published() -> None:
    published = {f'/depth_node/{topic}' for topic in DepthMessages(message_types()).table}
    for display in displays():
        topic = display['Topic']
        is_input = topic['Value'] == '/image_raw'
        assert is_input or topic['Value'] in published
        assert topic['Reliability Policy'] == ('Best Effort' if is_input else 'Reliable')
        assert topic['Durability Policy'] == 'Volatile'
