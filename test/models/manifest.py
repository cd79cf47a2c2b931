"""Key names and shapes of the published checkpoints."""

import ast
from pathlib import Path


def manifest(shared: Path, name: str, prefix: str = '') -> dict[str, tuple[int, ...]]:
    """Return {prefix + key: shape} of `checkpoints/<name>.txt`."""
    lines = (shared / 'checkpoints' / f'{name}.txt').read_text().splitlines()
    rows = (line.split('\t') for line in lines if line[0] != '#')
    return {prefix + key: ast.literal_eval(shape) for key, shape, _ in rows}
