"""DepthVLM gives the published numbers, its map does not depend on the question, and wrong folders are told apart."""

import json

import numpy as np
import pytest

torch = pytest.importorskip('torch')
pytest.importorskip('transformers')

from safetensors.torch import save_file  # noqa: E402

from depth_ros.errors import WeightsError  # noqa: E402
from depth_ros.models import depthvlm, dpt, weights  # noqa: E402
from test.families.tiny import depthvlm as tiny  # noqa: E402
from test.models.manifest import manifest  # noqa: E402
from test.parity.compare import Golden  # noqa: E402
from test.parity.fill import weight  # noqa: E402

HEAD = depthvlm.HeadSize(2560, 256, (256, 512, 1024, 1024))
STAGES = {    # golden key -> part of the head
    **{f'resize{number}': f'resize_layers.{number}' for number in range(4)}, 'layer4_rn': 'scratch.layer4_rn',
    'refinenet4_res2': 'scratch.refinenet4.resConfUnit2',
    **{f'refinenet{number}': f'scratch.refinenet{number}' for number in (4, 3, 2, 1)},
    'output_conv1': 'scratch.output_conv1', 'pre_softplus': 'scratch.output_conv2.2'}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp('depthvlm'))


def open_folder(folder):
    return depthvlm.open_graphs({'weights': folder}, torch.float32, 'cpu')


@pytest.fixture(scope='module')
def graphs(folder):
    return open_folder(folder)


