"""``python -m hisopt.experiments.papers.shipped_prompts``: entities and negative prompts of the shipped corpus, judged."""

from __future__ import annotations

import csv
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

import hisopt
from hisopt.commands.common import run_command
from hisopt.errors import InputError
from hisopt.files import write_atomically
from hisopt.text.entities import parsed_entities
from hisopt.text.negative import negative_prompts

if TYPE_CHECKING:
    from collections.abc import Sequence

SHIPPED = Path(hisopt.__file__).parent / "data" / "prompts.csv"


def table() -> list[dict[str, str]]:
    """Return the rows of the shipped prompts with entities and negative prompts made anew; other columns are kept."""
    with SHIPPED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    prompts = [row["prompt"] for row in rows]
    negative = [found.text for found in negative_prompts(prompts)]
    return [
        {**row, "negative_prompt": text, "entity": entity}
        for row, text, entity in zip(rows, negative, parsed_entities(prompts), strict=True)
    ]


def as_csv(rows: Sequence[dict[str, str]]) -> str:
    """Return the rows as the shipped file has them."""
    text = StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def agreement(entities: Sequence[str], subjects: Sequence[str]) -> dict[str, float]:
    """Return how groups of one entity agree with the corpus's subjects.

    ``entities`` how many there are, ``pure`` the share of pairs of one entity that have one subject, ``found`` the share of
    pairs of one subject that have one entity, ``rand`` the adjusted Rand index.
    """
    from sklearn.metrics import adjusted_rand_score

    first, second = np.triu_indices(len(entities), 1)
    entity, subject = np.asarray(entities), np.asarray(subjects)
    one, same = entity[first] == entity[second], subject[first] == subject[second]
    both = float((one & same).sum())
    return {
        "entities": float(len(set(entities))), "pure": both / float(one.sum()), "found": both / float(same.sum()),
        "rand": float(adjusted_rand_score(subjects, entities)),
    }  # fmt: skip


def coverage(prompts: Sequence[str]) -> dict[str, int]:
    """Return how many adjectives prompts have and how many were turned, and how many prompts have any and were turned."""
    found = negative_prompts(prompts)
    return {
        "prompts": len(found), "with_adjectives": sum(one.adjectives > 0 for one in found),
        "turned_prompts": sum(one.turned > 0 for one in found), "adjectives": sum(one.adjectives for one in found),
        "turned": sum(one.turned for one in found),
    }  # fmt: skip


def judged(path: Path) -> tuple[int, int, list[tuple[str, str, str]]]:
    """Return how many main nouns of a file (columns prompt, noun) are found, of how many, and the others with ours."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"prompt", "noun"} <= rows[0].keys():
        raise InputError(f"{path}: needs columns prompt and noun")
    ours = parsed_entities([row["prompt"] for row in rows])
    wrong = [(row["prompt"], row["noun"], found) for row, found in zip(rows, ours, strict=True) if row["noun"] != found]
    return len(rows) - len(wrong), len(rows), wrong


@click.command()
@click.option("--write", is_flag=True, help="Write the shipped file anew.")
@click.option(
    "--nouns", multiple=True, metavar="FILE", help="Judge entities on a CSV with columns prompt and noun; repeatable."
)
def command(write: bool, nouns: tuple[str, ...]) -> None:
    """Say how the entities agree with subjects and how many adjectives have antonyms; with --write, write prompts.csv."""
    rows = table()
    prompts = [row["prompt"] for row in rows]
    found = agreement([row["entity"] for row in rows], [row["subject"] for row in rows])
    print(
        f"entities: {found['entities']:.0f} of {len(rows)} prompts; of pairs with one entity {100 * found['pure']:.0f} % have "
        f"one subject, of those with one subject {100 * found['found']:.0f} % one entity; adjusted Rand index {found['rand']:.3f}"
    )
    print(_said("shipped", coverage(prompts)))
    for file in nouns:
        right, count, wrong = judged(Path(file))
        print(f"{file}: {right} of {count} main nouns")
        for prompt, noun, ours in wrong:
            print(f"  {prompt}: {noun}, not {ours}")
        with Path(file).open(encoding="utf-8", newline="") as opened:
            print(_said(file, coverage([row["prompt"] for row in csv.DictReader(opened)])))
    if write:
        write_atomically(SHIPPED, as_csv(rows))


def _said(name: str, found: dict[str, int]) -> str:
    return (
        f"{name}: antonyms for {found['turned']} of {found['adjectives']} adjectives; {found['turned_prompts']} of "
        f"{found['prompts']} prompts have a negative prompt, {found['with_adjectives']} have adjectives"
    )


def main() -> None:
    """Run the command line."""
    run_command(command, "hisopt.experiments.papers.shipped_prompts", extra="text")


if __name__ == "__main__":
    main()
