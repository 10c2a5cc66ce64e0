"""The page of a backtest: whole in itself, the same every time, and what it says of whom."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from nocturne.evaluation.backtest import run_backtest
from nocturne.evaluation.held_out import ListeningHistory
from nocturne.evaluation.report import backtest_page, examples, hash_listener, verdict, worst_served
from nocturne.evaluation.systems import baseline_system, published_lists_system
from tests.fixtures.two_tastes import item, perfect_lists, publish, user, write


@pytest.fixture(scope="module")
def backtest(night_of_module):
    """Two nights with perfect lists for everyone but listener 7, who gets nothing right."""
    nights = write(night_of_module)[:2]
    for offset in range(2):
        of_the_other_taste = [item(15), item(16)]
        publish(nights[offset], perfect_lists(offset) | {user(7): of_the_other_taste})
    history = ListeningHistory.read(nights[-1])
    systems = [published_lists_system(), *(baseline_system(name, history, None) for name in ("popular", "item-knn"))]
    return run_backtest(nights, systems, "published", history, days=2, top_k=4)


def test_the_page_fetches_nothing_and_is_the_same_every_time(backtest):
    text = backtest_page(backtest)
    assert text == backtest_page(backtest)
    assert re.findall(r"<(?:script|link|img|iframe|image)\b|@import|url\((?!#)", text) == []
    assert {each for each in re.findall(r'href="([^"]*)"', text) if not each.startswith("#")} == set()
    assert text.count("<svg") == 3


def test_the_worst_served_listener_is_named_by_a_hash_only(backtest):
    worst = worst_served(backtest)[0]
    assert (worst["listener"], worst["market"], worst["hits"], worst["ndcg"]) == (hash_listener(user(7)), "SE", 0, 0.0)
    assert worst["relevant"] == 8
    assert user(7) not in backtest_page(backtest)


def test_examples_show_the_titles_that_were_listed_and_then_heard(backtest):
    best, _, worst = examples(backtest)
    assert best["ndcg"] == 1.0
    assert all(each["heard"] for each in best["listed"])
    assert [each["title"] for each in worst["listed"]] == ["Title 15", "Title 16"]
    assert not any(each["heard"] for each in worst["listed"])
    assert worst["listener"] == hash_listener(user(7))


def test_the_verdict_names_the_best_baseline(backtest):
    assert verdict(backtest).startswith(
        f"published is ahead of the best baseline, {backtest.best_baseline}: NDCG@4 0.9750"
    )


def test_a_title_is_text_and_no_markup(backtest):
    night = backtest.nights[-1]
    catalogue = night.held_out.catalogue
    titles = pa.array(["<b>bold</b>"] * catalogue.num_rows)
    changed = catalogue.set_column(catalogue.column_names.index("title"), "title", titles)
    text = backtest_page(
        replace(backtest, nights=(replace(night, held_out=replace(night.held_out, catalogue=changed)),))
    )
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
