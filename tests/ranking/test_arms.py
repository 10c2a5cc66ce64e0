"""Arms: dealt by salted hashes, evenly, each experiment anew; and where the lists of two arms differ."""

from datetime import date

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from nocturne.core.experiment import SLOTS, parse_experiment
from nocturne.ranking.arms import HELD_BACK, Cell, Layer, compare_lists, replace_rows
from nocturne.validation.profiles.dealt_arms import DealtArms

SUCCESS = {"minutes": {"role": "success", "measure": "minutes", "minimum_effect": 0.02}}


def experiment(name="one", first_slot=0, slots=400, weights=(1, 1), **values):
    arms = {"control" if not number else f"arm-{number}": {"weight": weight} for number, weight in enumerate(weights)}
    given = {"hypothesis": "h", "start": date(2025, 1, 1), "end": date(2025, 1, 7), "salt": name, "looks": [7]}
    place = {"first_slot": first_slot, "slots": slots}
    metrics = {"played": SUCCESS["minutes"] | {"measure": "list_plays"}} if "kind" in values else SUCCESS
    return parse_experiment(name, given | place | {"arms": arms, "metrics": metrics} | values)


def ids(count, prefix=""):
    return pa.array([f"{prefix}{number}" for number in range(count)])


def even(counts, shares):
    """True unless counts are as far from their shares as one of a million fair ones."""
    expected = np.array(shares) / np.sum(shares) * np.sum(counts)
    return ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-6, len(counts) - 1)


def test_ten_million_listeners_are_dealt_evenly_to_slots_and_arms():
    layer = Layer("layer", 0.1, (experiment(slots=250, weights=(1, 2, 1)), experiment("two", 250, 500)))
    codes = layer.assign(pa.array(np.arange(10_000_000)).cast(pa.string()))
    counts = np.bincount(codes + 1, minlength=len(layer.cells) + 1)
    assert even(counts, [0.9 * 250, 100, 0.9 * 125, 0.9 * 62.5, 0.9 * 62.5, 0.9 * 250, 0.9 * 250])


def test_the_next_experiment_on_the_same_slots_deals_its_listeners_anew():
    layers = [Layer("layer", 0.0, (experiment(name, slots=1000),)) for name in ("one", "two")]
    first, second = (layer.assign(ids(100_000)) - 1 for layer in layers)
    both = np.bincount(2 * first + second, minlength=4)
    assert even(both, [1, 1, 1, 1])


def test_a_listener_keeps_their_arm_whoever_else_there_is_and_whatever_else_runs():
    alone, beside = experiment(), experiment("two", 400, 600)
    codes = Layer("layer", 0.2, (alone,)).assign(ids(5_000))
    more = Layer("layer", 0.2, (alone, beside)).assign(ids(5_000).take(pa.array([7, 4_000, 12])))
    kept = codes[[7, 4_000, 12]] >= 0
    assert more[kept].tolist() == codes[[7, 4_000, 12]][kept].tolist()


def test_the_holdback_is_dealt_first_and_larger_ones_contain_smaller_ones():
    layers = [Layer("layer", share, (experiment(slots=1000),)) for share in (0.0, 0.1, 0.3)]
    held_back = [layer.assign(ids(20_000)) == 0 for layer in layers]
    assert not held_back[0].any()
    assert (held_back[2] >= held_back[1]).all()
    assert layers[0].cells[0] == HELD_BACK


def test_every_listener_outside_the_holdback_is_in_an_experiment_that_has_all_slots():
    assert (Layer("layer", 0.0, (experiment(slots=SLOTS),)).assign(ids(50_000)) >= 0).all()


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8), st.sampled_from([0.0, 0.013, 0.5]))
def test_listeners_are_dealt_as_the_rules_written_a_second_time_say(layer_salt, salt, share):
    running = (
        experiment(slots=333, weights=(1, 0.3, 2.2), salt=salt),
        experiment("two", 333, 500, kind="interleaving", salt=salt),
    )
    layer = Layer(layer_salt, share, running)
    dealt = DealtArms(layer_salt, int(np.ceil(share * 2.0**53)), "", running)
    users = ids(500, layer_salt)
    cells = [Cell("", "") if code < 0 else layer.cells[code] for code in layer.assign(users)]
    assert [tuple(cell) for cell in cells] == [dealt.names[code] for code in dealt.codes(users)]


def lists(*rows):
    kind = pa.list_(pa.struct([("item_id", pa.string()), ("score", pa.float64())]))
    return pa.array([[{"item_id": item, "score": 0.0} for item in row] for row in rows], kind)


def test_lists_differ_at_the_first_place_where_they_do():
    one = lists("abc", "abc", "abc", "", "ab", "")
    other = lists("abc", "acb", "xyz", "", "abc", "a")
    first, shared = compare_lists(one, other)
    assert first.to_pylist() == [None, 2, 1, None, 3, 1]
    assert shared.tolist() == [3, 3, 0, 0, 2, 0]


def test_comparing_empty_lists_alone_gives_no_difference():
    first, shared = compare_lists(lists("", ""), lists("", ""))
    assert (first.to_pylist(), shared.tolist()) == ([None, None], [0, 0])


def test_rows_of_an_arm_take_the_places_of_its_listeners():
    rows = pa.table({"user_id": ["a", "b", "c"], "list": [1, 2, 3]})
    others = pa.table({"list": [20, 30], "user_id": ["b", "c"]})
    assert replace_rows(rows, np.array([1, 2]), others)["list"].to_pylist() == [1, 20, 30]


def test_lists_are_labelled_by_experiment_and_arm():
    assert [cell.label for cell in Layer("s", 0.1, (experiment(),)).cells] == [
        *("holdback/holdback", "one/arm-1", "one/control")
    ]


def test_the_salt_of_the_layer_is_not_that_of_an_experiment_though_they_be_the_same():
    codes = Layer("nocturne", 0.5, (experiment(salt="nocturne"),)).assign(ids(50_000))
    assert even(np.bincount(codes[codes > 0])[1:], [1, 1])


def test_the_order_of_arms_in_the_file_moves_nobody():
    one = experiment(weights=(1, 2))
    turned = one.model_copy(update={"arms": dict(reversed(one.arms.items()))})
    layers = [Layer("layer", 0.0, (each,)) for each in (one, turned)]
    arms = [[layer.cells[code].arm for code in layer.assign(ids(2_000)) if code >= 0] for layer in layers]
    assert arms[0] == arms[1]
