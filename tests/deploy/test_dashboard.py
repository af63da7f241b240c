"""The dashboard of docs/deploy/monitoring/: Grafana knows every field, and every panel has data."""

import itertools
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.deploy.monitored import monitored
from tests.deploy.monitoring import Board, dashboard, panels, query_of
from tests.deploy.pictures import MAX_BYTES, make_pictures
from tests.support.browser import find_chromium
from tests.support.servers import ValkeyServer
from tests.support.sse import collect
from tests.support.wait import wait_until

COLUMNS = 24
# The panels of faults. In good health they are empty.
EMPTY = {"Alerts", "Streams that were disturbed", "Retries and takeovers"}


def through_grafana(board: Board) -> Board:
    """What Grafana's own types keep of a dashboard. They drop fields that they do not know."""
    register_default_plugins()
    return dict(json.loads(JSONEncoder().encode(Dashboard.from_json(board))))


def lost(given: Any, kept: Any, at: str = "") -> Iterator[str]:
    """Where something is missing or has changed."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            yield from lost(value, kept.get(key), f"{at}/{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(value, other, f"{at}/{number}")
    elif given != kept:
        yield at


def test_grafana_knows_every_field() -> None:
    assert [*lost(dashboard(), through_grafana(dashboard()))] == []


def test_a_field_that_grafana_does_not_know_is_found() -> None:
    board = dashboard()
    board["panels"][0]["gridPosition"] = {}
    assert [*lost(board, through_grafana(board))] == ["/panels/0/gridPosition"]


def test_panels_lie_beside_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        across = range(at["x"], at["x"] + at["w"])
        assert across.stop <= COLUMNS, panel["title"]
        for place in itertools.product(across, range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(place, panel["title"]) == panel["title"]
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len({*ids})


def test_every_panel_says_what_it_shows_and_asks_the_chosen_prometheus() -> None:
    (variable,) = dashboard()["templating"]["list"]
    assert (variable["name"], variable["query"]) == ("datasource", "prometheus")
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_top_row_says_whether_all_is_well() -> None:
    top = [panel["title"] for panel in panels() if panel["gridPos"]["y"] == 0]
    assert top == ["State", "Alerts", "Requests waiting", "First token, p95", "Failures"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(180)
async def test_the_pictures_of_the_dashboard_are_made(tmp_path: Path) -> None:
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    await make_pictures(tmp_path, load_s=10)
    pictures = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert pictures.keys() == {"dashboard.webp", "dashboard-no-worker.webp"}
    for picture in pictures.values():
        assert picture.startswith(b"RIFF")
        assert 20_000 < len(picture) < MAX_BYTES


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_panel_shows_what_a_deployment_does(
    own_redis: ValkeyServer, tmp_path: Path
) -> None:
    async with monitored(own_redis, tmp_path) as parts:

        async def has_data(queries: list[str]) -> bool:
            """Whether a query has a result, while requests go on."""
            await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)
            return any([await parts.prometheus.query(query) for query in queries])

        shown = {
            panel["title"]: [query_of(target) for target in panel["targets"]]
            for panel in panels()
            if panel["title"] not in EMPTY
        }
        answered = "increase(tickertape_submit_to_first_token_seconds_count[1m]) > 0"
        for name, queries in {"answers": [answered], **shown}.items():
            await wait_until(
                partial(has_data, queries),
                timeout_s=20,
                description=f"data of {name}",
            )
        (state,) = await parts.prometheus.query(query_of(panels()[0]["targets"][0]))
        assert state["value"][1] == "0"
