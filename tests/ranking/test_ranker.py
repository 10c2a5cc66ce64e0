"""Lists: taste blocks get what they lack, everyone gets a list, and how rows are cut does not matter."""

import itertools
import pickle
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from nocturne.core.settings import load_settings
from nocturne.ingestion.interactions import UNIT
from nocturne.kernel.layout import lay_out_items
from nocturne.ranking.eligibility import Markets
from nocturne.ranking.ranker import Ranker
from nocturne.ranking.spark_tasks import cut, one_blas_thread
from nocturne.ranking.stats import RankingStats
from nocturne.storage.contracts import contract
from nocturne.training.als import train
from nocturne.training.model import Model

HALF_LIFE = 10.0
NIGHT = date(1970, 1, 21)
PERIOD = 2
Heard = dict[str, dict[int, float]]


def rows(heard: Heard, market: str | None = "SE", last_heard: date = NIGHT) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(
        {
            "bucket": pa.array([0] * len(heard), pa.int32()),
            "user_id": pa.array(list(heard)),
            "market": pa.array([market] * len(heard), pa.string()),
            "period": pa.array([PERIOD] * len(heard), pa.int32()),
            "item_indexes": pa.array([sorted(items) for items in heard.values()], pa.list_(pa.int32())),
            "play_sums": pa.array([[int(items[i] * UNIT) for i in sorted(items)] for items in heard.values()]),
            "second_sums": pa.array([[0 for _ in items] for items in heard.values()]),
            "last_heard": pa.array([[last_heard for _ in items] for items in heard.values()], pa.list_(pa.date32())),
            "recent_items": pa.array([list(items) for items in heard.values()], pa.list_(pa.int32())),
            "digest": pa.array([f"{sorted(items.items())}" for items in heard.values()]),
        }
    )


BLOCKS: Heard = {
    f"u{user:02d}": {item: 3.0 for item in range(user % 2, 8, 2) if item != user % 8} for user in range(16)
}
"""Even listeners hear even items, odd ones odd items; each has one item of the block withheld."""


def learned(heard: Heard = BLOCKS, items: int = 8, market: str | None = "SE") -> Model:
    als = load_settings().als.model_copy(
        update={"factors": 2, "regularization": 0.5, "popularity_exponent": 0.0, "score_exponent": 0.0}
    )
    ids = pa.array([f"i{index}" for index in range(items)])
    return train([rows(heard, market)], ids, NIGHT, HALF_LIFE, als).model


def ranker(model: Model, markets: Markets | None = None, **changes: object) -> Ranker:
    ranking = load_settings().ranking.model_copy(update={"top_k": 3, "candidates": 1, "reserve": 2} | changes)
    everything = Markets({None: 0}, 0, np.ones((1, len(model.item_indexes)), dtype=bool), ("everything",))
    ids = np.argsort(np.argsort(model.item_ids.to_numpy(zero_copy_only=False)))
    laid_out = lay_out_items(model.factors, model.score_multipliers, ids)
    return Ranker(model, laid_out, markets or everything, None, NIGHT, ranking, audit_share=1.0)


