"""The benchmark sees what a frame costs, where, and whether that grows."""

import time
from dataclasses import replace

import numpy as np
import pytest

from depth_ros.benchmark.stages import compare_packing, growth, pack_by_element, time_stages, warm_up_frames
from depth_ros.core.cloud import pack_colour
from depth_ros.core.stream import DepthStream
from depth_ros.core.window import RollingWindow, WindowSpec
from depth_ros.families import load_family
from depth_ros.families.family import Prediction
from depth_ros.settings import Settings, build


def sleeper(seconds, spec=None):
    """Return a stream whose inference number n takes `seconds(n)`."""
    calls = []

    def infer(graphs, clip, state):
        calls.append(None)
        time.sleep(seconds(len(calls)))
        return Prediction(np.array(clip.rgb[..., 0], np.float32)), None

    family = replace(load_family(Settings()), infer=infer, carries_state=False, gives_pose=False)
    return DepthStream(family, {}, spec or family.live, Settings(), {'backend': 'sleep', 'backend_note': ''})


def test_a_frame_costs_what_its_inference_takes():
    figures = time_stages(sleeper(lambda _: 0.02), 48, 64, 12)
    assert 20 <= figures['median_ms']['infer'] < 60 and figures['frames_per_s'] < 50
    assert figures['median_ms']['frame'] >= figures['median_ms']['infer']
    assert figures['last_third_over_first'] == pytest.approx(1, abs=0.4)


def test_a_stream_whose_cost_grows_is_seen_to_grow():
    figures = time_stages(sleeper(lambda number: 5e-3 * number), 48, 64, 12)    # after 12 for warming up
    assert 1.2 < figures['last_third_over_first'] < 2    # 22.5 over 14.5


def test_a_window_is_paid_for_by_all_its_new_frames():
    spec = WindowSpec(6, (4, 5), anchors=2)
    figures = time_stages(sleeper(lambda _: 0.04, spec), 48, 64, 10)
    assert figures['frames'] == 12 and 10 <= figures['median_ms']['infer'] < 30 and figures['longest_ms'] >= 40
    assert figures['all_but_inference_ms'] < figures['median_ms']['frame'] - 5
    assert figures['frames_per_s'] * figures['median_ms']['frame'] == pytest.approx(1000, rel=0.5)


def test_a_frame_that_takes_longer_now_and_then_is_seen_beside_the_median():
    figures = time_stages(sleeper(lambda number: 0.005 if number % 4 else 0.1), 48, 64, 12)
    assert figures['median_ms']['infer'] < 50 < 100 <= figures['p95_ms']['infer'] <= figures['longest_ms']


def test_a_range_sensor_brings_the_metres_that_the_metric_layer_is_timed_with():
    family = replace(sleeper(lambda _: 0).family, infer=lambda graphs, clip, state: (
        Prediction((clip.rgb[..., 0].astype(np.float32) - 100) / 10), None))
    stream = DepthStream(family, {}, family.live, build({'metric.source': 'range'}), {'backend': '', 'backend_note': ''})
    figures = time_stages(stream, 48, 64, 12)
    assert stream.anchor.anchor.state == 'locked' and stream.anchor.anchor.residual < 0.05
    parts = figures['median_ms']['anchor'] + figures['median_ms']['cloud']
    assert figures['metric_and_cloud_ms'] == pytest.approx(parts, rel=0.3)


@pytest.mark.parametrize(('spec', 'frames'), [
    (WindowSpec(), 50), (WindowSpec(32, (0, 12, *range(24, 32))), 54), (WindowSpec.rolling(16, 8), 56)])
def test_the_warm_up_ends_with_a_window(spec, frames):
    assert warm_up_frames(spec, 50) == frames


@pytest.mark.parametrize('spec', [WindowSpec(), WindowSpec(6, (4, 5), anchors=2), WindowSpec.rolling(16, 8),
                                  WindowSpec.rolling(9, 4), WindowSpec.rolling(16, 1)])
def test_after_the_warm_up_windows_hold_no_frame_twice(spec):
    first, window = warm_up_frames(spec, 1), RollingWindow(spec)
    made = enumerate((window.push(number) for number in range(first + 2 * spec.stride)), 1)
    full = [pushed for pushed, one in made if one and len(set(one.indices)) == spec.length]
    assert full == [first, first + spec.stride, first + 2 * spec.stride]


def test_growth_needs_three_windows():
    assert growth(np.array([1.0, 2.0])) is None
    assert growth(np.array([1.0, 1.5, 3.0])) == 3


def test_both_ways_of_packing_give_the_same_bytes():
    random = np.random.default_rng(0)
    depth_m, xyz = random.random((6, 8)).astype(np.float32), random.random((6, 8, 3)).astype(np.float32)
    rgb = random.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    image, cloud = pack_by_element(depth_m, xyz, rgb)
    assert image == depth_m.tobytes() and cloud == np.dstack((xyz, pack_colour(rgb))).tobytes()
    assert compare_packing(48, 64) > 1
