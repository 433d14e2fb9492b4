"""What a request on the control socket means: each method, what it takes, and who may use it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from vlad.control.session import Error, Row, Session, integer, log_error
from vlad.jsontext import to_json
from vlad.maintenance.scheduler import MaintenanceError
from vlad.messages import Level
from vlad.policy.bundle import BundleRefused
from vlad.record.events import EventLog
from vlad.record.orders import RecordError

_SKIP_ABOVE = 64 * 1024
_MOST_SKIPPED = 50
_MOST_EVENTS = 1_000
_LONGEST_TASK = 1_000
_LONGEST_REASON = 300
_LONGEST_NAME = 100
_FASTEST_STATUS_HZ = 10.0
_LOOKUP_TIMEOUT_S = 2.0


class Actions(Protocol):
    """What the daemon does for an operator; all on the loop's thread. `who` is for the event log."""

    events: EventLog

    async def room(self) -> None:
        """Wait, if need be, until a report does not make the safety tick late."""
        ...

    def status(self) -> Row: ...

    def metrics(self) -> Row: ...

    def arm(self, who: str) -> list[Row]:
        """Empty: armed. Else the faults that forbid it."""
        ...

    def disarm(self, who: str) -> None: ...

    def estop(self, who: str, reason: str) -> None: ...

    def reset(self, who: str) -> list[Row]:
        """Empty: disarmed. Else the faults that persist."""
        ...

    def task(self, text: str, who: str) -> None:
        """ValueError where this robot takes no instruction."""
        ...

    async def models(self) -> list[Row]: ...

    async def model(self, name: str, version: str) -> Row:
        """BundleRefused where there is none."""
        ...

    async def activate(self, name: str, version: str, who: str) -> Row:
        """BundleRefused where it may not drive."""
        ...

    async def rollback(self, who: str) -> Row: ...

    async def recordings(self) -> list[Row]: ...

    def record(self, what: str, note: str, who: str) -> None:
        """RecordError where nothing is recorded."""
        ...

    def maintenance(self) -> Row: ...

    def maintain(self, name: str, params: Row, who: str) -> bool:
        """Whether it waits until the robot is disarmed. MaintenanceError where it cannot be run."""
        ...

    async def reload(self, who: str) -> Row:
        """What was applied, what was not, and the mistakes."""
        ...


