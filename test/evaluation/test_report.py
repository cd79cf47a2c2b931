"""The report is one file that shows what was measured."""

import base64
import re

import cv2
import numpy as np
import pytest

from depth_ros.core.camera import Camera
from depth_ros.evaluation.report import interesting, make_panel, make_report
from depth_ros.evaluation.score import FrameScore, Score, looks, predict, score
from depth_ros.evaluation.tables import as_markdown, as_text, tables
from test.evaluation.made import H, W, sample, sequence, slope, stream, turned


@pytest.fixture
def page(tmp_path):
    """Return the report of two networks on a video of six frames with depth and poses."""
    camera, scores, panels = Camera(H, W, 60, 60, 31.5, 23.5), [], {}
    samples = [sample(slope(), n, T_world_cam=turned(n), camera=camera) for n in range(6)]
    for name in ('one', '<b>two</b>'):
        predicted = predict(stream(), sequence(samples), tmp_path)
        scores.append(score(predicted, name, still=0.01))
        panels['made', name] = make_panel(scores[-1], looks(predicted, interesting(scores[-1])))
    return make_report(scores, panels, {'depth_ros': '1.2.3'})


def test_it_opens_without_a_network(page):
    assert not re.search(r'https?:|src="(?!data:)|href=|@import|url\(', page)


def test_it_holds_tables_curves_pictures_and_clouds(page):
    assert page.count('<table>') == 4 and page.count('<canvas') == 1 and 'depth_ros 1.2.3' in page
    titles = re.findall(r'aria-label="([^"]+)"><path', page)
    assert any('each picture' in title for title in titles) and any('TAE' in title for title in titles)
    assert page.count('class="line s0"') == page.count('class="line s1"') >= 5
    assert re.findall(r'<button[^>]*>([^<]+)</button>', page) == ['truth', 'one', '&lt;b&gt;two&lt;/b&gt;']
    pictures = re.findall(r'<img alt="(\w+)" src="data:image/jpeg;base64,([^"]+)"', page)
    assert [name for name, _ in pictures[:4]] == ['picture', 'truth', 'depth', 'error']
    decoded = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR) for _, data in pictures]
    assert {picture.shape for picture in decoded} == {(240, 320, 3)}
    assert decoded[3].min() > 240    # no error is white


def test_names_are_shown_and_not_obeyed(page):
    assert '<b>two' not in page and page.count('<script>') == 1


def test_the_points_of_the_cloud_lie_where_the_truth_is(page):
    unit, xyz = re.search(r'data-unit="([^"]+)".*?data-xyz="([^"]+)"[^>]*>truth', page).groups()
    points = np.frombuffer(base64.b64decode(xyz), '<i2').reshape(-1, 3) * float(unit)
    assert len(points) == H * W
    assert points[0] == pytest.approx((-31.5 / 60 * 255 / 64, -23.5 / 60 * 255 / 64, 255 / 64), abs=1e-3)
    assert points[-1] == pytest.approx((31.5 / 60, 23.5 / 60, 1), abs=1e-3)


def test_the_worst_frames_of_a_video_are_not_neighbours_and_the_middle_is_always_shown():
    errors = [0.1] * 40
    errors[30:33] = 0.9, 0.8, 0.7
    errors[3] = 0.5
    frames = [FrameScore(n, n, 1.0, absrel=error, video_absrel=error) for n, error in enumerate(errors)]
    shown = interesting(Score('made', 'one', True, {}, frames))
    assert list(shown)[:2] == [30, 3] and shown[30] == 'worst' and shown[20] == 'in the middle'


def test_a_measure_that_is_unknown_leaves_a_gap_and_no_broken_drawing(tmp_path):
    frames = [FrameScore(n, n, 1.0, absrel=float('nan') if n == 1 else 0.1) for n in range(4)]
    page = make_report([Score('made', 'one', True, {'ms_median': 1.0}, frames)], {}, {})
    drawn = re.search(r'class="line s0" d="([^"]+)"', page)[1]
    assert drawn.count('M') == 2 and 'nan' not in page.lower()


def test_the_mean_is_over_sets_whatever_their_size_and_unknown_columns_are_left_out():
    scores = [Score('a', 'one', False, {'absrel': 0.1, 'delta1': 1.0}, [None] * 9),
              Score('b', 'one', True, {'absrel': 0.3, 'delta1': 0.5, 'video_absrel': 0.4, 'ms_median': 5.0}, [None])]
    pictures, videos = tables(scores)
    assert pictures.header[:4] == ['network', 'a', 'b', 'mean of 2']
    assert pictures.rows[0][:4] == ['one', '0.100 / 1.000', '0.300 / 0.500', '0.200 / 0.750']
    assert videos.header == ['video', 'network', 'AbsRel', 'time per frame [ms]']
    assert as_markdown(videos).splitlines()[2:] == ['| video | network | AbsRel | time per frame [ms] |',
                                                    '| --- | --- | --- | --- |', '| b | one | 0.400 | 5.0 |']
    assert as_text(videos).splitlines()[-1].split() == ['b', 'one', '0.400', '5.0']
