"""Print docs/tables.md: every table of the warehouse, from its contract and the declaration of the flow.

Its head is tables_head.md, and a table's query queries/<table>.sql.
"""

import re
from pathlib import Path

from nocturne.flow import NIGHTLY, TABLES, VALIDATION
from nocturne.storage.contracts import Column, contract

STAGES = (*NIGHTLY, VALIDATION)

TOOLS = Path(__file__).parent


def tables_page() -> str:
    """The page as Markdown."""
    head = (TOOLS / "tables_head.md").read_text(encoding="utf-8")
    return "\n".join([head, *(_section(table) for table in TABLES)])


def _section(table: str) -> str:
    promised = contract(table)
    writers = ", ".join(f"`{stage.name}`" for stage in STAGES if table in stage.writes) or "whatever runs a stage"
    readers = ", ".join(f"`{stage.name}`" for stage in STAGES if table in stage.reads)
    parts = ", ".join(f"`{name}`" for name in promised.partitioned_by)
    checks = [f"- `{check}` ({name.replace('_', ' ')})" for name, check in promised.constraints.items()]
    return "\n".join(
        [
            f"## {table}",
            promised.comment,
            "",
            f"Written by {writers}; read by {readers or 'people and downstream teams'}. Partitioned by {parts}.",
            "",
            "| column | type | null | meaning |",
            "| --- | --- | --- | --- |",
            *map(_row, promised.columns),
            "",
            *(["Every row holds:", "", *checks, ""] if checks else []),
            f"```python\n{_example(table)}\n```",
            "",
        ]
    )


def _example(table: str) -> str:
    """The query of a table as a Python program."""
    query = (TOOLS / "queries" / f"{table}.sql").read_text(encoding="utf-8")
    named = sorted({name for name in re.findall(r"(?:FROM|JOIN) (\w+)", query) if name in TABLES})
    reads = [f'{name} = polars.scan_delta("data/warehouse/{name}")' for name in named]
    ask = ['query = """', query.rstrip(), '"""', "print(duckdb.sql(query))"]
    return "\n".join(["import duckdb", "import polars", "", *reads, *ask])


def _row(column: Column) -> str:
    return f"| `{column.name}` | `{column.type}` | {'yes' if column.nullable else 'no'} | {column.comment} |"


if __name__ == "__main__":
    print(tables_page())
