"""Pure: the body of AG-UI's calls, a RunAgentInput.

The page keeps the history and sends all of it with each run. Fields and messages that no model uses
are accepted, because each version of the protocol adds some, and a null is an absent field.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    field_validator,
)

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.agui.messages import chat_messages, context_message
from tickertape.api.protocols.agui.wire import request_of_message
from tickertape.api.protocols.checked import Checked, Item, Items, Name, known_fields
from tickertape.broker.kinds import Policy
from tickertape.broker.turns import Links
from tickertape.runtime.json_types import JsonObject

_PARAMS = ("model", "temperature", "top_p", "max_tokens", "tool_choice")

Id = Annotated[str, StringConstraints(min_length=1, max_length=512)]


def _shape_of(content: object) -> str:
    if isinstance(content, list):
        return "parts"
    return "object" if isinstance(content, dict) else "text"


class Function(Item, BaseModel):
    """What a call calls."""

    model_config = ConfigDict(extra="ignore")

    name: str
    arguments: str = ""


class ToolCall(Item, BaseModel):
    """A call in an assistant's message."""

    model_config = ConfigDict(extra="allow")

    id: Annotated[str, StringConstraints(min_length=1)]
    function: Function


class AguiMessage(Item, BaseModel):
    """A message as the page keeps it."""

    model_config = ConfigDict(extra="allow")

    id: Annotated[str, StringConstraints(min_length=1)]
    role: Literal["developer", "system", "user", "assistant", "tool", "reasoning", "activity"]
    content: (
        Annotated[
            Annotated[str, Tag("text")]
            | Annotated[Items[JsonObject], Tag("parts")]
            | Annotated[JsonObject, Tag("object")],
            Discriminator(_shape_of),
        ]
        | None
    ) = None
    toolCalls: Items[ToolCall] | None = None  # noqa: N815  # the protocol's spelling
    toolCallId: str | None = None  # noqa: N815
    error: str | None = None

    def sent(self) -> JsonObject:
        """The message as it was sent, without nulls, which clients of this protocol refuse."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class Tool(Item, BaseModel):
    """A tool that the page runs."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    description: str | None = None
    parameters: JsonObject | None = None


class Context(Item, BaseModel):
    """Something that the page shows to the model."""

    model_config = ConfigDict(extra="ignore")

    description: str = ""
    value: str


class Forwarded(Item, BaseModel):
    """What a page may set beside its messages. Other properties are for functions."""

    model_config = ConfigDict(extra="allow")

    model: Name | None = None
    role: Annotated[Name | None, Field(description="A role of `GET /roles`")] = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tool_choice: str | JsonObject | None = None
    on_interruption: Annotated[
        Policy | None, Field(description="What to do when the answer breaks off after output")
    ] = None

    def beside(self, others: JsonObject) -> "Forwarded":
        """These properties, and of the others those that are not set here."""
        unset = {name: value for name, value in others.items() if getattr(self, name) is None}
        return self.model_copy(update=unset)


class RunAgentInput(Checked):
    """A run of an agent: the history of a thread, and what the page offers to the model."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "threadId": "demo",
                    "runId": "run-1",
                    "messages": [{"id": "m1", "role": "user", "content": "Why is the sky blue?"}],
                }
            ]
        },
    )

    threadId: Id  # noqa: N815  # the protocol's spelling
    runId: Id  # noqa: N815
    parentRunId: Id | None = None  # noqa: N815
    state: Any = None
    messages: Items[AguiMessage] = Field(default_factory=list)
    tools: Items[Tool] | None = None
    context: Items[Context] | None = None
    forwardedProps: Forwarded | None = None  # noqa: N815
    resume: Items[JsonObject] | None = None

    @field_validator("forwardedProps", mode="before")
    @classmethod
    def _only_objects(cls, value: object) -> object:
        # The protocol allows any value, and only an object has something to read here.
        return value if isinstance(value, dict) else None

    @classmethod
    def kept_fields(cls, body: object) -> object:
        """The body without fields that only the page uses."""
        return known_fields(cls, body, {"tools": Tool})

    def echo(self, *, drops_reasoning: bool = False) -> JsonObject:
        """What the events of the run show again: its ids, its messages and its state.

        `drops_reasoning`: a snapshot of messages also drops the reasoning of the client.
        """
        ids = {"threadId": self.threadId, "runId": self.runId, "parentRunId": self.parentRunId}
        shown: JsonObject = {name: value for name, value in ids.items() if value is not None}
        # Most clients send an empty state.
        state: JsonObject = {"state": self.state} if self.state else {}
        drops: JsonObject = {"drops_reasoning": True} if drops_reasoning else {}
        return {**shown, **state, **drops, "messages": self.sent_messages}

    def for_functions(self) -> JsonObject:
        """What only a function reads: the state and the properties, as the page sent them."""
        props = self.props.model_dump(exclude_unset=True)
        sent = {"state": self.state, "forwarded_props": props}
        return {name: value for name, value in sent.items() if value}

    @property
    def props(self) -> Forwarded:
        """What the page set beside its messages."""
        return self.forwardedProps or Forwarded()

    def params(self, props: Forwarded) -> JsonObject:
        """The upstream's parameters beside the messages."""
        params = {name: getattr(props, name) for name in _PARAMS}
        if self.tools:
            params["tools"] = [_as_function(tool) for tool in self.tools]
        return {name: value for name, value in params.items() if value is not None}

    def chat_messages(self) -> list[JsonObject]:
        """The messages for the model; raises Problem if there is nothing to answer."""
        if self.resume:
            raise Problem(
                400,
                "unsupported_value",
                "resume: no run here ends with an interrupt, so none can be answered",
                param="resume",
            )
        messages = chat_messages(self.sent_messages)
        if not messages:
            raise Problem(
                400, "invalid_value", "messages: there is nothing to answer", param="messages"
            )
        context = [(each.description, each.value) for each in self.context or ()]
        return [*context_message(context), *messages]

    @property
    def sent_messages(self) -> list[JsonObject]:
        """The messages as they were sent."""
        return [message.sent() for message in self.messages]

    def question(self) -> list[JsonObject]:
        """The new messages of this run, for the conversation: those behind the last answer."""
        return chat_messages([message.sent() for message in self.messages[self._answered :]])

    @property
    def links(self) -> Links:
        """The place of the run in its conversation: behind the answer that it follows.

        Without an answer in the history, the run begins the conversation. An answer that another
        server wrote names no turn, and the run then follows the latest one.
        """
        last_id = self.messages[-1].id if self.messages else None
        if not self._answered:
            return Links(message_id=last_id, parent="")
        answer = self.messages[self._answered - 1]
        return Links(message_id=last_id, parent=request_of_message(answer.id))

    @property
    def _answered(self) -> int:
        """How many messages the history has up to its last answer."""
        numbers = range(len(self.messages), 0, -1)
        return next((n for n in numbers if self.messages[n - 1].role == "assistant"), 0)


def _as_function(tool: Tool) -> JsonObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    function = {name: value for name, value in function.items() if value is not None}
    return {"type": "function", "function": function}
