"""What a runtime computes, held against ONNX Runtime: whoever is off is not used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from depth_ros.runtime.onnx_graph import OnnxGraph

RUNS = 3    # on noise: a first run, the capture of the CUDA graph, its replay
# Largest rms of the difference to ONNX Runtime, per rms of the reference, and largest difference, per largest value. float32
# differs by the order of sums; half precision by 2^-11 per operation. The attention that TensorRT 10.3 to 10.7 gets wrong is
# off by the whole of the result.
RMS_LIMIT = {'fp32': 1e-3, 'fp16': 3e-2, 'bf16': 3e-2, 'int8': 3e-2}
MAX_LIMIT = {'fp32': 1e-2, 'fp16': 2e-1, 'bf16': 2e-1, 'int8': 2e-1}

Inputs = dict[str, np.ndarray]


class Compared:
    """Runs two graphs on what it is given, remembers how far they are apart, and goes on with what the reference says."""

    def __init__(self, graph: Any, reference: OnnxGraph) -> None:
        self.graph, self.reference, self.inputs = graph, reference, reference.inputs
        self.found = {name: {'rms': 0.0, 'max': 0.0} for name in reference.outputs}    # per output, the largest so far

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Return every output of the reference by name."""
        wanted = self.reference.run({name: np.asarray(inputs[name]) for name in self.inputs})
        got = self.graph.run(inputs)
        for name, errors in self.found.items():
            rms, largest = _difference(np.asarray(got[name]), wanted[name])
            errors.update(rms=max(errors['rms'], rms), max=max(errors['max'], largest))
        return wanted

    def refusal(self, precision: str) -> str:
        """Return what is beyond the limits of the `precision`, '' if nothing is."""
        rms, largest = RMS_LIMIT[precision], MAX_LIMIT[precision]
        return '; '.join(f'{name}: rms {errors["rms"]:.2g}, largest {errors["max"]:.2g} of the values; the limits are '
                         f'{rms:g} and {largest:g}' for name, errors in self.found.items()
                         if not (errors['rms'] <= rms and errors['max'] <= largest))


def compare(graph: Any, onnx: Path, precision: str, probes: Sequence[Inputs] = ()) -> tuple[dict[str, Any], str]:
    """Return (per output the largest relative errors against ONNX Runtime, what is beyond the limits or '').

    `graph` has static shapes and says them and its number formats; without `probes` it is shown noise.
    """
    both = Compared(graph, OnnxGraph(onnx))
    for given in probes or [_noise(graph, seed) for seed in range(RUNS)]:
        both.run(given)
    return both.found, both.refusal(precision)


def _noise(graph: Any, seed: int) -> Inputs:
    """Return normal noise for every input of real numbers, zeros for the others: those are places and counts."""
    random = np.random.default_rng(seed)
    return {name: (random.standard_normal(shape) if graph.dtypes[name].kind == 'f' else np.zeros(shape)).astype(
        graph.dtypes[name]) for name, shape in graph.inputs.items()}


def _difference(got: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """Return rms and largest difference, each in units of the reference's; infinite where the finite values differ."""
    got, wanted = got.astype(np.float64), wanted.astype(np.float64)
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(got)):
        return float('inf'), float('inf')
    off, wanted = (got - wanted)[finite], wanted[finite]
    if not off.size:
        return 0.0, 0.0
    tiny = np.finfo(np.float32).tiny
    return (float(np.sqrt(np.mean(off ** 2)) / max(np.sqrt(np.mean(wanted ** 2)), tiny)),
            float(np.abs(off).max() / max(np.abs(wanted).max(), tiny)))
