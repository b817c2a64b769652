"""A campaign's tasks and records: the one place where `hisopt compare` meets problems, solvers and runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hisopt.campaign.plan import Plan
    from hisopt.problems import Problem
    from hisopt.result import Limits
    from hisopt.solvers.base import Solver
    from hisopt.solvers.run.runner import Run


@dataclass(frozen=True)
class Task:
    """One solve: what, by which solver, within which limits, and the words for it in a table."""

    problem: Problem
    solver: Solver[Any]
    limits: Limits
    place: dict[str, Any]

    @property
    def key(self) -> str:
        """Hash of all that the outcome depends on."""
        from hisopt.solvers.run.identity import record_name

        return record_name(self.problem, self.solver, self.limits)


def check(plan: Plan) -> None:
    """Raise `InputError` for what can be seen to be wrong without drawing an instance."""
    from hisopt.commands.request import check_words
    from hisopt.instances.scenario import MEG_PRESETS, PRESETS
    from hisopt.solvers.registry import check_names

    check_words(plan.problems, plan.criteria)
    for preset in plan.presets:
        if preset not in PRESETS and preset not in MEG_PRESETS:
            raise InputError(f"presets: unknown {preset!r}; known are {', '.join((*PRESETS, *MEG_PRESETS))}")
    check_names(plan.solvers)


def tasks(plan: Plan) -> Iterator[Task]:
    """Yield every solve of a campaign, drawing one instance at a time."""
    from hisopt.commands.request import tasks as served
    from hisopt.result import Limits

    for source, preset, seed, values in plan.settings():
        drawn = _instance(source, preset, seed, values)
        instance, problems = _problems(drawn, plan)
        place = {"instance": instance.content_hash, "source": source, "preset": preset, "instance_seed": seed}
        place |= {"users": instance.users, "clusters": instance.max_clusters, "swept": values}
        for problem, solver in served(problems, plan.solvers, None):
            for time_s in plan.time_limits:
                for repetition in range(plan.repetitions):
                    limits = Limits(float(time_s), plan.memory_limit, plan.threads, seed + 1_000_003 * repetition)
                    yield Task(problem, solver, limits, place | {"repetition": repetition})


def _problems(drawn: Any, plan: Plan) -> tuple[Any, Sequence[Problem]]:
    from hisopt.commands.request import problems_on
    from hisopt.instances import MegInstance
    from hisopt.problems import problem_of

    if isinstance(drawn, MegInstance):
        return drawn, [problem_of(kind, drawn) for kind in plan.problems]
    instance, problems, _ = problems_on(drawn, plan.problems, plan.criteria, plan.sms)
    return instance, problems


def flat(task: Task, key: str, run: Run, *, shared: bool, engine: str) -> dict[str, Any]:
    """Return a run as one flat record; ``shared`` says that others may have run on the machine at the same time."""
    import platform

    record = run.to_dict()
    kept = ("guarantee", "termination", "objective", "scale", "bound", "gap", "seconds", "peak_memory", "message", "violations",
            "details", "decision", "versions", "refuted", "trajectory")  # fmt: skip
    return {
        "key": key,
        "problem": task.problem.label,
        "maximise": task.problem.maximise,
        **task.place,
        "seed": task.limits.seed,
        "solver": task.solver.label,
        "feasible": record["solution_status"] == "feasible",
        "solution_status": record["solution_status"],
        **{name: record[name] for name in kept},
        "time_limit": task.limits.time_s,
        "memory_limit": task.limits.memory_gb,
        "threads": task.limits.threads,
        "shared": shared,
        "engine": engine,
        "machine": f"{platform.node()}, {platform.machine()}, Python {platform.python_version()}",
    }


def _instance(source: str, preset: bool, seed: int, values: dict[str, Any]) -> Any:
    from pydantic import ValidationError

    from hisopt.commands.request import resized
    from hisopt.errors import first_error
    from hisopt.instances.files import load
    from hisopt.instances.scenario import MEG_PRESETS, PRESETS

    rest = dict(values)
    if preset and source in MEG_PRESETS:
        instance: Any = MEG_PRESETS[source].sample(seed)
    elif preset:
        users, clusters = rest.pop("users", None), rest.pop("clusters", None)
        instance = resized(PRESETS[source], users, clusters).sample(seed)
    else:
        instance = load(source)
    for name, value in rest.items():
        try:
            instance = _replaced(instance, name.split("."), value)
        except ValidationError as error:
            raise InputError(f"sweep: {name} = {value!r}: {first_error(error)}") from None
    return instance


def _replaced(part: Any, path: list[str], value: Any) -> Any:
    if path[0] not in getattr(type(part), "model_fields", {}):
        raise InputError(f"sweep: {path[0]}: {type(part).__name__} has no such field")
    inner = value if len(path) == 1 else _replaced(getattr(part, path[0]), path[1:], value)
    return part.replace(**{path[0]: inner})
