"""`depth_ros models`: the families, what they give and may be used for; whether a weights file fits; fetching the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depth_ros.errors import DepthRosError, SettingsError, WeightsError
from depth_ros.settings import Settings, build

if TYPE_CHECKING:
    from depth_ros.families.family import Family

NON_COMMERCIAL = 'NC'    # in the names of the licences


def models(
    action: Annotated[str, typer.Argument(help='list, check or get')] = 'list',
    what: Annotated[str, typer.Argument(help='the FILE to check, or the family to get')] = '',
    family: Annotated[str, typer.Option(help='the family that the file is for')] = '',
    variant: Annotated[str, typer.Option(help='size or kind, as in the setting model.variant')] = '',
) -> None:
    """List the model families, check a weights file, or get the published weights."""
    if action == 'list':
        _list()
    elif action == 'check' and what and family:
        _check(Path(what), build({'family': family, 'model.variant': variant}))
    elif action == 'get' and what:
        _get(build({'family': what, 'model.variant': variant}))
    else:
        raise SettingsError('use it as: depth_ros models, depth_ros models check FILE --family X, or depth_ros models get X')


def _list() -> None:
    from depth_ros.families import TABLE, load_family

    for name, summary in TABLE.items():
        print(f'{name}: {summary}')
        try:
            family = load_family(build({'family': name}))
        except DepthRosError as error:
            print(f'    {error}')
            continue
        gives = [family.quantity.value + (', in metres' if family.quantity.is_metric else ', not in metres'),
                 *(['pose'] if family.gives_pose else []),
                 *([f'embedding of {family.embedding_dim}'] if family.embedding_dim else [])]
        print(f'    gives {", ".join(gives)}')
        print(f'    window {family.offline.length}, lag {family.offline.lag} frames; '
              f'live window {family.live.length}, lag {family.live.lag} frames')
        if not family.network:
            print(f'    licence: code {family.licence_code}, weights {family.licence_weights}')
        for variant in family.variants or ('',):
            for line in _files(load_family(build({'family': name, 'model.variant': variant}))):
                print(f'    {variant}{": " if variant else ""}{line}')


def _files(family: 'Family') -> list[str]:
    from depth_ros.families.files import where
    from depth_ros.pipeline import needed_bytes

    if not family.network:
        return []
    parameters = sum(file.kept * file.parameters for file in family.network.files.values())
    memory = needed_bytes(family, family.offline.length, parameters)
    lines = [f'{"metres" if family.quantity.is_metric else "relative"}, {parameters / 1e6:.0f} M parameters, about '
             f'{memory / 1e9:.1f} GB in float32 for a window of 640x480; code {family.licence_code}']
    for role, file in family.network.files.items():
        marked = f'{file.licence} (non-commercial)' if NON_COMMERCIAL in file.licence else file.licence
        lines.append(f'{role} {file.name or "(folder)"}, licence {marked}: {where(file)}')
    return lines


def _check(path: Path, settings: Settings) -> None:
    from depth_ros.families import load_family
    from depth_ros.pipeline import check_weights

    family = load_family(settings)
    difference = check_weights(family, path)
    if difference:
        raise WeightsError(f'{path.name} does not fit {family.name}: {difference}')
    print(f'{path.name} fits {family.name}')


def _get(settings: Settings) -> None:
    from depth_ros.families import load_family
    from depth_ros.families.files import fetch, where

    family = load_family(settings)
    if not family.network:
        raise SettingsError(f'{family.name} has no weights to get; `depth_ros models` lists the families that do')
    for file in family.network.files.values():
        print(f'{where(file)}: licence {file.licence}, {file.parameters / 1e6:.0f} M parameters')
    for file in family.network.files.values():
        print(fetch(file))
