"""DepthVLM: a vision-language model (Qwen3-VL) that gives metric depth and text in one pass.

The transformer is the one of `transformers`; what is here is the way through it, in the order of one pass: the picture in
patches, the prompt in tokens, positions in three directions, vision tower, language model, depth head. The head reads three
intermediate features of the vision tower (DeepStack) and the language model's last hidden state at the picture's tokens.

The language model is causal and the picture comes before the question, so the map does not depend on what is asked.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from depth_ros.errors import MissingDependency, WeightsError, need
from depth_ros.models import weights
from depth_ros.models.dpt import DPT
from depth_ros.models.temporal import Attend, in_window
from depth_ros.models.weights import Shapes, count, first_line, shape

SYSTEM = 'You are a helpful assistant.'
DEPTH_QUESTION = ('Given this image, estimate the metric depth (in meters, rounded to two decimal places) for every pixel '
                  'of the image.')
MARKS = ('im_start', 'im_end', 'endoftext', 'vision_start', 'vision_end', 'image_pad')
LONGEST_ANSWER = 256    # tokens
REMEDY = "pip install 'depth_ros[families]'"
TRANSFORMERS = (5, 23)  # oldest version that has the parts in the form used here
HEAD = 'depth_head.'


# ---- the picture and the prompt ----------------------------------------------------------------------------------------


def patches(rgb: Tensor, patch: int, merge: int, times: int) -> Tensor:
    """Return the picture (h, w, 3) uint8 as (N, 3 * times * patch * patch) float32 in -1..1, repeated in time.

    `merge` x `merge` neighbours, which the vision tower joins into one token, follow each other.
    """
    h, w = rgb.shape[:2]
    side = patch * merge
    x = ((rgb.float() / 255 - 0.5) / 0.5).reshape(h // side, merge, patch, w // side, merge, patch, 3)
    x = x.permute(0, 3, 1, 4, 6, 2, 5)[:, :, :, :, :, None]         # (rows, columns, merge, merge, 3, 1, patch, patch)
    return x.expand(-1, -1, -1, -1, -1, times, -1, -1).reshape(-1, 3 * times * patch * patch)


class Prompt(NamedTuple):
    """Token numbers before and after the picture."""

    before: list[int]
    after: list[int]


class Words:
    """Turns text into token numbers and back, in the chat format of Qwen."""

    def __init__(self, folder: Path, image_token: int, vocabulary: int) -> None:
        """Read `tokenizer.json`. Raises WeightsError if it is missing, damaged or another model's."""
        tokenizers, path = need('tokenizers', REMEDY), folder / 'tokenizer.json'
        try:
            self.tokenizer = tokenizers.Tokenizer.from_str(path.read_text(encoding='utf8'))
        except Exception as error:    # tokenizers raises plain Exception
            raise WeightsError(f'{path} is no readable tokenizer ({first_line(error)}); fetch the folder again') from error
        self.marks = {mark: self.tokenizer.token_to_id(f'<|{mark}|>') for mark in MARKS}
        words = self.tokenizer.get_vocab_size()
        if self.marks['image_pad'] != image_token or None in self.marks.values() or words > vocabulary:
            raise WeightsError(f'{path} belongs to another model: {words} words, marks {self.marks}; config.json has '
                               f'room for {vocabulary} and image_token_id {image_token}; fetch the folder again')
        self.tokenizer.encode_special_tokens = True    # marks inside a question are plain text

    def prompt(self, question: str) -> Prompt:
        """Return the chat of one user who shows a picture and asks a question, up to where the answer begins."""
        def turn(*words: str) -> list[int]:    # marks and text by turns
            return [token for number, word in enumerate(words) for token in (
                self._text(word) if number % 2 else [self.marks[word]])]

        return Prompt(turn('im_start', f'system\n{SYSTEM}', 'im_end', '\n', 'im_start', 'user\n', 'vision_start'),
                      turn('vision_end', question, 'im_end', '\n', 'im_start', 'assistant\n'))

    def text(self, tokens: list[int]) -> str:
        """Return the words of an answer."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def ends(self, token: int) -> bool:
        return token in (self.marks['im_end'], self.marks['endoftext'])

    def _text(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def positions(before: int, rows: int, columns: int, after: int) -> Tensor:
    """Return (3, L) int64: time, row and column of every token.

    Text counts up in all three. The picture stands at one time, and the text goes on behind its larger side.
    """
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    picture = torch.stack([torch.zeros(rows * columns, dtype=torch.int64), row.flatten(), column.flatten()]) + before
    rest = torch.arange(after) + before + max(rows, columns)
    return torch.cat([torch.arange(before).expand(3, -1), picture, rest.expand(3, -1)], dim=1)


# ---- the network -------------------------------------------------------------------------------------------------------


class Pass(NamedTuple):
    """What one pass gives."""

    depth_m: Tensor      # (h, w), for a camera of 1000 px focal length
    hidden: Tensor       # (1, L, D) last hidden states of the language model
    position: int        # of the next token


class DepthVLM(nn.Module):
    """Qwen3-VL with a depth head. Keys as published; `lm_head` only where it is not the embedding."""

    def __init__(self, config: Any, head: 'HeadSize') -> None:
        super().__init__()
        self.config = config
        self.model = _transformers().Qwen3VLModel(config)
        self.depth_head = DepthHead(head)
        text = config.text_config
        tied = config.tie_word_embeddings
        self.lm_head = None if tied else nn.Linear(text.hidden_size, text.vocab_size, bias=False)

    def forward(self, rgb: Tensor, prompt: Prompt, cache: Any = None) -> Pass:
        """Return depth and hidden states of one picture (h, w, 3) uint8, both sides multiples of 32.

        A `cache` takes the keys and values of the language model, for an answer to go on from.
        """
        vision, language = self.model.visual, self.model.language_model
        size = self.config.vision_config
        merge = size.spatial_merge_size
        rows, columns = (side // (size.patch_size * merge) for side in rgb.shape[:2])    # of tokens
        x = patches(rgb, size.patch_size, merge, size.temporal_patch_size)
        seen = vision(x, grid_thw=torch.tensor([[1, rows * merge, columns * merge]], device=rgb.device))
        before, after = (language.embed_tokens(torch.tensor(ids, device=rgb.device)) for ids in prompt)
        tokens = torch.cat([before, seen.pooler_output, after])[None]                     # (1, L, D)
        where = positions(len(before), rows, columns, len(after)).to(rgb.device)          # (3, L)
        picture = slice(len(before), len(before) + rows * columns)
        is_picture = torch.zeros(tokens.shape[:2], dtype=torch.bool, device=rgb.device)
        is_picture[:, picture] = True
        hidden = language(inputs_embeds=tokens, position_ids=where[:, None], visual_pos_masks=is_picture,
                          deepstack_visual_embeds=seen.deepstack_features, past_key_values=cache,
                          use_cache=cache is not None).last_hidden_state
        features = [*(feature[None] for feature in seen.deepstack_features), hidden[:, picture]]
        depth_m = self.depth_head(features, (rows, columns), rgb.shape[:2])
        return Pass(depth_m[0], hidden, int(where[0, -1]) + 1)

    def next(self, token: Tensor, position: int, cache: Any) -> Tensor:
        """Return the hidden state (1, 1, D) after one more token (1,) of an answer."""
        language = self.model.language_model
        where = torch.full((3, 1, 1), position, device=token.device)
        out = language(inputs_embeds=language.embed_tokens(token)[None], position_ids=where, past_key_values=cache,
                       use_cache=True)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Return (..., words) for hidden states (..., D)."""
        return F.linear(hidden, (self.lm_head or self.model.language_model.embed_tokens).weight)


