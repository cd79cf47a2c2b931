"""The program answers at once, and errors are one sentence with exit code 2."""

import subprocess
import sys

import pytest

from depth_ros.commands import COMMANDS


def depth_ros(*arguments):
    code = 'from depth_ros.commands import main; main()'
    return subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True)


def test_the_overview_names_every_command():
    said = depth_ros()
    assert said.returncode == 0 and all(name in said.stdout for name in COMMANDS)


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_explains_its_options(name):
    said = depth_ros(name, '--help')
    assert said.returncode == 0 and 'Usage' in said.stdout


def test_the_families_are_listed_with_licence_and_lag():
    said = depth_ros('models')
    assert said.returncode == 0
    assert 'lite' in said.stdout and 'Apache-2.0' in said.stdout and 'lag 0 frames' in said.stdout


@pytest.mark.parametrize(('arguments', 'word'), [
    (('fly',), 'known: process'),
    (('bench', '--size', 'big'), '480x640'),
    (('bench', '--family', 'midas'), 'known: lite'),
    (('demo', '/nowhere.mp4'), '/nowhere.mp4 does not exist'),
    (('train', '--recipe', 'heavy'), 'lite'),
])
def test_a_mistake_is_answered_in_one_sentence_with_exit_code_two(arguments, word):
    said = depth_ros(*arguments)
    assert said.returncode == 2 and word in said.stderr
    assert said.stderr.startswith('depth_ros: ') and len(said.stderr.strip().splitlines()) == 1
