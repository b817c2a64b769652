"""The changes of a module that `hisopt.experiments.campaigns.mutation` tries, and those listed as equivalent.

Mutmut names mutants by file, so those of ``solvers/`` would never be switched on in ``hisopt.solvers``; cosmic-ray has no
operator that scales a factor, swaps min and max or drops an absolute value, which are what makes a bound wrong.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Entry = dict[str, Any]  # of the list of equivalent mutants: patterns, and the reason

_CHECKS = ("check", "beats", "_close", "contradictions")  # what is said of claims

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.GtE), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Mod: ast.FloorDiv,
}  # fmt: skip
_SWAPPED = {"min": "max", "minimum": "maximum", "argmin": "argmax", "floor": "ceil", "any": "all"}
_SWAPPED |= {new: old for old, new in _SWAPPED.items()}
_DROPPED = ("abs", "sqrt", "round")


@dataclass(frozen=True)
class Place:
    """Where a node stands: the function around it (empty at the top), and the lines that run when it does."""

    function: str = ""
    first: int = 0
    last: int = 0

    def within(self, node: ast.AST) -> Place:
        """Return the place of a node's children."""
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return Place(f"{self.function}.{node.name}".lstrip("."))
        if isinstance(node, ast.stmt):
            body = [child.lineno for child in getattr(node, "body", [])]
            return Place(self.function, node.lineno, (min(body) - 1 if body else node.end_lineno) or node.lineno)
        return self


