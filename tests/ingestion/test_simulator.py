"""The simulated service: reproducible, corrupted in known ways, and with a truth that its events follow."""

import gzip
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nocturne.core.errors import UsageError
from nocturne.core.settings import load_settings
from nocturne.ingestion.simulator.simulate import SimulationSummary, simulate

START = date(2026, 1, 1)
NIGHTS = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationSummary]:
    landing = tmp_path_factory.mktemp("simulation") / "landing"
    return landing, simulate(landing, 2_000, 500, NIGHTS, seed=1, start=START, corruption=0.05)


def day(landing: Path, night: int) -> Path:
    return landing / "events" / f"date={START + timedelta(days=night)}"


def sound_events(landing: Path) -> pa.Table:
    """Every event in a Parquet file, with the night that delivered it."""
    tables = []
    for night in range(NIGHTS):
        for file in sorted(day(landing, night).glob("*.parquet")):
            table = pq.read_table(file)
            tables.append(table.append_column("delivered", pa.array([night] * table.num_rows)))
    return pa.concat_tables(tables)


def people(landing: Path, truth: Path) -> pa.Table:
    bots = pq.read_table(truth / "listeners.parquet", filters=[("bot", "==", True)])["user_id"]
    events = sound_events(landing)
    return events.filter(pc.invert(pc.is_in(events["user_id"], value_set=bots.combine_chunks())))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_arguments_write_the_same_bytes_and_more_nights_leave_the_earlier_ones(tmp_path: Path) -> None:
    simulate(tmp_path / "one", 1_200, 50, 2, seed=7, start=START)
    simulate(tmp_path / "two", 1_200, 50, 1, seed=7, start=START)
    simulate(tmp_path / "two", 1_200, 50, 3, seed=7, start=START)
    third = {name: data for name, data in contents(tmp_path / "two").items() if "2026-01-03" in name}
    assert third
    assert contents(tmp_path / "one") | third == contents(tmp_path / "two")


def test_another_seed_in_the_same_landing_zone_is_refused(tmp_path: Path) -> None:
    simulate(tmp_path / "landing", 10, 5, 1, seed=1, start=START)
    with pytest.raises(UsageError, match="--seed 1"):
        simulate(tmp_path / "landing", 10, 5, 1, seed=2, start=START)


