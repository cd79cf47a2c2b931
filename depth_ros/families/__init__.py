"""The model families: what each is (a `Family`) and how its graphs are called.

A new family is one file here with a function `family(weights) -> Family`, and one row in the table.
"""

from importlib import import_module

from depth_ros.errors import SettingsError
from depth_ros.families.family import Family

TABLE = {
    'lite': 'the shipped network: streaming, one frame in, one frame out, with pose',
    'onnx': 'your own single-picture network, described in a YAML file',
}


def load_family(name: str, weights: str = '') -> Family:
    """Return the record of the family `name`, with `weights` in place of the shipped ones where given.

    Raises SettingsError for a name that is not in the table.
    """
    if name not in TABLE:
        raise SettingsError(f'unknown family {name!r}; known: {", ".join(TABLE)}')
    return import_module(f'depth_ros.families.{name}').family(weights)
