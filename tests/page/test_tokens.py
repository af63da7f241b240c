"""People who sign in with a token: what each of them sees, and what ends with the token."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.page.looking import ANSWERS, ask, shows
from tests.page.site import Site, running_site
from tests.page.test_keys import DOOR, HAS_ROLES, REFUSAL, give
from tests.page.test_sidebar import LIST
from tests.support.browser import Browser
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, running_issuer
from tests.support.upstream import ScriptedUpstream
from tickertape.api.services import ApiTiming

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

# Tokens are accepted for half a minute after their end, because clocks differ.
LEEWAY_S = 30


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running_issuer() as running:
        yield running


@pytest.fixture
async def site(redis_url: str, upstream: ScriptedUpstream, issuer: Issuer) -> AsyncIterator[Site]:
    async with running_site(
        redis_url,
        upstream,
        timing=ApiTiming(access_interval_s=0.05),
        jwt_jwks_url=issuer.url,
        jwt_issuer=ISSUER,
        jwt_audience=AUDIENCE,
    ) as running:
        yield running


async def test_two_people_of_a_tenant_sign_in_with_tokens_and_see_only_their_own(
    browser: Browser, site: Site, issuer: Issuer
) -> None:
    ann = await browser.open(f"{site.url}?c=same")
    await give(ann, issuer.token("ann"))
    await ann.wait_for(f"!({DOOR}) && {HAS_ROLES}")
    await ask(ann, "Of Ann?")
    await shows(ann, ANSWERS, ["You said: Of Ann?"])
    bob = await browser.open(f"{site.url}?c=same", beside=ann)
    await give(bob, issuer.token("bob"))
    await bob.wait_for(f"!({DOOR}) && {HAS_ROLES}")
    await ask(bob, "Of Bob?")
    await shows(bob, ANSWERS, ["You said: Of Bob?"])
    await shows(bob, LIST, ["Of Bob?"])
    await ann.reload()
    await shows(ann, ANSWERS, ["You said: Of Ann?"])
    await shows(ann, LIST, ["Of Ann?"])
    kept = await ann.evaluate("JSON.stringify(localStorage)")
    assert "eyJ" not in kept


async def test_a_forged_token_is_refused_and_a_valid_one_lets_in(
    browser: Browser, site: Site, issuer: Issuer
) -> None:
    page = await browser.open(site.url)
    header, payload, signature = issuer.token("ann").split(".")
    await give(page, f"{header}.{payload}.{signature[::-1]}")
    await page.wait_for(f"{DOOR} && {REFUSAL}")
    await give(page, issuer.token("ann"))
    await page.wait_for(HAS_ROLES)
    await ask(page, "Hi?")
    await shows(page, ANSWERS, ["You said: Hi?"])


async def test_the_page_asks_for_a_new_token_when_its_own_expires_and_goes_on(
    browser: Browser, site: Site, issuer: Issuer
) -> None:
    page = await browser.open(f"{site.url}?c=c")
    await give(page, issuer.token("ann", exp=int(time.time()) + 8 - LEEWAY_S))
    await page.wait_for(HAS_ROLES)
    await ask(page, "Before?")
    await shows(page, ANSWERS, ["You said: Before?"])
    await page.wait_for(f"{DOOR} && {REFUSAL}", timeout_s=30)
    await give(page, issuer.token("ann"))
    await page.wait_for(f"!{DOOR}")
    await ask(page, "After?")
    await shows(page, ANSWERS, ["You said: Before?", "You said: After?"])
