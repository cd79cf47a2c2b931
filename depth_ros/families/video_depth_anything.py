"""Family `video_depth_anything`: Video Depth Anything (Chen et al. 2025), small, base and large, relative and in metres.

Offline it sees windows of 32 frames. Live it is the published streaming form: one frame in, one frame out, seen together
with the first frame, a far one and the last 29. Either way each picture is encoded once, however often it is looked at.
"""

from collections.abc import Mapping
from typing import Any

from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.window import WindowSpec
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.files import variant_of
from depth_ros.families.preprocess import ShortSide, encode_new, enlarge_corners, normalise, shrink_cubic
from depth_ros.settings import Settings

LENGTH = 32
KEYFRAMES = (0, 12, *range(24, 32))
BLEND = 8
STREAM_KEPT = 42       # frames that a live stream remembers: the first, and the last 41
STREAM_RECENT = 29     # of them, those right before the newest; it sees these, the first and the oldest of the others

SIZES = {'small': ('vits', 29_035_137, 'Apache-2.0'),    # encoder, parameters, licence
         'base': ('vitb', 114_441_409, 'CC-BY-NC-4.0'),
         'large': ('vitl', 384_390_337, 'CC-BY-NC-4.0')}
BYTES_PER_PX = {'small': 240, 'base': 500, 'large': 860}        # measured on windows of 32 frames
LIVE_BYTES_PER_PX = {'small': 4400, 'base': 8800, 'large': 13_000}    # kept keys and values: measured, small
FILES = {
    **{size: WeightsFile(f'video_depth_anything_{encoder}.pth', f'depth-anything/Video-Depth-Anything-{size.title()}',
                         licence=licence, parameters=parameters)
       for size, (encoder, parameters, licence) in SIZES.items()},
    **{f'metric-{size}': WeightsFile(f'metric_video_depth_anything_{encoder}.pth',
                                     f'depth-anything/Metric-Video-Depth-Anything-{size.title()}', parameters=parameters)
       for size, (encoder, parameters, _) in SIZES.items()},
}


def family(settings: Settings) -> Family:
    """Return the family in the variant that the settings name, else in the one that the weights file is called after.

    Raises SettingsError for an unknown variant, WeightsError for one that contradicts the name of the file.
    """
    variant = variant_of(FILES, settings.model.variant, settings.weights)
    size, metric = variant.removeprefix('metric-'), variant.startswith('metric-')
    return Family(
        name='video_depth_anything',
        quantity=Quantity.DEPTH_METRIC if metric else Quantity.DISPARITY_AFFINE,
        size=ShortSide(settings.model.short_side_px or ShortSide.short_side_px),
        shrink=shrink_cubic,
        patch_px=ShortSide.patch_px,
        infer=infer,
        enlarge=enlarge_corners,
        offline=WindowSpec(LENGTH, KEYFRAMES, anchors=0 if metric else 2, blend=BLEND, past_end=True,
                           floor=None if metric else 0.0),
        longest=LENGTH,
        carries_state=True,
        network=Network('video_depth_anything', {'model': FILES[variant]},
                        {'size': size if settings.model.variant else ''}, bytes_per_px=BYTES_PER_PX[size],
                        live_bytes_per_px=LIVE_BYTES_PER_PX[size]),
        variants=tuple(FILES),
        licence_weights=FILES[variant].licence,
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: Any) -> tuple[Prediction, Any]:
    """Return the maps of a window, or of the one frame that a live stream is at, and the state for the next."""
    return _step(graphs, clip, state) if len(clip.indices) == 1 else _window(graphs, clip, state)


def _window(graphs: Mapping[str, Graph], clip: Clip, known: Mapping[int, Any] | None) -> tuple[Prediction, dict[int, Any]]:
    """The state is {position: tokens, as the encoder gave them} of the frames of the last window."""
    tokens = encode_new(graphs, clip, known)
    frames = {f'frame{slot:02}': tokens[index] for slot, index in enumerate(clip.indices)}
    return Prediction(graphs['head'].run(frames)['map']), tokens


def _step(graphs: Mapping[str, Graph], clip: Clip,
          kept: tuple[Any, ...] | None) -> tuple[Prediction, tuple[Any, ...]]:
    """The state is what the network keeps of past frames, as the step gave it."""
    frame = graphs['encoder'].run({'rgb': normalise(clip.rgb)})['frame00']
    past = {f'past{slot:02}': one for slot, one in enumerate(context(kept or ()))}
    out = graphs['step'].run({'frame': frame, **past})
    return Prediction(out['map']), remember(kept or (), out['keep'])


def context(kept: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return those of the frames `kept` of a live stream that the newest is seen with: 31, none for a first frame."""
    return kept[:2] + kept[-STREAM_RECENT:]


def remember(kept: tuple[Any, ...], new: Any) -> tuple[Any, ...]:
    """Return `kept` with a `new` frame; the first one stands in for all that a window lacks, and stays when others go."""
    if not kept:
        return (new,) * LENGTH
    kept += (new,)
    return kept[:1] + kept[1:][1 - STREAM_KEPT:]
