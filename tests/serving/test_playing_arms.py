"""Arms of what comes next: whose weights answer whom, and where the answers of two arms differ."""

from collections.abc import Callable, Iterator, Mapping
from math import log2, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nocturne.serving.cache import Cache, open_cache
from nocturne.serving.cache.rows import ServedRow
from nocturne.serving.cache.served_items import ServedItems, write_items
from nocturne.serving.now_playing import Answer, Filters, nightly_list, now_playing
from nocturne.serving.reader import Reader, Served
from tests.fixtures.served_world import ARMS, ITEMS, LISTENERS, WEIGHTS, in_arm, items_table, serve_world

MEMBERS = {name: in_arm("ann", f"mix/{name}") for name in ("control", "bold", "calm")}
OTHERS = {"elsewhere": in_arm("ann", "lists/control"), "held back": in_arm("ann", "holdback/holdback")}


@pytest.fixture
def served(cache: Cache) -> Iterator[Served]:
    serve_world(cache, listeners={**LISTENERS, **MEMBERS, **OTHERS}, arms=ARMS)
    reader = Reader(cache)
    yield reader.served()
    reader.close()


def ids(answer: Answer) -> list[str]:
    return [ITEMS[suggestion.number] for suggestion in answer.suggestions]


def after_ash(served: Served, user_id: str, filters: Filters | None = None) -> Answer:
    return now_playing(served.items, served.row(user_id), "ash", [], filters or Filters(limit=4))


def test_an_arm_is_answered_by_its_own_weights(served: Served):
    # dew is the second of what is popular, and related by .25; cob is liked by .5/.9 and fits by .71
    bold = after_ash(served, "bold")
    assert ids(bold) == ["bay", "fir", "dew", "cob"]
    assert bold.suggestions[2].score == pytest.approx(0.5 * 0.25 + 1.0 / log2(3), rel=1e-6)
    assert bold.arm == "mix/bold"
    calm = after_ash(served, "calm")
    assert ids(calm) == ["bay", "fir", "cob", "dew"]
    assert calm.suggestions[2].score == pytest.approx(0.5 / 0.9 * (0.5 + sqrt(0.5)) + 0.1 * 0.5 / 0.9, rel=1e-6)


@pytest.mark.parametrize("playing", ["ash", "dew", "hop", "no such item", None])
def test_control_is_answered_as_who_is_in_no_experiment(served: Served, playing: str | None):
    plain, control = (
        now_playing(served.items, served.row(user_id), playing, ["cob"], Filters(limit=9))
        for user_id in ("ann", "control")
    )
    assert control.differences is not None
    assert control._replace(arm="control", differences=None) == plain


@pytest.mark.parametrize("user_id", ["ann", "cec", "elsewhere", "held back", "nobody"])
def test_nothing_is_compared_for_anybody_else(served: Served, user_id: str):
    assert after_ash(served, user_id).differences is None


@pytest.mark.parametrize("user_id", ["elsewhere", "held back"])
def test_arms_of_other_experiments_are_answered_as_everyone_is(served: Served, user_id: str):
    assert after_ash(served, user_id).suggestions == after_ash(served, "ann").suggestions


def test_the_first_place_at_which_two_arms_differ_is_known_whichever_is_shown(served: Served):
    assert after_ash(served, "control").differences == {"bold": 3, "calm": None}
    assert after_ash(served, "bold").differences == {"bold": 3}
    assert after_ash(served, "calm").differences == {"calm": None}


def test_what_is_not_shown_differs_nowhere(served: Served):
    assert after_ash(served, "bold", Filters(limit=3)).differences == {"bold": 3}
    assert after_ash(served, "bold", Filters(limit=2)).differences == {"bold": None}
    assert after_ash(served, "bold", Filters(explicit=False)).differences == {"bold": 2}  # fir is explicit


def test_a_nightly_list_is_the_same_by_all_weights(served: Served):
    row = served.row("control")
    assert row is not None
    for answer in (
        nightly_list(served.items, row, Filters(limit=2)),
        nightly_list(served.items, row, Filters(limit=9)),
        now_playing(served.items, row, "no such item", [], Filters()),
    ):
        assert answer.differences == {"bold": None, "calm": None}


@pytest.fixture(scope="module")
def items_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Mapping[str, float]], ServedItems]:
    """The items of a generation in which the bold have some weights."""
    path = tmp_path_factory.mktemp("items") / "items.arrow"

    def write(bold: Mapping[str, float]) -> ServedItems:
        path.unlink(missing_ok=True)  # the one before stays mapped
        write_items(items_table(WEIGHTS, ARMS["arm_weights"] | {"mix/bold": bold}, ARMS["counterparts"]), str(path))
        return ServedItems(path)

    return write


def test_another_reason_for_the_same_item_is_a_difference(
    served: Served, items_of: Callable[[Mapping[str, float]], ServedItems]
):
    # bay fits ash by .994, and is liked by 1: only what is heard after ash makes it go with ash
    items = items_of(WEIGHTS | {"related_weight": 0.0})
    control, bold = (now_playing(items, served.row(name), "ash", [], Filters(limit=4)) for name in ("control", "bold"))
    assert ids(control) == ids(bold) == ["bay", "fir", "cob", "dew"]
    assert [answer.suggestions[0].why for answer in (control, bold)] == ["goes with Ash", "for you"]
    assert control.differences == {"bold": 1, "calm": None}
    assert bold.differences == {"bold": 1}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, ServedRow]:
    """The listeners of the world, by id."""
    with open_cache(f"lmdb:{tmp_path_factory.mktemp('rows') / 'cache'}") as cache:
        serve_world(cache)
        reader = Reader(cache)
        found = {user_id: reader.served().row(user_id) for user_id in LISTENERS}
        reader.close()
    return {user_id: row for user_id, row in found.items() if row}


weight = st.floats(0, 4)
weights = st.fixed_dictionaries(dict.fromkeys(WEIGHTS, weight) | {"recent_decay": st.floats(0, 1)})


@given(
    bold=weights | st.sampled_from([WEIGHTS]),
    user_id=st.sampled_from(sorted(LISTENERS)),
    playing=st.sampled_from(ITEMS),
    recent=st.lists(st.sampled_from(ITEMS), max_size=3),
    filters=st.builds(Filters, limit=st.integers(1, 8), explicit=st.booleans(), allow_heard=st.booleans()),
)
def test_both_sides_tell_where_what_each_is_shown_first_differs(
    items_of: Callable[[Mapping[str, float]], ServedItems],
    rows: Mapping[str, ServedRow],
    bold: Mapping[str, float],
    user_id: str,
    playing: str,
    recent: list[str],
    filters: Filters,
):
    items, row = items_of(bold), rows[user_id]
    control, treated = (
        now_playing(items, row._replace(kind=row.kind._replace(arm=label)), playing, recent, filters)
        for label in ("mix/control", "mix/bold")
    )
    pairs = zip(control.suggestions, treated.suggestions, strict=True)
    unlike = [(one.number, one.why) != (other.number, other.why) for one, other in pairs]
    first = unlike.index(True) + 1 if any(unlike) else None
    assert control.differences is not None
    assert control.differences["bold"] == first
    assert treated.differences == {"bold": first}
