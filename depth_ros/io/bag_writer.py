"""Depth as an MCAP bag: the original topics copied through, ours beside them under /depth_ros/."""

import shutil
from collections.abc import Callable, Generator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from depth_ros.core.frame import DepthFrame
from depth_ros.io.bag import Recording, open_reader
from depth_ros.io.messages import bag_typestore, recorded_types
from depth_ros.io.output import writing
from depth_ros.io.topics import PREFIX, DepthMessages
from depth_ros.settings import CloudSettings


def open_mcap(path: Path) -> Any:
    """Return the rosbags writer of a new MCAP file, which `finish_mcap` puts at `path`."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    parts = path.with_name(f'{path.name}.parts')
    shutil.rmtree(parts, ignore_errors=True)
    # rosbags writes a folder around the file; its name goes into the file, so it does not follow the target's.
    writer = Writer(parts / 'depth_ros', version=8, storage_plugin=StoragePlugin.MCAP)
    writer.open()
    return writer


def finish_mcap(writer: Any, path: Path) -> None:
    """Close the writer and move its one file to `path`."""
    writer.close()
    (writer.path / 'depth_ros.mcap').replace(path)
    shutil.rmtree(writer.path.parent)


class DepthBag:
    """Writes depth frames into a new MCAP file that stands alone. The same frames give the same bytes."""

    def __init__(self, path: Path, settings: CloudSettings, points: bool = False,
                 original: Recording | None = None) -> None:
        self.path, self.settings, self.points = path, settings, points
        self.messages = DepthMessages(recorded_types())
        self.connections: dict[str, Any] = {}
        with writing(path):
            self.writer = open_mcap(path)
        self.copies = Copies(original, self.writer) if original else None

    def add(self, depth: DepthFrame, log_ns: int) -> None:
        """Write the messages of a frame at the log time of its picture, after the originals up to then."""
        with writing(self.path):
            if self.copies:
                self.copies.copy_until(log_ns)
            for topic in self._topics(depth):
                message = self.messages.make(topic, depth, self.settings)
                if message is not None:
                    raw = bag_typestore().serialize_cdr(message, message.__msgtype__)
                    self.writer.write(self._connection(PREFIX + topic, message.__msgtype__), log_ns, raw)

    def close(self, complete: bool = True) -> None:
        """Finish the file; `complete` copies the rest of the originals first."""
        with writing(self.path):
            if self.copies and complete:
                self.copies.copy_until(None)
            finish_mcap(self.writer, self.path)
        self.abandon()

    def abandon(self) -> None:
        """Let go of all files, whatever state they are in."""
        if self.copies:
            self.copies.messages.close()
        self.writer.abort()

    def _topics(self, depth: DepthFrame) -> list[str]:
        """Return where a frame goes: metres or the relative map, never both."""
        relative = depth.depth_m is None
        topics = ['relative/image'] if relative else ['depth/image', 'depth/camera_info']
        if self.points and self.messages.cloud_due(depth.stamp_ns, self.settings.rate_hz):
            topics.append('relative/points' if relative else 'points')
        return [*topics, 'alignment', 'confidence', 'pose', 'pose_embedding']

    def _connection(self, topic: str, msgtype: str) -> Any:
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, msgtype, typestore=bag_typestore())
        return self.connections[topic]


class Copies:
    """Copies the original messages in their order: ROS 2 bytes as they are, ROS 1 as the ROS 2 messages they became."""

    def __init__(self, original: Recording, writer: Any) -> None:
        self.writer = writer
        self.messages = self._convert(original)
        self.next = next(self.messages, None)

    def copy_until(self, log_ns: int | None) -> None:
        """Write what was logged until then; None: everything."""
        while self.next is not None and (log_ns is None or self.next[1] <= log_ns):
            self.writer.write(*self.next)
            self.next = next(self.messages, None)

    def _convert(self, original: Recording) -> Generator[tuple[Any, int, Any], None, None]:
        """Yield (connection of the new bag, log time ns, CDR bytes)."""
        with open_reader(original.storage) as reader:
            ours = [item for item in reader.connections if item.topic.startswith(PREFIX)]
            unknown = [item for item in reader.connections if item.msgtype not in reader.typestore.fielddefs]
            for item in unknown:
                original.note(f'{item.topic} was not copied: the bag does not define its type {item.msgtype}')
            wanted = [item for item in reader.connections if item not in ours + unknown]
            targets, converters = self._connect(wanted, reader)
            for item, log_ns, raw in original.messages(reader, [item.topic for item in wanted]):
                yield targets[item.id, item.owner], log_ns, converters[item.msgtype](raw)

    def _connect(self, wanted: list[Any], reader: Any) -> tuple[dict[Any, Any], dict[str, Callable]]:
        from rosbags.convert.converter import create_connections_converters
        from rosbags.typesys import Stores, get_typestore

        rooted = [item._replace(topic='/' + item.topic.lstrip('/')) for item in wanted]    # ROS 1 allows relative names
        store = None if reader.is2 else get_typestore(Stores.ROS2_HUMBLE)    # its own: types unknown there are added
        with redirect_stdout(StringIO()):    # it prints which types it migrates
            return create_connections_converters(rooted, store, reader, self.writer)
