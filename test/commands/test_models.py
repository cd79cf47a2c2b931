"""`depth_ros models` says what a family is and may be used for, and whether a weights file fits."""

import os
import subprocess
import sys

import pytest

from depth_ros.errors import WeightsError
from depth_ros.families import TABLE
from test.families.tiny import NAMES, write


def depth_ros(*arguments, **environment):
    code = 'from depth_ros.commands import main; main()'
    return subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True, text=True,
                          env={**os.environ, **environment})


@pytest.fixture(scope='module')
def listing():
    said = depth_ros('models')
    assert said.returncode == 0, said.stderr
    return said.stdout


def test_every_family_is_listed_with_what_it_gives_its_window_and_its_licences(listing):
    for name in set(TABLE) - {'onnx'}:
        section = listing.split(f'\n{name}: ')[-1] if name != 'lite' else listing
        assert 'metres' in section and 'lag' in section and 'licence' in section, name
    assert 'NON-COMMERCIAL' in listing and 'https://huggingface.co/' in listing


def test_nothing_heavy_is_imported_to_list_the_families():
    code = ('import sys; from depth_ros.commands.models import models; models("list", "", "", "");'
            'assert not {"torch", "transformers", "diffusers"} & set(sys.modules)')
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


@pytest.mark.parametrize('name', NAMES)
def test_a_checkpoint_fits_its_own_family_and_no_other(name, tmp_path):
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from depth_ros.families import load_family
    from depth_ros.pipeline import check_weights
    from depth_ros.settings import build

    path = write(name, tmp_path)
    network = load_family(build({'family': name})).network
    main = next(iter(network.files.values()))
    path = path / main.name if path.is_dir() and main.name else path
    for other in NAMES:
        family = load_family(build({'family': other}))
        difference = check_weights(family, path)
        fits = other == name or (name, other) == ('depth_anything', 'pixel_perfect')    # whose semantics are that network
        assert fits or all(file.name in difference for file in family.network.files.values())
        assert bool(difference) != fits, f'{name} as {other}: {difference}'
        assert '\n' not in difference


def test_the_answer_is_one_line(tmp_path):
    path = write('video_depth_anything', tmp_path)
    path = next(path.glob('*.pth')) if path.is_dir() else path
    said = depth_ros('models', 'check', str(path), '--family', 'video_depth_anything')
    assert (said.returncode, said.stdout.strip()) == (0, f'{path.name} fits video_depth_anything')
    said = depth_ros('models', 'check', str(path), '--family', 'gemdepth')
    assert said.returncode == 2 and 'register_token' in said.stderr and len(said.stderr.strip().splitlines()) == 1


def checked(path, family, variant=''):
    pytest.importorskip('torch', reason='torch is not installed: pip install torch')
    from depth_ros.families import load_family
    from depth_ros.pipeline import check_weights
    from depth_ros.settings import build

    return check_weights(load_family(build({'family': family, 'model.variant': variant})), path, variant)


def test_a_file_of_another_size_than_the_variant_does_not_fit(tmp_path):
    path = write('video_depth_anything', tmp_path)
    assert checked(path, 'video_depth_anything') == ''
    assert 'has 1 M parameters, the published one 384 M' in checked(path, 'video_depth_anything', 'large')


def test_a_folder_fits_if_all_of_its_files_do(tmp_path):
    folder = write('pixel_perfect', tmp_path)
    assert checked(folder, 'pixel_perfect') == ''
    (folder / 'depth_anything_v2_vitl.pth').write_bytes((folder / 'ppd.pth').read_bytes())
    assert checked(folder, 'pixel_perfect').startswith('as depth_anything_v2_vitl.pth: ')
    (folder / 'depth_anything_v2_vitl.pth').unlink()
    assert 'also needs depth_anything_v2_vitl.pth' in checked(folder, 'pixel_perfect')


def test_a_file_that_cannot_be_read_is_named_once(tmp_path):
    (tmp_path / 'cut.pth').write_bytes(b'PK\3\4 and no more')
    with pytest.raises(WeightsError) as error:
        checked(tmp_path / 'cut.pth', 'pixel_perfect')
    assert str(error.value).count('cut.pth') == 1


def test_what_the_hub_has_is_fetched_before_a_file_that_it_lacks_is_named(tmp_path):
    said = depth_ros('models', 'get', 'pixel_perfect_video', HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path))
    assert said.returncode == 2 and 'yyfz233/Pi3 on the Hugging Face hub cannot be reached' in said.stderr


def test_the_licence_is_printed_before_anything_is_fetched(tmp_path):
    said = depth_ros('models', 'get', 'dvd', HF_HUB_OFFLINE='1', HF_HOME=str(tmp_path))
    assert said.returncode == 2
    assert 'CC-BY-NC-4.0, NON-COMMERCIAL' in said.stdout
    assert 'https://huggingface.co/' in said.stderr and 'setting weights' in said.stderr


def test_a_family_whose_weights_are_not_here_says_how_to_get_them(tmp_path):
    said = depth_ros('process', str(tmp_path), str(tmp_path / 'out'), '--family', 'gemdepth', HF_HOME=str(tmp_path))
    assert said.returncode == 2 and len(said.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(('arguments', 'word'), [
    (('models', 'fly'), 'models check FILE --family X'),
    (('models', 'check'), 'models check FILE --family X'),
    (('models', 'get', 'lite'), 'has no weights to get'),
    (('models', 'get', 'midas'), 'known: lite'),
])
def test_a_mistake_is_answered_in_one_sentence(arguments, word):
    said = depth_ros(*arguments)
    assert said.returncode == 2 and word in said.stderr and len(said.stderr.strip().splitlines()) == 1
