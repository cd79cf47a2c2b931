"""Pictures in messages: our own decoder for raw and compressed images, and the images that we publish."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from depth_ros.errors import InputError
from depth_ros.io.messages import MessageTypes

EIGHT_BITS = 255 / 65535


@dataclass(frozen=True)
class Layout:
    """How an encoding stores a picture and which OpenCV conversion makes RGB of it."""

    channels: int = 1
    to_rgb: int | None = None          # None: is RGB already
    dtype: type = np.uint8
    planes: bool = False               # a plane of Y over one of UV at half size: 3/2 rows
    even: bool = False                 # the width must be even


def bayer(pattern: str, code: int) -> dict[str, Layout]:
    """Return both depths of a Bayer pattern. OpenCV names them by the second row and column, ROS by the first."""
    return {f'bayer_{pattern}8': Layout(to_rgb=code), f'bayer_{pattern}16': Layout(to_rgb=code, dtype=np.uint16)}


MONO = Layout(to_rgb=cv2.COLOR_GRAY2RGB)
BGR = Layout(3, cv2.COLOR_BGR2RGB)
UYVY = Layout(2, cv2.COLOR_YUV2RGB_UYVY, even=True)
YUYV = Layout(2, cv2.COLOR_YUV2RGB_YUY2, even=True)

LAYOUTS = {
    'rgb8': Layout(3), 'bgr8': BGR, '8UC3': BGR,
    'rgba8': Layout(4, cv2.COLOR_RGBA2RGB), 'bgra8': Layout(4, cv2.COLOR_BGRA2RGB),
    'mono8': MONO, '8UC1': MONO, 'mono16': Layout(to_rgb=cv2.COLOR_GRAY2RGB, dtype=np.uint16),
    'rgb16': Layout(3, dtype=np.uint16), 'bgr16': Layout(3, cv2.COLOR_BGR2RGB, np.uint16),
    **bayer('rggb', cv2.COLOR_BayerBG2RGB), **bayer('bggr', cv2.COLOR_BayerRG2RGB),
    **bayer('gbrg', cv2.COLOR_BayerGR2RGB), **bayer('grbg', cv2.COLOR_BayerGB2RGB),
    'yuv422': UYVY, 'uyvy': UYVY, 'yuv422_yuy2': YUYV, 'yuyv': YUYV,
    'nv12': Layout(1, cv2.COLOR_YUV2RGB_NV12, planes=True, even=True),
    'nv21': Layout(1, cv2.COLOR_YUV2RGB_NV21, planes=True, even=True),
}


def decode_image(msg: Any) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 RGB of a sensor_msgs/Image; rgb8 is a view of its data.

    Raises InputError if data, step, size or encoding do not fit together.
    """
    layout = LAYOUTS.get(msg.encoding)
    if layout is None:
        return _decode_with_cv_bridge(msg)
    if msg.height <= 0 or msg.width <= 0:
        raise InputError(f'picture of {msg.width}x{msg.height} pixels; the camera driver publishes empty pictures')
    if (layout.even and msg.width % 2) or (layout.planes and msg.height % 2):
        raise InputError(f'{msg.encoding} picture of {msg.width}x{msg.height} pixels needs even sizes; '
                         'set the camera to an even size')
    pixels = stored_pixels(msg, layout)
    if layout.to_rgb is not None:
        pixels = cv2.cvtColor(pixels, layout.to_rgb)
    return pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=EIGHT_BITS)


