"""`tickertape roles`: shows the roles of the server, or those of this machine if it is away."""

import asyncio
import sys
from collections.abc import Iterable

from tickertape.cli.chat.client_settings import Server, make_client
from tickertape.cli.chat.server_errors import refusal
from tickertape.cli.chat.text import harmless
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import ApiUnreachable, CallRefused, Role, Timing
from tickertape.roles import RoleNotFound, RolesInvalid, load_roles
from tickertape.runtime.environment import load_settings

_TIMING = Timing(first_patience_s=0.5, call_patience_s=3.0)


def run(server: Server, name: str | None, *, is_local: bool) -> int:
    """List all roles, or show one. Raises CommandFailed and SettingsInvalid."""
    try:
        found = None if is_local else asyncio.run(_of_server(server, name))
        roles = _of_this_machine(name) if found is None else found
    except RolesInvalid as invalid:
        raise CommandFailed(str(invalid), Exit.USAGE) from None
    except RoleNotFound as missing:
        raise CommandFailed(str(missing)) from None
    except CallRefused as refused:
        raise CommandFailed(refusal(refused)) from None
    print(harmless(_table(roles) if name is None else _whole(roles[0])))
    return Exit.OK


async def _of_server(server: Server, name: str | None) -> list[Role] | None:
    """The roles, or the one of this name; None if the server does not answer."""
    async with make_client(server, timing=_TIMING) as client:
        try:
            return await client.roles() if name is None else [await client.role(name)]
        except ApiUnreachable as error:
            note = f"{client.display_url}: {error}; these are the roles of this machine"
            print(f"tickertape: {note}", file=sys.stderr)
            return None


def _of_this_machine(name: str | None) -> list[Role]:
    loaded = load_roles(load_settings().roles_dir)
    return [Role(**role.detail()) for role in (loaded if name is None else [loaded.get(name)])]


def _table(roles: Iterable[Role]) -> str:
    roles = list(roles)
    width = max((len(role.name) for role in roles), default=0)
    return "\n".join(f"{role.name:{width}}  {role.description}".rstrip() for role in roles)


def _whole(role: Role) -> str:
    facts = {**role.model_defaults, **{f"${{{k}}}": v for k, v in role.variables.items()}}
    head = [
        f"{role.name}: {role.description}",
        *(f"{key} = {value}" for key, value in facts.items()),
    ]
    messages = [f"# {message['role'].upper()}\n{message['content']}" for message in role.messages]
    return "\n\n".join(["\n".join(head), *messages])
