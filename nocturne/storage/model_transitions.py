"""The moves of models: by whose decision, and why, a model is live on a night.

Pure. A model is a row of `models` as a dict. Its `moves` say what was decided and from which night on; the state
follows from the moves of all models.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

CANDIDATE, LIVE, RETIRED, REJECTED = "candidate", "live", "retired", "rejected"
REFUSED, UNDECIDED = "refused", "undecided"
"""What the gate says: the model is worse, or was not shown to be no worse. Neither changes a state."""

Row = dict[str, Any]


def live_on(rows: Sequence[Row], day: date) -> Row | None:
    """The model live on a night; None if there is none.

    It is the one that became live last, counted from the night each move holds for; a model that was rejected since
    counts no more from the night of the rejection, and whichever was live before it is live again.
    """
    standing = [
        (move["since"], move["number"], place)
        for place, row in enumerate(rows)
        for move in row["moves"]
        if move["state"] == LIVE and move["since"] <= day and not _withdrawn(row, move["number"], day)
    ]
    return rows[max(standing)[2]] if standing else None


def settle(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with the state that follows from all moves."""
    live = live_on(rows, date.max)
    return [row | {"state": LIVE if row is live else _state(row)} for row in rows]


def moved(rows: Sequence[Row], version: str, state: str, *, since: date, by: str, why: str) -> list[Row]:
    """The rows after a move of one model, with their states.

    The same move said twice in a row is one move: the later saying stands.
    """
    number = next_number(rows)
    move = {"number": number, "state": state, "since": since, "by": by, "why": why}
    after = []
    for row in rows:
        if row["model_version"] != version:
            after.append(row)
            continue
        *earlier, last = row["moves"] or [None]
        repeated = last and (last["state"], last["since"]) == (state, since)
        after.append(row | {"moves": [*earlier, move] if repeated or not last else [*earlier, last, move]})
    return settle(after)


def without(rows: Sequence[Row], by: str, since: date) -> list[Row]:
    """The rows as they would be if someone had moved nothing on a night."""
    return settle(
        [row | {"moves": [move for move in row["moves"] if (move["by"], move["since"]) != (by, since)]} for row in rows]
    )


def next_number(rows: Sequence[Row]) -> int:
    """Number of the next move: moves are counted over all models, from 1."""
    return max((move["number"] for row in rows for move in row["moves"]), default=0) + 1


def turned_down(rows: Iterable[Row], after: date, day: date) -> Row | None:
    """The newest model trained after a night that was refused as worse or rejected, as far as is known on a night."""
    found = [
        row
        for row in rows
        if after < row["run_date"] <= day
        and any(move["state"] in {REFUSED, REJECTED} and move["since"] <= day for move in row["moves"])
    ]
    return max(found, key=lambda row: (row["run_date"], row["model_version"]), default=None)


def sound(rows: Iterable[Row], closed: Collection[date]) -> list[Row]:
    """The models trained on nights whose gate did not close."""
    return [row for row in rows if row["run_date"] not in closed]


def _withdrawn(row: Row, number: int, day: date) -> bool:
    """Whether the model was rejected after that move, for that night."""
    return any(move["state"] == REJECTED and move["number"] > number and move["since"] <= day for move in row["moves"])


def _state(row: Row) -> str:
    """The state of a model that is not live."""
    decided = [move for move in row["moves"] if move["state"] in {LIVE, REJECTED}]
    if not decided:
        return CANDIDATE
    return REJECTED if max(decided, key=lambda move: int(move["number"]))["state"] == REJECTED else RETIRED
