"""Drafted lists held against the two lists that they were drafted from, by the rules of a draft."""

from typing import Any

Row = dict[str, Any]


def is_drafted(row: Row, lists: dict[str, list[str]]) -> bool:
    """True if a list is what two teams in turn could pick from their own lists.

    Args:
        row: of `arm_lists`, of the arm interleaved.
        lists: items of each arm's own list, best first.
    """
    items, teams = [entry["item_id"] for entry in row["items"]], row["teams"]
    if teams is None or len(teams) != len(items) or len(set(items)) != len(items) or {*teams} - {*lists, None}:
        return False
    picked: set[str] = set()
    sizes = dict.fromkeys(lists, 0)
    for place, (item, team) in enumerate(zip(items, teams, strict=True)):
        left = {arm: next((each for each in own if each not in picked), None) for arm, own in lists.items()}
        if team is None:
            # Only when a team has nothing more to pick does the rest of the other list follow.
            sound = None in left.values() and item in left.values() and not any(teams[place:])
        else:
            sizes[team] += 1
            sound = item == left[team] and max(sizes.values()) - min(sizes.values()) <= 1
        if not sound:
            return False
        picked.add(item)
    return True
