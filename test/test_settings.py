"""Settings are checked at the door, and unknown names lead to the right one."""

from pathlib import Path

import pytest

from depth_ros.errors import SettingsError
from depth_ros.settings import Settings, build, flatten, options


def test_flat_names_build_settings_and_come_back():
    settings = build({'family': 'onnx', 'cloud.stride_px': 4, 'cloud.max_depth_m': 7})
    assert (settings.family, settings.cloud.stride_px, settings.cloud.max_depth_m) == ('onnx', 4, 7.0)
    assert build(flatten(settings)) == settings
    assert build({}) == Settings()


@pytest.mark.parametrize(('values', 'sentence'), [
    ({'cloud.strid_px': 2}, "unknown setting 'cloud.strid_px'; did you mean cloud.stride_px"),
    ({'zzz': 2}, 'known: family, weights'),
    ({'cloud.stride_px': 0}, 'cloud.stride_px=0: expected 1 to 32'),
    ({'cloud.stride_px': 1.5}, 'expected int'),
    ({'cloud.max_depth_m': float('nan')}, 'expected 0.1 to'),
    ({'node.autostart': 1}, 'expected bool'),
    ({'backend': 'tpu'}, 'expected one of auto, tensorrt, torch, onnx'),
])
def test_what_cannot_be_set_is_refused_in_one_sentence(values, sentence):
    with pytest.raises(SettingsError) as error:
        build(values)
    assert sentence in str(error.value) and '\n' not in str(error.value)


def test_every_setting_has_help_and_a_default_within_its_limits():
    for name, item in options():
        assert item.metadata['help'].endswith('.'), name
        assert build({name: item.default}) == Settings()


def row(name, item):
    """Return the line of the README table for a setting."""
    meta = item.metadata
    limits = ', '.join(f'`{choice}`' for choice in meta['choices'])
    if meta['low'] is not None:
        limits = f'{meta["low"]:g} to {meta["high"]:g}'
    default = str(item.default).lower() if isinstance(item.default, bool) else item.default
    return f'| `{name}` | {f"`{default}`" if default != "" else "empty"} | {limits} | {meta["help"]} |'


def test_the_readme_lists_every_setting_as_it_is():
    readme = (Path(__file__).parents[1] / 'README.md').read_text()
    wanted = '\n'.join(row(name, item) for name, item in options())
    assert wanted in readme, f'the table of settings in README.md should be:\n{wanted}'
