"""Trace and .solu files say what the records say, and no more."""

from __future__ import annotations

from made_records import made

from hisopt.reporting.exchange import TRACE_COLUMNS, to_paver, to_solu
from hisopt.reporting.records import prepared


def test_a_trace_has_a_line_a_solve_by_the_columns_of_its_head() -> None:
    records = made(seeds=2, users=(10,), problem="joint, integer SMs")
    records[4] |= {"refuted": ["its own objective beats its bound"]}
    records[2] |= {"feasible": False, "solution_status": "infeasible"}
    lines = to_paver(prepared(records, "here")).splitlines()
    assert lines[:2] == ["* Trace Record Definition", "* " + ",".join(TRACE_COLUMNS)]
    rows = [dict(zip(TRACE_COLUMNS, line.split(","), strict=True)) for line in lines[2:]]
    assert len(rows) == 8 and len({(r["InputFileName"], r["SolverName"]) for r in rows}) == 8
    assert rows[0]["InputFileName"] == "joint_integer_SMs-i10-0" and rows[0]["Direction"] == "1"
    assert [(r["SolverName"], r["ModelStatus"], r["SolverStatus"]) for r in rows] == [
        ("exact", "1", "1"), ("milp", "1", "1"), ("greedy", "6", "1"), ("ippo", "8", "1"),
        ("exact", "8", "1"), ("milp", "14", "3"), ("greedy", "8", "1"), ("ippo", "8", "1"),
    ]  # fmt: skip
    assert float(rows[3]["ObjectiveValue"]) == records[3]["objective"] and rows[3]["ObjectiveValueEstimate"] == "NA"
    assert float(rows[0]["ObjectiveValueEstimate"]) == 1.0 and rows[5]["ObjectiveValue"] == "NA"
    assert float(rows[0]["SolverTime"]) == float(f"{records[0]['seconds']:.15g}")


def test_solves_of_one_instance_are_told_apart() -> None:
    once, again = made(seeds=1, users=(10,)), made(seeds=1, users=(10,), time_limit=9.0)
    lines = to_paver(prepared([*once, *again], "here")).splitlines()[2:]
    assert len({tuple(line.split(",")[:2]) for line in lines}) == 8
    assert lines[0].startswith("joint-i10-0-t3,exact,") and lines[4].startswith("joint-i10-0-t9,exact,")


def test_a_solu_file_claims_what_is_proven_and_not_contradicted() -> None:
    records = made(seeds=5, users=(10,))
    by_seed = [records[4 * seed : 4 * seed + 4] for seed in range(5)]
    for record in by_seed[1]:  # nobody proves, one bounds
        record |= {"termination": "time_limit"}
    for record in by_seed[2]:
        record |= {
            "feasible": False,
            "objective": None,
            "bound": None,
            "termination": "infeasible",
            "solution_status": "none",
        }
    for record in by_seed[3]:
        record |= {
            "feasible": False,
            "objective": None,
            "bound": None,
            "termination": "crashed",
            "solution_status": "none",
        }
    by_seed[4][3]["objective"] = 2.0  # beyond what is claimed optimal
    lines = to_solu(prepared(records, "here")).splitlines()
    assert lines == [
        "=opt= joint-i10-0 1", "=best= joint-i10-1 1.1", "=bestdual= joint-i10-1 1.1", "=inf= joint-i10-2",
        "=unkn= joint-i10-3", "=best= joint-i10-4 2",
    ]  # fmt: skip
