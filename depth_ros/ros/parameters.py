"""ROS parameters derived from the settings: same names, defaults, limits and messages."""

from collections.abc import Iterable
from dataclasses import Field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from depth_ros.errors import SettingsError
from depth_ros.settings import Settings, build, check, flatten, options

NOT_OURS = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')    # rclpy declares these itself


def declare(node: Node) -> None:
    """Declare every setting as a parameter, with the values given on the command line or in a parameter file.

    Raises SettingsError for a name that is not a setting, and for a value outside its limits.
    """
    # rclpy silently ignores overrides of names that are never declared, and has no public way to list them.
    given = {name: item.value for name, item in node._parameter_overrides.items() if not name.startswith(NOT_OURS)}
    for name, item in options():
        if name in given:
            given[name] = _as_written(given[name], item.metadata['choices'])
    values = flatten(build(given))
    for name, item in options():
        node.declare_parameter(name, values[name], describe(item), ignore_override=True)


def _as_written(value: Any, choices: tuple[str, ...]) -> Any:
    """Return the choice that was written where YAML, as rcl reads it, takes the word for something else."""
    word = {True: 'on', False: 'off'}[value] if type(value) is bool else str(value)    # also inf and nan
    return word if word in choices else value


def describe(item: Field) -> ParameterDescriptor:
    """Return help, limits and choices of a setting as `ros2 param describe` shows them."""
    meta = item.metadata
    when = 'May change at any time.' if meta['live'] else 'Takes effect at the next configure.'
    choices = f' One of {", ".join(meta["choices"])}.' if meta['choices'] else ''
    descriptor = ParameterDescriptor(description=meta['help'], additional_constraints=when + choices)
    if meta['low'] is not None and type(item.default) is int:
        descriptor.integer_range = [IntegerRange(from_value=int(meta['low']), to_value=int(meta['high']), step=1)]
    elif meta['low'] is not None:
        low, high = float(meta['low']), float(meta['high'])
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    return descriptor


def read(node: Node) -> Settings:
    """Return the settings as the parameters stand now."""
    return build({name: node.get_parameter(name).value for name, _ in options()})


def judge(node: Node, changes: Iterable[Parameter], configured: bool) -> SetParametersResult:
    """Return whether these changes may be made now, else with the reason.

    Nothing is applied here: whoever uses a live setting reads it when it is used.
    """
    known = dict(options())
    ours = {change.name: change for change in changes if change.name in known}
    try:
        for name, change in ours.items():
            _check_change(node, change, known[name], configured)
        build({name: (ours.get(name) or node.get_parameter(name)).value for name in known})    # whether they go together
    except SettingsError as error:
        return SetParametersResult(successful=False, reason=str(error))
    return SetParametersResult(successful=True)


def _check_change(node: Node, change: Parameter, item: Field, configured: bool) -> None:
    check(change.name, item, change.value)
    # The same value again is fine: `ros2 param load` sends whole files.
    if configured and not item.metadata['live'] and change.value != node.get_parameter(change.name).value:
        raise SettingsError(f'{change.name} can only be set before configure; clean the node up first '
                            '(ros2 lifecycle set), or restart it')
