"""The fence around tables: once a later process works under the lease, an earlier one cannot commit any more.

Every commit carries the token of its lease as a Delta application transaction. Delta refuses two concurrent
commits of one application, and a writer refuses a table that has seen a higher token. A process that takes over
from one that never said that it left stamps every table first, so that no commit of that one can come late.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from py4j.protocol import Py4JJavaError

from nocturne.core.errors import ServiceError

APPLICATION = "nocturne.lease"
_COMMITS = 2**32
"""Commits under one token, and a table: the stamp is the token, then their number."""


def stamp(table: DeltaTable, token: int | None) -> int | None:
    """Number of the next commit under this token, as the table was when it was opened; None without a token.

    Raises:
        ServiceError: a later process has taken over.
    """
    if token is None:
        return None
    last = table.transaction_version(APPLICATION) or 0
    if last // _COMMITS > token:
        raise _refused(table, f"a commit under token {last // _COMMITS}", f"token {token}")
    return max(last + 1, token * _COMMITS)


def stamped(table: DeltaTable, token: int | None) -> CommitProperties | None:
    """Properties of a commit of delta-rs, on top of the table as it was when it was opened."""
    number = stamp(table, token)
    return None if number is None else CommitProperties(app_transactions=[Transaction(APPLICATION, number)])


def options(number: int | None) -> dict[str, str]:
    """Options of a commit of Spark."""
    return {} if number is None else {"txnAppId": APPLICATION, "txnVersion": str(number)}


def require(path: str, number: int | None) -> None:
    """Raise ServiceError unless the commit of that number is in the table: Spark passes over one that is late."""
    table = DeltaTable(path)
    last = table.transaction_version(APPLICATION) or 0
    if number is not None and last != number:
        raise _refused(table, f"commit {last}", f"commit {number}")


def raise_around(table: DeltaTable, token: int) -> None:
    """Commit the token alone: nothing that was begun under an earlier one can be committed from now on."""
    with refusals(table):
        table.create_write_transaction(
            [], mode="append", schema=table.schema(), commit_properties=stamped(table, token)
        )


@contextmanager
def refusals(table: DeltaTable) -> Iterator[None]:
    """Conflicts of two commits at once, raised as ServiceError."""
    try:
        yield
    except CommitFailedError as error:
        raise _refused(table, str(error), "no other commit meanwhile") from error
    except Py4JJavaError as error:
        if "io.delta.exceptions.Concurrent" not in str(error):
            raise
        raise _refused(table, "a concurrent commit", "no other commit meanwhile") from error


def _refused(table: DeltaTable, found: str, expected: str) -> ServiceError:
    return ServiceError(
        "another process has written this table meanwhile",
        where=table.table_uri,
        found=found,
        expected=expected,
        fix="let that one finish, then run this night again: tables are replaced whole, nothing is written twice",
    )
