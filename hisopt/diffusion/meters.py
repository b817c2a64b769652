"""Time, energy and memory of repeated work on a processor, read without changing any of its settings."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import torch

from hisopt.diffusion.board import Board, Sampler
from hisopt.diffusion.green_contexts import Unavailable, confined

__all__ = ["CpuMeter", "CudaMeter", "Meter", "Timing", "Unavailable", "Window"]

Work = Callable[[], Any]
_IDLE_READINGS = 10


@dataclass(frozen=True)
class Timing:
    """Raw samples of one kind of work.

    Attributes
    ----------
    seconds
        Of each repetition, after warm-up.
    granted_sms
        SMs that the work was confined to; None where it could not be or was not.
    watts, joules
        Mean board power, and energy of one repetition, over the very repetitions timed; None where the board has no reading.
    power_from
        What ``watts`` is: the energy counter, instantaneous power, or average power after the first second.
    clock_hz
        Mean SM clock over the same repetitions, or None.
    throttled
        NVML's bits of all reasons that held clocks down, or None.
    temperature_c
        At the end.
    peak_bytes
        Most memory that tensors held, or None.
    lost
        What could not be read, with the reason.
    """

    seconds: tuple[float, ...]
    granted_sms: int | None = None
    watts: float | None = None
    joules: float | None = None
    power_from: str | None = None
    clock_hz: float | None = None
    throttled: int | None = None
    temperature_c: float | None = None
    peak_bytes: int | None = None
    lost: tuple[str, ...] = ()

    @property
    def median(self) -> float:
        """Seconds of a typical repetition."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Interquartile range in seconds, 0 for a single repetition."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return high - low


class Meter(Protocol):
    """Measures work on one processor."""

    device: str

    @property
    def sms(self) -> int | None:
        """SMs that work can be confined to parts of; None where it cannot."""

    def describe(self) -> dict[str, Any]:
        """Name, size and driver of the processor, and its idle power: to be called before any work."""

    def time(self, work: Work, sms: int | None = None, way: str = "stream") -> Timing:
        """Repeat the work; raise `Unavailable` if it cannot be confined to so many SMs in this way."""

    @property
    def seconds_each(self) -> float:
        """About how long a call of `time` takes, without compilation."""


@dataclass
class CpuMeter:
    """Wall-clock time on the processor of this machine."""

    repeats: int = 20
    warm_up: int = 3
    device: str = "cpu"
    sms: int | None = None
    seconds_each: float = 0.0  # not known, and no budget is planned by it

    def describe(self) -> dict[str, Any]:
        """Name and threads."""
        return {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}

    def time(self, work: Work, sms: int | None = None, way: str = "stream") -> Timing:  # noqa: ARG002
        """Repeat the work; it cannot be confined."""
        if sms is not None:
            raise Unavailable("only a GPU has SMs")
        for _ in range(self.warm_up):
            work()
        found = []
        for _ in range(self.repeats):
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
        return Timing(tuple(found))


@dataclass(frozen=True)
class Window:
    """One measurement on a GPU, in seconds: warm-up, then repetitions that are timed, then rest before the next one.

    A warm-up of two seconds brings clocks and the board's averages to where the work keeps them; the window is long against
    the energy counter's updates, some ten a second; rest lets the card cool, so that the order of conditions matters little.
    """

    warm_up_s: float = 2.0
    measure_s: float = 5.0
    rest_s: float = 5.0
    repeats: int = 3
    """At least so many repetitions, however long."""


