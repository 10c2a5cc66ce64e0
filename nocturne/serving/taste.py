"""The account of listens that are not a listener's taste: which are kept out, and which cannot be any more. Pure.

A plan is taken in by the night after it is asked for. Then listens of earlier nights are taken out as far back as
retention keeps them; what older ones left is only in sums, and stays.
"""

from datetime import date
from typing import NamedTuple

from nocturne.ingestion.not_taste import as_text
from nocturne.serving.cache.served_items import Aside, ServedItems
from nocturne.steering.plan import Plan


class TasteReceipt(NamedTuple):
    """The account of one plan.

    Attributes:
        on_record_since: first night whose listens can still be taken out; None if those of all nights can.
        kept_out: listens that are kept out tonight, by what was asked for before.
        since: the night that took that in; None if nothing was asked for before.
        older: True if listens stayed in then, since retention no longer had them.
        in_words: what becomes of it, a sentence each.
    """

    on_record_since: date | None
    kept_out: int
    since: date | None
    older: bool
    in_words: tuple[str, ...]


def taste_receipt(items: ServedItems, user_id: str, plan: Plan) -> TasteReceipt | None:
    """The account of a plan for its listener; None if it changes nothing of what is learned from them."""
    before = items.set_aside(user_id)
    if not plan.lasts or not (plan.not_taste or before):
        return None
    since = items.on_record_since
    sentences = _of_request(since) if plan.not_taste else ()
    if before:
        sentences = (*_of_before(before, plan, since), *sentences)
    if before is None:
        return TasteReceipt(since, 0, None, older=False, in_words=sentences)
    return TasteReceipt(since, before.listens, before.asked_on, before.older, sentences)


def _of_request(since: date | None) -> tuple[str, ...]:
    if since is None:
        return ("Listens of all nights are on record, so that all of them can be taken out.",)
    return (f"Listens of nights before {since} are no longer on record: what they left stays, and fades.",)


def _of_before(before: Aside, plan: Plan, since: date | None) -> tuple[str, ...]:
    """Sentences on a request that stands."""
    count = "1 listen is" if before.listens == 1 else f"{before.listens:,} listens are"
    kept = f"{count} kept out since the night of {before.asked_on}"
    if as_text(plan.not_taste) == before.not_taste:
        rest = ", what had been no longer on record by then is not" if before.older else ""
        return (f"{kept}{rest}; that stays so.",)
    if not plan.not_taste:
        return (f"{kept}; all of it counts again from the next night on, exactly as if it had never been asked for.",)
    gone = f" Of those, listens of nights before {since} come back in." if since else ""
    return (f"{kept}; this takes the place of what was asked for then.{gone}",)
