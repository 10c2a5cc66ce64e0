"""Client of the service for other Python programs: typed answers, errors for people, patience while the cache is away.

with ServiceClient("http://127.0.0.1:8000") as service:
    answer = service.now_playing("u00000007", playing="t0000697")
    for item in answer.items:
        print(item.rank, item.title or item.item_id, item.why)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay

from nocturne.core.errors import InputError, ServiceError, UsageError, text_of

UNKNOWN = ("urn:problem-type:nocturne:unknown-listener", "urn:problem-type:nocturne:unknown-item")
PAUSE_SECONDS = 0.2
"""Before another try, where the service does not say for how long."""

LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ShownItem:
    """An item of an answer; docs/serving.md says what each member is."""

    rank: int
    item_id: str
    title: str | None
    creator: str | None
    content_type: str
    duration_ms: int | None
    explicit: bool
    score: float
    why: str
    propensity: float


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """Items, best first, and where they come from."""

    generation: str
    run_date: date
    age_days: int
    source: str
    arm: str
    model_version: str
    items: tuple[ShownItem, ...]


@dataclass(frozen=True, slots=True)
class SteeredAnswer(ServiceAnswer):
    """A list by a plan; docs/steering.md says what each member is.

    Attributes:
        plan: as it was understood, to be sent again with the words that refine it.
        in_words: the same in English.
        receipt: what each rule did, and what was not understood.
    """

    plan: dict[str, Any]
    in_words: str
    receipt: dict[str, Any]


class ServiceClient:
    """A connection to the service; threads may share it."""

    def __init__(
        self,
        url: str,
        token: str = "",
        timeout_seconds: float = 2.0,
        retry_seconds: float = 5.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connects when it first asks.

        Args:
            url: such as http://127.0.0.1:8000.
            token: where the service asks for one.
            timeout_seconds: for one try.
            retry_seconds: for which it tries again while the service or its cache is away; 0: once.
            transport: of httpx, such as one with certificates of one's own.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_seconds, transport=transport)
        self._retry_seconds = retry_seconds

    def nightly_list(
        self,
        user_id: str,
        *,
        limit: int | None = None,
        content_types: Sequence[str] = (),
        market: str | None = None,
        explicit: bool = True,
    ) -> ServiceAnswer | None:
        """The night's list of a listener; None if none is served to them.

        Raises:
            UsageError: the service refuses the request.
            ServiceError: it does not serve.
            InputError: it answers otherwise than documented.
        """
        chosen = _filters(limit, content_types, market, explicit=explicit)
        return self._ask("GET", f"/v1/listeners/{quote(user_id, safe='')}/list", params=chosen)

    def now_playing(
        self,
        user_id: str,
        playing: str | None = None,
        recent: Sequence[str] = (),
        *,
        limit: int | None = None,
        content_types: Sequence[str] = (),
        market: str | None = None,
        explicit: bool = True,
        allow_heard: bool = False,
    ) -> ServiceAnswer:
        """The items that come next.

        Args:
            user_id: the listener; one who is not known gets what goes with what plays, and what is popular.
            playing: the item that plays now.
            recent: items played before it, oldest first.
            limit: items wanted at most.
            content_types: of the items; none: all.
            market: None: the listener's own.
            explicit: False: no explicit items.
            allow_heard: True: items that they have heard may come again.

        Raises:
            UsageError: the service refuses the request.
            ServiceError: it does not serve.
            InputError: it answers otherwise than documented.
        """
        chosen = _filters(limit, content_types, market, explicit=explicit)
        body = {"user_id": user_id, "playing": playing, "recent": list(recent), "allow_heard": allow_heard}
        answer = self._ask("POST", "/v1/now-playing", json=body | chosen)
        if answer is None:
            raise self._odd("nobody known, where everybody is answered")
        return answer

    def steer(
        self,
        user_id: str,
        *,
        text: str | None = None,
        plan: Mapping[str, Any] | None = None,
        playing: str | None = None,
        recent: Sequence[str] = (),
        limit: int | None = None,
        market: str | None = None,
    ) -> SteeredAnswer:
        """A list by a plan, or by words that become one.

        Args:
            text: words; beside a plan they refine it.
            plan: as docs/plan.schema.json says.

        Raises:
            UsageError: the service refuses the request, or no list can obey the plan.
            ServiceError: it does not serve.
            InputError: it answers otherwise than documented.
        """
        body: dict[str, Any] = {
            "user_id": user_id,
            "text": text,
            "plan": plan,
            "playing": playing,
            "recent": list(recent),
        }
        body |= {name: value for name, value in (("limit", limit), ("market", market)) if value is not None}
        answer = self._ask("POST", "/v1/steer", SteeredAnswer, json=body)
        if not isinstance(answer, SteeredAnswer):
            raise self._odd("nobody known, where everybody is answered")
        return answer

    def related(
        self,
        item_id: str,
        *,
        limit: int | None = None,
        content_types: Sequence[str] = (),
        market: str | None = None,
        explicit: bool = True,
    ) -> ServiceAnswer | None:
        """Items that belong with an item; None if it is unknown.

        Raises:
            UsageError: the service refuses the request.
            ServiceError: it does not serve.
            InputError: it answers otherwise than documented.
        """
        chosen = _filters(limit, content_types, market, explicit=explicit)
        return self._ask("GET", f"/v1/items/{quote(item_id, safe='')}/related", params=chosen)

    def ready(self) -> bool:
        """True if the service answers and can serve, asked once."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _ask(
        self, method: str, path: str, kind: type[ServiceAnswer] = ServiceAnswer, **options: Any
    ) -> ServiceAnswer | None:
        tries = Retrying(
            retry=retry_if_exception_type(_Away),
            stop=stop_after_delay(self._retry_seconds),
            wait=_pause,
            reraise=True,
        )
        try:
            return tries(self._try, method, path, kind, options)
        except _Away as away:
            raise ServiceError(
                "the service does not serve", where=self._url, found=away.reason, fix="try again, or look at /readyz"
            ) from away.__cause__

    def _try(self, method: str, path: str, kind: type[ServiceAnswer], options: dict[str, Any]) -> ServiceAnswer | None:
        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            raise _Away(text_of(error)) from error
        if response.status_code == httpx.codes.OK:
            return self._read(response, kind)
        told = _problem(response)
        reason = f"{response.status_code} {told.get('title', '')}: {_detail(told)}"
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise _Away(reason, response.headers.get("retry-after", ""))
        if response.status_code == httpx.codes.NOT_FOUND and told.get("type") in UNKNOWN:
            return None
        if response.is_client_error:
            raise UsageError("the service refuses the request", where=self._url, found=reason)
        raise ServiceError("the service does not serve", where=self._url, found=reason)

    def _read(self, response: httpx.Response, kind: type[ServiceAnswer]) -> ServiceAnswer:
        try:
            body = response.json()
            items = tuple(ShownItem(**_known(ShownItem, item)) for item in body["items"])
            known = _known(kind, body)
            return kind(**known | {"run_date": date.fromisoformat(body["run_date"]), "items": items})
        except (ValueError, KeyError, TypeError) as error:
            raise self._odd(f"{type(error).__name__}: {error}") from error

    def _odd(self, found: str) -> InputError:
        return InputError(
            "the service answers otherwise than documented",
            where=self._url,
            found=found,
            expected="what docs/openapi.json says",
            fix="check that the URL is that of `nocturne serve`, of this release",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Away(Exception):  # noqa: N818 - tried again, and told as another error in the end
    """The service, or its cache, is away for now."""

    def __init__(self, reason: str, retry_after: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.pause = min(float(retry_after), LONGEST_PAUSE_SECONDS) if retry_after.isdigit() else PAUSE_SECONDS


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return error.pause if isinstance(error, _Away) else PAUSE_SECONDS


def _filters(limit: int | None, content_types: Sequence[str], market: str | None, *, explicit: bool) -> dict[str, Any]:
    """The filters that say something, as JSON and as a query have them."""
    filters: dict[str, Any] = {"explicit": explicit}
    if limit is not None:
        filters["limit"] = limit
    if content_types:
        filters["content_types"] = list(content_types)
    if market is not None:
        filters["market"] = market
    return filters


def _known(kind: type, members: dict[str, Any]) -> dict[str, Any]:
    """The members that a class has; a later release may send more."""
    return {field.name: members[field.name] for field in fields(kind)}


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        told = response.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _detail(told: dict[str, Any]) -> str:
    errors = [f"{error.get('where')}: {error.get('message')}" for error in told.get("errors", ())]
    return "; ".join(errors) or str(told.get("detail", ""))
