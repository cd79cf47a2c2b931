import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer

from depth_ros.commands.process import process, read_ahead
from depth_ros.core.camera import rays
from depth_ros.errors import InputError, OutputError, SettingsError, WeightsError
from depth_ros.io import video
from depth_ros.io.bag_writer import DepthBag
from depth_ros.io.depth_file import DepthFolder
from depth_ros.runtime.onnx_graph import OnnxGraph
from test.grey_network import write_network
from test.io.made import CAMERA, SECOND, START, camera_entries, image, info, jpeg, picture, read_all, write_ros1, write_ros2
from test.io.sensors import cloud, depth_image, tf, transform

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='session')
def relative(tmp_path_factory):
    return {'family': 'onnx', 'weights': str(write_network(tmp_path_factory.mktemp('relative'))), 'set': ['threads=1']}


@pytest.fixture(scope='session')
def metric(tmp_path_factory):
    folder = tmp_path_factory.mktemp('metric')
    return {'family': 'onnx', 'weights': str(write_network(folder, 'depth_metric')), 'set': ['threads=1']}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for index in range(6):
        (folder / f'{index}.png').write_bytes(jpeg(picture(0) // 2 + 8 * index, '.png'))
    return folder


@pytest.fixture
def bag(tmp_path):
    return write_ros2(tmp_path / 'bag', camera_entries())


def contents(folder):
    return {item.name: item.read_bytes() for item in folder.iterdir()}


def lines(folder):
    return [json.loads(line) for line in (folder / 'frames.jsonl').read_text().splitlines()]


def visible_and_hidden(folder):
    return sorted(item.name for item in folder.iterdir())


def arguments(options):
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            yield from [f'--{name}'] if item is True else [f'--{name}', str(item)]


def start(*positional, before=None, **options):
    """Start the real program."""
    code = 'from depth_ros.commands import main; main()'
    command = [sys.executable, '-c', code, 'process', *map(str, positional), *arguments(options)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before,
                            env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_a_folder_of_pictures_becomes_a_folder_of_maps(tmp_path, pictures, metric, capsys):
    process([pictures], tmp_path / 'out', **metric)
    out = lines(tmp_path / 'out')
    assert [line['index'] for line in out] == list(range(6)) and {line['segment'] for line in out} == {0}
    depth = np.load(tmp_path / 'out' / out[2]['depth_m_file'])
    expected = (picture(0) // 2 + 16).mean(axis=-1) / 25.5    # what the network says by its making
    assert depth == pytest.approx(expected, abs=1e-4)
    shown = capsys.readouterr()
    assert 'pictures: 6 frames of metric depth' in shown.out and '1 segment -> ' in shown.out and shown.err == ''


def test_two_runs_write_the_same_bytes(tmp_path, bag, relative):
    for name in 'ab':
        process([bag], tmp_path / name, **relative)
        process([bag], tmp_path / f'{name}.mcap', points=True, **relative)
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
    assert (tmp_path / 'a.mcap').read_bytes() == (tmp_path / 'b.mcap').read_bytes()


def test_a_folder_and_a_bag_hold_the_same_depth(tmp_path, bag, metric):
    process([bag], tmp_path / 'out', **metric)
    process([bag], tmp_path / 'out.mcap', points=True, **metric)
    messages = [entry[1:] for entry in read_all(tmp_path / 'out.mcap') if entry[0] == '/depth_ros/depth/image']
    for line, (log_ns, msg) in zip(lines(tmp_path / 'out'), messages, strict=True):
        assert log_ns == line['stamp_ns'] + 5_000_000
        assert np.array_equal(msg.data.view(np.float32), np.load(tmp_path / 'out' / line['depth_m_file']).ravel())
    assert {name for name, _, _ in read_all(tmp_path / 'out.mcap')} == {
        '/cam/image', '/cam/camera_info', '/talk', '/depth_ros/depth/image', '/depth_ros/depth/camera_info',
        '/depth_ros/points', '/depth_ros/alignment'}


def test_every_container_of_the_same_pictures_gives_the_same_depth(tmp_path, relative):
    maps = []
    entries = camera_entries()
    for path in (write_ros2(tmp_path / 'mcap', entries), write_ros2(tmp_path / 'db3', entries, 'SQLITE3'),
                 write_ros1(tmp_path / 'ros1.bag', entries)):
        process([path], tmp_path / f'{path.stem}_out', **relative)
        maps.append(contents(tmp_path / f'{path.stem}_out'))
    assert maps[0] == maps[1] == maps[2]


def test_preview_and_cloud_come_beside_the_result(tmp_path, bag, metric):
    process([bag], tmp_path / 'out', preview=tmp_path / 'a.mp4', cloud=tmp_path / 'a.ply', **metric)
    assert cv2.VideoCapture(str(tmp_path / 'a.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert (tmp_path / 'a.ply').read_bytes().startswith(b'ply')
    assert visible_and_hidden(tmp_path) == ['a.mp4', 'a.ply', 'bag', 'out']


def test_the_cloud_is_that_of_the_last_frame(tmp_path, pictures, relative):
    said = {'camera': '30,31,16,12', **relative}
    process([pictures], tmp_path / 'all', cloud=tmp_path / 'last.ply', **said)
    process([pictures], tmp_path / 'one', cloud=tmp_path / 'first.ply', end=0.02, **said)
    assert len(lines(tmp_path / 'one')) == 1 and len(lines(tmp_path / 'all')) == 6
    assert (tmp_path / 'first.ply').read_bytes() != (tmp_path / 'last.ply').read_bytes()


def test_a_part_can_be_cut_out_and_the_camera_stated(tmp_path, pictures, relative):
    process([pictures], tmp_path / 'out', start=0.1, end=0.3, rate=10.0, camera='30,31,16,12', **relative)
    out = lines(tmp_path / 'out')
    assert [line['stamp_ns'] for line in out] == [100_000_000, 200_000_000]
    assert out[0]['K'] == [[30, 0, 16], [0, 31, 12], [0, 0, 1]] and out[0]['depth_m_file'] is None


def test_pictures_that_change_their_size_begin_a_new_segment(tmp_path, pictures, relative):
    (pictures / '3.png').write_bytes(jpeg(picture(0, 48, 64), '.png'))
    process([pictures], tmp_path / 'out', preview=tmp_path / 'a.mp4', **relative)
    assert [line['segment'] for line in lines(tmp_path / 'out')] == [0, 0, 0, 1, 2, 2]
    assert np.load(tmp_path / 'out' / 'map_000003.npy').shape == (48, 64)


def test_stamps_that_go_back_begin_a_new_segment(tmp_path, relative):
    entries = [('/image', index, image(stamp * 10**6, picture(0) // 2 + index))
               for index, stamp in enumerate((10, 20, 5, 15))]
    process([write_ros2(tmp_path / 'bag', entries)], tmp_path / 'out', **relative)
    assert [line['segment'] for line in lines(tmp_path / 'out')] == [0, 0, 1, 1]


REFUSALS = [
    ({'output': 'taken'}, OutputError, 'exists; choose another name'),
    ({'output': 'no/where'}, OutputError, 'does not exist; create'),
    ({'output': 'pictures', 'overwrite': True}, OutputError, 'is an input'),
    ({'output': 'taken', 'overwrite': True}, OutputError, 'other things than depth frames'),
    ({'output': 'out.bag'}, OutputError, 'a bag ends in .mcap'),
    ({'points': True}, OutputError, 'name the output .mcap'),
    ({'cloud': 'a.ply'}, InputError, 'no calibration.*--camera'),
    ({'preview': 'taken'}, OutputError, 'exists'),
    ({'input': 'nothing'}, InputError, 'does not exist'),
    ({'start': 3.0, 'end': 1.0}, InputError, 'expected 0 <= start < end'),
    ({'start': 100.0}, InputError, 'no pictures in the part'),
    ({'camera': '1,2,3'}, InputError, 'four numbers'),
    ({'set': ['camera.modl=raw']}, SettingsError, 'did you mean camera.model'),
    ({'set': ['threads=many']}, SettingsError, 'expected int'),
    ({'set': ['threads']}, SettingsError, 'expected name=value'),
    ({'stride': 0, 'length': 1000}, SettingsError, 'length=1000: expected 0 to 512'),
]


@pytest.mark.parametrize(('change', 'kind', 'words'), REFUSALS)
def test_what_cannot_work_is_refused_and_leaves_nothing_behind(tmp_path, pictures, relative, change, kind, words):
    (tmp_path / 'taken').mkdir()
    (tmp_path / 'taken' / 'diary').write_text('mine')
    asked = {'input': 'pictures', 'output': 'out', **relative, **change}
    paths = {name: tmp_path / asked.pop(name) for name in ('input', 'output', 'preview', 'cloud') if name in asked}
    with pytest.raises(kind, match=words):
        process([paths.pop('input')], **paths, **asked)
    assert visible_and_hidden(tmp_path) == ['pictures', 'taken']
    assert visible_and_hidden(tmp_path / 'taken') == ['diary']


@pytest.mark.parametrize('names', [['a'], ['a', 'b']])
def test_no_result_may_take_the_place_of_a_recording(tmp_path, relative, names):
    videos = [tmp_path / f'{name}.mp4' for name in names]
    for path in videos:
        path.write_bytes(b'mine')
    with pytest.raises(OutputError, match='a.mp4 is an input'):
        process(videos, tmp_path / 'out', preview=tmp_path if len(names) > 1 else videos[0], overwrite=True, **relative)
    assert all(path.read_bytes() == b'mine' for path in videos)


def test_a_picture_that_is_damaged_leaves_no_half_result_and_keeps_the_old_one(tmp_path, pictures, relative):
    process([pictures], tmp_path / 'out', **relative)
    before = contents(tmp_path / 'out')
    (pictures / '4.png').write_bytes(b'hello')
    with pytest.raises(InputError, match='4.png'):
        process([pictures], tmp_path / 'out', preview=tmp_path / 'a.mp4', overwrite=True, **relative)
    assert contents(tmp_path / 'out') == before and visible_and_hidden(tmp_path) == ['out', 'pictures']


@pytest.mark.parametrize('frame', [1, 6])
def test_a_frame_that_cannot_be_written_leaves_nothing_be_it_the_last(tmp_path, pictures, relative, monkeypatch, frame):
    written = []

    def broken(*_):
        written.append(None)
        if len(written) == frame:
            raise OutputError('full')

    monkeypatch.setattr(DepthFolder, 'add', broken)
    with pytest.raises(OutputError, match='full'):
        process([pictures], tmp_path / 'out', **relative)
    assert visible_and_hidden(tmp_path) == ['pictures'] and len(written) == frame


def test_a_bag_that_failed_holds_no_file_open(tmp_path, bag, relative, monkeypatch):
    def broken(*_):
        raise OutputError('full')

    monkeypatch.setattr(DepthBag, 'add', broken)
    with pytest.raises(OutputError, match='full') as held:    # with its traceback, and all that this refers to
        process([bag], tmp_path / 'out.mcap', **relative)
    opened = [os.path.realpath(f'/proc/self/fd/{number}') for number in os.listdir('/proc/self/fd')]
    assert held and not [path for path in opened if path.startswith(str(tmp_path))]


def test_overwrite_replaces_the_old_result_as_a_whole(tmp_path, pictures, relative):
    process([pictures], tmp_path / 'out', **relative)
    process([pictures], tmp_path / 'out', end=0.05, overwrite=True, **relative)
    assert visible_and_hidden(tmp_path / 'out') == ['frames.jsonl', 'map_000000.npy', 'map_000001.npy']


def test_the_program_says_one_sentence_and_exits_with_2(tmp_path, pictures, relative):
    run = start(pictures, tmp_path / 'out', **{**relative, 'family': 'midas'})
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2 and out == '' and err.count('\n') == 1 and 'midas' in err
    assert not (tmp_path / 'out').exists()


def endless(tmp_path, count=3000):
    """Return a folder whose pictures take the program a while."""
    folder = tmp_path / 'many'
    folder.mkdir()
    (folder / '0.png').write_bytes(jpeg(picture(0, 480, 640), '.png'))
    for index in range(1, count):
        (folder / f'{index}.png').symlink_to(folder / '0.png')
    return folder


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('name', ['out', 'out.mcap'])
def test_an_interrupted_run_keeps_what_is_done_and_says_so(tmp_path, relative, number, name):
    run = start(endless(tmp_path), tmp_path / name, **relative)
    while not any(item.suffix == '.npy' or item.stat().st_size > 3e6 for item in tmp_path.glob('.out*/**/*')):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and '(interrupted)' in out, err
    assert visible_and_hidden(tmp_path) == ['many', name]
    done = len(lines(tmp_path / name)) if name == 'out' else sum(
            topic == '/depth_ros/relative/image' for topic, *_ in read_all(tmp_path / name))
    assert 0 < done < 3000 and f'{done} frames' in out


@pytest.mark.parametrize('name', ['out', 'out.mcap'])
def test_a_second_signal_stops_at_once_and_leaves_nothing(tmp_path, pictures, bag, relative, monkeypatch, name):
    def interrupted(*_):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail('it went on')

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    process([bag], tmp_path / 'warm', **relative)
    monkeypatch.setattr(OnnxGraph, 'run', interrupted)
    with pytest.raises(typer.Exit) as ended:
        process([bag if name == 'out.mcap' else pictures], tmp_path / name, **relative)
    assert ended.value.exit_code == 130 and visible_and_hidden(tmp_path) == ['bag', 'pictures', 'warm']
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize('name', ['out', 'out.mcap'])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, relative, name):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))    # a map takes 1.2 MB

    run = start(endless(tmp_path, 10), tmp_path / name, before=limit, **relative)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2 and err.count('\n') == 1 and f'cannot write {name}: ' in err, err
    assert visible_and_hidden(tmp_path) == ['many']


# Metres from what was measured beside the pictures.

LIDAR_IN_CAM = (0.1, -0.3, 0.0)


def grey_depth(rgb):
    """Return the depth [m] of a picture in a world where the grey network is right up to scale and shift."""
    return 1 / (0.05 * rgb.mean(axis=-1) / 25.5 + 0.1)


def passing_by(index):
    """Return a picture (24, 32, 3) of a scene that moves to the side."""
    return np.roll(picture(0), index, axis=1)


def measured_bag(path, kind, count=8, frame_id='lidar', writer=write_ros2):
    """Write pictures and of each a cloud (with outliers) or a depth image, logged 60 ms after the picture."""
    entries, directions = [], np.dstack([rays(CAMERA), np.ones((24, 32))])
    for index in range(count):
        stamp = START + index * SECOND // 10
        entries += [('/cam/camera_info', stamp, info(stamp)), ('/cam/image', stamp, image(stamp, passing_by(index)))]
        depth = grey_depth(passing_by(index))
        if kind == 'cloud':
            points = (directions * depth[..., None]).reshape(-1, 3)[index % 3::3] - LIDAR_IN_CAM
            points[::10] *= 3
            message = cloud(stamp, points, frame_id, ('f4', 'f8', 'f4'), ('z', 'x', 'y'), gap=1, big=True)
        else:
            message = depth_image(stamp, np.round(depth * 1000).astype(np.uint16), '16UC1')
        entries.append(('/sensor', stamp + 60_000_000, message))
    entries.append(('/tf_static', START, tf(transform('cam', 'lidar', 0, LIDAR_IN_CAM))))
    return writer(path, sorted(entries, key=lambda entry: entry[1]))


@pytest.mark.parametrize(('name', 'writer', 'live'), [
    ('mcap', write_ros2, True), ('db3', partial(write_ros2, plugin='SQLITE3'), False), ('ros1.bag', write_ros1, False)])
@pytest.mark.parametrize('kind', ['cloud', 'image'])
def test_a_range_topic_of_the_bag_makes_metres(tmp_path, relative, capsys, kind, name, writer, live):
    path = measured_bag(tmp_path / name, kind, writer=writer)
    process([path], tmp_path / 'out', metric='range:/sensor', live=live, **relative)
    last = lines(tmp_path / 'out')[-1]
    depth = np.load(tmp_path / 'out' / last['depth_m_file'])
    assert np.median(np.abs(depth / grey_depth(passing_by(7)) - 1)) < 0.01
    shown = capsys.readouterr()
    assert f'{path.name}: 8 frames of depth, ' in shown.out and ' of them metric, ' in shown.out
    assert 'of 8 frames have no sure scale; the last of them: converging, ' in shown.err


def test_metres_of_a_bag_are_the_same_bytes_twice_and_the_only_topic_need_not_be_named(tmp_path, relative):
    path = measured_bag(tmp_path / 'bag', 'cloud')
    said = {**relative, 'set': [*relative['set'], 'metric.source=range']}
    process([path], tmp_path / 'a.mcap', metric='range:/sensor', **relative)
    process([path], tmp_path / 'b.mcap', metric='range', **relative)
    process([path], tmp_path / 'c.mcap', **said)
    written = [(tmp_path / f'{name}.mcap').read_bytes() for name in 'abc']
    assert written[0] == written[1] == written[2]
    assert '/depth_ros/depth/image' in {topic for topic, _, _ in read_all(tmp_path / 'a.mcap')}


def test_a_range_sensor_that_nobody_placed_gives_no_metres_and_a_note(tmp_path, relative, capsys):
    process([measured_bag(tmp_path / 'bag', 'cloud', frame_id='roof')], tmp_path / 'out', metric='range', **relative)
    shown = capsys.readouterr()
    assert '8 frames of relative depth' in shown.out
    assert "8 of 8 frames have no sure scale; the last of them: converging, no transform from 'roof' to 'cam'" in shown.err


def test_depth_pictures_beside_pictures_make_metres(tmp_path, relative):
    for name in ('rgb', 'depth'):
        (tmp_path / name).mkdir()
    for index in range(6):
        (tmp_path / 'rgb' / f'{index}.png').write_bytes(jpeg(passing_by(index), '.png'))
        depth = grey_depth(passing_by(index))
        cv2.imwrite(str(tmp_path / 'depth' / f'{index}.png'), np.round(depth * 1000).astype(np.uint16))
    process([tmp_path / 'rgb'], tmp_path / 'out', metric=f'range:{tmp_path / "depth"}', camera='30,31,16,12', **relative)
    measured = np.load(tmp_path / 'out' / lines(tmp_path / 'out')[-1]['depth_m_file'])
    assert np.median(np.abs(measured / depth - 1)) < 0.01


def test_a_scale_that_is_known_makes_metres_of_anything(tmp_path, pictures, relative, capsys):
    process([pictures], tmp_path / 'out', metric='fixed:0.05,0.1', **relative)
    depth = np.load(tmp_path / 'out' / lines(tmp_path / 'out')[0]['depth_m_file'])
    assert depth == pytest.approx(grey_depth(picture(0) // 2), rel=1e-4)
    shown = capsys.readouterr()
    assert '6 frames of metric depth' in shown.out and shown.err == ''


def test_a_slow_metric_network_makes_metres(tmp_path, bag, relative, metric):
    process([bag], tmp_path / 'out', metric='family:onnx', **{**relative, 'set': [
        *relative['set'], f'metric.weights={metric["weights"]}', 'metric.every_s=0']})
    assert len(lines(tmp_path / 'out')) == 5


@pytest.mark.parametrize(('change', 'kind', 'words'), [
    ({'metric': 'range:/nothing'}, InputError, 'bag has no sensor_msgs/msg/PointCloud2 .* on /nothing; .*: /sensor .sensor'),
    ({'metric': 'odometry'}, InputError, 'bag has no topic that may be the metric source'),
    ({'metric': 'odometry:tf', 'input': 'pictures'}, InputError, 'pictures has no topics for metric.source=odometry'),
    ({'metric': 'camera_height'}, SettingsError, 'height'),
    ({'metric': 'lidar'}, SettingsError, "metric.source='lidar': expected one of none, range"),
    ({'metric': ''}, SettingsError, "metric.source='': expected one of none, range"),
    ({'metric': 'fixed:1'}, SettingsError, '--metric fixed:1: expected'),
    ({'metric': 'range:/sensor', 'set': ['metric.extrinsic=1,2,3']}, SettingsError, 'metric.extrinsic='),
])
def test_a_source_of_metres_that_cannot_be_is_refused_and_leaves_nothing(tmp_path, pictures, relative, change, kind, words):
    measured_bag(tmp_path / 'bag', 'cloud')
    asked = {'input': 'bag', **relative, **change}
    with pytest.raises(kind, match=words):
        process([tmp_path / asked.pop('input')], tmp_path / 'out', **asked)
    assert visible_and_hidden(tmp_path) == ['bag', 'pictures']


# Several recordings.

@pytest.mark.parametrize('live', [False, True])
@pytest.mark.parametrize('family', ['onnx', 'lite'])
def test_a_recording_among_others_gives_the_bytes_that_it_gives_alone(tmp_path, bag, pictures, relative, family, live):
    inputs = [pictures, bag, write_ros2(tmp_path / 'db3', camera_entries(), 'SQLITE3')]
    said = {'live': live, **(relative if family == 'onnx' else {'family': 'lite', 'set': ['threads=1']})}
    process(inputs, tmp_path / 'out', preview=tmp_path / 'out', **said)
    assert visible_and_hidden(tmp_path / 'out') == ['bag.mcap', 'bag.mp4', 'db3.mcap', 'db3.mp4', 'pictures', 'pictures.mp4']
    process([pictures], tmp_path / 'alone', **said)
    process([bag], tmp_path / 'alone.mcap', **said)
    assert contents(tmp_path / 'out' / 'pictures') == contents(tmp_path / 'alone')
    for name in ('bag', 'db3'):
        assert (tmp_path / 'out' / f'{name}.mcap').read_bytes() == (tmp_path / 'alone.mcap').read_bytes()


def test_one_that_cannot_be_processed_does_not_stop_the_others(tmp_path, pictures, bag, relative):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'torn.mcap').write_bytes(b'no bag')
    damaged = tmp_path / 'damaged'
    shutil.copytree(pictures, damaged)
    (damaged / '4.png').write_bytes(b'hello')
    inputs = [tmp_path / 'nothing', pictures, tmp_path / 'torn.mcap', damaged, tmp_path / 'empty', bag]
    run = start(*inputs, tmp_path / 'out', **relative)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2 and visible_and_hidden(tmp_path / 'out') == ['bag.mcap', 'pictures']
    assert [line.split(':')[0] for line in out.splitlines()] == ['pictures', 'bag']
    *reasons, last = err.splitlines()
    for line, name, words in zip(reasons, ('nothing', 'torn.mcap', 'damaged', 'empty'),
                                 ('does not exist', 'cannot read the bag', '4.png', 'no pictures'), strict=True):
        assert line.startswith('depth_ros: ') and name in line and words in line
    assert last == 'depth_ros: 4 of 6 recordings failed: nothing, torn.mcap, damaged, empty'


def test_what_failed_is_not_read_to_its_end_and_what_is_done_already_is_left(tmp_path, bag, relative, monkeypatch, capsys):
    decoded = []
    decode = video.decode_file
    monkeypatch.setattr(video, 'decode_file', lambda *given: decoded.append(given[1]) or decode(*given))
    many = endless(tmp_path, 100)
    for _ in range(2):
        with pytest.raises(typer.Exit) as ended:
            process([many, bag], tmp_path / 'out', cloud=tmp_path / 'clouds', **relative)
        assert ended.value.exit_code == 2 and 'many has no calibration' in capsys.readouterr().err
    assert len(decoded) < 20 and visible_and_hidden(tmp_path / 'clouds') == ['bag.ply']


def test_a_network_that_does_not_open_stops_all_at_once(tmp_path, pictures, bag, relative):
    without_its_network = shutil.copy(relative['weights'], tmp_path)
    with pytest.raises(WeightsError, match='no weights file .*grey.onnx'):
        process([pictures, bag], tmp_path / 'out', **{**relative, 'weights': without_its_network})


@pytest.mark.parametrize(('change', 'words'), [
    ({'output': 'out.mcap'}, 'name a folder'),
    ({'preview': 'a.mp4'}, 'name a folder'),
    ({'cloud': 'a.ply'}, 'name a folder'),
    ({'input': ['pictures', 'other/pictures.mp4']}, 'would both become .*pictures'),
    ({'points': True}, 'pictures becomes a folder'),
    ({'output': '.'}, 'pictures is an input'),
    ({'output': 'no/where'}, 'cannot write where'),
])
def test_several_recordings_need_a_folder_and_names_of_their_own(tmp_path, pictures, relative, change, words):
    asked = {'input': ['pictures', 'other'], 'output': 'out', **relative, **change}
    paths = {name: tmp_path / asked.pop(name) for name in ('output', 'preview', 'cloud') if name in asked}
    with pytest.raises(OutputError, match=words):
        process([tmp_path / name for name in asked.pop('input')], **paths, **asked)
    assert visible_and_hidden(tmp_path) == ['pictures']


def test_reading_inferring_and_writing_happen_at_the_same_time_but_not_far_apart(tmp_path, pictures, relative, monkeypatch):
    step_s, done = 0.04, {'read': 0, 'inferred': 0, 'written': 0}
    ahead, slept = [], []

    def slower(owner, name, stage):
        whole = getattr(owner, name)

        def slow(*given):
            begin = time.perf_counter()
            time.sleep(step_s)
            slept.append((begin, time.perf_counter()))
            done[stage] += 1
            ahead.append((done['read'] - done['inferred'], done['inferred'] - done['written']))
            return whole(*given)

        monkeypatch.setattr(owner, name, slow)

    inputs = [shutil.copytree(pictures, tmp_path / name) for name in 'abcd']
    process([pictures], tmp_path / 'warm', **relative)
    slower(video, 'decode_file', 'read')
    slower(OnnxGraph, 'run', 'inferred')
    slower(DepthFolder, 'add', 'written')
    process(inputs, tmp_path / 'out', **relative)
    assert set(done.values()) == {24}
    each_s, any_s, until = sum(end - begin for begin, end in slept), 0.0, 0.0
    for begin, end in sorted(slept):
        any_s += max(0.0, end - max(begin, until))
        until = max(until, end)
    assert any_s < 0.6 * each_s    # one after the other: all of it
    assert max(read for read, _ in ahead) <= 7 and max(inferred for _, inferred in ahead) <= 3


def test_the_next_recording_is_decoded_while_the_last_frame_of_the_one_before_is_inferred(tmp_path, pictures, relative,
                                                                                          monkeypatch):
    decoded, ahead = [], []
    decode, run = video.decode_file, OnnxGraph.run
    monkeypatch.setattr(video, 'decode_file', lambda *given: decoded.append(given[1]) or decode(*given))

    def waiting(*given):
        ahead.append(0)
        deadline = time.monotonic() + 5
        while len(ahead) == 6 and len(decoded) < 7 and time.monotonic() < deadline:
            time.sleep(0.01)
        ahead[-1] = len(decoded)
        return run(*given)

    monkeypatch.setattr(OnnxGraph, 'run', waiting)
    process([pictures, shutil.copytree(pictures, tmp_path / 'next')], tmp_path / 'out', **relative)
    assert ahead[5] > 6


def test_interrupted_in_the_second_recording_the_first_is_whole_and_the_third_not_begun(tmp_path, pictures, bag, relative):
    run = start(pictures, endless(tmp_path), bag, tmp_path / 'out', **relative)
    while not any(tmp_path.glob('out/.many*/many/*.npy')):
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert visible_and_hidden(tmp_path / 'out') == ['many', 'pictures'] and len(lines(tmp_path / 'out' / 'pictures')) == 6
    first, second = out.splitlines()
    assert first.endswith('/pictures') and second.endswith('/many (interrupted)')


def test_reading_ahead_keeps_order_and_hands_on_errors():
    def items():
        yield from range(5)
        raise InputError('broken')

    seen = []
    with pytest.raises(InputError, match='broken'):
        for item in read_ahead(items()):
            seen.append(item)
    assert seen == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('count', [1, 3])
def test_reading_ahead_goes_as_far_as_it_may(count):
    made = []
    ahead = read_ahead((made.append(index) or index for index in range(10)), count)
    assert next(ahead) == 0
    time.sleep(0.1)
    assert len(made) == count + 1 and list(ahead) == list(range(1, 10))


def test_reading_ahead_closes_what_it_reads_when_nobody_wants_more():
    threads = []

    def items():
        threads.append(threading.current_thread())
        try:
            yield from range(100)
        finally:
            threads.append(threading.current_thread())

    ahead = read_ahead(items())
    assert next(ahead) == 0
    ahead.close()
    opened, closed = threads
    assert opened is closed is not threading.current_thread()


def test_the_genuine_recordings_are_processed(tmp_path, shared, relative):
    names = {'aruco_images.bag': 1, 'aruco_marker.bag': 1, 'fiducial_board_611.bag': 1, 'golf.mov': 40}
    for name, frames in names.items():
        path = shared / 'data' / ('videos' if frames > 1 else 'ros1_bags') / name
        process([path], tmp_path / 'out.mcap', points=frames == 1, overwrite=True, **relative)
        ours = [msg for topic, _, msg in read_all(tmp_path / 'out.mcap') if topic == '/depth_ros/relative/image']
        assert len(ours) == frames and np.isfinite(ours[0].data.view(np.float32)).all()
