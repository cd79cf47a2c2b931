"""The contract of a model family: a frozen record of facts and one function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip, Quantity
from depth_ros.core.window import WindowSpec


class Graph(Protocol):
    """A network as a runtime runs it: named arrays in, named arrays out."""

    inputs: dict[str, list[Any]]    # name -> shape, a word where it is free

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name."""
        ...


@dataclass(frozen=True)
class Prediction:
    """What a family says of one window, T frames of (h, w) network pixels."""

    maps: np.ndarray                          # (T, h, w) float32 in the family's quantity
    confidence: np.ndarray | None = None      # (T, h, w) float32, 0..1
    T_ref_cam: np.ndarray | None = None       # (T, 4, 4) float64; reference = first frame of the window, or of the
    #                                           stream for a family with carried state
    K: np.ndarray | None = None               # (T, 3, 3) float64, network pixels
    embedding: np.ndarray | None = None       # (T, D) float32


@dataclass(frozen=True)
class SizeRule:
    """Network size for a picture: fixed, or the short side scaled to `short_side_px`, in multiples, nearest first."""

    multiple_px: int = 1
    short_side_px: int = 0
    fixed: tuple[int, int] | None = None      # (h, w)
    long_side_px: int = 0                     # 0: no limit

    def __call__(self, height: int, width: int, camera: Camera | None = None) -> tuple[int, int]:
        """Return (h, w) for a picture of `height` x `width`; the camera does not matter."""
        if self.fixed:
            return self.fixed
        ratio = self.short_side_px / min(height, width)
        if self.long_side_px:
            ratio = min(ratio, self.long_side_px / max(height, width))
        m = self.multiple_px
        return max(m, round(height * ratio / m) * m), max(m, round(width * ratio / m) * m)


@dataclass(frozen=True)
class GraphFile:
    """Where a graph's weights lie and what they must be."""

    path: Path
    sha256: str = ''                          # '' where it is not known
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    data_sha256: str = ''                     # of the weights that lie beside it (`.data`), '' if they are inside
    resident: tuple[str, ...] = ()            # outputs that the family only carries: they may stay on the device


@dataclass(frozen=True)
class WeightsFile:
    """A published file of weights."""

    name: str                        # as published; '' stands for the whole repository (a folder)
    repo: str = ''                   # on the Hugging Face hub; '': see `page`
    page: str = ''                   # where to get it, if not on the hub
    licence: str = 'not stated'
    parameters: int = 0
    kept: float = 1.0                # share of them that stays in memory
    also: tuple[str, ...] = ()       # other names that it goes by
    sha256: str = ''                 # '' where it is not known


@dataclass(frozen=True)
class Network:
    """A torch network: which module of `depth_ros.models` builds it, from which files, and what it needs."""

    module: str
    files: Mapping[str, WeightsFile]                 # by role; the first is the main one
    options: Mapping[str, Any] = field(default_factory=dict)    # for the module's `open_graphs`
    half: str = 'fp16'               # number format on a GPU: fp16 or bf16, as the weights were trained
    bytes_per_px: float = 0.0        # peak memory of one inference per network pixel and frame, in float32,
    working_bytes_per_px: float = 0.0    # per network pixel, however many frames,
    live_bytes_per_px: float = 0.0       # and per network pixel for what a live stream carries along


def shrink_by_area(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 at the network `size` (h, w), each pixel the mean of those that it covers."""
    return cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA)


def enlarge(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the map (h, w) float32 at the picture's `size` (H, W), bilinear between pixel centres."""
    return cv2.resize(map, size[::-1], interpolation=cv2.INTER_LINEAR)


Size = Callable[[int, int, Camera | None], tuple[int, int]]
Resize = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
Infer = Callable[[Mapping[str, Graph], Clip, Any], tuple[Prediction, Any]]
Ask = Callable[[Mapping[str, Graph], Clip, str], tuple[Prediction, str]]


@dataclass(frozen=True)
class Family:
    """One model family. `infer(graphs, clip, state)` returns (Prediction, next state); the first state is None.

    `ask(graphs, clip, question)` returns (Prediction, answer) of one picture, from one pass.
    """

    name: str
    quantity: Quantity
    size: Size                                # (H, W, camera) -> network (h, w)
    infer: Infer
    ask: Ask | None = None                    # None: it knows no words
    shrink: Resize = shrink_by_area           # picture -> network size
    enlarge: Resize = enlarge                 # map -> picture size
    offline: WindowSpec = WindowSpec()
    live: WindowSpec = WindowSpec(live=True)
    presets: Mapping[int, WindowSpec] = field(default_factory=dict)    # offline windows that `length` alone asks for
    patch_px: int = 1                         # side of what the network sees as one; no picture is smaller
    longest: int = 1                          # frames that the network can see at once
    carries_state: bool = False               # the state holds the scale: one frame in, one frame out
    gives_pose: bool = False
    embedding_dim: int = 0                    # D, 0: none
    embedding_meaning: str = ''
    graphs: Mapping[str, GraphFile] = field(default_factory=dict)    # ONNX files,
    network: Network | None = None                                   # or a torch network
    variants: tuple[str, ...] = ()            # what the setting `model.variant` may be
    licence_code: str = 'Apache-2.0'
    licence_weights: str = ''

    def rolling(self, length: int, stride: int = 1) -> WindowSpec:
        """Return rolling windows for this family; those of a metric one are not fitted: metres need no fit to metres."""
        spec = WindowSpec.rolling(length, stride)
        return replace(spec, anchors=0) if self.quantity.is_metric else spec
