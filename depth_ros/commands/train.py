"""`depth_ros train`: train a network that this package ships."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from depth_ros.errors import SettingsError, need


def train(
    recipe: Annotated[str, typer.Option(help='What to train.')] = 'lite',
    out: Annotated[Path, typer.Option(help='Folder of the run: data, checkpoint, log.csv, lite.onnx.')] = Path('run'),
    corpus: Annotated[
        Path | None, typer.Option(help='Folder of photographs (images/, clips/); none: rendered scenes only.')
    ] = None,
    teachers: Annotated[Path | None, typer.Option(help='Folder with tcmonodepth*.onnx and fastdepth*.onnx.')] = None,
    minutes: Annotated[float, typer.Option(help='Training time, without preparing the data.')] = 60.0,
    render_minutes: Annotated[float, typer.Option(help='Time to render scenes, once.')] = 9.0,
    seed: Annotated[int, typer.Option(help='Seed of data and weights.')] = 0,
    threads: Annotated[int, typer.Option(help='Threads of the training; 1 where others need the cores.')] = 1,
    commit: Annotated[str, typer.Option(help='Commit of the code, for the file to name.')] = 'unknown',
) -> None:
    """Train a network; started again with the same folder, it goes on where it stopped."""
    from depth_ros.training import RECIPES

    if recipe not in RECIPES:
        raise SettingsError(f'recipe={recipe!r} is unknown; there is: {", ".join(RECIPES)}')
    need('torch', "pip install 'depth_ros[train]'")
    need('onnx', "pip install 'depth_ros[train]'")
    module, function = RECIPES[recipe].split(':')
    out.mkdir(parents=True, exist_ok=True)
    path = getattr(import_module(module), function)(
        out, corpus, teachers, minutes, render_minutes, seed, threads, commit
    )
    print(f'wrote {path}')
