"""What a call of `hisopt.solve` asks for: its instance, the problems on it, and the solvers of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hisopt.commands.common import flag
from hisopt.commands.variation import reweighted, varied
from hisopt.errors import InputError
from hisopt.instances import MegInstance
from hisopt.points import SUFFIXES, PointSet, is_points
from hisopt.problems import Meg, problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hisopt.arrays import FloatArray
    from hisopt.commands.solve_options import SolveOptions
    from hisopt.instances import AnyInstance, IccInstance, Instance
    from hisopt.instances.scenario import Scenario
    from hisopt.problems import Criterion, Problem
    from hisopt.solvers.base import Solver
    from hisopt.text.corpus import Corpus


@dataclass(frozen=True)
class Setting:
    """An instance with the problems on it, and where it comes from.

    Attributes: ``source`` the preset's name or the instance's file, ``sampled`` whether it was drawn from a preset,
    ``seed`` of the draw and of the solvers, ``notes`` on what was filled in.
    """

    instance: AnyInstance | PointSet
    source: str
    sampled: bool
    seed: int
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def place(self) -> dict[str, Any]:
        """Which instance this is: preset (None for a file), users N, clusters M, seed and hash."""
        return {
            "preset": self.source if self.sampled else None,
            "users": self.instance.users,
            "max_clusters": self.instance.max_clusters,
            "seed": self.seed,
            "hash": self.instance.content_hash,
        }

    @property
    def system(self) -> Instance | IccInstance:
        """The instance, known to have users; `InputError` where it is one of MEG."""
        if isinstance(self.instance, (MegInstance, PointSet)):
            raise InputError(f"{self.source}: an instance of the model {self.instance.model!r} has no users")
        return self.instance

    @property
    def heading(self) -> str:
        """The place in one line."""
        source = f"preset {self.source}" if self.sampled else self.source
        return f"{source}: {self.instance.size}, seed {self.seed}, hash {self.instance.content_hash}"


def settings(options: SolveOptions) -> list[Setting]:
    """Return what the options ask for, one setting a seed; raise `InputError` for what cannot be.

    Schemes pose their own problems: with them, a setting has none.
    """
    check_words(options.kinds, options.criteria)
    found = []
    if options.instance is not None and is_points(options.instance):
        return _of_points(options)
    for name in ("standardise", "columns", "constraints"):
        if getattr(options, name):
            raise InputError(f"{flag(name)}: is for points, a file of {', '.join(SUFFIXES)}")
    corpus = None if options.instance is not None else _corpus(options)
    for seed in dict.fromkeys(options.seeds or (0,)):
        if seed < 0:
            raise InputError(f"--seed: is {seed}, must be >= 0")
        instance = _instance(options, seed, corpus)
        source = options.instance if options.instance is not None else options.scenario
        if isinstance(instance, MegInstance):
            found.append(_meg(instance, options, source, seed))
            continue
        instance, measured = _profiled(instance, options.profile)
        instance, fitted = _with_quality(instance, options)
        instance = reweighted(instance, options.weights)
        try:
            if options.schemes:
                found.append(Setting(instance, source, options.instance is None, seed, (), tuple(measured)))
                continue
            instance, changed = varied(instance, options.modules, options.public_prompt, seed)
            filled, problems, notes = problems_on(instance, options.kinds, options.criteria, options.sms)
        except InputError as error:
            raise InputError(f"{options.instance}: {error}" if options.instance else str(error)) from None
        found.append(
            Setting(
                filled, source, options.instance is None, seed, tuple(problems), (*measured, *fitted, *changed, *notes)
            )
        )
    return found


def _of_points(options: SolveOptions) -> list[Setting]:
    from hisopt.commands.points import posed

    points, problems, notes = posed(options)
    seeds = dict.fromkeys(options.seeds or (0,))
    if min(seeds) < 0:
        raise InputError(f"--seed: is {min(seeds)}, must be >= 0")
    return [Setting(points, str(options.instance), False, seed, problems, notes) for seed in seeds]


def _meg(instance: MegInstance, options: SolveOptions, source: str, seed: int) -> Setting:
    """Return the one problem of an instance of MEG; raise `InputError` for options that mean nothing to it."""
    for name in ("users", "clusters", "prompts", "embeddings", "normalise", "criteria", "profile", "quality", "weights",
                 "modules", "public_prompt", "schemes"):  # fmt: skip
        if getattr(options, name) not in (None, (), False):
            raise InputError(f"{flag(name)}: means nothing to an instance of the model 'meg'")
    for kind in options.kinds:
        if kind != Meg.kind:
            raise InputError(f"problem {kind}: not defined for an instance of the model 'meg'")
    return Setting(instance, source, options.instance is None, seed, (Meg(instance),))


def check_words(kinds: Sequence[str], criteria: Sequence[str]) -> None:
    """Raise `InputError` for a kind of problem or a criterion that is unknown."""
    from hisopt.problems import CRITERIA, PROBLEMS, SumOfSquares

    for name, value, known in (
        *(("--problem", kind, tuple(PROBLEMS)) for kind in kinds),
        *(("--criterion", criterion, (*CRITERIA, SumOfSquares.criterion)) for criterion in criteria),
    ):
        if value not in known:
            raise InputError(f"{name}: unknown {value!r}; known are {', '.join(known)}")


def _corpus(options: SolveOptions) -> Corpus | None:
    """Return the prompts and embeddings of the user's own files, or None for the shipped ones."""
    from hisopt.text.corpus import Corpus, load
    from hisopt.text.vectors import read

    if options.embeddings is None:
        if options.normalise:
            raise InputError("--normalise: needs --embeddings or an INSTANCE")
        return None if options.prompts is None else load(options.prompts)
    vectors = read(options.embeddings, normalise=options.normalise)
    if options.prompts is not None:
        return load(options.prompts, vectors)
    blank = ("",) * len(vectors)
    return Corpus(blank, blank, blank, vectors)


