"""docker-compose.yml has the structure that a deployment needs, and runs what is run natively."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from regbench.local import stack

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
LONG_RUNNING = ["api", "postgres", "predictor", "redis", "worker"]
OURS = ["api", "migrate", "predictor", "worker"]


def test_the_compose_file_has_all_services() -> None:
    assert sorted(SERVICES) == sorted([*LONG_RUNNING, "migrate"])


@pytest.mark.parametrize("service", LONG_RUNNING)
def test_a_long_running_service_has_a_healthcheck(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_the_migration_runs_once() -> None:
    assert SERVICES["migrate"]["restart"] == "no"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("service", ["api", "worker", "predictor"])
def test_our_services_wait_for_what_they_need(service: str) -> None:
    assert SERVICES[service]["depends_on"] == {
        "migrate": {"condition": "service_completed_successfully"},
        "postgres": {"condition": "service_healthy"},
        "redis": {"condition": "service_healthy"},
    }


@pytest.mark.parametrize(
    ("service", "arguments"),
    [
        ("migrate", stack.MIGRATION),
        ("worker", stack.WORKER),
        ("predictor", stack.PREDICTOR),
        ("api", (*stack.API, "--host", "0.0.0.0", "--port", "8000")),  # noqa: S104 (inside its container)
    ],
)
def test_the_commands_are_those_of_the_embedded_stack(service: str, arguments: tuple[str, ...]) -> None:
    assert SERVICES[service]["command"] == ["python", *arguments]


@pytest.mark.parametrize("part", [stack.MIGRATION, stack.API, stack.WORKER, stack.PREDICTOR])
def test_d11_the_page_on_several_machines_has_the_same_commands(part: tuple[str, ...]) -> None:
    page = (ROOT / "docs" / "how-to" / "several-machines.md").read_text()
    assert f"python {' '.join(part)}" in re.sub(r" \\\n\s+", " ", page)


@pytest.mark.parametrize("service", ["worker", "predictor"])
def test_workers_share_database_broker_and_files_with_the_api(service: str) -> None:
    assert SERVICES["api"]["environment"] == SERVICES[service]["environment"]
    assert SERVICES["api"]["volumes"] == SERVICES[service]["volumes"] == ["data:/data"]


def test_only_the_api_is_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"]}


def test_every_password_comes_from_the_environment() -> None:
    secrets = re.findall(r"^\s*\w*(?:PASSWORD|SECRET|KEY|TOKEN)\w*:\s*(.+)$", TEXT, re.MULTILINE)
    assert secrets
    assert all(secret.startswith("${POSTGRES_PASSWORD:?") for secret in secrets)
    assert re.findall(r"://[^/\s]*:[^/\s]*@", TEXT) == []


@pytest.mark.parametrize("service", ["postgres", "redis"])
def test_images_are_pinned(service: str) -> None:
    assert re.fullmatch(r"\w+:\d+\.\d+[\w.-]*", SERVICES[service]["image"])


@pytest.mark.parametrize(("service", "version"), [("redis", (7, 4, 6)), ("postgres", (17, 7))])
def test_c11_an_image_has_the_fixes_of_its_release(service: str, version: tuple[int, ...]) -> None:
    """Redis before 7.4.6 lets who may run scripts run code (CVE-2025-49844)."""
    _, _, pinned = SERVICES[service]["image"].partition(":")
    assert tuple(map(int, pinned.partition("-")[0].split("."))) >= version


@pytest.mark.parametrize("service", OURS)
def test_our_images_are_built_from_extras_that_exist(service: str) -> None:
    extras = SERVICES[service]["build"]["args"]["EXTRAS"]
    assert f"\n{extras} = [" in (ROOT / "pyproject.toml").read_text()
    assert SERVICES[service]["image"] == f"regbench-{extras}"


def test_the_image_runs_as_a_plain_user_from_a_pinned_base() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    final_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    assert [line for line in final_stage if line.startswith("USER ")] == ["USER 10001"]
    bases = {line.split()[1] for line in lines if line.startswith("FROM ")}
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", bases.pop())
