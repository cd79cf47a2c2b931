"""An exported folder is taken for weights: the same maps without torch; what does not fit it is refused in one sentence."""

import errno
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip('torch', reason='torch is not installed: pip install torch')
pytest.importorskip('onnxscript', reason='onnxscript is not installed: pip install onnxscript')

from depth_ros import Frame, open_stream  # noqa: E402
from depth_ros.commands import main  # noqa: E402
from depth_ros.commands.export import LIMITS, export  # noqa: E402
from depth_ros.commands.process import process  # noqa: E402
from depth_ros.errors import OutputError, SettingsError, WeightsError  # noqa: E402
from depth_ros.models import export as onnx_files  # noqa: E402
from depth_ros.runtime import probe  # noqa: E402
from test.families.tiny import NAMES, settings_of, write  # noqa: E402


def exported(name, folder, settings=(), **options):
    """Return (weights, exported folder) of a tiny family, with more settings than those that make it quick."""
    weights = write(name, folder / 'weights')
    said = [*(f'{key}={value}' for key, value in settings_of(name).items() if key != 'length'), *settings]
    export(name, folder / 'out', str(weights), set=said, **options)
    return str(weights), str(folder / 'out')


@pytest.fixture(scope='module')
def single(tmp_path_factory):
    """(weights, exported folder) of a single-picture family of two graphs."""
    return exported('pixel_perfect', tmp_path_factory.mktemp('single'))


def maps(name, weights, frames=1, live=False, **settings):
    """Return the maps of a texture that passes by, and the stream."""
    noise = np.random.default_rng(0).integers(0, 255, (90, 260, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 3), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    known = settings_of(name) if name in NAMES else {}
    tiny = {key.replace('.', '__'): value for key, value in known.items() if key != 'length'}
    stream = open_stream(family=name, weights=weights, live=live, **{**tiny, **settings})
    done = []
    for number in range(frames):
        rgb = np.ascontiguousarray(texture[:60, 2 * number:2 * number + 80])
        done += stream.push(Frame(rgb, number * 33_000_000, None, 'camera'))
    return np.stack([depth.map for depth in done + stream.flush()]), stream


def assert_same(found, wanted):
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4 * wanted.std()


def test_the_maps_are_those_of_torch(single):
    weights, folder = single
    wanted, torch_stream = maps('pixel_perfect', weights)
    found, stream = maps('pixel_perfect', folder)
    assert_same(found, wanted)
    assert torch_stream.info['backend'] == 'torch' and stream.info['backend'] == 'onnx'
    assert stream.info['weights'] == 'semantics.onnx denoise.onnx'


def test_what_was_not_folded_in_may_still_be_chosen(single):
    weights, folder = single
    assert_same(maps('pixel_perfect', folder, model__steps=3)[0], maps('pixel_perfect', weights, model__steps=3)[0])


def test_the_folder_says_what_it_is_and_how_near_to_torch(single):
    content = json.loads((Path(single[1]) / 'graphs.json').read_text())
    assert content['family'] == 'pixel_perfect' and content['size'] == [48, 64] and content['lengths'] == [1]
    assert set(content['weights']) == {'ppd.pth', 'depth_anything_v2_vitl.pth'}
    denoise = content['graphs']['denoise']
    assert list(denoise['inputs']) == ['latent', 'rgb', 'semantics', 't']
    assert denoise['inputs']['rgb'] == {'shape': [1, 3, 48, 64], 'dtype': 'float32'}
    assert 0 < denoise['parity'] < 1e-4


def test_process_takes_the_folder(single, tmp_path):
    (tmp_path / 'pictures').mkdir()
    cv2.imwrite(str(tmp_path / 'pictures' / '0.png'), np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8))
    process([tmp_path / 'pictures'], tmp_path / 'depth', family='pixel_perfect', weights=single[1], set=['model.steps=2'])
    assert len(list((tmp_path / 'depth').glob('*.npy'))) == 1


@pytest.mark.parametrize(('settings', 'sentence'), [
    ({'family': 'gemdepth'}, 'holds pixel_perfect, asked for was family=gemdepth'),
    ({'length': 2}, 'exported for windows of 1 frames, asked for was length=2'),
    ({'model__short_side_px': 64}, 'exported for pictures of 48x64 px, asked for was model.short_side_px=64'),
    ({'model__precision': 'fp16'}, 'exported for fp32, asked for was model.precision=fp16'),
    ({'backend': 'torch'}, 'runs on onnx'),
])
def test_another_family_length_size_or_backend_is_one_sentence(single, settings, sentence):
    with pytest.raises(SettingsError, match=sentence) as error:
        open_stream(**{'family': 'pixel_perfect', 'weights': single[1], **settings})
    assert '\n' not in str(error.value)


