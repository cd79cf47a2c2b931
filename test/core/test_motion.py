"""Motion of the picture: expansion tells how near the scene came, cuts are told from fast motion."""

import cv2
import numpy as np
import pytest

from depth_ros.core.motion import is_cut, measure_motion, thumbnail


def picture(seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, (480, 640, 3)).astype(np.float32)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 8), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def moved(rgb, zoom=1.0, right_px=0.0, turn_deg=0.0):
    view = cv2.getRotationMatrix2D((319.5, 239.5), turn_deg, zoom)
    view[0, 2] += right_px
    return cv2.warpAffine(rgb, view, (640, 480), borderMode=cv2.BORDER_REFLECT)


@pytest.mark.parametrize('zoom', [0.97, 1.0, 1.01, 1.04])
def test_a_picture_that_grows_by_some_percent_came_nearer_by_about_as_much(zoom):
    motion = measure_motion(thumbnail(picture()), thumbnail(moved(picture(), zoom, right_px=6, turn_deg=1)))
    assert motion.expansion() - 1 == pytest.approx(zoom - 1, rel=0.25, abs=0.002)    # the flow is smoothed


def test_what_is_warped_along_the_flow_lands_where_the_picture_went():
    last, new = thumbnail(picture()), thumbnail(moved(picture(), right_px=12))
    warped = measure_motion(last, new).warp(last.astype(np.float32))
    assert np.abs(warped - new)[5:-5, 10:-5].mean() < 2 < np.abs(last.astype(float) - new)[5:-5, 10:-5].mean()


def test_another_scene_is_a_cut_and_a_fast_turn_is_none():
    assert is_cut(thumbnail(picture(0)), thumbnail(picture(5)))
    assert not is_cut(thumbnail(picture(0)), thumbnail(moved(picture(0), right_px=60)))
    assert not is_cut(thumbnail(picture(0)), thumbnail(picture(0)))


def test_frames_of_a_real_video_are_no_cuts(shared):
    files = sorted((shared / 'data/kitti_vo/image_l').glob('*.png'))
    small = [thumbnail(cv2.imread(str(file))) for file in files]
    assert not any(is_cut(last, new) for last, new in zip(small, small[1:], strict=False))
    indoors = thumbnail(cv2.imread(str(next((shared / 'data/redkitchen/rgb').glob('*.jpg')))))
    assert is_cut(cv2.resize(small[0], indoors.shape[::-1]), indoors)


def test_the_same_pictures_give_the_same_flow():
    last, new = thumbnail(picture()), thumbnail(moved(picture(), 1.02))
    assert measure_motion(last, new).flow.tobytes() == measure_motion(last, new).flow.tobytes()


@pytest.mark.parametrize('size', [(3, 400), (400, 3), (1, 1), (40, 2000)])
def test_pictures_of_any_shape_can_be_compared(size):
    random = np.random.default_rng(0)
    for _ in range(20):    # the flow of OpenCV crashes on pictures of less than its patches
        last, new = (thumbnail(random.integers(0, 255, (*size, 3), dtype=np.uint8)) for _ in range(2))
        assert np.isfinite(measure_motion(last, new).flow).all()