def test_every_days_mark_holds_its_rows(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    marks = []
    for night in range(NIGHTS):
        parquet = sum(pq.read_metadata(file).num_rows for file in day(landing, night).glob("*.parquet"))
        lines = gzip.decompress((day(landing, night) / "broken.jsonl.gz").read_bytes()).splitlines()
        marks.append(int((day(landing, night) / "_SUCCESS").read_text()))
        assert marks[-1] == parquet + len(lines)
    assert sum(marks) == summary.rows == sum(summary.kinds.values())


def test_the_truth_lies_beside_the_landing_zone(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    assert summary.truth == landing.with_name("landing-truth")
    assert sorted(path.name for path in summary.truth.iterdir()) == [
        "items.parquet",
        "listeners.parquet",
        "nights.parquet",
        "sessions.parquet",
        "topics.parquet",
    ]


def test_event_ids_repeat_only_in_the_counted_duplicates(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    ids = sound_events(landing)["event_id"]
    assert len(ids) - pc.count_distinct(ids).as_py() == summary.kinds["repeated"] + summary.kinds["resent"] > 0


def test_people_play_only_what_their_market_and_the_day_allow(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    catalogue = {row["item_id"]: row for row in pq.read_table(landing / "items" / "items.parquet").to_pylist()}
    events = people(landing, summary.truth)
    assert any(row["markets"] for row in catalogue.values())
    for item_id, market, heard in zip(
        *(events[name].to_pylist() for name in ("item_id", "market", "listened_at")), strict=True
    ):
        item = catalogue[item_id]
        assert item["markets"] is None or market in item["markets"]
        assert item["available_from"] is None or item["available_from"] <= heard.date()
        assert item["available_until"] is None or heard.date() <= item["available_until"]


def test_new_items_and_listeners_are_heard_on_later_nights(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    events = people(landing, summary.truth)
    for name, table in (("item_id", "items"), ("user_id", "listeners")):
        first_night = {
            row[name]: row["first_night"] for row in pq.read_table(summary.truth / f"{table}.parquet").to_pylist()
        }
        nights = {first_night[key] for key in events[name].to_pylist()}
        assert nights == {0, 1, 2}


def test_late_events_are_of_the_last_two_days_and_all_others_of_the_day(
    service: tuple[Path, SimulationSummary],
) -> None:
    landing, summary = service
    events = people(landing, summary.truth)
    days_late = Counter(
        (START + timedelta(days=night) - heard.date()).days
        for night, heard in zip(events["delivered"].to_pylist(), events["listened_at"].to_pylist(), strict=True)
    )
    assert set(days_late) == {0, 1, 2}
    assert days_late[1] + days_late[2] == summary.kinds["late"] + summary.kinds["resent"]


def test_bots_play_more_than_any_person_at_distinct_seconds(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    limit = load_settings().listens.bot_rows
    events = sound_events(landing)
    persons = people(landing, summary.truth)
    most = pc.max(persons.group_by(["user_id", "delivered"]).aggregate([([], "count_all")])["count_all"]).as_py()
    bots = set(events["user_id"].to_pylist()) - set(persons["user_id"].to_pylist())
    assert most < limit / 3
    assert len(bots) == 1
    rows = events.filter(pc.equal(events["user_id"], bots.pop()))
    for count in (
        rows.group_by("delivered").aggregate([("listened_at", "count"), ("listened_at", "count_distinct")]).to_pylist()
    ):
        assert count["listened_at_count"] == count["listened_at_count_distinct"] > limit


def _defect(line: str, night: int, known_items: set[str]) -> str:
    """The first check of the landing zone's documentation that a line fails."""
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return "unparsable"
    midnight = datetime.combine(START + timedelta(days=night), datetime.min.time(), UTC)
    heard = _time(event.get("listened_at"))
    plays, ms_played = event.get("plays", 1), event["ms_played"]
    checks = {
        **{f"missing_{name}": not event.get(name) for name in ("event_id", "user_id", "item_id")},
        "invalid_time": heard is None,
        "invalid_ms_played": not (isinstance(ms_played, int) and 0 <= ms_played <= 86_400_000),
        "invalid_plays": not (isinstance(plays, int) and 1 <= plays <= 1_000_000),
        "after_day": heard is not None and heard >= midnight + timedelta(days=1),
        "too_late": heard is not None and heard < midnight - timedelta(days=2),
        "unknown_item": event.get("item_id") not in known_items,
    }
    return next((reason for reason, failed in checks.items() if failed), "sound")


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def test_broken_events_have_the_defects_that_the_truth_counts(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    known_items = set(pq.read_table(landing / "items" / "items.parquet")["item_id"].to_pylist())
    defects: Counter[str] = Counter()
    for night in range(NIGHTS):
        lines = gzip.decompress((day(landing, night) / "broken.jsonl.gz").read_bytes()).decode().splitlines()
        defects += Counter(_defect(line, night, known_items) for line in lines)
    others = {"listens", "late", "repeated", "resent", "bot"}
    assert defects == {kind: count for kind, count in summary.kinds.items() if kind not in others}
    assert len(defects) == 10
    assert defects.total() == pytest.approx(0.05 * (summary.kinds["listens"] + summary.kinds["late"]), rel=0.02)


def test_plays_follow_the_true_factors(service: tuple[Path, SimulationSummary]) -> None:
    """The plays of each item that nothing restricts, against what its hearers' tastes predict."""
    landing, summary = service
    listeners = pq.read_table(summary.truth / "listeners.parquet").to_pydict()
    items = pq.read_table(summary.truth / "items.parquet").to_pydict()
    tastes, shares = np.array(listeners["factors"]), np.array(items["factors"])
    assert np.allclose(tastes.sum(axis=1), 1, atol=1e-5)
    events = people(landing, summary.truth)
    item_numbers = {item: index for index, item in enumerate(items["item_id"])}
    user_numbers = {user: index for index, user in enumerate(listeners["user_id"])}
    users = np.array([user_numbers[user] for user in events["user_id"].to_pylist()])
    plays = np.bincount([item_numbers[item] for item in events["item_id"].to_pylist()], minlength=len(item_numbers))
    predicted = tastes[users].sum(axis=0) @ shares.T
    limits = pq.read_table(
        landing / "items" / "items.parquet", columns=["markets", "available_from", "available_until"]
    )
    free = np.array([not any(row.values()) for row in limits.to_pylist()])
    assert np.corrcoef(plays[free], predicted[free])[0, 1] > 0.99


def test_knowing_the_tastes_beats_knowing_what_is_popular(service: tuple[Path, SimulationSummary]) -> None:
    landing, summary = service
    listeners = pq.read_table(summary.truth / "listeners.parquet").to_pydict()
    items = pq.read_table(summary.truth / "items.parquet").to_pydict()
    scores = np.array(listeners["factors"]) @ np.array(items["factors"]).T
    popular = set(np.argsort(-np.array(items["popularity"]))[:20])
    best = [set(row) for row in np.argpartition(-scores, 20, axis=1)[:, :20]]
    item_numbers = {item: index for index, item in enumerate(items["item_id"])}
    user_numbers = {user: index for index, user in enumerate(listeners["user_id"])}
    events = people(landing, summary.truth)
    heard = [
        (user_numbers[user], item_numbers[item])
        for user, item in zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True)
    ]
    hits_by_taste = sum(item in best[user] for user, item in heard)
    hits_by_popularity = sum(item in popular for _, item in heard)
    assert hits_by_taste > 1.8 * hits_by_popularity


def test_one_listener_and_one_item_are_a_service_too(tmp_path: Path) -> None:
    summary = simulate(tmp_path / "landing", 1, 1, 2, seed=1, start=START, corruption=0.0)
    assert set(summary.kinds) == {"listens"}


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        ({"listeners": 0}, "listeners"),
        ({"items": 0}, "items"),
        ({"nights": 0}, "nights"),
        ({"seed": -1}, "seed"),
        ({"corruption": 1.5}, "dirt"),
    ],
)
def test_a_number_out_of_range_is_a_settings_error_that_names_it(
    tmp_path: Path, wrong: dict[str, int], option: str
) -> None:
    arguments = {"listeners": 1, "items": 1, "nights": 1, "seed": 1, "corruption": 0} | wrong
    with pytest.raises(UsageError, match=option):
        simulate(tmp_path / "landing", start=START, **arguments)
    assert not (tmp_path / "landing").exists()


def test_progress_is_told_after_each_block(tmp_path: Path) -> None:
    progress: list[tuple[int, int]] = []
    simulate(
        tmp_path / "landing", 5, 5, 2, seed=1, start=START, progress=lambda done, total: progress.append((done, total))
    )
    assert progress == [(1, 2), (2, 2)]
