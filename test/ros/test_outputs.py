"""What comes out for a picture that goes in."""

from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import Image

from test.ros.rig import FRAME_ID, HEIGHT, WIDTH, Rig, camera_info, grey_picture, image, stamped

TOPICS = ('depth/image', 'depth/camera_info', 'relative/image', 'points', 'relative/points', 'preview')
TWO_METRES = 51    # the network of these tests sees grey 255 at 10 m


def floats(message: Any) -> np.ndarray:
    """Return the float32 content (H, W, channels) of an Image or PointCloud2."""
    return np.frombuffer(message.data, np.float32).reshape(message.height, message.width, -1)


def send(rig: Rig, rgb: np.ndarray) -> int:
    return rig.send(image(rgb, rig.tick()), camera_info(rig.clock_ns))


def test_every_output_has_the_stamp_and_the_frame_of_its_picture(metric: Rig) -> None:
    metric.warm_up(*TOPICS)
    stamp_ns = send(metric, grey_picture())
    for topic in TOPICS:
        assert metric.answer(topic, stamp_ns).header.frame_id == FRAME_ID


def test_a_wall_two_metres_away_is_an_image_of_twos(metric: Rig) -> None:
    metric.warm_up('depth/image')
    message = metric.answer('depth/image', send(metric, grey_picture(TWO_METRES)))
    assert (message.encoding, message.is_bigendian, message.step) == ('32FC1', 0, 4 * WIDTH)
    assert floats(message).shape == (HEIGHT, WIDTH, 1)
    assert floats(message) == pytest.approx(2.0, abs=1e-5)


def test_a_wall_two_metres_away_is_an_organised_cloud_at_z_two(metric: Rig) -> None:
    metric.warm_up('points')
    message = metric.answer('points', send(metric, grey_picture(TWO_METRES)))
    assert [(field.name, field.offset, field.datatype) for field in message.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('rgb', 12, 7)]
    assert (message.height, message.width, message.point_step) == (HEIGHT, WIDTH, 16)
    x, y, z, rgb = np.moveaxis(floats(message), -1, 0)
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    assert z == pytest.approx(2.0, abs=1e-5)
    assert x == pytest.approx((u - (WIDTH - 1) / 2) / 50 * 2, abs=1e-5)
    assert y == pytest.approx((v - (HEIGHT - 1) / 2) / 50 * 2, abs=1e-5)
    assert np.all(rgb.copy().view(np.uint32) == 0x333333)


def test_what_has_no_depth_is_nan_and_never_zero(metric: Rig) -> None:
    metric.warm_up('depth/image', 'points')
    rgb = grey_picture(TWO_METRES)
    rgb[:, :WIDTH // 2] = 0
    stamp_ns = send(metric, rgb)
    depth_m, points = (floats(metric.answer(topic, stamp_ns)) for topic in ('depth/image', 'points'))
    for values in (depth_m[..., 0], points[..., 2]):
        assert np.isnan(values[:, :WIDTH // 2 - 1]).all() and np.isfinite(values[:, WIDTH // 2 + 1:]).all()
        assert not np.any(values == 0)


def test_the_camera_info_of_the_depth_fits_the_picture_that_came(metric: Rig) -> None:
    metric.warm_up('depth/camera_info')
    binned = camera_info(metric.tick(), 2 * HEIGHT, 2 * WIDTH, focal_px=100.0)
    binned.binning_x = binned.binning_y = 2
    metric.send(image(grey_picture(), metric.clock_ns), binned)
    info = metric.answer('depth/camera_info', metric.clock_ns)
    assert (info.height, info.width) == (HEIGHT, WIDTH)
    cx, cy = (WIDTH - 1) / 2, (HEIGHT - 1) / 2    # the middle stays the middle
    assert info.k == pytest.approx([50, 0, cx, 0, 50, cy, 0, 0, 1])
    assert info.p == pytest.approx([50, 0, cx, 0, 0, 50, cy, 0, 0, 0, 1, 0])


def test_the_preview_is_a_colour_picture(metric: Rig) -> None:
    metric.warm_up('preview')
    message = metric.answer('preview', send(metric, grey_picture()))
    assert (message.encoding, message.step, len(message.data)) == ('bgr8', 3 * WIDTH, 3 * WIDTH * HEIGHT)


def test_big_endian_pictures_are_read_as_such(metric: Rig) -> None:
    metric.warm_up('depth/image')
    grey = np.full((HEIGHT, WIDTH), TWO_METRES * 257, '>u2')
    message = Image(height=HEIGHT, width=WIDTH, encoding='mono16', step=2 * WIDTH, is_bigendian=1, data=grey.tobytes())
    stamped(message, metric.tick())
    assert floats(metric.answer('depth/image', metric.send(message))) == pytest.approx(2.0, abs=1e-5)


def test_without_a_source_of_metres_nothing_is_on_the_metric_topics(relative: Rig) -> None:
    relative.warm_up('relative/image', 'relative/points')
    relative.listen(*TOPICS)
    for _ in range(3):
        stamp_ns = send(relative, grey_picture())
        relative.answer('relative/image', stamp_ns)
    relative.answer('relative/points', stamp_ns)
    assert not any(relative.received[topic] for topic in ('depth/image', 'depth/camera_info', 'points'))


def test_the_node_publishes_on_private_names_only(metric: Rig) -> None:
    names = dict(metric.node.get_publisher_names_and_types_by_node('depth_node', metric.namespace))
    private = {name for name in names if name.startswith(f'{metric.namespace}/depth_node/')}
    assert set(names) - private == {'/diagnostics', '/parameter_events', '/rosout'}


def test_with_no_listener_nothing_is_inferred(metric: Rig) -> None:
    metric.warm_up('preview')
    metric.listen()
    metric.status(lambda values, status: 'nobody subscribes' in status.message)
    before = metric.said()
    send(metric, grey_picture())
    metric.status(lambda values, status: int(values['inputs']) == int(before['inputs']) + 1)
    assert metric.said()['outputs'] == before['outputs']
    metric.warm_up('preview')    # and it goes on when somebody listens again
