"""Lines of the audit log for commands by which an operator changes who is let in."""

import contextlib
import getpass
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

from tickertape.broker.errors import Refused, Unavailable
from tickertape.cli.exits import CommandFailed

_STDOUT = "-"
_LOCAL = "local"


@contextlib.contextmanager
def audited(
    setting: str | None, command: str, subject: str, *, tenant: str | None = None
) -> Iterator[None]:
    """Write a line when the block ends, also when it fails, if `setting` names an audit log.

    `subject` is what the command is about, as a path. Raises SettingsInvalid before the block if
    the file cannot be written, so that no key is made without a line. In place of the standard
    output, which has the new key alone, lines go to the standard error.
    """
    if setting is None:
        yield
        return
    # The edge is a part of the API, whose packages take a while to import.
    from tickertape.api.edge.audit import Audit, AuditLine, StreamSink, audit_of

    audit = Audit(StreamSink(sys.stderr)) if setting == _STDOUT else audit_of(setting)
    outcome = 500
    try:
        yield
        outcome = 200
    except Unavailable:
        outcome = 503
        raise
    except Refused:
        outcome = 409
        raise
    except CommandFailed:
        outcome = 404
        raise
    finally:
        if audit is not None:
            audit.write(
                AuditLine(
                    time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                    action="admin",
                    method=command,
                    object=subject,
                    address=_LOCAL,
                    tenant=tenant,
                    user=_account(),
                    outcome=outcome,
                )
            )
            audit.close()


def _account() -> str:
    """The account on this machine that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # as in a container without a list of accounts
        return str(os.getuid())
