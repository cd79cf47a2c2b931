"""Recordings: ROS 2 bags (mcap, sqlite3) and ROS 1 bags, read with rosbags; no ROS installation needed."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from depth_ros.core.camera import Camera
from depth_ros.core.frame import Frame
from depth_ros.errors import InputError
from depth_ros.io.camera_msg import camera_from_info, has_distortion
from depth_ros.io.image_msg import decoder_of
from depth_ros.io.mcap_repair import copy_readable
from depth_ros.io.messages import bag_typestore, stamp_ns
from depth_ros.io.topics import PREFIX

SUFFIXES = ('.mcap', '.db3', '.bag')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
NO_PICTURES = ('32FC1', '16UC1', '64FC1')    # encodings of depth, not of pictures


@dataclass(frozen=True)
class Topic:
    """A topic of a bag."""

    name: str
    msgtype: str
    count: int


@dataclass
class Recording:
    """A bag, the topics chosen in it and the part of it that is wanted."""

    name: str
    storage: Path                    # what is read: the bag, or its whole part where it was cut off
    image: Topic
    info: Topic | None
    topics: list[Topic]              # all there are
    rate_hz: float                   # of the pictures, about
    start_ns: int | None             # log times; None: from the first, to the last
    end_ns: int | None
    notes: list[str]                 # what could not be read
    scratch: TemporaryDirectory | None = None    # holds the whole part

    def frames(self, model: str, override: Callable[[int, int], Camera | None]) -> Iterator[tuple[int, Frame]]:
        """Yield (log time ns, frame) in order. Raises InputError for the first picture that cannot be used.

        A picture gets the camera that `override(height, width)` gives, else that of the last camera_info before it, or
        of the first one if there was none before. Where the bag ends too early, the frames end there with a note.
        """
        with open_reader(self.storage) as reader, closing(_Infos(self)) as infos:
            decode = decoder_of(self.image.msgtype)
            assert decode is not None
            for count, (connection, log_ns, raw) in enumerate(self.messages(reader, [self.image.name])):
                try:
                    msg = reader.deserialize(raw, connection.msgtype)
                    rgb = decode(msg)
                    height, width = rgb.shape[:2]
                    camera = override(height, width) or infos.camera(log_ns, height, width, model)
                except Exception as error:    # damaged bytes can raise anything
                    time_s = (log_ns - reader.start_time) / 1e9
                    raise InputError(f'{self.name}, picture {count} of {self.image.name}, {time_s:.3f} s after the '
                                     f'start: {_reason(error)}') from error
                yield log_ns, Frame(rgb, stamp_ns(msg.header), camera, msg.header.frame_id)

    def messages(self, reader: Any, topics: Sequence[str]) -> Iterator[tuple[Any, int, bytes]]:
        """Yield (connection, log time ns, raw) of the wanted part, until the end or, with a note, until the damage."""
        connections = [item for item in reader.connections if item.topic in topics]
        if not connections:
            return
        # Without its index, a file is read in the order it was written; rosbags would insist on the order of time.
        read = connections[0].owner.messages_scan if self.scratch else reader.messages
        try:
            yield from read(connections, self.start_ns, self.end_ns)
        except Exception as error:    # damaged bytes can raise anything
            self.note(f'{self.name} is damaged and was read up to there ({_reason(error)})')

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


class _Infos:
    """Follows the camera_info topic: which one belongs to a picture."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.messages = self._read(recording)
        self.next = self.current = next(self.messages, None)

    def camera(self, log_ns: int, height: int, width: int, model: str) -> Camera | None:
        while self.next is not None and self.next[0] <= log_ns:
            self.current, self.next = self.next, next(self.messages, None)
        if self.current is None:
            return None
        info = self.current[1]
        if model == 'rectified' and has_distortion(info) and 'rect' not in self.recording.image.name:
            self.recording.note(f'{self.recording.image.name} was taken as rectified, though its lens has distortion; if it '
                                'is the raw picture, set camera.model to rectify or raw')
        return camera_from_info(info, height, width, model)

    def close(self) -> None:
        self.messages.close()

    @staticmethod
    def _read(recording: Recording) -> Generator[tuple[int, Any], None, None]:
        if recording.info is None:
            return
        with open_reader(recording.storage) as reader:
            for connection, log_ns, raw in recording.messages(reader, [recording.info.name]):
                yield log_ns, reader.deserialize(raw, connection.msgtype)


def is_bag(path: Path) -> bool:
    """Return whether a path is a bag: a file of that name, or a folder with metadata.yaml or storage files."""
    if path.is_dir():
        return (path / 'metadata.yaml').exists() or bool(_storage_files(path))
    return path.suffix in SUFFIXES


