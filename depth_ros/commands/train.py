"""`depth_ros train`: train a network that this package ships."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from depth_ros.errors import InputError, SettingsError, need


def train(
    recipe: Annotated[str, typer.Option(help='lite, or the family whose weights are to be trained on.')] = 'lite',
    out: Annotated[Path, typer.Option(help='Folder of the run: data, checkpoint, log, the network.')] = Path('run'),
    weights: Annotated[
        str, typer.Option(help='For a family: where its weights are, as in the setting weights.')
    ] = '',
    steps: Annotated[int, typer.Option(min=1, help='For a family: steps of each stage.')] = 1000,
    corpus: Annotated[
        Path | None, typer.Option(help='Folder of photographs (images/, clips/); none: rendered scenes only.')
    ] = None,
    teachers: Annotated[Path | None, typer.Option(help='Folder with tcmonodepth*.onnx and fastdepth*.onnx.')] = None,
    scenes: Annotated[int, typer.Option(min=1, help='Scenes to render, once; about a second each on one core.')] = 1200,
    length: Annotated[float, typer.Option(min=0.001, help='Factor on the steps of every stage.')] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help='Seed of data and weights.')] = 0,
    threads: Annotated[int, typer.Option(min=1, help='Threads of the training; 1 where others need the cores.')] = 1,
    without: Annotated[
        list[str] | None, typer.Option(help='Leave an ingredient out: gem, temporal or lmr; repeatable.')
    ] = None,
    scratch: Annotated[bool, typer.Option('--scratch', help='Start from nothing instead of an ImageNet encoder.')] = False,
    start: Annotated[
        Path | None, typer.Option(help='Take only the last stage, on clips, from this checkpoint.pt or lite.onnx.')
    ] = None,
    commit: Annotated[str, typer.Option(help='Commit of the code, for the file to name.')] = 'unknown',
) -> None:
    """Train the shipped network, going on where the same folder left off; or train the weights of a family on."""
    from depth_ros.training import FAMILIES, RECIPES

    if recipe in FAMILIES:
        print(f'wrote {_train_on(recipe, weights, out, scenes, steps, seed, threads)}')
        return
    if recipe not in RECIPES:
        raise SettingsError(f'recipe={recipe!r} is unknown; there is: {", ".join((*RECIPES, *FAMILIES))}')
    if corpus and not (corpus / 'images').is_dir():
        raise InputError(f'{corpus} has no folder images/; give a folder of photographs with --corpus, or none')
    for package in ('torch', 'onnx', 'matplotlib'):
        need(package, "pip install 'depth_ros[train]'")
    module, function = RECIPES[recipe].split(':')
    out.mkdir(parents=True, exist_ok=True)
    path = getattr(import_module(module), function)(
        out, corpus, teachers, scenes, length, seed, threads, without or (), not scratch, start, commit
    )
    print(f'wrote {path}')


def _train_on(name: str, weights: str, out: Path, scenes: int, steps: int, seed: int, threads: int) -> Path:
    from depth_ros.families import files, load_family
    from depth_ros.settings import build

    need('torch', "pip install 'depth_ros[train]'")
    from depth_ros.training.recipes import load_recipe
    from depth_ros.training.recipes.recipe import train

    family, recipe = load_family(build({'family': name, 'weights': weights})), load_recipe(name)
    if family.quantity != recipe.quantity:
        raise SettingsError(f'these weights of {name} give {family.quantity.value}, the recipe is for those that give '
                            f'{recipe.quantity.value}; give the others')
    paths = files.locate(family, weights)
    out.mkdir(parents=True, exist_ok=True)
    return train(recipe, paths, out, scenes, steps, seed, threads)
