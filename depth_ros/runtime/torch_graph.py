"""A graph run by torch: a module whose `forward` takes named tensors and returns a dictionary of them."""

from typing import Any

import numpy as np

from depth_ros.errors import MissingDependency, SettingsError, need

HALF = {'fp16': 'float16', 'bf16': 'bfloat16'}


class TorchGraph:
    """Runs one module deterministically; arrays go in and come out as float32 or integers, whatever it computes in."""

    def __init__(self, module: Any, inputs: dict[str, list[Any]], device: str, dtype: Any) -> None:
        self.module = module
        self.inputs = inputs
        self.device = device
        self.dtype = dtype

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every output by name."""
        import torch

        with torch.inference_mode():
            outputs = self.module(**{name: self._placed(torch.from_numpy(np.ascontiguousarray(array)))
                                     for name, array in inputs.items()})
            return {name: value.float().cpu().numpy() if value.is_floating_point() else value.cpu().numpy()
                    for name, value in outputs.items()}

    def _placed(self, tensor: Any) -> Any:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else None)
