"""Read by Airflow as it starts: what keeps its SQLite database usable by a scheduler and a person at once."""

from sqlalchemy import Connection, Engine, event


@event.listens_for(Engine, "savepoint")
def write_lock_before_savepoint(connection: Connection, _name: str | None) -> None:
    """Wait for the write lock before a savepoint opens a transaction.

    SQLite begins one there that only reads; if anyone else writes before its own first write, that write fails at
    once with "database is locked", whatever the time-out (https://sqlite.org/isolation.html).
    """
    driver = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite" and driver is not None and not getattr(driver, "in_transaction", True):
        driver.cursor().execute("BEGIN IMMEDIATE")
