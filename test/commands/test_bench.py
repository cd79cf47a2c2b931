"""The benchmark measures every stage of the path that a live frame takes."""

import json

import pytest

from depth_ros.commands.bench import bench, compare_packing, pack_by_element
from depth_ros.io.cloud_msg import pack_points
from test.families.tiny import settings_of, write


def test_the_benchmark_writes_the_cost_of_every_stage(tmp_path, capsys):
    bench(size='96x128', frames=5, out=tmp_path / 'bench.json')
    figures = json.loads((tmp_path / 'bench.json').read_text())
    assert {'decode', 'resize', 'infer', 'stitch', 'resize back', 'anchor', 'messages'} <= set(figures['median_ms'])
    assert all(0 <= figures['median_ms'][stage] <= figures['p95_ms'][stage] for stage in figures['median_ms'])
    assert 'all but inference' in capsys.readouterr().out


def test_a_family_that_runs_once_for_several_frames_is_timed_too(tmp_path):
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    name, out = 'pixel_perfect_video', tmp_path / 'bench.json'
    bench(family=name, weights=str(write(name, tmp_path / 'weights')), size='48x64', frames=14, out=out,
          set=[f'{key}={value}' for key, value in settings_of(name).items()])
    figures = json.loads(out.read_text())
    assert figures['backend'] == 'torch' and figures['median_ms']['infer'] == 0 < figures['p95_ms']['infer']


def test_both_ways_of_packing_give_the_same_bytes():
    import numpy as np
    random = np.random.default_rng(0)
    depth_m, xyz = random.random((6, 8)).astype(np.float32), random.random((6, 8, 3)).astype(np.float32)
    rgb = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image, cloud = pack_by_element(depth_m, xyz, rgb)
    assert image == depth_m.tobytes() and cloud == pack_points(xyz, rgb).tobytes()
    assert compare_packing(48, 64) > 1
