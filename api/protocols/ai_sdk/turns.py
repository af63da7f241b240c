"""Pure: which turn of the server's memory a call of `useChat` replaces, if any.

The page names messages by their ids. `trigger` and `messageId` state what it does to them. A
regenerated answer or an edited question replaces the earlier turn and all turns after it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.ai_sdk.body import UiBody, UiMessage, chat_messages
from tickertape.api.protocols.ai_sdk.wire import message_id
from tickertape.broker.turns import Links, Turn
from tickertape.runtime.json_types import JsonObject


@dataclass(frozen=True)
class NewTurn:
    """The new turn of a call: its question, and the turn that it replaces."""

    question: list[JsonObject]
    links: Links


def needs_turns(body: UiBody) -> bool:
    """Whether the call may refer to a message that the conversation has already.

    A call with the trigger `submit-message` and without a message id has a new question.
    """
    if body.regenerates or body.messageId is not None:
        return True
    if body.holds_history:
        return False
    return body.trigger is None or body.continued_id is not None


def turns_meant(body: UiBody, turns: list[Turn]) -> list[Turn]:
    """The turns whose messages `new_turn` looks at: the latest one, and those that the call names.

    The others may be outlines, because a conversation may have hundreds of megabytes.
    """
    named_ids = [body.messageId, *(message.id for message in body.sent_messages[-1:])]
    meant = [*turns[-1:], *(_named(turns, each) for each in named_ids)]
    meant += [_answered_by(turns, each) for each in named_ids]
    return list({turn.row: turn for turn in meant if turn is not None}.values())


def new_turn(body: UiBody, turns: list[Turn]) -> NewTurn:
    """The turn that a call adds or replaces; raises Problem if it has no question."""
    if not body.sent_messages:
        return _regenerated(body, turns)
    last = body.sent_messages[-1]
    if last.role == "assistant":
        return _continued(last, turns)
    question = body.question()
    target = _target(body, last, question, turns)
    row = target.row if target else None
    return NewTurn(question, Links(message_id=last.id, replaces=row))


def _regenerated(body: UiBody, turns: list[Turn]) -> NewTurn:
    """The new turn of a call without messages, which repeats an earlier question."""
    if body.messageId is None and turns:
        target: Turn | None = turns[-1]
    else:
        target = _named(turns, body.messageId)
    question = _question_of(target) if target else []
    if target is None or not question:
        name = "messages" if body.messageId is None else "messageId"
        raise Problem(400, "invalid_value", f"{name}: there is no message to answer", param=name)
    return NewTurn(question, Links(message_id=target.links.message_id, replaces=target.row))


def _continued(answer: UiMessage, turns: list[Turn]) -> NewTurn:
    """The new turn of a call that sends the answer so far, with the outputs of its tools.

    The answer so far is stored behind its question, and replaces the earlier turn of both.
    """
    answer_so_far = chat_messages([answer])
    target = _answered_by(turns, answer.id)
    if target is None:
        return NewTurn(answer_so_far, Links(answer_id=answer.id))
    links = Links(message_id=target.links.message_id, answer_id=answer.id, replaces=target.row)
    return NewTurn([*_question_of(target), *answer_so_far], links)


def _target(
    body: UiBody, last: UiMessage, question: list[JsonObject], turns: list[Turn]
) -> Turn | None:
    if body.regenerates or body.messageId is not None:
        target = _named(turns, body.messageId) or _named(turns, last.id)
        if target is not None or not body.regenerates:
            return target
        # Turns of other protocols and of version 0.1 have no message ids.
        return next((turn for turn in turns[-1:] if _question_of(turn) == question), None)
    # Many apps send only the last message. A repeated message replaces its turn.
    is_same = turns and last.id is not None and turns[-1].links.message_id == last.id
    return turns[-1] if is_same and _question_of(turns[-1]) == question else None


def _named(turns: list[Turn], named_id: str | None) -> Turn | None:
    if named_id is None:
        return None
    return _newest(turns, lambda turn: named_id in {turn.links.message_id, _answer_id(turn)})


def _answered_by(turns: list[Turn], answer_id: str | None) -> Turn | None:
    return _newest(turns, lambda turn: answer_id is not None and _answer_id(turn) == answer_id)


def _newest(turns: list[Turn], matches: Callable[[Turn], bool]) -> Turn | None:
    return next((turn for turn in reversed(turns) if matches(turn)), None)


def _answer_id(turn: Turn) -> str:
    return turn.links.answer_id or message_id(turn.request_id)


def _question_of(turn: Turn) -> list[JsonObject]:
    """The question of a turn, without the steps of an answer that was continued."""
    return [*takewhile(lambda message: message.get("role") in {"system", "user"}, turn.asked)]
