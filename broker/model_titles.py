"""Titles that a model gives to conversations: which worker asks, and what it is asked about."""

import secrets
from dataclasses import dataclass
from typing import Any

import msgspec

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts
from tickertape.broker.request_ids import partition_of

# A title that comes later is refused.
CLAIM_S = 120.0


@dataclass(frozen=True)
class TitleClaim:
    """The right to give one conversation its title once, for CLAIM_S.

    `asked` and `answered` are the rows of the question and of the answer.
    """

    request_id: str
    conversation: str
    nonce: str
    asked: bytes
    answered: bytes


class ModelTitles:
    """Claims and gives titles of the model; every method raises Unavailable."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def claim(self, request_id: str, conversation: str) -> TitleClaim | None:
        """Claim the title of the conversation in which a request was answered.

        None when a user or another worker was first, when the request was erased, or when the
        conversation is long.
        """
        nonce = secrets.token_hex(8)
        word, details = await self._scripts.verdict(
            "claim_title",
            [self._ring(request_id)],
            request_id=request_id,
            conversation=conversation,
            nonce=nonce,
            claim_ms=int(CLAIM_S * 1000),
        )
        if word != "OK":
            return None
        return TitleClaim(request_id, conversation, nonce, *details)

    async def read(self, claim: TitleClaim) -> tuple[list[dict[str, Any]], str]:
        """The messages of the question, and the text of the answer; empty if they were erased."""
        turns = self._keys.turns(partition_of(claim.request_id), claim.conversation)
        found = await self._connections.ask_all(
            [("XRANGE", turns, row, row) for row in (claim.asked, claim.answered)]
        )
        asked, answered = (dict(rows[0][1]) if rows else {} for rows in found)
        messages = msgspec.json.decode(asked.get(b"asked", b"[]"), type=list[dict[str, Any]])
        return messages, msgspec.json.decode(answered.get(b"answered", b'""'), type=str)

    async def give(self, claim: TitleClaim, title: str) -> bool:
        """Set the title; False if a user was first, or conversation, question or claim is gone."""
        word, _ = await self._scripts.verdict(
            "rename",
            [self._ring(claim.request_id)],
            conversation=claim.conversation,
            title=title,
            by="model",
            claim=claim.nonce,
            request_id=claim.request_id,
        )
        return word == "OK"

    def _ring(self, request_id: str) -> str:
        return self._keys.ring(partition_of(request_id))
