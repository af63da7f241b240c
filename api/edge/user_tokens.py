"""Recognizes end users by the JWT of an issuer that the settings name."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import jwt

from tickertape.api.edge.caller import Caller, CallScope, Unrecognized
from tickertape.api.edge.jwks import Jwks
from tickertape.api.edge.permits import Permits
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.principals import is_tenant_name
from tickertape.runtime.settings import Settings

# Only algorithms with a public key. With HS256, the public key of the issuer would verify what
# anybody signed with it.
ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
USER_SCOPES: frozenset[CallScope] = frozenset({"submit", "read", "cancel", "erase", "list"})
_LEEWAY_S = 30
_MOST_CHARS = 16_384
_MOST_USER_CHARS = 256
_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)


class UserTokens:
    """Verifies tokens: signature, issuer, audience, times, and the claims of tenant and user."""

    def __init__(self, settings: Settings, permits: Permits, jwks: Jwks | None = None) -> None:
        if settings.jwt_jwks_url is None or not (settings.jwt_issuer and settings.jwt_audience):
            raise SettingsInvalid(
                "TICKERTAPE_JWT_JWKS_URL needs TICKERTAPE_JWT_ISSUER and TICKERTAPE_JWT_AUDIENCE, "
                "or tokens for other services would be accepted: set both"
            )
        self._settings = settings
        self._permits = permits
        self._jwks = jwks or Jwks(settings.jwt_jwks_url)

    async def find(self, token: str) -> Caller | None:
        """The caller of a token; None for a text that is no JWT.

        Raises Unrecognized for a token that is not valid, and Unavailable.
        """
        if len(token) > _MOST_CHARS or not _FORM.fullmatch(token):
            return None
        try:
            header = jwt.get_unverified_header(token)
            key_id = header.get("kid")
            key = await self._jwks.find(key_id if isinstance(key_id, str) else None)
            if key is None:
                raise _invalid("its key is not one of the issuer")
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("it has expired; get a new one") from None
        except jwt.PyJWTError as error:
            # The name of the error, because its message may repeat a part of the token.
            raise _invalid(type(error).__name__) from None
        return self._caller(token, claims)

    def _caller(self, token: str, claims: Mapping[str, Any]) -> Caller:
        settings = self._settings
        user = claims.get(settings.jwt_user_claim)
        if not isinstance(user, str) or not 1 <= len(user) <= _MOST_USER_CHARS:
            raise _invalid(f"its claim {settings.jwt_user_claim} names no user")
        tenant = settings.jwt_tenant or claims.get(settings.jwt_tenant_claim)
        if not is_tenant_name(tenant):
            raise _invalid(f"its claim {settings.jwt_tenant_claim} names no tenant")
        name = "token:" + hashlib.sha256(token.encode()).hexdigest()
        ends_ms = (int(claims["exp"]) + _LEEWAY_S) * 1000
        return Caller(
            tenant=tenant, user=user, scopes=USER_SCOPES, permit=self._permits.get(name, ends_ms)
        )


def _invalid(reason: str) -> Unrecognized:
    return Unrecognized("invalid_token", f"This token is not valid: {reason}.")
