"""The process of `hisopt.experiments.campaigns.mutation` that runs tests: imported once, forked for every mutant.

A mutant's code takes the place of the functions' code in a fork, after every test is imported, so that a trial costs no
more than the tests that run the changed lines, the cheapest first.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import os
import resource
import select
import signal
import sys
import threading
import time
import types
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hisopt.experiments.campaigns.mutants import Mutant, Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Covered = dict[str, dict[str, Any]]  # of a test: seconds, and of each module the lines that it runs

_MEMORY = 4 << 30  # bytes that a trial may take beyond what it starts with


@dataclass(frozen=True)
class Plan:
    """What a process does; a file of JSON tells it."""

    folder: str  # of the copied checkout
    modules: list[str]
    tests: list[str]
    coverage: str  # file of what earlier runs found out about the tests
    records: str  # file that results are appended to
    mutants: list[dict[str, Any]]  # key, place, change, and the tests that a mutant already survived
    longest: float  # seconds a test may take to be used
    budget: float  # seconds of tests a mutant


class Trials:
    """Plugin of pytest that runs each mutant's tests in a fork, in place of the tests."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.failed = plan, ""
        self.hits: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the first failure."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the trials."""
        covered = self._coverage(session)
        items = {item.nodeid: item for item in session.items}
        sources = {module: (Path(self.plan.folder) / module).read_bytes() for module in self.plan.modules}
        for given in self.plan.mutants:
            mutant = Mutant(**{**given["mutant"], "place": Place(**given["mutant"]["place"])})
            tests = [test for test in _covering(mutant, covered) if test in items]
            new = [test for test in tests if _name(items[test]) not in given["survived"]]
            new.sort(key=lambda test: covered[test]["seconds"] / (1 + 5 * self.hits[test]))
            chosen: list[str] = []
            spent = 0.0
            for test in new:
                spent += covered[test]["seconds"]
                if chosen and spent > self.plan.budget:
                    break
                chosen.append(test)
            start = time.perf_counter()
            if not chosen and given["survived"]:
                continue
            outcome, by = self._try(mutant, sources[mutant.module], [items[test] for test in chosen], covered)
            self.hits[by] += 1
            record = {
                "key": given["key"], "module": mutant.module, "function": mutant.place.function, "line": mutant.line,
                "operator": mutant.operator, "old": given["old"], "new": mutant.text, "outcome": outcome, "by": by,
                "seconds": round(time.perf_counter() - start, 2), "tests": len(chosen), "left": len(new) - len(chosen),
                "survived": given["survived"] + [_name(items[test]) for test in chosen] if outcome == "survived" else [],
            }  # fmt: skip
            with Path(self.plan.records).open("a") as file:
                file.write(json.dumps(record) + "\n")
        return True

    def _try(self, mutant: Mutant, source: bytes, items: list[pytest.Item], covered: Covered) -> tuple[str, str]:
        if not items:
            return "survived", ""
        path = Path(self.plan.folder) / mutant.module
        path.write_bytes(mutant.apply(source))  # for processes that the tests start
        seconds = [covered[item.nodeid]["seconds"] for item in items]

        def child(say: Callable[[str], None]) -> None:
            say("import")
            exchange(mutant, source)
            for item, following, took in zip(items, [*items[1:], None], seconds, strict=True):
                say(item.nodeid)
                spent = resource.getrusage(resource.RUSAGE_SELF)
                limit = int(spent.ru_utime + spent.ru_stime + 4 * took + 3)
                resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self.failed:
                    os._exit(1)

        try:
            status, said = fork(child, 60 + 30 * sum(seconds))
        finally:
            path.write_bytes(source)
        if status == 0:
            return "survived", ""
        ended = {-signal.SIGXCPU: "timeout", -signal.SIGKILL: "late"}.get(status, "killed")  # late: on a busy machine
        return ended, said[-1] if said else ""

    def _coverage(self, session: pytest.Session) -> Covered:
        """What the tests run, from the file of earlier runs where neither they nor the modules have changed."""
        file, folder = Path(self.plan.coverage), Path(self.plan.folder)
        known: dict[str, Covered] = json.loads(file.read_text()) if file.exists() else {}
        state = b"".join((folder / module).read_bytes() for module in self.plan.modules)
        covered: Covered = {}
        for test in self.plan.tests:
            words = repr((self.plan.modules, self.plan.longest)).encode()
            words += (folder / test.partition("::")[0]).read_bytes()
            key = test + ":" + hashlib.sha256(state + words).hexdigest()[:16]
            if key not in known:
                items = [item for item in session.items if (item.nodeid + "::").startswith((test + "::", test + "["))]
                known[key] = self._measure(items)
                file.write_text(json.dumps(known))
            covered |= known[key]
        return covered

    def _measure(self, items: list[pytest.Item]) -> Covered:
        """Run tests as they are, and see how long each takes and which lines it runs."""
        names = {str(Path(self.plan.folder) / "hisopt" / m.removeprefix("hisopt/")): m for m in self.plan.modules}
        found: Covered = {}
        out = Path(f"{self.plan.coverage}.{os.getpid()}")

        def child(say: Callable[[str], None]) -> None:
            for item, following in zip(items, [*items[1:], None], strict=True):
                say(item.nodeid)
                start = time.process_time() + _children()
                with traced(names) as lines, limited(self.plan.longest):
                    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                took = time.process_time() + _children() - start
                if self.failed:  # too slow to use, or wrong
                    print(f"left out: {item.nodeid} after {took:.1f} s", file=sys.stderr)
                    self.failed = ""
                else:
                    found[item.nodeid] = {"seconds": took} | {name: sorted(own) for name, own in lines.items()}
            out.write_text(json.dumps(found))

        status, said = fork(child, 3600)
        if status:
            raise pytest.UsageError(f"the tests broke off at {said[-1:]}: {status}")
        covered: Covered = json.loads(out.read_text())
        out.unlink()
        return covered


