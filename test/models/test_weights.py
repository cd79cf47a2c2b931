"""A weights file fits or is refused in one sentence; nothing in it is ever run."""

import json
import pickle

import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')

from torch import nn  # noqa: E402

from depth_ros.errors import WeightsError  # noqa: E402
from depth_ros.models.weights import compare, load, read_shapes, read_tensors, shapes_of  # noqa: E402

save_file = pytest.importorskip('safetensors.torch', reason='safetensors is not installed').save_file
TENSORS = {'weight': torch.arange(6.0).reshape(2, 3), 'bias': torch.tensor([1.0, 2.0])}
SHAPES = {'weight': (2, 3), 'bias': (2,)}


def linear():
    with torch.device('meta'):
        return nn.Linear(3, 2)


@pytest.fixture(params=['weights.pth', 'weights.safetensors', 'in_a_model_key.pth', 'in_a_state_dict_key.pth',
                        'old_format.pth', 'shards'])
def path(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == '.safetensors':
        save_file(TENSORS, path)
    elif path.suffix == '.pth':
        content = next(({key: TENSORS} for key in ('model', 'state_dict') if key in path.name), TENSORS)
        torch.save(content, path, _use_new_zipfile_serialization='old' not in path.name)
    else:
        path.mkdir()
        for key, value in TENSORS.items():
            save_file({key: value}, path / f'{key}.safetensors')
    return path


def test_every_format_gives_the_same_shapes_and_tensors(path):
    assert read_shapes(path) == SHAPES
    found = read_tensors(path)
    assert found.keys() == TENSORS.keys() and all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


def test_a_network_built_without_memory_takes_the_tensors_of_the_file(path):
    module = load(linear(), read_tensors(path), path.name)
    assert module(torch.tensor([[1.0, 0, 0]])).tolist() == [[1.0, 5.0]]
    assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_the_stated_precision_is_what_the_network_has():
    half = load(linear(), TENSORS, 'x', dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_what_does_not_fit_is_named_and_counted():
    found = {'weight': (2, 4), 'scale': (1,)}
    assert compare(found, SHAPES) == ('1 missing (bias); 1 left over (scale); '
                                      '1 of another shape (weight (2, 4) instead of (2, 3))')
    assert compare(SHAPES, shapes_of(linear())) == ''


def test_a_file_of_another_network_changes_nothing_in_this_one():
    module = linear()
    with pytest.raises(WeightsError, match='other.pth does not fit Linear: 1 missing'):
        load(module, {'weight': TENSORS['weight']}, 'other.pth')
    assert all(parameter.is_meta for parameter in module.parameters())


def test_a_shard_that_the_index_names_and_the_folder_lacks_is_named(tmp_path):
    names = {key: f'{key}.safetensors' for key in TENSORS}
    (tmp_path / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': names}))
    save_file({'weight': TENSORS['weight']}, tmp_path / 'weight.safetensors')
    with pytest.raises(WeightsError, match=r'lacks 1 of 2 weights files \(bias.safetensors\)'):
        read_shapes(tmp_path)
    save_file({'bias': TENSORS['bias']}, tmp_path / 'bias.safetensors')
    save_file({'left': TENSORS['bias']}, tmp_path / 'of_another_version.safetensors')    # which the index does not name
    assert read_shapes(tmp_path) == SHAPES


@pytest.mark.parametrize('name', ['cut.pth', 'cut.safetensors'])
def test_a_truncated_file_is_damaged(tmp_path, name):
    path = tmp_path / name
    torch.save(TENSORS, path) if path.suffix == '.pth' else save_file(TENSORS, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(WeightsError, match='is damaged'):
        read_shapes(path)


class Bomb:
    def __reduce__(self):
        return open, (Bomb.path, 'w')


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    Bomb.path = str(tmp_path / 'ran')
    torch.save({'weight': Bomb()}, tmp_path / 'bomb.pth')
    (tmp_path / 'raw.pth').write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ('bomb.pth', 'raw.pth'):
        with pytest.raises(WeightsError, match='more than tensors') as error:
            read_tensors(tmp_path / name)
        assert 'weights_only' not in str(error.value)    # torch recommends to run it
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('content', [{'epoch': 3}, [TENSORS['bias']], {}])
def test_a_file_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(WeightsError, match='does not hold named tensors'):
        read_shapes(tmp_path / 'other.pth')


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match='nowhere.pth'):
        read_shapes(tmp_path / 'nowhere.pth')


def test_a_folder_without_weights_is_said_to_have_none(tmp_path):
    with pytest.raises(WeightsError, match='holds no .safetensors files'):
        read_shapes(tmp_path)


def test_whole_numbers_are_no_weights():
    with pytest.raises(WeightsError, match=r'whole\.pth holds whole numbers where weights belong \(bias\)'):
        load(linear(), {**TENSORS, 'bias': torch.tensor([1, 2])}, 'whole.pth')


@pytest.mark.parametrize('name', ['mine.pth', 'mine.safetensors'])
def test_a_file_that_may_not_be_read_is_not_called_missing(name, tmp_path, monkeypatch):
    path = tmp_path / name
    torch.save(TENSORS, path) if path.suffix == '.pth' else save_file(TENSORS, path)

    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('pathlib.Path.open', refuse)
    with pytest.raises(WeightsError, match='Permission denied'):
        read_shapes(path)
