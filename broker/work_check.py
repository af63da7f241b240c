"""Checks whether Redis does everything that work needs, by harmless writes of every kind."""

import asyncio

from redis.exceptions import ResponseError

from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable, WritesRefused
from tickertape.broker.lua import Scripts
from tickertape.broker.redis_errors import REFUSES_WRITES, reply_text
from tickertape.broker.rights import Rights
from tickertape.broker.server_check import check_server
from tickertape.runtime.conditions import Code, Condition
from tickertape.runtime.upstream_words import KEY_REFUSED, UNREACHABLE

LOOK_INTERVAL_S = 5.0
# A probe that comes sooner after a look gets what that look has found.
LOOK_AGE_S = 1.0
_NODE_LIMIT_S = 1.0
# No request and no tenant has this name.
_NAME = "~tried"
# After these words, a server names the line of the script.
_PLACE = " script: "
_MOVES = "TRYAGAIN"
_BY_WORD = {"OOM": Code.MEMORY_FULL, "READONLY": Code.READ_ONLY}
_BY_SENTENCE = {KEY_REFUSED: Code.UPSTREAM_KEY, UNREACHABLE: Code.NO_UPSTREAM}
SILENT = Condition(Code.REDIS_SILENT, "Redis does not answer.")


class WorkCheck:
    """One check for each node of Redis: the rights first, and then the writes."""

    def __init__(self, connections: Connections, *, limit_s: float = _NODE_LIMIT_S) -> None:
        self._connections = connections
        self._rights = Rights(connections)
        self._scripts = Scripts(connections.commands)
        self._limit_s = limit_s

    async def conditions(self) -> list[Condition]:
        """What Redis does not do at the moment; empty if it does everything. Raises no error."""
        try:
            async with asyncio.timeout(self._limit_s):
                await self._connections.check_server()
                await self._connections.learn_topology()
        except (AccessDenied, SettingsInvalid) as error:
            return [condition_of(error)]
        except (Unavailable, TimeoutError) as error:
            # In a cluster, the node that was asked may be the only one that is silent.
            if not self._is_known_cluster:
                return [condition_of(error)]
        rings = self._rights.ring_of_each_node()
        found = await asyncio.gather(*(self._at(node, ring) for node, ring in rings.items()))
        conditions = [each for each in found if each is not None]
        if not conditions:
            self._connections.writes.accepted()
        is_silent = len(conditions) == len(rings)
        is_silent = is_silent and {each.code for each in conditions} == {Code.CLUSTER_NODE}
        return [SILENT] if is_silent else conditions

    @property
    def _is_known_cluster(self) -> bool:
        return self._connections.is_cluster and self._connections.node_of(0) is not None

    async def _at(self, node: str, ring: str) -> Condition | None:
        try:
            async with asyncio.timeout(self._limit_s):
                await self._rights.check_at(ring)
                await self._scripts.call("try_writes", [ring], name=_NAME)
        except ResponseError as error:
            return await self._of_reply(error)
        except (Unavailable, TimeoutError) as error:
            # While a slot moves, a repeated call is not refused.
            return None if _MOVES in str(error) else condition_of(error, node)
        return None

    async def _of_reply(self, error: ResponseError) -> Condition:
        """The condition behind a reply that no call expects, as of an old server to a script."""
        try:
            async with asyncio.timeout(self._limit_s):
                await check_server(self._connections)
        except (Unavailable, SettingsInvalid, TimeoutError) as failure:
            return condition_of(failure)
        return Condition(Code.WRITES_REFUSED, f"{REFUSES_WRITES}{reply_text(error)}")


def condition_of(error: Exception, node: str = "") -> Condition:
    """Pure: the condition behind a failed check of the server, or of one node of a cluster."""
    words = str(error).partition(_PLACE)[0]
    match error:
        case SettingsInvalid():
            return Condition(Code.OLD_SERVER, words)
        case AccessDenied():
            return Condition(Code.RIGHTS, words)
        case WritesRefused():
            word = words.removeprefix(REFUSES_WRITES).partition(" ")[0]
            return Condition(_BY_WORD.get(word, Code.WRITES_REFUSED), words)
    if node:
        return Condition(Code.CLUSTER_NODE, f"The node {node} of the cluster does not answer.")
    return SILENT


def upstream_condition(sentence: str) -> Condition:
    """Pure: the condition behind what a worker publishes about its upstream."""
    return Condition(_BY_SENTENCE.get(sentence, Code.UPSTREAM), sentence)
