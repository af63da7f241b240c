"""Each wire's bytes for one recorded log, so that no change of them goes unseen."""

import pytest

from tests.wires.recorded import DIALECTS, FOLDER, GOLDEN, recorded_log, rendered


@pytest.mark.parametrize("name", GOLDEN)
def test_the_bytes_of_a_wire_equal_its_golden_file(name: str) -> None:
    assert GOLDEN[name]() == (FOLDER / name).read_bytes()


def test_the_recorded_log_has_every_kind_of_entry() -> None:
    kinds = {entry.kind for entry in recorded_log()}
    output = {"delta", "reasoning", "refusal", "tool_call", "tool_result", "data"}
    assert kinds == {"queued", "started", "resumed", "completed"} | output
    assert any(entry.x for entry in recorded_log())
    assert any(not entry.text.isascii() for entry in recorded_log())


@pytest.mark.parametrize("name", DIALECTS)
def test_a_wire_ends_in_order_with_its_log(name: str) -> None:
    rendering = rendered(DIALECTS[name], recorded_log())
    assert not rendering.is_cut
    assert len(rendering.frames) == len(recorded_log())
