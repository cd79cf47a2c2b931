"""Two ways of the same are timed in turn, and held against each other."""

import time

import onnx
import pytest
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from depth_ros.benchmark import against
from depth_ros.benchmark.against import compare_commands, compare_files, compare_streams, forgetful, interleave
from depth_ros.benchmark.stages import pictures
from depth_ros.core.window import WindowSpec
from depth_ros.errors import InputError, SettingsError, WeightsError
from depth_ros.pipeline import open_stream
from depth_ros.settings import Settings
from test.benchmark.test_stages import sleeper


def test_both_sides_take_turns_in_going_first():
    went = []

    def side(name):
        went.append(name)
        return 1.0

    assert interleave([lambda: side('a'), lambda: side('b')], 3) == [[1.0] * 3] * 2
    assert ''.join(went) == 'abbaab'


def test_a_command_that_sleeps_twice_as_long_takes_twice_as_long():
    figures = compare_commands('sleep 0.2', 'sleep 0.4', 3)
    assert figures['ratio'] == pytest.approx(2, rel=0.25)
    assert figures['ratio_least'] <= figures['ratio'] <= figures['ratio_most']


def test_what_a_command_says_when_it_fails_is_passed_on():
    with pytest.raises(InputError, match=r'exit code 3 \(no picture\)'):
        compare_commands('true', 'echo no picture >&2; exit 3', 1)


def test_a_stream_is_held_against_one_of_twice_its_cost_with_other_windows():
    figures = compare_streams(sleeper(lambda _: 0.04, WindowSpec(6, (4, 5), anchors=2)),    # 10 ms a frame
                              sleeper(lambda _: 0.06, WindowSpec(4, (3,), anchors=1)),      # 20 ms a frame
                              48, 64, 24, 2)
    assert figures['frames'] == 24 and figures['ratio'] == pytest.approx(2, rel=0.3)
    assert figures['largest_difference'] < 1e-6    # both see the red of the same pictures


def test_processor_time_is_that_of_the_network_and_not_of_pictures_or_of_the_warm_up(monkeypatch):
    def busy(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return 0

    def dear_pictures(*size):
        for picture in pictures(*size):
            busy(0.1)
            yield picture

    monkeypatch.setattr(against, 'pictures', dear_pictures)
    slow_to_begin = sleeper(lambda number: busy(1.0 if number == 1 else 0.01))
    figures = compare_streams(slow_to_begin, sleeper(lambda _: busy(0.1)), 48, 64, 4, 1)
    assert figures['ratio_cpu'] > 2.5    # with the pictures it would be 1.8, with the warm-up less than 1


def test_torch_has_one_number_of_threads_for_both():
    one, two = sleeper(lambda _: 0), sleeper(lambda _: 0)
    one.info['backend'], one.settings = 'torch', Settings(threads=1)
    with pytest.raises(SettingsError, match='--threads'):
        compare_streams(one, two, 48, 64, 2, 1)


def test_a_stream_that_forgets_starts_every_frame_from_nothing():
    figures = compare_streams(open_stream(live=True), forgetful(open_stream(live=True)), 96, 128, 4, 2)
    assert figures['largest_difference'] > 1e-3    # lite sees the frames before


def write_onnx(path, operator):
    """Write a network of pictures of any size: what the operator makes of red, green and blue."""
    graph = make_graph([make_node(operator, ['picture'], ['map'], axes=[1])], 'colours',
                       [make_tensor_value_info('picture', 1, [1, 3, 'h', 'w'])],
                       [make_tensor_value_info('map', 1, [1, 1, 'h', 'w'])])
    onnx.save(make_model(graph, opset_imports=[make_opsetid('', 13)], ir_version=8), path)
    return path


def test_onnx_files_of_one_shape_run_on_the_same_noise(tmp_path):
    mean, most = (write_onnx(tmp_path / f'{operator}.onnx', operator) for operator in ('ReduceMean', 'ReduceMax'))
    figures = compare_files(mean, mean, Settings(), (64, 64), 2)
    assert figures['ours_ms'] > 0 and figures['largest_difference'] == 0
    assert compare_files(mean, most, Settings(), (64, 64), 1)['largest_difference'] > 0.1


def test_a_file_that_does_not_run_on_noise_says_so(tmp_path):
    path = tmp_path / 'two.onnx'
    inputs = [make_tensor_value_info('one', 1, [1, 2]), make_tensor_value_info('other', 1, [1, 'rows', 2])]
    graph = make_graph([make_node('Concat', ['one', 'other'], ['both'], axis=0)], 'two', inputs,
                       [make_tensor_value_info('both', 1, None)])
    onnx.save(make_model(graph, opset_imports=[make_opsetid('', 13)], ir_version=8), path)
    with pytest.raises((InputError, WeightsError), match='two.onnx'):
        compare_files(path, path, Settings(), (64, 64), 1)
