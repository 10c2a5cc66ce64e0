"""The page of a backtest: whole in itself, the same every time, and what it says of whom."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from nocturne.evaluation.backtest import backtest
from nocturne.evaluation.held_out import Past
from nocturne.evaluation.report import examples, hashed, page, verdict, worst_served
from nocturne.evaluation.systems import of_baseline, published
from tests.evaluation.test_backtest import perfect
from tests.fixtures.two_tastes import item, publish, user, write


@pytest.fixture
def found(night):
    """Two nights with perfect lists for everyone but listener 7, who gets nothing right."""
    nights = write(night)[:2]
    for offset, each in enumerate(nights):
        of_the_other_taste = [item(15), item(16)]
        publish(each, perfect(offset) | {user(7): of_the_other_taste})
    past = Past.of(nights[-1])
    systems = [published(), *(of_baseline(name, past, None) for name in ("popular", "item-knn"))]
    return backtest(nights, systems, "published", past, days=2, top_k=4)


def test_the_page_fetches_nothing_and_is_the_same_every_time(found):
    text = page(found)
    assert text == page(found)
    assert re.findall(r"<(?:script|link|img|iframe|image)\b|@import|url\((?!#)", text) == []
    assert {each for each in re.findall(r'href="([^"]*)"', text) if not each.startswith("#")} == set()
    assert text.count("<svg") == 3


def test_the_worst_served_listener_is_named_by_a_hash_only(found):
    worst = worst_served(found)[0]
    assert (worst["listener"], worst["market"], worst["hits"], worst["ndcg"]) == (hashed(user(7)), "SE", 0, 0.0)
    assert worst["relevant"] == 8
    assert user(7) not in page(found)


def test_examples_show_the_titles_that_were_listed_and_then_heard(found):
    best, _, worst = examples(found)
    assert best["ndcg"] == 1.0
    assert all(each["heard"] for each in best["listed"])
    assert [each["title"] for each in worst["listed"]] == ["Title 15", "Title 16"]
    assert not any(each["heard"] for each in worst["listed"])
    assert worst["listener"] == hashed(user(7))


def test_the_verdict_names_the_best_baseline(found):
    assert verdict(found).startswith(f"published is ahead of the best baseline, {found.best_baseline}: NDCG@4 0.9750")


def test_a_title_is_text_and_no_markup(found):
    night = found.nights[-1]
    catalogue = night.held_out.catalogue
    titles = pa.array(["<b>bold</b>"] * catalogue.num_rows)
    changed = catalogue.set_column(catalogue.column_names.index("title"), "title", titles)
    text = page(replace(found, nights=(replace(night, held_out=replace(night.held_out, catalogue=changed)),)))
    assert "<b>bold</b>" not in text
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
