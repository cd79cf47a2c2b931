"""Metres only from a source of metres, and a nominal scale that does not flicker."""

import numpy as np
import pytest

from depth_ros.core.frame import DepthFrame, Frame, Quantity
from depth_ros.core.metric import NominalScale, to_depth_m
from depth_ros.errors import SettingsError
from depth_ros.settings import MetricSettings

MAP = np.array([[0.5, 0.0, -1.0, np.nan, 0.001]], np.float32)
FAMILY = MetricSettings()


def frame(map, segment=0, quantity=Quantity.DISPARITY_AFFINE):
    picture = Frame(np.zeros((*map.shape, 3), np.uint8), 0)
    return DepthFrame(0, picture, map.astype(np.float32), quantity, segment=segment)


def test_metric_disparity_becomes_depth_and_what_is_not_positive_becomes_nan():
    depth_m = to_depth_m(MAP, Quantity.DISPARITY_METRIC, FAMILY)
    assert depth_m[0, 0] == 2 and np.isnan(depth_m[0, 1:]).all()


def test_metric_depth_out_of_limits_becomes_nan():
    depth_m = to_depth_m(MAP, Quantity.DEPTH_METRIC, FAMILY)
    assert depth_m[0, 0] == 0.5 and np.isnan(depth_m[0, 1:]).all()


@pytest.mark.parametrize('quantity', [Quantity.DISPARITY_AFFINE, Quantity.DEPTH_AFFINE, Quantity.LOG_DEPTH_AFFINE])
def test_relative_maps_have_no_metres(quantity):
    assert to_depth_m(MAP, quantity, FAMILY) is None


def test_a_fixed_scale_makes_metres_in_the_space_of_the_family():
    fixed = MetricSettings(source='fixed', scale=0.5, shift=0.25)
    assert to_depth_m(MAP, Quantity.DISPARITY_AFFINE, fixed)[0, 0] == 2.0
    assert to_depth_m(MAP, Quantity.DEPTH_AFFINE, fixed)[0, 0] == 0.5
    assert to_depth_m(MAP, Quantity.LOG_DEPTH_AFFINE, fixed)[0, 0] == pytest.approx(np.exp(0.5) - 1)


def test_what_is_in_metres_already_takes_no_fixed_scale():
    with pytest.raises(SettingsError, match='depth_metric'):
        to_depth_m(MAP, Quantity.DEPTH_METRIC, MetricSettings(source='fixed'))


def test_the_map_that_came_is_left_as_it_was():
    before = MAP.copy()
    to_depth_m(MAP, Quantity.DEPTH_METRIC, FAMILY)
    assert np.array_equal(MAP, before, equal_nan=True)


def test_the_nominal_scale_is_one_relation_for_a_whole_segment():
    nominal, random = NominalScale(), np.random.default_rng(0)
    first = random.random((40, 60))
    one = nominal.depth(frame(first))
    brighter = nominal.depth(frame(first + 0.3))
    assert np.nanmedian(brighter) < np.nanmedian(one)
    again = nominal.depth(frame(first + 0.3, segment=1))
    assert again == pytest.approx(one, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize('quantity', [Quantity.DEPTH_AFFINE, Quantity.LOG_DEPTH_AFFINE])
def test_nominal_depth_grows_where_the_family_says_farther_and_in_its_own_space(quantity):
    truth = np.linspace(1, 8, 50)[None].repeat(4, 0)    # the nominal near and far
    map = 0.1 * (np.log1p(truth) if quantity is Quantity.LOG_DEPTH_AFFINE else truth) - 3
    nominal = NominalScale().depth(frame(map, quantity=quantity))
    assert nominal == pytest.approx(truth, abs=0.25)
