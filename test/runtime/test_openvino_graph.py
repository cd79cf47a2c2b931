"""OpenVINO has a process of its own: one that has run it may crash when it starts others later, as training does."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest


def test_openvino_says_what_onnx_runtime_says_or_is_refused():
    pytest.importorskip('onnx')
    if not find_spec('openvino'):    # looked for, not loaded
        pytest.skip('OpenVINO is not installed: pip install openvino')
    said = subprocess.run([sys.executable, '-m', 'pytest', '-q', 'test/runtime/openvino_alone.py'], capture_output=True,
                          text=True, cwd=Path(__file__).parents[2])
    assert said.returncode == 0 and ' passed' in said.stdout and 'skipped' not in said.stdout, said.stdout[-3000:]
