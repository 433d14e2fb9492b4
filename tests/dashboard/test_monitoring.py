"""The example alerts and the Grafana dashboard name only what a real daemon tells."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.dashboard.scrape import promtool, real_answer
from vlad.dashboard.metrics import render

ETC = Path(__file__).resolve().parents[2] / "etc"
ALERTS = ETC / "prometheus" / "alerts.yml"
DASHBOARD = json.loads((ETC / "grafana" / "vlad.json").read_text())
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def answer() -> Answer:
    return real_answer()


def told(answer: Answer) -> dict[str, set[str]]:
    """Each name that can be asked for, and its labels."""
    names: dict[str, set[str]] = {}
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    for family in text_string_to_metric_families(render(answer).decode()):
        for suffix in suffixes[family.type]:
            labels = {label for sample in family.samples for label in sample.labels}
            names[family.name + suffix] = labels
    return names


def named(expression: str) -> set[str]:
    return set(re.findall(r"\bvlad_\w+", expression))


def test_an_alert_names_only_what_is_told(answer: Answer) -> None:
    known = told(answer)
    for rule in RULES:
        assert named(rule["expr"]) or rule["expr"] == 'up{job="vlad"} == 0', rule["alert"]
        assert named(rule["expr"]) <= set(known), rule["alert"]


def test_an_alert_says_how_bad_it_is_where_it_is_and_what_to_do() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) >= 15
    for rule in RULES:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert "$labels.instance" in rule["annotations"]["summary"]
        assert len(rule["annotations"]["hint"]) > 10


def test_an_alert_tells_only_labels_that_there_are(answer: Answer) -> None:
    known = told(answer)
    known["vlad_record_dropped_total"] |= {"what"}
    for name, labels in (
        ("vlad_signal_refused_total", {"signal", "reason"}),
        ("vlad_alert", {"component", "level"}),
        ("vlad_network_up", {"interface"}),
        ("vlad_temperature_celsius", {"sensor"}),
    ):
        known[name] |= labels
    for rule in RULES:
        asked = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) - {"instance"}
        assert asked <= set().union(*(known[name] for name in named(rule["expr"]))), rule["alert"]


def test_promtool_takes_the_alerts() -> None:
    promtool("check", "rules", str(ALERTS))


def test_the_dashboard_can_be_imported() -> None:
    """As Grafana's export has it: no id, inputs that are asked for, panels that do not overlap."""
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 36
    assert [given["name"] for given in DASHBOARD["__inputs"]] == ["DS_PROMETHEUS"]
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids)) == len(DASHBOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_a_panel_asks_the_prometheus_that_was_chosen_for_what_is_told(answer: Answer) -> None:
    known = set(told(answer))
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters
        assert len(letters) == len(set(letters)), panel["title"]
        for target in panel["targets"]:
            assert named(target["expr"]), panel["title"]
            assert named(target["expr"]) <= known, panel["title"]


def test_nearly_all_that_is_told_is_shown_or_watched(answer: Answer) -> None:
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in told(answer)}
    used = {re.sub("_(bucket|sum|count)$", "", name) for text in EXPRESSIONS for name in named(text)}
    used |= {name for rule in RULES for name in named(rule["expr"])}
    assert len(families - used) <= len(families) / 3, sorted(families - used)


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    filled = (
        text.replace("$instance", "robot").replace("$__rate_interval", "1m").replace("$__range", "1h")
        for text in EXPRESSIONS
    )
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(filled)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


AGE, OLDEST, REQUIRED = "vlad_signal_age_seconds", "vlad_signal_max_age_seconds", "vlad_signal_required"
WELL = {
    f'{AGE}{{signal="camera"}}': "0.05x60",
    f'{OLDEST}{{signal="camera"}}': "0.2x60",
    f'{REQUIRED}{{signal="camera"}}': "1x60",
    'up{job="vlad"}': "1x60",
    "vlad_estop_latched": "0x60",
    "vlad_ticks_missed_total": "0x60",
    'vlad_tick_lateness_seconds_bucket{le="0.0002"}': "0+1490x60",
    'vlad_tick_lateness_seconds_bucket{le="0.01"}': "0+1500x60",
    'vlad_tick_lateness_seconds_bucket{le="+Inf"}': "0+1500x60",
    "vlad_motor_drivers": "1x60",
    "vlad_armed": "1x60",
    "vlad_computer_disk_ratio": "0.6x60",
    'vlad_stops_total{category="2"}': "0x60",
    'vlad_part_restarts_total{part="record"}': "0x60",
    'vlad_signal_refused_total{signal="camera",reason="size"}': "0x60",
    'vlad_signal_gaps_total{signal="camera"}': "0x60",
    'vlad_signal_received_total{signal="camera"}': "0+1800x60",
}
"""A sample a minute, for an hour."""
AMISS = {
    "VladDown": {'up{job="vlad"}': "0x60"},
    "VladEmergencyStop": {"vlad_estop_latched": "1x60"},
    "VladSignalStale": {f'{AGE}{{signal="camera"}}': "0+15x60"},
    "VladTickMissed": {"vlad_ticks_missed_total": "0x57 1x3"},
    "VladTickLate": {'vlad_tick_lateness_seconds_bucket{le="0.0002"}': "0+1000x60"},
    "VladNoMotorDriver": {"vlad_motor_drivers": "0x60"},
    "VladDiskFullSoon": {"vlad_computer_disk_ratio": "0.6+0.0004x60"},
    "VladStopped": {'vlad_stops_total{category="2"}': "0x57 1x3"},
    "VladPartRestarts": {'vlad_part_restarts_total{part="record"}': "0x55 3x5"},
    "VladSignalRefused": {'vlad_signal_refused_total{signal="camera",reason="size"}': "0+120x60"},
    "VladSignalGaps": {'vlad_signal_gaps_total{signal="camera"}': "0+240x60"},
}


def case(series: dict[str, str], alerts: list[str], *, come: bool) -> dict[str, Any]:
    """A test of promtool's: whether these alerts stand after 59 minutes of these series."""
    asked = 'count(ALERTS{{alertname="{}",alertstate="firing"}}) > 0 or vector(0)'
    samples = [{"labels": "{}", "value": int(come)}]
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": asked.format(alert), "eval_time": "59m", "exp_samples": samples} for alert in alerts
        ],
    }


def test_an_alert_comes_when_something_is_amiss_and_not_before(tmp_path: Path) -> None:
    cases = [case(WELL, list(AMISS), come=False)]
    cases += [case(WELL | series, [alert], come=True) for alert, series in AMISS.items()]
    file = tmp_path / "test.yml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": cases})
    )
    promtool("test", "rules", str(file))
