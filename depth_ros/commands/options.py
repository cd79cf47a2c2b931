"""What several commands are told in the same words: settings, where metres come from, and sizes of pictures."""

from typing import Any

from depth_ros.errors import SettingsError

SMALLEST_PX, LARGEST_PX = 16, 8192    # sides of a picture


def parse_setting(text: str) -> tuple[str, Any]:
    """Return (name, value) of "name=value", the value as the type of the setting."""
    from depth_ros.settings import options

    name, equals, value = text.partition('=')
    if not equals:
        raise SettingsError(f'--set {text}: expected name=value')
    item = dict(options()).get(name)
    kind: Any = type(item.default) if item else str
    if kind is bool:
        return name, {'true': True, 'false': False}.get(value.lower(), value)
    try:
        return name, kind(value)
    except ValueError:
        return name, value    # the settings say what they expected


def parse_metric(text: str) -> tuple[dict[str, Any], str]:
    """Return (settings, topic or folder) of --metric; what follows the source may be missing, but for fixed.

    Known are range:TOPIC (or :FOLDER), camera_height:HEIGHT:GRAVITY with tf, imu or the topic of an IMU, odometry:TOPIC,
    odometry:tf, family:NAME and fixed:SCALE,SHIFT. Raises SettingsError for anything else.
    """
    source, _, rest = text.partition(':')
    values: dict[str, Any] = {'metric.source': source}
    topic = ''
    try:
        if source == 'fixed':
            scale, shift = (float(part) for part in rest.split(','))
            values |= {'metric.scale': scale, 'metric.shift': shift}
        elif source == 'camera_height' and rest:
            height, _, gravity = rest.partition(':')
            values['metric.height_m'] = float(height)
            if gravity:
                values['metric.gravity'] = 'tf' if gravity == 'tf' else 'imu'
                topic = '' if gravity in ('tf', 'imu') else gravity
        elif source == 'family' and rest:
            values['metric.family'] = rest
        elif source == 'odometry' and rest == 'tf':
            values['metric.odometry'] = 'tf'
        elif source in ('range', 'odometry'):
            topic = rest
        elif rest:
            raise ValueError
    except ValueError:
        raise SettingsError(f'--metric {text}: expected range:TOPIC, camera_height:HEIGHT (or with :tf or :IMU_TOPIC), '
                            'odometry:TOPIC, odometry:tf, family:NAME or fixed:SCALE,SHIFT') from None
    return values, topic


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of "480x640"."""
    try:
        height, width = (int(part) for part in text.split('x'))
    except ValueError:
        raise SettingsError(f'--size {text}: expected height x width, e.g. 480x640') from None
    if not SMALLEST_PX <= min(height, width) <= max(height, width) <= LARGEST_PX:
        raise SettingsError(f'--size {text}: expected {SMALLEST_PX}x{SMALLEST_PX} to {LARGEST_PX}x{LARGEST_PX}')
    return height, width
