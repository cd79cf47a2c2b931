"""Bad pictures and cameras: counted, said once with the remedy, and the node goes on."""

from collections.abc import Callable
from typing import Any

import pytest
from sensor_msgs.msg import CameraInfo, Image

from test.ros.rig import HEIGHT, WIDTH, Rig, camera_info, grey_picture, image, stamp_of, wait


def changed(**fields: Any) -> Callable[[int], Image]:
    """Return a maker of pictures with these fields wrong."""
    def make(stamp_ns: int) -> Image:
        message = image(grey_picture(), stamp_ns)
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return make


BAD_PICTURES = {
    'truncated': (changed(data=[0] * 100), 'truncated picture: 100 bytes'),
    'step too small': (changed(step=WIDTH), 'step of 64 bytes is too small'),
    'odd nv12': (changed(encoding='nv12', width=WIDTH - 1), 'needs even sizes'),
    'unknown encoding': (changed(encoding='rgb12'), "unknown encoding 'rgb12'"),
    'no pixels': (changed(height=0, width=0, data=[]), 'picture of 0x0 pixels'),
}


@pytest.mark.parametrize('cause', BAD_PICTURES)
def test_a_bad_picture_is_counted_and_the_next_one_answered(relative: Rig, cause: str) -> None:
    make, said = BAD_PICTURES[cause]
    before = int(relative.said().get('drops: unusable picture', 0))
    for _ in range(2):
        relative.send(make(relative.tick()))
        before += 1
        relative.status(lambda values, status, count=before: int(values.get('drops: unusable picture', 0)) >= count)
    wait(lambda: said in relative.process.log, f'{said!r} in the log')
    assert relative.process.log.count(said) == 1
    relative.answer('relative/image', relative.send(image(grey_picture(), relative.tick())))


def test_two_pictures_with_one_stamp_are_one_picture(relative: Rig) -> None:
    stamp_ns = relative.send(image(grey_picture(), relative.tick()))
    relative.answer('relative/image', stamp_ns)
    before = int(relative.said().get('drops: unusable picture', 0))
    relative.send(image(grey_picture(), stamp_ns))
    relative.status(lambda values, status: int(values.get('drops: unusable picture', 0)) > before)
    assert 'the camera driver must stamp each picture' in relative.process.log


def new_segment(rig: Rig, message: Image, info: CameraInfo, reason: str) -> None:
    """Send the picture and check that it starts a new segment, for this reason, and that this is said."""
    rig.infos.publish(info)
    before = int(rig.said()['segment'])    # by this time the camera_info is there
    rig.answer('relative/image', rig.send(message))
    rig.status(lambda values, status: int(values['segment']) == before + 1 and int(values[f'resets: {reason}']) >= 1)
    wait(lambda: reason in rig.process.log, f'{reason!r} in the log')


def test_time_that_goes_back_starts_a_new_segment(relative: Rig) -> None:
    relative.warm_up('relative/image')
    stamp_ns = relative.tick(-20.0)    # as when a bag is played in a loop
    new_segment(relative, image(grey_picture(), stamp_ns), camera_info(stamp_ns), 'stamp went back')


def test_a_gap_in_time_starts_a_new_segment(relative: Rig) -> None:
    relative.warm_up('relative/image')
    stamp_ns = relative.tick(60.0)
    new_segment(relative, image(grey_picture(), stamp_ns), camera_info(stamp_ns), 'gap between stamps')


def test_another_size_starts_a_new_segment(relative: Rig) -> None:
    relative.warm_up('relative/image')
    stamp_ns = relative.tick()
    smaller = image(grey_picture(height=24, width=32), stamp_ns), camera_info(stamp_ns, 24, 32, 25.0)
    new_segment(relative, *smaller, 'picture size changed')
    assert relative.answer('relative/image', stamp_ns).width == 32


def test_another_camera_starts_a_new_segment(relative: Rig) -> None:
    relative.warm_up('relative/image')
    stamp_ns = relative.tick()
    new_segment(relative, image(grey_picture(), stamp_ns), camera_info(stamp_ns, focal_px=70.0), 'camera changed')
    relative.warm_up('relative/image')


def test_another_encoding_of_the_same_pictures_changes_nothing(relative: Rig) -> None:
    relative.warm_up('relative/image')
    before = relative.said()['segment']
    message = changed(encoding='bgr8')(relative.tick())
    relative.answer('relative/image', relative.send(message, camera_info(relative.clock_ns)))
    assert relative.said()['segment'] == before


def with_matrices(focal_px: float) -> Callable[[int], CameraInfo]:
    return lambda stamp_ns: camera_info(stamp_ns, focal_px=focal_px)


BAD_CAMERAS = {
    'other size': (lambda stamp_ns: camera_info(stamp_ns, 2 * HEIGHT, 2 * WIDTH), 'unusable camera_info',
                   'camera_info is for pictures of 128x96 pixels, the picture has 64x48'),
    'no number': (with_matrices(float('nan')), 'unusable camera_info', 'calibrate the camera'),
    'not calibrated': (with_matrices(0.0), 'uncalibrated camera', 'the camera is not calibrated'),
}


@pytest.mark.parametrize('cause', BAD_CAMERAS)
def test_depth_goes_on_without_a_usable_camera(metric: Rig, cause: str) -> None:
    make, counted, said = BAD_CAMERAS[cause]
    metric.warm_up('depth/image', 'depth/camera_info', 'points')
    metric.infos.publish(make(metric.clock_ns))
    before = int(metric.said().get(f'uncalibrated: {counted}', 0))    # by this time the camera_info is there
    stamp_ns = metric.send(image(grey_picture(), metric.tick()))
    metric.answer('depth/image', stamp_ns)
    status = metric.status(lambda values, status: int(values.get(f'uncalibrated: {counted}', 0)) > before)
    assert said in status.message
    metric.warm_up('depth/image', 'depth/camera_info', 'points')    # a good camera_info makes it good again
    assert stamp_ns not in map(stamp_of, metric.received['points'] + metric.received['depth/camera_info'])


def test_depth_flows_while_neither_camera_info_nor_the_time_comes(networks: dict, tmp_path: Any) -> None:
    with Rig('bare', tmp_path, weights=networks['metric'], use_sim_time=True) as rig:
        rig.listen('depth/image', 'depth/camera_info', 'points')
        wait(lambda: rig.send(image(grey_picture(), rig.tick())) and rig.received['depth/image'], 'depth')
        wait(lambda: rig.send(image(grey_picture(), rig.tick())) and 'no camera_info comes' in rig.process.log,
             'a word on the missing camera_info')
        assert not rig.received['depth/camera_info'] and not rig.received['points']
        assert rig.process.log.count('no camera_info comes') == 1
        assert rig.said()['age_s'].startswith('unknown')
        rig.warm_up('depth/image', 'depth/camera_info', 'points')
