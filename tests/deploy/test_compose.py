"""The compose file: its secrets, its limits, its proxy and the health check that kills a worker."""

import contextlib
import http.server
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from tests.deploy.conftest import KEY
from tests.deploy.front import FILES, Front, program
from tests.support.running_api import running_api
from tests.support.servers import open_port
from tickertape.runtime.environment import variable_names
from tickertape.runtime.secret_files import file_variable_names
from tickertape.runtime.settings import Settings

ROOT = FILES.parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
TICKERTAPE = ["api", "worker", "deliver", "model"]
OF_CADDY = {"KEYED", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}


def test_the_services_get_only_known_settings() -> None:
    known = {*variable_names(), *file_variable_names()}
    for name in TICKERTAPE:
        assert SERVICES[name].get("environment", {}).keys() <= known
    assert SERVICES["proxy"]["environment"].keys() == OF_CADDY


def test_a_file_of_a_secret_is_mounted_where_it_is_read() -> None:
    mounted = 0
    for name in TICKERTAPE:
        for variable, value in SERVICES[name].get("environment", {}).items():
            if variable.endswith("_FILE") and value:
                (secret,) = re.findall(r"/run/secrets/([a-z-]+)", value)
                assert secret in SERVICES[name]["secrets"]
                mounted += 1
    assert mounted == 7
    # Compose mounts only files into containers with a read-only file system.
    assert all(each.keys() == {"file"} for each in COMPOSE["secrets"].values())
    assert all(each.keys() == {"file"} for each in COMPOSE["configs"].values())


def test_no_variable_and_no_argument_has_the_password_of_redis() -> None:
    for name, service in SERVICES.items():
        assert "PASSWORD" not in str(service.get("environment")), name
        assert "PASSWORD" not in str(service.get("command")), name


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_limits_and_few_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "pids_limit"} <= service.keys()
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
    assert service["restart"] == "unless-stopped"


def test_prometheus_scrapes_the_ports_that_the_services_open() -> None:
    path = FILES / "monitoring" / "compose.prometheus.yml"
    jobs = {
        job["job_name"]: job["dns_sd_configs"][0]
        for job in yaml.safe_load(path.read_text("utf-8"))["scrape_configs"]
    }
    opened = {
        "api": SERVICES["api"]["environment"],
        "worker": SERVICES["worker"]["environment"],
        "deliver": SERVICES["deliver"]["environment"],
    }
    assert jobs["tickertape-api"]["names"] == ["api"]
    assert opened["api"]["TICKERTAPE_METRICS_HOST"] == "0.0.0.0"
    for name in ("worker", "deliver"):
        job, prefix = jobs[f"tickertape-{name}"], f"TICKERTAPE_{name.upper()}_HEALTH"
        assert job["names"] == [name]
        assert opened[name][f"{prefix}_HOST"] == "0.0.0.0"
        assert opened[name][f"{prefix}_PORT"] == str(job["port"])
    # Callers of a compose file without Prometheus find the status where it was.
    assert opened["api"]["TICKERTAPE_METRICS_PORT"] is None
    head = (ROOT / "docker-compose.yml").read_text("utf-8").partition("\nservices:")[0]
    assert f"TICKERTAPE_METRICS_PORT={jobs['tickertape-api']['port']} docker compose" in head


@pytest.mark.parametrize("name", ["api", "worker"])
def test_docker_waits_for_a_drain(name: str) -> None:
    fields = Settings.model_fields
    longest_s = fields["drain_s"].default + fields["drain_delay_s"].default + 10
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= longest_s


def test_valkey_keeps_what_it_has_and_no_erased_text() -> None:
    text = (FILES / "compose.valkey.conf").read_text("utf-8")
    lines = {line for line in text.splitlines() if not line.startswith("#")}
    assert {"appendonly yes", 'save ""', "maxmemory-policy noeviction"} <= lines
    assert "include /run/secrets/valkey.conf" in lines
    assert "--maxmemory ${REDIS_MAXMEMORY:-2gb}" in SERVICES["valkey"]["command"]


