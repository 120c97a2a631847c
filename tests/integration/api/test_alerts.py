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


# What an installation reports for two hours in which everything is wrong, or nothing is: a start and
# a step each minute. Without regbench_info no API reports anything.
SERIES = {
    'regbench_ready{check="broker"}': ("0", "1"),
    "regbench_info": ("_", "1"),
    "regbench_workers": ("0", "2"),
    "regbench_worker_processes": ("4", "4"),
    "regbench_oldest_queued_seconds": ("7200", "10"),
    'regbench_jobs{state="running"}': ("0", "4"),
    "regbench_lease_expiries_total": ("0+1", "0"),
    "regbench_process_deaths_total": ("0+1", "0"),
    'regbench_failures_total{code="diverged"}': ("0+1", "0"),
    "regbench_trainings_total": ("0+1", "0+1"),
    "regbench_webhook_backlog": ("2000", "1"),
    "regbench_artifacts_free_bytes": ("100000000", "9000000000"),
    "regbench_webhook_failures_total": ("0+2", "0"),
    "regbench_webhook_deliveries_total": ("0+1", "0+1"),
    'regbench_http_request_seconds_count{status="500"}': ("0+9", "0"),
    'regbench_http_request_seconds_count{status="200"}': ("0+9", "0+9"),
    'regbench_http_request_seconds_bucket{method="GET",route="/v1/jobs",le="0.1"}': ("0", "0+9"),
    'regbench_http_request_seconds_bucket{method="GET",route="/v1/jobs",le="5"}': ("0+9", "0+9"),
    'regbench_http_request_seconds_bucket{method="GET",route="/v1/jobs",le="+Inf"}': ("0+9", "0+9"),
}


@pytest.fixture
def promtool() -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool (Debian: prometheus) is not installed")
    return program


def test_every_alert_fires_when_it_should_and_none_when_all_is_well(promtool: str, tmp_path: Path) -> None:
    scenarios = []
    for ill in (True, False):
        values = {name: wrong if ill else right for name, (wrong, right) in SERIES.items()}
        expected = []
        for alert in ALERTS:
            labels, annotations = dict(alert["labels"]), dict(alert["annotations"])
            if "$labels.check" in annotations["summary"]:
                annotations["summary"] = annotations["summary"].replace("{{ $labels.check }}", "broker")
                labels["check"] = "broker"
            fired = [{"exp_labels": labels, "exp_annotations": annotations}] if ill else []
            expected.append({"eval_time": "110m", "alertname": alert["alert"], "exp_alerts": fired})
        series = [{"series": name, "values": f"{value}x120"} for name, value in values.items()]
        scenarios.append({"interval": "1m", "input_series": series, "alert_rule_test": expected})
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": scenarios}))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_files(promtool: str, tmp_path: Path) -> None:
    # Panels have no rules; as such promtool parses their expressions.
    recorded = [{"record": f"panel_{number}", "expr": text} for number, text in enumerate(expressions())]
    panels = tmp_path / "panels.yml"
    panels.write_text(
        yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}).replace("$__rate_interval", "5m")
    )
    subprocess.run([promtool, "check", "rules", str(RULES), str(panels)], check=True, capture_output=True)
    config = ["check", "config", "--syntax-only", str(DEPLOY / "prometheus" / "prometheus.yml")]
    subprocess.run([promtool, *config], check=True, capture_output=True)
