import copy
import math

import pytest

torch = pytest.importorskip('torch', reason='torch is not installed: pip install torch')
pytest.importorskip('diffusers', reason="diffusers is not installed: pip install 'depth_ros[families]'")

from depth_ros.errors import WeightsError  # noqa: E402
from depth_ros.models import dvd, weights  # noqa: E402
from test.families.tiny import dvd as tiny  # noqa: E402
from test.models.manifest import manifest  # noqa: E402
from test.parity.compare import Golden  # noqa: E402

EMPTY_TEXT = 512    # rows of zeros


def prefixed(prefix, shapes):
    return {prefix + key: shape for key, shape in shapes.items()}


def unfolded(transformer, latent, tau=0.5):
    """The whole transformer as it was published: every modulation and every cross-attention computed."""
    text = transformer.condition_embedder.text_embedder.linear_1.in_features
    return transformer(latent, torch.tensor([1000 * tau]), torch.zeros(1, EMPTY_TEXT, text)).sample


@pytest.fixture(scope='module')
def tensors():
    """Tensors of a small transformer under the official keys."""
    return tiny.fill(tiny.transformer_shapes(layers=2, dim=256, ffn=640, text=64))


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    folder = tiny.write(tmp_path_factory.mktemp('dvd'))
    return {'dit': folder / 'model.safetensors', 'vae': folder / 'Wan2.1_VAE.pth'}


@pytest.fixture
def graphs(files):
    return dvd.open_graphs(files, torch.float32, 'cpu')


def clip(frames=5, seed=0):
    return torch.rand(1, 3, frames, 32, 48, generator=torch.Generator().manual_seed(seed))


# The official files and numbers.

def test_the_networks_have_the_keys_and_shapes_of_the_official_files(shared):
    dit, vae = manifest(shared, 'dvd_dit_with_lora'), manifest(shared, 'dvd_wan_vae')
    assert dvd.expected('dit', dit) == dit
    assert dvd.expected('dit', prefixed('pipe.dit.', dit)) == prefixed('pipe.dit.', dit)
    assert dvd.expected('vae', vae) == vae
    bare = {key.removeprefix('model.'): shape for key, shape in vae.items()}
    assert dvd.expected('vae', bare) == bare
    assert weights.shapes_of(dvd.make_transformer(dit)) == manifest(shared, 'diffusers_wan_1.3B')
    assert weights.shapes_of(dvd.make_vae(bare)) == manifest(shared, 'diffusers_wan_vae')


def test_every_number_of_the_official_pipeline_comes_out_again():
    golden = Golden('dvd_seed0')
    size = golden.meta['config']['dit']
    dit = tiny.fill(tiny.transformer_shapes(size['num_layers'], size['dim'], size['ffn_dim'], size['text_dim'],
                                            size['lora_rank']))
    transformer = dvd.load_transformer(dit, 'model.safetensors')
    vae = dvd.load_vae(tiny.fill(tiny.vae_shapes(96)), 'Wan2.1_VAE.pth')
    whole = copy.deepcopy(transformer)
    folded = dvd.DepthTransformer(transformer, tau=0.5)
    seen = {}

    def watch(name, module):
        module.register_forward_hook(lambda *call: seen.setdefault(name, []).append(call[2].clone()))

    watch('encoder', vae.encoder)
    watch('encoder down', vae.encoder.down_blocks[2])
    watch('encoder attention', vae.encoder.mid_block.attentions[0])
    watch('decoder attention', vae.decoder.mid_block.attentions[0])
    watch('decoder up', vae.decoder.up_blocks[0].upsamplers[0])
    watch('decoder', vae.decoder)
    watch('time', whole.condition_embedder.time_embedder)
    watch('modulation', whole.condition_embedder.time_proj)
    watch('text', whole.condition_embedder.text_embedder)
    for network, name in ((whole, 'whole'), (folded, 'folded')):
        watch(f'{name} patches', network.patch_embedding)
        for number in range(3):
            watch(f'{name} block {number}', network.blocks[number])
    watch('self', whole.blocks[0].attn1)
    watch('cross', whole.blocks[0].attn2)

    with torch.inference_mode():
        rgb = torch.from_numpy(golden['frames']).permute(3, 0, 1, 2)[None].float() / 255
        latent = dvd.Encoder(vae)(rgb)['latent']
        depth_latent = folded(latent)['latent']
        whole_latent = unfolded(whole, latent)
        maps = dvd.Decoder(vae)(depth_latent)['maps']

    golden.check('enc_chunk0', seen['encoder'][0])
    golden.check('enc_chunk1', seen['encoder'][1])
    golden.check('enc_down2_chunk1', seen['encoder down'][1])
    golden.check('enc_mid_attn_chunk1', seen['encoder attention'][1])
    golden.check('latent_rgb', latent)
    golden.check('time_embedding', seen['time'][0])
    golden.check('time_projection', seen['modulation'][0])
    golden.check('text_embedding_row', seen['text'][0][:, :1])
    golden.check('self_attn0', seen['self'][0])
    golden.check('cross_attn0_row', seen['cross'][0][:, :1])
    for name in ('whole', 'folded'):
        golden.check('patch_embedding', seen[f'{name} patches'][0])
        for number in range(3):
            golden.check(f'block{number}', seen[f'{name} block {number}'][0])
    golden.check('latent_depth', whole_latent)
    golden.check('latent_depth', depth_latent)
    golden.check('dec_mid_attn_0', seen['decoder attention'][0])
    golden.check('dec_up3_1', seen['decoder up'][1])
    golden.check('dec_raw', torch.cat(seen['decoder'], 2))
    golden.check('depth', seen_as_video(seen['decoder']))
    assert golden.report()
    assert {row[0] for row in golden.rows} == set(golden.meta['tensors']) - {'frames'}
    assert abs(maps[::2].numpy() - golden['depth'][0].mean(-1)).max() < 1e-4


