"""A stranger scores a network on a folder with one command."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_ros.commands.evaluate import evaluate
from depth_ros.errors import InputError, OutputError, SettingsError, WeightsError
from depth_ros.evaluation.score import Score
from depth_ros.evaluation.tables import tables
from depth_ros.families.onnx import read_description
from test.commands.test_main import depth_ros
from test.grey_network import write_network

ROOT = Path(__file__).parents[2]
H, W = 24, 32


@pytest.fixture
def network(tmp_path):
    return str(write_network(tmp_path, 'disparity_metric', (H, W)))


@pytest.fixture
def room(tmp_path):
    """Write a set in the standard layout: the depth is what the network of the test says, but for one frame."""
    folder = tmp_path / 'room'
    for name in ('rgb', 'depth'):
        (folder / name).mkdir(parents=True)
    for number in range(4):
        grey = np.repeat(np.linspace(40 + number, 240, H).round().astype(np.uint8)[:, None], W, axis=1)
        depth_m = 25.5 / grey * (1.2 if number == 3 else 1.0)
        cv2.imwrite(str(folder / 'rgb' / f'{number}.png'), np.repeat(grey[..., None], 3, axis=-1))
        cv2.imwrite(str(folder / 'depth' / f'{number}.png'), (5000 * depth_m).round().astype(np.uint16))
    (folder / 'camera.yaml').write_text('fx: 30\nfy: 30\ncx: 15.5\ncy: 11.5\ndepth_scale: 5000\nfar_m: 10\n')
    return folder


def strictly(path):
    return json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f'{word} is no JSON'))


def test_one_command_prints_a_table_and_writes_json_and_report(tmp_path, room, network, capsys):
    evaluate([room], [network], json=tmp_path / 'out.json', report=tmp_path / 'out.html')
    shown = capsys.readouterr().out
    assert 'disparity_metric  0.000 / 1.000' in shown and 'mean of 1' in shown
    out = strictly(tmp_path / 'out.json')
    said, = out['scores']
    assert [frame['metric_absrel'] for frame in said['frames']] == pytest.approx([0, 0, 0, 1 / 6], abs=1e-3)
    assert said['metrics']['factor_variation'] == pytest.approx(np.std([1, 1, 1, 1.2]) / 1.05, rel=0.02)
    assert said['frames'][0]['rotation_error_deg'] is None
    about = out['networks']['disparity_metric']
    assert re.fullmatch('[0-9a-f]{64}', about['weights_sha256']) and about['settings']['alignment.per_frame'] == 'auto'
    assert out['versions']['depth_ros'] and out['sets']['room']['far_m'] == 10
    assert (tmp_path / 'out.html').read_text().startswith('<!doctype html>')
    assert sorted(path.name for path in tmp_path.glob('*out*')) == ['out.html', 'out.json']


def test_the_same_command_gives_the_same_scores(tmp_path, room, network):
    def scores(name):
        evaluate([room], [network], json=tmp_path / name)
        said, = strictly(tmp_path / name)['scores']
        return re.sub(r"'ms\w*': [\d.]+", '', str(said))

    assert scores('a.json') == scores('b.json')


def test_networks_and_sets_stand_side_by_side_and_settings_reach_them(tmp_path, room, network, capsys):
    room.with_name('all').mkdir()
    room.rename(room.parent / 'all' / 'room')
    other = str(write_network(tmp_path, 'disparity_affine', (H, W)))
    evaluate([tmp_path / 'all'], [network, other], set=['alignment.per_frame=off'], json=tmp_path / 'a.json', table=True)
    assert capsys.readouterr().out.count('| room | disparity_') == 5    # two videos, one in metres, two clouds
    networks = strictly(tmp_path / 'a.json')['networks']
    assert [about['settings']['alignment.per_frame'] for about in networks.values()] == ['off', 'off']


REFUSALS = [
    ({'family': ['midas']}, SettingsError, 'unknown family.*known: lite'),
    ({'family': ['no.yaml']}, SettingsError, 'no.yaml cannot be read'),
    ({'family': ['lite'], 'weights': 'no.onnx'}, WeightsError, 'no.onnx'),
    ({'family': ['lite', 'lite'], 'weights': 'no.onnx'}, SettingsError, 'one --family'),
    ({'family': ['lite', 'lite']}, SettingsError, 'two networks have one name'),
    ({'set': ['camera.model=raw']}, SettingsError, 'bring their calibration'),
    ({'set': ['alignment.cut=true']}, SettingsError, 'did you mean alignment.cuts'),
    ({'dataset': ['empty']}, InputError, 'no data set'),
    ({'dataset': ['nowhere']}, InputError, 'nowhere'),
    ({'dataset': ['room', 'room']}, InputError, 'several sets are named room'),
    ({'report': 'no/where.html'}, OutputError, 'does not exist; create'),
    ({'json': 'taken.json'}, OutputError, 'exists; choose another name'),
]


@pytest.mark.parametrize(('change', 'kind', 'words'), REFUSALS)
def test_what_cannot_work_is_refused_and_leaves_nothing_behind(tmp_path, room, network, change, kind, words):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'taken.json').write_text('mine')
    asked = {'dataset': ['room'], 'family': [network], 'json': 'out.json', 'report': 'out.html', **change}
    asked['dataset'] = [tmp_path / name for name in asked['dataset']]
    asked |= {name: tmp_path / asked[name] for name in ('json', 'report')}
    with pytest.raises(kind, match=words):
        evaluate(**asked)
    assert not [path for path in tmp_path.iterdir() if 'out' in path.name]
    assert (tmp_path / 'taken.json').read_text() == 'mine'


def test_a_set_without_truth_is_one_sentence_with_exit_code_two(tmp_path, room, network):
    (room / 'depth').rename(tmp_path / 'elsewhere')
    said = depth_ros('evaluate', '--dataset', str(room), '--family', network)
    assert said.returncode == 2 and said.stdout == '' and len(said.stderr.strip().splitlines()) == 1
    assert 'nothing to score; add' in said.stderr


def test_the_tables_of_the_readme_have_the_rows_and_columns_that_the_command_prints():
    text = re.search('<!-- scores -->(.*)<!-- end of scores -->', (ROOT / 'README.md').read_text(), re.DOTALL)[1]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]
    border = next(n for n, row in enumerate(rows) if row[0] == 'video')
    pictures, videos = rows[:border], rows[border:]
    everything = dict.fromkeys(('absrel', 'delta1', 'boundary_f1', 'still_noise', 'video_absrel', 'factor_variation', 'tae',
                                'rotation_error_deg_median', 'rotation_deg_median', 'ms_median'), 0.5)
    seen = {row[0] for row in videos[2:]}
    scores = [Score(name, row[0], name in seen, everything, []) for row in pictures[2:] for name in pictures[0][1:-3]]
    expected = tables(scores)
    assert pictures[0] == expected[0].header and [row[0] for row in pictures[2:]] == [row[0] for row in expected[0].rows]
    assert videos[0] == expected[1].header


@pytest.mark.parametrize('name', ['tcmonodepth', 'fastdepth'])
def test_the_networks_of_the_readme_are_described(name):
    assert read_description(ROOT / 'docs' / f'{name}.yaml').licence == 'MIT'
