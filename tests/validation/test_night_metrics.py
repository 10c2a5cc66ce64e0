"""The metrics of a published night, worked out again from its tables without the code that measured them."""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from deltalake import DeltaTable

from nocturne.storage import tables
from nocturne.validation.profiles.arithmetic import Measured
from tests.fixtures.simulated_service import Service

TONIGHT, LAST = "2025-03-03", "2025-03-02"
PAGE = Path("docs/monitoring-metrics.md")


@pytest.fixture(scope="module")
def told(published: Service) -> dict[tuple[str, str, str, str], float]:
    night = published.night(2)
    stored = tables.rows(night.warehouse, "night_metrics").to_pylist()
    rows = [row for row in stored if row["run_date"] == night.run_date]
    keys = [(row["table"], row["metric"], row["segment_kind"], row["segment"]) for row in rows]
    assert len({*keys}) == len(keys)
    return dict(zip(keys, (row["value"] for row in rows), strict=True))


@pytest.fixture(scope="module")
def ask(published: Service) -> Any:
    """The answer of DuckDB to a query over the tables of the published nights."""
    connection = duckdb.connect()
    for table in (
        *("listens", "items", "interactions", "item_index", "ranked_lists", "pools", "quarantine"),
        *("item_factors", "cold_factors"),
    ):
        stored = DeltaTable(f"{published.warehouse}/{table}").to_pyarrow_table()  # noqa: F841 - DuckDB reads it by name
        connection.execute(f"CREATE TABLE {table} AS SELECT * FROM stored")
    return lambda query: connection.execute(query.format(tonight=TONIGHT, last=LAST)).fetchall()


def segments(told: dict[tuple[str, str, str, str], float], table: str, metric: str, kind: str) -> dict[str, float]:
    return {key[3]: value for key, value in told.items() if key[:3] == (table, metric, kind)}


def test_listens_are_those_of_the_table(told: Any, ask: Any) -> None:
    by_market = ask("SELECT coalesce(market, ''), count(*) FROM listens WHERE run_date = '{tonight}' GROUP BY 1")
    by_hour = ask(
        "SELECT extract(hour FROM listened_at AT TIME ZONE 'UTC')::INT::VARCHAR, count(*) / sum(count(*)) OVER () "
        "FROM listens WHERE run_date = '{tonight}' GROUP BY 1"
    )
    by_type = ask(
        "SELECT coalesce(items.content_type, 'unknown'), quantile_disc(ms_played / plays, .5) FROM listens "
        "LEFT JOIN items ON items.item_id = listens.item_id AND items.run_date = '{tonight}' "
        "WHERE listens.run_date = '{tonight}' AND ms_played IS NOT NULL GROUP BY 1"
    )
    ((listeners, top, items),) = ask(
        "SELECT count(DISTINCT user_id), "
        "(SELECT max(plays) FROM (SELECT sum(l.plays) AS plays FROM listens l JOIN items i USING (run_date, item_id) "
        "WHERE run_date = '{tonight}' GROUP BY item_id)), "
        "(SELECT count(DISTINCT item_id) FROM listens JOIN items USING (run_date, item_id) "
        "WHERE run_date = '{tonight}') "
        "FROM listens WHERE run_date = '{tonight}'"
    )
    ((plays,),) = ask(
        "SELECT sum(l.plays) FROM listens l JOIN items USING (run_date, item_id) WHERE run_date = '{tonight}'"
    )

    assert segments(told, "listens", "listens", "market") == dict(by_market)
    assert segments(told, "listens", "share", "hour") == pytest.approx(dict(by_hour), rel=1e-8)
    assert segments(told, "listens", "median_ms_played", "content_type") == pytest.approx(dict(by_type), rel=0.04)
    assert told["listens", "listeners", "all", ""] == listeners
    assert told["listens", "items_heard", "all", ""] == items
    assert told["listens", "share_of_top_item", "all", ""] == pytest.approx(float(top) / float(plays), rel=1e-8)


def test_rejected_events_are_those_of_the_table(told: Any, ask: Any) -> None:
    reasons = ask(
        "SELECT reason, count(*) / sum(count(*)) OVER () FROM quarantine WHERE run_date = '{tonight}' GROUP BY 1"
    )

    assert segments(told, "quarantine", "share", "reason") == pytest.approx(dict(reasons), rel=1e-8)


