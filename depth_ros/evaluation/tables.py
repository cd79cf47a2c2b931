"""Scores as tables: for the terminal, for Markdown, and (in `report`) for a page."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from depth_ros.evaluation.flying import SMALL_PX
from depth_ros.evaluation.score import BOUNDARY_PX, Score

BOUNDARY = f'boundary F1 at {BOUNDARY_PX} px'


class Table(NamedTuple):
    """What a table says; every cell is text."""

    title: str
    header: list[str]
    rows: list[list[str]]


def tables(scores: list[Score]) -> list[Table]:
    """Return the tables of single pictures, of videos, of metres and of clouds, those of them that have rows."""
    return [table for table in (_pictures(scores), _videos(scores), _metres(scores), _clouds(scores)) if table.rows]


def as_text(table: Table) -> str:
    """Return the table for a terminal."""
    widths = [max(len(cell) for cell in column) for column in zip(table.header, *table.rows, strict=True)]
    lines = ['  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
             for row in (table.header, *table.rows)]
    return '\n'.join([f'{table.title}:', *lines])


def as_markdown(table: Table) -> str:
    """Return the table as Markdown, its title above it."""
    rows = [table.header, ['---'] * len(table.header), *table.rows]
    return '\n'.join([f'{table.title}:', '', *(f'| {" | ".join(row)} |' for row in rows)])


def _pictures(scores: list[Score]) -> Table:
    scores = [score for score in scores if 'absrel' in score.metrics]
    sets = _once(score.dataset for score in scores)
    rows = []
    for network in _once(score.network for score in scores):
        own = {score.dataset: score for score in scores if score.network == network}
        rows.append([network, *(_accuracy([own[name]]) if name in own else '-' for name in sets),
                     _accuracy(own.values()), _mean(own.values(), 'boundary_f1', '{:.3f}'),
                     _mean(own.values(), 'still_noise', '{:.2f}', 100)])
    header = ['network', *sets, f'mean of {len(sets)}', BOUNDARY, 'still noise [%]']
    return Table('AbsRel / delta1, every picture fitted alone; the last two columns are means over the sets', header, rows)


def _metres(scores: list[Score]) -> Table:
    rows = [[score.dataset, score.network, _mean([score], 'metric_share', '{:.0f}', 100),
             _mean([score], 'metric_first', '{:.0f}'), _mean([score], 'metric_absrel', '{:.3f}'),
             _mean([score], 'metric_over_alone', '{:.3f}'), _mean([score], 'metric_step', '{:.1f}', 100)]
            for score in scores if 'metric_share' in score.metrics]
    header = ['set', 'network', 'frames in metres [%]', 'first', 'AbsRel in metres', 'over AbsRel fitted alone',
              'largest step of the scale [%]']
    return Table('Metres as they came', header, rows)


def _clouds(scores: list[Score]) -> Table:
    """Return a row for each network, and one for the true depth through a network of small pictures."""
    rows, x = list[list[str]](), 'cloud_{}{}_5{}'
    for score in scores:
        for name, prefix in ((score.network, ''), (f'true depth at {SMALL_PX} px', 'truth_')):
            if x.format(prefix, 'flying', '') not in score.metrics or any(row[:2] == [score.dataset, name] for row in rows):
                continue
            cells = [f'{_mean([score], x.format(prefix, key, ""), "{:.2f}", 100)} -> '
                     f'{_mean([score], x.format(prefix, key, "_left"), "{:.2f}", 100)}' for key in ('flying', 'off')]
            chamfer = [_mean([score], f'cloud_{prefix}edge_chamfer_{key}m', '{:.1f}', 1000) for key in ('', 'left_')]
            kept = _mean([score], x.format(prefix, 'kept', ''), '{:.1f}', 100)
            rows.append([score.dataset, name, cells[0], kept, cells[1], ' -> '.join(chamfer)])
    header = ['set', 'map', 'flying points [%]', 'surface kept [%]', 'off the surface [%]', 'edge Chamfer [mm]']
    return Table('Clouds before -> after flying points are dropped, at 5 % of depth', header, rows)


VIDEO_COLUMNS: dict[str, Callable[[Score], str]] = {
    'video': lambda score: score.dataset,
    'network': lambda score: score.network,
    'AbsRel': lambda score: _mean([score], 'video_absrel', '{:.3f}'),
    'factor varies by [%]': lambda score: _mean([score], 'factor_variation', '{:.1f}', 100),
    'TAE [%]': lambda score: _mean([score], 'tae', '{:.2f}', 100),
    BOUNDARY: lambda score: _mean([score], 'boundary_f1', '{:.3f}'),
    'still noise [%]': lambda score: _mean([score], 'still_noise', '{:.2f}', 100),
    'rotation error (standing still) [deg]': lambda score: _rotation(score),
    'ATE [m]': lambda score: _mean([score], 'ate_m', '{:.3f}'),
    'RPE [m]': lambda score: _mean([score], 'rpe_m', '{:.4f}'),
    'ATE, RPE as they came [m]': lambda score: _path(score),
    'trajectory scale': lambda score: _mean([score], 'trajectory_scale', '{:.3f}'),
    'path length, over the true one': lambda score: _mean([score], 'trajectory_length', '{:.3f}'),
    'time per frame [ms]': lambda score: _mean([score], 'ms_median', '{:.1f}'),
}


def _videos(scores: list[Score]) -> Table:
    videos = sorted((score for score in scores if score.is_video), key=lambda score: score.dataset)
    columns = {name: [cell(score) for score in videos] for name, cell in VIDEO_COLUMNS.items()}
    columns = {name: cells for name, cells in columns.items() if set(cells) != {'-'}}
    return Table('Videos as one stream, one fit for the whole video', list(columns),
                 [list(row) for row in zip(*columns.values(), strict=True)])


def _accuracy(scores: Iterable[Score]) -> str:
    scores = list(scores)
    return f'{_mean(scores, "absrel", "{:.3f}")} / {_mean(scores, "delta1", "{:.3f}")}'


def _path(score: Score) -> str:
    ate, rpe = _mean([score], 'metric_ate_m', '{:.3f}'), _mean([score], 'metric_rpe_m', '{:.4f}')
    return ate if ate == '-' else f'{ate}, {rpe}'


def _rotation(score: Score) -> str:
    error = _mean([score], 'rotation_error_deg_median', '{:.2f}')
    return error if error == '-' else f'{error} ({_mean([score], "rotation_deg_median", "{:.2f}")})'


def _mean(scores: Iterable[Score], name: str, form: str, unit: float = 1.0) -> str:
    """Return the mean of a metric over the scores that have it, as text; '-' where none has."""
    values = [score.metrics[name] for score in scores if name in score.metrics]
    mean = sum(values) / len(values) if values else math.nan
    return form.format(unit * mean) if math.isfinite(mean) else '-'


def _once(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
