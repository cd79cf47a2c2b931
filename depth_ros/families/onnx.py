"""Family `onnx`: any single-picture depth network that its user describes in a short YAML file.

    file: tcmonodepth_small.onnx        # beside this YAML
    sha256: 902b886b...                 # optional; checked where given
    input: input                        # name of the network's input, (1, 3, h, w) float32
    size: [192, 320]                    # network height and width, or: short_side_px: 256 and multiple_px: 32
    value_range: [0, 255]               # black and white before mean and std
    mean: [0, 0, 0]                     # optional, subtracted, in value_range
    std: [1, 1, 1]                      # optional, divided by, in value_range
    channel_order: rgb                  # or bgr
    output: output                      # name of the network's output, (1, h, w) or (1, 1, h, w)
    quantity: disparity_affine          # depth_metric, disparity_metric, disparity_affine, log_depth_affine, depth_affine
    licence: MIT                        # of the weights
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.core.frame import Clip, Quantity
from depth_ros.errors import SettingsError, need
from depth_ros.families.family import Family, Graph, GraphFile, Prediction, SizeRule
from depth_ros.settings import Settings


@dataclass(frozen=True)
class Description:
    """What the YAML says, checked."""

    file: str
    input: str
    output: str
    quantity: str
    value_range: tuple[float, float]
    size: tuple[int, int] | None = None
    short_side_px: int = 0
    multiple_px: int = 1
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channel_order: str = 'rgb'
    licence: str = 'not stated'
    sha256: str = ''

    def __post_init__(self) -> None:
        if self.quantity not in (known := [quantity.value for quantity in Quantity]):
            raise SettingsError(f'quantity {self.quantity!r} is unknown; known: {", ".join(known)}')
        if self.channel_order not in ('rgb', 'bgr'):
            raise SettingsError(f'channel_order {self.channel_order!r} is unknown; known: rgb, bgr')
        if bool(self.size) == bool(self.short_side_px):
            raise SettingsError('give either size: [height, width] or short_side_px and multiple_px')
        for name, length in (('value_range', 2), ('mean', 3), ('std', 3), ('size', 2)):
            values = getattr(self, name)
            if values is not None and not (isinstance(values, list | tuple) and len(values) == length):
                raise SettingsError(f'{name} must be a list of {length} numbers, got {values!r}')


def family(settings: Settings) -> Family:
    """Return the family that the YAML file of the setting `weights` describes."""
    if not settings.weights:
        raise SettingsError('the family onnx needs weights: the YAML file that describes the network')
    path = Path(settings.weights).expanduser()
    described = read_description(path)
    multiple, short, fixed = described.multiple_px, described.short_side_px, described.size
    return Family(
        name='onnx',
        quantity=Quantity(described.quantity),
        size=SizeRule(multiple_px=multiple, short_side_px=short, fixed=(fixed[0], fixed[1]) if fixed else None),
        infer=_infer_with(described),
        graphs={'depth': GraphFile(path.parent / described.file, described.sha256, (described.input,), (described.output,))},
        licence_weights=described.licence,
    )


def read_description(path: Path) -> Description:
    """Return the checked content of a YAML description.

    Raises SettingsError naming what is missing, unknown or wrong.
    """
    yaml = need('yaml', 'pip install pyyaml')
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f'{path} cannot be read as a YAML description of a network: {error}') from error
    if not isinstance(content, dict):
        raise SettingsError(f'{path} is not a YAML mapping; give file, input, output, size, value_range and quantity')
    known = {item.name for item in fields(Description)}
    needed = {item.name for item in fields(Description) if item.default is MISSING}
    if content.keys() - known or needed - content.keys():
        raise SettingsError(f'{path}: unknown {sorted(map(str, content.keys() - known))}, '
                            f'missing {sorted(needed - content.keys())}; known: {", ".join(sorted(known))}')
    try:
        return Description(**content)
    except SettingsError as error:
        raise SettingsError(f'{path}: {error}') from error


def _infer_with(described: Description) -> Any:
    low, high = described.value_range
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (described.mean, described.std))
    gain, offset = np.float32((high - low) / 255) / std, (np.float32(low) - mean) / std

    def infer(graphs: Mapping[str, Graph], clip: Clip, state: None) -> tuple[Prediction, None]:
        channels = clip.rgb if described.channel_order == 'rgb' else clip.rgb[..., ::-1]    # (T, h, w, 3)
        pictures = channels.transpose(0, 3, 1, 2) * gain + offset                 # (T, 3, h, w)
        maps = [graphs['depth'].run({described.input: picture[None]})[described.output] for picture in pictures]
        return Prediction(np.stack([map.reshape(map.shape[-2:]) for map in maps])), state

    return infer
