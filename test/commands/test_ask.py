"""A question about a picture is answered, and the depth of the same pass can be kept."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip('torch')
pytest.importorskip('transformers')

from depth_ros.commands.ask import ask  # noqa: E402
from depth_ros.errors import InputError, OutputError, SettingsError, WeightsError  # noqa: E402
from test.families.tiny import depthvlm as tiny  # noqa: E402
from test.io.made import jpeg, picture  # noqa: E402

CAMERA = {'camera': '500,500,160,120'}
SMALL = ['model.short_side_px=64', 'threads=1']


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return str(tiny.write(tmp_path_factory.mktemp('depthvlm')))


@pytest.fixture
def chair(tmp_path):
    path = tmp_path / 'chair.png'
    path.write_bytes(jpeg(picture(0), '.png'))
    return path


def test_a_question_is_answered_with_text_and_the_depth_is_kept_beside_it(tmp_path, weights, chair, capsys):
    out = tmp_path / 'out'
    ask(chair, 'how far is the chair?', weights, **CAMERA, set=SMALL, out=out)
    answer = capsys.readouterr().out.removesuffix('\n')
    assert answer and (out / 'answer.txt').read_text() == f'how far is the chair?\n{answer}\n'
    line, = (json.loads(line) for line in (out / 'frames.jsonl').read_text().splitlines())
    depth_m = np.load(out / line['depth_m_file'])
    assert depth_m.shape == picture(0).shape[:2] == cv2.imread(str(out / 'preview.png')).shape[:2]
    assert np.isfinite(depth_m).all() and line['quantity'] == 'depth_metric' and line['K'][0][0] == 500


def test_the_same_question_gets_the_same_answer_and_another_one_another(weights, chair, capsys):
    answers = []
    for question in ('how far is the chair?', 'how far is the chair?', 'what?'):
        ask(chair, question, weights, **CAMERA, set=SMALL)
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] != answers[2]


def test_process_gives_the_same_depth(tmp_path, weights, chair, capsys):
    from depth_ros.commands.process import process

    ask(chair, 'what?', weights, **CAMERA, set=SMALL, out=tmp_path / 'asked')
    (tmp_path / 'pictures').mkdir()
    chair.rename(tmp_path / 'pictures' / 'chair.png')
    process([tmp_path / 'pictures'], tmp_path / 'processed', family='depthvlm', weights=weights, **CAMERA, set=SMALL)
    name = 'depth_m_000000.npy'
    assert np.array_equal(np.load(tmp_path / 'asked' / name), np.load(tmp_path / 'processed' / name))


def test_what_cannot_work_is_told_before_the_weights_are_read(tmp_path, weights, chair):
    with pytest.raises(InputError, match='camera_info.*camera.fx_fy_cx_cy'):
        ask(chair, 'how far?', weights='/nowhere')
    with pytest.raises(SettingsError, match='lite answers no questions'):
        ask(chair, 'how far?', family='lite')
    with pytest.raises(InputError, match='empty'):
        ask(chair, '  ', weights, **CAMERA)
    with pytest.raises(InputError, match='nothing.png'):
        ask(tmp_path / 'nothing.png', 'how far?', weights, **CAMERA)
    with pytest.raises(InputError, match='no readable picture'):
        (tmp_path / 'text.png').write_text('text')
        ask(tmp_path / 'text.png', 'how far?', weights, **CAMERA)
    with pytest.raises(WeightsError, match='/nowhere'):
        ask(chair, 'how far?', '/nowhere', **CAMERA)
    with pytest.raises(OutputError, match='exists'):
        ask(chair, 'how far?', '/nowhere', **CAMERA, set=SMALL, out=tmp_path)
