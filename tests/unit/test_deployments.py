"""deploy/ is what Kubernetes, systemd and hadolint accept, and runs what is run natively."""

import configparser
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from models.settings import Settings
from regbench.local import stack

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
DOCUMENTS: list[dict[str, Any]] = [
    document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((KUBERNETES / name).read_text())
]
ADDRESS = ("--port", "8000")
# By component: its command.
COMMANDS = {
    "migrate": stack.MIGRATION,
    "worker": stack.WORKER,
    "predictor": stack.PREDICTOR,
    "api": (*stack.API, "--host", "0.0.0.0", *ADDRESS),  # noqa: S104 (inside its pod)
}


TEMPLATES = [one["spec"]["template"] for one in DOCUMENTS if one["kind"] in ("Deployment", "Job")]
COMPONENT = "app.kubernetes.io/component"
PODS = {template["metadata"]["labels"][COMPONENT]: template["spec"] for template in TEMPLATES}


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in DOCUMENTS if document["kind"] == kind]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_kubernetes_accepts_every_document(document: dict[str, Any]) -> None:
    if document["apiVersion"].startswith("keda.sh/"):
        assert document["kind"] in {
            "ScaledObject",
            "TriggerAuthentication",
        }  # schemas of KEDA, not of Kubernetes
        return
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_kustomization_has_all_files_and_kinds() -> None:
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {path.name for path in KUBERNETES.iterdir()}
    kinds = {"Deployment", "Job", "PodDisruptionBudget", "NetworkPolicy", "Service", "ScaledObject"}
    assert kinds <= {document["kind"] for document in DOCUMENTS}


@pytest.mark.parametrize("component", COMMANDS)
def test_a_pod_runs_the_command_of_the_embedded_stack_as_a_plain_user(component: str) -> None:
    pod = PODS[component]
    [container] = pod["containers"]
    assert container["command"] == ["python", *COMMANDS[component]]
    assert pod["securityContext"]["runAsUser"] == 10_001
    for each in [container, *pod.get("initContainers", [])]:
        assert not each["securityContext"]["allowPrivilegeEscalation"]
        assert each["resources"]["limits"]["memory"]
        assert {"secretRef": {"name": "regbench"}} in each["envFrom"]
        assert each["image"] in {image["name"] for image in KUSTOMIZATION["images"]}


@pytest.mark.parametrize("component", ["api", "worker", "predictor"])
def test_a_pod_waits_for_the_migration_and_is_probed(component: str) -> None:
    pod = PODS[component]
    assert pod["initContainers"][0]["command"] == ["python", *stack.MIGRATION, "--check"]
    assert {"livenessProbe", "startupProbe"} <= pod["containers"][0].keys()


def test_keda_scales_workers_by_the_queue() -> None:
    [scaled] = of_kind("ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    [authentication] = of_kind("TriggerAuthentication")
    assert scaled["spec"]["scaleTargetRef"]["name"] == "regbench-worker"
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    [concurrency] = PODS["worker"]["containers"][0]["env"]
    assert trigger["metadata"]["targetQueryValue"] == concurrency["value"]


def test_settings_in_the_config_map_exist_and_no_secret_is_stored() -> None:
    [settings] = of_kind("ConfigMap")
    assert {
        name.removeprefix("REGBENCH_").lower() for name in settings["data"]
    } <= Settings.model_fields.keys()
    assert not of_kind("Secret")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_a_unit_runs_the_command_of_the_embedded_stack(unit: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    service = dict(parser["Service"])
    component = unit.stem.removeprefix("regbench-")
    command = COMMANDS[component] if component != "api" else (*stack.API, "--host", "127.0.0.1", *ADDRESS)
    assert service["ExecStart"].replace("%%", "%") == f"/opt/regbench/bin/python {' '.join(command)}"
    assert (service["User"], service["EnvironmentFile"]) == ("regbench", "/etc/regbench.env")
    assert service.get("Restart", "no") == ("no" if component == "migrate" else "always")


def test_each_part_has_a_unit() -> None:
    assert [path.stem.removeprefix("regbench-") for path in UNITS] == [
        "api",
        "migrate",
        "predictor",
        "worker",
    ]


def test_hadolint_accepts_the_dockerfile() -> None:
    program = Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