def test_the_targets_of_the_images_exist() -> None:
    stages = re.findall(
        r"^FROM .* AS (\S+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    assert [SERVICES[name]["build"]["target"] for name in TICKERTAPE] == [
        "slim",
        "slim",
        "slim",
        "full",
    ]
    # A build without a target makes the last one, which has everything.
    assert {"slim", "full"} <= {*stages}
    assert stages[-1] == "full"


def test_the_slim_image_leaves_out_what_only_extras_need() -> None:
    """All that goes is in the lock, and no package that stays needs it."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    (gone,) = re.findall(r"pip uninstall --yes (.*)$", text, re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    packages = re.findall(r"^([a-z0-9-]+)==.*?\n((?:    .*\n)*)", lock, re.MULTILINE)
    needed_by = {
        name: set(re.findall(r"#(?: +via)? +([a-z0-9-]+)", block)) for name, block in packages
    }
    for name in gone.split():
        assert needed_by[name] <= {*gone.split(), "tickertape"}, name


def test_secrets_are_made_once_and_only_their_owner_finds_them(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run(
            ["/bin/sh", FILES / "make-secrets.sh"],
            cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True,
        )  # fmt: skip
    folder = tmp_path / "secrets"
    url = (folder / "redis-url").read_text()
    (password,) = re.findall(r"^redis://:([0-9a-f]{48})@valkey:6379/0\n$", url)
    assert (folder / "valkey.conf").read_text() == f"requirepass {password}\n"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "redis-url").stat().st_mode) == 0o644


@contextlib.contextmanager
def answering(status: list[int]) -> Iterator[int]:
    """The port of a server that answers every call with the last status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[-1])
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_third_failed_health_check_in_a_row_kills_the_worker(tmp_path: Path) -> None:
    kind, text = SERVICES["worker"]["healthcheck"]["test"]
    assert SERVICES["deliver"]["healthcheck"]["test"] == [kind, text.replace("8001", "8002")]
    assert kind == "CMD-SHELL"
    assert "kill -KILL -1" in text
    status = [200]
    with answering(status) as port:
        # Outside a container, this kill would end everything on the machine.
        text = text.replace("kill -KILL -1", "echo killed").replace("$$", "$")
        text = text.replace("8001", str(port)).replace("/tmp/failures", str(tmp_path / "failures"))
        text = text.replace("python ", f"{sys.executable} ")
        seen = []
        for next_status in (200, 503, 503, 200, 503, 503, 503):
            status.append(next_status)
            done = subprocess.run(
                ["/bin/sh", "-c", text], check=False, capture_output=True, text=True, timeout=20
            )
            seen.append((done.returncode, done.stdout.strip()))
    ok, failed, killed = (0, ""), (1, ""), (1, "killed")
    assert seen == [ok, failed, failed, ok, failed, failed, killed]


@pytest.mark.parametrize("keyed", ["", "None"])
async def test_the_proxy_reaches_apis_with_and_without_keys(
    redis_url: str, tmp_path: Path, keyed: str
) -> None:
    settings: dict[str, Any] = {
        "trusted_proxies": "127.0.0.1",
        "audit_log": str(tmp_path / "audit.log"),
    }
    if keyed:
        settings["api_keys"] = f"ada:{KEY}"
    port = open_port()
    async with running_api(
        redis_url, headers={"Authorization": f"Bearer {KEY}"}, **settings
    ) as api:
        text = (FILES / "compose.Caddyfile").read_text("utf-8")
        for old, new in {
            "http://:8000 {": f"http://:{port} {{\n\tbind 127.0.0.1",
            "dynamic a api 8000": f"dynamic a localhost {api.url.rpartition(':')[2]}",
        }.items():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "Caddyfile").write_text(text, "utf-8")
        run = [program("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
        environment = {
            "KEYED": keyed, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path),
        }  # fmt: skip
        front = Front("caddy", tmp_path, f"http://127.0.0.1:{port}", run, run, environment)
        way = httpx2.AsyncHTTPTransport(local_address="127.0.0.2")
        async with (
            front.running(),
            httpx2.AsyncClient(transport=way, headers=api.headers) as client,
        ):
            answer = await client.get(f"{front.url}/conversations")
            assert answer.status_code == 200, answer.text
    if keyed:
        assert '"address":"127.0.0.2"' in (tmp_path / "audit.log").read_text()
