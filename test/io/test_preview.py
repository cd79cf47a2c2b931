import cv2
import numpy as np
import pytest

from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.errors import OutputError
from depth_ros.io.preview import Preview, PreviewVideo


def ramp(quantity=Quantity.DISPARITY_AFFINE, factor=1.0, segment=0, height=30, width=41):
    """Return a frame whose values grow from left to right."""
    map = np.tile(np.linspace(1, 2, width, dtype=np.float32) * factor, (height, 1))
    return DepthFrame(0, Frame(np.full((height, width, 3), 200, np.uint8), 0), map, quantity, segment=segment)


def brightness(bgr):
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY).astype(int)


@pytest.mark.parametrize('quantity', Quantity)
def test_near_is_bright_whatever_the_quantity(quantity):
    grey = brightness(Preview()(ramp(quantity)))
    left_is_near = quantity.grows_with_depth
    assert (grey[:, 0].mean() > grey[:, -1].mean() + 100) == left_is_near


def test_what_is_invalid_is_black():
    depth = ramp()
    depth.map[3, 4] = np.nan
    colour = Preview()(depth)
    assert np.all(colour[3, 4] == 0) and colour.dtype == np.uint8
    depth.map[:] = np.nan
    assert np.all(Preview()(depth) == 0)


def test_colours_follow_slowly_within_a_segment_and_at_once_in_the_next():
    preview = Preview()
    preview(ramp())
    middle = preview.high
    preview(ramp(factor=2.0))
    assert middle < preview.high < 1.2 * middle
    preview(ramp(factor=2.0, segment=1))
    assert preview.high == pytest.approx(2 * middle, rel=1e-3)


def test_the_video_shows_the_picture_beside_its_depth_in_even_sizes(tmp_path):
    video = PreviewVideo(tmp_path / 'a.mp4', 10.0)
    for size in ((31, 41), (31, 41), (60, 80)):    # the camera may change its size
        video.add(ramp(height=size[0], width=size[1]))
    video.close()
    film = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    shape = film.read()[1].shape
    assert shape == (30, 82, 3) and film.get(cv2.CAP_PROP_FRAME_COUNT) == 3 and film.get(cv2.CAP_PROP_FPS) == 10


def test_a_video_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(OutputError, match='name it .mp4'):
        PreviewVideo(tmp_path / 'a.xyz', 10.0).add(ramp())
    with pytest.raises(OutputError, match='no frames'):
        PreviewVideo(tmp_path / 'a.mp4', 10.0).close()
    video = PreviewVideo(tmp_path / 'b.mp4', 10.0)
    video.add(ramp())
    video.frames = 2    # as if one had not reached the disk
    with pytest.raises(OutputError, match='incomplete'):
        video.close()