# ---- the depth head ----------------------------------------------------------------------------------------------------


class HeadSize(NamedTuple):
    """Widths of the depth head."""

    width: int                         # of the tokens
    features: int                      # of the fusion
    out: tuple[int, int, int, int]     # of the four scales


class DepthHead(DPT):
    """DPT on four features of one token grid behind one norm.

    The skips of its residual units go around from behind the first ReLU: the published one works in place.
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__(size.width, size.features, size.out, scales=(8, 4, 2, 1), relu_skip=True, idle_unit=False)
        self.norm = nn.LayerNorm(size.width)

    def forward(self, tokens: Sequence[Tensor], grid: tuple[int, int], size: tuple[int, int],
                attend: Attend = in_window) -> Tensor:
        """Return depth (B, *size) [m] from four features (B, rows * columns, D) on the `grid` (rows, columns)."""
        return F.softplus(super().forward([self.norm(feature) for feature in tokens], grid, size, attend))


# ---- graphs ------------------------------------------------------------------------------------------------------------


class Depth(nn.Module):
    """The graph `depth`: a picture in, its depth out."""

    def __init__(self, network: DepthVLM, words: Words) -> None:
        super().__init__()
        self.network = network
        self.prompt = words.prompt(DEPTH_QUESTION)

    def forward(self, rgb: Tensor) -> dict[str, Tensor]:
        """Return depth_m (1, h, w) of rgb (1, h, w, 3) uint8, for a camera of 1000 px focal length."""
        return {'depth_m': self.network(rgb[0], self.prompt).depth_m[None]}


class Ask(nn.Module):
    """The graph `ask`: a picture and a question in, depth and an answer out. The most likely word is taken each time."""

    def __init__(self, network: DepthVLM, words: Words) -> None:
        super().__init__()
        self.network = network
        self.words = words

    def forward(self, rgb: Tensor, question: Tensor) -> dict[str, Tensor]:
        """Return depth_m as `Depth`, and the answer to the question; texts are UTF-8 as (n,) uint8."""
        cache = _transformers().DynamicCache(config=self.network.config.text_config)
        prompt = self.words.prompt(bytes(question.tolist()).decode())
        depth_m, hidden, position = self.network(rgb[0], prompt, cache)
        answer: list[int] = []
        while len(answer) < LONGEST_ANSWER:
            token = self.network.logits(hidden[:, -1]).float().argmax(dim=-1)    # (1,)
            if self.words.ends(int(token)):
                break
            answer.append(int(token))
            hidden = self.network.next(token, position, cache)
            position += 1
        text = self.words.text(answer).encode()
        return {'depth_m': depth_m[None], 'text': torch.tensor(list(text), dtype=torch.uint8)}


# ---- files -------------------------------------------------------------------------------------------------------------


def open_graphs(files: Mapping[str, Path], dtype: torch.dtype, device: str) -> dict[str, nn.Module]:
    """Return the graphs `depth` and `ask` of a folder as the hub has it: config.json, tokenizer.json, *.safetensors.

    Raises WeightsError naming what is missing, damaged or does not fit.
    """
    folder = files['weights']
    config = read_config(folder)
    words = Words(folder, config.image_token_id, config.text_config.vocab_size)
    tensors = weights.read_tensors(folder)
    network = build(config, head_size(weights.shapes_of(tensors)))
    if config.tie_word_embeddings:
        tensors.pop('lm_head.weight', None)    # a copy of the embedding
    weights.load(network, tensors, str(folder), dtype, device)
    network.to(device)    # the rotary tables, which are in no file
    return {'depth': Depth(network, words), 'ask': Ask(network, words)}


def build(config: Any, head: HeadSize) -> DepthVLM:
    """Return the network on the meta device, but for its rotary tables, which are computed."""
    with torch.device('meta'):
        network = DepthVLM(config, head)
    for part, table in ((network.model.visual, 'rotary_pos_emb'), (network.model.language_model, 'rotary_emb')):
        setattr(part, table, type(getattr(part, table))(part.config))
    return network


def read_config(folder: Path) -> Any:
    """Return the transformers configuration of the folder's config.json; nothing in it is run.

    Raises WeightsError if it is missing or describes another model.
    """
    path = folder / 'config.json'
    try:
        content = json.loads(path.read_text(encoding='utf8'))
    except (OSError, ValueError) as error:
        raise WeightsError(f'{path} cannot be read ({first_line(error)}); weights of DepthVLM are the whole folder with '
                           'config.json, tokenizer.json and the .safetensors files') from error
    if not isinstance(content, dict) or content.get('model_type') != 'qwen3_vl':
        kind = content.get('model_type') if isinstance(content, dict) else content
        raise WeightsError(f'{path} describes a model of type {kind!r}, DepthVLM is a qwen3_vl; take its folder')
    return make_config(content, str(path))


def expected(role: str, shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} that the folder must have, sized by the `shapes` that it has.

    Raises WeightsError if they are not those of a Qwen3-VL with a depth head.
    """
    config, head = make_config(_sizes(shapes), 'the file'), head_size(shapes)
    wanted = weights.shapes_of(build(config, head))
    if 'lm_head.weight' in shapes:    # a copy of the embedding, where it is in the file
        wanted['lm_head.weight'] = wanted['model.language_model.embed_tokens.weight']
    return wanted


