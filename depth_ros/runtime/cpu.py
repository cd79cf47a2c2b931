"""What the processor has to offer: cores, memory, arithmetic in 16 bits."""

import os
from pathlib import Path

CPUINFO = Path('/proc/cpuinfo')
BF16 = {'amx_bf16', 'avx512_bf16', 'bf16'}    # what processors that multiply in bfloat16 say of themselves


def cores(asked: int) -> int:
    """Return the threads of one inference: as many as `asked` for; 0: all cores but one, at least one."""
    return asked or max(1, (os.cpu_count() or 2) - 1)


def bf16_units() -> list[str]:
    """Return what multiplies in bfloat16 here, faster than in float32; empty: nothing does, or the system does not say."""
    return sorted(BF16 & set(CPUINFO.read_text().split())) if CPUINFO.exists() else []


def free_bytes() -> float:
    """Return the memory that this process may still take; infinity where the system does not say."""
    free = [float('inf')]
    meminfo, limit, used = (Path(name) for name in (
        '/proc/meminfo', '/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory.current'))
    if meminfo.exists():
        lines = meminfo.read_text().splitlines()
        free += [1024.0 * int(line.split()[1]) for line in lines if line.startswith('MemAvailable')]
    if limit.exists() and used.exists() and (text := limit.read_text().strip()) != 'max':
        free.append(float(text) - float(used.read_text()))
    return min(free)
