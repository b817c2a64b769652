"""Measuring: on the processor with a tiny model, on a made-up GPU whose laws are planted, and the laws' fits."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hisopt import flops, measure
from hisopt.meters import CpuMeter, CudaMeter, Timing, Unavailable
from hisopt.profile import load_parameters
from hisopt.sm_law import fit_power, fit_speed

TINY = {
    "_class_name": "SD3Transformer2DModel", "sample_size": 8, "patch_size": 2, "in_channels": 4, "out_channels": 4,
    "num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 24,
    "caption_projection_dim": 16, "pooled_projection_dim": 20, "pos_embed_max_size": 16,
}  # fmt: skip
SPEC = {"denoiser": TINY, "latent_factor": 8}
CONDITIONS = {"resolution": 64, "text_tokens": 7, "forward_passes": 2, "batch": 3}
RHO, CLOCK, PER_CYCLE, MU1, MU2, KAPPA = 0.31, 1.7e9, 4096.0, 0.9, 20.0, 1e-27
FLOP = 1e13


class MadeUpGpu:
    """Obeys (9) and (10) exactly, grants SMs in eights, and refuses 24 of them."""

    device = "cpu"
    sms: int | None = 40

    def describe(self) -> dict[str, Any]:
        return {"name": "made up", "sms": self.sms, "capability": [9, 0]}

    def time(self, work: Any, repeats: int, warm_up: int, sms: int | None = None) -> Timing:
        work()
        if sms == 24:
            raise Unavailable("refused")
        granted = -(-(sms or 40) // 8) * 8
        seconds = FLOP / (granted * CLOCK * PER_CYCLE * RHO)
        watts = KAPPA * (MU1 * granted + MU2) * CLOCK**3
        return Timing((seconds,) * repeats, granted, watts, watts * seconds, CLOCK, 123)


def test_a_step_takes_both_halves_of_guidance_for_the_whole_batch() -> None:
    model, inputs = measure.step_of(TINY, CONDITIONS, "cpu", "bfloat16", 8)
    assert inputs["hidden_states"].shape == (6, 4, 8, 8)
    assert inputs["encoder_hidden_states"].shape == (6, 7, 24)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    with torch.no_grad():
        assert model(**inputs).sample.isfinite().all()


def test_the_whole_path_on_this_processor() -> None:
    compiled: list[Any] = []

    def compile_step(model: Any) -> Any:
        compiled.append(model)
        return torch.compile(model, backend="eager")

    found = measure.measure(
        SPEC,
        CONDITIONS,
        FLOP,
        CpuMeter(),
        dtypes=("float32", "bfloat16"),
        repeats=2,
        warm_up=1,
        compile_step=compile_step,
    )
    assert [(run["dtype"], run["mode"]) for run in found["runs"]] == [
        ("float32", "eager"), ("float32", "compiled"), ("bfloat16", "eager"), ("bfloat16", "compiled"),
    ]  # fmt: skip
    assert len(compiled) == 2
    for run in found["runs"]:
        assert len(run["seconds"]) == 2 and min(run["seconds"]) > 0
        assert run["tflops"] == pytest.approx(FLOP / np.median(run["seconds"]) / 1e12)
    assert found["sm_law"] is None
    assert len(found["missing"]) == 2
    assert measure.parameters(found) == {}
    json.dumps(found, allow_nan=False)


def test_a_model_that_does_not_compile_is_measured_as_it_is() -> None:
    def broken(model: Any) -> Any:
        def run(**inputs: Any) -> None:
            raise RuntimeError("no compiler\nand a long trace")

        return run

    found = measure.measure(
        SPEC, CONDITIONS, FLOP, CpuMeter(), dtypes=("float32",), repeats=1, warm_up=0, compile_step=broken
    )
    assert [run["mode"] for run in found["runs"]] == ["eager"]
    assert "float32, compiled: no compiler" in found["missing"]


def test_planted_laws_are_found_and_fill_the_models_parameters(tmp_path: Path) -> None:
    found = measure.measure(SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("float32",), modes=("eager",), repeats=3)
    law = found["sm_law"]
    assert [s["asked_sms"] for s in law["samples"]] == [8, 16, 32, 40]
    assert [s["granted_sms"] for s in law["samples"]] == [8, 16, 32, 40]
    assert found["missing"] == ["the law of SMs at 24: refused"]
    assert law["speed"]["utilisation"] == pytest.approx(RHO)
    assert law["speed"]["exponent"] == pytest.approx(1)
    assert np.abs(law["speed"]["residuals"]).max() < 1e-12
    assert law["power"]["mu1"] == pytest.approx(MU1)
    assert law["power"]["mu2"] == pytest.approx(MU2)
    edge = measure.parameters(found)
    assert edge == pytest.approx({
        "frequency_hz": CLOCK, "flop_per_cycle": PER_CYCLE, "utilisation": RHO, "energy_coefficient": KAPPA,
        "power_per_sm": MU1, "power_static": MU2,
    })  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps({"schema_version": 1, "parameters": {"flop_edge": 9e12, "edge": edge}}))
    assert load_parameters(str(tmp_path / "p.json")) == ({"flop_edge": 9e12}, pytest.approx(edge))
    command = [sys.executable, "-m", "hisopt.solve", "--problem", "joint", "--solver", "exact", "--profile", "p.json",
               "--format", "json"]  # fmt: skip
    solved = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout)
    assert solved["instance"]["edge"]["utilisation"] == pytest.approx(RHO)
    assert solved["instance"]["edge"]["sms"] > 40  # the budget stays the scenario's


def test_asked_and_granted_sms_are_both_kept() -> None:
    found = measure.measure(
        SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("float32",), modes=("eager",), sm_counts=[5, 12, 40], repeats=1
    )
    assert [(s["asked_sms"], s["granted_sms"]) for s in found["sm_law"]["samples"]] == [(5, 8), (12, 16), (40, 40)]
    assert found["sm_law"]["speed"]["utilisation"] == pytest.approx(RHO)


def test_what_a_card_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = MadeUpGpu()
    monkeypatch.setattr(unknown, "describe", lambda: {"name": "unknown", "capability": [1, 0]}, raising=False)
    found = measure.measure(SPEC, CONDITIONS, FLOP, unknown, dtypes=("float32",), modes=("eager",), repeats=1)
    assert any("give --flop-per-cycle" in what for what in found["missing"])
    assert measure.parameters(found) == {}
    few = measure.measure(
        SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("float32",), modes=("eager",), sm_counts=[8, 40], repeats=1
    )
    assert any("needs three numbers of SMs" in what for what in few["missing"])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    v = np.arange(8, 133, 8.0)
    clock = np.full(len(v), CLOCK)
    inside = np.zeros(4)
    for _ in range(400):
        seconds = FLOP / (v * CLOCK * PER_CYCLE * RHO) * np.exp(rng.normal(0, 0.05, len(v)))
        speed = fit_speed(v, seconds, clock, FLOP, PER_CYCLE)
        watts = KAPPA * (MU1 * v + MU2) * CLOCK**3 + rng.normal(0, 8, len(v))
        power = fit_power(v, watts, clock, KAPPA)
        for k, (low, high), truth in (
            (0, speed["utilisation_95"], RHO), (1, speed["exponent_95"], 1), (2, power["mu1_95"], MU1),
            (3, power["mu2_95"], MU2),
        ):  # fmt: skip
            inside[k] += low <= truth <= high
    assert (np.abs(inside / 400 - 0.95) < 0.04).all()


def test_a_speed_that_is_not_linear_shows() -> None:
    v = np.arange(8, 133, 8.0)
    speed = fit_speed(v, FLOP / (v**0.8 * CLOCK), np.full(len(v), CLOCK), FLOP, PER_CYCLE)
    assert speed["exponent"] == pytest.approx(0.8)
    assert speed["exponent_95"][1] < 0.81
    assert np.abs(speed["residuals"]).max() > 0.1


def test_the_spread_is_the_interquartile_range() -> None:
    assert Timing((1.0, 2.0, 3.0, 4.0, 100.0)).median == 3
    assert Timing((1.0, 2.0, 3.0, 4.0, 100.0)).spread == 2
    assert Timing((1.0,)).spread == 0


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What CudaMeter calls of torch, NVML and the driver, so that its bookkeeping runs without a GPU."""
    state: dict[str, Any] = {"clock_ms": 0.0, "open": 0, "millijoules": 0, "streams": []}

    class Event:
        def __init__(self, enable_timing: bool = False) -> None:
            self.at = 0.0

        def record(self, stream: Any) -> None:
            self.at = state["clock_ms"]

        def elapsed_time(self, other: Event) -> float:
            return other.at - self.at

        def synchronize(self) -> None:
            pass

    properties = SimpleNamespace(
        name="simulated", multi_processor_count=132, total_memory=1, major=9, minor=0, uuid="u"
    )
    for name, value in {
        "is_available": lambda: True, "current_device": lambda: 0, "get_device_properties": lambda _: properties,
        "current_stream": lambda: "default", "synchronize": lambda: None, "reset_peak_memory_stats": lambda: None,
        "max_memory_allocated": lambda: 7, "empty_cache": lambda: None, "Event": Event,
        "stream": lambda stream: state["streams"].append(stream) or nullcontext(),
        "get_stream_from_external": lambda handle, _: f"external {handle}",
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)

    class NVMLError(Exception):
        pass

    nvml = ModuleType("pynvml")
    vars(nvml).update(
        NVMLError=NVMLError, NVML_CLOCK_SM=1, nvmlInit=lambda: None, nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlSystemGetDriverVersion=lambda: "1", nvmlDeviceGetPowerUsage=lambda _: 500_000,
        nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000, nvmlDeviceGetMaxClockInfo=lambda *_: 1980,
        nvmlDeviceGetClockInfo=lambda *_: 1700, nvmlDeviceGetTotalEnergyConsumption=lambda _: state["millijoules"],
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    success = SimpleNamespace(name="CUDA_SUCCESS")
    refused = SimpleNamespace(name="CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION")

    def split(groups: int, whole: int, flags: int, count: int) -> tuple[Any, ...]:
        if count > whole:
            return (refused, None, None, None)
        return success, [SimpleNamespace(sm=SimpleNamespace(smCount=-(-count // 8) * 8))], 1, None

    def opened(*_: Any) -> tuple[Any, Any]:
        state["open"] += 1
        return success, 42

    def closed(_: Any) -> None:
        state["open"] -= 1

    driver = ModuleType("cuda.bindings.driver")
    vars(driver).update(
        CUresult=SimpleNamespace(CUDA_SUCCESS=success), cuDeviceGet=lambda i: (success, i),
        CUdevResourceType=SimpleNamespace(CU_DEV_RESOURCE_TYPE_SM=1), cuDeviceGetDevResource=lambda *_: (success, 132),
        cuDevSmResourceSplitByCount=split, cuDevResourceGenerateDesc=lambda *_: (success, "d"),
        CUgreenCtxCreate_flags=SimpleNamespace(CU_GREEN_CTX_DEFAULT_STREAM=1), cuGreenCtxCreate=opened,
        CUstream_flags=SimpleNamespace(CU_STREAM_NON_BLOCKING=1), cuGreenCtxStreamCreate=opened,
        cuStreamDestroy=closed, cuGreenCtxDestroy=closed,
    )  # fmt: skip
    bindings = ModuleType("cuda.bindings")
    bindings.driver = driver  # type: ignore[attr-defined]
    for name, module in {"cuda": ModuleType("cuda"), "cuda.bindings": bindings, "cuda.bindings.driver": driver}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return state


def test_a_gpus_readings(simulated: dict[str, Any]) -> None:
    def work() -> None:
        simulated["clock_ms"] += 50.0
        simulated["millijoules"] += 30_000

    meter = CudaMeter()
    assert meter.describe()["idle_watts"] == 500
    timing = meter.time(work, repeats=4, warm_up=2)
    assert timing.seconds == (0.05,) * 4
    assert (timing.granted_sms, timing.peak_bytes, timing.clock_hz) == (132, 7, 1.7e9)
    assert timing.joules == pytest.approx(30)
    assert simulated["streams"] == ["default"]
    part = meter.time(work, repeats=1, warm_up=0, sms=60)
    assert part.granted_sms == 64
    assert simulated["streams"][-1] == "external 42"
    with pytest.raises(Unavailable, match="green context of 200 SMs: CUDA_ERROR_INVALID_RESOURCE"):
        meter.time(work, repeats=1, warm_up=0, sms=200)
    assert simulated["open"] == 0  # every stream and context is given back


def test_a_board_without_an_energy_counter(simulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def unsupported(_: Any) -> None:
        raise pynvml.NVMLError

    monkeypatch.setattr(pynvml, "nvmlDeviceGetTotalEnergyConsumption", unsupported)
    simulated["clock_ms"] = 0.0

    def work() -> None:
        simulated["clock_ms"] += 1000.0

    timing = CudaMeter().time(work, repeats=1, warm_up=0)
    assert timing.watts == 500
    assert timing.joules is not None


def test_without_bindings_only_the_whole_card_is_measured(
    simulated: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)

    def work() -> None:
        simulated["clock_ms"] += 1000.0

    meter = CudaMeter()
    assert "nvidia-ml-py" in meter.describe()["no_power"]
    assert meter.time(work, repeats=1, warm_up=0).watts is None
    with pytest.raises(Unavailable, match="need cuda-bindings"):
        meter.time(work, repeats=1, warm_up=0, sms=8)


def program(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hisopt.profile", *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_the_program_measures_on_the_processor(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    done = program(
        "--model", "c.json", "--resolution", "64", "--text-tokens", "7", "--device", "cpu", "--dtypes", "float32",
        "--no-compile", "--repeats", "3", "--output", "p.json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "float32, eager" in done.stdout
    assert "Not measured: the law of SMs: only a GPU has SMs." in done.stdout
    written = json.loads((tmp_path / "p.json").read_text())
    assert len(written["measured"]["runs"][0]["seconds"]) == 3
    assert written["parameters"].keys() == {"flop_edge", "flop_device"}
    assert written["flop_per_step"] == 2 * flops.denoiser(TINY, 64, 7, 1).total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtypes", "int4"], "--dtypes: unknown 'int4'"),
        (["--sm-counts", "8,x"], "--sm-counts: '8,x' are not positive whole numbers"),
        (["--device", "cpu", "--sm-counts", "8"], "--sm-counts: 8 exceeds the device's none"),
        (["--repeats", "0"], "--repeats: is 0, must be >= 1"),
        (["--output", "none/p.json"], "its folder does not exist"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    done = program("--model", "c.json", "--resolution", "64", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
