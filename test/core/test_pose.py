"""Relative motions add up to a trajectory of proper rotations."""

import numpy as np
import pytest

from depth_ros.core.pose import chain


def test_four_quarter_turns_with_a_step_each_come_back():
    T_prev_cam = np.array([[0, 0, 1, 1], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1.0]])
    T = np.eye(4)
    for _ in range(4):
        T = chain(T, T_prev_cam)
    assert np.allclose(T, np.eye(4))


def test_a_rotation_in_float32_stays_a_rotation_over_many_frames():
    angle = 0.1
    step = np.eye(4, dtype=np.float32)
    step[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    T = np.eye(4)
    for _ in range(10_000):
        T = chain(T, step)
    assert T[:3, :3] @ T[:3, :3].T == pytest.approx(np.eye(3), abs=1e-12)
