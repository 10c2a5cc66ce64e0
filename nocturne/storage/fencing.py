"""Fencing of tables: once a later process works under the lease, an earlier one cannot commit any more.

Every commit carries the token of its lease as a Delta application transaction. Delta refuses two concurrent
commits of one application, and a writer refuses a table that has seen a higher token. A process that takes over
from one that never said that it left commits its token to every table first, so that a late commit is refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from py4j.protocol import Py4JJavaError

from nocturne.core.errors import ServiceError

APPLICATION = "nocturne.lease"
_VERSIONS_PER_TOKEN = 2**32
"""Commits under one token, and a table: the transaction's version is the token, then their number."""


def next_version(table: DeltaTable, token: int | None) -> int | None:
    """Transaction version of the next commit under this token, as the table was opened; None without a token.

    Raises:
        ServiceError: a later process has taken over.
    """
    if token is None:
        return None
    last_version = table.transaction_version(APPLICATION) or 0
    last_token = last_version // _VERSIONS_PER_TOKEN
    if last_token > token:
        raise conflict_error(table, f"a commit under token {last_token}", f"token {token}")
    return max(last_version + 1, token * _VERSIONS_PER_TOKEN)


def commit_properties(table: DeltaTable, token: int | None) -> CommitProperties | None:
    """Properties of a commit of delta-rs on top of the table as it was opened: the next version, if there is a token.

    Raises:
        ServiceError: a later process has taken over.
    """
    version = next_version(table, token)
    return None if version is None else CommitProperties(app_transactions=[Transaction(APPLICATION, version)])


def writer_options(version: int | None) -> dict[str, str]:
    """Options of a Spark writer whose commit carries this version."""
    return {} if version is None else {"txnAppId": APPLICATION, "txnVersion": str(version)}


def verify_committed(path: str, version: int | None) -> None:
    """Raise ServiceError unless the commit of that version is in the table: Spark passes over one that is late."""
    table = DeltaTable(path)
    last_version = table.transaction_version(APPLICATION) or 0
    if version is not None and last_version != version:
        raise conflict_error(table, f"commit {last_version}", f"commit {version}")


def advance(table: DeltaTable, token: int) -> None:
    """Commit the token alone: nothing that was begun under an earlier one can be committed from now on."""
    with conflicts_as_errors(table):
        table.create_write_transaction(
            [], mode="append", schema=table.schema(), commit_properties=commit_properties(table, token)
        )


@contextmanager
def conflicts_as_errors(table: DeltaTable) -> Iterator[None]:
    """Conflicts of concurrent commits, by delta-rs or Spark, raised as ServiceError."""
    try:
        yield
    except CommitFailedError as error:
        raise conflict_error(table, str(error), "no other commit meanwhile") from error
    except Py4JJavaError as error:
        if "io.delta.exceptions.Concurrent" not in str(error):
            raise
        raise conflict_error(table, "a concurrent commit", "no other commit meanwhile") from error


def conflict_error(table: DeltaTable, found: str, expected: str) -> ServiceError:
    """The error that somebody else has written a table since it was read."""
    return ServiceError(
        "another process has written this table meanwhile",
        where=table.table_uri,
        found=found,
        expected=expected,
        fix="let that one finish, then run this night again: tables are replaced whole, nothing is written twice",
    )
