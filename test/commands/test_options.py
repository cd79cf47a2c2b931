"""What several commands take is read alike."""

import pytest

from depth_ros.commands.options import parse_metric, parse_setting, parse_size
from depth_ros.errors import SettingsError
from depth_ros.settings import build


def test_settings_are_read_as_their_type():
    assert parse_setting('threads=3') == ('threads', 3)
    assert parse_setting('alignment.cuts=false') == ('alignment.cuts', False)
    assert parse_setting('cloud.max_depth_m=7') == ('cloud.max_depth_m', 7.0)
    assert parse_setting('weights=a=b.yaml') == ('weights', 'a=b.yaml')


@pytest.mark.parametrize(('text', 'settings', 'topic'), [
    ('range', {}, ''), ('range:/lidar/points', {}, '/lidar/points'), ('range:/a:b', {}, '/a:b'),
    ('range:C:/depth', {}, 'C:/depth'), ('none', {}, ''), ('camera_height', {}, ''), ('odometry', {}, ''),
    ('family', {}, ''), ('odometry:/odom', {}, '/odom'), ('odometry:tf', {'odometry': 'tf'}, ''),
    ('camera_height:1.65', {'height_m': 1.65}, ''), ('camera_height:1:tf', {'height_m': 1.0, 'gravity': 'tf'}, ''),
    ('camera_height:1:/imu', {'height_m': 1.0, 'gravity': 'imu'}, '/imu'),
    ('camera_height:1:imu', {'height_m': 1.0, 'gravity': 'imu'}, ''),
    ('family:depthvlm', {'family': 'depthvlm'}, ''), ('fixed:0.5,-1', {'scale': 0.5, 'shift': -1.0}, ''),
])
def test_a_source_of_metres_is_settings_and_a_topic(text, settings, topic):
    expected = {'metric.source': text.partition(':')[0], **{f'metric.{name}': value for name, value in settings.items()}}
    assert parse_metric(text) == (expected, topic)
    build(expected)


@pytest.mark.parametrize('text', ['fixed', 'fixed:', 'fixed:1', 'fixed:1,2,3', 'fixed:a,b', 'camera_height:high', 'none:/a',
                                  'lidar:/points', 'camera_height::tf', ':/points'])
def test_what_is_no_source_of_metres_says_what_is(text):
    with pytest.raises(SettingsError, match=f'--metric {text}: expected range:TOPIC, camera_height:HEIGHT'):
        parse_metric(text)


@pytest.mark.parametrize('text', ['', 'lidar', 'Range:', ':', 'camera_height:-1', 'camera_height:nan', 'fixed:0,0'])
def test_the_settings_say_which_sources_there_are_and_within_which_limits(text):
    with pytest.raises(SettingsError, match='metric[.](source|height_m|scale)=.*: expected'):
        build(parse_metric(text)[0])


def test_a_size_is_height_by_width():
    assert parse_size('480x640') == (480, 640)


@pytest.mark.parametrize('text', ['480', '480x', '480x640x3', 'axb', '8x640', '640x15', '480x99999'])
def test_what_is_no_size_says_what_is(text):
    with pytest.raises(SettingsError, match=f'--size {text}: expected'):
        parse_size(text)
