"""Family `gemdepth`: GemDepth (arXiv 2605.10525). Windows of 32 frames with the motion and field of view of the camera.

Each picture is encoded once, however many windows look at it. Two things of the published inference are not here because
they are random: dropped attentions, and dice that leave the pose out (the setting `model.pose_injection` decides that).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.pose import rotation
from depth_ros.core.window import WindowSpec
from depth_ros.errors import SettingsError
from depth_ros.families.family import Family, Graph, Network, Prediction, WeightsFile
from depth_ros.families.preprocess import ShortSide, encode_new, enlarge_corners, shrink_cubic
from depth_ros.settings import Settings

PRESETS = {length: WindowSpec(length, keyframes, anchors=2, blend=blend, past_end=True, floor=0.0)
           for length, keyframes, blend in ((32, (0, 12, *range(24, 32)), 8), (16, (0, 6, 12, 13, 14, 15), 4),
                                            (8, (0, 3, 6, 7), 2))}    # as published, for three sizes of memory
LICENCE = 'not stated; trained from weights under CC-BY-NC-4.0'
BYTES_PER_PX = 1100


def family(settings: Settings) -> Family:
    """Return the family; `settings.length` 32, 16 or 8 chooses among the published windows.

    Raises SettingsError for a window of one frame, in which nothing moves.
    """
    if settings.length == 1:
        raise SettingsError('gemdepth sees the motion between frames; set length to at least 2 or leave it at 0')
    return Family(
        name='gemdepth',
        quantity=Quantity.DISPARITY_AFFINE,
        size=ShortSide(settings.model.short_side_px or ShortSide.short_side_px),
        shrink=shrink_cubic,
        patch_px=ShortSide.patch_px,
        infer=infer,
        enlarge=enlarge_corners,
        offline=PRESETS[32],
        live=WindowSpec.rolling(8, 1),
        presets=PRESETS,
        longest=32,
        gives_pose=True,
        embedding_dim=1024,
        embedding_meaning='rotation and translation of the camera since the first frame of the window, and the mean length '
                          'of its way, as the network adds them to its tokens',
        network=Network('gemdepth', {'model': WeightsFile('gemdepth.pth', 'YuechengLiu/GemDepth', licence=LICENCE,
                                                          parameters=710_784_083, kept=0.95)},
                        {'pose_injection': settings.model.pose_injection}, bytes_per_px=BYTES_PER_PX),
        licence_weights=LICENCE,
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: Mapping[int, Any] | None) -> tuple[Prediction, dict[int, Any]]:
    """Return the prediction of a window and the state for the next: {position: tokens} of the frames of this one."""
    tokens = encode_new(graphs, clip, state)
    out = graphs['window'].run({f'frame{slot:02}': tokens[index] for slot, index in enumerate(clip.indices)})
    pose, size = out['pose'].astype(np.float64), clip.rgb.shape[1:3]
    T_cam_world = extrinsics(pose)
    T_ref_cam = T_cam_world[0] @ np.linalg.inv(T_cam_world)
    return Prediction(out['disparity'], None, T_ref_cam, intrinsics(pose, size), out['embedding']), tokens


def extrinsics(pose: np.ndarray) -> np.ndarray:
    """Return T_cam_world (T, 4, 4) of poses (T, 9) that begin with translation and quaternion."""
    T_cam_world = np.tile(np.eye(4), (len(pose), 1, 1))
    T_cam_world[:, :3, :3], T_cam_world[:, :3, 3] = rotation(pose[:, 3:7]), pose[:, :3]
    return T_cam_world


def intrinsics(pose: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return K (T, 3, 3), for pictures of `size`, of poses (T, 9) that end in the fields of view, vertical first [rad].

    The axis goes through the middle of the picture, focal length = side / 2 / tan(field of view / 2): a field of view of 0
    has an infinite one, beyond pi a negative one, as the network says it.
    """
    K = np.tile(np.eye(3), (len(pose), 1, 1))
    for axis, side, view in ((1, size[0], pose[:, 7]), (0, size[1], pose[:, 8])):
        with np.errstate(divide='ignore'):
            K[:, axis, axis] = side / 2 / np.tan(view / 2)
        K[:, axis, 2] = (side - 1) / 2
    return K
