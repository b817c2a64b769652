"""Measuring on a made-up GPU: one window for everything, three ways to confine work, and faults of every call."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from simulated_gpu import CLOCK_MHZ, IDLE_W, PER_SM_W, STATIC_W, STEP_S, WHOLE, NVMLError, SimulatedGpu, install

from hisopt.diffusion import measure
from hisopt.diffusion.board import Board, Sampler
from hisopt.diffusion.green_contexts import WAYS
from hisopt.diffusion.measurement_plan import planned
from hisopt.diffusion.meters import _IDLE_READINGS, CudaMeter, Timing, Unavailable, Window

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from pathlib import Path

    from hisopt.diffusion.measurement_plan import Point

CONDITIONS = {"resolution": 64, "text_tokens": 7, "forward_passes": 2, "batch": 1}
SPEC = {"denoiser": {"_class_name": "SD3Transformer2DModel"}, "latent_factor": 8}
COUNTS = (128, 64, 8)
POINTS = 1 + len(WAYS) * len(COUNTS)
SLOW_S = 200.0


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimulatedGpu:
    found = SimulatedGpu()
    install(found, monkeypatch)
    monkeypatch.setattr(measure, "_work", lambda *_: found.step)
    monkeypatch.setattr("hisopt.diffusion.measure.gc.collect", lambda: 0)  # takes longer than everything else here
    return found


def meter(gpu: SimulatedGpu) -> CudaMeter:
    return CudaMeter(clock=lambda: gpu.now, sleep=gpu.sleep)


def sweep(gpu: SimulatedGpu, samples: Path | None = None, **options: Any) -> dict[str, Any]:
    options = {"dtypes": ("bfloat16",), "modes": ("eager",), "sm_counts": COUNTS, "clock": lambda: gpu.now} | options
    return measure.measure(SPEC, CONDITIONS, 1e13, meter(gpu), samples=samples, **options)


def made(found: dict[str, Any]) -> int:
    """Samples of the whole card and of parts of it; that of the whole card stands in every series."""
    series = found["sm_law"]["series"] if found["sm_law"] else []
    return len(found["runs"]) + sum(sample["granted_sms"] < WHOLE for s in series for sample in s["samples"])


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)


def test_time_clock_power_and_energy_are_of_the_same_repetitions(gpu: SimulatedGpu) -> None:
    found = meter(gpu)
    assert found.describe()["idle_watts"] == IDLE_W
    assert not gpu.seen  # read before any work
    timing = found.time(gpu.step)
    assert timing.seconds == pytest.approx((STEP_S,) * len(timing.seconds))
    assert sum(timing.seconds) == pytest.approx(5, abs=2 * STEP_S)
    assert len(gpu.seen) * STEP_S == pytest.approx(7, abs=4 * STEP_S)  # two seconds of warm-up before
    watts = STATIC_W + PER_SM_W * WHOLE
    assert timing.watts == pytest.approx(watts) and timing.joules == pytest.approx(watts * STEP_S)
    assert (timing.power_from, timing.clock_hz, timing.throttled) == ("energy counter", 1e6 * CLOCK_MHZ, 4)
    assert (timing.granted_sms, timing.peak_bytes, timing.lost) == (WHOLE, 7, ())
    end = gpu.now
    found.time(gpu.step)
    assert gpu.now - end == pytest.approx(5 + 7, abs=4 * STEP_S)  # rest comes before the next one, not after the last


@pytest.mark.parametrize("library", ["cuda.core", "cuda.bindings"])
def test_three_ways_to_confine(gpu: SimulatedGpu, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if library == "cuda.bindings":
        without(monkeypatch, "cuda.core")
    for way in WAYS:
        gpu.seen.clear()
        timing = meter(gpu).time(gpu.step, 60, way)
        assert timing.granted_sms == 64
        assert timing.median == pytest.approx(STEP_S * WHOLE / 64)
        ((sms, carveout, current),) = {(v, c, c1 == "primary") for v, c, c1 in gpu.seen}
        assert sms == 64
        assert carveout == (WHOLE - 64 if way == "hint" else None)
        assert current == (way != "current")
        assert (gpu.open, gpu.carveout, gpu.current) == (0, None, "primary")
    with pytest.raises(Unavailable, match="green context of 200 SMs: CUDA_ERROR_INVALID_RESOURCE"):
        meter(gpu).time(gpu.step, 200)
    assert gpu.open == 0


def test_waves_show_and_the_fastest_way_is_published(gpu: SimulatedGpu) -> None:
    gpu.share = 0.9
    found = sweep(gpu, sm_counts=(128, 96, 64, 48, 24, 8))
    series = {s["way"]: s for s in found["sm_law"]["series"]}
    assert series["stream"]["step_ratio"]["ratio"] == pytest.approx(0.9 * 2 + 0.1 * WHOLE / 128)
    assert series["hint"]["step_ratio"]["ratio"] == pytest.approx(WHOLE / 128)
    assert series["stream"]["waves"]["quantised_share"] == pytest.approx(0.9)
    assert series["stream"]["waves"]["rms"] < 1e-9 < series["stream"]["speed"]["rms"]
    assert series["hint"]["waves"]["quantised_share"] == pytest.approx(0, abs=1e-9)
    assert (found["sm_law"]["published"]["mode"], found["sm_law"]["published"]["way"]) == ("eager", "hint")
    edge = measure.parameters(found)
    assert edge["utilisation"] == pytest.approx(1e13 / (STEP_S * WHOLE * 1e6 * CLOCK_MHZ * 4096))
    assert edge["energy_coefficient"] * edge["power_per_sm"] * (1e6 * CLOCK_MHZ) ** 3 == pytest.approx(
        PER_SM_W, rel=1e-3
    )


def test_numbers_of_sms_come_in_a_random_order_that_the_seed_gives(gpu: SimulatedGpu, tmp_path: Path) -> None:
    def order(name: str, seed: int) -> list[str]:
        sweep(gpu, tmp_path / name, seed=seed)
        return (tmp_path / name).read_text().splitlines()[2:]

    keys = [[line.split('"')[3] for line in order(str(k), seed)] for k, seed in enumerate((1, 1, 2))]
    assert keys[0] == keys[1] != keys[2]
    assert sorted(keys[0]) == sorted(keys[2])
    assert len(keys[0]) == POINTS


def test_the_default_plan_ends_in_time(gpu: SimulatedGpu) -> None:
    found = sweep(gpu, dtypes=("bfloat16", "float16"), modes=("eager", "compiled"), sm_counts=None, budget_s=480)
    assert found["conditions"]["planned_s"] <= 480
    assert gpu.now < 480
    series = found["sm_law"]["series"]
    assert {(s["mode"], s["way"]) for s in series} == {(m, w) for m in ("eager", "compiled") for w in WAYS}
    assert all(len(s["samples"]) >= 4 and s["step_ratio"]["sms"] == [128, WHOLE] for s in series)
    assert any("--budget has no time for them" in what for what in found["missing"])


def written_out(points: Sequence[Point], began: float, deadline: float) -> tuple[float, list[str]]:
    """When the simulated card is done, and which points it measures, by the window and the simulated law of SMs."""
    now, last_end, made, window = began, None, [], Window()
    for point in points:
        if point.sms is not None and now + SLOW_S + window.warm_up_s + window.measure_s + window.rest_s > deadline:
            continue
        made.append(point.key)
        step = STEP_S * WHOLE / (point.sms or WHOLE)
        if last_end is not None:
            now += last_end + window.rest_s - now
        now += step  # which would compile
        start = now
        while now - start < window.warm_up_s:
            now += step
        start, repeats = now, 0
        while now - start < window.measure_s or repeats < window.repeats:
            now, repeats = now + step, repeats + 1
        last_end = now
    return now, made


def test_a_slow_start_costs_points_of_the_law_only(gpu: SimulatedGpu) -> None:
    calls = 0

    def clock() -> float:  # compiling takes so much longer than planned
        nonlocal calls
        calls += 1
        return gpu.now + (SLOW_S if calls > 1 else 0.0)

    modes, budget_s = ("eager", "compiled"), 300.0
    found = sweep(gpu, modes=modes, sm_counts=None, budget_s=budget_s, clock=clock)
    plan = planned(("bfloat16",), modes, WHOLE, None, meter(gpu).seconds_each, budget_s, seed=0)
    end, expected = written_out(plan.points, 0.1 * _IDLE_READINGS, budget_s)
    assert gpu.now == pytest.approx(end, abs=1e-9)
    assert made(found) == len(expected) < len(plan.points)
    assert len(found["runs"]) == 2  # both modes on the whole card are measured all the same
    assert (
        f"{len(plan.points) - len(expected)} planned points of the law of SMs: the budget was spent" in found["missing"]
    )


def test_power_without_an_energy_counter(gpu: SimulatedGpu) -> None:
    gpu.energy_counter = False
    timing = meter(gpu).time(gpu.step)
    watts = STATIC_W + PER_SM_W * WHOLE
    assert (timing.power_from, timing.watts) == ("instantaneous power", pytest.approx(watts))
    assert timing.joules == pytest.approx(watts * STEP_S)
    assert timing.lost == ("energy counter: NVML: Not Supported",)
    gpu.momentary = False
    timing = meter(gpu).time(gpu.step)
    assert (timing.power_from, timing.watts) == ("average power after the first second", pytest.approx(watts))


def test_average_power_of_the_first_second_is_dropped() -> None:
    board = Board("u")
    sampler = Sampler(board)
    sampler.readings = [(0.0, 100.0, None, 1e9, None), (0.9, 200.0, None, 2e9, 1), (1.1, 500.0, None, 2e9, 4)]
    assert sampler.watts() == (500, "average power after the first second")
    assert sampler.clock_hz() == 2e9
    assert sampler.throttling() == 5
    sampler.readings = sampler.readings[:2]
    assert sampler.watts() == (None, None)


def test_without_libraries_the_whole_card_is_still_timed(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "cuda.core", "cuda.bindings", "pynvml")
    found = sweep(gpu)
    assert len(found["runs"]) == 1 and found["runs"][0]["median_s"] == pytest.approx(STEP_S)
    assert found["sm_law"] is None
    assert any("green contexts need cuda-core or cuda-bindings" in what for what in found["missing"])
    assert any("needs nvidia-ml-py" in what for what in found["missing"])


TORCH = [
    "torch.current_stream", "torch.synchronize", "torch.reset_peak_memory_stats", "torch.max_memory_allocated",
    "torch.empty_cache", "torch.get_stream_from_external", "torch.get_carveout", "torch.set_carveout", "Event",
    "Event.record", "Event.elapsed_time", "Event.synchronize",
]  # fmt: skip
NVML = [
    "nvmlInit", "nvmlDeviceGetHandleByUUID", "nvmlSystemGetDriverVersion", "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetEnforcedPowerLimit", "nvmlDeviceGetMaxClockInfo", "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetTotalEnergyConsumption", "nvmlDeviceGetFieldValues", "nvmlDeviceGetTemperature",
    "nvmlDeviceGetCurrentClocksEventReasons",
]  # fmt: skip
CORE = ["Device", "Device.set_current", "SMResource.split", "Device.create_context", "Context.create_stream",
        "Context.close", "Stream.close"]  # fmt: skip
DRIVER = [
    "cuDeviceGet", "cuDeviceGetDevResource", "cuDevSmResourceSplitByCount", "cuDevResourceGenerateDesc",
    "cuGreenCtxCreate", "cuGreenCtxStreamCreate", "cuStreamDestroy", "cuGreenCtxDestroy", "cuCtxFromGreenCtx",
    "cuCtxPushCurrent", "cuCtxPopCurrent",
]  # fmt: skip


def test_the_lists_name_every_call(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(gpu)
    assert set(gpu.calls) == {*TORCH, *NVML, *CORE}
    without(monkeypatch, "cuda.core")
    gpu.calls.clear()
    sweep(gpu)
    assert set(gpu.calls) == {*TORCH, *NVML, *DRIVER}


@pytest.mark.parametrize("when", ["first", "middle", "last", "always"])
@pytest.mark.parametrize("name", [*TORCH, *NVML, *CORE, *DRIVER])
def test_a_fault_of_any_call_loses_one_sample_at_most(
    gpu: SimulatedGpu, name: str, when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in DRIVER:
        without(monkeypatch, "cuda.core")
    monkeypatch.setattr("hisopt.diffusion.meters.Sampler", quiet_sampler)
    count = calls_of_a_sweep(gpu, tuple(CORE if name not in DRIVER else DRIVER))[name]
    at = {"first": 1, "middle": (count + 1) // 2, "last": count, "always": None}[when]
    error = NVMLError("Insufficient Permissions") if name in NVML else RuntimeError(f"no symbol {name}")
    gpu.fault = (name, at, error)
    samples = tmp_path / "samples.jsonl"
    found = sweep(gpu, samples)
    if when == "always":
        assert made(found) == POINTS or name not in NVML
    else:
        assert made(found) >= POINTS - 1
        assert made(found) == POINTS or name not in NVML
    if made(found) < POINTS and when != "always":
        assert any(str(error) in what for what in found["missing"])
    if name not in ("Context.close", "Stream.close", "cuStreamDestroy", "cuGreenCtxDestroy", "Device.set_current"):
        assert gpu.open == 0
    kept = samples.read_text()
    gpu.fault, gpu.carveout, gpu.current = None, None, "primary"
    again = sweep(gpu, samples)
    assert made(again) == POINTS
    assert samples.read_text().startswith(kept)


_CALLS: dict[tuple[str, ...], Counter[str]] = {}


def calls_of_a_sweep(gpu: SimulatedGpu, library: tuple[str, ...]) -> Counter[str]:
    if library not in _CALLS:
        sweep(gpu)
        _CALLS[library] = gpu.calls.copy()
        gpu.calls.clear()
    return _CALLS[library]


def quiet_sampler(board: Board, clock: Any) -> Sampler:
    """Reads at the start and the end only, so that calls can be counted."""
    return Sampler(board, clock, interval_s=3600)


def test_out_of_memory_in_one_condition_loses_that_one(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(spec: Any, conditions: Any, meter: Any, point: Any, compile_step: Any) -> Any:
        if point.dtype == "float32":
            raise torch.OutOfMemoryError("CUDA out of memory.\nmore")

        def step() -> None:
            if point.mode == "compiled" and gpu.sms == 8:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            gpu.step()

        return step

    monkeypatch.setattr(measure, "_work", work)
    found = sweep(gpu, dtypes=("bfloat16", "float32"), modes=("eager", "compiled"))
    assert [(run["dtype"], run["mode"]) for run in found["runs"]] == [("bfloat16", "eager"), ("bfloat16", "compiled")]
    assert made(found) == 2 * POINTS - len(WAYS)
    assert sum("out of memory: CUDA out of memory." in what for what in found["missing"]) == 2 + len(WAYS)


def test_the_spread_is_the_interquartile_range() -> None:
    assert Timing((1.0, 2.0, 3.0, 4.0, 100.0)).median == 3
    assert Timing((1.0, 2.0, 3.0, 4.0, 100.0)).spread == 2
    assert Timing((1.0,)).spread == 0
