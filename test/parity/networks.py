"""Large networks with the kit's pseudo-random weights, and what their parts say on the way."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from depth_ros.models import weights
from test.parity.fill import weight


def filled(network: nn.Module, prefix: str, tables: Mapping[str, Tensor]) -> nn.Module:
    """Return the network, built on the meta device, with the kit's weights; `tables` are those that the kit leaves alone."""
    def tensor(key: str) -> Tensor:
        if key in tables:
            return tables[key]
        return torch.from_numpy(np.asarray(weight(prefix + key, network.state_dict()[key].shape, 0)))

    keys = list(network.state_dict())
    with ThreadPoolExecutor() as pool:    # the generator takes most of the time, and does not hold the interpreter
        return weights.load(network, dict(zip(keys, pool.map(tensor, keys), strict=True)), 'pseudo-random')


def listen(parts: Mapping[str, nn.Module]) -> dict[str, list[Tensor]]:
    """Return a dictionary that fills with the outputs of the parts by name, and with their first inputs as `name:in`."""
    heard: dict[str, list[Tensor]] = defaultdict(list)
    for name, part in parts.items():
        def hook(_, inputs, output, name=name):
            heard[name].append(output)
            heard[f'{name}:in'] += inputs[:1]
        part.register_forward_hook(hook)
    return heard
