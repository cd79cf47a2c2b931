"""Family `pixel_perfect`: Pixel-Perfect Depth, single pictures with edges as sharp as the pixels (2601.05246, 2510.07316).

The map is drawn from noise in a few steps. The noise comes from a seeded generator and is the same for every picture of a
stream, so that the same picture gives the same map.

What the numbers are: log(1 + Z), normalised for each picture to about 0 (near) to 1 (far). Sky and far: the training puts
sky and everything beyond 80 m at the far end of the range, so sky comes out as a plane at the greatest depth of its picture,
not as infinity. It is passed on as it is, because near 1 lies the far wall of a room as well; in metres, what is
beyond `metric.max_depth_m` becomes NaN.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip, Quantity
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.preprocess import shrink_area_cubic
from depth_ros.settings import Settings

SHORT_SIDE_PX = 768    # of a 4:3 picture, 1024 x 768
TOKEN_PX = 16
NOISE = 1000           # the time step of pure noise; data is at 0
BYTES_PER_PX = 900.0    # measured: 60 MB, and 730 per pixel


@dataclass(frozen=True)
class AreaRule:
    """Network size for a picture: its aspect, the area of a 4:3 picture with this short side, in multiples of 16 px."""

    short_side_px: int = SHORT_SIDE_PX

    def __call__(self, height: int, width: int, camera: Camera | None = None) -> tuple[int, int]:
        """Return (h, w) for a picture of `height` x `width`; the camera does not matter."""
        ratio = self.short_side_px * math.sqrt(4 / 3 / (height * width))
        h, w = (max(1, round(side * ratio / TOKEN_PX)) * TOKEN_PX for side in (height, width))
        return h, w


def family(settings: Settings) -> Family:
    """Return the family with the picture size, steps and seed of the settings."""
    model = settings.model
    return Family(
        name='pixel_perfect',
        quantity=Quantity.LOG_DEPTH_AFFINE,
        size=AreaRule(model.short_side_px or SHORT_SIDE_PX),
        patch_px=TOKEN_PX,
        infer=partial(infer, steps=model.steps, seed=model.seed),
        shrink=shrink_area_cubic,
        network=Network('pixel_perfect', {
            'model': WeightsFile('ppd.pth', 'gangweix/Pixel-Perfect-Depth', parameters=499_842_112),
            'semantics': WeightsFile('depth_anything_v2_vitl.pth', 'depth-anything/Depth-Anything-V2-Large',
                                     licence='CC-BY-NC-4.0', parameters=335_315_649, kept=0.91),
        }, half='bf16', bytes_per_px=BYTES_PER_PX),
        licence_weights='not stated; the semantics are CC-BY-NC-4.0',
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: np.ndarray | None, steps: int,
          seed: int) -> tuple[Prediction, np.ndarray]:
    """Return the prediction of one picture; the state is the noise that every picture of the stream starts from."""
    noise = draw_noise(clip, seed) if state is None else state
    return Prediction(denoise(graphs, clip.rgb.astype(np.float32) / 255, noise, steps)), noise


def draw_noise(clip: Clip, seed: int) -> np.ndarray:
    """Return (T, 1, h, w) float32 normal noise for a clip."""
    return np.random.default_rng(seed).standard_normal((*clip.rgb.shape[:1], 1, *clip.rgb.shape[1:3]), np.float32)


def denoise(graphs: Mapping[str, Graph], rgb: np.ndarray, noise: np.ndarray, steps: int) -> np.ndarray:
    """Return the maps (T, h, w) of pictures (T, h, w, 3) in 0..1: from the noise (T, 1, h, w) to the data in Euler steps.

    x_then = x_now + v(x_now, now) (then - now)      (eq. 4)
    """
    picture = np.ascontiguousarray(rgb.transpose(0, 3, 1, 2))
    semantics = graphs['semantics'].run({'rgb': picture})['semantics']
    x, times = noise, time_steps(steps)
    for now, then in zip(times, times[1:], strict=False):
        inputs = {'latent': x, 'rgb': picture, 'semantics': semantics, 't': np.array([now])}
        x = x + graphs['denoise'].run(inputs)['velocity'] * np.float32((then - now) / NOISE)
    return x[:, 0] + np.float32(0.5)    # the training centres the data around 0


def time_steps(steps: int) -> list[int]:
    """Return the time steps from noise to data, `steps` + 1 integers: 1000, 750, 500, 249, 0 for the published 4."""
    return [round((NOISE + 1) * (1 - i / steps) - 1) for i in range(steps)] + [0]