def open_recording(path: Path, topic: str = '', start_s: float | None = None, end_s: float | None = None) -> Recording:
    """Return the recording with its image topic (`topic`, or the only one) and the camera_info that belongs to it.

    `start_s` and `end_s` count from the first message. Raises InputError if the bag is unreadable, or naming the image
    topics there are if the choice is not clear.
    """
    storage, scratch, notes = path, None, list[str]()
    if path.is_dir() and not (path / 'metadata.yaml').exists():    # the recorder was killed before it wrote that
        storage, *others = _storage_files(path)
        notes += [f'{path.name} has no metadata.yaml, {item.name} was not read' for item in others]
    try:
        opened = open_reader(storage)
    except InputError:
        scratch = TemporaryDirectory(prefix='depth_ros_')
        readable = Path(scratch.name) / 'readable.mcap'
        if not copy_readable(storage, readable):
            raise
        notes.append(f'{storage.name} was cut off; what is whole of it was read')
        storage, opened = readable, open_reader(readable)
    with opened as reader:
        topics = [Topic(name, item.msgtype or '', item.msgcount) for name, item in sorted(reader.topics.items())]
        image = choose_image(topics, topic, path.name, lambda item: is_depth(reader, item))
        info = find_info(topics, image)
        start_ns, end_ns = (None if offset is None else reader.start_time + round(offset * 1e9)
                            for offset in (start_s, end_s))
        rate_hz = (image.count - 1) * 1e9 / reader.duration if image.count > 1 and reader.duration > 0 else 30.0
    return Recording(path.name, storage, image, info, topics, rate_hz, start_ns, end_ns, notes, scratch)


def open_reader(path: Path) -> closing[Any]:
    """Return an open rosbags reader, to be used in a `with`. Raises InputError if the file is missing or damaged."""
    from rosbags.highlevel import AnyReader

    try:
        reader = AnyReader([path], default_typestore=bag_typestore())
        reader.open()
        return closing(reader)
    except Exception as error:    # damaged bytes can raise anything
        remedy = {'.bag': 'rosbag reindex', '.mcap': 'mcap recover'}.get(path.suffix, 'ros2 bag reindex')
        raise InputError(f'cannot read the bag {path.name} ({_reason(error)}); try `{remedy}`') from error


def choose_image(topics: Sequence[Topic], wanted: str, bag: str,
                 is_depth: Callable[[Topic], bool] = lambda topic: False) -> Topic:
    """Return the wanted image topic, or without a wish the only one: not ours, no depth, raw rather than compressed."""
    images = {item.name.strip('/'): item for item in topics if decoder_of(item.msgtype) and item.count
              and not item.name.startswith(PREFIX) and not item.name.endswith('compressedDepth')}
    listed = ', '.join(item.name for item in images.values()) or 'none'
    if wanted:
        name = wanted.strip('/')
        found = images.get(name) or images.get(f'{name}/compressed')
        if not found:
            raise InputError(f'{bag} has no pictures on {wanted}; its image topics: {listed}')
        return found
    twins = {f'{name}/compressed' for name in images}
    choice = [item for name, item in images.items() if name not in twins]
    if len(choice) > 1:
        choice = [item for item in choice if not is_depth(item)]
    if not choice:
        others = ', '.join(f'{item.name} ({item.msgtype})' for item in topics) or 'none'
        raise InputError(f'{bag} has no pictures; its topics: {others}')
    if len(choice) > 1:
        raise InputError(f'{bag} has several image topics, choose one as the topic: {listed}')
    return choice[0]


def is_depth(reader: Any, topic: Topic) -> bool:
    """Return whether the first picture of a topic is a depth image."""
    connections = [item for item in reader.connections if item.topic == topic.name]
    try:
        connection, _, raw = next(reader.messages(connections))
        return getattr(reader.deserialize(raw, connection.msgtype), 'encoding', '') in NO_PICTURES
    except Exception:    # damaged: whoever chooses it will hear
        return False


def find_info(topics: Sequence[Topic], image: Topic) -> Topic | None:
    """Return the camera_info topic beside the image topic, as image_transport has it, or the only one there is."""
    chosen = beside(topics, image) or _infos(topics)
    return chosen[0] if len(chosen) == 1 else None


def beside(topics: Sequence[Topic], image: Topic) -> list[Topic]:
    """Return the camera_info topics in the namespace of an image topic."""
    base = image.name.strip('/').removesuffix('/compressed').rpartition('/')[0]
    return [item for item in _infos(topics) if item.name.strip('/').rpartition('/')[0] == base]


def _infos(topics: Sequence[Topic]) -> list[Topic]:
    return [item for item in topics if item.msgtype == INFO_TYPE and item.count and not item.name.startswith(PREFIX)]


def _storage_files(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.suffix in ('.mcap', '.db3'))


def _reason(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
