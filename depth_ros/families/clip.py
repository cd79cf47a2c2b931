"""A made clip, always the same: what a family feeds its graphs, for those who write them to files or compare runtimes."""

from collections import deque
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Clip
from depth_ros.families.family import Family, Graph


def run_on_clip(family: Family, graphs: Mapping[str, Graph], size: tuple[int, int], lengths: Iterable[int]) -> None:
    """Run the family on windows of these `lengths`, so that every graph is called as it is going to be.

    A live stream's first frame has no past, its second has: two runs. `size` is (h, w) that the network sees.
    """
    (h, w), state = size, None
    camera = Camera(h, w, w, w, (w - 1) / 2, (h - 1) / 2)
    for length in lengths:
        state = None
        for start in range(2 if length == 1 and family.carries_state else 1):
            pictures = [family.shrink(picture(start + number), size) for number in range(length)]
            _, state = family.infer(graphs, Clip(np.stack(pictures), tuple(range(start, start + length)), camera), state)


class Recorder:
    """A graph that remembers what it was last given."""

    def __init__(self, graph: Graph, most: int = 3) -> None:
        self.graph, self.inputs = graph, graph.inputs
        self.calls: deque[dict[str, np.ndarray]] = deque(maxlen=most)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every output by name."""
        self.calls.append(dict(inputs))
        return self.graph.run(inputs)

    def open_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the last inputs where the network leaves them open."""
        return {name: value.shape for name, value in (self.calls[-1] if self.calls else {}).items()
                if any(not isinstance(size, int) for size in self.inputs[name])}


def picture(number: int) -> np.ndarray:
    """Return a picture (120, 160, 3) uint8 of soft blobs that move with `number`."""
    noise = np.random.default_rng(0).random((160, 240, 3), np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 6)
    texture = (255 * (soft - soft.min()) / np.ptp(soft)).astype(np.uint8)
    start = number % 80
    return np.ascontiguousarray(texture[:120, start: start + 160])
