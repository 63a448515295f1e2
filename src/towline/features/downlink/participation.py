"""The conditional writes by which people share a service: the table is kept in its record.

Each is made from the record as it is, with one revision more, and refused by the API when somebody
else was faster. Then it is made again, from what is there now.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from towline.agent.undo import ANNOTATION, Record
from towline.cluster.interception import PASSING, holder, put_back
from towline.errors import SessionError, TowlineError
from towline.kube.client import Client
from towline.kube.errors import Conflict, NotFound
from towline.kube.resources import SERVICES, Object
from towline.routing.table import Table

END_SECONDS = 30.0
RETRY_SECONDS = 0.5
# Of many who write at once one succeeds each time: the others give way, for longer and longer.
FIRST_CONFLICT_SECONDS = 0.02
LAST_CONFLICT_SECONDS = 0.4


class NotSharedError(SessionError):
    """The service is not in that mesh any more."""


@dataclass(frozen=True, slots=True)
class Meshed:
    """What a service says of the mesh that it is in, and where its agent waits for sessions."""

    record: Record
    table: Table
    link_port: int


def meshed(service: Object) -> Meshed | None:
    """The mesh that a service is in; None if it is in none. Raises SessionError for an odd one."""
    record = holder(service)
    if record is None or record.mesh is None:
        return None
    try:
        table = Table.from_values(record.mesh)
        return Meshed(record, table, int(record.mesh["link"]))
    except (ValueError, LookupError, TypeError) as error:
        raise SessionError(
            f"The mesh of svc/{service['metadata']['name']} is of another version of towline: "
            f"{error}."
        ) from error


def with_table(record: Record, table: Table, link_port: int) -> Record:
    """A record that keeps a table."""
    return replace(record, mesh={"link": link_port, **table.to_values()})


class Participation:
    """What one session writes of its part in the mesh of a service, whose agent's Job is `job`.

    `table` is the newest that is known.
    """

    def __init__(self, client: Client, namespace: str, name: str, job: str, table: Table) -> None:
        self.table = table
        self._client = client
        self._namespace = namespace
        self._name = name
        self._job = job
        self._writing: asyncio.Task[Table | None] | None = None

    def saw(self, service: Object) -> None:
        """Note what the service says now."""
        found = meshed(service)
        if found is not None and found.record.job == self._job:
            self._note(found.table)

    async def look(self) -> Table:
        """The table as it is now. Raises NotSharedError, ApiError."""
        found = self._mine(await self._read())
        self._note(found.table)
        return self.table

    async def change(self, make: Callable[[Table], Table]) -> Table:
        """Write what is made of the table; if that is the same, nothing.

        Raises NotSharedError, ApiError, and what `make` does.
        """
        changed = await self._carefully(self._change(make))
        assert changed
        return changed

    async def leave(self, participant: str) -> Table | None:
        """Write that one is leaving; if there is nobody else, put the service back instead: None.

        Raises SessionError when neither can be done for a while.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + END_SECONDS
        if self._writing is not None and not self._writing.done():
            # What is under way must not arrive afterwards.
            await asyncio.wait((self._writing,), timeout=END_SECONDS)
            self._writing.cancel()
        for conflicts in itertools.count():
            try:
                left = max(0.0, deadline - loop.time())
                # Not asyncio.timeout: in Python 3.11 it does not work in a task that was cancelled.
                return await asyncio.wait_for(self._leave(participant), left)
            except NotFound:
                return None
            except (*PASSING, TimeoutError) as error:
                if loop.time() + RETRY_SECONDS >= deadline:
                    raise self._not_left(error) from error
                await _pause(error, conflicts)
            except TowlineError as error:
                raise self._not_left(error) from error
        raise AssertionError

    async def close(self) -> None:
        """Write no more; what is under way is given up."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait((self._writing,))

    async def _carefully(self, work: Coroutine[Any, Any, Table | None]) -> Table | None:
        """Whoever is cancelled meanwhile can still wait for what becomes of it."""
        self._writing = asyncio.ensure_future(work)
        return await asyncio.shield(self._writing)

    async def _change(self, make: Callable[[Table], Table]) -> Table:
        for conflicts in itertools.count():
            service = await self._read()
            found = self._mine(service)
            wanted = make(found.table)
            if wanted != found.table:
                record = with_table(found.record, wanted, found.link_port)
                try:
                    await self._write(service, record)
                except Conflict:
                    await _give_way(conflicts)
                    continue
            self._note(wanted)
            return wanted
        raise AssertionError

    async def _leave(self, participant: str) -> Table | None:
        service = await self._read()
        found = meshed(service)
        if found is None or found.record.job != self._job:
            return None
        if all(each.id == participant for each in found.table.present()):
            await put_back(self._client, SERVICES, service, found.record)
            return None
        wanted = found.table.leaving(participant)
        await self._write(service, with_table(found.record, wanted, found.link_port))
        self._note(wanted)
        return wanted

    def _mine(self, service: Object) -> Meshed:
        found = meshed(service)
        if found is None or found.record.job != self._job:
            raise NotSharedError(
                f"svc/{self._name} is not in this mesh any more.", "Start the session again."
            )
        return found

    def _note(self, table: Table) -> None:
        if table.revision > self.table.revision:
            self.table = table

    async def _read(self) -> Object:
        return await self._client.get(SERVICES, self._name, namespace=self._namespace)

    async def _write(self, service: Object, record: Record) -> None:
        """Change the record alone. Raises Conflict when the service is not any more as it was."""
        metadata = {
            "resourceVersion": service["metadata"]["resourceVersion"],
            "annotations": {ANNOTATION: record.to_json()},
        }
        change = {"metadata": metadata}
        await self._client.patch(SERVICES, self._name, change, namespace=self._namespace)

    def _not_left(self, why: Exception) -> SessionError:
        return SessionError(
            f"The mesh of svc/{self._name} could not be left: {why or 'no answer in time'}",
            "The others' sessions, or the agent, do it when the grace time is over.",
        )


async def _pause(error: Exception, conflicts: int) -> None:
    await (_give_way(conflicts) if isinstance(error, Conflict) else asyncio.sleep(RETRY_SECONDS))


async def _give_way(conflicts: int) -> None:
    """Wait for a moment after a write that met a conflict, the longer the more there were."""
    longest = min(FIRST_CONFLICT_SECONDS * 2**conflicts, LAST_CONFLICT_SECONDS)
    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 (nobody need not foresee it)
