"""The papers' families at a tiny size: pseudo-random weights under the published file and key names, one module per family.

Each has `write(folder)`, which returns what a user gives as `weights`, and `SETTINGS`, which make it quick.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

NAMES = sorted(module.name for module in iter_modules(__path__))


def write(name: str, folder: Path) -> Path:
    """Write the tiny checkpoint of a family into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return import_module(f'{__name__}.{name}').write(folder)


def settings_of(name: str) -> dict[str, object]:
    """Return the settings that the family runs with, by dotted name."""
    return {'threads': 1, **import_module(f'{__name__}.{name}').SETTINGS}
