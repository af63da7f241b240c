"""Pure: what a line of the interactive prompt means."""

from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

COMMANDS = {
    "/role": "[NAME]  use a role; without a name, use none",
    "/var": "NAME=VALUE  set a variable of the role",
    "/model": "[NAME]  use a model; without a name, the server's",
    "/temperature": "[NUMBER]  from 0 to 2; without a number, the role's",
    "/new": "start another conversation",
    "/open": "ID  continue a conversation",
    "/list": "[WORDS]  list the conversations",
    "/stop": "stop the answer that the conversation is waiting for",
    "/help": "list the commands and keys",
    "/quit": "leave; answers continue on the server",
}
KEYS = {
    "Enter": "send",
    "Alt+Enter": "start another line (or Esc, then Enter)",
    "Up, Down": "recall earlier messages",
    "Ctrl+C": "stop the answer; at the prompt, clear the line",
    "Ctrl+D": "leave",
}


@dataclass(frozen=True)
class Choices:
    """What the next message is sent with."""

    conversation_id: str
    role: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    model: str | None = None
    temperature: float | None = None

    def options(self) -> dict[str, Any]:
        """The options of a submit."""
        given = {
            "conversation_id": self.conversation_id,
            "role": self.role,
            "variables": self.variables or None,
            "model": self.model,
            "temperature": self.temperature,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Message:
    """A message to send."""

    text: str


@dataclass(frozen=True)
class Changed:
    """The choices changed. `note` states the change for the user."""

    choices: Choices
    note: str


@dataclass(frozen=True)
class Call:
    """A command that needs the server or the terminal; `name` begins with a slash."""

    name: str
    argument: str = ""


@dataclass(frozen=True)
class Wrong:
    """The line is not a command. `reason` states what is."""

    reason: str


Meaning: TypeAlias = Message | Changed | Call | Wrong | None


def read_line(line: str, choices: Choices) -> Meaning:
    """What `line` means; None if it is empty.

    Only a first word that begins with a slash and contains no other slash is a command, so that a
    path can begin a message. A second slash in front sends a message that begins with a slash.
    """
    text = line.strip()
    if not text:
        return None
    first, _, rest = text.partition(" ")
    if not first.startswith("/") or "/" in first[1:] or "\n" in first:
        return Message(text.removeprefix("/") if text.startswith("//") else text)
    if first not in COMMANDS:
        return Wrong(f"there is no command {first}; /help lists them")
    return _changed(first, rest.strip(), choices) or Call(first, rest.strip())


def _changed(name: str, argument: str, choices: Choices) -> Changed | Wrong | None:
    match name:
        case "/role":
            return Changed(
                replace(choices, role=argument or None, variables={}),
                f"role: {argument or 'none'}",
            )
        case "/model":
            model = argument or None
            return Changed(
                replace(choices, model=model), f"model: {model or 'the default of the server'}"
            )
        case "/temperature":
            return _set_temperature(argument, choices)
        case "/var":
            variable, is_pair, value = argument.partition("=")
            if not variable or not is_pair:
                return Wrong("write /var NAME=VALUE")
            variables = {**choices.variables, variable.strip(): value}
            return Changed(replace(choices, variables=variables), f"{variable.strip()} = {value}")
    return None


def _set_temperature(argument: str, choices: Choices) -> Changed | Wrong:
    if not argument:
        return Changed(replace(choices, temperature=None), "temperature: the default")
    try:
        temperature = float(argument)
    except ValueError:
        temperature = -1
    if not 0 <= temperature <= 2:
        return Wrong("the temperature is a number from 0 to 2")
    return Changed(replace(choices, temperature=temperature), f"temperature: {temperature:g}")
