"""What callers send in `traceparent` and `tracestate`, and what is kept of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.runtime.tracing import MAX_STATE_CHARS, TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def state_of(text: str) -> str:
    context = TraceContext.parse(PARENT, text)
    assert context is not None
    return context.state


def test_a_context_is_kept_as_one_text_and_read_from_it() -> None:
    context = TraceContext.parse(PARENT, "vendor=a b, other@x=1")
    assert context == TraceContext(TRACE, SPAN, 1, "vendor=a b,other@x=1")
    assert context.stored() == f"{PARENT} vendor=a b,other@x=1"
    assert TraceContext.from_stored(context.stored()) == context
    assert TraceContext.from_stored("") is None


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-extra",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f" {PARENT}",
        f"{PARENT}\n",
        PARENT.replace("a", "\u0661"),
        "x" * 10_000,
    ],
)
def test_a_traceparent_that_is_not_one_begins_no_trace(parent: str) -> None:
    assert TraceContext.parse(parent) is None


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    context = TraceContext.parse(f"cc-{TRACE}-{SPAN}-ff-what-the-future-holds")
    assert context is not None
    assert context.traceparent == f"00-{TRACE}-{SPAN}-03"


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("a=1,b=2", "a=1,b=2"),
        ("a=1 ,\tb=2,", "a=1,b=2"),
        ("1x@vendor=v", "1x@vendor=v"),
        ("A=1", ""),
        ("a=1,a=2", ""),
        ("a", ""),
        ("a=", ""),
        ("a=b=c", ""),
        ("a=\u00e9", ""),
        (",".join(f"k{n}=v" for n in range(33)), ""),
    ],
)
def test_a_tracestate_is_kept_if_all_of_it_is_valid(state: str, kept: str) -> None:
    assert state_of(state) == kept


def test_of_a_long_tracestate_the_first_members_are_kept_whole() -> None:
    members = [f"k{n}={'v' * 100}" for n in range(20)]
    kept = state_of(",".join(members))
    assert len(kept) <= MAX_STATE_CHARS
    assert kept == ",".join(members[: kept.count(",") + 1])
    assert kept.count(",") == 3


def test_two_traceparents_are_none_and_several_tracestates_are_one() -> None:
    parent, first, second = (b"traceparent", PARENT.encode()), b"a=1", b"b=2"
    states = [(b"tracestate", first), (b"tracestate", second)]
    context = TraceContext.from_headers([parent, *states])
    assert context is not None
    assert context.state == "a=1,b=2"
    assert TraceContext.from_headers([parent, parent]) is None
    assert TraceContext.from_headers(states) is None


@given(st.binary(), st.binary())
def test_no_header_of_a_caller_is_an_error(parent: bytes, state: bytes) -> None:
    headers = [(b"traceparent", parent), (b"tracestate", state)]
    assert TraceContext.from_headers(headers) is None
    headers[0] = (b"traceparent", PARENT.encode())
    context = TraceContext.from_headers(headers)
    assert context is not None
    assert TraceContext.from_stored(context.stored()) == context
