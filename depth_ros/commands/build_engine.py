"""`depth_ros build-engine`: TensorRT engines of exported networks, made ahead of time."""

from pathlib import Path
from typing import Annotated

import typer

from depth_ros.errors import InputError


def build_engine(
    network: Annotated[Path, typer.Argument(help='ONNX file, or folder that `depth_ros export` has written')],
    force: Annotated[bool, typer.Option(help='Build again what is in the cache, also what was refused.')] = False,
) -> None:
    """Build the engines for the GPU of this machine, compare them with ONNX Runtime and put them into the cache."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from depth_ros.engines import build_engines
    from depth_ros.pipeline import exported_family
    from depth_ros.runtime.engine_cache import EngineCache, open_engine
    from depth_ros.runtime.tensorrt_graph import find_platform

    paths, family = onnx_files(network), exported_family(network)
    platform, cache = find_platform(), EngineCache()
    columns = BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn('{task.description}')
    with Progress(*columns) as bar:
        task = bar.add_task('reading', total=1.0)

        def show(what: str, share: float) -> None:
            bar.update(task, description=what, completed=share)

        if family:    # which is compared on what it feeds its graphs
            engines = build_engines(family, family.size(1, 1, None), show, force=force)
        else:
            engines = {path.stem: open_engine(path, force=force, progress=show, cache=cache, platform=platform)
                       for path in paths}
        show('', 1.0)
    for name, engine in engines.items():
        print(f'{name}.onnx: ready for {platform.title} on {platform.gpu.name}{engine.note and "; "}{engine.note}')
    print(f'engines are in {cache.folder}')


def onnx_files(network: Path) -> list[Path]:
    """Return the ONNX files meant; InputError if there are none."""
    paths = sorted(network.glob('*.onnx')) if network.is_dir() else [network] if network.is_file() else []
    if not paths:
        raise InputError(f'{network} is no ONNX file and no folder of them; `depth_ros export` writes one')
    return paths
