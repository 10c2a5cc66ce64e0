"""Runs of rows in order of user_id, cut anywhere: whole listeners come out, in order, and every row once."""

from itertools import pairwise

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from nocturne.ingestion.listener_runs import ListenerRun, step_through

SCHEMA = pa.schema([("user_id", pa.string()), ("number", pa.int64())])
RUNS = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b", "bb", "c", "é", "🎵"]), max_size=12), st.integers(1, 4)), max_size=4
)


def table(run: int, users: list[str]) -> pa.Table:
    rows = [(user, 100 * run + place) for place, user in enumerate(sorted(users))]
    return pa.table({name: [row[place] for row in rows] for place, name in enumerate(SCHEMA.names)}, schema=SCHEMA)


@given(RUNS)
def test_every_row_comes_once_and_with_all_of_its_listener(runs: list[tuple[list[str], int]]) -> None:
    tables = [table(number, users) for number, (users, _) in enumerate(runs)]
    pieces = [
        [rows.slice(start, size) for start in range(0, rows.num_rows, size)]
        for rows, (_, size) in zip(tables, runs, strict=True)
    ]
    steps = list(step_through([ListenerRun(SCHEMA, parts) for parts in pieces]))
    for number, rows in enumerate(tables):
        assert pa.concat_tables([SCHEMA.empty_table(), *(step[number] for step in steps)]).equals(rows)
    listeners = [sorted({user for rows in step for user in rows["user_id"].to_pylist()}) for step in steps]
    assert all(earlier[-1] < later[0] for earlier, later in pairwise(listeners))
