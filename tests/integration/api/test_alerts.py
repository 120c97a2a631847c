"""deploy/: every alert and panel asks for metrics that a running service reports."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

DEPLOY = Path(__file__).parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
BOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "regbench.json").read_text())


def expressions() -> list[str]:
    panels = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
    return [*(alert["expr"] for alert in ALERTS), *panels]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
def test_every_metric_and_label_in_alerts_and_panels_exists(client: httpx.Client) -> None:
    client.get("/v1/jobs")
    samples: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            samples.setdefault(sample.name, set()).update(sample.labels)
    used = set()
    for expression in expressions():
        for name, selector in re.findall(r"\b(regbench_\w+)(?:\{(.*?)\})?", expression):
            assert name in samples, expression
            assert set(re.findall(r"(\w+)\s*[=!]~?", selector)) <= samples[name], expression
            used.add(name)
        assert expression.count("(") == expression.count(")")
    assert len(used) > 15


def test_every_alert_says_what_to_do() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "action"}


def test_promtool_accepts_the_files(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    # Panels have no rules; as such promtool parses their expressions.
    recorded = [{"record": f"panel_{number}", "expr": text} for number, text in enumerate(expressions())]
    panels = tmp_path / "panels.yml"
    panels.write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}).replace("$__rate_interval", "5m")
    )
    subprocess.run([promtool, "check", "rules", str(RULES), str(panels)], check=True, capture_output=True)
    config = ["check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml")]
    subprocess.run([promtool, *config], check=True, capture_output=True)
