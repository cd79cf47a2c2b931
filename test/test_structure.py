"""Imports point inwards, and starting costs nothing."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from depth_ros.families import TABLE

ROOT = Path(__file__).parents[1] / 'depth_ros'
HEAVY = {'torch', 'rclpy', 'onnxruntime', 'rosbags', 'tensorrt', 'tensorrt_rtx', 'cuda', 'typer', 'rich', 'scipy', 'evo',
         'transformers', 'diffusers', 'safetensors', 'huggingface_hub'}
HOSTS = {'transformers', 'diffusers'}    # of networks that we do not write again
ALLOWED = {    # folder -> what of ours, and which heavy packages, its files may import
    'core': ({'core', 'errors', 'settings'}, set()),
    'families': ({'core', 'families', 'errors', 'settings', 'models'}, set()),
    'models': ({'models', 'errors'}, {'torch'} | HOSTS),
    'runtime': ({'runtime', 'errors'}, {'onnxruntime', 'torch', 'tensorrt'}),
    'io': ({'io', 'core', 'errors', 'settings'}, {'rosbags'}),
    'ros': ({'ros', 'io', 'core', 'families', 'errors', 'settings', 'pipeline'}, {'rclpy'}),
    'evaluation': ({'evaluation', 'io', 'core', 'errors', 'settings'}, set()),
    'training': ({'training', 'models', 'core', 'errors'}, {'torch', 'onnxruntime'}),
}


def imports(path):
    """Yield the modules that a file imports, but for those that only a type checker sees."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and 'TYPE_CHECKING' in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ([f'{node.module}.{alias.name}' for alias in node.names] if node.module == 'depth_ros'
                        else [node.module])


@pytest.mark.parametrize('folder', ALLOWED)
def test_a_folder_imports_only_what_it_may(folder):
    ours, heavy = ALLOWED[folder]
    broken = []
    for path in (ROOT / folder).rglob('*.py'):
        for name in imports(path):
            first, *rest = name.split('.')
            if (first == 'depth_ros' and rest and rest[0] not in ours) or (first in HEAVY - heavy):
                broken.append(f'{path.relative_to(ROOT)}: {name}')
    assert not broken, '\n'.join(broken)


def test_nobody_but_ros_imports_rclpy_and_nobody_but_pipeline_and_engines_join_families_and_runtime():
    for path in ROOT.rglob('*.py'):
        names = set(imports(path))
        folder = path.relative_to(ROOT).parts[0]
        assert folder == 'ros' or not any(name.split('.')[0] == 'rclpy' for name in names), path
        runs = any(name.startswith('depth_ros.runtime') for name in names)
        assert not runs or folder in ('runtime', 'pipeline.py', 'engines.py') or path.name == 'build_engine.py', path
        assert path.name != 'build_engine.py' or not any(name.startswith('depth_ros.families') for name in names), path


def test_the_family_names_appear_only_in_families():
    for path in ROOT.rglob('*.py'):
        if path.relative_to(ROOT).parts[0] in ('families', 'models', 'training', 'settings.py'):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                assert not set(TABLE) & {c.value for c in ast.walk(node) if isinstance(c, ast.Constant)}, path


def test_help_and_import_load_nothing_heavy():
    code = ('import sys, depth_ros, depth_ros.commands as c; c.main(["--help"]);'
            f'assert not {HEAVY | {"cv2", "numpy"}} & set(sys.modules), sorted(sys.modules)')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT.parent,
                            env={**os.environ, 'PYTHONPATH': str(ROOT.parent)})
    assert result.returncode == 0, result.stderr
    assert 'process' in result.stdout
