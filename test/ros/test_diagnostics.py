"""What /diagnostics and the log say."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from std_srvs.srv import Trigger

from depth_ros.core.frame import Anchor, DepthFrame, Frame, Quantity
from depth_ros.ros.diagnostics import Rate, Statistics, WarnOnce, diagnose
from depth_ros.ros.inbox import Mailbox, Pairing, Picture
from test.ros.rig import Rig, grey_picture, image


def test_a_running_node_says_all_that_is_worth_knowing(relative: Rig) -> None:
    relative.warm_up('relative/image', 'preview')
    said = relative.said()
    numbers = {'input_rate_hz', 'inputs', 'output_rate_hz', 'outputs', 'window_fill', 'latency_p50_ms', 'latency_p95_ms',
               'latency_p99_ms', 'scale', 'shift', 'residual', 'segment', 'drops', 'resets', 'stage_decode_ms',
               'stage_infer_ms', 'stage_publish_ms', 'age_s'}
    assert numbers <= set(said)
    assert all(float(said[name]) >= 0 for name in numbers - {'scale', 'shift'})
    assert float(said['latency_p50_ms']) <= float(said['latency_p95_ms']) <= float(said['latency_p99_ms'])
    assert (said['family'], said['backend'], said['weights'], said['metric']) == ('onnx', 'onnx', 'grey.onnx', 'false')
    assert len(said['weights_sha256']) == 64


def test_the_reset_service_starts_a_new_segment(relative: Rig) -> None:
    relative.warm_up('relative/image')
    before = int(relative.said()['segment'])
    assert relative.call(Trigger, 'reset', Trigger.Request()).success
    relative.send(image(grey_picture(), relative.tick()))
    relative.answer('relative/image', relative.clock_ns)
    said = relative.said()
    assert (int(said['segment']), said['resets: asked for']) == (before + 1, '1')


def test_a_camera_that_falls_silent_is_an_error(relative: Rig) -> None:
    status = relative.status(lambda values, status: status.level == b'\x02')
    assert 'no pictures for' in status.message


def test_a_pause_is_no_silence() -> None:
    statistics = Statistics()
    statistics.arrivals.tick(time.monotonic() - 60)
    statistics.drop('unusable picture', 'what is this?')
    assert diagnose('active', '', statistics, 1)[1] == 'no pictures for 60 s'
    statistics.pause()
    assert diagnose('active', '', statistics, 1) == (b'\x01', 'no picture has come yet')
    statistics.arrivals.tick(time.monotonic())
    assert diagnose('active', '', statistics, 1) == (b'\x00', 'running')
    statistics.drop('unusable picture', 'what is this?')
    assert [diagnose('active', '', statistics, count)[0] for count in (0, 1)] == [b'\x00', b'\x02']


@pytest.mark.parametrize(('state', 'metric', 'listeners', 'missing', 'level', 'message'), [
    ('locked', True, 1, '', b'\x01', 'metres locked: too few points'),
    ('locked', True, 1, 'no sensor', b'\x01', 'metres locked: no sensor'),
    ('converging', False, 1, '', b'\x01', 'metres converging: too few points'),
    ('lost', True, 1, '', b'\x01', 'metres lost, the last scale is held: too few points'),
    ('lost', False, 1, '', b'\x02', 'metres lost: too few points'),
    ('lost', False, 1, 'no sensor', b'\x02', 'metres lost: no sensor'),
    ('lost', False, 0, '', b'\x00', 'idle: nobody subscribes to a result'),
])
def test_how_sure_the_metres_are_is_the_level(state: str, metric: bool, listeners: int, missing: str, level: bytes,
                                              message: str) -> None:
    statistics, map = Statistics(), np.ones((2, 2), np.float32)
    statistics.arrivals.tick(time.monotonic())
    statistics.newest = DepthFrame(0, Frame(grey_picture(), 0), map, Quantity.DISPARITY_AFFINE, map if metric else None,
                                   anchor=Anchor(state, reason='too few points'))
    assert diagnose('active', '', statistics, listeners, missing) == (level, message)
    if state == 'locked' and not missing:
        statistics.newest = replace(statistics.newest, anchor=Anchor(state))
        assert diagnose('active', '', statistics, listeners) == (b'\x00', 'running')


def test_warnings_that_differ_in_numbers_are_one() -> None:
    said: list[str] = []
    warn = WarnOnce(said.append)
    for text in ('12 bytes missing', '700 bytes missing', 'no camera'):
        warn(text)
    assert said == ['12 bytes missing', 'no camera']


def test_thirty_events_a_second_are_thirty_hertz_and_old_ones_do_not_count() -> None:
    rate = Rate()
    for index in range(60):
        rate.tick(index / 30)
    assert rate.hz(2.0) == pytest.approx(30)
    assert rate.hz(100.0) == 0
    assert rate.silence_s(100.0) == pytest.approx(100 - 59 / 30)


def message(stamp: int) -> SimpleNamespace:
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp))


def test_a_picture_takes_the_newest_camera_info_or_the_one_with_its_stamp() -> None:
    latest, exact = Pairing(exact=False), Pairing(exact=True)
    for pairing in (latest, exact):
        assert pairing.info(message(1)) == []
    assert [picture.info.header.stamp for picture in latest.picture(message(2), 0.0)] == [1]
    assert exact.picture(message(2), 0.0) == []    # it waits for its camera_info
    assert [picture.info for picture in exact.picture(message(3), 0.0)] == [None]    # and goes when the next one comes
    assert [picture.info.header.stamp for picture in exact.info(message(3))] == [3]


def test_the_mailbox_holds_the_newest_picture_and_counts_what_it_replaces() -> None:
    mailbox, old, new = Mailbox(), Picture(1, None, 0.0), Picture(2, None, 0.0)
    assert (mailbox.put(old), mailbox.put(new)) == (False, True)
    assert mailbox.take() is new
    mailbox.close()
    assert mailbox.take() is None
