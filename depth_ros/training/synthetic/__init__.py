"""A synthetic world with exact depth, pose, camera matrix and optical flow: scenes, camera paths, a renderer and a
sensor model.

Everything follows from a seed. A scene is a list of solids (boxes, balls, tubes, cut cones, and the inside of a box
for the walls of a room), from which curved wires and turned vases are put together; rays are intersected with them in
closed form, so depth is exact. Shadows come from a shadow map of the first light. There are no mirrors, no glass (a
window is a bright picture), no fog but haze, no indirect light.

Everything is numpy (cv2 only to sample pictures), not torch, because the demo renders without torch; a frame of
256x192 takes some 60 ms on one core.

World axes: x, y on the floor, z up. Camera axes: OpenCV (x right, y down, z forward), pixel centres at integers.
"""

from depth_ros.training.synthetic.flow import optical_flow
from depth_ros.training.synthetic.lens import look, make_K
from depth_ros.training.synthetic.living_room import room_sequence
from depth_ros.training.synthetic.paths import clearance, make_path
from depth_ros.training.synthetic.places import make_scene
from depth_ros.training.synthetic.rays import trace
from depth_ros.training.synthetic.render import render
from depth_ros.training.synthetic.scene import BALL, BOX, CONE, KINDS, NEAR_M, SHELL, TUBE, Scene, Solid
from depth_ros.training.synthetic.sensor import Sensor, expose, make_sensor
from depth_ros.training.synthetic.textures import Textures, default_bank, texture_bank

__all__ = [
    'BALL',
    'BOX',
    'CONE',
    'KINDS',
    'NEAR_M',
    'SHELL',
    'Scene',
    'Sensor',
    'Solid',
    'TUBE',
    'Textures',
    'clearance',
    'default_bank',
    'expose',
    'look',
    'make_K',
    'make_path',
    'make_scene',
    'make_sensor',
    'optical_flow',
    'render',
    'room_sequence',
    'texture_bank',
    'trace',
]
