"""What several commands take is read alike."""

import pytest

from depth_ros.commands.options import parse_setting, parse_size
from depth_ros.errors import SettingsError


def test_settings_are_read_as_their_type():
    assert parse_setting('threads=3') == ('threads', 3)
    assert parse_setting('alignment.cuts=false') == ('alignment.cuts', False)
    assert parse_setting('cloud.max_depth_m=7') == ('cloud.max_depth_m', 7.0)
    assert parse_setting('weights=a=b.yaml') == ('weights', 'a=b.yaml')


def test_a_size_is_height_by_width():
    assert parse_size('480x640') == (480, 640)


@pytest.mark.parametrize('text', ['480', '480x', '480x640x3', 'axb', '8x640', '640x15', '480x99999'])
def test_what_is_no_size_says_what_is(text):
    with pytest.raises(SettingsError, match=f'--size {text}: expected'):
        parse_size(text)
