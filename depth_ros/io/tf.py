"""Where frames sit, from the messages on /tf and /tf_static.

tf2 would bring ROS along; recordings are read without any, and this much serves the live node just as well.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from depth_ros.core.pose import rotation
from depth_ros.errors import InputError
from depth_ros.io.messages import stamp_ns

HISTORY_NS = 10_000_000_000    # so much of a moving transform is kept, as tf2 does


class UnknownTransform(InputError):
    """Frames are not connected, or not at that time."""


@dataclass
class _Edge:
    """A frame in its parent: poses by stamp, or one pose for ever."""

    parent: str
    static: bool
    stamps: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)    # T_parent_child (4, 4)

    def add(self, stamp: int, pose: np.ndarray) -> None:
        if self.static:
            self.stamps, self.poses = [stamp], [pose]
            return
        if self.stamps and stamp < self.stamps[-1] - HISTORY_NS:
            return
        at = bisect_left(self.stamps, stamp)
        same = at < len(self.stamps) and self.stamps[at] == stamp
        self.stamps[at:at + same], self.poses[at:at + same] = [stamp], [pose]
        old = bisect_left(self.stamps, self.stamps[-1] - HISTORY_NS)
        del self.stamps[:old], self.poses[:old]

    def at(self, stamp: int, child: str) -> np.ndarray:
        """Return T_parent_child (4, 4) at a time; between two poses it moves and turns evenly."""
        if self.static:
            return self.poses[0]
        early_s, late_s = (self.stamps[0] - stamp) / 1e9, (stamp - self.stamps[-1]) / 1e9
        if early_s > 0 or late_s > 0:
            when = f'begins {early_s:.3f} s after' if early_s > 0 else f'ends {late_s:.3f} s before'
            raise UnknownTransform(f'the transform from {child!r} to {self.parent!r} {when} it is asked for')
        at = bisect_left(self.stamps, stamp)
        if self.stamps[at] == stamp:
            return self.poses[at]
        T, T_next = self.poses[at - 1:at + 1]
        share = (stamp - self.stamps[at - 1]) / (self.stamps[at] - self.stamps[at - 1])
        turn = cv2.Rodrigues(T[:3, :3].T @ T_next[:3, :3])[0]    # axis * angle
        between = T + share * (T_next - T)
        between[:3, :3] = T[:3, :3] @ cv2.Rodrigues(share * turn)[0]
        return between


class TransformTree:
    """The frames that are known and how they move."""

    def __init__(self) -> None:
        self.edges: dict[str, _Edge] = {}    # by child

    def add(self, transforms: Iterable[Any], static: bool = False) -> None:
        """Take geometry_msgs/TransformStamped messages; static ones stay for ever, of moving ones the last 10 s.

        Raises InputError for one that is not finite, has no rotation, or would close a loop; those before it are taken.
        """
        for item in transforms:
            parent, child = clean(item.header.frame_id), clean(item.child_frame_id)
            name = f'the transform from {child!r} to {parent!r}'
            pose = read_matrix(item.transform.translation, item.transform.rotation, name)
            if child in self._line(parent):
                raise InputError(f'{name} would close a loop and was left out; find out who publishes it')
            edge = self.edges.get(child)
            if edge is None or (edge.parent, edge.static) != (parent, static):
                edge = self.edges[child] = _Edge(parent, static)
            edge.add(stamp_ns(item.header), pose)

    def lookup(self, target: str, source: str, stamp: int) -> np.ndarray:
        """Return T_target_source (4, 4) float64, which brings points of the frame `source` into the frame `target`.

        Raises UnknownTransform, an InputError, if the frames are not connected, or not at that time [ns].
        """
        target, source = clean(target), clean(source)
        up, other = self._line(source), self._line(target)
        if not self.connected(target, source):
            known = ', '.join(sorted({*self.edges, *(edge.parent for edge in self.edges.values())})) or 'none'
            raise UnknownTransform(f'no transform from {source!r} to {target!r} (known frames: {known})')
        common = next(frame for frame in up if frame in other)
        T_target_common = np.linalg.inv(self._chain(other[:other.index(common)], stamp))
        matrix: np.ndarray = T_target_common @ self._chain(up[:up.index(common)], stamp)
        return matrix

    def connected(self, target: str, source: str) -> bool:
        """Return whether there is a way between two frames, be it at another time."""
        return self._line(clean(source))[-1] == self._line(clean(target))[-1]

    def forget_moving(self) -> None:
        self.edges = {child: edge for child, edge in self.edges.items() if edge.static}

    def _line(self, frame: str) -> list[str]:
        """Return the frame and those above it."""
        line = [frame]
        while line[-1] in self.edges:
            line.append(self.edges[line[-1]].parent)
        return line

    def _chain(self, frames: list[str], stamp: int) -> np.ndarray:
        """Return T (4, 4) from the first of the frames to the parent of the last."""
        T = np.eye(4)
        for frame in frames:
            T = self.edges[frame].at(stamp, frame) @ T
        return T


def clean(frame_id: str) -> str:
    """Return a frame_id as ROS 2 writes it: without the slash that ROS 1 allowed before it."""
    return frame_id.lstrip('/')


def read_matrix(position: Any, orientation: Any, name: str) -> np.ndarray:
    """Return (4, 4) float64 of two messages. Raises InputError if they are no pose."""
    place = [position.x, position.y, position.z]
    turn = np.array([orientation.x, orientation.y, orientation.z, orientation.w], np.float64)
    length = float(np.linalg.norm(turn))
    if not np.isfinite(place).all() or not abs(length - 1) < 0.1:
        raise InputError(f'{name} is no pose (position {place}, quaternion of length {length:.3g}); correct who publishes '
                         'it')
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation(turn), place
    return T
