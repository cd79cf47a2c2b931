"""A depth sensor made of one ordinary camera: steady video depth for ROS 2 and for recordings."""

from typing import TYPE_CHECKING, Any

__version__ = '0.1.0'
__all__ = ['Frame', 'open_stream']

if TYPE_CHECKING:
    from depth_ros.core.frame import Frame
    from depth_ros.pipeline import open_stream


def __getattr__(name: str) -> Any:
    """Import the two public names on first use, so that `import depth_ros` costs nothing."""
    if name == 'Frame':
        from depth_ros.core.frame import Frame
        return Frame
    if name == 'open_stream':
        from depth_ros.pipeline import open_stream
        return open_stream
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
