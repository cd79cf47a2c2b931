"""Pictures go to the network, and maps back, as published."""

import numpy as np
import pytest

from depth_ros.families.preprocess import ShortSide, enlarge_corners, normalise, shrink_cubic


@pytest.mark.parametrize(('picture', 'network'), [
    ((480, 640), (518, 686)), ((640, 480), (686, 518)), ((1080, 1920), (518, 924)), ((518, 518), (518, 518)),
    ((400, 1000), (364, 910))])    # the last is wider than 1.78
def test_the_short_side_is_518_and_all_sides_are_whole_patches(picture, network):
    assert ShortSide()(*picture) == network


def test_a_short_side_between_two_patches_takes_the_larger():
    assert ShortSide(60)(60, 80) == (70, 84)


def test_corner_pixels_stay_corner_pixels_and_ramps_stay_ramps():
    ramp = np.linspace(0, 1, 7, dtype=np.float32)[None] + np.linspace(0, 2, 5, dtype=np.float32)[:, None]
    large = enlarge_corners(ramp, (41, 33))
    assert large.dtype == np.float32
    assert large == pytest.approx(np.linspace(0, 1, 33)[None] + np.linspace(0, 2, 41)[:, None], abs=1e-6)


def test_a_map_of_one_pixel_fills_the_picture():
    assert np.array_equal(enlarge_corners(np.full((1, 1), 3, np.float32), (4, 5)), np.full((4, 5), 3))


def test_bicubic_shrinking_does_not_round():
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    small = shrink_cubic(picture, (56, 70))
    assert small.shape == (56, 70, 3)
    assert (small * 255 % 1).std() > 0.2


def test_the_mean_of_imagenet_becomes_zero():
    picture = np.tile(np.float32([0.485, 0.456, 0.406]), (2, 3, 4, 1))
    assert normalise(picture) == pytest.approx(np.zeros((2, 3, 3, 4)), abs=1e-6)
    assert normalise(np.full((1, 1, 1, 3), 255, np.uint8))[0, 0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)
