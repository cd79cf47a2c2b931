"""One HTML file to look at: tables, curves over time, the worst pictures with their error, and clouds to turn.

Everything is inside the file (styles, script, pictures, points), so that it opens without a network.
"""

import base64
import html
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from depth_ros.core.camera import Camera
from depth_ros.core.cloud import make_cloud, unpack_colour
from depth_ros.evaluation.page import SCRIPT, STYLE
from depth_ros.evaluation.score import FrameScore, Look, Score
from depth_ros.evaluation.tables import Table, tables
from depth_ros.settings import CloudSettings

WORST = 'worst', 'second worst', 'third worst'    # pictures shown of each network and set
PANE_PX = 320                # width of a picture
ERROR_SPAN = 0.3             # relative error at the ends of the error colours
POINTS = 12_000              # of a cloud, about
NOMINAL_FOV_DEG = 60.0       # of a picture without calibration
CURVE_PX = 440, 150          # width, height
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 44, 8, 8, 20    # room around a curve
CURVES: dict[str, Callable[[FrameScore], float]] = {
    'AbsRel, each picture fitted alone': lambda frame: frame.absrel,
    'AbsRel, one fit for the video': lambda frame: frame.video_absrel,
    'scale left by that fit, % off 1': lambda frame: 100 * (frame.factor - 1),
    'TAE, with the frame before [%]': lambda frame: 100 * frame.tae,
    'rotation error since the frame before [deg]': lambda frame: frame.rotation_error_deg,
    'time [ms]': lambda frame: frame.ms,
}


@dataclass(frozen=True)
class Panel:
    """What is shown of one network on one set: HTML, and points by who says so."""

    pictures: str
    clouds: dict[str, str]    # button -> its attributes


def interesting(score: Score) -> dict[int, str]:
    """Return {index: why} of the pictures to show: the worst ones, of a video not all in one place, and the one in the
    middle, which gives the cloud.
    """
    error = {frame.index: frame.video_absrel if score.is_video else frame.absrel for frame in score.frames}
    worst = sorted((index for index in error if math.isfinite(error[index])), key=lambda index: -error[index])
    apart, why = len(score.frames) // 10 if score.is_video else 0, dict[int, str]()
    for index in worst:
        if len(why) < len(WORST) and all(abs(index - other) > apart for other in why):
            why[index] = WORST[len(why)]
    why.setdefault(len(score.frames) // 2, 'in the middle')
    return why


def make_panel(score: Score, looks: Iterable[Look]) -> Panel:
    """Return pictures and clouds of the looks, which are to hold the middle picture."""
    why, strips, clouds = interesting(score), dict[int, str](), dict[str, str]()
    for look in looks:
        strips[look.index] = _strip(score, look, why[look.index])
        if look.index == len(score.frames) // 2:
            if look.sample.depth_m is not None:
                clouds['truth'] = _cloud(look, look.sample.depth_m)
            clouds[score.network] = _cloud(look, look.depth_m)
    return Panel('\n'.join(strips[index] for index in why), clouds)


def make_report(scores: list[Score], panels: Mapping[tuple[str, str], Panel], facts: Mapping[str, Any]) -> str:
    """Return the page; `panels` by (set, network), `facts` are shown as they are."""
    networks = list(dict.fromkeys(score.network for score in scores))
    about = ', '.join(f'{name} {value}' for name, value in facts.items())
    parts = [f'<h1>Depth against the truth</h1><p class="muted">{_text(about)}</p>']
    parts += [_table(table) for table in tables(scores)]
    notes = dict.fromkeys(f'{score.network}, {note}' for score in scores for note in score.notes)
    parts += [f'<p class="muted">{_text(note)}.</p>' for note in notes]
    for name in dict.fromkeys(score.dataset for score in scores):
        own = [score for score in scores if score.dataset == name]
        shown = {score.network: panels[name, score.network] for score in own if (name, score.network) in panels}
        parts.append(_section(own, shown, networks))
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<title>depth_ros evaluate</title><style>{STYLE}</style><body><main>{"".join(parts)}</main>'
            f'<script>{SCRIPT}</script></body></html>\n')


