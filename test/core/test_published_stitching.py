"""With plain least squares the stitcher gives what the published ones give, window for window."""

import cv2
import numpy as np
import pytest

from depth_ros.core.alignment import Stitcher
from depth_ros.core.window import RollingWindow, WindowSpec
from depth_ros.settings import AlignmentSettings
from test.parity.compare import Golden

VDA = WindowSpec(32, (0, 12, *range(24, 32)), anchors=2, blend=8, past_end=True, floor=0.0)
METRIC = WindowSpec(32, (0, 12, *range(24, 32)), anchors=0, blend=8, past_end=True)
EIGHT = WindowSpec(8, (0, 3, 6, 7), anchors=2, blend=2, past_end=True, floor=0.0)
PPVD = WindowSpec(16, (0, 8, 15), anchors=3)
DVD = WindowSpec(13, (9, 10, 11, 12), anchors=4, blend=4, moved_back=True, scale_limits=(0.7, 1.5), floor=0.0)


def stitched(spec, outputs, count, fit='least_squares'):
    """Return (N, H, W) maps, the frames of each window, and the fit of each window."""
    window, stitcher = RollingWindow(spec), Stitcher(spec, AlignmentSettings(fit=fit, cuts=False))
    done, frames, fits = [], [], []

    def add(window):
        done.extend(stitcher.add(window.indices, window.fresh, outputs[len(frames)][:len(window.indices)]))
        frames.append(window.indices)
        fits.append((stitcher.fit.scale, stitcher.fit.shift))

    for position in range(count):
        if full := window.push(position):
            add(full)
    while last := window.flush():
        add(last)
    done.extend(stitcher.flush())
    assert [item.index for item in done] == list(range(count))
    return np.stack([item.map for item in done]), frames, fits


def enlarged(maps, height, width):
    """Bilinear with the corners aligned: (T, h, w) -> (T, height, width)."""
    h, w = maps.shape[1:]
    v, u = np.meshgrid(np.linspace(0, h - 1, height), np.linspace(0, w - 1, width), indexing='ij')
    return np.stack([cv2.remap(map, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR) for map in maps])


@pytest.mark.parametrize(('name', 'spec'), [('vda_stitch', VDA), ('vda_stitch_metric', METRIC), ('gemdepth_stitch_w32', VDA),
                                            ('gemdepth_stitch_w8', EIGHT)])
def test_windows_of_video_depth_anything_and_gemdepth_come_out_as_published(name, spec):
    golden = Golden(f'{name}_seed0')
    count, height, width = golden['depth'].shape
    outputs = [enlarged(maps, height, width) for maps in golden['window_outputs']]
    maps, frames, fits = stitched(spec, outputs, count)
    assert np.array_equal(frames, golden['window_frame_ids'])
    assert np.allclose(fits[1:], golden['scale_shift_f64'][1:], atol=1e-4)
    golden.check('depth', maps)
    assert golden.report()


def test_windows_of_pixel_perfect_video_depth_come_out_as_published():
    golden = Golden('ppvd_stitch_seed0')
    maps, frames, fits = stitched(PPVD, golden['window_outputs'], len(golden['aligned']))
    assert np.array_equal(frames, golden['window_frame_ids'])
    assert np.allclose(fits[1:], golden['scale_shift_f64'][1:], atol=1e-4)
    golden.check('aligned', maps)
    assert golden.report()


@pytest.mark.parametrize(('name', 'fit'), [('dvd_stitch', 'least_squares'), ('dvd_stitch_scaleonly', 'scale_only')])
def test_windows_of_dvd_come_out_as_published(name, fit):
    golden = Golden(f'{name}_seed0')
    outputs = [golden[f'window_output_{number}'].reshape(13, 12, 16 * 3) for number in range(3)]    # channels side by side
    maps, frames, fits = stitched(DVD, outputs, golden['result'].shape[1], fit)
    assert [[indices[0], indices[-1] + 1] for indices in frames] == golden.meta['windows']
    if 'scale_shift_f64' in golden.arrays:
        found = np.array(fits[1:])
        assert np.allclose(found[:, 0], np.clip(golden['scale_shift_f64'][:, 0], 0.7, 1.5), atol=1e-4)
        assert np.allclose(found[:, 1], golden['scale_shift_f64'][:, 1], atol=1e-4)
    golden.check('result', maps)
    assert golden.report()