class Methods:
    """`by_name`: what to call for a request. Error where it is wrong, refused or not permitted."""

    def __init__(self, actions: Actions, off_loop: Callable[..., asyncio.Future[Any]]) -> None:
        """`off_loop` calls a function in a thread."""
        self._actions = actions
        self._off_loop = off_loop
        self.by_name: dict[str, Callable[[Session, Row], Awaitable[Any]]] = {
            "status": self._status,
            "metrics": self._metrics,
            "events": self._events,
            "models": self._models,
            "model": self._model,
            "subscribe": self._subscribe,
            "estop": self._estop,
            "arm": self._arm,
            "disarm": self._disarm,
            "reset": self._reset,
            "task": self._task,
            "activate": self._activate,
            "rollback": self._rollback,
            "recordings": self._recordings,
            "record": self._record,
            "reload": self._reload,
            "maintenance": self._maintenance,
            "maintain": self._maintain,
        }

    # looking ----------------------------------------------------------------------------------------------

    async def _status(self, client: Session, params: Row) -> Row:
        await self._actions.room()
        return self._actions.status()

    async def _metrics(self, client: Session, params: Row) -> Row:
        await self._actions.room()
        return self._actions.metrics()

    async def _models(self, client: Session, params: Row) -> list[Row]:
        return await self._actions.models()

    async def _model(self, client: Session, params: Row) -> Row:
        try:
            return await self._actions.model(*_named(params))
        except BundleRefused as refused:
            raise Error("refused", refused.reasons[0], "see vladctl model list") from None

    async def _events(self, client: Session, params: Row) -> str:
        limit = integer(params, "limit", 20, _MOST_EVENTS)
        since_id = integer(params, "since_id", 0, 2**62)
        kinds = params.get("kinds", [])
        if not (
            isinstance(kinds, list) and len(kinds) <= 100 and all(isinstance(kind, str) for kind in kinds)
        ):
            raise Error("bad_request", "kinds is not a list of event kinds", 'for example ["mode", "act"]')
        query = self._actions.events.query
        return str(await self._off_loop(lambda: to_json(query(limit, since_id, tuple(kinds)))))

    async def _subscribe(self, client: Session, params: Row) -> Row:
        """Replaces what this connection had subscribed to before."""
        rate_hz = params.get("status_hz", 0)
        if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | float) or not 0 <= rate_hz <= 10:
            raise Error("bad_request", f"status_hz is {rate_hz!r}", f"0 (none) to {_FASTEST_STATUS_HZ:g}")
        client.wants_events = params.get("events") is True
        if client.stream is not None:
            client.stream.cancel()
        client.stream = None
        if rate_hz:
            client.stream = asyncio.create_task(self._stream_status(client, 1 / rate_hz))
            client.stream.add_done_callback(log_error)
        return {"status_hz": rate_hz, "events": client.wants_events}

    async def _stream_status(self, client: Session, period_s: float) -> None:
        skipped = 0
        while not client.gone:
            if client.backlog <= _SKIP_ABOVE:
                await self._actions.room()
                client.send(to_json({"stream": "status", "data": self._actions.status()}))
                skipped = 0
            elif (skipped := skipped + 1) > _MOST_SKIPPED:
                client.drop()
            await asyncio.sleep(period_s)

    # acting -----------------------------------------------------------------------------------------------

    async def _estop(self, client: Session, params: Row) -> Row:
        """Does not wait for anything, not even for the user's name."""
        reason = " ".join(str(params.get("reason", "")).split())[:_LONGEST_REASON]
        self._actions.estop(_actor(client, client.who, params), reason)
        return {"ok": True}

    async def _arm(self, client: Session, params: Row) -> Row:
        refusals = self._actions.arm(await self._operator(client, "arm", params))
        return {"ok": not refusals, "refusals": refusals}

    async def _disarm(self, client: Session, params: Row) -> Row:
        self._actions.disarm(await self._operator(client, "disarm", params))
        return {"ok": True}

    async def _reset(self, client: Session, params: Row) -> Row:
        refusals = self._actions.reset(await self._operator(client, "reset", params))
        return {"ok": not refusals, "refusals": refusals}

    async def _task(self, client: Session, params: Row) -> Row:
        text = params.get("text")
        if not isinstance(text, str) or len(text) > _LONGEST_TASK:
            raise Error("bad_request", "text is missing, or too long", f"at most {_LONGEST_TASK} characters")
        who = await self._operator(client, "task", params)
        try:
            self._actions.task(" ".join(text.split()), who)
        except ValueError as error:
            raise Error("refused", str(error), "see vladctl check-config") from None
        return {"ok": True, "task": " ".join(text.split())}

    async def _activate(self, client: Session, params: Row) -> Row:
        name, version = _named(params)
        who = await self._operator(client, "activate a bundle", params)
        return await _drive(self._actions.activate(name, version, who))

    async def _rollback(self, client: Session, params: Row) -> Row:
        return await _drive(self._actions.rollback(await self._operator(client, "activate a bundle", params)))

    async def _recordings(self, client: Session, params: Row) -> list[Row]:
        return await self._actions.recordings()

    async def _record(self, client: Session, params: Row) -> Row:
        what, note = params.get("what"), " ".join(str(params.get("note", "")).split())[:_LONGEST_REASON]
        if what not in ("mark", "start", "stop"):
            raise Error("bad_request", f"what is {what!r}", "use mark, start or stop")
        try:
            self._actions.record(what, note, await self._operator(client, "record", params))
        except RecordError as error:
            raise Error("refused", str(error), "see vladctl record status") from None
        return {"ok": True, "what": what, "note": note}

    async def _maintenance(self, client: Session, params: Row) -> str:
        return str(await self._off_loop(lambda: to_json(self._actions.maintenance())))

    async def _maintain(self, client: Session, params: Row) -> Row:
        who = await self._operator(client, "run a maintenance task", params)
        name, given = params.get("name"), params.get("params", {})
        if not isinstance(name, str) or not isinstance(given, dict):
            raise Error("bad_request", "name or params is wrong", 'send {"name": "backup", "params": {}}')
        try:
            waits = self._actions.maintain(name, given, who)
        except MaintenanceError as error:
            raise Error("refused", str(error), "see vladctl maintenance list") from None
        return {"ok": True, "name": name, "waits": waits}

    async def _reload(self, client: Session, params: Row) -> Row:
        outcome = await self._actions.reload(await self._operator(client, "reload the settings", params))
        return {"ok": not outcome["problems"], **outcome}

    async def _operator(self, client: Session, act: str, params: Row) -> str:
        """Who acts, for the event log; Error if they may not."""
        try:
            identity = await asyncio.wait_for(asyncio.shield(client.identity), _LOOKUP_TIMEOUT_S)
        except TimeoutError:
            raise Error(
                "unavailable", "the user database does not answer", "try again, or act as root"
            ) from None
        if identity.refusal:
            if not client.refusal_noted:
                client.refusal_noted = True
                self._actions.events.put(
                    "not_permitted",
                    Level.CAUTION,
                    f"{identity.name} may not {act}",
                    who=identity.name,
                    act=act,
                )
            raise Error("not_permitted", f"{identity.name} may not {act}", identity.refusal)
        return _actor(client, identity.name, params)


def _actor(client: Session, name: str, params: Row) -> str:
    """Whom the event log names: this client, or for whom it acts if it is the daemon's own user."""
    other = params.get("on_behalf")
    if not isinstance(other, str) or not other or client.peer.uid != os.geteuid():
        return name
    return f"{' '.join(other.split())[:_LONGEST_NAME]} (through {name})"


def _named(params: Row) -> tuple[str, str]:
    """Name and version of the bundle that is meant."""
    name, version = params.get("name"), params.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise Error("bad_request", "name or version is missing", 'send {"name": "demo", "version": "1"}')
    return name, version


async def _drive(activation: Awaitable[Row]) -> Row:
    """How the bundle did that drives now, or why it does not."""
    try:
        return {"ok": True, **await activation}
    except BundleRefused as refused:
        return {"ok": False, "reasons": refused.reasons}
