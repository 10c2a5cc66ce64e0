"""`nocturne steer`: a list by a plan, or by words, from what the cache serves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nocturne.cli.options import Cache, Conf, Json, Set, require_cache
from nocturne.core.console import print_json, print_rows, say
from nocturne.core.errors import ServiceError, UsageError, text_of

if TYPE_CHECKING:
    from nocturne.serving.now_playing import Answer
    from nocturne.serving.reader import Served
    from nocturne.serving.steered import SteerRequest
    from nocturne.steering.parsing import Understanding
    from nocturne.steering.plan import Plan

USUAL_ITEMS = 20


def steer(
    user: Annotated[str, typer.Argument(help="the listener's id; one who is not known is steered too")],
    cache: Cache,
    plan: Annotated[Path | None, typer.Option(help="a plan, as docs/plan.schema.json says", metavar="FILE")] = None,
    text: Annotated[str | None, typer.Option(help="what is asked for, in words; it refines --plan")] = None,
    playing: Annotated[str | None, typer.Option(help="the item that plays now", metavar="ITEM")] = None,
    recent: Annotated[
        list[str] | None, typer.Option(help="an item played before, oldest first; repeatable", metavar="ITEM")
    ] = None,
    limit: Annotated[int, typer.Option(help="items, where the plan does not say", min=1)] = USUAL_ITEMS,
    market: Annotated[str | None, typer.Option(help="what may be played there; by default their own")] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="also print what each rule removed, and why each item is there")
    ] = False,
    landing: Annotated[
        Path | None,
        typer.Option(help="land the list there as shown to the listener, and a plan that holds", metavar="DIR"),
    ] = None,
    conf: Conf = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Print a listener's list by a plan: hard rules hold for every item, wishes order what obeys them.

    Example: nocturne steer u00000007 --cache lmdb:data/cache --text "no podcasts, more jazz, ten songs" --explain
    """
    from nocturne.core.settings import load_settings
    from nocturne.serving.cache import open_cache
    from nocturne.serving.http.answers import steered_members
    from nocturne.serving.reader import Reader
    from nocturne.serving.standing import on_top
    from nocturne.serving.steered import SteerRequest
    from nocturne.serving.steered import steer as answer
    from nocturne.serving.taste import taste_receipt
    from nocturne.steering.parsing import parser_of
    from nocturne.steering.plan import Plan

    require_cache(cache)
    settings = load_settings(conf, set_ or ())
    asked = _read(plan) if plan else Plan()
    with open_cache(cache, settings.cache, read_only=True) as store:
        served = Reader(store).served()
        words: Understanding | None = None
        if text is not None:
            number = served.items.number(playing) if playing is not None else None
            named = None if number is None else served.items.describe(number)
            words = parser_of(served.items.fields, settings.words).parse(text, asked if plan else None, named)
            asked = asked.refine(words.plan)
        asked = on_top(served.items.plan_of(user), asked)
        request = SteerRequest(asked, playing, recent or (), limit, settings.service.max_items, market)
        steered, taste = answer(served.items, served.row(user), request), taste_receipt(served.items, user, asked)
        told = steered_members(served, steered, asked, words, taste)
        if landing is not None:
            _land(landing, served, user, steered.answer, request)
    if as_json:
        print_json(told)
        return
    _print(told, user, explain=explain)


def _read(file: Path) -> "Plan":
    """The plan in a file.

    Raises:
        UsageError: it cannot be read, or holds no plan.
    """
    from nocturne.steering.plan import read_plan

    try:
        return read_plan(file.read_bytes(), str(file))
    except OSError as error:
        raise UsageError("the plan cannot be read", where=str(file), found=str(error), fix="check --plan") from error


def _land(landing: Path, served: "Served", user: str, answer: "Answer", request: "SteerRequest") -> None:
    """Land an answer as an exposure, and with the same id the plan, if it holds longer than the session.

    Raises:
        ServiceError: it cannot be written.
    """
    from nocturne.serving.http.exposures import exposure, land_one, new_id, steer_line

    asked = new_id()
    shown = exposure(served, answer, "steer", user, request.playing, request.market, exposure_id=asked)
    lines = {"exposures": shown}
    if request.plan.lasts:
        lines["steers"] = steer_line(user, request.plan, asked)
    try:
        for kind, line in lines.items():
            land_one(landing, line, kind)
    except OSError as error:
        raise ServiceError(
            "what was shown cannot be landed",
            where=str(landing),
            found=text_of(error),
            fix="check --landing, and the room on its disk",
        ) from error


def _print(told: dict[str, Any], user: str, *, explain: bool) -> None:
    receipt = told["receipt"]
    say(told["in_words"])
    if receipt["intent"] not in {None, "steer", "not_understood"}:
        say(f"no list is asked for, but: {receipt['intent'].replace('_', ' ')}")
    for sentence in receipt["taken"]:
        say(sentence)
    for part in receipt["not_understood"]:
        say(f"not understood: {part}")
    shown = ("rank", "item_id", "title", "creator", "score", "why")
    rows = [{name: item[name] for name in shown} | (_reasons(item) if explain else {}) for item in told["items"]]
    print_rows(rows, f"{user}: night {told['run_date']}, {told['source']} {told['model_version']}")
    if receipt["short"]:
        say(f"{len(rows)} items: {receipt['short']}")
    for sentence in receipt["not_taste"]["in_words"] if receipt["not_taste"] else ():
        say(sentence)
    if not explain:
        return
    if receipt["understood"]:
        print_rows(
            [{"words": each["text"], "stand for": each["means"]} for each in receipt["understood"]], "understood"
        )
    say(f"{receipt['obey']:,} of {receipt['might_be_listed']:,} items obey the rules")
    rules = [
        {
            "rule": f"{rule['kind']} {rule['rule']}",
            "removes": rule["removed"],
            "unknown": rule["unknown"],
            "nobody has": ", ".join(rule["nobody"]),
        }
        for rule in receipt["rules"]
    ]
    if rules:
        print_rows(rules, f"rules; what is unknown is {receipt['unknown']} by never", secondary=("nobody has",))


def _reasons(item: dict[str, Any]) -> dict[str, str]:
    return {
        "wishes": ", ".join(f"{each['wish']} {each['adds']:+.2f}" for each in item["wishes"]),
        "because of": ", ".join(f"{each['title'] or each['item_id']} {each['share']:.0%}" for each in item["because"]),
    }
