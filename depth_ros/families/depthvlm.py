"""Family `depthvlm`: metric depth of single pictures, and answers to questions about them, from a vision-language model.

The network was trained on pictures of one focal length, 1000 px, and gives the metres of such a camera. So the picture is
resized to it, pixels made square; what rounding to whole patches, the limit on the picture's size or the setting
model.short_side_px leave of another focal length, the depth is multiplied with: a picture of half the focal length looks
like one taken from twice as far.
"""

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip, Quantity
from depth_ros.errors import InputError
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.preprocess import shrink_area_cubic
from depth_ros.settings import Settings

FOCAL_PX = 1000.0        # of the camera whose metres the network gives
PATCH_PX = 32            # of the picture in one token
MAX_PX = 2048 * 2048     # of the picture: 4096 tokens, 91 degrees in both directions at 1000 px
BYTES_PER_PX = 2000      # measured: 1925 at 544x416


def family(settings: Settings) -> Family:
    """Return the family; its weights are the whole folder as the hub has it."""
    return Family(
        name='depthvlm',
        quantity=Quantity.DEPTH_METRIC,
        size=partial(size, settings.model.short_side_px),
        shrink=shrink_area_cubic,
        infer=infer,
        ask=ask,
        network=Network(
            module='depthvlm',
            files={'weights': WeightsFile('', 'JonnyYu828/DepthVLM-4B', parameters=4_472_961_729)},
            bytes_per_px=BYTES_PER_PX,
            half='bf16'),
        licence_weights='not stated',
    )


def size(short_side_px: int, height: int, width: int, camera: Camera | None) -> tuple[int, int]:
    """Return (h, w) in whole patches, in which the focal lengths are nearest to 1000 px, or the short side to another one.

    Raises InputError without a camera, or if there is less than a patch to see.
    """
    camera = _needed(camera)
    h, w = height * FOCAL_PX / camera.fy, width * FOCAL_PX / camera.fx
    ratio = short_side_px / min(h, w) if short_side_px else min(1.0, math.sqrt(MAX_PX / (h * w)))
    h, w = h * ratio, w * ratio
    if min(h, w) < PATCH_PX:
        raise InputError(f'the picture of {width}x{height} px with fx={camera.fx:g} fy={camera.fy:g} becomes '
                         f'{w:.0f}x{h:.0f} px for depthvlm, less than one patch of {PATCH_PX} px; check the calibration and '
                         'model.short_side_px, or take larger pictures')
    return round(h / PATCH_PX) * PATCH_PX, round(w / PATCH_PX) * PATCH_PX


def infer(graphs: Mapping[str, Graph], clip: Clip, state: None) -> tuple[Prediction, None]:
    """Return the metric depth of one picture."""
    return _in_metres(graphs['depth'].run({'rgb': clip.rgb})['depth_m'], clip.camera), state


def ask(graphs: Mapping[str, Graph], clip: Clip, question: str) -> tuple[Prediction, str]:
    """Return the metric depth of one picture, and the answer to a question about it, of the same pass."""
    out = graphs['ask'].run({'rgb': clip.rgb, 'question': np.frombuffer(question.encode(errors='replace'), np.uint8).copy()})
    return _in_metres(out['depth_m'], clip.camera), out['text'].tobytes().decode()


def _in_metres(depth_m: np.ndarray, camera: Camera | None) -> Prediction:
    camera = _needed(camera)
    return Prediction(depth_m * np.float32(math.sqrt(camera.fx * camera.fy) / FOCAL_PX))


def _needed(camera: Camera | None) -> Camera:
    if camera is None:
        raise InputError('depthvlm needs the focal length of the camera for its metres; publish camera_info, or give the '
                         'setting camera.fx_fy_cx_cy or camera.file')
    return camera
