"""Every name of TensorRT that the source uses is there in each version that we serve, and in TensorRT-RTX.

`trt_names.json` holds the names of those versions, made of their bindings by `names_of`; the bindings are real wheels that
import without TensorRT itself once libraries of its name exist.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from test.runtime import fake_trt

HERE = Path(__file__).parent
TABLE = json.loads((HERE / 'trt_names.json').read_text())    # class.name -> versions
WHEELS = {'10.3.0': 'tensorrt-cu12-bindings', '10.13.3.9': 'tensorrt-cu13-bindings', '10.16.1.11': 'tensorrt-cu13-bindings',
          '11.4.0.106': 'tensorrt-cu13-bindings'}    # JetPack 6, 7.0, 7.2, desktop
RTX = '1.7.1.116'
RTX_ONLY = {'.ComputeCapability', 'IBuilderConfig.num_compute_capabilities', 'IBuilderConfig.set_compute_capability'}
CLASSES = {'': '', 'builder': 'Builder', 'network': 'INetworkDefinition', 'parser': 'OnnxParser', 'config': 'IBuilderConfig',
           'engine': 'ICudaEngine', 'context': 'IExecutionContext', 'runtime': 'Runtime', 'profile': 'IOptimizationProfile',
           'error': 'ParserError', 'tensor': 'ITensor', 'timing': 'ITimingCache'}    # name in the source -> what it is
INNER = ('ILogger', 'IProgressMonitor', 'NetworkDefinitionCreationFlag', 'BuilderFlag', 'MemoryPoolType', 'DataType',
         'TensorIOMode', 'ComputeCapability')
LIBRARIES, ENTRIES = ('nvinfer', 'nvonnxparser', 'nvinfer_plugin'), (
    'createInferBuilder_INTERNAL', 'createInferRefitter_INTERNAL', 'createInferRuntime_INTERNAL', 'initLibNvInferPlugins',
    'createNvOnnxParser_INTERNAL', 'createNvOnnxParserRefitter_INTERNAL', 'getPluginRegistry', 'getBuilderPluginRegistry',
    'getNvOnnxParserVersion')
LIST = f"""
import importlib, sys
trt = importlib.import_module(sys.argv[1])
for name in dir(trt):
    print('.' + name)
for name in {[*filter(None, CLASSES.values()), *INNER]!r}:
    for inner in dir(getattr(trt, name, None)):
        print(f'{{name}}.{{inner}}')
"""


def used():
    """Return Class.name of everything of TensorRT that the source mentions."""
    found = set()
    for file in ('build.py', 'tensorrt_graph.py'):
        for node in ast.walk(ast.parse((HERE.parents[1] / 'depth_ros' / 'runtime' / file).read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            text = ast.unparse(node)
            first, *rest = text.split('.')
            if first == 'trt' and rest != ['__version__'] and all(part.isidentifier() for part in rest):
                found.add('.' + rest[0])
                found |= {'.'.join(rest[:2])} if len(rest) > 1 else set()
            owner = text.rpartition('.')[0].rpartition('.')[2].lstrip('_')
            ours = first == 'platform' or '(' in text
            if owner in CLASSES and owner and not ours and not (owner == 'error' and node.attr not in ERRORS):
                found.add(f'{CLASSES[owner]}.{node.attr}')
    return {name for name in found if not name.endswith('.__init__')}


ERRORS = ('desc', 'node', 'node_name', 'node_operator')    # an exception is called `error` as well


def names_of(version, folder):
    """Return what the bindings of that version hold, or skip where they or a C compiler are not to be had."""
    if not shutil.which('cc'):
        pytest.skip('there is no C compiler for stub libraries')
    fetched = subprocess.run([sys.executable, '-m', 'pip', '-q', '--retries', '0', '--timeout', '5', 'download', '--no-deps',
                              '--only-binary', ':all:', '-d', folder, f'{WHEELS[version]}=={version}'],
                             capture_output=True, text=True)
    if fetched.returncode:
        reason = (fetched.stderr.strip().splitlines() or ['pip gives no reason'])[-1]
        pytest.skip(f'the bindings of TensorRT {version} cannot be fetched: {reason}')
    zipfile.ZipFile(next(folder.glob('*.whl'))).extractall(folder)
    (folder / 'stub.c').write_text('\n'.join(f'void *{name}(void) {{ return 0; }}' for name in ENTRIES))
    for library in LIBRARIES:
        name = f'lib{library}.so.{version.split(".")[0]}'
        subprocess.run(['cc', '-shared', '-fPIC', f'-Wl,-soname,{name}', '-o', folder / name, folder / 'stub.c'], check=True)
    return listed('tensorrt_bindings', {'LD_LIBRARY_PATH': str(folder), 'PYTHONPATH': str(folder)})


def listed(module, environment=None):
    said = subprocess.run([sys.executable, '-c', LIST, module], capture_output=True, text=True, check=True,
                          env={**os.environ, **(environment or {})})
    return set(said.stdout.split())


@pytest.mark.parametrize('version', [*WHEELS, RTX])
def test_every_name_that_we_use_is_in_that_version(version):
    names = used()
    assert {'Builder.build_serialized_network', 'OnnxParser.parse_from_file', 'BuilderFlag.TF32', 'ParserError.desc',
            'IExecutionContext.execute_async_v3', 'Runtime.deserialize_cuda_engine', 'ILogger.Severity'} <= names
    missing = {name for name in names if version not in TABLE.get(name, ())}
    assert missing <= (set() if version == RTX else RTX_ONLY), missing


def test_the_fake_has_no_name_that_tensorrt_has_not():
    ours = {'trt', 'logger', 'session', 'reads', 'tensors', 'shapes', 'engine', 'addresses', 'told', 'compute', 'view'}
    for kind in (fake_trt.Runtime, fake_trt.ICudaEngine, fake_trt.IExecutionContext):
        for name in set(vars(kind)) - ours:
            if not name.startswith('_'):
                assert set(WHEELS) <= set(TABLE.get(f'{kind.__name__}.{name}', ())), name


def test_the_table_is_that_of_the_tensorrt_rtx_that_is_here():
    trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed: pip install tensorrt-rtx')
    if trt.__version__ != RTX:
        pytest.skip(f'the table is of TensorRT-RTX {RTX}')
    assert {name for name in TABLE if RTX in TABLE[name]} <= listed('tensorrt_rtx')


@pytest.mark.parametrize('version', WHEELS)
def test_the_table_is_that_of_the_bindings(version, tmp_path):
    names = names_of(version, tmp_path)
    assert {name for name in TABLE if version in TABLE[name]} == names & set(TABLE)
    assert used() - RTX_ONLY <= names


def write_table(folder):
    """Make `trt_names.json` again: the names that we use, and the versions that have them."""
    found = {RTX: listed('tensorrt_rtx')}
    for version in WHEELS:
        (folder / version).mkdir(parents=True)
        found[version] = names_of(version, folder / version)
    fake = {f'{kind.__name__}.{name}' for kind in (fake_trt.Runtime, fake_trt.ICudaEngine, fake_trt.IExecutionContext)
            for name in vars(kind)}
    table = {name: [version for version in (*WHEELS, RTX) if name in found[version]] for name in sorted(used() | fake)
             if any(name in names for names in found.values())}
    lines = [f' {json.dumps(name)}: {json.dumps(versions)}' for name, versions in table.items() if '__' not in name]
    (HERE / 'trt_names.json').write_text('{\n' + ',\n'.join(lines) + '\n}\n')
