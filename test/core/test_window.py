"""Windows hold the right frames, and every frame is new exactly once."""

from dataclasses import replace

import pytest

from depth_ros.core.window import RollingWindow, WindowSpec
from depth_ros.errors import SettingsError
from test.parity.compare import Golden

VDA = WindowSpec(32, (0, 12, *range(24, 32)), anchors=2, blend=8)
PPVD = WindowSpec(16, (0, 8, 15), anchors=3)
DVD = WindowSpec(45, tuple(range(36, 45)), anchors=9, blend=9)
MOVED_BACK = replace(DVD, moved_back=True)
SPECS = [WindowSpec(), VDA, PPVD, DVD, WindowSpec.rolling(1, 1), WindowSpec.rolling(4, 1), WindowSpec.rolling(8, 3),
         WindowSpec.rolling(5, 5)]


def windows(spec, count):
    window = RollingWindow(spec)
    out = [w for position in range(count) if (w := window.push(position))]
    while last := window.flush():
        out.append(last)
    return out


@pytest.mark.parametrize('spec', SPECS)
@pytest.mark.parametrize('count', [0, 1, 2, 7, 16, 33, 100])
def test_every_frame_is_new_in_exactly_one_window_and_every_window_is_full(spec, count):
    seen = []
    for window in windows(spec, count):
        assert len(window.items) == spec.length and window.items == window.indices
        seen += [window.indices[slot] for slot in window.fresh]
    assert seen == list(range(count))


def test_a_window_of_video_depth_anything_holds_the_first_frame_one_far_frame_and_the_thirty_newest():
    second = windows(VDA, 54)[1]
    assert second.indices == (0, 12, *range(24, 54))
    third = windows(VDA, 76)[2]
    assert third.indices == (0, 22 * 2 - 10, *range(22 * 2 + 2, 22 * 2 + 32))


def test_a_window_of_pixel_perfect_video_depth_holds_the_first_frame_and_two_late_ones():
    third = windows(PPVD, 42)[2]
    assert third.indices == (0, 13 * 2 - 5, *range(13 * 2 + 2, 13 * 2 + 16))


@pytest.mark.parametrize('row', Golden('dvd_stitch_seed0').meta['get_window_index_table'], ids=lambda row: f'{row["T"]}')
def test_the_last_window_of_dvd_is_moved_back_to_full_length(row):
    length, overlap = row['window'], row['overlap']
    shared = tuple(range(length - overlap, length))
    spec = replace(MOVED_BACK, length=length, keyframes=shared, anchors=overlap, blend=overlap)
    assert [[w.indices[0], w.indices[-1] + 1] for w in windows(spec, row['T'])] == row['windows']


@pytest.mark.parametrize(('count', 'planned'), [(30, 2), (32, 2), (36, 2), (44, 2), (45, 3), (61, 3)])
def test_a_published_plan_of_windows_runs_past_the_end(count, planned):
    found = windows(replace(VDA, past_end=True), count)
    assert len(found) == planned
    assert [window.indices[slot] for window in found for slot in window.fresh] == list(range(count))


def test_a_live_window_answers_the_first_frame_and_then_every_stride():
    assert [w.indices for w in windows(WindowSpec.rolling(3, 1), 4)] == [(0, 0, 0), (0, 0, 1), (0, 1, 2), (1, 2, 3)]
    assert [w.indices for w in windows(WindowSpec.rolling(4, 2), 3)] == [(0, 0, 0, 1), (0, 1, 2, 2)]


def test_the_lag_is_what_a_frame_waits_for_at_most():
    assert WindowSpec.rolling(32, 1).lag == 0
    assert WindowSpec.rolling(32, 4).lag == 3
    assert PPVD.lag == 15
    assert VDA.lag == 31 + 8
    assert MOVED_BACK.lag == 44 + 44    # the last window may be moved back over all of the one before but its first frame


@pytest.mark.parametrize('arguments', [(0,), (4, (0, 1, 2, 3)), (4, (2, 1)), (4, (1, 9)), (4, (3,), 2), (4, (0, 1), 0, 2)])
def test_a_window_that_cannot_be_is_refused(arguments):
    with pytest.raises(SettingsError):
        WindowSpec(*arguments)


def test_a_stride_longer_than_the_window_is_refused():
    with pytest.raises(SettingsError, match='stride 5'):
        WindowSpec.rolling(4, 5)
