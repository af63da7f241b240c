"""End users: forged, stolen and foreign tokens, and what users of one tenant see of each other."""

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx2
import jwt
import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from tests.support.issuer import AUDIENCE, ISSUER, Issuer, running_issuer
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.jwks import Jwks
from tickertape.api.edge.route_scopes import ROUTE_SCOPES
from tickertape.api.edge.user_tokens import USER_SCOPES
from tickertape.api.services import ApiTiming
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

KEY = {"Authorization": "Bearer the-key-of-acme-01"}
FAST = ApiTiming(access_interval_s=0.02)


@pytest.fixture(scope="module")
def shared_issuer() -> Iterator[Issuer]:
    with running_issuer() as issuer:
        yield issuer


@pytest.fixture
def issuer(shared_issuer: Issuer) -> Issuer:
    shared_issuer.is_down = False
    return shared_issuer


@asynccontextmanager
async def signed_in(
    redis_url: str, issuer: Issuer, **settings: object
) -> AsyncIterator[RunningApi]:
    given = {
        "jwt_jwks_url": issuer.url, "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE,
        "api_keys": "acme:the-key-of-acme-01", **settings,
    }  # fmt: skip
    async with running_api(redis_url, timing=FAST, **given) as api:  # type: ignore[arg-type]  # settings
        yield api


@pytest.fixture
async def api(redis_url: str, issuer: Issuer) -> AsyncIterator[RunningApi]:
    async with signed_in(redis_url, issuer) as running:
        yield running


def by(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def status(api: RunningApi, token: str, path: str = "/chat") -> int:
    return (await api.client.get(path, headers=by(token))).status_code


async def submitted(api: RunningApi, headers: dict[str, str], **fields: object) -> str:
    answer = await api.client.post("/chat", json={"message": "hi", **fields}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


async def test_a_token_of_the_issuer_is_accepted_and_read_once(
    api: RunningApi, issuer: Issuer
) -> None:
    before = issuer.reads
    for _ in range(3):
        assert await status(api, issuer.token()) == 200
    assert issuer.reads == before + 1


def unsigned(issuer: Issuer) -> str:
    """With alg=none, and without a signature or with the one of a valid token."""
    _, payload, signature = issuer.token().split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "first"}).encode())
    return f"{header.decode().rstrip('=')}.{payload}.{signature}"


def confused(issuer: Issuer) -> str:
    """Signed with HS256, and the issuer's public key as the secret."""
    key_id, key = [*issuer.keys.items()][-1]
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    payload = issuer.token().split(".")[1]
    signed = f"{part({'alg': 'HS256', 'kid': key_id})}.{payload}"
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(mac.sign(signed.encode(), public)).decode().rstrip("=")
    return f"{signed}.{signature}"


def of_another_key(issuer: Issuer, key_id: str = "first") -> str:
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    key = generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": key_id})


def with_other_claims(issuer: Issuer) -> str:
    """The signature of a valid token behind other claims."""
    header, payload, signature = issuer.token().split(".")
    claims = {**json.loads(base64.urlsafe_b64decode(payload + "==")), "sub": "bob"}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"{header}.{changed}.{signature}"


FORGERIES = [unsigned, confused, of_another_key, with_other_claims]


@pytest.mark.parametrize("forge", FORGERIES)
async def test_a_forged_token_is_refused_and_not_repeated(
    api: RunningApi, issuer: Issuer, forge: object
) -> None:
    token = forge(issuer)  # type: ignore[operator]  # a function
    with structlog.testing.capture_logs() as logged:
        answer = await api.client.get("/chat", headers=by(token))
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")
    assert token.split(".")[1] not in answer.text + str(logged)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": 1},
        {"exp": None},
        {"nbf": 2**40},
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "another service"},
        {"aud": None},
        {"user": None},
        {"user": ""},
        {"user": "u" * 257},
        {"tenant": "a b"},
        {"tenant": "acme~0123"},
        {"tenant": None},
    ],
)
async def test_a_token_for_another_time_service_or_tenant_is_refused(
    api: RunningApi, issuer: Issuer, claims: dict[str, object]
) -> None:
    assert await status(api, issuer.token(**claims)) == 401  # type: ignore[arg-type]  # claims


