"""From camera messages to the one picture that waits for the worker."""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Picture:
    """An image message, the camera_info that belongs to it, and when it came."""

    message: Any              # sensor_msgs Image or CompressedImage
    info: Any                 # sensor_msgs CameraInfo, or None
    received_s: float         # time.monotonic()


class Pairing:
    """Finds the camera_info of each picture: the newest one, or only the one with the very same stamp.

    Exact: a picture whose camera_info has not come yet waits for it until the next picture comes, then goes without.
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self.infos: deque[Any] = deque(maxlen=10 if exact else 1)
        self.waiting: Picture | None = None

    def picture(self, message: Any, received_s: float) -> list[Picture]:
        """Return the pictures that are ready now."""
        if not self.exact:
            return [Picture(message, self.infos[-1] if self.infos else None, received_s)]
        ready = [self.waiting] if self.waiting else []
        picture = Picture(message, self._same_stamp(message), received_s)
        self.waiting = None if picture.info else picture
        return ready + [picture] if picture.info else ready

    def info(self, info: Any) -> list[Picture]:
        """Return the picture that waited for this camera_info, if one did."""
        self.infos.append(info)
        if self.waiting is None or self.waiting.message.header.stamp != info.header.stamp:
            return []
        ready, self.waiting = Picture(self.waiting.message, info, self.waiting.received_s), None
        return [ready]

    def _same_stamp(self, message: Any) -> Any:
        return next((info for info in self.infos if info.header.stamp == message.header.stamp), None)


class Mailbox:
    """One slot between two threads: a new picture replaces the one that waits."""

    def __init__(self) -> None:
        self.slot: Picture | None = None
        self.closed = False
        self.changed = threading.Condition()

    def put(self, picture: Picture) -> bool:
        """Store the picture; return True if one that nobody had taken was thrown away for it."""
        with self.changed:
            overwritten, self.slot = self.slot is not None, picture
            self.changed.notify()
        return overwritten

    def take(self) -> Picture | None:
        """Wait for a picture and return it; None once the mailbox is closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.slot or self.closed)
            picture, self.slot = self.slot, None
            return None if self.closed else picture

    def close(self) -> None:
        with self.changed:
            self.closed = True
            self.changed.notify()
