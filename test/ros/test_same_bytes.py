"""The live node publishes the very bytes that the offline tool writes for the same pictures."""

import json

import cv2
import numpy as np
import pytest

from depth_ros.commands.process import process
from depth_ros.core.frame import Quantity
from depth_ros.families import load_family
from depth_ros.io.preview import nearness
from depth_ros.settings import build
from test.families.tiny import NAMES, settings_of, write
from test.ros.rig import Rig, image


@pytest.fixture
def walk(tmp_path):
    """A folder of pictures of a texture that passes by and comes nearer."""
    noise = np.random.default_rng(0).integers(0, 255, (120, 200, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    folder = tmp_path / 'walk'
    folder.mkdir()
    for number in range(12):
        view = np.array([[1.01 ** number, 0, -2.0 * number], [0, 1.01 ** number, -8]])
        cv2.imwrite(str(folder / f'{number:03}.png'), cv2.warpAffine(texture, view, (160, 96)))
    return folder


@pytest.fixture(scope='session')
def opened(networks, tmp_path_factory):
    """Return a function: family -> settings that open it, with weights of its own where it ships none."""
    def settings(family):
        if family in NAMES:
            every_frame = {'stride': 1} if load_family(build({'family': family})).live.stride > 1 else {}
            return {'weights': str(write(family, tmp_path_factory.mktemp(family))), **every_frame, **settings_of(family)}
        return {'weights': str(networks['relative'])} if family == 'onnx' else {}
    return settings


@pytest.mark.parametrize('family', ['lite', 'onnx', *NAMES])
def test_the_node_publishes_the_bytes_that_process_writes(family, walk, opened, tmp_path):
    if family in NAMES:
        pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    settings, out = opened(family), tmp_path / 'out'
    process([walk], out, family=family, set=[f'{name}={value}' for name, value in settings.items()], live=True)
    lines = [json.loads(line) for line in (out / 'frames.jsonl').read_text().splitlines()]
    metric, quantity = bool(lines[0]['depth_m_file']), Quantity(lines[0]['quantity'])
    topic = 'depth/image' if metric else 'relative/image'
    with Rig(f'same_{family}', tmp_path, family=family, **settings) as rig:
        rig.warm_up(topic)
        start_ns = rig.tick(60)    # the gap starts a new segment: as good as a new stream
        for line, picture in zip(lines, sorted(walk.glob('*.png')), strict=True):
            rgb = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
            live = rig.answer(topic, rig.send(image(rgb, start_ns + line['stamp_ns'])))
            map = np.load(out / line['depth_m_file']) if metric else nearness(np.load(out / line['file']), quantity)
            assert bytes(live.data) == map.tobytes(), line['file']
