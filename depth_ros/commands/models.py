"""`depth_ros models`: what the families are and may be used for; whether a weights file fits; getting the published ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depth_ros.errors import DepthRosError, SettingsError, WeightsError
from depth_ros.settings import Settings, build

if TYPE_CHECKING:
    from depth_ros.families.family import Family

NON_COMMERCIAL = '-NC'    # in the names of the licences


def models(
    action: Annotated[str, typer.Argument(help='list, check or get')] = 'list',
    what: Annotated[str, typer.Argument(help='the FILE (or folder of files) to check, or the family to get')] = '',
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
        print(f'    licence: code {family.licence_code}, weights {_marked(family.licence_weights)}')
        for variant in family.variants or ('',):
            _print_network(load_family(build({'family': name, 'model.variant': variant})), variant)


def _print_network(family: 'Family', variant: str) -> None:
    from depth_ros.families.files import where
    from depth_ros.pipeline import needed_bytes

    if not family.network:
        return
    parameters = sum(file.kept * file.parameters for file in family.network.files.values())
    memory = needed_bytes(family, family.offline, parameters)
    print(f'    {variant}{": " if variant else ""}{parameters / 1e6:.0f} M parameters, about {memory / 1e9:.1f} GB '
          f'in float32 for a window of 640x480; {"metres" if family.quantity.is_metric else "relative"}')
    for file in family.network.files.values():
        print(f'        {where(file)} ({_marked(file.licence)})')


def _marked(licence: str) -> str:
    return f'{licence}, NON-COMMERCIAL' if NON_COMMERCIAL in licence else licence


def _check(path: Path, settings: Settings) -> None:
    from depth_ros.families import load_family
    from depth_ros.pipeline import check_weights

    family = load_family(settings)
    difference = check_weights(family, path, settings.model.variant)
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
        print(f'{where(file)}: licence {_marked(file.licence)}, {file.parameters / 1e6:.0f} M parameters')
    for file in sorted(family.network.files.values(), key=lambda file: not file.repo):    # what the hub has comes first
        print(fetch(file))
