"""Which frames one inference sees: `WindowSpec`, and `RollingWindow`, which remembers them."""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from depth_ros.errors import SettingsError

Item = TypeVar('Item')


@dataclass(frozen=True)
class WindowSpec:
    """How a family sees a video.

    A window has `length` slots. Its first slots hold the `keyframes` of the window before, the others new frames. The
    first `anchors` shared slots are fitted to what the stream already has of them; the last `blend` shared slots are
    cross-faded, so they are published one window late.

    A stream that ends within a window fills it up with its last frame; `moved_back` takes the last `length` frames
    instead, fitted and cross-faded wherever they were seen before. `past_end` adds the window that a plan of
    ceil(frames / stride) windows has where the frames would do with one less.
    """

    length: int = 1
    keyframes: tuple[int, ...] = ()    # slots of the window before that are fed again, ascending
    anchors: int = 0
    blend: int = 0
    live: bool = False                 # start at once, with the first frame standing in for those before it
    past_end: bool = False
    moved_back: bool = False
    scale_limits: tuple[float, float] | None = None    # a fitted scale is clipped to these; its shift stays
    floor: float | None = None         # what lies below after the fit is set to it

    def __post_init__(self) -> None:
        if self.length < 1:
            raise SettingsError(f'window length {self.length}: expected at least 1')
        if not 0 <= self.overlap < self.length:
            raise SettingsError(f'window of {self.length} frames with {self.overlap} keyframes has no new frames; '
                                'make the stride at least 1')
        if list(self.keyframes) != sorted(set(self.keyframes)) or not set(self.keyframes) <= set(range(self.length)):
            raise SettingsError(f'keyframes {self.keyframes} must be ascending slots of a window of {self.length}')
        if max(self.anchors, self.blend) > self.overlap:
            raise SettingsError(f'{self.anchors} anchors and {self.blend} blended frames need as many shared frames, '
                                f'there are {self.overlap}')
        late = range(self.overlap - self.blend, self.overlap)
        if [self.keyframes[slot] for slot in late] != list(range(self.length - self.blend, self.length)):
            raise SettingsError(f'blended frames must be the last {self.blend} of a window, got {self.keyframes}')

    @classmethod
    def rolling(cls, length: int, stride: int) -> 'WindowSpec':
        """Return the live form: the last `length` frames, run after every `stride` new ones, nothing rewritten."""
        if not 1 <= stride <= length:
            raise SettingsError(f'stride {stride}: expected 1 to {length}, the length of the window')
        return cls(length, tuple(range(stride, length)), anchors=length - stride, live=True)

    @property
    def overlap(self) -> int:
        return len(self.keyframes)

    @property
    def stride(self) -> int:
        """New frames per inference."""
        return self.length - self.overlap

    @property
    def lag(self) -> int:
        """The most frames between a picture and its depth."""
        return self.stride - 1 if self.live else self.length - 1 + self.held_back

    @property
    def held_back(self) -> int:
        """The newest frames of a window that a later one may still change."""
        return self.length - 1 if self.moved_back else self.blend


@dataclass(frozen=True)
class Window(Generic[Item]):
    """The frames of one inference: stream positions and items, slot by slot."""

    indices: tuple[int, ...]
    items: tuple[Item, ...]
    fresh: range                 # slots of the frames that no window held before


class RollingWindow(Generic[Item]):
    """Collects frames into the windows that a `WindowSpec` asks for.

    A stream shorter than a window, or its rest at the end, is filled up with its last frame: its position is then
    repeated in `Window.indices`, outside `Window.fresh`. Windows that are moved back are never filled up.
    """

    def __init__(self, spec: WindowSpec) -> None:
        self.spec = spec
        self.pushed = 0
        self.windows = 0
        self.slots: list[tuple[int, Item]] = []    # what the next window holds so far
        self.fresh = 0                             # how many of them are new
        self.newest: deque[tuple[int, Item]] = deque(maxlen=spec.length if spec.moved_back else 0)

    def push(self, item: Item) -> Window[Item] | None:
        """Return the window that this frame completes, if it does."""
        entry = (self.pushed, item)
        if self.spec.live and self.pushed == 0:
            self.slots = [entry] * self.spec.overlap
        self.slots.append(entry)
        self.newest.append(entry)
        self.pushed += 1
        self.fresh += 1
        return self._take(self.spec.length - self.fresh) if len(self.slots) == self.spec.length else None

    def flush(self) -> Window[Item] | None:
        """Return the next of the last windows, or None if the stream is at its end; call until then."""
        planned_past_end = self.spec.past_end and self.windows * self.spec.stride < self.pushed
        if not self.fresh and not planned_past_end:
            return None
        if self.spec.moved_back:
            self.slots = list(self.newest)
        known = len(self.slots) - self.fresh
        if not self.spec.moved_back:
            self.slots += [self.slots[-1]] * (self.spec.length - len(self.slots))
        return self._take(known)

    def _take(self, known: int) -> Window[Item]:
        indices, items = zip(*self.slots, strict=True)
        fresh = range(known, known + self.fresh)
        self.slots = [self.slots[slot] for slot in self.spec.keyframes if slot < len(self.slots)]
        self.windows += 1
        self.fresh = 0
        return Window(indices, items, fresh)
