"""A webhook is signed as the specification says, so any receiver can check it."""

import base64
import time

import pytest

from tests.support.receiver import SECRET, verify
from tickertape.deliver.signature import read_secret, signed_headers

BODY = b'{"type":"response.completed"}'


def headers(*secrets: str, at_s: float | None = None) -> dict[str, str]:
    keys = [read_secret(secret) for secret in secrets]
    return signed_headers(keys, "evt_1", int(time.time() if at_s is None else at_s), BODY)


def test_a_known_signature_is_computed() -> None:
    """The example of the specification's own library."""
    key = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signed_headers(
        [key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_receiver_with_the_secret_accepts() -> None:
    assert verify(SECRET, headers(SECRET), BODY) == {"type": "response.completed"}


@pytest.mark.parametrize("changed", ["body", "id", "time", "secret"])
def test_a_receiver_refuses_what_was_changed(changed: str) -> None:
    sent, body, secret = headers(SECRET), BODY, SECRET
    match changed:
        case "body":
            body += b" "
        case "id":
            sent["webhook-id"] = "evt_2"
        case "time":
            sent["webhook-timestamp"] = str(int(sent["webhook-timestamp"]) + 1)
        case "secret":
            secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(ValueError, match="no signature fits"):
        verify(secret, sent, body)


def test_an_old_webhook_that_is_sent_again_by_a_stranger_is_refused() -> None:
    with pytest.raises(ValueError, match="too old"):
        verify(SECRET, headers(SECRET, at_s=time.time() - 3600), BODY)


def test_while_a_secret_is_replaced_receivers_with_either_one_accept() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 24).decode()
    for secret in (SECRET, new):
        verify(secret, headers(SECRET, new), BODY)


@pytest.mark.parametrize("secret", ["", "secret", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%%"])
def test_a_secret_that_others_could_guess_or_not_read_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes"):
        read_secret(secret)
