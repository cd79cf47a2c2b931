"""TensorRT beside a live stream: engines are built while another backend serves, and given up for it where one fails."""

import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from depth_ros.errors import BackendError, DepthRosError, InputError
from depth_ros.runtime.build import Progress
from depth_ros.runtime.tensorrt_graph import DeviceArray

STOP_S = 1.0    # so long the end of a build is waited for; what takes longer ends by itself, without effect

Graphs = Mapping[str, Any]
Build = Callable[[tuple[int, int], Progress, threading.Event], Graphs]    # (h, w) of the pictures that the network sees


class LiveEngines:
    """What runs a live stream, changed between two windows: to its engines once all are there, and back if one fails.

    The stream reads its graphs once per window, so another thread may set them; the state that it carries goes on. `build`
    returns the engines, `fall_back` the graphs that serve without them and their backend; `info` and `warn` log.
    """

    def __init__(self, stream: Any, build: Build | None, fall_back: Callable[[], tuple[Graphs, str]],
                 info: Callable[[str], object], warn: Callable[[str], object]) -> None:
        self.stream: Any = weakref.proxy(stream)    # which holds this: whoever drops the stream frees its memory at once
        self.build, self.fall_back = build, fall_back
        self.info, self.warn = info, warn
        self.engines = stream.graphs if stream.info['backend'] == 'tensorrt' else None
        self.wanted = False    # the next window begins a build
        self.cancel, self.thread = threading.Event(), threading.Thread()
        self._infer = stream.family.infer
        stream.family = replace(stream.family, infer=self.infer)

    def start(self) -> None:
        """Begin with the first window, which shows how large the pictures are."""
        self.cancel, self.wanted = threading.Event(), bool(self.build)

    def stop(self) -> None:
        """End a build; what it has finished stays in the cache."""
        self.wanted = False
        self.cancel.set()
        if self.thread.is_alive():
            self.thread.join(STOP_S)

    def infer(self, graphs: Graphs, clip: Any, state: Any) -> Any:
        """Return what the family's `infer` does, on the next backend where an engine fails."""
        try:
            found = self._infer(graphs, clip, state)
        except (BackendError, InputError) as error:
            if graphs is not self.engines:
                raise
            self.stream.graphs, self.stream.info['backend'] = self.fall_back()
            self.engines = None
            self.wanted = isinstance(error, InputError)    # pictures of another size want other engines
            self._give_up(error)
            return self.infer(self.stream.graphs, clip, on_the_host(state))
        if self.wanted and self.engines is None and not self.thread.is_alive():    # one build at a time
            self.wanted = False
            self.thread = threading.Thread(target=self._work, args=(clip.rgb.shape[1:3], self.cancel), daemon=True,
                                           name='engines')
            self.thread.start()
        return found

    def _work(self, size: tuple[int, int], cancel: threading.Event) -> None:
        said, before = self.stream.info, self.stream.info['backend_note']

        def tell(what: str, share: float) -> None:
            if cancel.is_set():
                return
            if not said['backend_note'].startswith('building'):
                self.info(f'building TensorRT engines, {said["backend"]} serves meanwhile')
            said['backend_note'] = f'building {100 * share:.0f} %: {what}'

        assert self.build
        try:
            engines = self.build(size, tell, cancel)
        except Exception as error:    # whatever it is, the stream goes on without
            said['backend_note'] = before
            if not cancel.is_set():
                self._give_up(error)
            return
        if cancel.is_set():
            said['backend_note'] = before
            return
        self.engines = self.stream.graphs = engines
        said.update(backend='tensorrt', backend_note=' '.join(filter(None, (engine.note for engine in engines.values()))))
        self.info('TensorRT takes over')

    def _give_up(self, error: Exception) -> None:
        text = str(error) if isinstance(error, DepthRosError) else f'{type(error).__name__}: {error}'
        note, said = f'not tensorrt: {text}', self.stream.info
        if note != said['backend_note']:
            said['backend_note'] = note
            self.warn(f'{said["backend"]} serves, {note}')


def on_the_host(state: Any, copies: dict[int, np.ndarray] | None = None) -> Any:
    """Return what a family carries, with one copy of each array that lies on the GPU. Raises BackendError if one is lost."""
    copies = {} if copies is None else copies    # by the id of the array
    if isinstance(state, DeviceArray):
        if id(state) not in copies:
            copies[id(state)] = np.asarray(state)
        return copies[id(state)]
    if isinstance(state, dict):
        return {name: on_the_host(value, copies) for name, value in state.items()}
    if isinstance(state, tuple):
        values = [on_the_host(value, copies) for value in state]
        return type(state)(*values) if hasattr(state, '_fields') else tuple(values)
    return state
