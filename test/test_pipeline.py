"""Opening a stream: the shipped network runs, and what cannot be opened is refused in one sentence."""

import hashlib
from pathlib import Path
from threading import Event
from time import sleep

import numpy as np
import pytest

from depth_ros import Frame, open_stream
from depth_ros.core.camera import Camera
from depth_ros.core.stream import DepthStream
from depth_ros.core.window import WindowSpec
from depth_ros.errors import BackendError, InputError, SettingsError, WeightsError
from depth_ros.families import load_family
from depth_ros.pipeline import needed_bytes
from depth_ros.settings import build
from test.families.tiny import settings_of, write
from test.grey_network import write_network


def pictures(count, height=120, width=160):
    random = np.random.default_rng(0)
    return [Frame(random.integers(0, 255, (height, width, 3), dtype=np.uint8), number * 33_000_000)
            for number in range(count)]


@pytest.mark.parametrize('size', [(120, 160), (160, 120), (94, 311)])
def test_the_shipped_network_gives_depth_pose_and_embedding_for_every_picture(size):
    stream = open_stream()
    out = [depth for frame in pictures(4, *size) for depth in stream.push(frame)]
    assert [depth.index for depth in out] == [0, 1, 2, 3]
    for depth in out:
        assert depth.map.shape == depth.confidence.shape == size and np.isfinite(depth.map).all()
        assert depth.embedding.shape == (stream.family.embedding_dim,)
        R = depth.T_world_cam[:3, :3]
        assert np.allclose(R @ R.T, np.eye(3)) and np.linalg.det(R) > 0
        assert not depth.T_world_cam[:3, 3].any()    # what it has not learnt it does not claim
    assert np.array_equal(out[0].T_world_cam, np.eye(4))
    assert stream.info['weights_sha256'] and stream.info['backend'] == 'onnx'


def test_the_backend_that_was_chosen_is_named_and_why_it_is_not_a_better_one(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))    # no engines
    info = open_stream().info
    assert info['backend'] == 'onnx' and info['backend_note'].startswith('not tensorrt: ')
    assert open_stream(backend='onnx').info['backend_note'] == ''
    with pytest.raises(BackendError) as error:
        open_stream(backend='tensorrt')
    assert f'not tensorrt: {error.value}' == info['backend_note']


def test_two_streams_of_the_same_pictures_give_the_same_bytes_and_threads_do_not_matter():
    runs = []
    for threads in (1, 1, 2):
        stream = open_stream(threads=threads)
        runs.append(b''.join(depth.map.tobytes() for frame in pictures(5) for depth in stream.push(frame)))
    assert runs[0] == runs[1] == runs[2]


