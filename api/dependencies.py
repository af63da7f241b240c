"""What FastAPI passes to a route: the services, the caller and its tenant."""

from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from tickertape.api.edge.caller import Caller
from tickertape.api.services import Services
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.runtime.wait import wait_at_most


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _usable(services: Annotated[Services, Depends(_services)]) -> Services:
    # Until the number of partitions is agreed on, a request could be searched in the wrong one.
    readiness = services.readiness
    # A process that starts is ready in a moment, and its first callers need no error.
    if not readiness.agreed and readiness.denial is None:
        await wait_at_most(readiness.has_agreed, services.timing.start_wait_s)
    if not readiness.agreed:
        raise Unavailable if readiness.denial is None else AccessDenied(readiness.denial)
    return services


_bearer = HTTPBearer(
    auto_error=False,
    description="An API key, if the server has keys. A ticket is sent as `Ticket <ticket>`; "
    "streams also accept it as the query `ticket`.",
)


async def _caller(request: Request, _: Annotated[object, Security(_bearer)]) -> Caller:
    # api/edge/auth.py has checked the key; the scheme is here for the OpenAPI document.
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]
"""The caller that the call's API key belongs to."""


async def _tenant(caller: CurrentCaller) -> str:
    return caller.principal


AnyServices = Annotated[Services, Depends(_services)]
"""The services, whatever state Redis is in."""
UsableServices = Annotated[Services, Depends(_usable)]
"""The services once Redis has accepted this process, for which a route waits a moment, then 503."""
Tenant = Annotated[str, Depends(_tenant)]
"""The tenant, or the user of a tenant, whose data the call may reach: `Caller.principal`."""