def head_size(shapes: Shapes) -> HeadSize:
    """Return the widths of the depth head. Raises WeightsError if the file has none."""
    width, = shape(shapes, f'{HEAD}norm.weight', 1)
    features, *_ = shape(shapes, f'{HEAD}scratch.layer1_rn.weight', 4)
    out = [shape(shapes, f'{HEAD}projects.{number}.weight', 4)[0] for number in range(4)]
    return HeadSize(width, features, (out[0], out[1], out[2], out[3]))


def _sizes(shapes: Shapes) -> dict[str, Any]:
    """Return a configuration with the sizes that the shapes show; what they do not show is left as it comes."""
    visual, language = 'model.visual.', 'model.language_model.'
    attention = f'{language}layers.0.self_attn.'
    width, _, times, patch, _ = shape(shapes, f'{visual}patch_embed.proj.weight', 5)
    words, hidden = shape(shapes, f'{language}embed_tokens.weight', 2)
    head_dim, = shape(shapes, f'{attention}q_norm.weight', 1)

    def rows(key: str) -> int:
        return shape(shapes, f'{key}.weight', 2)[0]

    vision = {'depth': count(shapes, f'{visual}blocks.'), 'hidden_size': width, 'num_heads': 1, 'out_hidden_size': hidden,
              'intermediate_size': rows(f'{visual}blocks.0.mlp.linear_fc1'), 'patch_size': patch,
              'temporal_patch_size': times, 'spatial_merge_size': round((rows(f'{visual}merger.linear_fc1') / width) ** 0.5),
              'num_position_embeddings': rows(f'{visual}pos_embed'),
              'deepstack_visual_indexes': list(range(count(shapes, f'{visual}deepstack_merger_list.')))}
    text = {'vocab_size': words, 'hidden_size': hidden, 'num_hidden_layers': count(shapes, f'{language}layers.'),
            'intermediate_size': rows(f'{language}layers.0.mlp.gate_proj'), 'head_dim': head_dim,
            'num_attention_heads': rows(f'{attention}q_proj') // head_dim,
            'num_key_value_heads': rows(f'{attention}k_proj') // head_dim}
    return {'text_config': text, 'vision_config': vision, 'tie_word_embeddings': True}


def make_config(content: dict[str, Any], name: str) -> Any:
    """Return the transformers configuration of the `content` of a config.json that messages call `name`."""
    transformers = _transformers()
    for part in (content, content.get('text_config'), content.get('vision_config')):
        if isinstance(part, dict):
            part.pop('auto_map', None)    # names code of the folder
    try:
        return transformers.Qwen3VLConfig(**{**content, 'attn_implementation': 'sdpa'})
    except Exception as error:    # of many kinds, each from the check of one field
        raise WeightsError(f'{name} is no configuration of a Qwen3-VL ({first_line(error)}); '
                           'take the published folder') from error


def _transformers() -> Any:
    module = need('transformers', REMEDY)
    if tuple(int(part) for part in module.__version__.split('.')[:2]) < TRANSFORMERS:
        raise MissingDependency(f'transformers {module.__version__} is too old for DepthVLM; install {TRANSFORMERS[0]}.'
                                f'{TRANSFORMERS[1]} or newer with: {REMEDY} --upgrade')
    return module
