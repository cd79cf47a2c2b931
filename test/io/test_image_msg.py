from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from depth_ros.errors import InputError
from depth_ros.io.image_msg import LAYOUTS, decode_compressed, decode_image, image_message
from depth_ros.io.messages import array_payload, recorded_types
from test.io.made import jpeg, picture

ORANGE = (200, 120, 40)
H, W = 8, 12


def message(pixels, encoding, height=H, width=W, step=None, big=False):
    data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
    return SimpleNamespace(height=height, width=width, encoding=encoding, is_bigendian=big, data=data,
                           step=pixels[0].nbytes if step is None else step)


def colour(*channels, dtype=np.uint8):
    return np.broadcast_to(np.array(channels, dtype), (H, W, len(channels)))


def yuv(rgb):
    """Return Y, U, V of a colour by the studio-range equations of BT.601."""
    r, g, b = (value / 255 for value in rgb)
    return (round(16 + 65.481 * r + 128.553 * g + 24.966 * b), round(128 - 37.797 * r - 74.203 * g + 112.0 * b),
            round(128 + 112.0 * r - 93.786 * g - 18.214 * b))


def mosaic(pattern, dtype=np.uint8, factor=1):
    """Return what a sensor with this filter sees of an orange wall."""
    values = dict(zip('rgb', ORANGE, strict=True))
    tile = np.array([values[letter] * factor for letter in pattern], dtype).reshape(2, 2)
    return np.tile(tile, (H // 2, W // 2))


y, u, v = yuv(ORANGE)
r, g, b = ORANGE
ORANGE_WALLS = {
    'rgb8': colour(r, g, b), 'bgr8': colour(b, g, r), '8UC3': colour(b, g, r),
    'rgba8': colour(r, g, b, 9), 'bgra8': colour(b, g, r, 9),
    'rgb16': colour(r * 257, g * 257, b * 257, dtype=np.uint16),
    'bgr16': colour(b * 257, g * 257, r * 257, dtype=np.uint16),
    **{f'bayer_{pattern}8': mosaic(pattern) for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')},
    **{f'bayer_{pattern}16': mosaic(pattern, np.uint16, 257) for pattern in ('rggb', 'bggr', 'gbrg', 'grbg')},
    'yuv422': np.tile(np.array([u, y, v, y], np.uint8), (H, W // 2)),
    'yuv422_yuy2': np.tile(np.array([y, u, y, v], np.uint8), (H, W // 2)),
    'nv12': np.concatenate([np.full((H, W), y, np.uint8), np.tile(np.array([u, v], np.uint8), (H // 2, W // 2))]),
    'nv21': np.concatenate([np.full((H, W), y, np.uint8), np.tile(np.array([v, u], np.uint8), (H // 2, W // 2))]),
}
ORANGE_WALLS |= {'uyvy': ORANGE_WALLS['yuv422'], 'yuyv': ORANGE_WALLS['yuv422_yuy2']}
GREY_WALLS = {'mono8': np.full((H, W), 77, np.uint8), '8UC1': np.full((H, W), 77, np.uint8),
              'mono16': np.full((H, W), 77 * 257, np.uint16)}


@pytest.mark.parametrize('encoding', ORANGE_WALLS)
def test_an_orange_wall_is_orange_in_every_encoding(encoding):
    rgb = decode_image(message(ORANGE_WALLS[encoding], encoding))
    assert rgb.shape == (H, W, 3) and rgb.dtype == np.uint8
    assert np.abs(rgb.astype(int) - ORANGE).max() <= (3 if 'y' in encoding or 'nv' in encoding else 0)


@pytest.mark.parametrize('encoding', GREY_WALLS)
def test_a_grey_wall_is_grey_in_every_encoding(encoding):
    assert np.all(decode_image(message(GREY_WALLS[encoding], encoding)) == 77)


def test_every_known_encoding_is_tested_here():
    assert set(LAYOUTS) == set(ORANGE_WALLS) | set(GREY_WALLS)


def test_a_big_endian_picture_shows_the_same_as_a_little_endian_one():
    ramp = (np.arange(H * W) * 600).reshape(H, W)
    little = decode_image(message(ramp.astype('<u2'), 'mono16'))
    assert np.array_equal(decode_image(message(ramp.astype('>u2'), 'mono16', big=True)), little)
    assert little[0, 1, 0] == round(600 / 257)


@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', 'mono8', 'mono16', 'yuv422', 'bayer_rggb8', 'nv12'])
def test_padding_at_the_end_of_rows_is_not_seen(encoding):
    tight = ORANGE_WALLS.get(encoding, GREY_WALLS.get(encoding))
    rows = np.ascontiguousarray(tight).view(np.uint8).reshape(len(tight), -1)
    padded = np.concatenate([rows, np.full((len(rows), 5), 255, np.uint8)], axis=1)
    got = decode_image(message(padded, encoding, step=padded.shape[1]))
    assert np.array_equal(got, decode_image(message(rows, encoding, step=rows.shape[1])))


def test_the_last_row_may_come_without_its_padding():
    rgb = picture(1, H, W)
    padded = np.concatenate([rgb.reshape(H, -1), np.zeros((H, 7), np.uint8)], axis=1)
    assert np.array_equal(decode_image(message(padded.reshape(-1)[:-7], 'rgb8', step=padded.shape[1])), rgb)


def test_rgb8_is_a_view_of_the_message():
    msg = message(picture(2, H, W), 'rgb8')
    assert np.shares_memory(decode_image(msg), msg.data)


@pytest.mark.parametrize('data', [bytes, bytearray, array_payload, memoryview])
def test_data_may_be_what_any_library_makes_of_it(data):
    msg = message(picture(3, H, W), 'rgb8')
    msg.data = data(msg.data)
    assert np.array_equal(decode_image(msg), picture(3, H, W))


@pytest.mark.parametrize(('change', 'words'), [
    ({'data': np.zeros(H * W * 3 - 1, np.uint8)}, 'truncated picture: 287 bytes'),
    ({'data': b''}, 'truncated picture: 0 bytes'),
    ({'step': W * 3 - 1}, 'step of 35 bytes is too small'),
    ({'height': 0}, 'picture of 12x0 pixels'),
    ({'width': 0}, 'picture of 0x8 pixels'),
    ({'encoding': 'rgb9'}, "unknown encoding 'rgb9'; known: rgb8, bgr8"),
    ({'encoding': '32FC1'}, "unknown encoding '32FC1'"),
    ({'encoding': 'nv12', 'height': 7}, 'nv12 picture of 12x7 pixels needs even sizes'),
    ({'encoding': 'nv21', 'width': 11}, 'needs even sizes'),
    ({'encoding': 'yuv422', 'width': 11}, 'needs even sizes'),
])
def test_a_message_that_does_not_fit_itself_is_refused_with_numbers(change, words):
    msg = message(colour(1, 2, 3), 'rgb8')
    for name, value in change.items():
        setattr(msg, name, value)
    with pytest.raises(InputError, match=words):
        decode_image(msg)


def shot(data, format='jpeg'):
    return SimpleNamespace(data=np.frombuffer(data, np.uint8), format=format)


@pytest.mark.parametrize('format', ['jpeg', 'jpg', 'rgb8; jpeg compressed bgr8', 'bgr8; jpeg compressed bgr8', ''])
def test_a_jpeg_keeps_its_colours(format):
    rgb = decode_compressed(shot(jpeg(np.full((16, 16, 3), ORANGE, np.uint8)), format))
    assert np.abs(rgb.astype(int) - ORANGE).max() <= 4


def test_a_png_is_exact_and_grey_becomes_rgb():
    assert np.array_equal(decode_compressed(shot(jpeg(picture(4), '.png'), 'rgb8; png compressed bgr8')), picture(4))
    grey = cv2.imencode('.png', np.full((8, 8), 77 * 257, np.uint16))[1].tobytes()
    assert np.all(decode_compressed(shot(grey, 'mono16; png compressed ')) == 77)


def test_colours_that_were_compressed_as_rgb_are_not_swapped():
    wrong_way_round = cv2.imencode('.png', picture(5))[1].tobytes()
    assert np.array_equal(decode_compressed(shot(wrong_way_round, 'rgb8; png compressed rgb8')), picture(5))


@pytest.mark.parametrize(('data', 'words'), [
    (jpeg(picture(6, 64, 64))[:-200], 'truncated JPEG'), (b'\xff\xd8\xff\xd9', 'no readable picture'),
    (b'', '0 bytes'), (b'hello', 'no readable picture'), (jpeg(picture(6), '.png')[:60], 'no readable picture'),
])
def test_a_damaged_jpeg_or_png_is_refused(data, words):
    with pytest.raises(InputError, match=words):
        decode_compressed(shot(data))


def test_a_compressed_depth_image_is_no_picture():
    with pytest.raises(InputError, match='is a depth image'):
        decode_compressed(shot(b'123', '16UC1; compressedDepth png'))


def test_a_depth_image_carries_metres_row_by_row():
    depth_m = np.arange(6, dtype=np.float32).reshape(2, 3)
    depth_m[0, 1] = np.nan
    msg = image_message(recorded_types(), None, depth_m, '32FC1')
    assert (msg.height, msg.width, msg.step, msg.encoding, msg.is_bigendian) == (2, 3, 12, '32FC1', 0)
    assert np.array_equal(msg.data.view(np.float32).reshape(2, 3), depth_m, equal_nan=True)


@pytest.mark.parametrize('encoding', ['bgr8', 'rgba8', 'bgra8', 'mono8', 'mono16', 'yuv422', 'bayer_rggb8'])
def test_cv_bridge_sees_the_same(encoding):
    cv_bridge = pytest.importorskip('cv_bridge', reason='needs a ROS installation with cv_bridge')
    sensor_msgs = pytest.importorskip('sensor_msgs.msg', reason='needs the ROS message packages')
    pixels = ORANGE_WALLS.get(encoding, GREY_WALLS.get(encoding))
    ours = message(pixels, encoding)
    theirs = sensor_msgs.Image(height=H, width=W, encoding=encoding, step=ours.step, data=array_payload(ours.data))
    bridged = cv_bridge.CvBridge().imgmsg_to_cv2(theirs, 'rgb8')
    assert np.abs(decode_image(ours).astype(int) - bridged).max() <= 1
