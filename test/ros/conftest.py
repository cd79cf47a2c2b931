"""A camera and a listener in this process, the real node in another, and DDS between them."""

import os

# Before rclpy is first used: a domain of our own, and nothing leaves this machine.
os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ['ROS_DOMAIN_ID'] = str(1 + os.getpid() % 100)

import runpy
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from test.grey_network import write_network

if TYPE_CHECKING:
    from test.ros.rig import Rig

LAUNCH = Path(__file__).parents[2] / 'launch' / 'depth.launch.py'

collect_ignore_glob: list[str] = []
if find_spec('rclpy') is None:
    warnings.warn('tests of the node are left out; source a ROS installation, or pip install depth_ros[ros]', stacklevel=1)
    collect_ignore_glob = ['test_*.py']


@pytest.fixture(scope='session')
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return descriptions of two networks with known answers: grey 255 is 10 m away, or has disparity 10."""
    folder = tmp_path_factory.mktemp('networks')
    return {'metric': write_network(folder, 'depth_metric', (48, 64)),
            'relative': write_network(folder, 'disparity_affine', (48, 64))}


@pytest.fixture(scope='module')
def metric(networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator['Rig']:
    """A node with the metric network, in the state active."""
    from test.ros.rig import Rig

    with Rig('metric', tmp_path_factory.mktemp('metric'), weights=networks['metric']) as rig:
        rig.warm_up('depth/image')
        yield rig


@pytest.fixture(scope='module')
def relative(networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator['Rig']:
    """A node with the relative network, in the state active."""
    from test.ros.rig import Rig

    with Rig('relative', tmp_path_factory.mktemp('relative'), weights=networks['relative']) as rig:
        rig.warm_up('relative/image')
        yield rig


class Value:
    """Stands in for ParameterValue."""

    def __new__(cls, value: str, value_type: type) -> Any:
        return value_type(value)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives the nodes as they would be started, without `launch`."""
    stand_in = SimpleNamespace(
        LaunchContext=None, LaunchDescription=None, DeclareLaunchArgument=None, OpaqueFunction=None, Node=SimpleNamespace,
        ParameterValue=Value, get_package_share_directory=lambda name: '/share',
        LaunchConfiguration=lambda name: SimpleNamespace(perform=lambda context: context[name]))
    for name in ('launch', 'launch.actions', 'launch.substitutions', 'launch_ros.actions', 'ament_index_python.packages',
                 'launch_ros.parameter_descriptions'):
        monkeypatch.setitem(sys.modules, name, stand_in)
    module = runpy.run_path(str(LAUNCH))
    defaults = {name: default for name, default, _ in module['ARGUMENTS']}
    return lambda **given: module['start'](defaults | given)
