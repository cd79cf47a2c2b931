"""A node on a machine with a GPU: it publishes at once, builds its engines meanwhile, and outlives those that fail."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from sensor_msgs.msg import Image

from test.ros.rig import COMMAND, RELIABLE, Rig, camera_info, grey_picture, image, wait

TOPIC = 'relative/image'


def rig(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 1.5, most: float = float('inf'),
        fails: str = '', **values: Any) -> Rig:
    """Return a node of the shipped network, which carries a state, with a cache of its own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder / 'cache'))
    command = (sys.executable, '-m', 'test.ros.fake_gpu', str(seconds), str(most), fails)
    return Rig(name, folder, **{'command': command, 'family': 'lite', 'threads': 1, **values})


def send(node: Rig, count: int = 1) -> Any:
    """Send pictures, wait for the depth of each, and return the last one."""
    for _ in range(count):
        node.send(image(grey_picture(), node.tick()), camera_info(node.clock_ns))
        found = node.answer(TOPIC, node.clock_ns)
    return found


def values(status: Any) -> dict[str, str]:
    return {item.key: item.value for item in status.values}


def test_a_node_publishes_while_it_builds_and_goes_on_with_the_engine_in_the_same_segment(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rig('building', tmp_path, monkeypatch) as node:
        node.warm_up(TOPIC)
        status = node.status(lambda said, status: said.get('backend_note', '').startswith('building'))
        said = values(status)
        assert said['backend'] == 'onnx'
        assert re.fullmatch(r'building \d+ %: lite.onnx \(Building engine\)', said['backend_note'])
        before = int(said['outputs'])
        send(node, 2)
        said = values(node.status(lambda said, status: said['backend'] == 'tensorrt'))
        assert int(said['outputs']) > before and 'building' not in said['backend_note']
        send(node, 4)
        said = node.said()
        assert (said['segment'], said['resets']) == ('0', '0')
        assert 'drops: failed inference' not in said
    log = node.process.log
    assert log.index('building TensorRT engines, onnx serves meanwhile') < log.index('TensorRT takes over')
    with rig('found', tmp_path, monkeypatch, seconds=60) as node:    # the engine is in the cache now
        node.warm_up(TOPIC)
        node.status(lambda said, status: said['backend'] == 'tensorrt')


@pytest.mark.parametrize('how', ['shutdown', 'deactivate'])
def test_a_build_ends_within_a_second_with_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with rig(how, tmp_path, monkeypatch, seconds=60) as node:
        node.warm_up(TOPIC)
        node.status(lambda said, status: said.get('backend_note', '').startswith('building'))
        asked = time.monotonic()
        if how == 'shutdown':
            assert node.process.stop(signal.SIGINT) == 0
            assert time.monotonic() - asked < 4    # with the end of the process
        else:
            assert node.change_state(Transition.TRANSITION_DEACTIVATE)
            assert time.monotonic() - asked < 2    # a second, and another one on a busy machine
            said = values(node.status(lambda said, status: not said['backend_note'].startswith('building')))
            assert said['backend_note'].startswith('not tensorrt: there is no TensorRT engine')
            assert node.change_state(Transition.TRANSITION_ACTIVATE)
            node.warm_up(TOPIC)    # and it begins again
            node.status(lambda said, status: said['backend_note'].startswith('building'))
    assert not re.search(r'Traceback|\[ERROR\]', node.process.log), node.process.log


@pytest.mark.parametrize('backend', ['auto', 'tensorrt'])
def test_a_build_that_fails_leaves_the_node_as_it_was_and_the_reason_in_diagnostics(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    reason = 'TensorRT cannot build lite.onnx: odd (node odd_one, operator Frobnicate)'
    with rig('refused', tmp_path, monkeypatch, seconds=0.2, fails=reason, backend=backend) as node:
        node.warm_up(TOPIC)
        said = values(node.status(lambda said, status: said['backend_note'] == f'not tensorrt: {reason}'))
        assert said['backend'] == 'onnx'
        send(node)
        wait(lambda: f'onnx serves, not tensorrt: {reason}' in node.process.log, 'the warning')


def test_an_engine_that_fails_costs_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rig('failing_engine', tmp_path, monkeypatch, seconds=0.1, most=8) as node:    # of them a few for the probe
        node.warm_up(TOPIC)
        node.status(lambda said, status: said['backend'] == 'tensorrt')
        send(node, 8)
        said = values(node.status(lambda said, status: said['backend'] == 'onnx'))
        assert said['backend_note'] == 'not tensorrt: the GPU fails: CUDA error: an illegal memory access was encountered'
        assert said['segment'] == '0' and 'drops: failed inference' not in said
        send(node, 2)
    assert re.search(r'\[WARN\].*onnx serves, not tensorrt: the GPU fails', node.process.log)


def test_without_leave_no_engine_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rig('forbidden', tmp_path, monkeypatch, node__build_engines=False) as node:
        node.warm_up(TOPIC)
        send(node, 2)
        assert 'depth_ros build-engine' in node.said()['backend_note']
    assert 'building' not in node.process.log


def test_two_cameras_in_one_process_share_one_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, '-m', 'test.ros.fake_gpu', '0.1', 'inf', '', '--names', 'depth_node', 'right',
               '--ros-args', '-r', 'right:image:=right/image')
    with rig('pair', tmp_path, monkeypatch, command=command) as node:
        camera, seen = node.node.create_publisher(Image, 'right/image', RELIABLE), []
        node.node.create_subscription(Image, f'right/{TOPIC}', seen.append, RELIABLE)
        backends: dict[str, str] = {}
        node.node.create_subscription(DiagnosticArray, '/diagnostics', lambda message: backends.update(
            {message.status[0].hardware_id: values(message.status[0]).get('backend', '')}), RELIABLE)
        node.warm_up(TOPIC)

        def both_run_on_it() -> bool:
            send(node)
            camera.publish(image(grey_picture(50), node.clock_ns))
            time.sleep(0.1)
            return [backends.get(f'{node.namespace}/{name}') for name in ('depth_node', 'right')] == ['tensorrt'] * 2

        wait(both_run_on_it, 'both on TensorRT')
        count = len(seen)
        wait(lambda: both_run_on_it() and len(seen) > count, 'depth of the right camera')
        assert node.process.stop() == 0
    assert node.process.log.count('TensorRT takes over') == 2
    assert 'engines opened: 1' in node.process.log


@pytest.mark.parametrize(('arguments', 'words'), [
    (('--names', 'left', 'left'), 'each name may be given once'), (('--nams', 'left'), 'unrecognized arguments'),
    (('--names', 'left', 'ri ght'), "'ri ght' is no name of a node"),
])
def test_wrong_names_end_the_node_with_one_sentence(arguments: tuple[str, ...], words: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr
