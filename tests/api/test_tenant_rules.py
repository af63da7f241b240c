"""What a tenant may pass on to the upstream: models, fields, tools, lengths, addresses of files."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.upstream import ScriptedUpstream
from tickertape.api.asking import Ask, submission_of
from tickertape.api.edge.image_sources import refused_source
from tickertape.api.edge.problems import Problem
from tickertape.api.edge.tenant_rules import (
    TenantRulebook,
    TenantRules,
    answer_limit,
    refuse_other_models,
)
from tickertape.broker.errors import SettingsInvalid
from tickertape.roles import Role, Roles
from tickertape.runtime.public_hosts import is_public
from tickertape.runtime.settings import Settings

PUBLIC = frozenset({"https", "data"})


def asking(address: str) -> list[dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": address}}
    return [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, part]}]


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "017700000001", "0177.0.0.1",
        "127.0.0.1.", "0", "0.0.0.0", "10.0.0.1", "10.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "0xa9fea9fe", "2852039166", "100.64.0.1", "192.0.2.1", "224.0.0.1",
        "255.255.255.255", "999.1.1.1", "1.2.3.4.5",
        "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]",
        "[fe80::1%25eth0]", "[fd00::1]", "[fc00::1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]",
        "[2002:7f00:1::]", "[2001:0:7f00:1::]", "[ff02::1]",
        "localhost", "LOCALHOST", "a.localhost", "redis", "metadata.google.internal",
        "printer.local", "nas.lan", "vllm.models.svc", "%31%32%37.0.0.1", "127。0。0。1",
        "①②⑦.⓪.⓪.①", "ⓛocalhost", "", ".", "-", "a..b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["https://{}/x.png", "HTTPS://{}", "https://{}:8443/?a=b#c"])
def test_an_address_inside_a_network_is_refused_in_every_notation(host: str, form: str) -> None:
    assert refused_source(asking(form.format(host)), PUBLIC) is not None


@pytest.mark.parametrize(
    "address",
    [
        "https://good.example@127.0.0.1/", "https://user:pass@good.example/", "https://@good.example/",
        "https://127.0.0.1\\@good.example/", "https://good.example\t/", " https://good.example/",
        "https://good.example/a b", "https:\\\\good.example", "https://[::1", "https://h:99999/",
        "//good.example/x", "good.example/x", "/etc/passwd", "file:///etc/passwd", "x" * 100,
        "http://good.example/", "ftp://good.example/", "gopher://good.example/", "gs://bucket/x",
        "javascript:alert(1)", "",
    ],
)  # fmt: skip
def test_an_address_of_another_form_is_refused(address: str) -> None:
    reason = refused_source(asking(address), PUBLIC)
    assert reason is not None
    assert "good" not in reason


@pytest.mark.parametrize(
    "address",
    [
        "https://good.example/x.png", "https://sub.good.example:8443/x?y=z#w", "https://1.1.1.1/x",
        "https://[2606:4700::1111]/", "https://xn--bcher-kva.example/", "https://under_score.a.b/",
        "data:image/png;base64,AAAA", "DATA:image/png;base64,AA AA", "HTTPS://GOOD.EXAMPLE/",
    ],
)  # fmt: skip
def test_a_public_address_and_data_are_accepted(address: str) -> None:
    assert refused_source(asking(address), PUBLIC) is None


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": "http://10.0.0.1/"},
        {"type": "video_url", "video_url": {"url": "http://10.0.0.1/"}},
        {"type": "file", "file": {"file_data": "http://10.0.0.1/"}},
        {"type": "file", "file_url": "http://10.0.0.1/"},
        {"type": "input_audio", "input_audio": {"data": "http://10.0.0.1/", "format": "wav"}},
        {"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/"}},
        {"type": "image", "image": "http://10.0.0.1/"},
        {"type": "image", "image": ["http://10.0.0.1/"]},
        {"type": "tool_result", "content": [{"type": "x", "source": {"url": "http://10.0.0.1/"}}]},
    ],
)
def test_an_address_in_any_kind_of_part_is_found(part: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": [part]}]
    assert refused_source(messages, PUBLIC) is not None
    assert refused_source([{"role": "user", "content": part}], PUBLIC) is not None
    assert refused_source([{"role": "user", "content": "", "images": [part]}], PUBLIC) is not None


def test_a_tool_on_a_server_inside_a_network_is_refused() -> None:
    rules = TenantRules()
    assert refusal(rules, tools=[{"type": "mcp", "server_url": "http://10.0.0.1/"}]) == (
        400, "tools",
    )  # fmt: skip
    rules.check(ask(tools=[{"type": "mcp", "server_url": "https://tools.example/"}]))
    schema = {"properties": {"url": {"type": "string", "default": "http://localhost"}}}
    rules.check(ask(tools=[{"type": "function", "function": {"parameters": schema}}]))


def test_a_text_that_names_an_address_is_no_address() -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "http://10.0.0.1/"}]}]
    assert refused_source(messages, PUBLIC) is None
    assert refused_source([{"role": "user", "content": "http://10.0.0.1/"}], PUBLIC) is None
    call = {"function": {"name": "open", "arguments": "http://10.0.0.1/"}}
    assert refused_source([{"role": "assistant", "tool_calls": [call]}], PUBLIC) is None
    use = {"type": "tool_use", "input": {"url": "http://10.0.0.1/"}}
    assert refused_source([{"role": "assistant", "content": [use]}], PUBLIC) is None


def test_listed_hosts_may_be_private_and_others_may_not() -> None:
    sources = frozenset({"data", "http://files", "https://*.cdn.example"})
    for address in ("http://files/x", "http://files:8080/x", "https://a.cdn.example/x"):
        assert refused_source(asking(address), sources) is None, address
    for address in ("http://files.evil.example/", "https://cdn.example/", "http://me@files/"):
        assert refused_source(asking(address), sources) is not None, address
    assert refused_source(asking("data:,x"), frozenset()) is not None


def test_one_label_and_numbers_are_no_public_hosts() -> None:
    assert not is_public("intranet")
    assert not is_public("0x")
    assert is_public("8.8.8.8")


def ask(**params: Any) -> Ask:
    return Ask(wire="native", messages=[{"role": "user", "content": "hi"}], params=params)


def refusal(rules: TenantRules, **params: Any) -> tuple[int, str | None]:
    with pytest.raises(Problem) as caught:
        rules.check(ask(**params))
    return caught.value.status_code, caught.value.param


def test_a_tenant_has_its_own_rules_and_those_of_all_where_it_has_none() -> None:
    book = TenantRulebook("* max_tokens=100 max_tools=1, acme models=gpt-*+o3 max_tokens=7")
    assert book.of("acme") == TenantRules(models=("gpt-*", "o3"), max_tokens=7, max_tools=1)
    assert book.of("other") == TenantRules(max_tokens=100, max_tools=1)
    assert TenantRulebook(None).of("any") == TenantRules()


@pytest.mark.parametrize(
    "text",
    [
        "acme",
        "acme max_tokens",
        "acme max_tokens=x",
        "acme max_tokens=0",
        "acme cats=1",
        "a/b max_tools=1",
    ],
)
def test_wrong_rules_stop_the_start_and_name_the_variable(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="TICKERTAPE_TENANT_RULES"):
        TenantRulebook(text)


def test_a_number_is_kept_with_all_its_digits_or_refused_with_its_name() -> None:
    assert TenantRulebook("* tokens_per_day=2500000000").of("t").tokens_per_day == 2_500_000_000
    with pytest.raises(SettingsInvalid, match="tokens_per_day"):
        TenantRulebook("* tokens_per_day=1000000000000")


def test_models_fields_and_tools_beyond_the_lists_are_refused_by_name() -> None:
    rules = TenantRulebook("* models=gpt-* fields=temperature+tools max_tools=1").of("any")
    rules.check(ask(model="gpt-5", temperature=1, tools=[{}], max_tokens=5))
    rules.check(ask())
    assert refusal(rules, model="o3") == (403, "model")
    assert refusal(rules, logit_bias={}) == (403, "logit_bias")
    assert refusal(rules, tools=[{}, {}]) == (400, "tools")


@pytest.mark.parametrize("name", ["n", "best_of"])
def test_more_than_one_answer_is_refused_on_every_wire(name: str) -> None:
    assert refusal(TenantRules(), **{name: 5}) == (400, name)


def test_a_limit_of_tokens_lowers_what_was_asked_and_is_set_where_nothing_was() -> None:
    rules = TenantRules(max_tokens=10)
    assert rules.limited({}) == {"max_tokens": 10}
    assert rules.limited({"max_completion_tokens": 99}) == {"max_completion_tokens": 10}
    assert rules.limited({"max_tokens": 5, "max_new_tokens": 99}) == {
        "max_tokens": 5, "max_new_tokens": 10,
    }  # fmt: skip
    for value in ("99", 99.0, True, [99], -1, 0):
        with pytest.raises(Problem):
            rules.limited({"max_tokens": value})


@pytest.mark.parametrize("name", ["max_new_tokens", "n_predict", "max_output_tokens"])
def test_a_limit_that_few_upstreams_read_does_not_replace_the_one_that_all_read(name: str) -> None:
    assert TenantRules(max_tokens=10).limited({name: 5}) == {name: 5, "max_tokens": 10}


def test_the_largest_limit_by_any_name_is_reserved() -> None:
    assert answer_limit({"max_tokens": 1, "max_completion_tokens": 900, "n_predict": -1}) == 900
    assert answer_limit({"max_tokens": "900"}) is None


@pytest.mark.parametrize("name", ["openai_params", "cache_key"])
def test_a_field_with_the_name_of_a_stored_part_is_refused(name: str) -> None:
    assert refusal(TenantRules(), **{name: {"n": 128}}) == (400, name)


@pytest.mark.parametrize("name", ["models", "fallbacks", "context_window_fallbacks", "preset"])
def test_no_field_names_further_models_for_a_limited_caller(name: str) -> None:
    with pytest.raises(Problem):
        refuse_other_models(ask(**{name: ["big"]}))


ADDRESS = "https://169.254.169.254/latest"
PICTURE = {"type": "image_url", "image_url": {"url": ADDRESS}}
ITEM = {"role": "user", "content": [{"type": "input_image", "image_url": ADDRESS}]}
FILE = {"type": "file", "mediaType": "image/png", "url": ADDRESS}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/chat", {"messages": [{"role": "user", "content": [PICTURE]}]}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": [PICTURE]}]}),
    ("/v1/responses", {"input": [ITEM]}),
    ("/api/chat", {"id": "c", "messages": [{"id": "m", "role": "user", "parts": [FILE]}]}),
]


@pytest.mark.parametrize(("path", "body"), CALLS, ids=[path for path, _ in CALLS])
async def test_an_address_of_the_cloud_s_metadata_reaches_the_upstream_by_no_protocol(
    redis_url: str, path: str, body: dict[str, Any]
) -> None:
    async with running_api(redis_url) as api:
        answer = await api.client.post(path, json=body)
    assert answer.status_code == 400, answer.text
    assert "169.254" not in answer.text
    assert "public host" in answer.text


async def test_what_a_tenant_may_not_pass_on_is_refused_and_what_is_too_long_is_lowered(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings.model_validate({"openai_base_url": upstream.base_url})
    rules = "public max_tokens=9 models=small* max_tools=0"
    async with running_api(redis_url, tenant_rules=rules) as api, working(redis_url, settings):
        answer = await api.client.post("/chat", json={"message": "hi", "model": "large"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (403, "model")
        body = {
            "model": "small-1",
            "max_tokens": 5000,
            "messages": [{"role": "user", "content": "hi"}],
        }
        answer = await api.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 200
        answer = await api.client.post("/v1/chat/completions", json={**body, "tools": [{}]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")
    assert [call.body["max_tokens"] for call in upstream.calls] == [9]


def test_a_role_cannot_lift_the_limit_of_a_tenant() -> None:
    roles = Roles([Role("long", "Talks", (), {"max_tokens": 5000}, {})])
    limited = TenantRules(max_tokens=9).limited
    submission = submission_of(replace(ask(), role="long"), roles, tenant="t", limited=limited)
    assert submission.payload["params"] == {"max_tokens": 9}
