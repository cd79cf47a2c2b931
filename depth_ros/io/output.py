"""Results appear under their name only when they are complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from depth_ros.errors import OutputError

FRAMES_FILE = 'frames.jsonl'    # marks a folder as ours


@contextmanager
def complete_or_nothing(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary path to write to; it becomes `path` when the block ends well, and vanishes if it raises.

    Raises OutputError if `path` exists and `overwrite` is false, or if its folder cannot be written to.
    """
    _check_free(path, overwrite)
    with writing(path):
        temporary = Path(mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    try:
        yield temporary / path.name
        with writing(path):
            _replace(temporary / path.name, path, temporary / 'old')
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace(new: Path, path: Path, old: Path) -> None:
    if not path.is_dir():
        os.replace(new, path)
        return
    path.rename(old)    # a folder can only be replaced by moving it away
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure of the file system inside the block into one OutputError with the name of `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f'cannot write {path.name}: {error.strerror or error}; '
                          'check free space and permissions, or choose another place') from error


def _check_free(path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise OutputError(f'cannot write {path}: the folder {path.parent} does not exist; create it first')
    if not path.exists():
        return
    if not overwrite:
        raise OutputError(f'{path} exists; choose another name or overwrite it with --overwrite')
    if path.is_dir() and any(path.iterdir()) and not (path / FRAMES_FILE).exists():
        raise OutputError(f'{path} is a folder with other things than depth frames in it; choose another name')