def _children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _name(item: pytest.Item) -> str:
    """A test's name and a hash of its source: one that changes is run again."""
    source = inspect.getsource(item.function)  # type: ignore[attr-defined]
    return hashlib.sha256((item.nodeid + source).encode()).hexdigest()[:8]


def _covering(mutant: Mutant, covered: Covered) -> list[str]:
    """The tests that run the changed lines; for a line that runs at the import, those that run any of the module's."""
    place = mutant.place
    own = [(test, found[mutant.module]) for test, found in covered.items() if mutant.module in found]
    inside = place.function and place.first
    return [test for test, lines in own if not inside or any(place.first <= line <= place.last for line in lines)]


def fork(child: Callable[[Callable[[str], None]], None], seconds: float) -> tuple[int, list[str]]:
    """Run a function in a fork of its own session; return how it ended, negative for a signal, and what it said."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.setsid()
            os.close(reading)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + _MEMORY, resource.RLIM_INFINITY))

            def say(text: str) -> None:
                os.write(writing, f"{text}\n".encode())

            child(say)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    said, deadline = b"", time.monotonic() + seconds
    while ready := select.select([reading], [], [], max(deadline - time.monotonic(), 0.0))[0]:
        part = os.read(ready[0], 1 << 16)
        if not part:
            break
        said += part
    os.close(reading)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if time.monotonic() >= deadline:
            os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return status, said.decode(errors="replace").split("\n")[:-1]


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise in what takes more CPU time."""

    def late(_signal: int, _frame: object) -> None:
        raise TimeoutError("too slow for a test of mutants")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextlib.contextmanager
def traced(names: dict[str, str]) -> Iterator[dict[str, set[int]]]:
    """Collect the lines that run of the files ``names``, under the names that they have there."""
    lines: dict[str, set[int]] = {}

    def enter(frame: types.FrameType, _event: str, _arg: object) -> Any:
        name = names.get(frame.f_code.co_filename)
        if name is None:
            return None
        own = lines.setdefault(name, set())
        own.add(frame.f_lineno)

        def line(frame: types.FrameType, _event: str, _arg: object) -> Any:
            own.add(frame.f_lineno)
            return line

        return line

    threading.settrace(enter)
    sys.settrace(enter)
    try:
        yield lines
    finally:
        sys.settrace(None)
        threading.settrace(None)


def exchange(mutant: Mutant, source: bytes) -> None:
    """Give the functions of a loaded module the mutant's code, and its names the mutant's values."""
    dotted = "hisopt." + mutant.module.removeprefix("hisopt/").removesuffix(".py").replace("/", ".")
    old = import_module(dotted)
    new = types.ModuleType(dotted)
    new.__dict__.update(__file__=old.__file__, __package__=old.__package__, __spec__=old.__spec__)
    exec(compile(mutant.apply(source), str(old.__file__), "exec"), new.__dict__)
    for name, value in list(vars(new).items()):
        known = vars(old).get(name)
        if name.startswith("__") or known is value:
            continue
        if isinstance(value, (type, types.FunctionType)) and getattr(value, "__module__", "") == dotted:
            _replace(known, value, str(old.__file__))
        elif not isinstance(value, (type, types.FunctionType)) and not _same(known, value):
            for module in list(sys.modules.values()):
                if module is old or _same(getattr(module, "__dict__", {}).get(name), known):
                    setattr(module, name, value)


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def _replace(old: Any, new: Any, file: str) -> None:
    if hasattr(old, "__wrapped__"):  # a decorated function, such as every solver's own
        _replace(old.__wrapped__, new.__wrapped__, file)
    elif isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType):
        old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
        if new.__code__.co_filename == file:
            old.__code__ = new.__code__
    elif isinstance(old, property):
        for part in ("fget", "fset"):
            _replace(getattr(old, part), getattr(new, part), file)
    elif isinstance(old, (classmethod, staticmethod)):
        _replace(old.__func__, new.__func__, file)
    elif hasattr(old, "func"):  # a cached property
        _replace(old.func, new.func, file)
    elif isinstance(old, type) and isinstance(new, type):
        for name, value in vars(new).items():
            if callable(value) or isinstance(value, (property, classmethod, staticmethod)) or hasattr(value, "func"):
                _replace(vars(old).get(name), value, file)
            elif not name.startswith("__") and isinstance(value, (int, float, str, tuple)):
                setattr(old, name, value)


def main(path: str) -> int:
    """Run the plan in a file."""
    plan = Plan(**json.loads(Path(path).read_text()))
    os.chdir(plan.folder)
    options = ["-q", "--no-header", "-p", "no:cacheprovider", "--tb=no", *plan.tests]
    return int(pytest.main(options, plugins=[Trials(plan)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