def _section(scores: list[Score], panels: Mapping[str, Panel], networks: list[str]) -> str:
    """Return all that is shown of one set; `panels` by network."""
    kind = 'frames of one stream' if scores[0].is_video else 'pictures, each alone'
    parts = [f'<section><h2>{_text(scores[0].dataset)}</h2><p class="muted">{len(scores[0].frames)} {kind}</p>']
    parts += [_legend(networks), '<div class="curves">', *_curves(scores, networks), '</div>']
    parts += [_viewer({name: cloud for panel in panels.values() for name, cloud in panel.clouds.items()}), LEGEND]
    parts += [f'<details open><summary>{_text(network)}</summary>{panel.pictures}</details>'
              for network, panel in panels.items()]
    return ''.join([*parts, '</section>'])


# --- tables and curves


def _table(table: Table) -> str:
    head = ''.join(f'<th>{_text(cell)}</th>' for cell in table.header)
    rows = ''.join(f'<tr>{"".join(f"<td>{_text(cell)}</td>" for cell in row)}</tr>' for row in table.rows)
    return f'<h3>{_text(table.title)}</h3><div class="wide"><table><tr>{head}</tr>{rows}</table></div>'


def _legend(networks: list[str]) -> str:
    names = ''.join(f'<span class="s{number % 6}">{_text(name)}</span>' for number, name in enumerate(networks))
    return f'<p class="legend">{names}</p>'


def _curves(scores: list[Score], networks: list[str]) -> list[str]:
    """Return a drawing of every measure that is known; one picture makes no curve."""
    drawings = []
    for title, value in CURVES.items():
        series = {networks.index(score.network): [value(frame) for frame in score.frames] for score in scores}
        known = [v for values in series.values() for v in values if math.isfinite(v)]
        if known and len(scores[0].frames) > 1:
            drawings.append(_curve(title, series, [score.network for score in scores], min(known), max(known),
                                   scores[0].is_video))
    return drawings


