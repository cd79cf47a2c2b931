"""A graph run by OpenVINO on the CPU."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.errors import BackendError, InputError, MissingDependency, need
from depth_ros.runtime.cpu import cores

FORMATS = {'fp32': 'f32', 'bf16': 'bf16'}    # as OpenVINO calls them


class OpenVinoGraph:
    """Runs one ONNX file with fixed threads, in float32 or, where the processor multiplies in it, bfloat16."""

    def __init__(self, path: Path, threads: int = 0, precision: str = 'fp32') -> None:
        """Open `path`; `threads` 0 means all cores but one, `precision` is fp32 or bf16.

        Ask for bf16 only where the processor multiplies in it: elsewhere OpenVINO 2026.4 damages the memory of the process.

        Raises BackendError with OpenVINO's reason if it cannot, or without openvino.
        """
        try:
            openvino = need('openvino', "pip install 'depth_ros[openvino]'")
        except MissingDependency as error:
            raise BackendError(str(error)) from error
        options = {'PERFORMANCE_HINT': 'LATENCY', 'INFERENCE_PRECISION_HINT': FORMATS[precision],
                   'INFERENCE_NUM_THREADS': cores(threads)}
        try:
            self.model = openvino.Core().compile_model(str(path), 'CPU', options)
        except RuntimeError as error:
            said = [line for line in str(error).splitlines() if line.strip() and not line.startswith('Exception from')]
            raise BackendError(f'OpenVINO cannot run {path.name}: {said[0] if said else error}') from error
        self.request = self.model.create_infer_request()
        self.inputs, self.outputs = _shapes(self.model.inputs), _shapes(self.model.outputs)

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every output by name. Raises InputError for other names or shapes, which OpenVINO would read beyond."""
        for name, shape in self.inputs.items():
            found = np.shape(inputs[name]) if name in inputs else ()
            if len(found) != len(shape) or any(isinstance(want, int) and want != got
                                               for want, got in zip(shape, found, strict=True)):
                raise InputError(f'{name} of the network is {shape}, given was {list(found)}; export it at that size')
        outputs = self.request.infer(inputs)
        return {name: np.array(outputs[name]) for name in self.outputs}


def _shapes(tensors: Iterable[Any]) -> dict[str, list[Any]]:
    """Return {name: shape} of a network's inputs or outputs, with words for the sides that are open."""
    return {tensor.any_name: [side.get_length() if side.is_static else str(side) for side in tensor.partial_shape]
            for tensor in tensors}
