import json

import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.io.depth_file import DepthFolder

CAMERA = Camera(2, 3, 30.0, 31.0, 1.0, 0.5)


def depth(index, **parts):
    map = np.arange(6, dtype=np.float32).reshape(2, 3)
    map[0, 0] = np.nan
    return DepthFrame(index, Frame(np.zeros((2, 3, 3), np.uint8), 1_700_000_000_123_456_789 + index, CAMERA), map,
                      Quantity.DISPARITY_AFFINE, scale=1.5, shift=-0.25, residual=0.01, segment=index, **parts)


def write(folder):
    out = DepthFolder(folder)
    out.add(depth(0))
    out.add(depth(1, depth_m=np.full((2, 3), 2, np.float32), T_world_cam=np.eye(4), T_metric_cam=2 * np.eye(4),
                  anchor=Anchor('lost', 2.0, uncertainty=np.inf)))    # and held
    out.close()
    return folder


def test_a_folder_holds_each_map_and_a_line_about_it(tmp_path):
    folder = write(tmp_path / 'out')
    first, second = (json.loads(line) for line in (folder / 'frames.jsonl').read_text().splitlines())
    assert first == {
        'index': 0, 'stamp_ns': 1_700_000_000_123_456_789, 'file': 'map_000000.npy', 'depth_m_file': None,
        'quantity': 'disparity_affine', 'scale': 1.5, 'shift': -0.25, 'residual': 0.01, 'held': False, 'segment': 0,
        'K': [[30.0, 0.0, 1.0], [0.0, 31.0, 0.5], [0.0, 0.0, 1.0]],
        'K_predicted': None, 'T_world_cam': None, 'T_metric_cam': None,
        'anchor': {'state': 'none', 'scale': 1.0, 'shift': 0.0, 'residual': 0.0, 'inliers': 0.0, 'points': 0, 'age_s': 0.0,
                   'uncertainty': 0.0, 'reason': ''}}
    map = np.load(folder / first['file'])
    assert map.dtype == np.float32 and np.array_equal(map, depth(0).map, equal_nan=True)
    assert np.all(np.load(folder / second['depth_m_file']) == 2)
    assert second['T_world_cam'] == np.eye(4).tolist() and second['T_metric_cam'] == (2 * np.eye(4)).tolist()
    assert second['anchor']['scale'] == 2 and second['anchor']['uncertainty'] is None


def test_the_same_frames_give_the_same_bytes(tmp_path):
    contents = [{item.name: item.read_bytes() for item in write(tmp_path / name).iterdir()} for name in 'ab']
    assert contents[0] == contents[1] and len(contents[0]) == 4


def test_what_is_no_number_is_null(tmp_path):
    out = DepthFolder(tmp_path / 'out')
    frame = Frame(np.zeros((2, 3, 3), np.uint8), 0)
    out.add(DepthFrame(0, frame, depth(0).map, Quantity.DEPTH_METRIC, residual=np.nan))
    out.close()
    line = json.loads((tmp_path / 'out' / 'frames.jsonl').read_text())
    assert line['residual'] is None and line['K'] is None
