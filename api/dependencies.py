"""What FastAPI passes to a route: the services, the caller and its tenant.

Each of these takes the call alone. FastAPI resolves a function that takes another one in a step of
its own for each call, and these steps were a fifth of the API's part of a request.
"""

from typing import Annotated

from fastapi import Depends, Request

from tickertape.api.edge.caller import Caller
from tickertape.api.services import Services
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.runtime.wait import wait_at_most


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _usable(request: Request) -> Services:
    services: Services = request.app.state.services
    # Until the number of partitions is agreed on, a request could be searched in the wrong one.
    readiness = services.readiness
    # A process that starts is ready in a moment, and its first callers need no error.
    if not readiness.agreed and readiness.denial is None:
        await wait_at_most(readiness.has_agreed, services.timing.start_wait_s)
    if not readiness.agreed:
        raise Unavailable if readiness.denial is None else AccessDenied(readiness.denial)
    return services


async def _caller(request: Request) -> Caller:
    # api/edge/auth.py has checked the key, and api/openapi.py documents the scheme.
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]
"""The caller that the call's API key belongs to."""


async def _tenant(request: Request) -> str:
    principal: str = request.state.caller.principal
    return principal


AnyServices = Annotated[Services, Depends(_services)]
"""The services, whatever state Redis is in."""
UsableServices = Annotated[Services, Depends(_usable)]
"""The services once Redis has accepted this process, for which a route waits a moment, then 503."""
Tenant = Annotated[str, Depends(_tenant)]
"""The tenant, or the user of a tenant, whose data the call may reach: `Caller.principal`."""
