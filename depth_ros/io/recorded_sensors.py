"""What a recording has beside its pictures: the topics of a metric source, or depth pictures in a folder of their own."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from depth_ros.core.frame import Frame
from depth_ros.errors import InputError
from depth_ros.io.bag import Recording, Topic, beside, is_depth, open_reader
from depth_ros.io.measured import TF, Measurements
from depth_ros.io.messages import make_header, recorded_types
from depth_ros.io.topics import PREFIX
from depth_ros.io.video import PictureFolder, open_folder
from depth_ros.settings import MetricSettings

TYPES = {'range': ('sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/Image'), 'odometry': ('nav_msgs/msg/Odometry',),
         'imu': ('sensor_msgs/msg/Imu',), 'tf': ('tf2_msgs/msg/TFMessage', 'tf/msg/tfMessage')}
AHEAD_NS = 1_000_000_000    # by log time; what belongs to a picture may be logged so long after it
Recorded = Callable[[], Iterator[tuple[int, Frame]]]


def choose_topics(recording: Recording, settings: MetricSettings, wanted: str) -> dict[str, str]:
    """Return {topic: kind} of all that the metric source of the settings needs: `wanted`, or the only one of its type.

    Raises InputError naming the topics of that type if the choice is not clear.
    """
    kinds = Measurements(settings, live=False).kinds
    chosen = {}
    if kinds and kinds != TF:
        topic = _choose(recording, kinds[0], wanted)
        chosen[topic.name] = kinds[0]
        infos = beside(recording.topics, topic)
        if kinds[0] == 'range' and len(infos) == 1 and infos[0] != recording.info:
            chosen[infos[0].name] = 'range/camera_info'
    if 'tf' in kinds:
        chosen |= {item.name: 'tf_static' if item.name.endswith('tf_static') else 'tf'
                   for item in recording.topics if item.msgtype in TYPES['tf']}
    if kinds == TF and not chosen and not settings.extrinsic:
        raise InputError(f'{recording.name} has no /tf and no /tf_static, where metric.source={settings.source} should look')
    return chosen


def _choose(recording: Recording, kind: str, wanted: str) -> Topic:
    """Return the topic of a kind. Depth is not told from pictures by the type, so their first message is read."""
    fitting = [item for item in recording.topics if item.msgtype in TYPES[kind] and item.count]
    found = [item for item in fitting if item.name.strip('/') == wanted.strip('/')]
    if wanted and found:
        return found[0]
    with open_reader(recording.storage) as reader:
        fitting = [item for item in fitting if not item.name.startswith(PREFIX) and item != recording.image
                   and (not item.msgtype.endswith('/Image') or is_depth(reader, item))]
    listed = ', '.join(f'{item.name} ({item.msgtype})' for item in fitting) or 'none'
    if wanted:
        raise InputError(f'{recording.name} has no {" or ".join(TYPES[kind])} on {wanted}; its topics of this kind: '
                         f'{listed}')
    if len(fitting) != 1:
        example = 'camera_height:HEIGHT' if kind == 'imu' else kind
        count = 'several topics' if fitting else 'no topic'
        raise InputError(f'{recording.name} has {count} that may be the metric source, name it with --metric '
                         f'{example}:TOPIC: {listed}')
    return fitting[0]


def with_measured(recorded: Recorded, recording: Recording, settings: MetricSettings,
                  topics: dict[str, str]) -> Iterator[tuple[int, Frame]]:
    """Yield (log time ns, frame) with what was measured up to each frame; of /tf_static the whole bag counts."""
    ours, ahead_ns = Measurements(settings, live=False), AHEAD_NS + round(settings.tolerance_s * 1e9)
    static = {name: kind for name, kind in topics.items() if kind == 'tf_static'}
    with closing(_messages(replace(recording, start_ns=None, end_ns=None), static)) as messages:
        for _, kind, message in messages:
            ours.add(kind, message)
    with closing(_messages(recording, {name: kind for name, kind in topics.items() if name not in static})) as messages:
        coming = next(messages, None)
        for log_ns, frame in recorded():
            while coming is not None and coming[0] <= log_ns + ahead_ns:
                ours.add(*coming[1:])
                coming = next(messages, None)
            yield log_ns, _measured(ours, frame)
            for text in ours.notes:
                recording.note(text)


def _messages(recording: Recording, topics: dict[str, str]) -> Generator[tuple[int, str, Any], None, None]:
    """Yield (log time ns, kind, message) of the topics."""
    with open_reader(recording.storage) as reader:
        for connection, log_ns, raw in recording.messages(reader, list(topics)):
            try:
                message = reader.deserialize(raw, connection.msgtype)
            except Exception:    # damaged bytes can raise anything
                recording.note(f'{connection.topic} has messages that cannot be read; they were left out')
                continue
            yield log_ns, topics[connection.topic], message


def _measured(ours: Measurements, frame: Frame) -> Frame:
    return replace(frame, measured=ours.take(frame.stamp_ns, frame.frame_id, frame.camera))


def match_pictures(pictures: PictureFolder, folder: Path) -> dict[int, Path]:
    """Return {stamp ns: depth picture} for pictures of the same name, or all in order if there are as many of both.

    Raises InputError if neither is so.
    """
    depths, files = open_folder(folder, pictures.rate_hz).files, pictures.files
    by_name = {file.stem: file for file in depths}
    stamped = zip(files, pictures.stamps_ns, strict=True)
    found = {stamp: by_name[file.stem] for file, stamp in stamped if file.stem in by_name}
    if found:
        return found
    if len(depths) != len(files):
        raise InputError(f'{folder} has {len(depths)} depth pictures for {len(files)} pictures, and none has the name of '
                         'its picture; name them alike')
    return dict(zip(pictures.stamps_ns, depths, strict=True))


def with_depth_pictures(recorded: Recorded, settings: MetricSettings,
                        depths: dict[int, Path]) -> Iterator[tuple[int, Frame]]:
    """Yield (log time ns, frame) with what the depth picture of its stamp says, registered to it, 16 bits of mm."""
    ours = Measurements(settings, live=False)
    for log_ns, frame in recorded():
        if frame.stamp_ns in depths:
            ours.add('range', _read_depth(depths[frame.stamp_ns], frame))
        yield log_ns, _measured(ours, frame)


def _read_depth(file: Path, frame: Frame) -> Any:
    """Return the Image of a depth picture."""
    depth = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED) if file.stat().st_size else None
    if depth is None or depth.dtype != np.uint16 or depth.ndim != 2:
        what = 'no picture' if depth is None else f'{depth.dtype} pixels of {depth.shape[2:] or 1} channels'
        raise InputError(f'{file} has {what}, expected one channel of 16 bits in mm')
    header = make_header(recorded_types(), frame.stamp_ns, frame.frame_id)
    return SimpleNamespace(header=header, height=depth.shape[0], width=depth.shape[1], encoding='16UC1', is_bigendian=0,
                           step=2 * depth.shape[1], data=depth.tobytes())
