"""`tickertape roles`: shows the roles of TICKERTAPE_ROLES_DIR, or the built-in ones."""

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.roles import Role, RoleNotFound, Roles, RolesInvalid, load_roles
from tickertape.runtime.settings import load_settings


def run(name: str | None) -> int:
    """List all roles, or show one. Raises CommandFailed and SettingsInvalid."""
    try:
        loaded = load_roles(load_settings().roles_dir)
        print(_table(loaded) if name is None else _whole(loaded.get(name)))
    except RolesInvalid as invalid:
        raise CommandFailed(str(invalid), Exit.USAGE) from None
    except RoleNotFound as missing:
        raise CommandFailed(str(missing)) from None
    return Exit.OK


def _table(loaded: Roles) -> str:
    width = max(len(name) for name in loaded.names)
    return "\n".join(f"{role.name:{width}}  {role.description}".rstrip() for role in loaded)


def _whole(role: Role) -> str:
    facts = {**role.model_defaults, **{f"${{{k}}}": v for k, v in role.variables.items()}}
    head = [
        f"{role.name}: {role.description}",
        *(f"{key} = {value}" for key, value in facts.items()),
    ]
    messages = [f"# {message.role.upper()}\n{message.content}" for message in role.messages]
    return "\n\n".join(["\n".join(head), *messages])
