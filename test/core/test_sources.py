"""A slow network and a range sensor tell of the picture that they saw, however late."""

from concurrent.futures import Future

import numpy as np
import pytest

from depth_ros.core.camera import Camera, project
from depth_ros.core.frame import Frame, Quantity
from depth_ros.core.measurement import Measurement
from depth_ros.core.sources import FamilySource, RangeSource, open_source
from depth_ros.core.two_view import Tracker
from depth_ros.errors import InputError, SettingsError
from depth_ros.settings import MetricSettings

CAMERA = Camera(48, 64, 50, 50, 31.5, 23.5)
SECOND = 1_000_000_000
SLOW = MetricSettings(source='family', every_s=5.0)


def frame(time_s, *measured):
    return Frame(np.zeros((48, 64, 3), np.uint8), round(time_s * SECOND), CAMERA, measured=measured)


def map_of(value):
    return np.full((48, 64), value, np.float32)


class Asked:
    """A network that answers when it is told to."""

    def __init__(self):
        self.questions = []

    def __call__(self, frame):
        self.questions.append((frame, Future()))
        return self.questions[-1][1]


def test_an_answer_belongs_to_the_map_of_its_picture_and_the_next_question_waits_for_it():
    asked = Asked()
    source = FamilySource(SLOW, asked)
    assert [source.correspond(frame(t), map_of(t), CAMERA) for t in (1.0, 2.0, 3.0)] == [[], [], []]
    assert len(asked.questions) == 1
    asked.questions[0][1].set_result(np.full((48, 64), 4.0, np.float32))
    (pairs,) = source.correspond(frame(9.0), map_of(9.0), CAMERA)
    assert pairs.stamp_ns == SECOND and set(pairs.value) == {1.0} and set(pairs.inverse_depth) == {0.25}


def test_it_is_asked_twice_at_once_and_then_every_few_seconds():
    asked = Asked()
    source, times = FamilySource(SLOW, asked), []
    for tenth in range(160):
        source.correspond(frame(tenth / 10), map_of(1), CAMERA)
        if len(asked.questions) > len(times):
            times.append(tenth / 10)
            asked.questions[-1][1].set_result(np.ones((48, 64), np.float32))
    assert times == [0.0, 0.1, 5.1, 10.1, 15.1]


def test_a_network_that_fails_says_so_and_is_asked_again():
    asked = Asked()
    source = FamilySource(SLOW, asked)
    source.correspond(frame(0), map_of(1), CAMERA)
    asked.questions[0][1].set_exception(InputError('needs the focal length'))
    (pairs,) = source.correspond(frame(1), map_of(1), CAMERA)
    assert pairs.problem == 'metric.family=depthvlm failed: needs the focal length' and len(asked.questions) == 2
    asked.questions[1][1].set_exception(ZeroDivisionError('x'))
    assert 'ZeroDivisionError: x' in source.correspond(frame(2), map_of(1), CAMERA)[0].problem


def test_an_answer_for_a_segment_that_has_ended_is_dropped():
    asked = Asked()
    source = FamilySource(SLOW, asked)
    source.correspond(frame(0), map_of(1), CAMERA)
    asked.questions[0][1].set_running_or_notify_cancel()
    source.reset()
    asked.questions[0][1].set_result(np.ones((48, 64), np.float32))
    assert source.correspond(frame(1), map_of(2), CAMERA) == []
    source.reset()
    assert asked.questions[1][1].cancelled()    # not begun: nobody needs it any more


