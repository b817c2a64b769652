"""Time, energy and memory of repeated work on a processor, read without changing any of its settings."""

from __future__ import annotations

import math
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import torch

Work = Callable[[], Any]
_ENERGY_WINDOW_S = 3.0  # long against the energy counter's updates, about ten a second


class Unavailable(RuntimeError):
    """A reading that this machine cannot give, with the reason."""


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
        Mean board power, and energy of one repetition; None where the board has no reading.
    clock_hz
        Mean SM clock under this load, or None.
    peak_bytes
        Most memory that tensors held, or None.
    """

    seconds: tuple[float, ...]
    granted_sms: int | None = None
    watts: float | None = None
    joules: float | None = None
    clock_hz: float | None = None
    peak_bytes: int | None = None

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
    sms: int | None
    """SMs that work can be confined to parts of; None where it cannot."""

    def describe(self) -> dict[str, Any]:
        """Name, size and driver of the processor."""

    def time(self, work: Work, repeats: int, warm_up: int, sms: int | None = None) -> Timing:
        """Repeat the work; raise `Unavailable` if it cannot be confined to so many SMs."""


class CpuMeter:
    """Wall-clock time on the processor of this machine."""

    device: str = "cpu"
    sms: int | None = None

    def describe(self) -> dict[str, Any]:
        """Name and threads."""
        return {"name": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}

    def time(self, work: Work, repeats: int, warm_up: int, sms: int | None = None) -> Timing:
        """Repeat the work; it cannot be confined."""
        if sms is not None:
            raise Unavailable("only a GPU has SMs")
        for _ in range(warm_up):
            work()
        found = []
        for _ in range(repeats):
            start = time.perf_counter()
            work()
            found.append(time.perf_counter() - start)
        return Timing(tuple(found))


class CudaMeter:
    """CUDA events for time, NVML for energy, power and clock, green contexts to confine work to some SMs."""

    device: str = "cuda"

    def __init__(self) -> None:
        if not torch.cuda.is_available():
            raise Unavailable("there is no CUDA device")
        self._index = torch.cuda.current_device()
        self._properties = torch.cuda.get_device_properties(self._index)
        self.sms: int | None = self._properties.multi_processor_count
        self._board, self._why_no_board = _board(self._properties)

    def describe(self) -> dict[str, Any]:
        """Name, SMs, memory, compute capability; driver, idle power and highest clock where NVML gives them."""
        found = {
            "name": self._properties.name,
            "sms": self._properties.multi_processor_count,
            "memory_bytes": self._properties.total_memory,
            "capability": [self._properties.major, self._properties.minor],
        }
        if self._board is None:
            return found | {"no_power": self._why_no_board}
        import pynvml

        return found | {
            "driver": str(pynvml.nvmlSystemGetDriverVersion()),
            "idle_watts": pynvml.nvmlDeviceGetPowerUsage(self._board) / 1e3,
            "power_limit_watts": pynvml.nvmlDeviceGetEnforcedPowerLimit(self._board) / 1e3,
            "highest_clock_hz": pynvml.nvmlDeviceGetMaxClockInfo(self._board, pynvml.NVML_CLOCK_SM) * 1e6,
        }

    def time(self, work: Work, repeats: int, warm_up: int, sms: int | None = None) -> Timing:
        """Repeat the work, on some of the SMs if asked; then go on for a few seconds to read energy, power and clock."""
        with self._confined(sms) as (stream, granted), torch.cuda.stream(stream):
            torch.cuda.reset_peak_memory_stats()
            for _ in range(warm_up):
                work()
            torch.cuda.synchronize()
            marks = [_event(enable_timing=True) for _ in range(repeats + 1)]
            marks[0].record(stream)
            for mark in marks[1:]:
                work()
                mark.record(stream)
            torch.cuda.synchronize()
            seconds = tuple(a.elapsed_time(b) / 1e3 for a, b in pairwise(marks))
            peak = torch.cuda.max_memory_allocated()
            watts, joules, clock = self._power(work, stream, statistics.median(seconds))
        return Timing(seconds, granted, watts, joules, clock, peak)

    def _power(self, work: Work, stream: Any, seconds: float) -> tuple[float | None, float | None, float | None]:
        if self._board is None:
            return None, None, None
        import pynvml

        count = max(math.ceil(_ENERGY_WINDOW_S / seconds), 3)
        try:
            before = pynvml.nvmlDeviceGetTotalEnergyConsumption(self._board)
        except pynvml.NVMLError:
            before = None
        watts, clocks = [], []
        start = time.perf_counter()
        last = _event()
        last.record(stream)
        for _ in range(count):
            work()
            mark = _event()
            mark.record(stream)
            last.synchronize()  # one repetition behind, so that the queue never runs empty
            last = mark
            watts.append(pynvml.nvmlDeviceGetPowerUsage(self._board) / 1e3)
            clocks.append(pynvml.nvmlDeviceGetClockInfo(self._board, pynvml.NVML_CLOCK_SM) * 1e6)
        torch.cuda.synchronize()
        spent = time.perf_counter() - start
        clock = statistics.fmean(clocks)
        if before is None:
            power = statistics.fmean(watts)
            return power, power * spent / count, clock
        joules = (pynvml.nvmlDeviceGetTotalEnergyConsumption(self._board) - before) / 1e3
        return joules / spent, joules / count, clock

    @contextmanager
    def _confined(self, sms: int | None) -> Iterator[tuple[Any, int | None]]:
        """A stream on so many SMs and how many the driver granted; the device's own stream for None or all of them."""
        if sms is None or sms == self.sms:
            yield torch.cuda.current_stream(), self.sms
            return
        try:
            from cuda.bindings import driver
        except ImportError:
            raise Unavailable("green contexts need cuda-bindings (extra 'gpu')") from None

        def checked(found: tuple[Any, ...]) -> Any:
            if found[0] != driver.CUresult.CUDA_SUCCESS:
                raise Unavailable(f"green context of {sms} SMs: {found[0].name}")
            return found[1] if len(found) == 2 else found[1:]

        torch.cuda.synchronize()  # makes the primary context current
        device = checked(driver.cuDeviceGet(self._index))
        whole = checked(driver.cuDeviceGetDevResource(device, driver.CUdevResourceType.CU_DEV_RESOURCE_TYPE_SM))
        groups, count, _ = checked(driver.cuDevSmResourceSplitByCount(1, whole, 0, sms))
        if not count:
            raise Unavailable(f"green context of {sms} SMs: the driver makes none of that size")
        described = checked(driver.cuDevResourceGenerateDesc([groups[0]], 1))
        context = checked(
            driver.cuGreenCtxCreate(described, device, driver.CUgreenCtxCreate_flags.CU_GREEN_CTX_DEFAULT_STREAM)
        )
        handle = checked(driver.cuGreenCtxStreamCreate(context, driver.CUstream_flags.CU_STREAM_NON_BLOCKING, 0))
        try:
            yield torch.cuda.get_stream_from_external(int(handle), self._index), int(groups[0].sm.smCount)
        finally:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()  # of blocks that belong to the stream
            driver.cuStreamDestroy(handle)
            driver.cuGreenCtxDestroy(context)


def _event(**options: bool) -> Any:
    return torch.cuda.Event(**options)  # type: ignore[no-untyped-call]


def _board(properties: Any) -> tuple[Any, str | None]:
    """Return NVML's handle of the device that torch uses, or None and why there is none."""
    try:
        import pynvml
    except ImportError:
        return None, "power and clock need nvidia-ml-py (extra 'gpu')"
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{properties.uuid}"), None
    except (pynvml.NVMLError, AttributeError) as error:
        return None, f"NVML: {error}"