@dataclass(frozen=True)
class Mutant:
    """One change of a module: bytes ``start`` to ``end`` replaced by ``text``."""

    module: str
    line: int
    operator: str
    start: int
    end: int
    text: str
    place: Place = Place()

    def apply(self, source: bytes) -> bytes:
        """Return the changed source."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def change(self, source: bytes) -> tuple[str, str]:
        """Return what was there and what replaces it, as they stand in the list of equivalent mutants."""
        return source[self.start : self.end].decode(), self.text

    def key(self, source: bytes) -> str:
        """Return a name that stays while other functions of the module change."""
        name = self.place.function.rpartition(".")[2] if self.place.first else ""
        head = max(source.rfind(f"def {name}(".encode() if name else b"\n", 0, self.start), 0)
        until = source[head : max(source.find(b"\n", self.end), self.end)]
        change = repr((self.module, self.place.function, self.start - head, *self.change(source)))
        return hashlib.sha256(until + change.encode()).hexdigest()[:16]


def variants(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the changes of one node: the operator's name and the node that takes its place."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            for other in _COMPARED[type(op)]:
                yield (
                    "comparison",
                    ast.Compare(node.left, [*node.ops[:i], other(), *node.ops[i + 1 :]], node.comparators),
                )
    elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTED:
        yield "arithmetic", ast.BinOp(node.left, _COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.AugAssign) and type(node.op) in _COMPUTED:
        yield "arithmetic", ast.AugAssign(node.target, _COMPUTED[type(node.op)](), node.value)
        yield "deleted", ast.Pass()
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        yield from _constants(node.value)
    elif isinstance(node, ast.BoolOp):
        yield "logic", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        yield "sign", node.operand
    elif isinstance(node, (ast.Call, ast.Attribute, ast.Name)):
        yield from _names(node)
    elif isinstance(node, ast.Slice):
        for end, by in (("lower", ast.Add()), ("upper", ast.Sub())):
            old = getattr(node, end)
            if old is not None:
                new = copy.copy(node)
                setattr(new, end, ast.BinOp(old, by, ast.Constant(1)))
                yield "slice", new
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Sub):
        for factor in (0.8, 1.25):
            yield "scaled", ast.Assign(node.targets, ast.BinOp(ast.Constant(factor), ast.Mult(), node.value), lineno=0)
    elif isinstance(node, (ast.Break, ast.Continue)):
        yield "loop", ast.Continue() if isinstance(node, ast.Break) else ast.Break()
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "deleted", ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "returned", ast.Return(ast.Constant(None))


def _constants(value: float) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, int):
        yield from (("constant", ast.Constant(value + 1)), ("constant", ast.Constant(value - 1)))
    if value >= 2 or (isinstance(value, float) and value > 1e-3):
        yield from (("scaled", ast.Constant(round(value * 1.1, 12))), ("scaled", ast.Constant(round(value * 0.9, 12))))
    elif isinstance(value, float):
        yield "constant", ast.Constant(value * 1e4 if value else 1.0)
        if value:
            yield "constant", ast.Constant(0.0)


def _names(node: ast.Call | ast.Attribute | ast.Name) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Call):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name in _DROPPED and node.args:
            yield "dropped", node.args[0]
        first = node.args[0] if name == "max" and node.args else None
        if isinstance(first, ast.BinOp) and isinstance(first.op, ast.Sub):  # what may be lost: max(bound - value, 0)
            yield from (("scaled", ast.BinOp(ast.Constant(factor), ast.Mult(), node)) for factor in (0.8, 1.25))
    elif isinstance(node, ast.Attribute) and node.attr in _SWAPPED:
        yield "swapped", ast.Attribute(node.value, _SWAPPED[node.attr])
    elif isinstance(node, ast.Name) and node.id in _SWAPPED and isinstance(node.ctx, ast.Load):
        yield "swapped", ast.Name(_SWAPPED[node.id])


def mutants(module: str, source: bytes) -> list[Mutant]:
    """Return every mutant of a module, in the order of its lines."""
    lengths = [0]
    for line in source.splitlines(keepends=True):
        lengths.append(lengths[-1] + len(line))
    found: dict[tuple[int, int, str], Mutant] = {}
    for node, conditional, place in _nodes(module, ast.parse(source)):
        if not isinstance(node, (ast.expr, ast.stmt)):
            continue
        start = lengths[node.lineno - 1] + node.col_offset
        end = lengths[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        changes = list(variants(node))
        if conditional:
            changes.append(("negated", ast.UnaryOp(ast.Not(), node)))  # type: ignore[arg-type]
        for operator, new in changes:
            text = ast.unparse(ast.fix_missing_locations(new))
            if isinstance(new, ast.expr) and not isinstance(new, (ast.Slice, ast.Attribute, ast.Name, ast.Constant)):
                text = f"({text})"
            found.setdefault((start, end, text), Mutant(module, node.lineno, operator, start, end, text, place))
    return sorted(found.values(), key=lambda m: (m.start, m.end, m.text))


def _nodes(module: str, tree: ast.Module) -> Iterator[tuple[ast.AST, bool, Place]]:
    """Walk what runs, each node with whether it is a condition; no annotations, assertions, errors or decorators."""
    for statement in tree.body:
        own = module != "solvers/run/checks.py" or getattr(statement, "name", "") in _CHECKS
        if own and not isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield from _walk(statement, False, Place())


def _walk(node: ast.AST, conditional: bool, place: Place) -> Iterator[tuple[ast.AST, bool, Place]]:
    if isinstance(node, (ast.Assert, ast.Raise, ast.JoinedStr)) or _for_types(node):
        return
    inner = place.within(node)
    yield node, conditional, inner
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        condition = name == "test" and isinstance(node, (ast.If, ast.IfExp, ast.While))
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, condition, inner)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def named(module: str, source: bytes, old: str, new: str) -> Mutant:
    """Return the mutant that replaces a text, which must occur once in the module."""
    start = source.find(old.encode())
    if start < 0 or source.find(old.encode(), start + 1) >= 0:
        raise ValueError(f"{module}: {old!r} must occur exactly once")
    end, line = start + len(old.encode()), source.count(b"\n", 0, start) + 1
    around = [place for _, _, place in _nodes(module, ast.parse(source)) if place.first <= line <= place.last]
    return Mutant(module, line, "named", start, end, new, max(around, key=lambda place: place.first, default=Place()))


_FIELDS = ("module", "function", "line", "operator", "old", "new")


def equivalent(source: bytes, mutant: Mutant, listed: list[Entry]) -> Entry | None:
    """Return the first entry of the list of equivalent mutants that a mutant is of, or None.

    An entry gives patterns, in which a star stands for any text, for some of: the module, the function, the line without
    its indentation, the operator, what was there and what replaces it. Where it gives several for one, any will do.
    """
    old, new = mutant.change(source)
    line = source.splitlines()[mutant.line - 1].decode().strip()
    own = dict(zip(_FIELDS, (mutant.module, mutant.place.function, line, mutant.operator, old, new), strict=True))
    return next((entry for entry in listed if all(_fits(entry[n], own[n]) for n in _FIELDS if n in entry)), None)


def may_list(entry: Entry, module: str) -> bool:
    """Whether an entry may list mutants of a module."""
    return _fits(entry.get("module", "*"), module)


def _fits(patterns: str | list[str], text: str) -> bool:
    every = [patterns] if isinstance(patterns, str) else patterns
    return any(_pattern(pattern).fullmatch(text) for pattern in every)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