def seen_as_video(raw):
    """(1, T, H, W, 3) in 0..1, as the official pipeline gives it."""
    return ((torch.cat(raw, 2).clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 4, 1)


# What folds away.

@pytest.mark.parametrize('tau', [0.0, 0.5, 1.0])
def test_the_folded_transformer_says_what_the_whole_one_says(tensors, tau):
    whole = dvd.load_transformer(tensors, 'model.safetensors')
    latent = torch.randn(1, 16, 2, 6, 10, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted = unfolded(whole, latent, tau)
        found = dvd.DepthTransformer(whole, tau)(latent)['latent']
    assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()


def test_tau_changes_the_result(tensors):
    latent = torch.randn(1, 16, 1, 6, 10, generator=torch.Generator().manual_seed(1))
    half, three_tenths = (dvd.DepthTransformer(dvd.load_transformer(tensors, 'model.safetensors'), tau)(latent)['latent']
                          for tau in (0.5, 0.3))
    assert (half - three_tenths).abs().max() > 0.01


def test_cross_attention_and_the_embeddings_of_time_and_text_are_gone(tensors):
    dim, layers, text, frequencies = 256, 2, 64, 256
    whole = dvd.load_transformer(tensors, 'model.safetensors')
    before = sum(value.numel() for value in whole.parameters())
    folded = dvd.DepthTransformer(whole, 0.5)
    after = sum(value.numel() for value in folded.parameters())
    cross = 4 * dim * (dim + 1) + 2 * dim                   # q, k, v, o and two norms
    norm, modulation = 2 * dim, 6 * dim                     # of the tokens that look at the text; of a block
    affine = 2 * 2 * dim                                    # what the modulation became
    embeddings = dim * (text + 1) + dim * (dim + 1) + dim * (frequencies + 1) + dim * (dim + 1) + 6 * dim * (dim + 1)
    assert before - after == layers * (cross + norm + modulation - affine) + embeddings
    assert not [name for name, _ in folded.named_parameters() if 'attn2' in name or 'embedder' in name]
    assert len(folded.blocks) == layers and not len(whole.blocks)


# Loading.

def test_lora_is_merged_into_the_layer_that_it_changes(tensors):
    transformer = dvd.load_transformer(tensors, 'model.safetensors')
    key = 'pipe.dit.blocks.1.self_attn.q'
    base, a, b = (tensors[f'{key}.{name}.weight'] for name in ('base_layer', 'lora_A.default', 'lora_B.default'))
    assert torch.allclose(transformer.blocks[1].attn1.to_q.weight, base + b @ a, atol=1e-6)
    assert torch.equal(transformer.blocks[1].attn1.to_q.bias, tensors[f'{key}.base_layer.bias'])


def test_what_is_not_changed_is_not_copied(tensors):
    transformer = dvd.load_transformer(tensors, 'model.safetensors')
    assert transformer.patch_embedding.weight.data_ptr() == tensors['pipe.dit.patch_embedding.weight'].data_ptr()
    vae_tensors = tiny.fill(tiny.vae_shapes(8))
    vae = dvd.load_vae(vae_tensors, 'Wan2.1_VAE.pth')
    assert vae.decoder.conv_in.weight.data_ptr() == vae_tensors['decoder.conv1.weight'].data_ptr()


def test_a_file_without_prefix_and_one_with_more_in_it_open_all_the_same(tensors):
    latent = torch.randn(1, 16, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    bare = {key.removeprefix('pipe.dit.'): value for key, value in tensors.items()}
    more = {**tensors, 'pipe.text_encoder.weight': torch.zeros(3)}
    found = [dvd.DepthTransformer(dvd.load_transformer(file, 'model.safetensors'), 0.5)(latent)['latent']
             for file in (tensors, bare, more)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert dvd.load_vae(tiny.fill(prefixed('model.', tiny.vae_shapes(8))), 'Wan2.1_VAE.pth').config.base_dim == 8


# The graphs.

def test_a_clip_becomes_maps_between_0_and_1_and_the_same_ones_again(graphs):
    with torch.inference_mode():
        first, other, again = (run(graphs, clip(seed=seed)) for seed in (0, 1, 0))
    assert first.shape == (5, 32, 48) and first.min() >= 0 and first.max() <= 1 and first.std() > 0.01
    assert torch.equal(first, again) and not torch.equal(first, other)
    vae = graphs['encode'].vae
    assert not [entry for entry in (*vae._feat_map, *vae._enc_feat_map) if entry is not None]    # nothing of a window stays


def run(graphs, rgb):
    latent = graphs['encode'](rgb)['latent']
    return graphs['decode'](graphs['denoise'](latent)['latent'])['maps']


def test_a_latent_knows_nothing_of_later_frames(graphs):
    long, short = clip(9), clip(9)[:, :, :5]
    with torch.inference_mode():
        assert torch.allclose(graphs['encode'](long)['latent'][:, :, :2], graphs['encode'](short)['latent'], atol=1e-5)


@pytest.mark.parametrize(('length', 'stride'), [(9, 4), (45, 36)])
def test_shared_frames_have_other_latents_and_maps_in_the_next_window(graphs, length, stride):
    video, shared = clip(length + stride), stride // 4    # whole steps of 4 frames: latents begin together
    with torch.inference_mode():
        latent, following = (graphs['encode'](window)['latent'] for window in (video[:, :, :length], video[:, :, stride:]))
        maps, begun_later = (graphs['decode'](of)['maps'] for of in (latent, latent[:, :, shared:]))
    encoded = (latent[:, :, shared:] - following[:, :, :latent.shape[2] - shared]).abs().amax((0, 1, 3, 4))
    decoded = (maps[stride:] - begun_later).abs().amax((1, 2))
    assert len(encoded) == (length - stride - 1) // 4 + 1 and len(decoded) == length - stride
    assert encoded.min() > 0.1 * latent.std() and decoded.min() > 0.1 * maps.std()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_says_nearly_the_same(graphs, files, dtype):
    with torch.inference_mode():
        wanted = run(graphs, clip())
        found = run(dvd.open_graphs(files, dtype, 'cpu'), clip().to(dtype))
    assert found.dtype == torch.float32
    assert torch.corrcoef(torch.stack([wanted.flatten(), found.flatten()]))[0, 1] > 0.999


# Files that do not fit.

def refusal(tensors, load=dvd.load_transformer):
    with pytest.raises(WeightsError) as error:
        load(tensors, 'given.safetensors')
    said = str(error.value)
    assert said.startswith('given.safetensors') and 'take ' in said and '\n' not in said
    return said


def test_lora_without_its_base_is_refused(tensors):
    only = {key: value for key, value in tensors.items() if '.lora_' in key}
    assert f'{len(only) // 2} LoRA layers without the layers that they change' in refusal(only)
    gap = {key: value for key, value in tensors.items() if key != 'pipe.dit.blocks.0.ffn.0.base_layer.weight'}
    assert '1 missing (pipe.dit.blocks.0.ffn.0.base_layer.weight)' in refusal(gap)


def test_the_plain_wan_transformer_is_refused_because_it_knows_nothing_of_depth(tensors, shared):
    plain = {key.replace('.base_layer', ''): value for key, value in tensors.items() if '.lora_' not in key}
    assert 'no LoRA layers' in refusal(plain) and 'FayeHongfeiZhang/DVD' in refusal(plain)
    with pytest.raises(WeightsError, match='no LoRA layers'):
        dvd.expected('dit', manifest(shared, 'dvd_wan_dit_1.3B'))


def test_another_file_is_refused(tensors, files, tmp_path):
    vae = tiny.fill(tiny.vae_shapes(8))
    assert 'no LoRA layers' in refusal(vae)
    assert 'no 1-dimensional entry encoder.conv1.bias' in refusal(tensors, dvd.load_vae)
    assert 'no 5-dimensional entry decoder.head.2.weight' in refusal({'encoder.conv1.bias': torch.zeros(8)}, dvd.load_vae)
    assert 'of another shape' in refusal({**vae, 'conv2.bias': torch.zeros(3)}, dvd.load_vae)
    assert '1 left over (conv3.bias)' in refusal({**vae, 'conv3.bias': torch.zeros(3)}, dvd.load_vae)
    with pytest.raises(WeightsError, match='no 1-dimensional entry encoder.conv1.bias'):
        dvd.open_graphs({**files, 'vae': files['dit']}, torch.float32, 'cpu')
    with pytest.raises(WeightsError, match='no LoRA layers'):
        dvd.open_graphs({**files, 'dit': files['vae']}, torch.float32, 'cpu')


def test_a_truncated_file_is_refused(files, tmp_path):
    for role, path in files.items():
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:math.floor(0.7 * path.stat().st_size)])
        with pytest.raises(WeightsError, match='fetch it again'):
            dvd.open_graphs({**files, role: cut}, torch.float32, 'cpu')
