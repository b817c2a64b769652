"""Measuring: on the processor with a tiny model, on a made-up GPU whose laws are planted, and the laws' fits."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import hisopt
from hisopt.commands import solve
from hisopt.commands.profile import main
from hisopt.diffusion import flops, measure
from hisopt.diffusion.calibration import load_profile
from hisopt.diffusion.measurement_plan import ranked
from hisopt.diffusion.meters import CpuMeter, Timing, Unavailable
from hisopt.diffusion.sm_law import FLOP_PER_CYCLE, fit_power, fit_speed, fit_waves
from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Call = Callable[..., subprocess.CompletedProcess[str]]

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

    seconds_each = 0.0

    def time(self, work: Any, sms: int | None = None, way: str = "stream") -> Timing:
        work()
        if sms == 24 and way == "stream":
            raise Unavailable("refused")
        granted = -(-(sms or 40) // 8) * 8
        seconds = FLOP / (granted * CLOCK * PER_CYCLE * RHO)
        watts = KAPPA * (MU1 * granted + MU2) * CLOCK**3
        return Timing((seconds,) * 3, granted, watts, watts * seconds, "energy counter", CLOCK)


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
        CpuMeter(2, 1),
        dtypes=("float32", "bfloat16"),
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

    found = measure.measure(SPEC, CONDITIONS, FLOP, CpuMeter(1, 0), dtypes=("float32",), compile_step=broken)
    assert [run["mode"] for run in found["runs"]] == ["eager"]
    assert "float32, compiled, all SMs: no compiler" in found["missing"]


def test_planted_laws_are_found_and_fill_the_models_parameters(tmp_path: Path, call: Call) -> None:
    found = measure.measure(SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("bfloat16",), modes=("eager",))
    law = found["sm_law"]["series"][0]
    assert [s["asked_sms"] for s in law["samples"]] == [8, 16, 32, 40]
    assert [s["granted_sms"] for s in law["samples"]] == [8, 16, 32, 40]
    assert "bfloat16, eager, 24 SMs, stream: refused" in found["missing"]
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
    assert load_profile(str(tmp_path / "p.json"))["edge"] == pytest.approx(edge)
    told = call(solve.main, "--problem", "joint", "--solver", "greedy", "--profile", "p.json", "--format", "json")
    solved = json.loads(told.stdout)
    assert solved["instance"]["edge"]["utilisation"] == pytest.approx(RHO)
    assert solved["instance"]["edge"]["sms"] > 40  # the budget stays the scenario's


def test_asked_and_granted_sms_are_both_kept() -> None:
    found = measure.measure(
        SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("bfloat16",), modes=("eager",), sm_counts=[5, 12, 40]
    )
    assert [(s["asked_sms"], s["granted_sms"]) for s in found["sm_law"]["series"][0]["samples"]] == [
        (5, 8),
        (12, 16),
        (40, 40),
    ]
    assert found["sm_law"]["series"][0]["speed"]["utilisation"] == pytest.approx(RHO)


def test_what_a_card_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = MadeUpGpu()
    monkeypatch.setattr(unknown, "describe", lambda: {"name": "unknown", "capability": [1, 0]}, raising=False)
    found = measure.measure(SPEC, CONDITIONS, FLOP, unknown, dtypes=("bfloat16",), modes=("eager",))
    assert any("give --flop-per-cycle" in what for what in found["missing"])
    assert measure.parameters(found) == {}
    few = measure.measure(
        SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("bfloat16",), modes=("eager",), sm_counts=[8, 40]
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


QUICK = ("--resolution", "64", "--device", "cpu", "--dtypes", "float32", "--no-compile", "--repeats", "1")


def test_the_program_measures_on_the_processor(tmp_path: Path, call: Call) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    arguments = (
        "--model", "c.json", "--resolution", "64", "--text-tokens", "7", "--device", "cpu", "--dtypes", "float32",
        "--no-compile", "--repeats", "3", "--output", "p.json",
    )  # fmt: skip
    command = [sys.executable, "-m", "hisopt.profile", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "float32, eager" in done.stdout
    assert "Not measured: the law of SMs: only a GPU has SMs." in done.stdout
    written = json.loads((tmp_path / "p.json").read_text())
    assert len(written["measured"]["runs"][0]["seconds"]) == 3
    assert written["parameters"].keys() == {"flop_edge", "flop_device", "latent"}
    kept = (tmp_path / "p.json.samples.jsonl").read_text()
    again = call(main, *arguments)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "p.json.samples.jsonl").read_text() == kept
    assert json.loads((tmp_path / "p.json").read_text())["measured"]["runs"] == written["measured"]["runs"]
    assert written["flop_per_step"] == 2 * flops.denoiser(TINY, 64, 7, 1).total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtypes", "int4"], "--dtypes: unknown 'int4'"),
        (["--sm-counts", "8,x"], "--sm-counts: '8,x' are not positive whole numbers"),
        (["--device", "cpu", "--sm-counts", "8"], "--sm-counts: 8 exceeds the device's none"),
        (["--repeats", "0"], "--repeats: is 0, must be >= 1"),
        (["--output", "none/p.json"], "its folder does not exist"),
        (["--budget", "0"], "--budget: is 0.0, must be >= 1"),
        (["--check", "none.json"], "none.json: No such file"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, tmp_path: Path, call: Call) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    done = call(main, "--model", "c.json", "--resolution", "64", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_d_follows_the_precision() -> None:
    for sms, clock, capability, tflops in ((108, 1410e6, (8, 0), (312, 19.5)), (132, 1830e6, (9, 0), (989, 61.8))):
        half, single = (FLOP_PER_CYCLE[capability][name] * sms * clock / 1e12 for name in ("bfloat16", "float32"))
        assert (half, single) == pytest.approx(tflops, rel=2e-3)
    found = measure.measure(SPEC, CONDITIONS, FLOP, MadeUpGpu(), dtypes=("bfloat16", "float32"), modes=("eager",))
    assert found["sm_law"]["series"][0]["speed"]["flop_per_cycle"] == 4096


def test_planted_waves_are_found_with_their_interval() -> None:
    rng, v, inside = np.random.default_rng(1), np.arange(8, 133, 4.0), 0
    for _ in range(300):
        law = 0.4 / v + 0.6 * np.ceil(132 / v) / 132
        seconds = FLOP * law / (CLOCK * PER_CYCLE * RHO) * (1 + rng.normal(0, 0.01, len(v)))
        found = fit_waves(v.tolist(), seconds.tolist(), [CLOCK] * len(v), FLOP, PER_CYCLE, 132)
        low, high = found["quantised_share_95"]
        inside += low <= 0.6 <= high
    assert abs(inside / 300 - 0.95) < 0.04
    assert found["utilisation"] == pytest.approx(RHO, rel=0.02)
    with pytest.raises(ValueError, match="waves do not show"):
        fit_waves([33, 66, 132], [4.0, 2.0, 1.0], [CLOCK] * 3, FLOP, PER_CYCLE, 132)


def test_every_beginning_of_the_ranked_numbers_spreads() -> None:
    assert ranked(range(8, 132, 8))[:4] == [128, 8, 32, 64]
    assert ranked([5]) == [5] and ranked([]) == []
    assert sorted(ranked(range(8, 132, 8))) == list(range(8, 132, 8))


def test_weights_are_drawn_in_the_target_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    linear = torch.nn.Linear.__init__

    def watched(self: Any, *arguments: Any, **options: Any) -> None:
        linear(self, *arguments, **options)
        seen.add(self.weight.dtype)

    monkeypatch.setattr(torch.nn.Linear, "__init__", watched)
    measure.step_of(TINY, CONDITIONS, "cpu", "bfloat16", 8)
    assert seen == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_versions_do_not_need_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    found = measure.measure(SPEC, CONDITIONS, FLOP, CpuMeter(1, 0), dtypes=("float32",), modes=("eager",))
    assert found["versions"]["hisopt"] == hisopt.__version__
    assert len(found["runs"]) == 1


def test_blocks_are_compiled_each_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = measure.step_of(TINY, CONDITIONS, "cpu", "float32", 8)
    compiled: list[str] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
    measure.compile_blocks(model)
    assert compiled == ["JointTransformerBlock"] * 2
    measure.compile_blocks(torch.nn.Linear(1, 1))
    assert compiled[2:] == ["Linear"]


KILLED = """
import gc, json, os, random, signal, sys
from pathlib import Path
from diffusers import SD3Transformer2DModel  # here once, and not in each child
import hisopt.diffusion.records as records
from hisopt.diffusion import measure
from hisopt.diffusion.meters import CpuMeter

