"""Deterministic pseudo-random weights and inputs for the parity kit (numpy only).

weight(name, shape, seed)  value of the tensor whose OFFICIAL checkpoint key is `name`
fill_torch(module, seed, prefix="", keep=())  fill an nn.Module in place, by state_dict key
frames(seed, T, H, W)      smooth pseudo-random RGB video, uint8 (T,H,W,3)  (needs cv2)
"""
import math
import zlib

import numpy as np

# Keys with ndim >= 2 that contain one of these substrings are "embeddings / tokens": 0.02 * x.
TOKEN_SUBSTRINGS = ('pos_embed', 'cls_token', 'mask_token', 'camera_token', 'register_token',
                    'empty_pose_tokens', 'embed_tokens')
# Keys that end like this are tables which the architecture computes itself: never filled.
COMPUTED_SUFFIXES = ('pos_encoder.pe', 'dit_video.pos_embed', 'freqs', 'inv_freq',
                     'image_idx_emb', 'image_mean', 'image_std', '_resnet_mean', '_resnet_std')


def weight(name, shape, seed):
    """float32 array for official key `name`; None if the key is a computed table."""
    if name.endswith(COMPUTED_SUFFIXES):
        return None
    shape = tuple(int(s) for s in shape)
    if len(shape) == 0:
        return np.zeros((), np.float32)
    rng = np.random.Generator(np.random.Philox(key=[zlib.crc32(name.encode()), seed]))
    x = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith('gamma'):                       # LayerScale / RMS norm scale, ANY ndim
        return np.float32(1) + np.float32(0.1) * x
    if len(shape) >= 2:
        if any(s in name for s in TOKEN_SUBSTRINGS):
            return np.float32(0.02) * x
        return x / np.float32(math.sqrt(math.prod(shape[1:])))
    if name.endswith('weight'):                      # 1-D: norm scales
        return np.float32(1) + np.float32(0.1) * x
    return np.float32(0.1) * x                       # 1-D: biases and the rest


def fill_torch(module, seed, prefix='', keep=(), overrides=None):
    """Fill every floating tensor of module.state_dict() whose key (prefix + key) is not kept.
    overrides: {official key: constant} from the sidecar JSON (used to keep a final ReLU alive).
    Returns (filled keys, kept keys)."""
    import torch
    done, kept = [], []
    with torch.no_grad():
        for k, v in module.state_dict().items():
            w = None if (not v.is_floating_point() or prefix + k in keep) \
                else weight(prefix + k, v.shape, seed)
            if w is None:
                kept.append(prefix + k)
                continue
            if overrides and prefix + k in overrides:
                w = np.full(w.shape, overrides[prefix + k], np.float32)
            v.copy_(torch.from_numpy(np.ascontiguousarray(w)).reshape(v.shape))
            done.append(prefix + k)
    return done, kept


def frames(seed, T, H, W):
    """Smooth drifting texture plus a moving gradient; the npz files store what was really used."""
    import cv2
    rng = np.random.Generator(np.random.Philox(key=[seed, 12345]))
    low = rng.random((6, 8, 3), dtype=np.float32)
    big = cv2.resize(low, (2 * W, 2 * H), interpolation=cv2.INTER_CUBIC)
    yy, xx = np.mgrid[0:H, 0:W].astype(np.float32)
    out = np.empty((T, H, W, 3), np.uint8)
    for t in range(T):
        dy, dx = (3 * t) % H, (5 * t) % W
        g = 0.5 + 0.5 * np.sin(2 * np.pi * (xx / W + 0.7 * yy / H) + 0.35 * t)
        f = 0.65 * big[dy:dy + H, dx:dx + W] + 0.35 * g[..., None]
        out[t] = np.clip(f * 255.0, 0, 255).round().astype(np.uint8)
    return out


if __name__ == '__main__':                           # self test: must print the README's numbers
    a = weight('pretrained.blocks.0.attn.qkv.weight', (1152, 384), 0)
    print(a.ravel()[:4], float(a.astype(np.float64).sum()), float(a.std()))
