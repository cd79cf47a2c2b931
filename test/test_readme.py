"""What the README shows works as it stands there."""

import re
from pathlib import Path

import cv2
import numpy as np
import yaml

from depth_ros.families.onnx import read_description

README = (Path(__file__).parents[1] / 'README.md').read_text()


def block(language):
    """Return the first code block of a language."""
    return re.search(f'```{language}\n(.*?)```', README, re.DOTALL)[1]


def test_six_lines_of_python_give_the_depth_of_a_video(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    video = cv2.VideoWriter('walk.mp4', cv2.VideoWriter.fourcc(*'mp4v'), 30.0, (160, 120))
    for grey in (90, 100, 110):
        video.write(np.full((120, 160, 3), grey, np.uint8))
    video.release()
    code = block('python')
    assert len(code.splitlines()) == 6
    exec(compile(code, 'README.md', 'exec'), {})
    assert capsys.readouterr().out.splitlines() == [f'{index} (120, 160) 0' for index in range(3)]


def test_the_description_of_a_network_is_one_that_can_be_read(tmp_path):
    path = tmp_path / 'network.yaml'
    path.write_text(block('yaml'))
    assert read_description(path).file == yaml.safe_load(block('yaml'))['file']


def test_the_pictures_and_files_that_it_links_are_there():
    for link in re.findall(r'\]\(([^)#:]+)\)', README):
        assert (Path(__file__).parents[1] / link).exists(), link