async def test_a_token_that_expires_in_the_farthest_future_is_accepted(
    api: RunningApi, issuer: Issuer
) -> None:
    assert await status(api, issuer.token(exp=10**400)) == 200


async def test_unknown_key_ids_do_not_flood_the_issuer(api: RunningApi, issuer: Issuer) -> None:
    assert await status(api, issuer.token()) == 200
    before = issuer.reads
    for number in range(5):
        assert await status(api, of_another_key(issuer, f"made up {number}")) == 401
    assert issuer.reads <= before + 1


async def test_a_new_key_of_the_issuer_is_found_and_an_outage_keeps_the_old_ones() -> None:
    with running_issuer() as issuer:
        now_s = 100.0
        jwks = Jwks(issuer.url, clock=lambda: now_s)
        assert await jwks.find("first") is not None
        issuer.rotate("second")
        assert await jwks.find("second") is None
        now_s += 10
        assert await jwks.find("second") is not None
        issuer.is_down = True
        now_s += 301
        assert await jwks.find("first") is not None
        assert issuer.reads == 3


async def test_without_the_keys_of_the_issuer_users_get_503_and_keys_work(
    redis_url: str, issuer: Issuer
) -> None:
    issuer.is_down = True
    async with signed_in(redis_url, issuer) as api:
        assert await status(api, issuer.token()) == 503
        assert (await api.client.get("/chat", headers=KEY)).status_code == 200


async def test_a_user_sees_nothing_of_another_user_on_any_route(
    api: RunningApi, issuer: Issuer, worker: Rig
) -> None:
    ann, bob = by(issuer.token("ann")), by(issuer.token("bob"))
    own = await submitted(api, ann, message="of Ann", conversation_id="c")
    await worker.claim()
    await worker.finish("of Ann")
    response_id = own.replace("r", "resp_r", 1)
    for (method, route), scope in ROUTE_SCOPES.items():
        path = route.replace("{request_id}", own).replace("{response_id}", response_id)
        path = path.replace("{conversation_id:path}", "c").replace("{chat_id:path}", "c")
        for headers in (bob, KEY):
            body = {"ticket": "tk1_x"} if path == "/tickets/revoke" else {"rights": "read"}
            if path == "/streams" or path.endswith("c/stream") or scope in {"submit", "metrics"}:
                continue
            answer = await api.client.request(method, path, headers=headers, json=body)
            assert "of Ann" not in answer.text, path
            assert own not in answer.text, path
    body = {"message": "hi", "conversation_id": "c", "parent_id": own}
    assert (await api.client.post("/chat", json=body, headers=bob)).status_code == 400
    continued = {"input": "hi", "previous_response_id": response_id, "background": True}
    unknown = await api.client.post("/v1/responses", json=continued, headers=bob)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (
        400,
        "previous_response_not_found",
    )
    for headers in (bob, KEY):
        await assert_streams_hold_nothing_of(api, "of Ann", headers)
    shown = (await api.client.get("/conversations/c", headers=ann)).json()
    assert [turn["request_id"] for turn in shown["turns"]] == [own]
    assert (await api.client.get("/chat", headers=ann)).json()["requests"][0]["request_id"] == own


async def assert_streams_hold_nothing_of(
    api: RunningApi, text: str, headers: dict[str, str]
) -> None:
    """Submit to the conversation `c` as another caller, and read both streams up to that."""
    own = await submitted(api, headers, conversation_id="c")
    many = {"conversations": [{"conversation_id": "c"}]}
    for method, path, body in (
        ("GET", "/conversations/c/stream", None),
        ("POST", "/streams", many),
        ("GET", "/api/chat/c/stream", None),
    ):
        async with api.client.stream(method, path, headers=headers, json=body) as stream:
            read = ""
            async for part in stream.aiter_text():
                read += part
                if own in read:
                    break
            assert text not in read