def test_points_are_looked_up_where_the_lens_puts_them():
    lens = Camera(48, 64, 40, 40, 31.5, 23.5, 'plumb_bob', (-0.2, 0.05, 0.0, 0.0))
    points = np.float32([[0, 0, 2], [0.8, 0.4, 2], [-1.2, 0.6, 2]])
    uv, depth_m = project(points, lens)
    x, y = 0.4, 0.2    # of the second point; r^2 = 0.2
    bent = 1 - 0.2 * 0.2 + 0.05 * 0.04
    assert uv[0] == pytest.approx((31.5, 23.5)) and uv[1] == pytest.approx((31.5 + 40 * x * bent, 23.5 + 40 * y * bent))
    assert depth_m == pytest.approx([2, 2, 2])
    ramp = np.tile(np.arange(64, dtype=np.float32), (48, 1))
    (pairs,) = RangeSource(MetricSettings()).correspond(frame(1, Measurement(SECOND, points)), ramp, lens)
    assert pairs.value == pytest.approx(uv[:, 0], abs=1)    # every second pixel is kept
    assert pairs.inverse_depth == pytest.approx([0.5] * 3)


@pytest.mark.parametrize('model', [('plumb_bob', (-0.3, 0.1, 0.0, 0.0)), ('equidistant', (0.01, 0.0, 0.0, 0.0)), ('', ())])
def test_points_beside_or_behind_the_camera_are_not_folded_into_the_picture(model):
    camera = Camera(48, 64, 40, 40, 31.5, 23.5, *model)
    beside = np.float32([[9, 0, 1], [0, -9, 1], [0, 0, -2], [np.nan, 0, 1], [0, 0, 0]])
    uv, depth_m = project(beside, camera)
    assert uv.shape == (0, 2) and depth_m.shape == (0,)


def test_a_map_of_an_odd_size_is_looked_up_to_its_last_pixel():
    camera = Camera(47, 63, 50, 50, 31, 23)
    corner = np.float32([[31 / 50, 23 / 50, 1]])
    ramp = np.arange(47 * 63, dtype=np.float32).reshape(47, 63)
    (pairs,) = RangeSource(MetricSettings()).correspond(frame(1, Measurement(SECOND, corner)), ramp, camera)
    assert pairs.value == [ramp[-1, -1]]


def test_a_point_just_outside_the_picture_is_outside_and_the_first_pixel_begins_half_a_pixel_before():
    edge = np.float32([[(u - 31.5) / 50, 0, 1] for u in (-0.6, -0.4, 63.4, 63.6)])
    assert project(edge, CAMERA)[0][:, 0] == pytest.approx([-0.4, 63.4], abs=1e-4)


@pytest.mark.parametrize(('apart_s', 'used'), [(0.049, True), (0.051, False)])
def test_a_measurement_is_used_within_the_tolerance_and_not_beyond(apart_s, used):
    source, point = RangeSource(MetricSettings(tolerance_s=0.05)), np.float32([[0, 0, 1]])
    (pairs,) = source.correspond(frame(1, Measurement(round((1 - apart_s) * SECOND), point)), map_of(1), CAMERA)
    assert (not pairs.problem) == used


def test_frames_are_forgotten_after_two_seconds_and_maps_are_kept_as_they_were():
    source, map, point = RangeSource(MetricSettings()), map_of(1), np.float32([[0, 0, 1]])
    source.correspond(frame(1), map, CAMERA)
    map[:] = 7
    (pairs,) = source.correspond(frame(1.5, Measurement(SECOND, point)), map_of(2), CAMERA)
    assert pairs.value == [1]
    (pairs,) = source.correspond(frame(3.2, Measurement(SECOND, point)), map_of(2), CAMERA)
    assert '0.500 s away' in pairs.problem and len(source.seen) == 2


def test_what_is_measured_before_its_picture_waits_and_belongs_to_it():
    source, point = RangeSource(MetricSettings()), np.float32([[0, 0, 1]])
    assert source.correspond(frame(1, Measurement(round(1.03 * SECOND), point)), map_of(1), CAMERA) == []
    (pairs,) = source.correspond(frame(1.033), map_of(2), CAMERA)
    assert pairs.value == [2]


def test_a_source_that_needs_a_network_says_so():
    with pytest.raises(SettingsError, match='open_stream'):
        open_source(SLOW, Quantity.DISPARITY_AFFINE, Tracker())
    assert open_source(MetricSettings(), Quantity.DISPARITY_AFFINE, Tracker()) is None
