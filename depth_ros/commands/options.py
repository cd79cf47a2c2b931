"""What several commands are told in the same words: settings, and sizes of pictures."""

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


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of "480x640"."""
    try:
        height, width = (int(part) for part in text.split('x'))
    except ValueError:
        raise SettingsError(f'--size {text}: expected height x width, e.g. 480x640') from None
    if not SMALLEST_PX <= min(height, width) <= max(height, width) <= LARGEST_PX:
        raise SettingsError(f'--size {text}: expected {SMALLEST_PX}x{SMALLEST_PX} to {LARGEST_PX}x{LARGEST_PX}')
    return height, width
