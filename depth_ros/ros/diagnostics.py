"""What the node counts, and how it is said on /diagnostics and in the log."""

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from depth_ros.core.frame import Anchor, DepthFrame
from depth_ros.io.topics import anchor_values

RATE_SPAN_S = 5.0        # rates are means over this time
SILENCE_S = 3.0          # so long without a picture is worth an error
PATIENCE_S = 5.0         # so long is waited for a first camera_info


class WarnOnce:
    """Logs a warning the first time it comes up; warnings that differ only in their numbers are the same one."""

    def __init__(self, log: Callable[[str], object]) -> None:
        self.log = log
        self.known: set[str] = set()

    def __call__(self, text: str) -> None:
        cause = re.sub(r'\d+', '#', text)
        if cause not in self.known:
            self.known.add(cause)
            self.log(text)


class Rate:
    """Events per second over the last RATE_SPAN_S."""

    def __init__(self) -> None:
        self.count = 0
        self.times_s: deque[float] = deque(maxlen=1000)

    def tick(self, now_s: float) -> None:
        self.count += 1
        self.times_s.append(now_s)

    def hz(self, now_s: float) -> float:
        recent = [t for t in tuple(self.times_s) if now_s - t <= RATE_SPAN_S]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else 0.0

    def silence_s(self, now_s: float) -> float | None:
        """Return the time since the last event, None before the first."""
        return now_s - self.times_s[-1] if self.times_s else None


@dataclass
class Statistics:
    """What happened so far; the executor and the worker write, the timer reads."""

    arrivals: Rate = field(default_factory=Rate)
    departures: Rate = field(default_factory=Rate)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=300))    # receive to publish
    drops: Counter[str] = field(default_factory=Counter)            # pictures that did not become depth
    uncalibrated: Counter[str] = field(default_factory=Counter)     # pictures without a camera
    resets: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)         # of the stages of the last frame
    fill: float = 0.0                                               # of the window, 0..1
    newest: DepthFrame | None = None
    problem: str = ''                                               # why the last picture failed
    camera_problem: str = ''                                        # why the last picture has no camera
    lock: threading.Lock = field(default_factory=threading.Lock)    # drops are counted by two threads

    def drop(self, reason: str, problem: str = '') -> None:
        """Count a picture that does not become depth."""
        with self.lock:
            self.drops[reason] += 1
        self.problem = problem or self.problem

    def uncalibrate(self, reason: str, problem: str) -> None:
        """Count a picture that has no camera."""
        self.uncalibrated[reason] += 1
        self.camera_problem = problem

    def state(self, fill: float, seconds: Mapping[str, float], resets: Mapping[str, int]) -> None:
        """Note how the stream stands."""
        self.fill, self.seconds, self.resets = fill, {**self.seconds, **seconds}, dict(resets)

    def published(self, depth: DepthFrame, received_s: float | None) -> None:
        """Note a frame that has just gone out."""
        now_s = time.monotonic()
        self.departures.tick(now_s)
        if received_s is not None:
            self.latencies_s.append(now_s - received_s)
        self.newest, self.problem = depth, ''

    def pause(self) -> None:
        """Forget what is true only while pictures come; what was counted stays."""
        self.newest, self.problem, self.camera_problem = None, '', ''
        for rate in (self.arrivals, self.departures):
            rate.times_s.clear()


