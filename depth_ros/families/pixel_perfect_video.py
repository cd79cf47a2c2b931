"""Family `pixel_perfect_video`: Pixel-Perfect Video Depth, windows of 16 frames with sharp edges (2601.05246).

Disparity up to scale and shift, drawn from noise in a few steps. One noise, from a seeded generator, serves every window of
a stream. Frames are shown at 512 x 512 px whatever their aspect, because the network's positions are a fixed table. Sky
comes out as the smallest disparity of its window; as published nothing is clipped or blended, so that it may be negative.

Live, the windows are the published ones too: first frame of the stream, two of the window before, 13 new ones. The network
was trained to take its references from the first three slots, and a window costs 247 TFLOP; one for every frame (`stride=1`)
is 13 times as dear, for a lag of 0 instead of 12 frames.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.window import WindowSpec
from depth_ros.families.family import Family, Graph, Network, Prediction, SizeRule, WeightsFile
from depth_ros.families.pixel_perfect import TOKEN_PX, denoise, draw_noise
from depth_ros.families.preprocess import shrink_linear
from depth_ros.settings import Settings

SIDE_PX = 512
BYTES_PER_PX = 1300.0    # measured
WINDOW = WindowSpec(16, (0, 8, 15), anchors=3)


def family(settings: Settings) -> Family:
    """Return the family with the steps, seed and order of channels of the settings.

    `model.short_side_px` must be what the weights file was made for; the published one: 512.
    """
    model = settings.model
    side_px = model.short_side_px or SIDE_PX
    return Family(
        name='pixel_perfect_video',
        quantity=Quantity.DISPARITY_AFFINE,
        size=SizeRule(fixed=(side_px, side_px)),
        patch_px=TOKEN_PX,
        infer=partial(infer, steps=model.steps, seed=model.seed, swap_channels=model.swap_channels),
        shrink=shrink_linear,
        offline=WINDOW,
        live=replace(WINDOW, live=True),
        longest=WINDOW.length,
        network=Network('pixel_perfect_video', {
            'model': WeightsFile('ppvd.pth', page='https://github.com/gangweix/pixel-perfect-depth', parameters=561_754_944),
            'semantics': WeightsFile('model.safetensors', 'yyfz233/Pi3', licence='CC-BY-NC-4.0', parameters=958_696_732,
                                     kept=0.79, also=('pi3.safetensors',)),
        }, {'side_px': side_px}, half='bf16', bytes_per_px=BYTES_PER_PX),
        licence_weights='not stated; the semantics are CC-BY-NC-4.0',
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: np.ndarray | None, steps: int, seed: int,
          swap_channels: bool = False) -> tuple[Prediction, np.ndarray]:
    """Return the prediction of one window; the state is the noise that every window of the stream starts from.

    `swap_channels` shows the network BGR: the published video path turns RGB frames over once too often.
    """
    noise = draw_noise(clip, seed) if state is None else state
    rgb = clip.rgb[..., ::-1] if swap_channels else clip.rgb
    return Prediction(denoise(graphs, rgb, noise, steps)), noise
