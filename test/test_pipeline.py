"""Opening a stream: the shipped network runs, and what cannot be opened is refused in one sentence."""

import numpy as np
import pytest

from depth_ros import Frame, open_stream
from depth_ros.errors import SettingsError, WeightsError
from depth_ros.settings import build


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
