import pyarrow as pa
import pytest

from nocturne.validation.gate import gate


def validations(*rows: tuple[str, str, str, str]) -> pa.Table:
    columns = ("table", "expectation", "severity", "outcome")
    schema = pa.schema([(name, pa.string()) for name in (*columns, "limit", "files")] + [("observed", pa.float64())])
    defaults = {"limit": ">= 50", "files": "f1", "observed": 25.0}
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) | defaults for row in rows], schema)


def test_the_gate_is_open_when_every_critical_expectation_holds_or_was_skipped():
    found = validations(
        ("listens", "rows", "critical", "success"),
        ("listens", "volume_change", "critical", "skipped"),
        ("listens", "bots", "warning", "failed"),
    )
    assert gate(found, {"listens": {"rows", "volume_change"}}, {"listens": "f1"}) == []


def test_a_failed_critical_expectation_closes_the_gate():
    found = validations(("ranked_lists", "shortest_list", "critical", "failed"))
    assert gate(found, {"ranked_lists": {"shortest_list"}}, {"ranked_lists": "f1"}) == [
        "ranked_lists: shortest_list is 25.0, expected >= 50"
    ]


def test_an_expectation_that_was_not_checked_closes_the_gate():
    found = validations(("listens", "rows", "critical", "success"))
    assert gate(found, {"listens": {"rows", "nulls"}}, {"listens": "f1"}) == ["listens: nulls was not checked"]


def test_a_table_that_was_not_validated_closes_the_gate_even_without_expectations():
    assert gate(validations(), {"models": set(), "items": {"rows"}}, {"models": "f1", "items": "f1"}) == [
        "items was not validated",
        "models was not validated",
    ]


@pytest.mark.parametrize("files", [{"listens": "f2"}, {"listens": None}, {}])
def test_a_table_that_changed_after_it_was_validated_closes_the_gate(files: dict[str, str | None]):
    found = validations(("listens", "rows", "critical", "success"))
    assert gate(found, {"listens": {"rows"}}, files) == ["listens changed after it was validated"]
