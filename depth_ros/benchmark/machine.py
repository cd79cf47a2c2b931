"""The machine that a figure was measured on, and the memory that this process takes."""

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

MODULES = ('numpy', 'cv2', 'onnxruntime', 'torch', 'tensorrt', 'tensorrt_rtx')
SIMD = ('amx_tile', 'avx512f', 'avx2', 'avx', 'sse4_2', 'sve', 'asimd')    # best first, as /proc/cpuinfo calls them


def describe() -> dict[str, Any]:
    """Return what this runs on: processor, cores, SIMD level, memory [GB], GPU with driver and memory, versions."""
    said = _fields(Path('/proc/cpuinfo'))
    flags = (said.get('flags') or said.get('Features') or '').split()
    memory_kb = _fields(Path('/proc/meminfo')).get('MemTotal', '').split()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return {
        'cpu': said.get('model name') or _board() or platform.processor() or platform.machine(),
        'architecture': platform.machine(), 'cores': usable,
        'simd': next((name for name in SIMD if name in flags), ''),
        'memory_gb': round(int(memory_kb[0]) / 1e6, 1) if memory_kb else None,
        'gpu': _gpu(), 'system': f'{platform.system()} {platform.release()}',
        'versions': {'python': platform.python_version(), **_versions()},
    }


def in_words(said: dict[str, Any]) -> str:
    """Return a description of `describe` in one line."""
    versions = ', '.join(f'{name} {version}' for name, version in said['versions'].items())
    return (f'{said["cpu"]} ({said["architecture"]}, {said["simd"] or "SIMD unknown"}), {said["cores"]} cores, '
            f'{said["memory_gb"]} GB; {said["gpu"] or "no NVIDIA GPU"}; {versions}')


def machine() -> str:
    """Return what this runs on, in a few words."""
    return f'{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}'


def memory_mb(peak: bool = False) -> float | None:
    """Return the memory that this process holds, or the most that it ever held [MB]; None where the system does not say."""
    held = _fields(Path('/proc/self/status')).get('VmHWM' if peak else 'VmRSS', '').split()
    return int(held[0]) * 1024 / 1e6 if held else None


def gpu_peak_mb() -> float | None:
    """Return the most GPU memory that torch ever held in this process [MB]; None where it used no GPU."""
    torch = sys.modules.get('torch')
    if torch is None or not torch.cuda.is_initialized():
        return None
    return float(torch.cuda.max_memory_allocated() / 1e6)


def _fields(path: Path) -> dict[str, str]:
    """Return {name: text} of the first lines "name: text" of each name in a file of /proc; {} where there is none."""
    try:
        lines = [line.partition(':') for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {name.strip(): text.strip() for name, _, text in reversed(lines)}


def _board() -> str:
    try:    # on a Jetson
        return Path('/proc/device-tree/model').read_text().rstrip('\0')
    except OSError:
        return ''


def _gpu() -> str:
    """Return name, driver and memory of the NVIDIA GPUs; '' where there is none."""
    query = ['nvidia-smi', '--query-gpu=name,driver_version,memory.total', '--format=csv,noheader']
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ''
    return '; '.join(said.stdout.strip().splitlines()) if said.returncode == 0 else ''


def _versions() -> dict[str, str]:
    """Return the versions of what is installed; nothing is imported for it, for that takes memory."""
    packages = metadata.packages_distributions()
    return {name: metadata.version(packages[name][0]) for name in MODULES if name in packages}
