"""The contract of a model family: a frozen record of facts and one function."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from depth_ros.core.frame import Quantity
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
    """Network size for a picture: fixed, or the short side scaled to `short_side_px`, in multiples."""

    multiple_px: int = 1
    short_side_px: int = 0
    fixed: tuple[int, int] | None = None      # (h, w)
    long_side_px: int = 0                     # 0: no limit

    def __call__(self, height: int, width: int) -> tuple[int, int]:
        """Return (h, w) for a picture of `height` x `width`."""
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


Infer = Callable[[Mapping[str, Graph], np.ndarray, Any], tuple[Prediction, Any]]


@dataclass(frozen=True)
class Family:
    """One model family. `infer(graphs, rgb, state)` takes (T, h, w, 3) uint8 and returns (Prediction, next state)."""

    name: str
    quantity: Quantity
    size: SizeRule
    infer: Infer
    offline: WindowSpec = WindowSpec()
    live: WindowSpec = WindowSpec(live=True)
    carries_state: bool = False               # the state holds the scale: one frame in, one frame out
    gives_pose: bool = False
    embedding_dim: int = 0                    # D, 0: none
    embedding_meaning: str = ''
    graphs: Mapping[str, GraphFile] = field(default_factory=dict)
    licence_code: str = 'Apache-2.0'
    licence_weights: str = ''
