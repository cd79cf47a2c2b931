"""The demo shows a newcomer the real node at work, with the network that is shipped."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from depth_ros.commands.demo import abs_rel, demo
from depth_ros.errors import InputError, OutputError
from test.grey_network import write_network

pytest.importorskip('rclpy', reason='no ROS installation here')


def test_the_error_is_zero_where_one_scale_and_shift_make_the_truth():
    truth = np.random.default_rng(0).uniform(1, 5, (3, 20, 30))
    assert abs_rel(2 / truth - 0.1, truth) == pytest.approx(0, abs=1e-9)
    truth[0, 0, 0] = np.inf
    assert abs_rel(2 / np.where(np.isfinite(truth), truth, 1e9), truth) == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_played_or_written_is_one_sentence_and_leaves_nothing(tmp_path):
    pytest.importorskip('rclpy')
    with pytest.raises(InputError, match='nothere does not exist'):
        demo(tmp_path / 'nothere', tmp_path / 'out')
    (tmp_path / 'file').touch()
    with pytest.raises(OutputError, match='cannot write file: '):
        demo(None, tmp_path / 'file')
    assert [item.name for item in tmp_path.iterdir()] == ['file']


@pytest.mark.slow
def test_the_demo_plays_a_room_to_the_node_and_writes_preview_cloud_and_bag(tmp_path):
    said = run('--frames', '12', '--out', tmp_path)
    assert said.returncode == 0, said.stderr
    assert all(word in said.stdout for word in ('rate', 'latency  p50', 'of 12 pictures', 'truth'))
    frame = cv2.VideoCapture(str(tmp_path / 'preview.mp4')).read()[1]
    assert frame.shape == (480, 1280, 3)
    assert (tmp_path / 'cloud.ply').read_bytes().startswith(b'ply')
    from rosbags.highlevel import AnyReader
    with AnyReader([tmp_path / 'demo.mcap']) as reader:
        topics = {connection.topic for connection in reader.connections if connection.msgcount}
    assert {'/camera/image_raw', '/camera/camera_info', '/depth_node/relative/image', '/depth_node/pose',
            '/diagnostics'} <= topics


@pytest.mark.slow
def test_the_demo_plays_to_a_family_that_says_nothing_of_motion(tmp_path):
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    for number in range(6):
        cv2.imwrite(str(pictures / f'{number}.png'), np.full((48, 64, 3), 40 * number, np.uint8))
    said = run(pictures, '--out', tmp_path / 'out', '--set', 'family=onnx', '--set', f'weights={write_network(tmp_path)}')
    assert said.returncode == 0 and 'of 6 pictures' in said.stdout, said.stderr


def run(*arguments):
    """Return the demo, run in a process of its own."""
    code = 'from depth_ros.commands import main; main()'
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(100 + os.getpid() % 100), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    return subprocess.run([sys.executable, '-c', code, 'demo', *map(str, arguments)], capture_output=True, text=True,
                          env=environment, timeout=300)
