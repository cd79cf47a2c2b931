"""Every family of the papers, tiny and with pseudo-random weights under the published names, from pictures to files."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.commands.process import process
from depth_ros.families import TABLE, load_family
from depth_ros.settings import build
from test.families.tiny import NAMES, settings_of, write

pytest.importorskip('torch', reason='torch is not installed: pip install torch')
FRAMES = 9


@pytest.fixture(scope='session')
def pictures(tmp_path_factory):
    """A folder of pictures of a texture that passes by."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 140, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    folder = tmp_path_factory.mktemp('pictures')
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f'{number:03}.png'), texture[:60, 2 * number:2 * number + 80])
    return folder


def lines(folder: Path):
    return [json.loads(line) for line in (folder / 'frames.jsonl').read_text().splitlines()]


def test_every_family_of_the_table_has_a_tiny_checkpoint():
    assert set(NAMES) == set(TABLE) - {'lite', 'onnx'}


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('live', [False, True], ids=['offline', 'live'])
def test_pictures_become_maps_and_the_same_bytes_again_alone_and_after_others(name, live, pictures, tmp_path):
    weights = write(name, tmp_path / 'weights')
    said = [f'{key}={value}' for key, value in settings_of(name).items()]
    again = shutil.copytree(pictures, tmp_path / 'again')
    process([pictures], tmp_path / 'first', family=name, weights=str(weights), set=said, live=live)
    process([pictures, again], tmp_path / 'both', family=name, weights=str(weights), set=said, live=live)
    first, second, third = ({item.name: item.read_bytes() for item in (tmp_path / folder).iterdir()}
                            for folder in ('first', f'both/{pictures.name}', 'both/again'))
    assert first == second == third
    family, found = load_family(build({'family': name})), lines(tmp_path / 'first')
    assert [line['index'] for line in found] == list(range(FRAMES))
    for line in found:
        map = np.load(tmp_path / 'first' / line['file'])
        assert map.shape == (60, 80) and np.isfinite(map).all() and map.std() > 1e-4
        assert line['quantity'] == family.quantity.value
        assert bool(line['depth_m_file']) == family.quantity.is_metric
        assert bool(line['T_world_cam']) == family.gives_pose
    if family.gives_pose:
        assert np.allclose(found[0]['T_world_cam'], np.eye(4))
        assert not np.allclose(found[-1]['T_world_cam'], np.eye(4))