def test_a_changed_file_or_a_broken_description_is_refused(single, tmp_path):
    folder = tmp_path / 'copy'
    shutil.copytree(single[1], folder)
    with (folder / 'denoise.onnx').open('ab') as file:
        file.write(b'x')
    with pytest.raises(WeightsError, match='denoise.onnx is damaged or another file'):
        open_stream(family='pixel_perfect', weights=str(folder))
    (folder / 'graphs.json').write_text('{"family": "pixel_perfect"}')
    with pytest.raises(WeightsError, match='export it again'):
        open_stream(family='pixel_perfect', weights=str(folder))


def test_a_folder_that_exists_is_left_alone_and_a_failure_leaves_none(tmp_path):
    (tmp_path / 'out').mkdir()
    with pytest.raises(OutputError, match='exists'):
        export('pixel_perfect', tmp_path / 'out')
    with pytest.raises(WeightsError, match='there is no weights file'):
        export('pixel_perfect', tmp_path / 'new', str(tmp_path / 'nothing.pth'))
    assert [item.name for item in tmp_path.iterdir()] == ['out']


@pytest.mark.parametrize('asked', [{'length': 3}, {'set': ['length=3']}])
def test_more_frames_than_the_family_sees_are_refused_however_they_are_asked_for(asked, tmp_path):
    weights = write('depth_anything', tmp_path / 'weights')
    with pytest.raises(SettingsError, match='depth_anything sees one frame at a time'):
        export('depth_anything', tmp_path / 'out', str(weights), **asked)


def test_a_place_that_cannot_be_written_to_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(OutputError, match='cannot write out: '):
        export('pixel_perfect', tmp_path / 'file' / 'out')


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(onnx_files, 'write', full)
    weights = write('depth_anything', tmp_path / 'weights')
    with pytest.raises(OutputError, match='cannot write depth.onnx: No space left'):
        export('depth_anything', tmp_path / 'out', str(weights), size='56x56')
    assert [item.name for item in tmp_path.iterdir()] == ['weights']


def test_what_was_exported_is_not_exported_again(single, tmp_path):
    with pytest.raises(SettingsError, match='is exported already; give the weights'):
        export('pixel_perfect', tmp_path / 'new', single[1])


