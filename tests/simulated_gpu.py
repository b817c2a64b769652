"""A GPU of 132 SMs that is made up: what is called of torch, NVML, cuda.core and the driver, each call countable and breakable."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

WHOLE, CLOCK_MHZ, IDLE_W, PER_SM_W, STATIC_W = 132, 1700, 75.0, 3.0, 150.0
STEP_S = 0.25
"""A step on all SMs."""


class SimulatedGpu:
    """Steps take time inversely to the SMs of the current stream; time passes only in steps and sleeps.

    Attributes
    ----------
    calls
        How often each name was called.
    fault
        ``(name, n, error)``: the n-th call of the name raises, or every one where n is None.
    open
        Contexts and streams that were not given back.
    """

    def __init__(self) -> None:
        self.now, self.joules, self.watts = 0.0, 0.0, IDLE_W
        self.calls: Counter[str] = Counter()
        self.fault: tuple[str, int | None, BaseException] | None = None
        self.open = 0
        self.carveout: int | None = None
        self.current = "primary"
        self.sms, self.streams = WHOLE, {42: WHOLE}
        self.seen: list[tuple[int, int | None, str]] = []
        self.energy_counter = self.momentary = True
        self.share = 0.0
        """Part of the work that comes in waves, unless the hint is given."""

    def call(self, name: str, answer: Callable[[], Any] = lambda: None) -> Any:
        self.calls[name] += 1
        if self.fault and self.fault[0] == name and self.fault[1] in (None, self.calls[name]):
            raise self.fault[2]
        return answer()

    def function(self, name: str, answer: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
        return lambda *arguments, **_: self.call(name, lambda: answer(*arguments))

    def step(self) -> None:
        v = self.sms
        share = 0.0 if self.carveout else self.share
        seconds = STEP_S * ((1 - share) * WHOLE / v + share * -(-WHOLE // v))
        self.seen.append((v, self.carveout, self.current))
        self.watts = STATIC_W + PER_SM_W * v
        self.now += seconds
        self.joules += seconds * self.watts

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.watts = IDLE_W
        self.joules += seconds * IDLE_W


def install(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "cuda" or name.startswith("cuda."):
            monkeypatch.delitem(sys.modules, name)
    _torch(gpu, monkeypatch)
    _nvml(gpu, monkeypatch)
    package = ModuleType("cuda")
    package.core, package.bindings = _core(gpu), _bindings(gpu)  # type: ignore[attr-defined]
    for name, module in {"cuda": package, "cuda.core": package.core, "cuda.bindings": package.bindings,
                         "cuda.bindings.driver": package.bindings.driver}.items():  # fmt: skip
        monkeypatch.setitem(sys.modules, name, module)


def _torch(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            gpu.call("Event")

        def record(self, stream: Any) -> None:
            gpu.call("Event.record")
            self.at = gpu.now

        def elapsed_time(self, other: Event) -> float:
            return float(gpu.call("Event.elapsed_time", lambda: 1e3 * (other.at - self.at)))

        def synchronize(self) -> None:
            gpu.call("Event.synchronize")

    @contextmanager
    def on(stream: Any) -> Iterator[None]:
        gpu.sms = WHOLE if stream == "default" else gpu.streams[stream]
        try:
            yield
        finally:
            gpu.sms = WHOLE

    properties = SimpleNamespace(
        name="NVIDIA H200", multi_processor_count=WHOLE, total_memory=150_000_000_000, major=9, minor=0, uuid="u-1"
    )
    for name, answer in {
        "current_stream": lambda: "default", "synchronize": lambda: None, "reset_peak_memory_stats": lambda: None,
        "max_memory_allocated": lambda: 7, "empty_cache": lambda: None,
        "get_stream_from_external": lambda handle, _: handle,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, gpu.function(f"torch.{name}", answer))
    for name, value in {
        "is_available": lambda: True, "current_device": lambda: 0, "get_device_properties": lambda _: properties,
        "Event": Event, "stream": on,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(
        torch._C, "_get_sm_carveout_experimental", gpu.function("torch.get_carveout", lambda: gpu.carveout)
    )
    monkeypatch.setattr(
        torch._C,
        "_set_sm_carveout_experimental",
        gpu.function("torch.set_carveout", lambda value: setattr(gpu, "carveout", value)),
    )


class NVMLError(Exception):
    pass


def _nvml(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def counter(_: Any) -> int:
        if not gpu.energy_counter:
            raise NVMLError("Not Supported")
        return round(1e3 * gpu.joules)

    def fields(_: Any, ids: list[int]) -> list[Any]:
        assert ids == [186]
        watts = SimpleNamespace(uiVal=round(1e3 * gpu.watts))
        return [SimpleNamespace(nvmlReturn=0 if gpu.momentary else 3, value=watts)]

    nvml = ModuleType("pynvml")
    vars(nvml).update(
        NVMLError=NVMLError, NVML_CLOCK_SM=1, NVML_SUCCESS=0, NVML_FI_DEV_POWER_INSTANT=186, NVML_TEMPERATURE_GPU=0
    )
    for name, answer in {
        "nvmlInit": lambda: None, "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlSystemGetDriverVersion": lambda: "580.1", "nvmlDeviceGetPowerUsage": lambda _: round(1e3 * gpu.watts),
        "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000, "nvmlDeviceGetMaxClockInfo": lambda *_: 1980,
        "nvmlDeviceGetClockInfo": lambda *_: CLOCK_MHZ, "nvmlDeviceGetTotalEnergyConsumption": counter,
        "nvmlDeviceGetFieldValues": fields, "nvmlDeviceGetTemperature": lambda *_: 55,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda _: 4,
    }.items():  # fmt: skip
        setattr(nvml, name, gpu.function(name, answer))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


def _granted(count: int) -> int:
    if count > WHOLE:
        raise RuntimeError("CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION")
    return -(-count // 8) * 8


def _core(gpu: SimulatedGpu) -> Any:
    """cuda.core 1.2, as far as green contexts need it."""

    def closing(name: str, holder: Any) -> Callable[[], None]:
        def close() -> None:
            gpu.call(name)
            assert gpu.current != holder, "a context is closed while it is current"
            gpu.open -= 1

        return close

    def opened(thing: Any) -> Any:
        gpu.open += 1
        return thing

    def create_context(options: Any) -> Any:
        (resource,) = options.resources
        context = SimpleNamespace(sms=resource.sm_count)
        context.close = closing("Context.close", context)

        def create_stream() -> Any:
            handle = 100 + gpu.calls["Context.create_stream"]
            gpu.streams[handle] = context.sms
            return opened(SimpleNamespace(handle=handle, close=closing("Stream.close", None)))

        context.create_stream = gpu.function("Context.create_stream", create_stream)
        context.resources = SimpleNamespace(sm=resource)
        return opened(context)

    def set_current(context: Any = None) -> Any:
        before, gpu.current = gpu.current, "primary" if context is None else context
        return before if context is not None else None

    def split(options: Any) -> Any:
        return [SimpleNamespace(sm_count=_granted(options.count))], SimpleNamespace(sm_count=0)

    def device(_: int) -> Any:
        return SimpleNamespace(
            set_current=gpu.function("Device.set_current", set_current),
            resources=SimpleNamespace(sm=SimpleNamespace(split=gpu.function("SMResource.split", split))),
            create_context=gpu.function("Device.create_context", create_context),
        )

    core = ModuleType("cuda.core")
    vars(core).update(
        Device=gpu.function("Device", device), ContextOptions=SimpleNamespace,
        SMResourceOptions=SimpleNamespace,
    )  # fmt: skip
    return core


def _bindings(gpu: SimulatedGpu) -> Any:
    """The driver of cuda.bindings 13.5: every call returns a tuple that starts with the result's code."""
    success = SimpleNamespace(name="CUDA_SUCCESS")

    def split(groups: int, whole: int, flags: int, count: int) -> tuple[Any, ...]:
        if count > whole:
            return (SimpleNamespace(name="CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION"), None, None, None)
        return success, [SimpleNamespace(sm=SimpleNamespace(smCount=_granted(count)))], 1, None

    def context(described: Any, *_: Any) -> tuple[Any, Any]:
        gpu.open += 1
        return success, described

    def stream(context: Any, *_: Any) -> tuple[Any, int]:
        gpu.open += 1
        handle = 500 + gpu.calls["cuGreenCtxStreamCreate"]
        gpu.streams[handle] = context.sm.smCount
        return success, handle

    def closed(_: Any) -> tuple[Any]:
        gpu.open -= 1
        return (success,)

    def push(context: Any) -> tuple[Any]:
        gpu.current = context
        return (success,)

    def pop() -> tuple[Any, Any]:
        before, gpu.current = gpu.current, "primary"
        return success, before

    driver = ModuleType("cuda.bindings.driver")
    vars(driver).update(
        CUresult=SimpleNamespace(CUDA_SUCCESS=success), CUdevResourceType=SimpleNamespace(CU_DEV_RESOURCE_TYPE_SM=1),
        CUgreenCtxCreate_flags=SimpleNamespace(CU_GREEN_CTX_DEFAULT_STREAM=1),
        CUstream_flags=SimpleNamespace(CU_STREAM_NON_BLOCKING=1),
    )  # fmt: skip
    for name, answer in {
        "cuDeviceGet": lambda index: (success, index), "cuDeviceGetDevResource": lambda *_: (success, WHOLE),
        "cuDevSmResourceSplitByCount": split, "cuDevResourceGenerateDesc": lambda groups, _: (success, groups[0]),
        "cuGreenCtxCreate": context, "cuGreenCtxStreamCreate": stream, "cuStreamDestroy": closed,
        "cuGreenCtxDestroy": closed, "cuCtxFromGreenCtx": lambda found: (success, found), "cuCtxPushCurrent": push,
        "cuCtxPopCurrent": pop,
    }.items():  # fmt: skip
        setattr(driver, name, gpu.function(name, answer))
    bindings = ModuleType("cuda.bindings")
    bindings.driver = driver  # type: ignore[attr-defined]
    return bindings
