"""Rolling nights on a service of two tastes, of which everything is known."""

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from nocturne.cli.main import app
from nocturne.core.errors import UsageError
from nocturne.core.settings import with_values
from nocturne.evaluation import systems
from nocturne.evaluation.backtest import compare_models, run_backtest
from nocturne.evaluation.held_out import ListeningHistory, nights_between, read_held_out
from nocturne.evaluation.systems import baseline_system, model_system, published_lists_system, recipe_system
from nocturne.storage.warehouse import with_stored_settings
from nocturne.training import registry
from nocturne.training.hold_out import are_asked
from tests.fixtures import two_listeners
from tests.fixtures.two_tastes import (
    FIRST,
    ITEMS,
    LISTENERS,
    heard_by,
    heard_on,
    item,
    listen,
    listens,
    perfect_lists,
    publish,
    train,
    user,
    write,
)

pytestmark = pytest.mark.slow

K = 4


@pytest.fixture
def nights(night):
    return write(night)


def test_relevant_is_what_is_heard_in_the_days_after_and_was_not_before(nights):
    held_out = read_held_out(nights[0], days=2)
    assert held_out.user_ids.to_pylist() == [user(listener) for listener in range(LISTENERS)]
    for listener in range(LISTENERS):
        relevant = {held_out.item_ids[place].as_py() for place in held_out.relevant[listener].indices}
        assert relevant == set(perfect_lists(0)[user(listener)])
        heard = {held_out.item_ids[place].as_py() for place in held_out.requests.heard[listener].indices}
        assert heard == {item(each) for each in heard_by(listener, 0)}


def test_items_keep_their_numbers_where_an_earlier_night_was_made_again_after_later_ones(night):
    nights = write(night, made_again=True)
    held_out = read_held_out(nights[0], days=2)
    for listener in range(LISTENERS):
        relevant = {held_out.item_ids[place].as_py() for place in held_out.relevant[listener].indices}
        assert relevant == set(perfect_lists(0)[user(listener)])
        heard = {held_out.item_ids[place].as_py() for place in held_out.requests.heard[listener].indices}
        assert heard == {item(each) for each in heard_by(listener, 0)}
    assert held_out.listable == ITEMS, "nobody had heard by the night what is numbered before some of its items"


def test_every_system_is_scored_where_an_earlier_night_was_made_again_after_later_ones(night):
    nights = write(night, made_again=True)
    publish(nights[1], perfect_lists(1))
    history, settings = ListeningHistory.read(nights[1]), nights[1].settings
    compared = [published_lists_system(), model_system(train(nights[1]), "model"), recipe_system("recipe", settings)]
    compared += [baseline_system(name, history, None) for name in ("popular", "item-knn", "ease", "implicit-als")]
    result = run_backtest(nights[1:2], compared, "published", history, days=2, top_k=K)
    means = result.means(f"recall@{K}")
    assert means["published"] == 1.0
    assert min(means[name] for name in ("model", "recipe", "item-knn")) > means["popular"]
    assert (result.nights[0].lists["model"] == result.nights[0].lists["recipe"]).all()


def test_who_hears_nothing_new_is_not_scored(nights):
    assert read_held_out(nights[4], days=1).user_ids.to_pylist() == []


def test_late_listens_count_on_the_day_they_were_heard(nights):
    # What the first listener hears on the last two nights alone.
    heard_by_then, heard_again, heard_the_day_after, heard_at_first = (item(each) for each in (4, 3, 2, 1))
    ingested = {
        1: [listen(nights[1], 0, heard_by_then, 1), listen(nights[1], 0, heard_again, 1)],
        2: [listen(nights[2], 0, heard_the_day_after, 1), listen(nights[2], 0, heard_at_first, 2)],
    }
    ingested[1].append(listen(nights[1], 0, heard_again))
    ingested[2].append(listen(nights[2], 0, heard_at_first))
    for offset, extra in ingested.items():
        two_listeners.write(nights[offset], "listens", [*listens(offset, nights[offset]), *extra])

    def relevant(night, days):
        held_out = read_held_out(night, days)
        return {held_out.item_ids[place].as_py() for place in held_out.relevant[0].indices}

    assert relevant(nights[0], days=1) == {item(each) for each in heard_on(0, 1)} | {heard_the_day_after}
    assert relevant(nights[0], days=2) == {*perfect_lists(0)[user(0)], heard_the_day_after}
    assert relevant(nights[1], days=1) == {item(each) for each in heard_on(0, 2)}
    let_back = nights[0].settings.ranking.model_copy(update={"let_back_after_days": 1})
    back = nights[1].with_settings(nights[0].settings.model_copy(update={"ranking": let_back}))
    assert relevant(back, days=1) == {item(each) for each in heard_on(0, 2)} | {heard_at_first}


def test_what_is_popular_of_late_is_what_was_heard_of_late_whenever_it_was_ingested(nights):
    two_listeners.write(nights[1], "listens", [*listens(1, nights[1]), listen(nights[1], 0, item(1), 2)])
    history, held_out = ListeningHistory.read(nights[1]), read_held_out(nights[1], days=1)
    assert history.plays(held_out)[0, 1] == 1
    assert history.plays(held_out, days=2)[0, 1] == 0


