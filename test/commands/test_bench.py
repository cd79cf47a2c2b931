"""The benchmark writes down every stage of the path that a frame takes, how it grows, and what it is held against."""

import json
from pathlib import Path

import pytest

from depth_ros.commands.bench import bench
from depth_ros.errors import InputError, OutputError, SettingsError
from test.families.tiny import settings_of, write

STAGES = {'decode', 'resize', 'infer', 'stitch', 'anchor', 'resize back', 'cloud', 'messages'}


def figures_of(folder, **options):
    bench(out=folder / 'bench.json', **options)
    return json.loads((folder / 'bench.json').read_text())


def test_the_benchmark_writes_the_cost_of_every_stage(tmp_path, capsys):
    figures = figures_of(tmp_path, size='96x128', frames=6)
    assert set(figures['median_ms']) >= STAGES | {'frame'}
    assert all(0 <= figures['median_ms'][stage] <= figures['p95_ms'][stage] for stage in figures['median_ms'])
    assert figures['frames_per_s'] > 0 and figures['peak_memory_mb'] > 20 and figures['machine']['cpu']
    assert figures['window'] == {'length': 1, 'stride': 1, 'live': True} and figures['frames'] == 6
    said = capsys.readouterr().out
    assert figures['machine']['cpu'] in said and '| cloud |' in said and 'the last third of the frames' in said


def test_a_family_that_runs_once_for_several_frames_is_timed_and_held_against_other_settings(tmp_path, capsys):
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    name = 'video_depth_anything'
    given = {'family': name, 'weights': str(write(name, tmp_path / 'weights')), 'size': '48x64', 'offline': True,
             'set': [f'{key}={value}' for key, value in settings_of(name).items()]}
    figures = figures_of(tmp_path, frames=20, **given)
    assert figures['frames'] == 22 and figures['median_ms']['infer'] > 0 and figures['backend'] == 'torch'
    assert figures['settings']['model.short_side_px'] == 56 and not figures['window']['live']

    figures = figures_of(tmp_path, frames=22, rounds=2, against='forget cloud.max_depth_m=7', **given)
    assert figures['ratio'] > 0 and figures['largest_difference'] < 1e-4    # to encode a frame again changes nothing
    assert figures['against']['settings'] == {**figures['settings'], 'cloud.max_depth_m': 7}
    assert 'forget cloud.max_depth_m=7: video_depth_anything' in capsys.readouterr().out


def test_every_size_is_timed_in_a_process_of_its_own(tmp_path, capsys):
    rows = figures_of(tmp_path, sweep=['size=96x128,480x640', 'length=1'], frames=3)['rows']
    assert [row['size'] for row in rows] == [[96, 128], [480, 640]]
    assert rows[0]['peak_memory_mb'] < rows[1]['peak_memory_mb']
    assert rows[0]['median_ms']['cloud'] < rows[1]['median_ms']['cloud']
    assert '| size=480x640 length=1 |' in capsys.readouterr().out


def test_a_command_is_held_against_another(tmp_path, capsys):
    figures = figures_of(tmp_path, command='true', against='sleep 0.1', rounds=2)
    assert figures['ratio'] > 2 and 'times as fast' in capsys.readouterr().out


@pytest.mark.parametrize(('options', 'kind', 'words'), [
    ({'against': 'bakend=torch'}, SettingsError, 'did you mean backend'),
    ({'against': 'sleep 1'}, SettingsError, 'expected two shell commands'),
    ({'against': "it's"}, SettingsError, 'No closing quotation'),
    ({'against': 'nowhere.onnx', 'weights': __file__}, InputError, 'is no ONNX file'),
    ({'against': __file__.replace('.py', '.onnx')}, InputError, r'--weights \(not given\) is no ONNX file'),
    ({'size': '99999x99999'}, SettingsError, 'expected 16x16 to 8192x8192'),
    ({'command': 'true', 'against': 'true', 'rounds': 1, 'out': Path()}, OutputError, 'cannot write'),
    ({'command': 'true', 'against': 'nosuchcommand'}, InputError, 'exit code 127'),
    ({'sweep': ['length=1,8'], 'frames': 1}, SettingsError, 'lite sees one frame at a time'),
    ({'sweep': ['length=long']}, SettingsError, 'expected int'),
    ({'sweep': ['length']}, SettingsError, 'expected name=value,value'),
    ({'sweep': ['size=240x320,big']}, SettingsError, 'expected height x width'),
    ({'sweep': ['frames=10,0']}, SettingsError, 'expected whole numbers'),
    ({'sweep': ['size=240x320'], 'against': 'threads=1'}, SettingsError, 'one at a time'),
])
def test_what_cannot_be_timed_is_answered_in_one_sentence(options, kind, words):
    with pytest.raises(kind, match=words):
        bench(**options)