def _curve(title: str, series: Mapping[int, list[float]], names: list[str], low: float, high: float, line: bool) -> str:
    """Return an SVG of one measure over the pictures; 0 is always in sight."""
    width, height = CURVE_PX
    step = _round_step(max(high, 0.0) - min(low, 0.0))
    ticks = [step * n for n in range(math.floor(min(low, 0.0) / step), math.ceil(max(high, 1e-9) / step) + 1)]
    low, high = ticks[0], ticks[-1]
    count = max(len(values) for values in series.values())

    def x(index: float) -> float:
        return LEFT_PX + index / max(1, count - 1) * (width - LEFT_PX - RIGHT_PX)

    def y(value: float) -> float:
        return TOP_PX + (high - value) / (high - low) * (height - TOP_PX - BOTTOM_PX)

    parts = [f'<path class="grid" d="M{LEFT_PX},{y(t):.1f}H{width - RIGHT_PX}"/>'
             f'<text x="{LEFT_PX - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{round(t, 9):g}</text>' for t in ticks]
    parts += [f'<text x="{x(n):.0f}" y="{height - 4}" text-anchor="{anchor}">{n}</text>'
              for n, anchor in ((0, 'start'), (count - 1, 'end'))]
    for number, values in series.items():
        points = [(x(index), y(v)) if math.isfinite(v) else None for index, v in enumerate(values)]
        if line:
            parts.append(f'<path class="line s{number % 6}" d="{_path(points)}"/>')
        else:
            parts += [f'<circle class="s{number % 6}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="4"/>' for p in points if p]
    data = _text(json.dumps([[name, [f'{v:.4g}' if math.isfinite(v) else '-' for v in values]]
                             for name, values in zip(names, series.values(), strict=True)]))
    return (f'<figure class="curve" data-series="{data}" data-left="{LEFT_PX}" data-right="{RIGHT_PX}">'
            f'<figcaption>{_text(title)}<output></output></figcaption>'
            f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{_text(title)}">{"".join(parts)}</svg></figure>')


def _path(points: list[tuple[float, float] | None]) -> str:
    pieces, pen_down = [], False
    for point in points:
        if point:
            pieces.append(f'{"L" if pen_down else "M"}{point[0]:.1f},{point[1]:.1f}')
        pen_down = point is not None
    return ''.join(pieces)


def _round_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, three or so to the span."""
    rough = max(span, 1e-9) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


# --- pictures


def _strip(score: Score, look: Look, why: str) -> str:
    """Return picture, truth, depth and error side by side. Truth and depth share their colours."""
    truth_m, frame = look.sample.depth_m, score.frames[look.index]
    span = _span(look.depth_m if truth_m is None else truth_m)
    panes = {'picture': look.sample.rgb}
    if truth_m is not None:
        panes['truth'] = _coloured(truth_m, span)
    panes['depth' if truth_m is not None else 'depth at a nominal scale'] = _coloured(look.depth_m, span)
    if truth_m is not None:
        panes['error'] = _error_coloured(look.depth_m, truth_m)
    said = ', '.join(f'{name} {value:.3f}' for name, value in (
        ('AbsRel', frame.absrel), ('under the fit of the video', frame.video_absrel), ('delta1', frame.delta1),
        ('boundary F1', frame.boundary_f1)) if math.isfinite(value))
    figures = ''.join(f'<figure>{_image(rgb, name)}<figcaption>{name}</figcaption></figure>' for name, rgb in panes.items())
    return f'<p>Picture {look.index}, {why}{": " * bool(said)}{said}</p><div class="strip">{figures}</div>'


def _span(depth_m: np.ndarray) -> tuple[float, float]:
    near = 1 / depth_m[np.isfinite(depth_m) & (depth_m > 0)]
    low, high = np.percentile(near, (2, 98)) if near.size else (0.0, 1.0)
    return float(low), max(float(high), float(low) + 1e-6)


def _coloured(depth_m: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: near is bright, nothing is grey."""
    with np.errstate(divide='ignore', invalid='ignore'):
        grey = np.clip((1 / depth_m - span[0]) / (span[1] - span[0]) * 255, 0, 255)
    known = np.isfinite(grey) & (depth_m > 0)
    rgb = cv2.applyColorMap(np.where(known, grey, 0).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1].copy()
    rgb[~known] = 128
    return rgb


def _error_coloured(depth_m: np.ndarray, truth_m: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB: blue too near, white right, red too far, grey unknown."""
    with np.errstate(divide='ignore', invalid='ignore'):
        error = (depth_m / truth_m - 1) / ERROR_SPAN
    known = np.isfinite(error) & (truth_m > 0)
    share = np.abs(np.clip(np.where(known, error, 0), -1, 1))[..., None]
    end = np.where(error[..., None] > 0, np.array((192, 32, 32)), np.array((24, 72, 192)))
    rgb = ((1 - share) * 250 + share * end).astype(np.uint8)
    rgb[~known] = 128
    return rgb


LEGEND = (f'<p class="muted">Drag the cloud, or use the arrow keys. Depth: bright is near. Error: {ERROR_SPAN:.0%} too near '
          f'<span class="scale"></span> {ERROR_SPAN:.0%} too far. Grey: unknown.</p>')


def _image(rgb: np.ndarray, name: str) -> str:
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (PANE_PX, max(1, round(height * PANE_PX / width))), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode('.jpg', np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    return f'<img alt="{name}" src="data:image/jpeg;base64,{_base64(jpeg)}">'


# --- clouds


def _cloud(look: Look, depth_m: np.ndarray) -> str:
    """Return attributes that hold the points: int16 in `unit` m, in the optical frame, and their colours."""
    height, width = depth_m.shape
    focal_px = width / 2 / math.tan(math.radians(NOMINAL_FOV_DEG / 2))
    camera = look.sample.camera or Camera(height, width, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)
    stride_px = min(32, max(1, round(math.sqrt(height * width / POINTS))))
    settings = CloudSettings(stride_px=stride_px, max_depth_m=100.0, organised=False)
    cloud = make_cloud(depth_m.astype(np.float32), look.sample.rgb, camera, settings)
    points, colours = cloud[:, :3], unpack_colour(cloud)
    unit = max(float(np.abs(points).max(initial=0)), 1e-3) / 32767
    centre = ','.join(f'{value:.3f}' for value in (np.median(points, axis=0) if len(points) else (0, 0, 1)))
    return (f'data-unit="{unit:.6g}" data-centre="{centre}" data-xyz="{_base64(np.rint(points / unit).astype("<i2"))}" '
            f'data-rgb="{_base64(colours)}"')


def _viewer(clouds: Mapping[str, str]) -> str:
    if not clouds:
        return ''
    buttons = ''.join(f'<button {attributes}>{_text(name)}</button>' for name, attributes in clouds.items())
    zoom = '<label>zoom <input type="range" min="-1" max="2" step="0.05" value="0"></label>'
    return (f'<div class="cloud"><div>{buttons}{zoom}</div>'
            '<canvas width="900" height="420" tabindex="0" aria-label="point cloud"></canvas></div>')


def _base64(data: Any) -> str:
    return base64.b64encode(data.tobytes()).decode()


def _text(text: str) -> str:
    return html.escape(str(text), quote=True)
