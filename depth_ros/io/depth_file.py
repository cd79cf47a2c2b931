"""Depth as a folder of arrays: `map_000000.npy` and so on, `frames.jsonl` with one line per frame."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.core.frame import DepthFrame
from depth_ros.io.output import FRAMES_FILE, writing


class DepthFolder:
    """Writes depth frames into a new folder. The same frames give the same bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with writing(folder):
            folder.mkdir()
            self.lines = (folder / FRAMES_FILE).open('w', encoding='utf8')

    def add(self, depth: DepthFrame) -> None:
        """Write the map (H, W) float32, the metres where there are any, and the frame's line."""
        with writing(self.folder):
            np.save(self.folder / f'map_{depth.index:06d}.npy', depth.map)
            if depth.depth_m is not None:
                np.save(self.folder / f'depth_m_{depth.index:06d}.npy', depth.depth_m)
            self.lines.write(json.dumps(describe(depth)) + '\n')

    def close(self) -> None:
        """Finish the list of frames."""
        with writing(self.folder):
            self.lines.close()


def describe(depth: DepthFrame) -> dict[str, Any]:
    """Return what `frames.jsonl` says of a frame; what is not a number there is null."""
    metric = depth.depth_m is not None
    return {'index': depth.index, 'stamp_ns': depth.stamp_ns, 'file': f'map_{depth.index:06d}.npy',
            'depth_m_file': f'depth_m_{depth.index:06d}.npy' if metric else None,
            'quantity': depth.quantity.value,
            **_finite({'scale': depth.scale, 'shift': depth.shift, 'residual': depth.residual}),
            'held': depth.held, 'segment': depth.segment, 'anchor': _finite(asdict(depth.anchor)),
            **{name: None if matrix is None else matrix.tolist()
               for name, matrix in (('K', None if depth.camera is None else depth.camera.K), ('K_predicted', depth.K),
                                    ('T_world_cam', depth.T_world_cam), ('T_metric_cam', depth.T_metric_cam))}}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in values.items()}
