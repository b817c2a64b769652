"""What `hisopt.solve` prints without solving: the solvers, the schema of an instance, an example of one."""

from __future__ import annotations

from pathlib import Path


def print_solvers(style: str | None) -> None:
    """Print every problem's solvers as text, JSON or CSV."""
    import csv
    import json
    from io import StringIO

    from hisopt.files import deliver
    from hisopt.solvers.registry import TABLE, on_request, registered

    rows = [
        (
            kind,
            solver.name,
            solver.guarantee.value,
            solver.unavailable() or "yes",
            (solver.__doc__ or "").splitlines()[0],
        )
        for kind in TABLE
        for solver in (*registered(kind), *(requested() for requested in on_request(kind)))
    ]
    columns = ("problem", "solver", "guarantee", "available", "what it does")
    text = StringIO()
    if style == "json":
        text.write(json.dumps([dict(zip(columns, row, strict=True)) for row in rows]) + "\n")
    elif style == "csv":
        csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    else:
        widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(4)]
        for row in (columns, *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            text.write("  ".join([*cells, row[4]]) + "\n")
    deliver(text.getvalue(), None, ".txt")


def print_schema() -> None:
    """Print the JSON Schema of an instance."""
    import json

    from hisopt.files import deliver
    from hisopt.instances.files import schema

    deliver(json.dumps(schema(), indent=1) + "\n", None, ".json")


def print_example() -> None:
    """Print an instance of ten lines."""
    from hisopt.files import deliver

    deliver((Path(__file__).parents[1] / "data" / "example.json").read_text(encoding="utf-8"), None, ".json")


def print_parameters() -> None:
    """Print every parameter with its value, whose number it is, and where from."""
    from hisopt.files import deliver
    from hisopt.instances.provenance import explained

    deliver(explained(), None, ".txt")
