"""Key names and shapes of the published checkpoints."""

import ast
from pathlib import Path


def manifest(shared: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} of `checkpoints/<name>.txt`."""
    lines = (shared / 'checkpoints' / f'{name}.txt').read_text().splitlines()
    return {key: ast.literal_eval(shape) for key, shape, _ in (line.split('\t') for line in lines if line[0] != '#')}
