"""The package as colcon and pip install it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from test.ros.rig import Rig

ROOT = Path(__file__).parents[2]
PARTS = ('depth_ros', 'launch', 'config', 'resource', 'package.xml', 'setup.py', 'setup.cfg', 'pyproject.toml')
WEIGHTS = sorted(path.name for path in (ROOT / 'depth_ros' / 'models' / 'weights').glob('*'))


@pytest.fixture(scope='module')
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace with a copy of the package in src/."""
    path = tmp_path_factory.mktemp('workspace')
    for part in PARTS:
        source, target = ROOT / part, path / 'src' / 'depth_ros' / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(source, target)
    return path


@pytest.fixture(scope='module')
def installed(workspace: Path) -> Path:
    """Return the prefix that `colcon build` installs to."""
    pytest.importorskip('colcon_ros', reason='pip install colcon-core colcon-ros colcon-python-setup-py')
    done = subprocess.run([sys.executable, '-m', 'colcon', 'build'], cwd=workspace, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace / 'install' / 'depth_ros'


def test_colcon_puts_every_file_where_ros_looks_for_it(installed: Path) -> None:
    for name in ('package.xml', 'launch/depth.launch.py', 'config/depth.yaml', 'config/depth.rviz',
                 'config/fastdds.xml', 'config/recipes/nav2_local_costmap.yaml'):
        assert (installed / 'share' / 'depth_ros' / name).is_file(), name
    assert (installed / 'share' / 'ament_index' / 'resource_index' / 'packages' / 'depth_ros').is_file()
    assert {path.name for path in (installed / 'lib' / 'depth_ros').iterdir()} == {'depth_node', 'depth_ros'}
    weights = installed.glob('lib/python*/site-packages/depth_ros/models/weights/*')
    assert sorted(path.name for path in weights) == WEIGHTS


def test_the_installed_node_starts_and_publishes(installed: Path, networks: dict[str, Path], tmp_path: Path) -> None:
    script = '. "$0"/local_setup.sh && cd / && exec "$0"/depth_ros/lib/depth_ros/depth_node "$@"'
    with Rig('installed', tmp_path, command=('sh', '-c', script, str(installed.parent)),
             weights=networks['metric']) as rig:
        rig.warm_up('depth/image', 'points')


def test_a_wheel_has_the_programs_and_the_weights(workspace: Path) -> None:
    pytest.importorskip('setuptools', minversion='70.1', reason='older ones need the package wheel to build wheels')
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation',
                    '--wheel-dir', '.', 'src/depth_ros'], cwd=workspace, check=True)
    wheel, = workspace.glob('depth_ros-*.whl')
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        programs, = (archive.read(name).decode() for name in names if name.endswith('entry_points.txt'))
    assert 'depth_ros = depth_ros.commands:main' in programs and 'depth_node = depth_ros.ros.depth_node:main' in programs
    assert sorted(name.rpartition('/')[2] for name in names if '/models/weights/' in name) == WEIGHTS
    assert any(name.endswith('share/depth_ros/launch/depth.launch.py') for name in names)