path, spec, conditions = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
whole = records.os.write

def run(writes, cut):
    left = [writes]
    def write(handle, data):
        left[0] -= 1
        if left[0]:
            return whole(handle, data)
        whole(handle, data[: int(cut * len(data))])  # a kill in the middle of a line
        os.kill(os.getpid(), signal.SIGKILL)
    records.os.write = write
    measure.measure(
        spec, conditions, 1e9, CpuMeter(2, 1), dtypes=("float32", "bfloat16", "float16"),
        modes=("eager", "compiled", "again"), samples=path, compile_step=lambda model: model,
    )

random = random.Random(0)
states = []
gc.freeze()  # children look through what is their own
for _ in range(5):
    writes, cut = random.randint(1, 3), random.random()
    child = os.fork()
    if not child:
        run(writes, cut)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    states.append(path.read_text())
child = os.fork()
if not child:
    run(-1, 0)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(json.dumps([*states, path.read_text()]))
"""


def test_a_run_that_is_killed_five_times_keeps_every_sample(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "s.jsonl"), json.dumps(SPEC), json.dumps(CONDITIONS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout.splitlines()[-1])
    whole = [state[: state.rfind("\n") + 1] for state in states]
    assert whole[-1] == states[-1]
    for before, after in pairwise(whole):
        assert after.startswith(before)
    assert len({len(state) for state in whole}) > 3  # kills at different places
    keys = [json.loads(line).get("key") for line in whole[-1].splitlines()[1:]]
    assert len(keys) == len(set(keys)) == 1 + 9


def test_samples_of_other_conditions_or_no_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"

    def run(**changes: Any) -> Any:
        return measure.measure(
            SPEC, CONDITIONS | changes, FLOP, CpuMeter(1, 0), dtypes=("float32",), modes=("eager",), samples=path
        )

    run()
    with pytest.raises(InputError, match="samples with another conditions"):
        run(batch=1)
    for text in ("my notes\n", "my notes", "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="not a file of samples"):
            run()
        assert path.read_text(encoding="latin-1") == text


@pytest.mark.parametrize("missing", ["torch", "diffusers"])
def test_without_what_it_needs(missing: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    code = f"import sys; sys.modules[{missing!r}] = None; from hisopt.commands.profile import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", "c.json", *QUICK],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"this needs {missing}: install the extra 'diffusion'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["pynvml", "cuda"])
def test_without_what_only_a_gpu_needs(
    missing: str, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.json").write_text(json.dumps(TINY))
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    done = call(main, "--model", "c.json", *QUICK, "--format", "json", "--output", "p.json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)[0]["measured"]["runs"]) == 1
