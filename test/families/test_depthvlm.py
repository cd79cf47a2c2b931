"""A picture of any camera becomes one of 1000 px focal length, and what is left of another one is set right in the depth."""

import numpy as np
import pytest

from depth_ros.core.camera import Camera, resize_camera
from depth_ros.core.frame import Clip, Quantity
from depth_ros.errors import InputError
from depth_ros.families import depthvlm
from depth_ros.settings import build


def family(**values):
    return depthvlm.family(build(values))


def camera(height, width, fx, fy=None):
    return Camera(height, width, fx, fy or fx, (width - 1) / 2, (height - 1) / 2)


def seen(height, width, fx, fy=None, **values):
    """Return (h, w, fx, fy) of the picture that the network sees."""
    taken = camera(height, width, fx, fy)
    h, w = family(**values).size(height, width, taken)
    small = resize_camera(taken, h, w)
    return h, w, small.fx, small.fy


class Canonical:
    """A network that sees a wall of known size, and takes the focal length to be 1000 px, as it was trained."""

    def __init__(self, wall_px):
        self.wall_px = wall_px    # how large a wall of 1 m appears

    def run(self, inputs):
        _, h, w, _ = inputs['rgb'].shape
        answer = {'text': np.frombuffer('ein Stück'.encode(), np.uint8)} if 'question' in inputs else {}
        return {'depth_m': np.full((1, h, w), 1000 / self.wall_px, np.float32), **answer}


def test_the_picture_is_resized_so_that_the_focal_length_is_1000_px():
    assert seen(480, 640, 500.0) == (960, 1280, 1000, 1000)
    h, w, fx, fy = seen(720, 1280, 913.0)
    assert (h, w) == (800, 1408) and fx == pytest.approx(1000, rel=16 / w) and fy == pytest.approx(1000, rel=16 / h)


def test_pixels_become_square():
    assert seen(480, 640, 500.0, 1000.0) == (480, 1280, 1000, 1000)


def test_a_very_wide_view_is_limited_in_pixels():
    h, w, fx, fy = seen(1080, 1920, 300.0)
    assert h * w <= depthvlm.MAX_PX * 1.05 and fx == pytest.approx(fy, rel=0.02) and 400 < fx < 500


def test_a_short_side_that_is_asked_for_is_taken():
    assert seen(480, 640, 500.0, **{'model.short_side_px': 96})[:2] == (96, 128)


@pytest.mark.parametrize('values', [{}, {'model.short_side_px': 96}])
@pytest.mark.parametrize(('height', 'width', 'fx'), [(480, 640, 500.0), (370, 1226, 707.1), (1080, 1920, 300.0)])
def test_a_wall_four_metres_away_is_there_whatever_the_focal_length_became(height, width, fx, values):
    taken = camera(height, width, fx)
    size = family(**values).size(height, width, taken)
    small = resize_camera(taken, *size)
    graph = Canonical(wall_px=np.sqrt(small.fx * small.fy) / 4)    # a wall of 1 m that is 4 m away
    clip = Clip(np.zeros((1, *size, 3), np.uint8), (0,), small)
    prediction, state = depthvlm.infer({'depth': graph}, clip, None)
    assert prediction.maps.shape == (1, *size) and np.allclose(prediction.maps, 4, rtol=1e-5) and state is None
    asked, text = depthvlm.ask({'ask': graph}, clip, 'was ist das?')
    assert (asked.maps == prediction.maps).all() and text == 'ein Stück'


def test_without_a_camera_the_remedy_is_named():
    with pytest.raises(InputError, match='camera_info.*camera.fx_fy_cx_cy'):
        family().size(480, 640, None)
    with pytest.raises(InputError, match='camera.fx_fy_cx_cy'):
        depthvlm.ask({'ask': Canonical(1.0)}, Clip(np.zeros((1, 32, 32, 3), np.uint8), (0,)), 'far?')


@pytest.mark.parametrize(('height', 'width', 'fx', 'short'), [
    (30, 640, 1000.0, 0), (480, 640, 50000.0, 0), (480, 640, 500.0, 16)])
def test_less_than_a_patch_to_see_is_an_error_with_the_numbers(height, width, fx, short):
    with pytest.raises(InputError, match=f'{width}x{height} px.*{fx:g}.*32 px'):
        seen(height, width, fx, **{'model.short_side_px': short})


def test_resizing_keeps_a_ramp_a_ramp():
    ramp = np.repeat(np.linspace(0, 250, 640).astype(np.uint8)[None, :, None], 480, axis=0).repeat(3, axis=2)
    for size in ((960, 1280), (96, 128)):
        resized = family().shrink(ramp, size)
        assert resized.shape == (*size, 3) and (np.diff(resized[5, :, 0].astype(int)) >= 0).all()


def test_the_record_says_metres_and_one_picture_at_a_time():
    record = family()
    assert record.quantity is Quantity.DEPTH_METRIC and record.longest == 1 and record.live.length == 1
    assert record.network.files['weights'].repo == 'JonnyYu828/DepthVLM-4B'
