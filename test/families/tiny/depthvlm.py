"""A tiny DepthVLM in a folder as the hub has it: config.json, tokenizer.json and two files of weights with their index."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from depth_ros.models import depthvlm, weights
from test.parity.fill import weight

SETTINGS: dict[str, object] = {'model.short_side_px': 64, 'camera.fx_fy_cx_cy': '500,500,320,240'}
WORDS = 300    # rows of the embedding
CONFIG = {
    'model_type': 'qwen3_vl', 'architectures': ['Qwen3VLForConditionalGeneration'], 'image_token_id': 261,
    'vision_start_token_id': 259, 'vision_end_token_id': 260, 'tie_word_embeddings': True, 'depth_head_type': 'dpt',
    'text_config': {
        'model_type': 'qwen3_vl_text', 'vocab_size': WORDS, 'hidden_size': 32, 'intermediate_size': 64, 'head_dim': 16,
        'num_hidden_layers': 4, 'num_attention_heads': 4, 'num_key_value_heads': 2, 'tie_word_embeddings': True,
        'rope_scaling': {'rope_type': 'default', 'mrope_interleaved': True, 'mrope_section': [4, 2, 2]},
        'rope_theta': 5000000},
    'vision_config': {
        'model_type': 'qwen3_vl', 'depth': 4, 'hidden_size': 32, 'intermediate_size': 64, 'num_heads': 2, 'patch_size': 16,
        'spatial_merge_size': 2, 'temporal_patch_size': 2, 'out_hidden_size': 32, 'num_position_embeddings': 16,
        'deepstack_visual_indexes': [0, 1, 2]},
}
HEAD = depthvlm.HeadSize(32, 16, (8, 8, 16, 16))
OVERRIDES = {'depth_head.scratch.output_conv2.2.bias': 1.0}    # keeps the depth away from 0


def write(folder: Path) -> Path:
    """Write the folder with pseudo-random weights and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.json').write_text(json.dumps(CONFIG))
    (folder / 'tokenizer.json').write_text(json.dumps(tokenizer()))
    network = depthvlm.build(depthvlm.read_config(folder), HEAD)
    tensors = {key: torch.from_numpy(weight(key, shape, 0)) for key, shape in weights.shapes_of(network).items()}
    for key, value in OVERRIDES.items():
        tensors[key].fill_(value)
    names = [f'model-0000{part}-of-00002.safetensors' for part in (1, 2)]
    where = {key: names[key.startswith('model.visual.')] for key in tensors}
    for name in names:
        save_file({key: tensors[key] for key in tensors if where[key] == name}, folder / name)
    (folder / 'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': where}))
    return folder


def tokenizer() -> dict[str, object]:
    """Return a byte-level tokenizer without merges: one token per byte, and the marks of the chat format."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(hidden))]
    marks = ['endoftext', 'im_start', 'im_end', 'vision_start', 'vision_end', 'image_pad', 'video_pad']
    added = [{'id': 256 + number, 'content': f'<|{mark}|>', 'single_word': False, 'lstrip': False, 'rstrip': False,
              'normalized': False, 'special': True} for number, mark in enumerate(marks)]
    level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': False, 'use_regex': False}
    return {'version': '1.0', 'added_tokens': added, 'pre_tokenizer': level, 'decoder': level,
            'model': {'type': 'BPE', 'vocab': {letter: number for number, letter in enumerate(letters)}, 'merges': []}}
