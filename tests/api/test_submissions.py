"""From an `Ask` to a submission: roles, parameters, and when two bodies count as the same."""

from dataclasses import replace

import pytest

from tickertape.api.asking import Ask, fingerprint, submission_of
from tickertape.roles import Role, RoleMessage, RoleNotFound, Roles

ASK = Ask(wire="native", messages=[{"role": "user", "content": "hi"}])
ROLES = Roles(
    [
        Role(
            name="pirate",
            description="Talks like one",
            messages=(RoleMessage("system", "Arr."), RoleMessage("assistant", "Ahoy!")),
            model_defaults={"model": "ship-1", "temperature": 0.5},
            variables={},
        )
    ]
)


def test_the_payload_keeps_the_roles_messages_apart_from_the_callers() -> None:
    submission = submission_of(replace(ASK, role="pirate"), ROLES, tenant="t")
    assert submission.payload == {
        "role_messages": [
            {"role": "system", "content": "Arr."},
            {"role": "assistant", "content": "Ahoy!"},
        ],
        "messages": [{"role": "user", "content": "hi"}],
        "params": {"model": "ship-1", "temperature": 0.5},
    }
    assert submission.question == [{"role": "user", "content": "hi"}]


def test_a_callers_parameters_override_those_of_the_role() -> None:
    ask = replace(ASK, role="pirate", params={"model": "boat-2", "top_p": 0.1})
    submission = submission_of(ask, ROLES, tenant="t")
    assert submission.payload["params"] == {"model": "boat-2", "temperature": 0.5, "top_p": 0.1}
    assert submission.model == "boat-2"


def test_a_reader_sees_the_parameters_but_not_the_prompt() -> None:
    ask = replace(ASK, role="pirate", conversation_id="c", metadata={"k": "v"})
    assert submission_of(ask, ROLES, tenant="t").head == {
        "wire": "native",
        "role": "pirate",
        "model": "ship-1",
        "conversation_id": "c",
        "metadata": {"k": "v"},
    }


def test_a_reader_sees_the_options_of_a_request_but_no_large_variables() -> None:
    roles = Roles([Role("nurse", "Explains", (RoleMessage("system", "${A}"),), {}, {"A": ""})])
    ask = replace(ASK, role="nurse", params={"temperature": 0}, variables={"A": "b"})
    head = submission_of(ask, roles, tenant="t").head
    assert (head["temperature"], head["variables"]) == (0, {"A": "b"})
    large = replace(ask, variables={"A": "b" * 4096})
    assert "variables" not in submission_of(large, roles, tenant="t").head


def test_a_repeat_of_a_request_to_version_0_1_0_is_not_a_conflict() -> None:
    kept = "c73930568d92c063f9521d64525dc82a30a39d296342114dc7becc8382cd73ec"
    assert fingerprint(replace(ASK, params={"model": "m"})) == kept


def test_parameters_for_openai_alone_are_apart_and_count_as_part_of_the_request() -> None:
    ask = replace(ASK, openai_params={"prompt_cache_key": "k"})
    payload = submission_of(ask, ROLES, tenant="t").payload
    assert (payload["params"], payload["openai_params"]) == ({}, {"prompt_cache_key": "k"})
    assert fingerprint(ask) != fingerprint(ASK)


def test_fields_that_a_wire_echoes_are_only_in_the_log() -> None:
    submission = submission_of(replace(ASK, echo={"k": "v"}), ROLES, tenant="t")
    assert submission.echo == {"k": "v"}
    assert "echo" not in submission.head
    assert "echo" not in submission.payload


def test_a_conversation_stores_only_new_messages_and_a_submission_can_exclude_the_memory() -> None:
    new = [{"role": "user", "content": "new"}]
    submission = submission_of(replace(ASK, question=new, memory=False), ROLES, tenant="t")
    assert submission.question == new
    assert submission.payload["messages"] == ASK.messages
    assert submission.payload["memory"] is False


@pytest.mark.parametrize("name", [None, "", "default"])
def test_a_submission_needs_no_role(name: str | None) -> None:
    submission = submission_of(replace(ASK, role=name), ROLES, tenant="t")
    assert submission.payload["role_messages"] == []
    assert submission.head == {"wire": "native"}


def test_an_unknown_role_is_refused_with_the_known_names() -> None:
    with pytest.raises(RoleNotFound, match="pirate"):
        submission_of(replace(ASK, role="ninja"), ROLES, tenant="t")


def test_the_order_of_fields_does_not_make_another_body() -> None:
    one = replace(ASK, params={"model": "m", "top_p": 1.0}, metadata={"a": "1", "b": "2"})
    same = replace(ASK, params={"top_p": 1.0, "model": "m"}, metadata={"b": "2", "a": "1"})
    assert fingerprint(one) == fingerprint(same)


@pytest.mark.parametrize(
    "change",
    [
        {"messages": [{"role": "user", "content": "ho"}]},
        {"role": "pirate"},
        {"variables": {"LEVEL": "x"}},
        {"params": {"temperature": 0.0}},
        {"on_busy": "reject"},
        {"on_interruption": "fail"},
        {"metadata": {"a": "1"}},
        {"wire": "text"},
    ],
)
def test_every_part_of_an_ask_makes_another_body(change: dict[str, object]) -> None:
    assert fingerprint(replace(ASK, **change)) != fingerprint(ASK)  # type: ignore[arg-type]  # a table of parts