async def test_two_users_have_two_conversations_of_one_name_and_no_shared_keys(
    api: RunningApi, issuer: Issuer
) -> None:
    ann, bob = by(issuer.token("ann")), by(issuer.token("bob"))
    ids = {
        await submitted(api, {**user, "Idempotency-Key": "k"}, conversation_id="main")
        for user in (ann, bob)
    }
    assert len(ids) == 2
    for user in (ann, bob):
        shown = (await api.client.get("/conversations/main", headers=user)).json()
        assert len(shown["turns"]) == 1


async def test_a_user_of_the_same_name_in_another_tenant_is_another_user(
    api: RunningApi, issuer: Issuer
) -> None:
    own = await submitted(api, by(issuer.token("ann", "acme")))
    assert await status(api, issuer.token("ann", "other"), f"/chat/{own}") == 404
    assert await status(api, issuer.token("ann", "acme"), f"/chat/{own}") == 200


async def test_a_back_end_acts_for_one_of_its_users_with_its_key(
    api: RunningApi, issuer: Issuer
) -> None:
    own = await submitted(api, {**KEY, "X-Tickertape-User": "ann"})
    assert await status(api, issuer.token("ann"), f"/chat/{own}") == 200
    assert await status(api, issuer.token("bob"), f"/chat/{own}") == 404
    assert (await api.client.get(f"/chat/{own}", headers=KEY)).status_code == 404
    foreign = {**by(issuer.token("bob")), "X-Tickertape-User": "ann"}
    assert (await api.client.get(f"/chat/{own}", headers=foreign)).status_code == 404
    long = {**KEY, "X-Tickertape-User": "u" * 257}
    assert (await api.client.get("/chat", headers=long)).status_code == 400


async def test_a_user_reads_no_metrics(api: RunningApi, issuer: Issuer) -> None:
    assert {"metrics", "admin"}.isdisjoint(USER_SCOPES)
    for path in ("/metrics", "/status.json"):
        assert await status(api, issuer.token(), path) == 403


async def test_a_stream_ends_when_its_token_expires(api: RunningApi, issuer: Issuer) -> None:
    token = issuer.token(exp=int(time.time()) - 28)  # valid for two more seconds of leeway
    own = await submitted(api, by(token))
    async with api.client.stream("GET", f"/chat/{own}/stream", headers=by(token)) as stream:
        with pytest.raises(httpx2.TransportError):
            await stream.aread()


async def test_a_ticket_of_a_user_reaches_the_data_of_this_user_only(
    api: RunningApi, issuer: Issuer
) -> None:
    ann, bob = by(issuer.token("ann")), by(issuer.token("bob"))
    for user in (ann, bob):
        await submitted(api, user, conversation_id="c")
    issued = await api.client.post("/conversations/c/ticket", json={"rights": "read"}, headers=ann)
    ticket = {"Authorization": f"Ticket {issued.json()['ticket']}"}
    shown = (await api.client.get("/conversations/c", headers=ticket)).json()
    assert shown == (await api.client.get("/conversations/c", headers=ann)).json()
    revoked = await api.client.post(
        "/tickets/revoke", json={"ticket": issued.json()["ticket"]}, headers=bob
    )
    assert revoked.status_code == 404


async def test_one_tenant_of_all_tokens_needs_no_claim(redis_url: str, issuer: Issuer) -> None:
    async with signed_in(redis_url, issuer, jwt_tenant="acme") as api:
        assert await status(api, issuer.token(tenant=None)) == 200  # type: ignore[arg-type]  # left out


def test_tokens_for_any_service_stop_the_start(redis_url: str) -> None:
    from tickertape.api.app import create_app

    settings = Settings(redis_url=redis_url, jwt_jwks_url="https://id.example/keys")
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_JWT_ISSUER"):
        create_app(settings)


def test_keys_of_an_issuer_are_not_read_over_plain_http() -> None:
    with pytest.raises(ValidationError, match="https"):
        Settings(jwt_jwks_url="http://id.example/keys")
