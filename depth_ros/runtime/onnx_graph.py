"""A graph run by ONNX Runtime on the CPU."""

from pathlib import Path

import numpy as np

from depth_ros.errors import WeightsError, need
from depth_ros.runtime.cpu import cores


class OnnxGraph:
    """Runs one ONNX file, deterministically: fixed threads, no spinning, the same kernels every time."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        """Open `path`; `threads` 0 means all cores but one.

        Raises WeightsError if the file is no ONNX network, MissingDependency without onnxruntime.
        """
        ort = need('onnxruntime', 'pip install onnxruntime')
        options = ort.SessionOptions()
        options.intra_op_num_threads = cores(threads)
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        try:
            self.session = ort.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
        except Exception as error:    # onnxruntime raises its own kinds, none of them public
            first = str(error).strip().splitlines()[0]
            raise WeightsError(f'{path} is not a network that ONNX Runtime can open ({first}); '
                               'fetch or export it again') from error
        self.inputs = {item.name: item.shape for item in self.session.get_inputs()}
        self.outputs = {item.name: item.shape for item in self.session.get_outputs()}
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map

    def run(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every output by name."""
        return dict(zip(self.outputs, self.session.run(None, inputs), strict=True))
