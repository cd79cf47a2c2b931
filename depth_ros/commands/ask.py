"""`depth_ros ask`: a question about a picture, answered by a vision-language model with the depth of the same pass."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depth_ros.commands.options import parse_setting
from depth_ros.errors import InputError, SettingsError

if TYPE_CHECKING:
    from depth_ros.core.frame import DepthFrame, Frame
    from depth_ros.settings import Settings


def ask(
    picture: Annotated[Path, typer.Argument(help='A picture file.')],
    question: Annotated[str, typer.Argument(help='What to ask about it, e.g. "how far is the chair?"')],
    weights: Annotated[str | None, typer.Option(help='Folder with the weights; default: the downloaded ones.')] = None,
    family: Annotated[str, typer.Option(help='A family that answers questions.')] = 'depthvlm',
    camera: Annotated[str | None, typer.Option(help='Intrinsics fx,fy,cx,cy in pixels of the picture.')] = None,
    camera_file: Annotated[str | None, typer.Option(help='Calibration YAML as camera_calibration writes it.')] = None,
    set: Annotated[list[str] | None, typer.Option(help='Any setting, as name=value; repeatable.')] = None,
    out: Annotated[Path | None, typer.Option(help='Folder for the answer, the depth and a preview of it.')] = None,
    overwrite: Annotated[bool, typer.Option(help='Replace an existing folder once the new one is complete.')] = False,
) -> None:
    """Answer a question about a picture."""
    from depth_ros.io.output import complete_or_nothing
    from depth_ros.settings import build

    given = {'family': family, 'weights': weights, 'camera.fx_fy_cx_cy': camera, 'camera.file': camera_file}
    settings = build({name: value for name, value in given.items() if value is not None}
                     | dict(parse_setting(text) for text in set or ()))
    if not question.strip():
        raise InputError('the question is empty; ask something, e.g. "how far is the chair?"')
    frame = read_frame(picture, settings)
    with complete_or_nothing(out, overwrite) if out else nullcontext() as folder:    # says now what cannot be written
        depth, answer = answer_with_depth(frame, question, settings)
        print(answer)
        if folder:
            write(folder, depth, question, answer)
    if out:
        print(f'depth_ros: depth, preview and answer -> {out}', file=sys.stderr)


def read_frame(path: Path, settings: 'Settings') -> 'Frame':
    """Return the picture with the camera that the settings state. Raises InputError if it cannot be read."""
    import numpy as np

    from depth_ros.core.camera import rectify
    from depth_ros.core.frame import Frame
    from depth_ros.io.camera_msg import camera_from_settings
    from depth_ros.io.image_msg import decode_file

    try:
        rgb = decode_file(np.fromfile(path, np.uint8), path.name)
    except OSError as error:
        raise InputError(f'cannot read {path}: {error.strerror}; give a picture file') from error
    camera = camera_from_settings(settings.camera, *rgb.shape[:2])
    if camera and settings.camera.model == 'rectify':
        rgb, camera = rectify(rgb, camera)
    return Frame(rgb, 0, camera)


def answer_with_depth(frame: 'Frame', question: str, settings: 'Settings') -> tuple['DepthFrame', str]:
    """Return the depth of the picture and the answer to the question.

    Raises SettingsError if the family answers none, InputError if it cannot do with the picture or without a camera.
    """
    from depth_ros.core.camera import resize_camera
    from depth_ros.core.frame import Clip, DepthFrame
    from depth_ros.core.metric import MetricAnchor
    from depth_ros.families import load_family
    from depth_ros.pipeline import open_graphs

    family, (height, width) = load_family(settings), frame.rgb.shape[:2]
    if not family.ask:
        raise SettingsError(f'{family.name} answers no questions; leave --family away')
    h, w = family.size(height, width, frame.camera)    # says what is wrong before anything is loaded
    graphs, _ = open_graphs(family, settings)
    camera = frame.camera and resize_camera(frame.camera, h, w)
    prediction, answer = family.ask(graphs, Clip(family.shrink(frame.rgb, (h, w))[None], (0,), camera), question)
    map = family.enlarge(prediction.maps[0], (height, width))
    depth_m, anchor = MetricAnchor(family.quantity, None)(frame, map, settings.metric)
    return DepthFrame(0, frame, map, family.quantity, depth_m, anchor=anchor), answer


def write(folder: Path, depth: 'DepthFrame', question: str, answer: str) -> None:
    """Write depth as `process` does, `preview.png` and `answer.txt` into the folder."""
    import cv2

    from depth_ros.io.depth_file import DepthFolder
    from depth_ros.io.output import writing
    from depth_ros.io.preview import Preview

    maps = DepthFolder(folder)
    maps.add(depth)
    maps.close()
    with writing(folder):
        (folder / 'preview.png').write_bytes(cv2.imencode('.png', Preview()(depth))[1].tobytes())
        (folder / 'answer.txt').write_text(f'{question}\n{answer}\n', encoding='utf8')