def _instance(options: SolveOptions, seed: int, corpus: Corpus | None) -> AnyInstance:
    from hisopt.instances.files import load
    from hisopt.instances.scenario import MEG_PRESETS, PRESETS
    from hisopt.text.vectors import read

    if options.instance is not None:
        given = [name for name in ("preset", "users", "clusters", "prompts") if getattr(options, name) is not None]
        if given:
            raise InputError(f"--{given[0]}: samples an instance, but {options.instance} is given")
        instance = load(options.instance, normalise=options.normalise)
        if options.embeddings is None or isinstance(instance, MegInstance):
            return instance
        return _with_embeddings(instance, read(options.embeddings, normalise=options.normalise), options.embeddings)
    preset = options.scenario
    if preset in MEG_PRESETS:
        return MEG_PRESETS[preset].sample(seed)
    if preset not in PRESETS:
        raise InputError(f"--preset: unknown {preset!r}; known are {', '.join((*PRESETS, *MEG_PRESETS))}")
    scenario = PRESETS[preset]
    if corpus is not None and scenario.subjects is None:
        name = "prompts" if options.prompts is not None else "embeddings"
        raise InputError(f"--{name}: the preset {preset!r} draws no prompts")
    return _sampled(resized(scenario, options.users, options.clusters, corpus), seed, corpus)


def resized(scenario: Scenario, users: int | None, clusters: int | None, corpus: Corpus | None = None) -> Scenario:
    """Return the scenario with as many users as asked for (all of one's own prompts, by default), and its SMs scaled."""
    if users is None and corpus is not None:
        users = len(corpus.prompts)
    if users is not None:
        if users < 1:
            raise InputError(f"--users: is {users}, must be >= 1")
        scenario = scenario.with_users(users)
    if clusters is not None:
        scenario = scenario.replace(max_clusters=clusters)
    elif scenario.max_clusters > scenario.users:
        scenario = scenario.replace(max_clusters=scenario.users)
    return scenario


def _sampled(scenario: Scenario, seed: int, corpus: Corpus | None) -> Instance | IccInstance:
    instance = scenario.sample(seed, corpus)
    if corpus is None:
        return instance
    if scenario.users == len(corpus.prompts):  # all of them: user n is line n of the file
        instance = instance.replace(prompts=corpus.prompts, embeddings=corpus.embeddings)
    return instance if any(corpus.prompts) else instance.replace(prompts=None)


def _with_embeddings(instance: Instance | IccInstance, vectors: FloatArray, file: str) -> Instance | IccInstance:
    if len(vectors) != instance.users:
        raise InputError(f"--embeddings: {file}: {len(vectors)} rows for {instance.users} users")
    return instance.replace(embeddings=vectors)


def _profiled(instance: Instance | IccInstance, profile: str | None) -> tuple[Instance | IccInstance, list[str]]:
    """Return the instance with a profile's parameters, and notes on what they are."""
    from hisopt.diffusion.calibration import calibrated, load_profile
    from hisopt.instances import Instance

    if profile is None:
        return instance, []
    if not isinstance(instance, Instance):
        raise InputError("--profile: the ICC model counts CPU cycles, not FLOPs")
    return calibrated(instance, load_profile(profile))


def _with_quality(instance: Instance | IccInstance, options: SolveOptions) -> tuple[Instance | IccInstance, list[str]]:
    """Return the instance with the quality table asked for, and a note on which one that is."""
    from hisopt.diffusion.quality_table import load_quality
    from hisopt.instances.scenario import PRESETS

    if options.quality is None:
        return instance, []
    wanted = options.instance is not None or PRESETS[options.scenario].modules
    table, modules = load_quality(options.quality, wanted)
    note = f"quality {'with' if modules else 'without'} modules from {options.quality}"
    return instance.replace(quality=table), [note]