def lists(ask: Any, night: str) -> dict[str, list[str]]:
    query = "SELECT user_id, [each.item_id FOR each IN items] FROM ranked_lists WHERE run_date = '" + night + "'"
    return dict(ask(query))


def test_every_list_is_compared_with_last_nights(told: Any, ask: Any) -> None:
    now, then = lists(ask, TONIGHT), lists(ask, LAST)
    markets = dict(ask("SELECT user_id, coalesce(market, '') FROM ranked_lists WHERE run_date = '{tonight}'"))
    churn, moved = defaultdict(list), defaultdict(list)
    for user in now.keys() & then.keys():
        kept = [item for item in now[user] if item in then[user]]
        churn[markets[user]].append(1 - len(kept) / len(now[user]))
        if kept:
            places = [abs(now[user].index(item) - then[user].index(item)) for item in kept]
            moved[markets[user]].append(np.mean(places))
    together = [each for of_market in churn.values() for each in of_market]
    quantiles = {f"{share:g}": np.quantile(together, share, method="inverted_cdf") for share in (0.05, 0.5, 0.95)}

    assert segments(told, "ranked_lists", "mean_churn", "market") == pytest.approx(
        {market: np.mean(each) for market, each in churn.items()}, abs=1e-8
    )
    assert segments(told, "ranked_lists", "mean_displacement", "market") == pytest.approx(
        {market: np.mean(each) for market, each in moved.items()}, rel=1e-8
    )
    found = segments(told, "ranked_lists", "churn", "quantile")
    assert {share: found[share] for share in quantiles} == pytest.approx(quantiles, abs=0.02)
    assert told["ranked_lists", "churn", "all", ""] == pytest.approx(np.mean(together))
    same = np.mean([now[user] == then[user] for user in now.keys() & then.keys()])
    assert told["ranked_lists", "share_unchanged", "all", ""] == pytest.approx(same)


def test_what_was_heard_of_last_nights_lists_is_told(told: Any, ask: Any) -> None:
    heard = dict(
        ask("SELECT user_id, list(DISTINCT item_id) FROM listens WHERE run_date = '{tonight}' AND NOT late GROUP BY 1")
    )
    then = lists(ask, LAST)
    listeners = dict(ask("SELECT user_id, 1 FROM ranked_lists WHERE run_date = '{tonight}'"))
    hits = [len({*heard[user]} & {*then[user]}) for user in heard.keys() & then.keys() & listeners.keys()]

    # Of listeners who set listens aside, rows do not say that these were heard.
    assert told["ranked_lists", "hit_rate", "all", ""] == pytest.approx(np.mean([hit > 0 for hit in hits]), abs=0.01)


def test_what_is_listed_is_told_by_type_creator_and_item(told: Any, ask: Any) -> None:
    now = lists(ask, TONIGHT)
    catalogue = {
        item: (kind, creator, explicit)
        for item, kind, creator, explicit in ask(
            "SELECT item_id, content_type, creator, explicit FROM items WHERE run_date = '{tonight}'"
        )
    }
    places = [item for each in now.values() for item in each]
    times = Counter(places)
    types = Counter(catalogue[item][0] if item in catalogue else "unknown" for item in places)
    creators = Counter(catalogue[item][1] for item in places if item in catalogue)
    ordered = np.sort([*times.values()])
    gini = np.abs(ordered[:, None] - ordered).sum() / (2 * len(ordered) * ordered.sum())

    assert segments(told, "ranked_lists", "share", "content_type") == pytest.approx(
        {kind: count / len(places) for kind, count in types.items()}, rel=1e-8
    )
    assert told["ranked_lists", "items_listed", "all", ""] == len(times)
    assert told["ranked_lists", "gini_of_items", "all", ""] == pytest.approx(gini, rel=1e-8)
    assert told["ranked_lists", "share_of_places", "creator_rank", "1"] == pytest.approx(
        max(creators.values()) / len(places), rel=1e-8
    )
    explicit = sum(bool(catalogue[item][2]) for item in places if item in catalogue)
    assert told["ranked_lists", "share_explicit", "all", ""] == pytest.approx(explicit / len(places), rel=1e-8)


