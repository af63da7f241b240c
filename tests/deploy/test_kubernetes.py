"""The kustomization of docs/deploy/: Kubernetes accepts it, and it fits this program."""

import re
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.front import FILES, program
from tests.support.running_api import RunningApi
from tickertape.runtime.environment import variable_names
from tickertape.runtime.secret_files import file_variable_names
from tickertape.runtime.settings import Settings

FOLDER = FILES / "kubernetes"
# The same with `tickertape deliver`.
WITH_DELIVER = FILES / "kubernetes-deliver"
# The oldest release that its makers still support, and the newest that the checker knows.
RELEASES = ["1.34", "1.37"]
WORKLOADS = {"Deployment", "StatefulSet"}
Object = dict[str, Any]


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    """What kustomize builds of everything."""
    return built(WITH_DELIVER)


def built(folder: Path) -> list[Object]:
    done = subprocess.run(
        [program("kubectl"), "kustomize", str(folder)],
        check=False, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(objects: list[Object]) -> dict[str, Object]:
    """The pods of all workloads by name."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] in WORKLOADS
    }


def container(objects: list[Object], name: str) -> Object:
    (found,) = pods(objects)[name]["containers"]
    return dict(found)


@pytest.mark.parametrize("release", RELEASES)
def test_kubernetes_knows_every_field(objects: list[Object], release: str) -> None:
    for each in objects:
        kubernetes_validate.validate(each, release, strict=True)
    assert {"Deployment", "PodDisruptionBudget", "NetworkPolicy", "Ingress"} <= {
        each["kind"] for each in objects
    }


def test_without_webhooks_and_history_nothing_is_left_of_them(objects: list[Object]) -> None:
    less = {each["metadata"]["name"] for each in built(FOLDER)}
    more = {each["metadata"]["name"] for each in objects}
    names = {re.sub("-[a-z0-9]{10}$", "", name) for name in more - less}
    assert names == {"tickertape-deliver", "tickertape-api-history", "tickertape-settings"}


def test_a_field_that_kubernetes_does_not_know_is_found(objects: list[Object]) -> None:
    wrong = next(each for each in objects if each["kind"] == "Deployment")
    wrong = {**wrong, "spec": {**wrong["spec"], "replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


def test_the_settings_and_the_files_of_secrets_are_ones_that_are_read(
    objects: list[Object],
) -> None:
    known = {*variable_names(), *file_variable_names()}
    (settings,) = (
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap" and "settings" in each["metadata"]["name"]
    )
    assert settings.keys() <= known
    Settings.model_validate(settings)
    for name in ("tickertape-api", "tickertape-worker", "tickertape-deliver"):
        of_container = container(objects, name)
        folders = [mount["mountPath"] for mount in of_container["volumeMounts"]]
        for variable in of_container["env"]:
            assert variable["name"] in known
            assert variable["value"].rpartition("/")[0] in folders


@pytest.mark.parametrize("name", ["tickertape-api", "tickertape-worker"])
def test_a_pod_has_the_time_to_drain(objects: list[Object], name: str) -> None:
    drain_s = Settings.model_fields["drain_s"].default
    assert pods(objects)[name]["terminationGracePeriodSeconds"] >= drain_s + 20


@pytest.mark.parametrize(
    ("name", "port"),
    [("tickertape-api", 8000), ("tickertape-worker", 8001), ("tickertape-deliver", 8002)],
)
def test_the_probes_ask_what_the_program_answers(
    objects: list[Object], name: str, port: int
) -> None:
    of_container = container(objects, name)
    named = of_container["ports"][0]
    assert named["containerPort"] == port
    paths = {
        kind: of_container[kind]["httpGet"]
        for kind in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert {kind: probe["path"] for kind, probe in paths.items()} == {
        "startupProbe": "/healthz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    assert {probe["port"] for probe in paths.values()} == {named["name"]}


def test_prometheus_is_led_to_ports_that_need_no_key(objects: list[Object]) -> None:
    (settings,) = (
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap" and "settings" in each["metadata"]["name"]
    )
    served = {
        "tickertape-api": settings["TICKERTAPE_METRICS_PORT"],
        "tickertape-worker": settings["TICKERTAPE_WORKER_HEALTH_PORT"],
        "tickertape-deliver": settings["TICKERTAPE_DELIVER_HEALTH_PORT"],
    }
    for each in objects:
        if each["kind"] == "Deployment":
            name = each["metadata"]["name"]
            notes = each["spec"]["template"]["metadata"]["annotations"]
            assert notes == {"prometheus.io/scrape": "true", "prometheus.io/port": served[name]}
            opened = [port["containerPort"] for port in container(objects, name)["ports"]]
            assert int(served[name]) in opened


def test_prometheus_in_the_cluster_finds_the_pods_by_names_that_they_have(
    objects: list[Object],
) -> None:
    path = FILES / "monitoring" / "kubernetes.prometheus.yml"
    for job in yaml.safe_load(path.read_text("utf-8"))["scrape_configs"]:
        name, port = job["relabel_configs"][0]["regex"].split(";")
        assert name == job["job_name"]
        assert port in {each["name"] for each in container(objects, name)["ports"]}
        (found,) = job["kubernetes_sd_configs"]
        assert found["namespaces"]["names"] == ["tickertape"]


def test_no_pod_runs_as_root_or_may_write_outside_its_volumes(objects: list[Object]) -> None:
    for name, pod in pods(objects).items():
        assert pod["securityContext"]["runAsNonRoot"], name
        assert not pod["automountServiceAccountToken"], name
        for each in pod["containers"]:
            rights = each["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert not rights["allowPrivilegeEscalation"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in each["resources"]["limits"], name


def test_selectors_meet_their_pods(objects: list[Object]) -> None:
    names = pods(objects).keys()
    label = "app.kubernetes.io/name"
    for each in objects:
        spec = each.get("spec", {})
        if each["kind"] == "Service":
            assert spec["selector"][label] in names
        elif each["kind"] == "PodDisruptionBudget":
            assert spec["selector"]["matchLabels"][label] in names
        elif each["kind"] == "HorizontalPodAutoscaler":
            assert spec["scaleTargetRef"]["name"] in names


async def test_the_workers_are_scaled_by_numbers_that_exist(api: RunningApi) -> None:
    scaled = list(yaml.safe_load_all((FOLDER / "scaled-workers.yaml").read_text("utf-8")))
    triggers = scaled[0]["spec"]["triggers"]
    assert len(triggers) == 2
    for trigger in triggers:
        url = trigger["metadata"]["url"]
        path = re.sub(r"^http://tickertape-api\.tickertape\.svc\.cluster\.local:9100", "", url)
        answer = (await api.client.get(path)).json()
        group, _, name = trigger["metadata"]["valueLocation"].partition(".")
        assert isinstance(answer[group][name], int)
