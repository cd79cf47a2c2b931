"""What can go wrong, as few kinds as a caller can act on. Every message is one sentence with the remedy."""

import importlib
from types import ModuleType


class DepthRosError(Exception):
    """Root of all errors that this package raises on purpose."""


class SettingsError(DepthRosError):
    """A setting is unknown, of the wrong type or outside its limits."""


class InputError(DepthRosError):
    """A picture, message, camera or recording cannot be used."""


class OutputError(DepthRosError):
    """A result cannot be written."""


class WeightsError(DepthRosError):
    """A network file is missing, damaged, or not what was described."""


class BackendError(DepthRosError):
    """What would run a network best cannot run it here; the next backend can."""


class MissingDependency(DepthRosError):
    """An optional package is needed here and not installed."""


def need(module: str, remedy: str) -> ModuleType:
    """Return the imported optional `module`, or raise MissingDependency naming the `remedy`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(f'{module} is needed here; install it with: {remedy}') from error