def test_rows_gain_what_is_new_to_their_listener_and_what_is_not(told: Any, ask: Any) -> None:
    ((familiar, gained),) = ask(
        "SELECT sum(plays) FILTER (list_contains(last.item_indexes, i.item_index)), sum(plays) FROM listens "
        "JOIN item_index i USING (item_id) "
        "JOIN interactions last ON last.user_id = listens.user_id AND last.run_date = '{last}' "
        "WHERE listens.run_date = '{tonight}'"
    )

    # Late listens count a little less, and whoever set an item aside is counted whole.
    assert told["interactions", "share_familiar", "all", ""] == pytest.approx(float(familiar) / float(gained), rel=0.01)


def test_scores_of_pools_are_told(told: Any, ask: Any) -> None:
    ((median, carried),) = ask(
        "SELECT quantile_disc(scores[1], .5), avg((computed_on < run_date)::INT) FROM pools "
        "WHERE run_date = '{tonight}' AND source = 'als'"
    )

    assert told["pools", "top_score", "quantile", "0.5"] == pytest.approx(median, rel=0.04)
    assert told["pools", "share_carried", "source", "als"] == pytest.approx(carried, abs=1e-8)


def test_lists_are_judged_by_last_nights_model(told: Any, ask: Any) -> None:
    of_listeners = dict(
        ask("SELECT user_id, factors FROM pools WHERE run_date = '{last}' AND factors IS NOT NULL AND source = 'als'")
    )
    of_items = {
        item: multiplier * np.array(factors)
        for item, multiplier, factors in ask(
            "SELECT item_id, score_multiplier, factors FROM "
            "(SELECT run_date, model_version, item_id, score_multiplier, factors FROM item_factors UNION ALL "
            "SELECT run_date, model_version, item_id, score_multiplier, factors FROM cold_factors) "
            "WHERE run_date <= '{last}' AND model_version IN "
            "(SELECT model_version FROM pools WHERE run_date = '{last}' AND source = 'als')"
        )
    }

    def worth(user: str, items: list[str]) -> float:
        places = [(place, item) for place, item in enumerate(items) if item in of_items]
        scores = [of_items[item] @ np.array(of_listeners[user]) for _, item in places]
        return float(np.average(scores, weights=[1 / np.log2(place + 2) for place, _ in places]))

    now, then = lists(ask, TONIGHT), lists(ask, LAST)
    both = sorted(now.keys() & then.keys() & of_listeners.keys())
    pairs = [(worth(user, now[user]), worth(user, then[user])) for user in both]
    pairs = [pair for pair in pairs if pair[1] > 0]

    assert told["ranked_lists", "worth", "all", ""] == pytest.approx(
        sum(tonight for tonight, _ in pairs) / sum(last for _, last in pairs), rel=1e-4
    )
    worse = np.mean([tonight < 0.9 * last for tonight, last in pairs])
    assert told["ranked_lists", "share_worse", "all", ""] == pytest.approx(worse, abs=0.01)
    assert 0 < told["ranked_lists", "mean_taste_kept", "all", ""] <= 1


def test_every_segment_is_of_a_metric_and_a_kind_that_the_page_explains(told: Any, published: Service) -> None:
    explained: dict[str, set[tuple[str, str]]] = defaultdict(set)
    section: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ").split(", ")
        elif line.startswith("| ") and "`" in line:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            of = section if cells[0].startswith("`") else cells.pop(0).split(", ")
            names = re.findall(r"`([a-z_]+)`", cells[0])
            full = [name if not name.startswith("_") else f"share_changed{name}" for name in names]
            kinds = re.split(r"[,;] ", cells[1])
            for table in of:
                explained[table] |= {(name, kind) for name in full for kind in kinds}
    validations = tables.rows(published.night(2).warehouse, "validations", None, ["table", "expectation"]).to_pylist()
    of_profiles = {(row["table"], row["expectation"]) for row in validations}
    unexplained = {
        key[:3]
        for key in told
        if (key[1], key[2]) not in explained[key[0]] and not (key[2] == "all" and key[:2] in of_profiles)
    }
    assert unexplained == set()


def test_metrics_of_a_profile_come_before_further_ones() -> None:
    assert Measured({"rows": 1.0, "unknown": None}, "").all_metrics[0].name == "rows"