def pools_before(batch: pa.RecordBatch, lists: dict[str, list[int]] | None = None) -> pa.Table:
    """Rows of `pools` beside the listeners: lists of item indexes of the night before, or nothing."""
    schema = pa.schema(field.with_nullable(True) for field in contract("pools").arrow_schema)
    rows = [
        {"source": "als", "items": items, "scores": [1.0 for _ in items], "listed": [*range(len(items))]}
        if (items := (lists or {}).get(user))
        else {}
        for user in batch.column("user_id").to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def ranked(
    made: Ranker, batch: pa.RecordBatch, previous: dict[str, list[int]] | None = None
) -> list[dict[str, object]]:
    stats = RankingStats()
    _, lists, _ = made.rank(batch, pools_before(batch, previous), stats)
    assert stats.mismatches == 0
    return lists.to_pylist()


def ids_of(row: dict[str, object]) -> list[str]:
    return [item["item_id"] for item in row["items"]]


def test_each_taste_block_is_recommended_its_own_withheld_item() -> None:
    for place, row in enumerate(ranked(ranker(learned()), rows(BLOCKS))):
        assert row["source"] == "als"
        assert ids_of(row)[0] == f"i{place % 8}"


def test_heard_items_are_left_out_and_scores_do_not_increase() -> None:
    for row in ranked(ranker(learned(), top_k=8), rows(BLOCKS)):
        assert not {f"i{item}" for item in BLOCKS[row["user_id"]]} & set(ids_of(row))
        assert len(ids_of(row)) == row["candidates"] == 5
        scores = [item["score"] for item in row["items"]]
        assert scores == sorted(scores, reverse=True)


def test_a_heard_item_is_let_back_after_the_set_days() -> None:
    week_ago = rows({"u": {0: 3.0, 2: 3.0}}, last_heard=date(1970, 1, 14))
    (kept_out,) = ranked(ranker(learned(), top_k=8, let_back_after_days=8), week_ago)
    (let_back,) = ranked(ranker(learned(), top_k=8, let_back_after_days=7), week_ago)
    assert "i0" not in ids_of(kept_out)
    assert {"i0", "i2"} <= set(ids_of(let_back))


def test_items_that_are_not_eligible_in_the_market_are_left_out() -> None:
    model = learned()
    masks = np.stack([np.zeros(8, dtype=bool), np.arange(8) >= 6])
    made = ranker(model, Markets({None: 0, "SE": 1}, 0, masks, ("nothing", "two")))
    (swede,) = ranked(made, rows({"u": {0: 1.0}}, "SE"))
    (stranger,) = ranked(made, rows({"u": {0: 1.0}}, "XX"))
    assert set(ids_of(swede)) == {"i6", "i7"}
    assert ids_of(stranger) == []


def test_a_listener_the_model_knows_nothing_of_gets_the_previous_list_without_what_was_heard_since() -> None:
    popular = {**BLOCKS, **{f"p{n}": {7: 1.0, 5: 1.0} for n in range(9)}}
    made = ranker(learned(popular))
    (row,) = ranked(made, rows({"new": {8: 1.0}}), {"new": [3, 99, 7, 1]})
    assert row["source"] == "previous"
    assert ids_of(row) == ["i3", "i7", "i1"]
    (short,) = ranked(made, rows({"new": {8: 1.0}}), {"new": [3]})
    assert ids_of(short)[0] == "i3"
    assert len(set(ids_of(short))) == 3


def test_the_previous_list_is_last_nights_in_its_order_whatever_the_order_of_the_pool() -> None:
    """The second stage orders lists; who is out of the model's reach the night after keeps that order."""
    rng = np.random.default_rng(1)
    heard = {f"u{user}": {int(item): 1.0 for item in rng.choice(30, 8, replace=False)} for user in range(40)}
    model, batch = learned(heard, items=30), rows(heard)
    pools, lists, _ = ranker(model, candidates=15).rank(batch, pools_before(batch), RankingStats())
    expected = {row["user_id"]: ids_of(row) for row in lists.to_pylist()}
    heads = {row["user_id"]: [f"i{item}" for item in row["items"][:3]] for row in pools.to_pylist()}
    assert expected != heads
    unknown = rows({user: {30: 1.0} for user in heard})
    carried_on, tonight, _ = ranker(model).rank(unknown, pools, RankingStats())
    assert {row["source"] for row in tonight.to_pylist()} == {"previous"}
    assert {row["user_id"]: ids_of(row) for row in tonight.to_pylist()} == expected
    _, once_more, _ = ranker(model).rank(unknown, carried_on, RankingStats())
    assert {row["user_id"]: ids_of(row) for row in once_more.to_pylist()} == expected


def test_without_a_previous_list_the_market_decides_and_then_everyone() -> None:
    model = learned({**BLOCKS, **{f"p{n}": {7: 1.0} for n in range(20)}})
    (swede,) = ranked(ranker(model), rows({"new": {8: 1.0}}, "SE"))
    (stranger,) = ranked(ranker(model), rows({"new": {8: 1.0}}, "XX"))
    assert (swede["source"], stranger["source"]) == ("market_popular", "global_popular")
    assert ids_of(swede)[0] == ids_of(stranger)[0] == "i7"
    assert swede["items"][0]["score"] == model.market_listeners["SE"].of(np.array([7]))[0]


def test_a_listener_who_has_heard_everything_gets_an_empty_list_and_breaks_nothing() -> None:
    everything = {"u": dict.fromkeys(range(8), 1.0), "v": {0: 1.0}}
    full, other = ranked(ranker(learned()), rows(everything))
    assert (ids_of(full), full["candidates"]) == ([], 0)
    assert len(ids_of(other)) == 3


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 39), max_size=5), memory=st.sampled_from([1, 256]))
def test_lists_do_not_depend_on_how_rows_are_cut_or_ordered_to_the_last_bit(
    seed: int, cuts: list[int], memory: int
) -> None:
    rng = np.random.default_rng(seed)
    heard = {
        f"u{user}": {
            int(item): float(rng.integers(1, 9)) for item in rng.choice(50, rng.integers(1, 12), replace=False)
        }
        for user in range(40)
    }
    model = learned(heard, items=50)
    together = ranked(ranker(model), rows(heard))
    order = rng.permutation(40)
    shuffled = pa.Table.from_batches([rows(heard)]).take(pa.array(order)).combine_chunks()
    edges = [0, *sorted(set(cuts)), 40]
    parts = [shuffled.slice(a, b - a).combine_chunks().to_batches()[0] for a, b in itertools.pairwise(edges)]
    apart = [row for part in parts for piece in cut(part, memory) for row in ranked(ranker(model), piece)]
    assert sorted(apart, key=lambda row: row["user_id"]) == sorted(together, key=lambda row: row["user_id"])


