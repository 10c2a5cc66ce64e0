"""Rules as bitmaps: the same items as the reading of them one by one, for every catalogue, plan and listener."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from nocturne.steering.bitmaps import obeying
from nocturne.steering.conditions import Rule
from nocturne.steering.contradictions import contradictions
from nocturne.steering.obedience import broken_rules
from nocturne.steering.plan import Plan
from tests.fixtures.random_generations import PLANS, RULES, WORLDS, World

NOBODY = np.zeros(0, np.int32)


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(base=WORLDS, rules=st.tuples(RULES, RULES), kinds=st.sampled_from(["only only", "only never"]))
def test_what_contradicts_itself_leaves_no_item_of_any_catalogue(base: World, rules: tuple[Rule, Rule], kinds: str):
    one, other = rules
    plan = Plan(only=(one, other)) if kinds == "only only" else Plan(only=(one,), never=(other,))
    assume(contradictions(plan))
    heard = base.listeners[0].heard
    obeyed = obeying(plan, base.items.fields, heard, base.items.may_list, base.items.may_list("SE"))
    assert not obeyed.allowed.any()


@settings(deadline=None)
@given(base=WORLDS, plan=PLANS, listener=st.sampled_from([0, 3]))
def test_bitmaps_and_the_reading_of_each_item_agree(base: World, plan: Plan, listener: int):
    items, row = base.items, base.listeners[listener]
    heard = NOBODY if row is None else row.heard
    listed = items.may_list("SE")
    obeyed = obeying(plan, items.fields, heard, items.may_list, listed)
    heard_ids = {items.describe(number).item_id for number in heard.tolist()}
    read = [
        bool(listed[number])
        and not broken_rules(
            plan, items.fields.facts([number])[0], heard_ids, lambda market, n=number: bool(items.may_list(market)[n])
        )
        for number in range(len(items))
    ]
    assert obeyed.allowed.tolist() == read
    assert len(obeyed.rules) == len(plan.only) + len(plan.never)
    for receipt in obeyed.rules:
        assert 0 <= receipt.removed <= np.count_nonzero(listed)
    removed = np.count_nonzero(listed) - np.count_nonzero(obeyed.allowed)
    most = max((receipt.removed for receipt in obeyed.rules), default=0)
    assert most <= removed <= sum(receipt.removed for receipt in obeyed.rules)
