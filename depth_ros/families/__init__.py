"""The model families: what each is (a `Family`) and how its graphs are called.

A new family is one file here with a function `family(settings) -> Family`, and one row in the table.
"""

from importlib import import_module

from depth_ros.errors import SettingsError, WeightsError
from depth_ros.families import exported
from depth_ros.families.family import Family
from depth_ros.settings import Settings

TABLE = {
    'lite': 'the shipped network: streaming, one frame in, one frame out, with pose',
    'onnx': 'your own single-picture network, described in a YAML file',
    'depth_anything': 'Depth Anything V2: single pictures, small to large, relative or in metres',
    'video_depth_anything': 'Video Depth Anything: windows of 32 frames, or one by one with a cache',
    'gemdepth': 'GemDepth: windows of 32 frames with camera motion and intrinsics',
    'dvd': 'DVD: windows of 45 frames through a video diffusion transformer in one pass',
    'pixel_perfect': 'Pixel-Perfect Depth: single pictures with sharp edges',
    'pixel_perfect_video': 'Pixel-Perfect Video Depth: windows of 16 frames with sharp edges',
    'depthvlm': 'DepthVLM: metres of single pictures, and answers to questions about them',
}


def load_family(settings: Settings) -> Family:
    """Return the record of the family that the settings name, with their weights and options.

    Raises SettingsError for a name that is not in the table, or a variant of a family that has none, WeightsError for
    weights that may not be looked at.
    """
    name = settings.family
    if name not in TABLE:
        raise SettingsError(f'unknown family {name!r}; known: {", ".join(TABLE)}')
    make = import_module(f'depth_ros.families.{name}').family
    try:
        family: Family = exported.family(settings, make) if exported.is_exported(settings.weights) else make(settings)
    except PermissionError as error:
        raise WeightsError(f'{settings.weights} may not be read; give yourself the right to, or take others') from error
    if settings.model.variant and not family.variants:
        raise SettingsError(f'model.variant={settings.model.variant!r}: {name} has no variants; leave it empty')
    return family