def test_what_may_be_listed_again_is_relevant_again(nights):
    ranking = nights[4].settings.ranking.model_copy(update={"let_back_after_days": 2})
    settings = nights[4].settings.model_copy(update={"ranking": ranking})
    held_out = read_held_out(nights[4].with_settings(settings), days=1)
    relevant = [set(held_out.relevant[listener].indices.tolist()) for listener in range(LISTENERS)]
    assert relevant == [set(heard_on(listener, 5)) for listener in range(LISTENERS)]
    still_filtered = set(held_out.requests.heard[0].indices.tolist())
    assert still_filtered == set(heard_on(0, 3) + heard_on(0, 4))


def test_plays_are_those_up_to_the_night_and_of_the_last_days_where_asked(nights):
    history, held_out = ListeningHistory.read(nights[5]), read_held_out(nights[2], days=1)
    assert history.plays(held_out)[0].indices.tolist() == heard_by(0, 2)
    assert history.plays(held_out, days=1)[0].indices.tolist() == sorted(heard_on(0, 2))


def test_perfect_lists_score_1_and_are_ahead_of_every_baseline_with_certainty(nights):
    for offset in (0, 1):
        publish(nights[offset], perfect_lists(offset))
    history = ListeningHistory.read(nights[1])
    compared = [published_lists_system(), *(baseline_system(name, history, None) for name in ("popular", "item-knn"))]
    result = run_backtest(nights[:2], compared, "published", history, days=2, top_k=K)
    everyone = [row for row in result.differences if row.segment == "all" and row.metric == f"ndcg@{K}"]
    assert {row.system for row in everyone} == {"popular", "item-knn"}
    for row in everyone:
        assert row.against_mean == 1.0
        assert row.listeners == LISTENERS
        assert row.high < 0
    assert result.best_baseline == "item-knn"
    assert result.remarks == []


def test_segments_are_sizes_markets_and_content_types(nights):
    publish(nights[0], perfect_lists(0))
    history = ListeningHistory.read(nights[0])
    result = run_backtest(
        nights[:1], [published_lists_system(), baseline_system("popular", history, None)], "published", history, 2, K
    )
    listeners = {row.segment: row.listeners for row in result.differences}
    assert listeners == {
        "all": 40,
        "new, under 10 items": 40,
        "market NO": 20,
        "market SE": 20,
        "content type podcast_episode": 20,
        "content type track": 20,
    }


def test_a_model_is_not_scored_on_nights_before_it_was_trained(nights):
    for offset in (0, 1, 2):
        publish(nights[offset], perfect_lists(offset))
    history, model = ListeningHistory.read(nights[2]), train(nights[1])
    result = run_backtest(
        nights[:3], [published_lists_system(), model_system(model)], "published", history, days=1, top_k=K
    )
    assert [sorted(scored.lists) for scored in result.nights] == [
        ["published"],
        sorted(["published", model.version]),
        sorted(["published", model.version]),
    ]
    assert result.remarks == [f"{model.version} is left out: it was trained on 2025-03-02 (2025-03-01)"]


def test_a_recipe_ranks_as_the_model_that_it_trains(nights):
    model, history = train(nights[1]), ListeningHistory.read(nights[1])
    result = run_backtest(
        nights[1:2], [model_system(model, "model"), recipe_system("recipe", nights[1].settings)], "model", history, 1, K
    )
    [night] = result.nights
    assert night.lists["model"].tolist() == night.lists["recipe"].tolist()
    assert all(row.difference == row.low == row.high == 0 for row in result.differences)


def test_whom_a_race_may_have_asked_for_a_recipe_is_not_scored(nights):
    model, history = train(nights[1]), ListeningHistory.read(nights[1])
    compared = [model_system(model, "model", asked_share=0.3), baseline_system("popular", history, None)]
    result = run_backtest(nights[1:2], compared, "model", history, days=1, top_k=K)
    users = [user(listener) for listener in range(LISTENERS)]
    asked = np.array(users)[are_asked(pa.array(users), 0.3)].tolist()
    assert 0 < len(asked) < LISTENERS
    (night,) = result.nights
    assert night.held_out.user_ids.to_pylist() == [name for name in users if name not in asked]
    assert night.held_out.all_user_ids.to_pylist() == users, "baselines learn from them all the same"
    left_out = f"30.00% of listeners are left out: a race may have asked them for a recipe ({nights[1].run_date})"
    assert result.remarks == [left_out]


