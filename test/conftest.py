"""What every test may need: where the real test data lies."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope='session')
def shared() -> Path:
    """Return the folder of real test data and public networks, or skip."""
    path = Path(os.environ.get('DEPTH_ROS_SHARED', Path(__file__).parents[2] / 'shared'))
    if not (path / 'data').is_dir():
        pytest.skip(f'real test data is not here: no {path}/data; set DEPTH_ROS_SHARED')
    return path
