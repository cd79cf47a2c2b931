"""A box room with textured walls, seen by a pinhole camera: pictures and depth of known motion."""

from functools import cache

import cv2
import numpy as np

from depth_ros.core.camera import Camera, rays
from depth_ros.core.frame import Frame

CAMERA = Camera(240, 320, 260, 260, 159.5, 119.5)
HEIGHT_M = 1.2                                                                    # of the origin over the floor
WALLS = ((0, -3.0), (0, 3.0), (1, -2.0), (1, HEIGHT_M), (2, -4.0), (2, 8.0))    # axis of the normal, and where on it
TEXEL_M = 0.02
PERIOD_NS = 100_000_000


def pose(x=0.0, y=0.0, z=0.0, turn_deg=(0.0, 0.0, 0.0)):
    """Return T_world_cam (4, 4); world: x right, y down, z ahead, the floor at y = HEIGHT_M."""
    T = np.eye(4)
    T[:3, :3] = cv2.Rodrigues(np.radians(np.array(turn_deg, np.float64)))[0]
    T[:3, 3] = x, y, z
    return T


def see(T_world_cam):
    """Return the picture (H, W, 3) uint8 and the inverse depth (H, W) float32, 1/m."""
    xy = rays(CAMERA).astype(np.float64)
    ray = np.dstack((xy, np.ones(xy.shape[:2]))) @ T_world_cam[:3, :3].T          # (H, W, 3), world
    nearest, grey = np.full(xy.shape[:2], np.inf), np.zeros(xy.shape[:2], np.float32)
    for number, (axis, place) in enumerate(WALLS):
        with np.errstate(divide='ignore'):
            depth = (place - T_world_cam[axis, 3]) / ray[..., axis]
        here = (depth > 0) & (depth < nearest)
        hit = T_world_cam[:3, 3] + np.where(here, depth, 0)[..., None] * ray
        u, v = np.delete(hit, axis, axis=-1).astype(np.float32).transpose(2, 0, 1) / TEXEL_M
        seen = cv2.remap(texture(number), u % 1024, v % 1024, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        nearest, grey = np.where(here, depth, nearest), np.where(here, seen, grey)
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2), (1 / nearest).astype(np.float32)


@cache
def texture(number):
    noise = np.random.default_rng(number).normal(size=(1024, 1024)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 50 * noise / noise.std(), 0, 255)


def frame(rgb, number=0, measured=()):
    return Frame(rgb, number * PERIOD_NS, CAMERA, measured=measured)