def problems_on(
    instance: Instance | IccInstance, chosen: Sequence[str], criteria: Sequence[str], sms: str
) -> tuple[Instance | IccInstance, list[Problem], list[str]]:
    """Return the instance with missing clusters and steps filled in, the problems asked for on it, and notes on that."""
    from hisopt.problems import CRITERIA, PROBLEMS, WITH_SMS, Clustering, SumOfSquares

    usual = [kind for kind, problem in PROBLEMS.items() if problem is Clustering or problem.model == instance.model]
    kinds = chosen or usual
    if criteria and "clustering" not in kinds:
        raise InputError("--criterion: only clustering has criteria")
    instance, notes = _filled(instance, kinds, chosen=bool(chosen))
    problems = []
    for kind in dict.fromkeys(kinds):
        missing = PROBLEMS[kind].missing(instance)
        if missing and not chosen:
            notes.append(f"{kind} left out: the instance has no {', '.join(missing)}")
            continue
        if PROBLEMS[kind] is Clustering:
            known: dict[str, Criterion] = {name: name for name in CRITERIA}
            for name in dict.fromkeys(criteria or CRITERIA):
                own = SumOfSquares.of(instance) if name == SumOfSquares.criterion else None
                problems.append(own or problem_of(kind, instance, known[name]))
            continue
        with_sms = PROBLEMS[kind] in WITH_SMS
        if sms != "integer" or not with_sms:
            problems.append(problem_of(kind, instance))
        if sms != "real" and with_sms:
            problems.append(problem_of(kind, instance, whole_sms=True))
    if not problems:
        raise InputError("the instance has too little data for any problem: " + "; ".join(notes))
    return instance, problems, notes


def _filled(
    instance: Instance | IccInstance, kinds: Sequence[str], *, chosen: bool
) -> tuple[Instance | IccInstance, list[str]]:
    """Return the instance with embeddings, clusters and steps where they are missing and follow, and notes on that."""
    from hisopt.instances import Instance
    from hisopt.solvers.clustering.hac import clustered
    from hisopt.text.corpus import MODEL, embed

    notes = []
    if instance.embeddings is None and instance.prompts is not None and _needs_embeddings(instance, kinds):
        try:
            instance = instance.replace(embeddings=embed(instance.prompts))
            notes.append(f"no embeddings given: the prompts were embedded with {MODEL.rpartition('/')[2]}")
        except InputError as error:
            if chosen:
                raise
            notes.append(f"the prompts are not embedded: {error}")
    if any(kind in ("allocation", "joint", "steps") for kind in kinds):
        if instance.clusters is None and instance.embeddings is not None:
            instance = clustered(instance)
            notes.append("no clusters given: those of HAC are used where a problem takes them as given")
        if (
            "allocation" in kinds
            and isinstance(instance, Instance)
            and instance.given_common is None
            and instance.given_edge is None
        ):
            common, steps_edge = instance.steps.middle()
            instance = instance.replace(
                given_common=[common] * instance.users, given_edge=[steps_edge] * instance.users
            )
            notes.append(f"no steps given: allocation takes x = {common} and y = {steps_edge} for every user")
    return instance, notes


def _needs_embeddings(instance: Instance | IccInstance, kinds: Sequence[str]) -> bool:
    from hisopt.problems import PROBLEMS

    return any("embeddings" in PROBLEMS[kind].missing(instance) for kind in kinds) or (
        instance.clusters is None or (instance.similarity is None and set(kinds) & {"joint", "steps"} != set())
    )


def tasks(problems: Sequence[Problem], names: Sequence[str], policy: str | None) -> list[tuple[Problem, Solver[Any]]]:
    """Return each problem with each solver that serves it; raise `InputError` for a solver that serves none."""
    from hisopt.solvers.meg.learned import policy_solver
    from hisopt.solvers.policy.learned import solver_of
    from hisopt.solvers.registry import parse, select

    found = [(p, solver) for p in problems for solver in select(p.kind, names) if solver.serves(p)]
    if policy is not None and {p.kind for p in problems} == {"meg"}:
        found += [(p, policy_solver(policy)) for p in problems]
    elif policy is not None:
        own = solver_of(policy)
        if all(solver.name != own.name for _, solver in found):
            raise InputError(f"--policy: {policy} is a policy of {own.name}, which is not among the solvers asked for")
        found = [(p, own if solver.name == own.name else solver) for p, solver in found]
    for name in names:
        asked = [parse(name, p.kind) for p in problems]
        if not any(s is not None and s.serves(p) for s, p in zip(asked, problems, strict=True)):
            for s, p in zip(asked, problems, strict=True):
                if s is not None and (reason := s.too_large(p)):
                    raise InputError(f"--solver: {reason}")
            raise InputError(f"--solver: {name} does not serve {'; '.join(p.label for p in problems)} on this instance")
    if not found:
        raise InputError(f"no solver serves {'; '.join(p.label for p in problems)} on this instance")
    return found
