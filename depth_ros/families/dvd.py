"""Family `dvd`: a video diffusion transformer that turns clips into disparity in one pass (DVD, arXiv 2603.12250).

Disparity between 0 and 1, up to scale and shift: the training maps the 2 % and 98 % quantiles of each clip there and cuts
off what lies beyond, so the nearest and the farthest saturate. Windows of 45 frames with the last 9 shared, as in the
paper; `length=81` takes the windows of the published demo. The scale of a fit stays within 0.7 and 1.5.

The VAE codes the first frame of a window by itself and then four frames at a time, so windows of 4n + 1 frames waste
nothing; others are filled up with their last frame. It is causal and looks back over
all of the window, so frames that two windows share have other latents and other maps in each: they are computed anew.

Live, a window is 9 frames with 4 new ones: one step of the VAE, a lag of 3 frames, and five shared frames to fit on.
`length=5`, `stride=4` is half the work with a single shared frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.window import WindowSpec
from depth_ros.errors import InputError, SettingsError
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.preprocess import shrink_linear
from depth_ros.settings import Settings

SHORT_SIDE_PX = 480
MULTIPLE_PX = 16       # a token is 2 x 2 latent pixels of 8 x 8 px
STEP = 4               # frames that the VAE codes together
POSITIONS = 1024       # entries of the position table, in each direction
LONGEST = 1 + STEP * (POSITIONS - 1)
WORKING_BYTES_PER_PX = 23_000.0    # measured, in float32: the VAE at one step, however long the window,
BYTES_PER_PX = 320.0               # and what grows with it
LICENCE = 'CC-BY-NC-4.0'
VARIANTS = {'1.0': 'model.safetensors', '1.1': 'dvd_1.1.safetensors'}


def _window(length: int, shared: int) -> WindowSpec:
    return WindowSpec(length, tuple(range(length - shared, length)), anchors=shared, blend=shared, moved_back=True,
                      scale_limits=(0.7, 1.5), floor=0.0)


PRESETS = {45: _window(45, 9), 81: _window(81, 21)}    # of the paper, of the published demo


@dataclass(frozen=True)
class Cover:
    """Network size for a picture: the smallest of its aspect that covers 4:3 with this short side, in multiples of 16 px."""

    short_side_px: int = SHORT_SIDE_PX

    def __call__(self, height: int, width: int, camera: Camera | None = None) -> tuple[int, int]:
        """Return (h, w) for a picture of `height` x `width`; the camera does not matter.

        Raises InputError for one so long and narrow that the network has no positions for it.
        """
        h, w = self.short_side_px, -(-self.short_side_px * 4 // 3)
        if h * width >= w * height:    # rounded up in integers: the last bit of a float must not cost 16 px
            w = -(-width * h // height)
        else:
            h = -(-height * w // width)
        rows, columns = -(-h // MULTIPLE_PX), -(-w // MULTIPLE_PX)
        if max(rows, columns) > POSITIONS:
            raise InputError(f'the picture of {width}x{height} px becomes {columns}x{rows} tokens for dvd, which has '
                             f'{POSITIONS} positions in each direction; cut it to another aspect or lower '
                             'model.short_side_px')
        return rows * MULTIPLE_PX, columns * MULTIPLE_PX


def family(settings: Settings) -> Family:
    """Return the family; `model.variant` 1.0 or 1.1 chooses the published file, `length` 81 the long window.

    Raises SettingsError for an unknown variant.
    """
    model = settings.model
    if model.variant and model.variant not in VARIANTS:
        raise SettingsError(f'model.variant={model.variant!r}: dvd has {", ".join(VARIANTS)}')
    return Family(
        name='dvd',
        quantity=Quantity.DISPARITY_AFFINE,
        size=Cover(model.short_side_px or SHORT_SIDE_PX),
        patch_px=MULTIPLE_PX,
        infer=infer,
        shrink=shrink_linear,
        offline=PRESETS[45],
        live=WindowSpec.rolling(9, STEP),
        presets=PRESETS,
        longest=LONGEST,
        network=Network('dvd', {
            'dit': WeightsFile(VARIANTS[model.variant or '1.0'], 'FayeHongfeiZhang/DVD', licence=LICENCE,
                               parameters=2_118_921_280, kept=0.53),
            'vae': WeightsFile('Wan2.1_VAE.pth', 'Wan-AI/Wan2.1-T2V-1.3B', licence='Apache-2.0', parameters=126_892_531),
        }, {'tau': model.tau}, half='bf16',
            bytes_per_px=BYTES_PER_PX, working_bytes_per_px=WORKING_BYTES_PER_PX),
        variants=tuple(VARIANTS),
        licence_weights=LICENCE,
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: None) -> tuple[Prediction, None]:
    """Return the prediction of a window; nothing is carried to the next, a window's latents belong to it alone."""
    filled = filled_up(clip.rgb)                                                       # (1 + 4n, h, w, 3)
    rgb = np.ascontiguousarray(filled.transpose(3, 0, 1, 2)[None])                     # (1, 3, 1 + 4n, h, w)
    latent = graphs['encode'].run({'rgb': rgb})['latent']                              # (1, 16, 1 + n, h/8, w/8)
    depth_latent = graphs['denoise'].run({'latent': latent})['latent']
    return Prediction(graphs['decode'].run({'latent': depth_latent})['maps'][:len(clip.rgb)]), None


def filled_up(rgb: np.ndarray) -> np.ndarray:
    """Return the frames (T, ...) followed by as many copies of the last one as make 4n + 1."""
    return np.concatenate([rgb, np.repeat(rgb[-1:], -(len(rgb) - 1) % STEP, axis=0)])
