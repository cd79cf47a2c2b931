"""Family `depth_anything`: Depth Anything V2 (Yang et al. 2024), single pictures, relative and in metres.

The networks for metres were trained on rendered rooms (`hypersim-`, up to 20 m) and streets (`vkitti-`, up to 80 m); they do
not know the focal length and are right for lenses like those of their training.
"""

from collections.abc import Mapping
from typing import Any

from depth_ros.core.frame import Clip, Quantity
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.files import variant_of
from depth_ros.families.preprocess import ShortSide, enlarge_corners, normalise, shrink_cubic
from depth_ros.settings import Settings

SIZES = {'small': ('vits', 24_785_089, 'Apache-2.0'),    # encoder, parameters, licence
         'base': ('vitb', 97_470_785, 'CC-BY-NC-4.0'),
         'large': ('vitl', 335_315_649, 'CC-BY-NC-4.0')}
FARTHEST_M = {'hypersim': 20.0, 'vkitti': 80.0}
BYTES_PER_PX = {'small': 500, 'base': 1200, 'large': 2700}    # measured
FILES = {
    **{size: WeightsFile(f'depth_anything_v2_{encoder}.pth', f'depth-anything/Depth-Anything-V2-{size.title()}',
                         licence=licence, parameters=parameters)
       for size, (encoder, parameters, licence) in SIZES.items()},
    **{f'{data}-{size}': WeightsFile(f'depth_anything_v2_metric_{data}_{encoder}.pth',
                                     f'depth-anything/Depth-Anything-V2-Metric-{name}-{size.title()}', parameters=parameters)
       for data, name in (('hypersim', 'Hypersim'), ('vkitti', 'VKITTI'))
       for size, (encoder, parameters, _) in SIZES.items()},
}


def family(settings: Settings) -> Family:
    """Return the family in the variant that the settings name, else in the one that the weights file is called after.

    Raises SettingsError for an unknown variant, WeightsError for one that contradicts the name of the file.
    """
    variant = variant_of(FILES, settings.model.variant, settings.weights)
    data, _, size = variant.rpartition('-')
    return Family(
        name='depth_anything',
        quantity=Quantity.DEPTH_METRIC if data else Quantity.DISPARITY_AFFINE,
        size=ShortSide(settings.model.short_side_px or ShortSide.short_side_px, wide=False),
        shrink=shrink_cubic,
        patch_px=ShortSide.patch_px,
        infer=infer,
        enlarge=enlarge_corners,
        network=Network('depth_anything', {'model': FILES[variant]},
                        {'size': size if settings.model.variant else '', 'farthest_m': FARTHEST_M.get(data, 0.0)},
                        bytes_per_px=BYTES_PER_PX[size]),
        variants=tuple(FILES),
        licence_weights=FILES[variant].licence,
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: Any) -> tuple[Prediction, Any]:
    """Return the map of one picture; nothing is carried along."""
    return Prediction(graphs['depth'].run({'rgb': normalise(clip.rgb)})['map']), state
