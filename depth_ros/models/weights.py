"""Weights files: read without running anything in them, held against the network key by key, loaded without a second copy.

A network is built on the meta device, in the sizes that its file shows, and takes the tensors of the file as they are:
mapped into memory, converted only where another precision is asked for.
"""

import json
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from depth_ros.errors import WeightsError, need

Shapes = Mapping[str, tuple[int, ...]]    # official key -> shape
NAMED = 3                                 # keys that a message names
INDEX = 'model.safetensors.index.json'    # which names the shards of a folder


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} of a `.safetensors` or `.pth` file, or of a folder of `.safetensors` shards; no tensor is read.

    Raises WeightsError if the file is missing, truncated or holds anything but tensors.
    """
    return shapes_of(_open(path, torch.device('meta')))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return {key: tensor} of a file or folder of shards, mapped into memory where the format allows it.

    Raises WeightsError as `read_shapes`.
    """
    return _open(path, torch.device('cpu'))


def compare(found: Shapes, wanted: Shapes) -> str:
    """Return what is missing, left over or of another shape, in one line; '' if the file fits."""
    missing = [key for key in wanted if key not in found]
    extra = [key for key in found if key not in wanted]
    other = [f'{key} {found[key]} instead of {tuple(wanted[key])}' for key in wanted
             if key in found and tuple(found[key]) != tuple(wanted[key])]
    parts = [f'{len(keys)} {kind} ({", ".join(keys[:NAMED])}{", ..." if len(keys) > NAMED else ""})'
             for kind, keys in (('missing', missing), ('left over', extra), ('of another shape', other)) if keys]
    return '; '.join(parts)


def shapes_of(held: nn.Module | Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return {key: shape} of everything that a module keeps in its state, or of the tensors of a file."""
    return {key: tuple(value.shape) for key, value in (held.state_dict() if isinstance(held, nn.Module) else held).items()}


def shape(shapes: Shapes, key: str, ndim: int) -> tuple[int, ...]:
    """Return the shape of an entry by which a network takes its sizes from a file; WeightsError if it is not that."""
    if len(shapes.get(key, ())) != ndim:
        raise WeightsError(f'the weights have no {ndim}-dimensional entry {key}; take the official file of this family')
    return tuple(shapes[key])


def count(shapes: Shapes, prefix: str) -> int:
    """Return how many numbered parts `prefix`0, `prefix`1, ... a file has; WeightsError if none."""
    numbers = {key[len(prefix):].split('.')[0] for key in shapes if key.startswith(prefix)}
    found = 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)
    if not found:
        raise WeightsError(f'the weights have no entries {prefix}0...; take the official file of this family')
    return found


def load(module: nn.Module, tensors: Mapping[str, Tensor], file: str, dtype: torch.dtype = torch.float32,
         device: str = 'cpu') -> nn.Module:
    """Return `module`, built on the meta device, with `tensors` in place of its own, on `device` and ready to infer.

    Raises WeightsError naming the `file` and what is missing, left over or of another shape or kind; nothing is half loaded.
    """
    difference = compare(shapes_of(tensors), shapes_of(module))
    if difference:
        raise WeightsError(f'{file} does not fit {type(module).__name__}: {difference}; '
                           'take the official file of this family')
    whole = [key for key, value in module.state_dict().items()
             if value.is_floating_point() and not tensors[key].is_floating_point()]
    if whole:
        raise WeightsError(f'{file} holds whole numbers where weights belong ({", ".join(whole[:NAMED])}), as quantised '
                           'files do; take the official file of this family')
    placed = {key: value.to(device, dtype if value.is_floating_point() else None) for key, value in tensors.items()}
    module.load_state_dict(placed, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _open(path: Path, device: torch.device) -> dict[str, Tensor]:
    if path.is_dir() and (shards := _shards(path)):
        return {key: value for shard in shards for key, value in _open(shard, device).items()}
    if not path.is_file():
        what = f'{path} holds no .safetensors files' if path.is_dir() else f'there is no weights file {path}'
        raise WeightsError(f'{what}; give the path of the weights with the setting weights')
    try:
        path.open('rb').close()    # safetensors calls what it may not read missing
        content = _safetensors(path, device) if path.suffix == '.safetensors' else torch.load(
            path, map_location=device, weights_only=True, mmap=zipfile.is_zipfile(path))
    except (RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:    # torch says: load it with its code
        raise WeightsError(f'{path} is damaged, holds more than tensors or is no file of PyTorch; fetch it again') from error
    except (OSError, ValueError) as error:
        raise WeightsError(f'{path} is damaged or cannot be read ({first_line(error)}); fetch it again') from error
    for key in ('model', 'state_dict'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f'{path} does not hold named tensors; take the official file of this family')
    return content


def _shards(folder: Path) -> list[Path]:
    """Return the files that the folder's index names, or all of its .safetensors files if it has none."""
    index = folder / INDEX
    if not index.exists():
        return sorted(folder.glob('*.safetensors'))
    try:
        shards = [folder / Path(name).name for name in sorted(set(json.loads(index.read_text())['weight_map'].values()))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f'{index} is no list of weights files ({first_line(error)}); fetch it again') from error
    missing = [path.name for path in shards if not path.is_file()]
    if missing:
        raise WeightsError(f'{folder} lacks {len(missing)} of {len(shards)} weights files ({", ".join(missing[:NAMED])}); '
                           'fetch the folder again')
    return shards


def first_line(error: Exception) -> str:
    """Return what an error of another library says, short enough to be part of a sentence."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _safetensors(path: Path, device: torch.device) -> dict[str, Tensor]:
    safetensors = need('safetensors', 'pip install safetensors')
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            if device.type == 'meta':
                return {key: torch.empty(file.get_slice(key).get_shape(), device='meta') for key in file.keys()}
            return {key: file.get_tensor(key) for key in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(error) from error
