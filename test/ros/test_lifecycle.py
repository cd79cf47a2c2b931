"""Coming up, going down, and saying why not."""

import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition

from test.ros.rig import COMMAND, NodeProcess, Rig, camera_info, grey_picture, image, wait


def test_a_node_comes_up_by_itself(metric: Rig) -> None:
    assert metric.state() == 'active'


def test_a_lifecycle_manager_takes_the_node_up_and_down_and_up_again(networks: dict[str, Path], tmp_path: Path) -> None:
    with Rig('managed', tmp_path, weights=networks['metric'], node__autostart=False, metric__source='range') as rig:
        assert rig.state() == 'unconfigured'
        assert rig.set_parameter('metric.max_depth_m', 3.0).successful
        assert rig.set_parameter('camera.model', 'raw').successful    # only now, while it is not configured
        for _ in range(2):
            assert rig.change_state(Transition.TRANSITION_CONFIGURE)
            assert rig.state() == 'inactive'
            assert rig.change_state(Transition.TRANSITION_ACTIVATE)
            rig.warm_up('relative/image', 'preview')
            assert not rig.node.count_subscribers(f'{rig.namespace}/range/camera_info')    # the network has metres itself
            assert not rig.set_parameter('camera.model', 'rectified').successful
            assert rig.change_state(Transition.TRANSITION_DEACTIVATE)
            wait(lambda: rig.images.get_subscription_count() == 0, 'the end of the subscription')
            said = rig.said()    # nothing of what was true before, but what was counted
            assert 'metric_state' not in said and int(said['outputs']) > 0 and float(said['output_rate_hz']) == 0
            assert rig.change_state(Transition.TRANSITION_CLEANUP)
            wait(lambda: not rig.node.count_publishers(f'{rig.namespace}/depth_node/preview'), 'the end of the outputs')
        assert rig.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert rig.state() == 'finalized'


def test_a_node_that_cannot_configure_says_why_and_waits(tmp_path: Path) -> None:
    with Rig('failing', tmp_path, weights='/nowhere/net.yaml') as rig:
        status = rig.status(lambda values, status: status.level == DiagnosticStatus.ERROR)
        assert '/nowhere/net.yaml' in status.message
        assert rig.state() == 'unconfigured'
        assert re.search(r'\[ERROR\].*cannot configure: .*/nowhere/net\.yaml', rig.process.log)
        assert 'Traceback' not in rig.process.log
        assert not rig.change_state(Transition.TRANSITION_CONFIGURE)    # still not, but it may be tried again


def test_a_node_that_cannot_activate_says_why_and_lets_go_of_what_had_begun(networks: dict[str, Path],
                                                                             tmp_path: Path) -> None:
    override = f'qos_overrides./undecided_{os.getpid()}/image.subscription.reliability'
    with Rig('undecided', tmp_path, weights=networks['relative'], metric__source='range', **{override: 'perhaps'}) as rig:
        status = rig.status(lambda values, status: status.level == DiagnosticStatus.ERROR)
        assert 'inactive: ' in status.message and 'perhaps' in status.message
        assert not rig.change_state(Transition.TRANSITION_ACTIVATE)
        wait(lambda: not any(rig.node.count_subscribers(f'{rig.namespace}/{topic}')
                             for topic in ('camera_info', 'range/camera_info')), 'the end of the subscriptions')


@pytest.mark.skipif(find_spec('tf2_ros') is not None, reason='tf2_ros is installed')
def test_transforms_are_not_promised_where_tf2_ros_is_missing(networks: dict[str, Path], tmp_path: Path) -> None:
    with Rig('transforms', tmp_path, weights=networks['relative'], node__publish_tf=True) as rig:
        status = rig.status(lambda values, status: status.level == DiagnosticStatus.ERROR)
        assert re.search('node.publish_tf needs tf2_ros; install ros-.*-tf2-ros-py or set it to false$', status.message)
        assert rig.state() == 'unconfigured'
        assert rig.set_parameter('node.publish_tf', False).successful
        assert rig.change_state(Transition.TRANSITION_CONFIGURE)


@pytest.mark.parametrize(('given', 'said'), [
    ({'backnd': 'onnx'}, "unknown setting 'backnd'; did you mean backend?"),
    ({'cloud__stride': 2}, "unknown setting 'cloud.stride'; did you mean cloud.stride_px?"),
    ({'cloud__stride_px': 0}, 'cloud.stride_px=0: expected 1 to 32'),
    ({'camera__model': 'fisheye'}, "camera.model='fisheye': expected one of rectified, raw, rectify"),
    ({'length': 'many'}, "length='many': expected int"),
])
def test_a_wrong_parameter_ends_the_node_with_one_sentence(tmp_path: Path, given: dict, said: str) -> None:
    node = NodeProcess(tmp_path, f'/wrong_{os.getpid()}', **given)
    assert node.process.wait(60) == 2
    assert said in node.log and 'Traceback' not in node.log


def test_a_parameter_of_one_node_that_ros_would_drop_in_a_namespace_ends_it_with_one_sentence(tmp_path: Path) -> None:
    names = (*COMMAND, '--names', 'left')
    node = NodeProcess(tmp_path, '/robot', names, **{'left:metric.source': 'fixed'})
    assert node.process.wait(60) == 2
    assert '-p left:metric.source:=fixed does not reach /robot/left: in a namespace' in node.log
    assert 'Traceback' not in node.log


@pytest.mark.parametrize('how', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_node_ends_in_good_order(networks: dict[str, Path], tmp_path: Path, how: int) -> None:
    with Rig('ending', tmp_path, weights=networks['metric']) as rig:
        rig.warm_up('depth/image')
        for _ in range(5):    # some are under way when it ends
            rig.send(image(grey_picture(), rig.tick()), camera_info(rig.clock_ns))
        assert rig.process.stop(how) == 0
        assert not re.search(r'Traceback|\[ERROR\]|\[WARN\].*failed', rig.process.log), rig.process.log
