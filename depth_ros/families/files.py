"""Where the weights files of a family lie: where the user says, or in the cache of the Hugging Face hub."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from depth_ros.errors import MissingDependency, SettingsError, WeightsError, need
from depth_ros.families.family import Family, GraphFile, WeightsFile

HUB = 'https://huggingface.co'


def locate(family: Family, weights: str) -> dict[str, Path]:
    """Return the path of each of the family's files by role; `weights` is the main file, a folder with all, or ''.

    Files beside the main one may lie in the hub's cache instead. Raises WeightsError naming the file that is not there and
    where it is to be had.
    """
    assert family.network
    files = family.network.files
    if not weights:
        cached = {role: path for role, file in files.items() if (path := _cached(file))}
        if len(cached) < len(files):
            raise WeightsError(f'the weights of {family.name} are not on this machine; {how_to_get(family)}, or give the '
                               'path of yours with the setting weights')
        return cached
    given = Path(weights).expanduser()
    if not given.exists():
        raise WeightsError(f'there is no weights file {given}; {how_to_get(family)}')
    main = next(iter(files))
    folder = given if given.is_dir() else given.parent
    paths = {role: next((path for name in (file.name, *file.also) if (path := folder / name).exists()), folder / file.name)
             for role, file in files.items()}
    if given.is_file():
        paths[main] = given
    for role, path in paths.items():
        if path.exists():
            continue
        if role == main:
            raise WeightsError(f'{family.name} needs {files[role].name}, which is not in {folder}; give its path with the '
                               f'setting weights, or {how_to_get(family)}')
        if not (elsewhere := _cached(files[role])):
            raise WeightsError(f'{family.name} also needs {files[role].name} ({role}), which is not in {folder}; '
                               f'put it there, or {how_to_get(family)}')
        paths[role] = elsewhere
    return paths


def variant_of(files: Mapping[str, WeightsFile], asked: str, weights: str) -> str:
    """Return the variant, a key of `files`, that is asked for, else that `weights` are called after, else the first.

    Raises SettingsError for one that is not there, WeightsError for one that contradicts the name of the file.
    """
    if asked and asked not in files:
        raise SettingsError(f'model.variant={asked!r}: expected one of {", ".join(files)}')
    given = Path(weights).expanduser()
    called = [variant for variant, file in files.items()
              if weights and (given.name == file.name or (given / file.name).exists())]
    if asked and called and asked not in called:
        raise WeightsError(f'{given} is {" and ".join(called)}, asked for was model.variant={asked}; make them agree')
    return asked or (called or list(files))[0]


def where(file: WeightsFile) -> str:
    """Return the address of a published file."""
    if not file.repo:
        return file.page
    return f'{HUB}/{file.repo}' + (f'/resolve/main/{file.name}' if file.name else '')


def how_to_get(family: Family) -> str:
    """Return the remedy for missing files, as the end of a sentence."""
    return f'`depth_ros models get {family.name}` fetches the published files, `depth_ros models` says where they are'


def fetch(file: WeightsFile) -> Path:
    """Return the path of a published file in the hub's cache, downloaded (or its download resumed) and verified.

    Raises WeightsError where it is not on the hub, the hub cannot be reached or the file is damaged.
    """
    if not file.repo:
        raise WeightsError(f'{file.name} is not on the Hugging Face hub; download it from {file.page} and give its path '
                           'with the setting weights')
    hub = need('huggingface_hub', "pip install 'depth_ros[families]'")
    try:
        path = Path(hub.hf_hub_download(file.repo, file.name) if file.name else
                    hub.snapshot_download(file.repo, allow_patterns=['*.json', '*.safetensors']))
    except Exception as error:    # of the hub, of its HTTP library, of the system
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].split('. ')[0]
        raise WeightsError(f'{file.repo} on the Hugging Face hub cannot be reached ({first[:150]}); fetch {where(file)} on '
                           'another machine and give the path of the file with the setting weights') from error
    for part in sorted(path.glob('*.safetensors')) if path.is_dir() else [path]:
        content = part.resolve()    # the cache links to it, and calls what is large by its published sha256
        if len(content.name) == 64 and sha256(content) != content.name:
            content.unlink()
            part.unlink(missing_ok=True)
            raise WeightsError(f'{part.name} arrived damaged and was removed; run the command again')
    return path


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _cached(file: WeightsFile) -> Path | None:
    """Return where the hub's cache holds a published file, None if it does not."""
    if not file.repo:
        return None
    try:
        hub = need('huggingface_hub', "pip install 'depth_ros[families]'")
        found = (hub.try_to_load_from_cache(file.repo, file.name) if file.name else
                 hub.snapshot_download(file.repo, local_files_only=True))
    except (MissingDependency, FileNotFoundError):
        return None
    return Path(found) if isinstance(found, str) else None


def verify(paths: Mapping[str, Path], files: Mapping[str, WeightsFile] | Mapping[str, GraphFile]) -> dict[str, str]:
    """Return the sha256 of each file by role ('' for a folder), held against the published one where that is known.

    Raises WeightsError for a file that is not the published one.
    """
    found = {role: sha256(path) if path.is_file() else '' for role, path in paths.items()}
    for role, digest in found.items():
        wanted = files[role].sha256
        if wanted and digest and not digest.startswith(wanted.lower()):
            raise WeightsError(f'{paths[role]} is damaged or another file: sha256 {digest[:16]}..., expected '
                               f'{wanted[:16]}...; fetch it again')
    return found
