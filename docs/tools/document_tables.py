"""Print docs/tables.md: every table of the warehouse, from its contract and the declaration of the flow."""

from nocturne.flow import NIGHTLY, TABLES, VALIDATION
from nocturne.storage.contracts import Column, contract

STAGES = (*NIGHTLY, VALIDATION)


def tables_page() -> str:
    """The page as Markdown."""
    head = (
        "# The tables\n\n"
        "Each is a Delta directory `WAREHOUSE/<table>`. Written by `make docs` from `schemas/*.sql`; do not edit.\n"
        "Columns marked *(measured)* depend on the run; all others depend on the input alone.\n"
    )
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
        ]
    )


def _row(column: Column) -> str:
    return f"| `{column.name}` | `{column.type}` | {'yes' if column.nullable else 'no'} | {column.comment} |"


if __name__ == "__main__":
    print(tables_page())