def stored_pixels(msg: Any, layout: Layout) -> np.ndarray:
    """Return the stored pixels (rows, W, channels) in the machine's byte order, a view wherever possible."""
    dtype = np.dtype(layout.dtype)
    pixel_bytes = layout.channels * dtype.itemsize
    row_bytes, rows = msg.width * pixel_bytes, msg.height * 3 // 2 if layout.planes else msg.height
    if msg.step < row_bytes:
        raise InputError(f'step of {msg.step} bytes is too small for {msg.width} pixels of {msg.encoding}, which take '
                         f'{row_bytes}; the camera driver fills the message wrongly')
    data = np.frombuffer(msg.data, np.uint8)
    needed = msg.step * (rows - 1) + row_bytes
    if data.size < needed:
        raise InputError(f'truncated picture: {data.size} bytes for {msg.width}x{msg.height} {msg.encoding} with step '
                         f'{msg.step}, which take {needed}; check the connection to the camera')
    stored = dtype.newbyteorder('>' if msg.is_bigendian else '<')
    strides = (msg.step, pixel_bytes, dtype.itemsize)
    pixels = np.ndarray((rows, msg.width, layout.channels), stored, data, strides=strides)
    return np.require(pixels.astype(dtype, copy=False), requirements='A')    # OpenCV wants steps of whole numbers


def _decode_with_cv_bridge(msg: Any) -> np.ndarray:
    try:
        from cv_bridge import CvBridge

        return np.asarray(CvBridge().imgmsg_to_cv2(msg, 'rgb8'))
    except Exception as error:    # absent, or it does not know the encoding either
        raise InputError(f'unknown encoding {msg.encoding!r}; known: {", ".join(LAYOUTS)}') from error


def decode_compressed(msg: Any) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 RGB of a sensor_msgs/CompressedImage with JPEG or PNG data.

    Raises InputError if the data are truncated or not a picture.
    """
    encoding, _, compression = msg.format.partition(';')
    if 'compressedDepth' in msg.format:
        raise InputError(f'{msg.format!r} is a depth image; name the topic of the colour picture')
    # image_transport compresses colour as BGR, unless it says "compressed rgb8": then red and blue come out swapped
    swapped = 'compressed rgb' in compression and encoding.strip() in ('rgb8', 'bgr8')
    return decode_file(np.frombuffer(msg.data, np.uint8), f'compressed picture ({msg.format})', swapped)


def decode_file(data: np.ndarray, name: str, swapped: bool = False) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 RGB in the bytes (N,) of a picture file of any format that OpenCV reads."""
    if bytes(data[:2]) == b'\xff\xd8' and b'\xff\xd9' not in bytes(data[-4096:]):
        raise InputError(f'{name}: truncated JPEG of {data.size} bytes without an end mark; check where it comes from')
    picture = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR) if data.size else None
    if picture is None:
        raise InputError(f'{name}: {data.size} bytes that are no readable picture; check where they come from')
    if picture.dtype == np.uint16:
        picture = cv2.convertScaleAbs(picture, alpha=EIGHT_BITS)
    if picture.dtype != np.uint8:
        raise InputError(f'{name}: pixels of type {picture.dtype}, expected 8 or 16 bits; convert it to PNG')
    return picture if swapped else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def decoder_of(msgtype: str) -> Callable[[Any], np.ndarray] | None:
    """Return the decoder for a message type such as 'sensor_msgs/msg/Image', or None if it is no picture."""
    return {'Image': decode_image, 'CompressedImage': decode_compressed}.get(
        msgtype.rpartition('/')[2] if msgtype.startswith('sensor_msgs/') else '')


def image_message(types: MessageTypes, header: Any, pixels: np.ndarray, encoding: str) -> Any:
    """Return the Image of (H, W) or (H, W, C) pixels whose type fits `encoding`, such as 32FC1, 16UC1, bgr8."""
    height, width = pixels.shape[:2]
    return types.Image(header=header, height=height, width=width, encoding=encoding, is_bigendian=0,
                       step=pixels.nbytes // height, data=types.payload(pixels))


def embedding_message(types: MessageTypes, header: Any, embedding: np.ndarray) -> Any:
    """Return the Image 32FC1 of one row that carries an embedding (D,)."""
    return image_message(types, header, np.asarray(embedding, np.float32)[None], '32FC1')
