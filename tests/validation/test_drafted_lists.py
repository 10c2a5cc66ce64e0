"""Drafts held against their two lists: picks in turn, each the best of its own list that is left."""

import pytest

from nocturne.validation.profiles.drafted_lists import is_drafted

LISTS = {"control": ["a", "b", "c"], "new": ["a", "c", "d"]}


def draft(items, teams):
    names = {"c": "control", "n": "new", "-": None}
    return {"items": [{"item_id": item} for item in items], "teams": [names[team] for team in teams]}


@pytest.mark.parametrize(
    ("items", "teams", "sound"),
    [
        ("acbd", "cncn", True),
        ("abcd", "ncnn", False),  # the fourth pick makes it three to one
        ("abcd", "nccn", True),
        ("acdb", "cn-c", False),  # control has b left, so that d is somebody's pick
        ("ab", "nc", True),
        ("ba", "cn", False),  # b was not the best of control's list
        ("abcd", "cnc", False),
        ("aa", "cn", False),
        ("acbde", "cncn-", False),  # nobody has e
        ("ab", "cx", False),
    ],
)
def test_a_draft_is_what_teams_in_turn_can_pick(items, teams, sound):
    names = {"x": "elsewhere"}
    row = draft(items, teams.replace("x", "-"))
    row["teams"] = [names.get(team, name) for team, name in zip(teams, row["teams"], strict=True)]
    assert is_drafted(row, LISTS) is sound


def test_the_rest_of_a_list_follows_when_the_other_team_has_no_more():
    lists = {"control": ["a"], "new": ["a", "b", "c"]}
    assert is_drafted(draft("abc", "cn-"), lists)
    assert not is_drafted(draft("acb", "cn-"), lists)
