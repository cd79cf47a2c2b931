"""Compare an implementation with one golden file (numpy only).

    g = Golden("vda_s_forward_seed0")           # loads <name>.npz and <name>.json next to this file
    g.check("motion0", my_tensor)               # applies the recorded subsampling to MY FULL tensor
    g.report()                                  # prints all checks, returns True when all passed
"""
import json
import os

import numpy as np


class Golden:
    def __init__(self, name, folder=None, max_rel=1e-3, rms_rel=1e-4):
        folder = folder or os.path.dirname(os.path.abspath(__file__))
        self.arrays = np.load(os.path.join(folder, name + '.npz'))
        with open(os.path.join(folder, name + '.json')) as f:
            self.meta = json.load(f)
        self.max_rel, self.rms_rel, self.rows = max_rel, rms_rel, []

    def __getitem__(self, key):
        return self.arrays[key]

    @staticmethod
    def _slices(text):
        out = []
        for part in text.strip()[1:-1].split(','):
            f = part.strip().split(':')
            out.append(slice(*[int(v) if v else None for v in f]))
        return tuple(out)

    def check(self, key, value, already_sampled=False, max_rel=None, rms_rel=None):
        if hasattr(value, 'detach'):
            value = value.detach().float().cpu().numpy()
        value = np.asarray(value, np.float64)
        info = self.meta['tensors'][key]
        if 'subsampled' in info and not already_sampled:
            full = tuple(info['full_shape'])
            if value.shape != full and value.size == int(np.prod(full)):
                value = value.reshape(full)
            value = value[self._slices(info['subsampled'][4:])]
        ref = self.arrays[key].astype(np.float64)
        if value.shape != ref.shape:
            if value.size != ref.size:
                self.rows.append((key, False, f'shape {value.shape} != {ref.shape}'))
                return False
            value = value.reshape(ref.shape)
        scale = ref.std()
        if scale < 1e-6 * max(1.0, np.abs(ref).max()):     # (nearly) constant tensor
            scale = max(float(np.abs(ref).max()), 1.0)
        d = value - ref
        mx, rms = np.abs(d).max() / scale, np.sqrt((d * d).mean()) / scale
        ok = bool(mx <= (max_rel or self.max_rel) and rms <= (rms_rel or self.rms_rel))
        self.rows.append((key, ok, f'max/std {mx:.2e}  rms/std {rms:.2e}'))
        return ok

    def report(self):
        for key, ok, text in self.rows:
            print(f"{'ok  ' if ok else 'FAIL'} {key:28s} {text}")
        return all(r[1] for r in self.rows)
