"""Family `lite`: the shipped streaming network. One frame in, one frame out; tokens of the last frames are carried along.

The network is `depth_ros/models/lite.py`, how it was trained stands in `depth_ros/models/weights/README.md`. Of the motion
that it predicts, only the rotation is worth publishing so far: the pose turns and stays in place.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from depth_ros import models
from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.pose import chain
from depth_ros.families.family import Family, Graph, GraphFile, Prediction, SizeRule
from depth_ros.settings import Settings

SHIPPED = Path(models.__file__).parent / 'weights' / 'lite.onnx'
TOKEN_PX = 16
INPUTS = ('rgb', 'memory', 'memory_valid')
OUTPUTS = ('disparity', 'confidence', 'T_prev_cam', 'pose_embedding', 'next_memory', 'next_memory_valid')


class State(NamedTuple):
    """What the network remembers of the last frames, and where the camera has got to."""

    memory: np.ndarray           # (1, C, h / 16, w / 16) float32
    memory_valid: np.ndarray     # (1, frames) float32
    T_world_cam: np.ndarray      # (4, 4) float64


def family(settings: Settings) -> Family:
    """Return the family with the ONNX file that the settings name, or the shipped one."""
    weights = settings.weights
    return Family(
        name='lite',
        quantity=Quantity.DISPARITY_AFFINE,
        size=SizeRule(multiple_px=32, short_side_px=192, long_side_px=512),
        infer=infer,
        carries_state=True,
        gives_pose=True,
        embedding_dim=64,
        embedding_meaning='motion of the camera since the previous frame, as the network feeds it back into its tokens',
        graphs={'step': GraphFile(Path(weights).expanduser() if weights else SHIPPED, '', INPUTS, OUTPUTS,
                                 resident=('next_memory',))},
        licence_weights='Apache-2.0',
    )


def infer(graphs: Mapping[str, Graph], clip: Clip, state: State | None) -> tuple[Prediction, State]:
    """Return the prediction of one picture and the state for the next; None starts a stream."""
    step = graphs['step']
    memory, memory_valid, T_world_cam = state or _start(step, *clip.rgb.shape[1:3])
    picture = clip.rgb.transpose(0, 3, 1, 2).astype(np.float32) / 255
    out = step.run({'rgb': picture, 'memory': memory, 'memory_valid': memory_valid})
    turn = out['T_prev_cam'][0].astype(np.float64)
    turn[:3, 3] = 0    # the shipped weights have not learnt to see translation
    T_world_cam = chain(T_world_cam, turn)
    prediction = Prediction(out['disparity'], out['confidence'], T_world_cam[None], embedding=out['pose_embedding'])
    return prediction, State(out['next_memory'], out['next_memory_valid'], T_world_cam)


def _start(step: Graph, h: int, w: int) -> State:
    channels, frames = step.inputs['memory'][1], step.inputs['memory_valid'][1]
    return State(np.zeros((1, channels, h // TOKEN_PX, w // TOKEN_PX), np.float32), np.zeros((1, frames), np.float32),
                 np.eye(4))
