"""What folding away DVD's constants is worth: its transformer against the whole one, in turn.

    python -m test.benchmark.folded [THREADS]
"""

import copy
import sys
import time
from functools import partial

import torch

from depth_ros.benchmark.against import interleave, ratio_of
from depth_ros.models import dvd
from test.models.test_dvd import unfolded

LATENTS = ((3, 20, 26), (2, 30, 40))    # 9 frames of 160x208 px, 5 of 240x320


def main(threads: int) -> None:
    """Print the ratio for a transformer of 6 blocks that is a third as wide as the published one."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    whole = dvd.wan.WanTransformer3DModel(num_attention_heads=4, ffn_dim=2986, num_layers=6).eval()
    folded = dvd.DepthTransformer(copy.deepcopy(whole), tau=0.5).eval()
    with torch.inference_mode():
        for shape in LATENTS:
            latent = torch.randn(1, 16, *shape)
            ours, other = folded(latent)['latent'], unfolded(whole, latent)
            took = interleave([partial(timed, folded, latent),
                               partial(timed, partial(unfolded, whole), latent)], 15)
            print(shape, ratio_of(took), f'largest difference {(ours - other).abs().max() / other.abs().max():.0e}')


def timed(run, latent: torch.Tensor) -> float:
    """Return the seconds of one run."""
    start = time.perf_counter()
    run(latent)
    return time.perf_counter() - start


if __name__ == '__main__':
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