@pytest.mark.parametrize(('family', 'weights', 'sentence'), [
    ('onnx', 'net.yaml', 'runs on ONNX files already'), ('depthvlm', '', 'writes words'),
    ('lite', 'net.onnx', 'is no ONNX file as `depth_ros train --recipe lite` writes it'),
])
def test_what_needs_no_export_or_knows_none_says_so(family, weights, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('net.onnx').write_bytes(b'')
    Path('net.yaml').write_text('{file: net.onnx, input: a, output: b, size: [32, 32], value_range: [0, 1], '
                                'quantity: disparity_affine}')
    with pytest.raises(SystemExit) as error:
        main(['export', '--family', family, '--weights', weights, '--out', 'out'])
    assert error.value.code == 2 and sentence in capsys.readouterr().err


def test_a_size_that_the_network_cannot_see_is_one_sentence(tmp_path, capsys):
    weights = write('pixel_perfect', tmp_path / 'weights')
    with pytest.raises(SystemExit) as error:
        main(['export', '--family', 'pixel_perfect', '--weights', str(weights), '--out', str(tmp_path / 'out'),
              '--size', '50x64'])
    assert error.value.code == 2
    assert 'cannot see pictures of 50x64 px' in capsys.readouterr().err


def test_a_network_of_one_graph_is_that_of_torch(tmp_path):
    weights, folder = exported('depth_anything', tmp_path)
    wanted, _ = maps('depth_anything', weights, frames=3)
    found, stream = maps('depth_anything', folder, frames=3)
    assert_same(found, wanted)
    assert stream.info['weights'] == 'depth.onnx'


def test_what_does_not_compute_what_torch_computes_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(LIMITS, 'fp16', 1e-6)
    weights = write('depth_anything', tmp_path / 'weights')
    with pytest.raises(WeightsError, match='depth.onnx differs from torch by .*, try --precision fp32'):
        export('depth_anything', tmp_path / 'out', str(weights), precision='fp16', set=['model.short_side_px=56'])
    assert [item.name for item in tmp_path.iterdir()] == ['weights']


def test_int8_is_near_to_float32(tmp_path):
    weights, folder = exported('depth_anything', tmp_path, precision='int8')
    plain, _ = maps('depth_anything', weights)
    short, stream = maps('depth_anything', folder)
    assert 1e-4 < np.abs(short - plain).max() / plain.std() < 0.5
    assert stream.info['backend'] == 'onnx'
    assert json.loads((tmp_path / 'out' / 'graphs.json').read_text())['precision'] == 'int8'


@pytest.mark.slow
def test_graphs_that_do_not_bear_int8_stay_as_they_are(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(onnx_files, 'LARGEST_INLINE', 1000)    # weights lie beside the files that keep them
    export('pixel_perfect', tmp_path / 'two', str(write('pixel_perfect', tmp_path / 'ppd')), precision='int8', set=[
        f'{name}={value}' for name, value in settings_of('pixel_perfect').items() if name != 'length'])
    said, graphs = capsys.readouterr().out, json.loads((tmp_path / 'two' / 'graphs.json').read_text())['graphs']
    assert all(said.splitlines()) and 'windows of 1 frame, int8' in said
    for name, graph in graphs.items():    # what was refused is what it was
        stays = f'{name} stays fp32, for in int8: ' in said
        assert (graph['parity'] < LIMITS['fp32']) == stays
        assert bool(graph['data_sha256']) == (tmp_path / 'two' / f'{name}.onnx.data').exists() == stays


def test_a_family_that_does_not_bear_int8_is_not_exported(tmp_path, monkeypatch):
    weights = write('depth_anything', tmp_path / 'weights')
    monkeypatch.setitem(probe.RMS_LIMIT, 'int8', -1.0)
    with pytest.raises(WeightsError, match='depth_anything does not bear int8 .depth stays fp32, .* nothing was written'):
        export('depth_anything', tmp_path / 'none', str(weights), precision='int8', size='56x56')
    assert not (tmp_path / 'none').exists()


@pytest.mark.parametrize(('precision', 'largest'), [('fp32', 1e-4), ('fp16', 0.05)])
def test_lite_of_fixed_shapes_is_the_shipped_network(precision, largest, tmp_path):
    export('lite', tmp_path / 'out', precision=precision)
    wanted, _ = maps('lite', '', frames=8, live=True)
    found, stream = maps('lite', str(tmp_path / 'out'), frames=8, live=True)
    assert np.abs(found - wanted).max() < largest * wanted.std()
    content = json.loads((tmp_path / 'out' / 'graphs.json').read_text())
    assert content['size'] == [192, 256] and content['weights'].keys() == {'lite.onnx'}
    step = content['graphs']['step']
    assert step['inputs']['memory'] == {'shape': [1, 576, 12, 16], 'dtype': 'float32'} and step['parity'] < largest
    assert (stream.info['backend'], stream.info['weights']) == ('onnx', 'step.onnx')


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted({*NAMES, 'lite'} - {'depthvlm'}))
def test_tensorrt_understands_every_export(name, tmp_path):
    """Not what it computes: that takes a GPU."""
    trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed: pip install tensorrt-rtx')
    if name == 'lite':
        export('lite', tmp_path / 'out', precision='fp16')
    else:
        exported(name, tmp_path, precision='fp16', length={'gemdepth': 8, 'dvd': 9}.get(name, 0))
    for path in (tmp_path / 'out').glob('*.onnx'):
        log = trt.Logger(trt.Logger.ERROR)
        builder = trt.Builder(log)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, log)
        assert parser.parse_from_file(str(path)), parser.get_error(0).desc()
        assert builder.build_serialized_network(network, builder.create_builder_config()) is not None, path.name


@pytest.mark.slow
def test_windows_and_a_live_stream_are_those_of_torch(tmp_path):
    weights, folder = exported('video_depth_anything', tmp_path)
    for live in (False, True):
        wanted, torch_stream = maps('video_depth_anything', weights, frames=40, live=live)
        found, stream = maps('video_depth_anything', folder, frames=40, live=live)
        assert_same(found, wanted)
        assert stream.spec == torch_stream.spec


@pytest.mark.slow
@pytest.mark.parametrize('injected', [True, False])
def test_gemdepth_is_that_of_torch_with_and_without_its_pose(injected, tmp_path):
    """Its tiny network turns a rounding of its tokens (3e-7) into 0.02 of some maps: poses and most pixels are compared."""
    weights, folder = exported('gemdepth', tmp_path, [f'model.pose_injection={str(injected).lower()}'], length=8)
    wanted, torch_stream = maps('gemdepth', weights, frames=12, length=8, model__pose_injection=injected)
    found, stream = maps('gemdepth', folder, frames=12, length=8)
    assert (torch_stream.info['backend'], stream.info['backend']) == ('torch', 'onnx')
    assert np.median(np.abs(found - wanted)) < 1e-3 * wanted.std()
    assert np.abs(found - wanted).max() < 0.1 * wanted.std()
    parity = json.loads((Path(folder) / 'graphs.json').read_text())['graphs']['window']['parity']
    assert parity < 1e-3
