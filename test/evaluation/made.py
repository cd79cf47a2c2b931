"""Sets and networks with a known answer."""

import numpy as np

from depth_ros.core.frame import Quantity
from depth_ros.core.stream import DepthStream
from depth_ros.core.window import WindowSpec
from depth_ros.evaluation.datasets import Sample, Sequence
from depth_ros.families.family import Family, Prediction, SizeRule
from depth_ros.settings import Settings

H, W = 48, 64


def sequence(samples, name='made', is_video=True, far_m=80.0):
    """Return a set of samples in memory."""
    depth, poses = (any(getattr(sample, kind) is not None for sample in samples) for kind in ('depth_m', 'T_world_cam'))
    return Sequence(name, is_video, len(samples), far_m, depth, poses, lambda: iter(samples))


def sample(grey, number=0, depth_m=None, T_world_cam=None, camera=None):
    """Return a grey picture (H, W) uint8; its true depth by default is what `stream` says of it."""
    rgb = np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=-1)
    depth_m = (255 / grey).astype(np.float32) if depth_m is None else depth_m
    return Sample(rgb, number * 33_000_000, depth_m, T_world_cam, camera)


def slope(low=64, high=255):
    """Return a grey picture (H, W) that brightens downwards."""
    return np.repeat(np.linspace(low, high, H).round().astype(np.uint8)[:, None], W, axis=1)


def stream(quantity=Quantity.DISPARITY_METRIC, poses=None, spec=None, settings=None):
    """Return a stream whose network says that grey / 255 is the inverse depth, and gives `poses` one after the other."""
    def infer(graphs, clip, state):
        number = state or 0
        T_ref_cam = None if poses is None else np.stack([poses[number]])
        maps = clip.rgb[..., 0].astype(np.float32) / 255
        maps = 1 / maps if quantity.grows_with_depth else maps
        maps = np.log1p(maps) if quantity is Quantity.LOG_DEPTH_AFFINE else maps
        return Prediction(maps, T_ref_cam=T_ref_cam), number + 1

    family = Family('grey', quantity, SizeRule(fixed=(H, W)), infer, carries_state=True, gives_pose=poses is not None)
    return DepthStream(family, {}, spec or WindowSpec(), settings or Settings())


def turned(degrees, x_m=0.0):
    """Return the pose (4, 4) of a camera turned about y and moved along x."""
    T, angle = np.eye(4), np.radians(degrees)
    T[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    T[0, 3] = x_m
    return T