def test_a_race_asks_for_recipes_that_fit_themselves_and_for_the_model_of_published_lists(nights, monkeypatch):
    monkeypatch.setattr(systems, "FEWEST_ASKED", LISTENERS // 2)
    given = with_values(nights[1].settings, {"als.recipe": "settings"})
    shares = [recipe_system("recipe", each).asked_share(nights[1]) for each in (nights[1].settings, given)]
    assert shares == [0.5, 0.0]
    assert published_lists_system().asked_share(nights[1]) == 0.0
    two_listeners.write(nights[0], "models", [two_listeners.models(FIRST)[0] | {"race_share": 0.25}])
    assert published_lists_system().asked_share(nights[1]) == 0.25


def test_the_better_model_is_better_in_every_segment(nights):
    models = {"good": train(nights[1]), "bad": train(nights[1], alpha=1e-6, neighbours=0)}
    differences = compare_models(nights[1:3], models, against="bad", days=1, top_k=K).differences
    assert {row.system for row in differences} == {"good"}
    assert all(row.difference >= 0 for row in differences if row.metric == f"recall@{K}")
    assert all(row.mean > 0.3 for row in differences if row.metric == f"recall@{K}")


def test_models_are_not_compared_on_nights_before_they_were_trained(nights):
    with pytest.raises(UsageError, match="no night on which the models can be compared"):
        compare_models(nights[:1], {"a": train(nights[0]), "b": train(nights[1])}, against="a", days=1)


def test_a_night_without_the_days_after_it_is_left_out(nights):
    scorable, left_out = nights_between(nights[0].warehouse, FIRST, FIRST + timedelta(days=5), days=2, every=1)
    assert [night.run_date for night in scorable] == [FIRST + timedelta(days=offset) for offset in range(4)]
    assert left_out == [FIRST + timedelta(days=4), FIRST + timedelta(days=5)]


def test_what_the_gate_closed_on_is_neither_scored_nor_taken_for_true(nights):
    failed = {"expectation": "rows", "severity": "critical", "outcome": "failed", "limit": ">= 1"}
    measured = {"run_date": nights[1].run_date, "observed": 0.0, "seconds": 0.1, "content": "c", "files": "f"}
    two_listeners.write(nights[1], "validations", [failed | measured | {"table": "listens"}])
    assert read_held_out(nights[0], days=1).user_ids.to_pylist() == []
    assert nights[1].run_date not in ListeningHistory.read(nights[2]).listens["run_date"].to_pylist()
    scorable, _ = nights_between(nights[0].warehouse, FIRST, FIRST + timedelta(days=2), days=1, every=1)
    assert [night.run_date for night in scorable] == [nights[0].run_date, nights[2].run_date]


def test_the_half_life_is_the_one_that_the_warehouse_was_made_with(night):
    made = night(FIRST, "interactions.half_life_days=7", "tables.buckets=3")
    asked = made.with_settings(made.settings.model_copy(update={"interactions": made.settings.interactions}))
    assert with_stored_settings(asked.warehouse).settings.interactions.half_life_days == 7
    assert with_stored_settings(asked.warehouse).settings.tables.buckets == 3


def nocturne(*arguments):
    return CliRunner().invoke(app, ["evaluate", "backtest", *map(str, arguments)])


def test_the_command_prints_every_difference_as_json(nights):
    publish(nights[0], perfect_lists(0))
    answer = nocturne(
        "--warehouse", nights[0].warehouse.path, "--from", FIRST, "--to", FIRST, "--days", 2, "--top-k", K,
        "--baseline", "popular", "--json",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    printed = json.loads(answer.stdout)
    assert (printed["against"], printed["best_baseline"], printed["nights"]) == ("published", "popular", ["2025-03-01"])
    assert {row["system"] for row in printed["differences"]} == {"popular"}
    assert printed["beyond_accuracy"]["published"]["coverage"] == 1.0


def test_a_stored_model_is_what_the_others_are_compared_with_and_the_report_is_written(nights, tmp_path):
    publish(nights[1], perfect_lists(1))
    trained = registry.train(nights[1], nights[1].settings.als)
    version = registry.add(nights[1].warehouse, trained, origin="tune", actor="a test", reason="to be scored")
    report = tmp_path / "reports" / "backtest.html"
    answer = nocturne(
        "--warehouse", nights[0].warehouse.path, "--from", FIRST, "--to", nights[2].run_date, "--days", 1, "--top-k", K,
        "--model", version[-8:], "--baseline", "none", "--report", report,
    )  # fmt: skip
    assert answer.exit_code == 0, answer.stderr
    assert f"intervals (95 %) are of the difference to {version}" in answer.stdout
    assert f"published is left out: the night has no lists ({FIRST} and 1 more)" in answer.stderr
    assert f"{version} is left out: it was trained on {nights[1].run_date} ({FIRST})" in answer.stderr
    assert "No baseline was asked for." in report.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--from", "2024-01-01", "--to", "2024-01-02"), "no night in this range can be scored"),
        (("--from", "2025-03-06", "--to", "2025-03-06", "--days", 1), "nothing was listened to after the range"),
        (("--from", FIRST, "--to", FIRST, "--days", 1, "--model", "als-none"), "no such model"),
        (("--from", FIRST, "--to", FIRST, "--days", 1, "--baseline", "svd"), "no such baseline"),
        (("--from", FIRST, "--to", FIRST, "--days", 1, "--baseline", "none"), "there is nothing to score"),
    ],
)
def test_what_cannot_be_scored_is_status_2_and_says_why(nights, options, message):
    answer = nocturne("--warehouse", nights[0].warehouse.path, *options)
    assert answer.exit_code == 2
    assert message in answer.stderr