def test_a_reset_makes_a_stream_as_good_as_new():
    stream = open_stream()
    first = [stream.push(frame)[0].map for frame in pictures(3)]
    stream.reset()
    again = [stream.push(frame)[0].map for frame in pictures(3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_settings_and_single_values_combine():
    stream = open_stream(build({'cloud.stride_px': 2}), metric__max_depth_m=9.0)
    assert (stream.settings.cloud.stride_px, stream.settings.metric.max_depth_m) == (2, 9.0)


@pytest.mark.parametrize(('values', 'kind', 'sentence'), [
    ({'family': 'midas'}, SettingsError, 'known: lite, onnx'),
    ({'weights': '/nowhere.onnx'}, WeightsError, '/nowhere.onnx'),
    ({'length': 32}, SettingsError, 'one frame at a time'),
    ({'cloud__strid_px': 1}, SettingsError, 'did you mean'),
])
def test_what_cannot_be_opened_is_refused_in_one_sentence(values, kind, sentence):
    with pytest.raises(kind, match=sentence):
        open_stream(**values)


def test_memory_stays_flat_over_a_long_stream():
    resource = pytest.importorskip('resource', reason='resource usage is not to be had here')
    stream, frames = open_stream(), pictures(8, 32, 32)

    def peak_kb(rounds):
        for number in range(rounds):
            frame = frames[number % len(frames)]
            stream.push(Frame(frame.rgb, stream.pushed * 33_000_000))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    warm = peak_kb(200)
    assert peak_kb(1000) - warm < 5000


@pytest.fixture(scope='module')
def windowed(tmp_path_factory):
    """Settings of a family that sees 32 frames at once."""
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    family = 'video_depth_anything'
    weights = str(write(family, tmp_path_factory.mktemp('weights')))
    return build({'family': family, 'weights': weights, **settings_of(family)})


@pytest.mark.parametrize(('values', 'live', 'words'), [
    ({'length': 33}, False, ('at most 32 frames', 'set length to 32')),
    ({'backend': 'onnx'}, False, ('runs on torch', 'set backend to auto', 'depth_ros export')),
    ({'model__short_side_px': 4096}, False, ('GB', 'are free on cpu', 'set length to ', 'model.short_side_px')),
    ({'model__device': 'cuda'}, False, ('finds no CUDA GPU', 'set model.device')),
    ({'model__variant': 'huge'}, False, ('huge', 'small')),
    ({'length': 8, 'stride': 8}, False, ('share none', 'set stride below 8')),
    ({'family': 'gemdepth', 'length': 1}, False, ('set length to at least 2',)),
    ({'family': 'gemdepth', 'model__variant': 'small'}, False, ('gemdepth has no variants', 'leave it empty')),
])
def test_what_a_network_of_the_papers_cannot_do_is_refused_before_it_is_loaded(windowed, values, live, words):
    torch = pytest.importorskip('torch')
    if 'model__device' in values and torch.cuda.is_available():
        pytest.skip('this machine has a CUDA GPU')
    with pytest.raises((SettingsError, WeightsError)) as error:
        open_stream(windowed, live=live, **values)
    assert all(word in str(error.value) for word in words) and '\n' not in str(error.value), str(error.value)


@pytest.mark.parametrize('size', [(1, 1), (5, 9), (13, 200)])
def test_a_picture_smaller_than_a_patch_is_refused_and_the_stream_goes_on(windowed, size):
    stream, fine = open_stream(windowed), pictures(2, 14, 30)
    stream.push(fine[0])
    with pytest.raises(InputError, match=f'{size[1]}x{size[0]} px is smaller than one patch of .*, 14 px'):
        stream.push(pictures(1, *size)[0])
    out = stream.push(fine[1]) + stream.flush()
    assert [depth.index for depth in out] == [0, 1] and all(np.isfinite(depth.map).all() for depth in out)


def test_half_the_numbers_take_half_the_memory(windowed, monkeypatch):
    full = open_stream(windowed)
    monkeypatch.setattr('depth_ros.runtime.torch_graph.free_bytes', lambda _: 0.75 * needed_bytes(full.family, full.spec, 0))
    with pytest.raises(SettingsError, match='needs about'):
        open_stream(windowed)
    assert open_stream(windowed, model__precision='bf16')


def test_half_the_numbers_give_nearly_the_same(windowed):
    maps = {}
    for precision in ('fp32', 'bf16'):
        stream = open_stream(windowed, model__precision=precision)
        maps[precision] = [depth.map for frame in pictures(2) for depth in stream.push(frame)] + [
            depth.map for depth in stream.flush()]
    full, half = np.stack(maps['fp32']), np.stack(maps['bf16'])
    assert not np.array_equal(full, half) and np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.98


def test_the_memory_that_is_asked_for_grows_with_the_window_and_holds_weights_and_fixed_work():
    family = load_family(build({'family': 'dvd'}))
    network, (h, w) = family.network, family.size(480, 640, None)
    one, two = (needed_bytes(family, WindowSpec(length), 1e9) for length in (1, 2))
    assert two - one == network.bytes_per_px * h * w
    assert one - (two - one) == 4e9 + network.working_bytes_per_px * h * w


def test_only_a_live_stream_needs_memory_for_what_it_carries_along():
    family = load_family(build({'family': 'video_depth_anything'}))
    h, w = family.size(480, 640, None)
    live, single = (needed_bytes(family, WindowSpec(live=live), 0) for live in (True, False))
    assert live - single == family.network.live_bytes_per_px * h * w > 0


def test_a_stream_names_its_weights_by_their_checksum(windowed):
    info = open_stream(windowed).info
    path = Path(windowed.weights)
    assert (info['backend'], info['weights']) == ('torch', path.name)
    assert info['weights_sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_slow_metric_network_brings_metres_to_a_fast_relative_one(tmp_path):
    slow, fast = (str(write_network(tmp_path, quantity)) for quantity in ('disparity_metric', 'disparity_affine'))
    stream = open_stream(family='onnx', weights=fast, alignment__per_frame='off', metric__source='family',
                         metric__family='onnx', metric__weights=slow)
    grey = np.tile(np.linspace(40, 250, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    camera = Camera(48, 64, 50, 50, 31.5, 23.5)
    out = [depth for number in range(3) for depth in stream.push(Frame(grey, number * 33_000_000, camera))]
    assert [depth.anchor.state for depth in out] == ['converging', 'locked', 'locked']
    assert out[2].depth_m[:, 8:-8] == pytest.approx(255 / 10 / grey[:, 8:-8, 0].astype(float), rel=0.02)


def test_a_slow_network_without_metres_is_refused():
    with pytest.raises(SettingsError, match='metric.family=lite gives disparity_affine, no metres'):
        open_stream(metric__source='family', metric__family='lite')


def test_a_slow_network_whose_weights_are_missing_names_the_setting_for_them(tmp_path):
    with pytest.raises(SettingsError, match='metric.family=onnx, set by metric.weights and metric.variant: '):
        open_stream(metric__source='family', metric__family='onnx', metric__weights=str(tmp_path / 'none.yaml'))


def test_live_the_slow_network_is_not_waited_for(tmp_path):
    slow = str(write_network(tmp_path, 'disparity_metric'))
    stream = open_stream(metric__source='family', metric__family='onnx', metric__weights=slow, live=True, in_background=True)
    answer = stream.ask(pictures(1)[0])
    assert answer.result(timeout=30).shape == (120, 160)
    assert isinstance(stream.ask(Frame(np.zeros((2, 2)), 0)).exception(timeout=30), Exception)


def test_a_slow_network_is_asked_one_picture_at_a_time_and_not_those_that_are_taken_back(tmp_path, monkeypatch):
    slow = str(write_network(tmp_path, 'disparity_metric'))
    stream = open_stream(metric__source='family', metric__family='onnx', metric__weights=slow, live=True, in_background=True)
    begun, may_end = [], Event()

    def push(self, frame):
        begun.append(frame)
        may_end.wait(30)
        raise InputError('not today')

    monkeypatch.setattr(DepthStream, 'push', push)
    first, *later = pictures(3)
    answers = [stream.ask(first)]
    while not begun:
        sleep(0.01)
    answers += [stream.ask(frame) for frame in later]
    assert answers[1].cancel() and len(begun) == 1
    may_end.set()
    assert [str(answers[at].exception(timeout=30)) for at in (0, 2)] == ['not today'] * 2
    assert len(begun) == 2
