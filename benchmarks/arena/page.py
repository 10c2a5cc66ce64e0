"""The page of the arena: its table in Markdown, as docs/faults-of-meaning.md has it."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.arena.kinds import KINDS

Row = Mapping[str, Any]

SCORES = "## Scores"
"""Heading from which on the page is written by the command; the text above it is people's."""

_LEGEND = """
`lost`: share of the plays of all lists; `losing`: share of the listeners who lose a tenth of theirs, less those who
gain as much; `broken`: places that a rule forbids. *proof*: a table is not as it is made again; *limit*: another
critical expectation fails; *watch*: a critical alert; *told*: a warning. A kind marked * is held out."""


def page(above: str, forks: Sequence[Row], scores: Sequence[Row], clean: Row, command: str) -> str:
    """The page.

    Args:
        above: as it is, of which what stands above the scores is kept.
        forks, scores, clean: as `scores` gives them.
        command: that repeats it.
    """
    lines = [f"{above.partition(SCORES)[0].rstrip()}\n", SCORES, f"By `{command}`:\n"]
    lines += [*_of_scores(scores, clean), _LEGEND]
    for group in dict.fromkeys(row["group"] for row in forks):
        lines += ["", f"### Of {group}", "| kind | magnitude | lost | losing | broken | hurts | what tells |"]
        lines.append("| --- | ---: | ---: | ---: | ---: | --- | --- |")
        lines += [_line(row) for row in forks if row["group"] == group]
        lines += ["", *_meanings([row["kind"] for row in forks if row["group"] == group])]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    star = "*" if row["held_out"] else ""
    net = max(0.0, row["losing"] - row["gaining"])
    told = f"{_by(row)}: {', '.join(row['causes'][:2])}" if row["alerted"] else ""
    numbers = f"{row['magnitude']:g} | {row['lost']:.1%} | {net:.1%} | {row['broken']}"
    return f"| {row['kind'].replace('_', ' ')}{star} | {numbers} | {'yes' if row['hurts'] else ''} | {told} |"


def _by(row: Row) -> str:
    ways = [way for way in ("proof", "limit", "watch") if row[f"by_{way}"]]
    return " + ".join(ways) or "told"


def _meanings(kinds: Sequence[str]) -> list[str]:
    return [f"- {kind.replace('_', ' ')}: {KINDS[kind].meaning[:-1]}." for kind in dict.fromkeys(kinds)]


def _of_scores(scores: Sequence[Row], clean: Row) -> list[str]:
    columns = {
        "hurting": "of which hurt",
        "blocked": "of these blocked",
        "alerted": "blocked or told",
        "blocked_without_proofs": "blocked, were there no proofs",
        "alerted_without_proofs": "told, were there no proofs",
        "precision": "of what is blocked hurts",
        "nights_to_the_alert": "nights to the alert",
    }
    head = f"| kinds | forks | {' | '.join(columns.values())} |"
    lines = [head, "| --- |" + " ---: |" * (len(columns) + 1)]
    for row in scores:
        values = [_number(name, row[name]) for name in columns]
        lines.append(f"| {row['kinds']} | {row['forks']} | {' | '.join(values)} |")
    blocked = "; ".join(clean["blocked_by"]) or "none"
    sound = (
        f"Of {clean['clean_nights']} nights without a fault, {clean['false_blocks']} were blocked ({blocked}), and "
        f"{clean['nights_with_warnings']} had warnings, {clean['warnings']} in all."
    )
    return [*lines, "", sound]


def _number(name: str, value: float) -> str:
    if name == "hurting":
        return str(value)
    return f"{value:.2f}" if name == "nights_to_the_alert" else f"{value:.1%}"