def test_a_worker_ranks_with_one_blas_thread() -> None:
    with one_blas_thread():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_a_huge_row_is_a_part_of_its_own_and_parts_keep_the_order() -> None:
    heard = {f"u{user}": dict.fromkeys(range(20000 if user == 2 else 1), 1.0) for user in range(5)}
    parts = list(cut(rows(heard), 1))
    assert [user for part in parts for user in part.column("user_id").to_pylist()] == list(heard)
    assert len(parts) > 1


def test_every_pool_is_proved_and_deeper_than_the_list() -> None:
    stats, batch = RankingStats(), rows(BLOCKS)
    pools, lists, _ = ranker(learned()).rank(batch, pools_before(batch), stats)
    assert (stats.listeners, stats.audited, stats.mismatches) == (16, 16, 0)
    for pool, row in zip(pools.to_pylist(), lists.to_pylist(), strict=True):
        assert [f"i{pool['items'][place]}" for place in pool["listed"]] == ids_of(row)
        assert len(pool["items"]) == 5 > len(pool["listed"]) == 3


def test_a_wrong_pool_that_is_carried_over_is_found() -> None:
    made, batch = ranker(learned()), rows(BLOCKS)
    pools, _, _ = made.rank(batch, pools_before(batch), RankingStats())
    wrong = pools.to_pylist()
    wrong[3]["items"] = wrong[3]["items"][::-1]
    stats = RankingStats()
    made.rank(batch, pa.Table.from_pylist(wrong, schema=pools.schema), stats)
    assert (stats.reasons["carried"], stats.mismatches) == (16, 1)


def test_ties_are_broken_by_item_id() -> None:
    twins = {f"u{user}": {0: 1.0, 1: 1.0, 2: 1.0} for user in range(4)} | {"v": {3: 1.0}}
    (row,) = ranked(ranker(learned(twins, items=4)), rows({"v": {3: 1.0}}))
    scores = {item["item_id"]: item["score"] for item in row["items"]}
    assert ids_of(row) == sorted(scores, key=lambda item: (-scores[item], item))


def test_popular_lists_are_worked_out_before_the_ranker_is_sent_and_keep_no_more_than_their_heads() -> None:
    everyone = {f"p{n}": dict.fromkeys(range(90), 1.0) for n in range(3)}
    sent = pickle.loads(pickle.dumps(ranker(learned(everyone, items=90)).prepare()))
    kept = sent.fallbacks.__dict__
    assert [len(head) for head in kept["heads"]] == [20 * 3]
    assert {market: len(order) for market, order in kept["local"].items()} == {"SE": 90}


@pytest.mark.parametrize("heard", [0, 57, 58, 60, 88, 89])
def test_whoever_heard_nearly_all_that_is_popular_gets_the_rest_of_it(heard: int) -> None:
    everyone = {f"p{n}": dict.fromkeys(range(90), 1.0) for n in range(3)}
    fallbacks = ranker(learned(everyone, items=90, market=None)).fallbacks
    already = fallbacks.everyone[:heard]
    positions, _, source = fallbacks.list_for(None, 0, already, np.zeros(0, np.int32))
    assert (positions.tolist(), source) == (fallbacks.everyone[heard : heard + 3].tolist(), "global_popular")