@dataclass
class CudaMeter:
    """CUDA events for time, NVML for energy, power and clock, green contexts to confine work to some SMs.

    ``clock`` and ``sleep`` are those of the host.
    """

    window: Window = field(default_factory=Window)
    clock: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    device: str = "cuda"

    def __post_init__(self) -> None:
        if not torch.cuda.is_available():
            raise Unavailable("there is no CUDA device")
        self._index = torch.cuda.current_device()
        self._properties = torch.cuda.get_device_properties(self._index)
        self.sms: int = self._properties.multi_processor_count
        self._board = Board(str(getattr(self._properties, "uuid", "")))
        self._last_end: float | None = None

    @property
    def seconds_each(self) -> float:
        """Warm-up, window and rest."""
        return self.window.warm_up_s + self.window.measure_s + self.window.rest_s

    def describe(self) -> dict[str, Any]:
        """Name, SMs, memory, compute capability; driver, idle power and highest clock where NVML gives them."""
        board, idle = self._board, []
        board.lost.clear()
        for _ in range(_IDLE_READINGS):
            reading = board.instantaneous_power()
            if (reading := board.power() if reading is None else reading) is not None:
                idle.append(reading)
            self.sleep(0.1)
        found = {
            "name": self._properties.name,
            "sms": self.sms,
            "memory_bytes": self._properties.total_memory,
            "capability": [self._properties.major, self._properties.minor],
            "driver": board.driver(),
            "idle_watts": statistics.fmean(idle) if idle else None,
            "power_limit_watts": board.power_limit(),
            "highest_clock_hz": board.highest_clock(),
        }
        if idle:
            board.lost.pop("power", None)
            board.lost.pop("instantaneous power", None)
        return found | {"lost": [f"{what}: {why}" for what, why in board.lost.items()]}

    def time(self, work: Work, sms: int | None = None, way: str = "stream") -> Timing:
        """Repeat the work, on some of the SMs if asked; time, clock, power and energy are of the same repetitions."""
        if self._last_end is not None:
            self.sleep(max(0.0, self._last_end + self.window.rest_s - self.clock()))
        self._board.lost.clear()
        trouble: list[str] = []
        try:
            with self._stream(sms, way, trouble.append) as (stream, granted), torch.cuda.stream(stream):
                found = self._measured(work, stream)
        finally:
            self._last_end = self.clock()
        lost = (*(f"{what}: {why}" for what, why in self._board.lost.items()), *trouble)
        return Timing(granted_sms=granted, lost=tuple(dict.fromkeys(lost)), **found)

    def _measured(self, work: Work, stream: Any) -> dict[str, Any]:
        board, window = self._board, self.window
        torch.cuda.reset_peak_memory_stats()
        work()  # compiles and chooses kernels, which may take long
        torch.cuda.synchronize()
        start, last = self.clock(), _event()
        last.record(stream)
        while self.clock() - start < window.warm_up_s:
            work()
            last = _behind(last, stream)
        torch.cuda.synchronize()
        marks = [_event(enable_timing=True)]
        with Sampler(board, self.clock) as sampler:
            before, start = board.energy(), self.clock()
            marks[0].record(stream)
            while self.clock() - start < window.measure_s or len(marks) <= window.repeats:
                work()
                marks.append(_event(enable_timing=True))
                marks[-1].record(stream)
                marks[-2].synchronize()  # one repetition behind, so that the queue never runs empty
            torch.cuda.synchronize()
            spent, after = self.clock() - start, board.energy()
        seconds = tuple(a.elapsed_time(b) / 1e3 for a, b in pairwise(marks))
        watts, power_from = sampler.watts()
        joules: float | None = None
        if before is not None and after is not None and after > before:
            joules, power_from = (after - before) / len(seconds), "energy counter"
            watts = (after - before) / spent
        elif watts is not None:
            joules = watts * spent / len(seconds)
        clock_hz, temperature = sampler.clock_hz(), board.temperature()
        unneeded = {"instantaneous power", "reasons of clocks", "temperature", *({"power"} if watts else ())}
        for what in unneeded | ({"clock"} if clock_hz else set()):
            board.lost.pop(what, None)
        return {
            "seconds": seconds, "watts": watts, "joules": joules, "power_from": power_from, "clock_hz": clock_hz,
            "throttled": sampler.throttling(), "temperature_c": temperature,
            "peak_bytes": torch.cuda.max_memory_allocated(),
        }  # fmt: skip

    @contextmanager
    def _stream(self, sms: int | None, way: str, lost: Callable[[str], None]) -> Iterator[tuple[Any, int | None]]:
        """A stream on so many SMs and how many were granted; the device's own stream for None or all of them."""
        if sms is None or sms == self.sms:
            yield torch.cuda.current_stream(), self.sms
            return
        with confined(self._index, sms, self.sms, way, lost) as found:
            yield found


def _event(**options: bool) -> Any:
    return torch.cuda.Event(**options)  # type: ignore[no-untyped-call]


def _behind(last: Any, stream: Any) -> Any:
    """Mark the stream, and wait until the mark before."""
    mark = _event()
    mark.record(stream)
    last.synchronize()
    return mark