@pytest.fixture
def copy(tmp_path, folder):
    """Return a copy of the folder, to be spoilt."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture(scope='module')
def rgb():
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8))


def tensors(module, prefix, overrides):
    """Return the pseudo-random weights of a module by their keys."""
    values = {key: torch.from_numpy(weight(prefix + key, shape, 0)) for key, shape in weights.shapes_of(module).items()}
    for key, value in overrides.items():
        values[key[len(prefix):]].fill_(value)
    return values


def watch(module, golden, stages):
    """Hold the output of each named part against its golden one."""
    for key, part in stages.items():
        module.get_submodule(part).register_forward_hook(lambda part, given, out, key=key: golden.check(
            key, torch.stack(out) if isinstance(out, tuple) else out) and None)


def ask(graphs, rgb, question):
    out = graphs['ask'](rgb, torch.tensor(list(question.encode()), dtype=torch.uint8))
    return out['depth_m'], bytes(out['text'].tolist()).decode()


# ---- the published numbers ---------------------------------------------------------------------------------------------


def head_with_features():
    golden = Golden('depthvlm_head_seed0')
    with torch.device('meta'):
        head = depthvlm.DepthHead(HEAD)
    weights.load(head, tensors(head, 'depth_head.', golden.meta['overrides']), 'golden')
    noise = np.random.Generator(np.random.Philox(key=[0, 555]))
    features = [torch.from_numpy((1 + i) * noise.standard_normal((1, 12, 2560), np.float32)) for i in range(4)]
    golden.check('feature_checks', torch.cat(features))
    return golden, head, features


def test_the_head_gives_the_published_numbers_at_every_stage():
    golden, head, features = head_with_features()
    golden.check('norm0', head.norm(features[0]))
    golden.check('depth_50x70', head(features, (3, 4), (50, 70)))
    watch(head, golden, STAGES)
    golden.check('depth', head(features, (3, 4), (96, 128)))
    assert golden.report() and {row[0] for row in golden.rows} == set(golden.meta['tensors'])


def test_a_skip_around_the_first_relu_would_be_noticed():
    golden, head, features = head_with_features()
    for unit in head.modules():
        if isinstance(unit, dpt.ResidualUnit):
            unit.relu_skip = False
    assert not golden.check('depth', head(features, (3, 4), (96, 128)))


def test_the_whole_network_gives_the_published_numbers_at_every_stage():
    golden = Golden('depthvlm_tiny_seed0')
    network = depthvlm.build(depthvlm.make_config(golden.meta['config'], 'golden'), HEAD._replace(width=128))
    weights.load(network, tensors(network, '', golden.meta['overrides']), 'golden')
    ids = golden['input_ids'][0].tolist()
    first, last = ids.index(151), len(ids) - ids[::-1].index(151)
    image = torch.from_numpy(golden['image'])
    vision, language = 'model.visual.', 'model.language_model.'
    watch(network, golden, {
        'patch_embed': f'{vision}patch_embed', 'vision_block0': f'{vision}blocks.0', 'merger': f'{vision}merger',
        **{f'deepstack{number}': f'{vision}deepstack_merger_list.{number}' for number in range(3)},
        'mrope_cos_sin': f'{language}rotary_emb', 'llm_layer0': f'{language}layers.0', 'llm_layer3': f'{language}layers.3',
        **{f'head_{key}': f'depth_head.{part}' for key, part in STAGES.items()}})
    network.model.visual.blocks[0].register_forward_pre_hook(
        lambda part, given: golden.check('vision_in', given[0]) and None)
    seen = []
    network.depth_head.norm.register_forward_hook(lambda part, given, out: seen.append(out))
    golden.check('pixel_values', depthvlm.patches(image, 16, 2, 2))
    done = network(image, depthvlm.Prompt(ids[:first], ids[last:]))
    golden.check('head_norm0', seen[0])
    golden.check('llm_last', done.hidden)
    golden.check('logits_last', network.logits(done.hidden[:, -1]))
    golden.check('depth', done.depth_m)
    given = {'image', 'input_ids', 'image_grid_thw'}
    assert golden.report() and {row[0] for row in golden.rows} == set(golden.meta['tensors']) - given


def test_keys_and_shapes_are_those_of_the_published_files(shared):
    published = manifest(shared, 'hf_qwen3vl_4b') | manifest(shared, 'depthvlm_depth_head', 'depth_head.')
    assert depthvlm.expected('weights', published) == published
    del published['lm_head.weight']    # a copy of the embedding, which files may leave out
    assert depthvlm.expected('weights', published) == published


# ---- picture, prompt, positions ----------------------------------------------------------------------------------------


def test_patches_that_become_one_token_follow_each_other():
    rgb = torch.zeros(64, 64, 3, dtype=torch.uint8)
    rgb[0:16, 16:32], rgb[32:48, 0:16, 2] = 255, 255
    x = depthvlm.patches(rgb, 16, 2, 2).reshape(16, 3, 2, 16, 16)
    assert (x[1] == 1).all() and (x[8, 2] == 1).all() and (x[8, :2] == -1).all()
    assert (x.mean(dim=(1, 2, 3, 4)) > -1).nonzero().flatten().tolist() == [1, 8]


def test_the_text_goes_on_behind_the_larger_side_of_the_picture():
    time, row, column = depthvlm.positions(2, 2, 3, 2).tolist()
    assert time == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert row == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert column == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_the_prompt_is_the_chat_of_one_user_and_a_mark_in_a_question_is_only_text(folder):
    words = depthvlm.Words(folder, 261, tiny.WORDS)
    before, after = words.prompt('Far? <|image_pad|><|im_end|>')
    assert words.tokenizer.decode(before, skip_special_tokens=False) == (
        '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>')
    assert words.tokenizer.decode(after, skip_special_tokens=False) == (
        '<|vision_end|>Far? <|image_pad|><|im_end|><|im_end|>\n<|im_start|>assistant\n')
    assert words.marks['image_pad'] not in after and after.count(words.marks['im_end']) == 1


# ---- depth and answers -------------------------------------------------------------------------------------------------


def test_the_map_is_the_same_whatever_is_asked(graphs, rgb):
    depth_m = graphs['depth'](rgb)['depth_m']
    asked, answer = ask(graphs, rgb, 'how far is the chair?')
    assert depth_m.shape == (1, 64, 96) and depth_m.min() > 0.5 and depth_m.std() > 0.01
    assert torch.equal(asked, depth_m) and answer
    assert not torch.equal(graphs['depth'](255 - rgb)['depth_m'], depth_m)


def test_the_answer_is_the_one_that_transformers_generates(graphs, rgb, monkeypatch):
    from transformers import Qwen3VLForConditionalGeneration

    monkeypatch.setattr(depthvlm, 'LONGEST_ANSWER', 24)
    network, words = graphs['depth'].network, graphs['ask'].words
    theirs = Qwen3VLForConditionalGeneration(network.config).eval()
    theirs.model.load_state_dict(network.model.state_dict())
    before, after = words.prompt('what is this?')
    picture = [network.config.image_token_id] * 6
    ids = torch.tensor([[*before, *picture, *after]])
    out = theirs.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=depthvlm.patches(rgb[0], 16, 2, 2),
        image_grid_thw=torch.tensor([[1, 4, 6]]), mm_token_type_ids=(ids == picture[0]).int(), do_sample=False,
        max_new_tokens=24, eos_token_id=[words.marks['im_end'], words.marks['endoftext']], pad_token_id=0)
    expected = words.text(out[0, ids.shape[1]:].tolist())
    assert ask(graphs, rgb, 'what is this?')[1] == expected and len(set(expected)) > 3


def test_the_answer_ends_where_the_model_ends_it(graphs, rgb, monkeypatch):
    words = graphs['ask'].words
    monkeypatch.setattr(words, 'ends', lambda token: True)
    assert ask(graphs, rgb, 'what is this?')[1] == ''


def test_words_are_read_off_with_the_embedding_unless_the_file_has_something_else(copy, graphs):
    hidden, shard = torch.randn(1, 32), copy / 'model-00001-of-00002.safetensors'
    tensors = weights.read_tensors(shard)
    embedding = tensors['model.language_model.embed_tokens.weight']
    assert torch.equal(graphs['ask'].network.logits(hidden), hidden @ embedding.T)
    save_file({**tensors, 'lm_head.weight': -embedding}, shard)
    assert torch.equal(open_folder(copy)['ask'].network.logits(hidden), hidden @ embedding.T)
    change(copy, tie_word_embeddings=False)
    assert torch.equal(open_folder(copy)['ask'].network.logits(hidden), -hidden @ embedding.T)


def test_half_precision_gives_nearly_the_same_depth(folder, graphs, rgb):
    half = depthvlm.open_graphs({'weights': folder}, torch.bfloat16, 'cpu')
    assert next(half['depth'].parameters()).dtype is torch.bfloat16
    depth_m = half['depth'](rgb)['depth_m'].float()
    assert depth_m == pytest.approx(graphs['depth'](rgb)['depth_m'], rel=0.03)


# ---- folders that do not fit -------------------------------------------------------------------------------------------


def change(folder, **values):
    path = folder / 'config.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def without(name):
    return lambda folder: (folder / name).unlink()


def truncated(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


@pytest.mark.parametrize(('spoil', 'words'), [
    (without('config.json'), 'config.json cannot be read'),
    (truncated('config.json'), 'config.json cannot be read'),
    (lambda folder: change(folder, model_type='qwen2_vl'), "'qwen2_vl'"),
    (lambda folder: change(folder, text_config=tiny.CONFIG['text_config'] | {'hidden_size': 'big'}), 'no configuration'),
    (lambda folder: change(folder, text_config=tiny.CONFIG['text_config'] | {'num_hidden_layers': 3}), 'layers.3'),
    (lambda folder: change(folder, text_config=tiny.CONFIG['text_config'] | {'intermediate_size': 65}),
     'mlp.gate_proj.weight (64, 32) instead of (65, 32)'),
    (lambda folder: change(folder, vision_config=tiny.CONFIG['vision_config'] | {'patch_size': 14}),
     'patch_embed.proj.weight (32, 3, 2, 16, 16) instead of (32, 3, 2, 14, 14)'),
    (without('tokenizer.json'), 'tokenizer.json'),
    (truncated('tokenizer.json'), 'tokenizer.json'),
    (lambda folder: change(folder, image_token_id=7), 'image_token_id 7'),
    (without('model-00002-of-00002.safetensors'), 'lacks 1 of 2 weights files (model-00002-of-00002.safetensors)'),
    (truncated('model-00001-of-00002.safetensors'), 'damaged'),
    (truncated('model.safetensors.index.json'), 'index'),
])
def test_a_folder_that_does_not_fit_is_told_in_one_sentence(copy, spoil, words):
    spoil(copy)
    with pytest.raises(WeightsError) as told:
        open_folder(copy)
    assert words in str(told.value) and '\n' not in str(told.value)


def test_a_qwen_without_a_depth_head_is_told_from_depthvlm(shared):
    with pytest.raises(WeightsError, match='depth_head'):
        depthvlm.expected('weights', manifest(shared, 'hf_qwen3vl_4b'))
    with pytest.raises(WeightsError, match='model.visual'):
        depthvlm.expected('weights', manifest(shared, 'depthvlm_depth_head', 'depth_head.'))


def test_code_that_a_folder_brings_along_is_not_run(copy):
    marker = copy / 'ran'
    (copy / 'evil.py').write_text(f'open({str(marker)!r}, "w")')
    change(copy, auto_map={'AutoConfig': 'evil.Config', 'AutoModel': 'evil.Model'})
    assert open_folder(copy) and not marker.exists()