def diagnose(phase: str, failure: str, statistics: Statistics, listeners: int, missing: str = '') -> tuple[bytes, str]:
    """Return the level and one line that says how the node is; `missing`: what its metric source does not get."""
    if failure:
        return DiagnosticStatus.ERROR, f'{phase}: {failure}'
    if phase != 'active':
        return DiagnosticStatus.OK, phase
    silence_s = statistics.arrivals.silence_s(time.monotonic())
    if silence_s is None:
        return DiagnosticStatus.WARN, 'no picture has come yet'
    if silence_s > SILENCE_S:
        return DiagnosticStatus.ERROR, f'no pictures for {silence_s:.0f} s'
    if listeners and statistics.problem:
        return DiagnosticStatus.ERROR, statistics.problem
    anchor = statistics.newest.anchor if listeners and statistics.newest else Anchor()
    if statistics.newest and (anchor.state in ('converging', 'lost') or anchor.reason):
        return _of_metres(statistics.newest, missing)
    if missing or statistics.camera_problem:
        return DiagnosticStatus.WARN, missing or statistics.camera_problem
    return DiagnosticStatus.OK, 'running' if listeners else 'idle: nobody subscribes to a result'


def _of_metres(depth: DepthFrame, missing: str) -> tuple[bytes, str]:
    """Return the level and the line of a frame whose metres are not, or no longer, sure, or doubted."""
    anchor, held = depth.anchor, depth.depth_m is not None
    level = DiagnosticStatus.ERROR if anchor.state == 'lost' and not held else DiagnosticStatus.WARN
    reason = missing or anchor.reason or 'not enough was measured yet'
    return level, f'metres {anchor.state}{", the last scale is held" * (anchor.state == "lost" and held)}: {reason}'


def values(statistics: Statistics, info: Mapping[str, str], now_ns: int) -> dict[str, str]:
    """Return everything worth knowing by name; `now_ns` is the node's clock, to which the stamps belong."""
    now_s = time.monotonic()
    said = {'input_rate_hz': f'{statistics.arrivals.hz(now_s):.2f}', 'inputs': str(statistics.arrivals.count),
            'output_rate_hz': f'{statistics.departures.hz(now_s):.2f}', 'outputs': str(statistics.departures.count),
            'window_fill': f'{statistics.fill:.2f}'}
    if statistics.latencies_s:
        p50, p95, p99 = 1e3 * np.percentile(tuple(statistics.latencies_s), (50, 95, 99))
        said |= {'latency_p50_ms': f'{p50:.1f}', 'latency_p95_ms': f'{p95:.1f}', 'latency_p99_ms': f'{p99:.1f}'}
    if statistics.newest is not None:
        said |= _of_frame(statistics.newest, now_ns)
    said |= {f'stage_{name}_ms': f'{1e3 * seconds:.2f}' for name, seconds in dict(statistics.seconds).items()}
    for title, counter in (('drops', statistics.drops), ('uncalibrated', statistics.uncalibrated),
                           ('resets', statistics.resets)):
        counts = dict(counter)    # a copy: another thread goes on counting
        said |= {title: str(sum(counts.values())), **{f'{title}: {why}': str(n) for why, n in sorted(counts.items())}}
    return said | dict(info)


def _of_frame(depth: DepthFrame, now_ns: int) -> dict[str, str]:
    age_s = (now_ns - depth.stamp_ns) / 1e9
    return {
        # A clock behind the stamps is one that has not started, or not the clock of this recording.
        'age_s': f'{age_s:.3f}' if age_s >= 0 else 'unknown: the clock is behind the stamps (use_sim_time?)',
        'quantity': depth.quantity.value, 'metric': str(depth.depth_m is not None).lower(),
        **{f'metric_{name}': value for name, value in anchor_values(depth).items() if name != 'metric'},
        'metric_reason': depth.anchor.reason,
        'scale': f'{depth.scale:.6g}', 'shift': f'{depth.shift:.6g}', 'residual': f'{depth.residual:.4g}',
        'segment': str(depth.segment), 'calibrated': str(depth.camera is not None).lower()}


def report(stamp: object, name: str, level: bytes, message: str, said: Mapping[str, str]) -> DiagnosticArray:
    """Return the message for /diagnostics."""
    array = DiagnosticArray()
    array.header.stamp = stamp
    array.status = [DiagnosticStatus(level=level, name=f'{name}: depth', message=message, hardware_id=name,
                                     values=[KeyValue(key=key, value=value) for key, value in said.items()])]
    return array
