"""What NVML reads of a board: power, energy, clock. Any reading may be missing, and a missing one costs only itself."""

from __future__ import annotations

import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DROPPED_S = 1.0
"""Seconds at the start of a window in which average power still remembers the time before."""


class Board:
    """NVML's view of the device that torch uses.

    Connects at the first reading and tries again as long as it is not connected, so that one failure costs one reading.

    Attributes
    ----------
    lost
        What could not be read, with the reason, since it was last emptied.
    """

    def __init__(self, uuid: str) -> None:
        self._uuid = uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"
        self._handle: Any = None
        self.lost: dict[str, str] = {}

    def driver(self) -> str | None:
        """Version of the driver."""
        found = self._read("driver version", lambda nvml, _: nvml.nvmlSystemGetDriverVersion())
        return None if found is None else str(found)

    def power_limit(self) -> float | None:
        """Enforced power limit in W."""
        return self._number("power limit", lambda nvml, h: nvml.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3)

    def highest_clock(self) -> float | None:
        """Highest SM clock in Hz."""
        return self._number(
            "highest clock", lambda nvml, h: nvml.nvmlDeviceGetMaxClockInfo(h, nvml.NVML_CLOCK_SM) * 1e6
        )

    def clock(self) -> float | None:
        """SM clock in Hz."""
        return self._number("clock", lambda nvml, h: nvml.nvmlDeviceGetClockInfo(h, nvml.NVML_CLOCK_SM) * 1e6)

    def energy(self) -> float | None:
        """Energy since the driver was loaded, in J."""
        return self._number("energy counter", lambda nvml, h: nvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3)

    def power(self) -> float | None:
        """Board power in W: on recent cards the mean over the last second."""
        return self._number("power", lambda nvml, h: nvml.nvmlDeviceGetPowerUsage(h) / 1e3)

    def instantaneous_power(self) -> float | None:
        """Board power of this moment in W, on cards that tell."""

        def read(nvml: Any, handle: Any) -> float:
            field = nvml.nvmlDeviceGetFieldValues(handle, [nvml.NVML_FI_DEV_POWER_INSTANT])[0]
            if field.nvmlReturn != nvml.NVML_SUCCESS:
                raise nvml.NVMLError(field.nvmlReturn)
            return float(field.value.uiVal) / 1e3

        return self._number("instantaneous power", read)

    def temperature(self) -> float | None:
        """Temperature of the GPU in degrees Celsius."""
        return self._number("temperature", lambda nvml, h: nvml.nvmlDeviceGetTemperature(h, nvml.NVML_TEMPERATURE_GPU))

    def throttled(self) -> int | None:
        """Bits that say why clocks are lower than they could be."""
        found = self._number("reasons of clocks", lambda nvml, h: nvml.nvmlDeviceGetCurrentClocksEventReasons(h))
        return None if found is None else int(found)

    def _number(self, what: str, read: Callable[[Any, Any], Any]) -> float | None:
        found = self._read(what, read)
        return None if found is None else float(found)

    def _read(self, what: str, read: Callable[[Any, Any], Any]) -> Any:
        try:
            import pynvml
        except ImportError:
            self.lost[what] = "needs nvidia-ml-py (extra 'gpu')"
            return None
        try:
            if self._handle is None:
                pynvml.nvmlInit()
                self._handle = pynvml.nvmlDeviceGetHandleByUUID(self._uuid)
            return read(pynvml, self._handle)
        except Exception as error:  # a library without a symbol, no permission, a lost card: all cost this reading only
            self.lost[what] = f"NVML: {one_line(error)}"
            return None


class Sampler:
    """Reads power and clock from a thread, some ten times a second, from ``with`` to its end.

    Attributes
    ----------
    readings
        Tuples of seconds since the start, power in W, instantaneous power in W, clock in Hz, bits of throttling.
    """

    def __init__(self, board: Board, clock: Callable[[], float] = time.perf_counter, interval_s: float = 0.1) -> None:
        self._board, self._clock, self._interval = board, clock, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.readings: list[tuple[float, float | None, float | None, float | None, int | None]] = []

    def __enter__(self) -> Sampler:
        self._start = self._clock()
        self._read()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._read()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self._read()

    def _read(self) -> None:
        board, at = self._board, self._clock() - self._start
        self.readings.append((at, board.power(), board.instantaneous_power(), board.clock(), board.throttled()))

    def clock_hz(self) -> float | None:
        """Mean clock, without the first reading where there are more: the card was still speeding up."""
        found = [reading[3] for reading in self.readings if reading[3] is not None]
        return statistics.fmean(found[1:] or found) if found else None

    def watts(self) -> tuple[float | None, str | None]:
        """Mean power and what it is the mean of: momentary power, or averages past the first second."""
        momentary = [reading[2] for reading in self.readings if reading[2] is not None]
        if momentary:
            return statistics.fmean(momentary[1:] or momentary), "instantaneous power"
        late = [reading[1] for reading in self.readings if reading[1] is not None and reading[0] >= DROPPED_S]
        return (statistics.fmean(late), "average power after the first second") if late else (None, None)

    def throttling(self) -> int | None:
        """All bits of throttling that were seen."""
        found = [reading[4] for reading in self.readings if reading[4] is not None]
        bits = 0
        for value in found:
            bits |= value
        return bits if found else None


def one_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
