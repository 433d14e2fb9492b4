"""What Prometheus reads is what the daemon counted, in a form that Prometheus understands."""

from __future__ import annotations

from copy import deepcopy
from math import isfinite
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tests.dashboard.scrape import promtool, real_answer
from vlad.dashboard.metrics import render

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def answer() -> Answer:
    return real_answer()


def families(answer: Answer) -> dict[str, Any]:
    return {family.name: family for family in text_string_to_metric_families(render(answer).decode())}


def value(answer: Answer, name: str, /, **labels: str) -> float:
    found = [
        sample.value
        for family in families(answer).values()
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return float(found[0])


def test_every_name_has_our_prefix_a_help_text_and_a_type(answer: Answer) -> None:
    known = families(answer)
    assert len(known) > 50
    for family in known.values():
        assert family.name.startswith("vlad_")
        assert family.documentation.endswith(".")
        assert family.type in ("counter", "gauge", "histogram")
        assert all(isfinite(sample.value) for sample in family.samples)


def test_promtool_finds_nothing_wrong(answer: Answer) -> None:
    promtool("check", "metrics", text=render(answer))


def test_a_histogram_only_rises_and_ends_with_all(answer: Answer) -> None:
    known = families(answer)
    for name in ("vlad_tick_lateness_seconds", "vlad_inference_seconds", "vlad_observation_age_seconds"):
        buckets = [s for s in known[name].samples if s.name.endswith("_bucket")]
        counts = [sample.value for sample in buckets]
        bounds = [float(sample.labels["le"]) for sample in buckets]
        assert counts == sorted(counts)
        assert bounds == sorted(set(bounds))
        assert counts[-1] == value(answer, f"{name}_count") > 0
        assert 0 < value(answer, f"{name}_sum") < 3600
    assert value(answer, "vlad_tick_lateness_seconds_count") == value(answer, "vlad_ticks_total")


def test_the_figures_are_the_daemons_in_base_units(answer: Answer) -> None:
    assert value(answer, "vlad_info", robot="bench", type="rover", version=answer["version"]) == 1
    assert value(answer, "vlad_policy_info", name="bench", version="1") == 1
    assert answer["mode"] in ("active", "degraded"), "a busy machine makes it slow down"
    assert [mode for mode in answer["modes"] if value(answer, "vlad_mode", mode=mode)] == [answer["mode"]]
    assert value(answer, "vlad_signal_received_total", signal="camera") > 0
    assert value(answer, "vlad_signal_max_age_seconds", signal="camera") == 5.0
    assert value(answer, "vlad_battery_ratio", signal="battery") == pytest.approx(0.8)
    assert value(answer, "vlad_power_watts", source="power") == 60.0
    assert value(answer, "vlad_power_watts", source="battery") == 48.0
    per_s = value(answer, "vlad_actions_per_second")
    assert value(answer, "vlad_actions_per_joule", source="power") == pytest.approx(per_s / 60)
    assert 0 < value(answer, "vlad_computer_memory_ratio") < 1
    assert value(answer, "vlad_lifetime_starts_total") == 1
    assert 0 < value(answer, "vlad_lifetime_armed_seconds_total") <= value(answer, "vlad_uptime_seconds")
    assert value(answer, "vlad_process_resident_memory_bytes") > 10e6


def test_a_fault_that_never_was_counts_none_so_that_its_first_is_an_increase(answer: Answer) -> None:
    assert value(answer, "vlad_faults_total", fault="policy_lost") == 0
    changed = deepcopy(answer)
    changed["raised"]["policy_lost"] = 3
    assert value(changed, "vlad_faults_total", fault="policy_lost") == 3


def test_an_event_has_no_age_beyond_which_it_is_stale(answer: Answer) -> None:
    samples = families(answer)["vlad_signal_max_age_seconds"].samples
    assert "instruction" not in {sample.labels["signal"] for sample in samples}


def test_a_computer_with_gpus_and_power_rails_tells_of_each(answer: Answer) -> None:
    changed = deepcopy(answer)
    well = {"score": 1.0, "level": 0}
    gpu = {"memory": 0.5, "temperature": 61.0, "ecc": None, "busy": 0.9, "power": 200.0}
    changed["health"]["components"] |= {
        "gpu 0": {**well, "readings": gpu},
        "gpu 1": {**well, "readings": dict.fromkeys(gpu)},
        "power": {**well, "readings": {"VDD_IN": 14.5}},
        "network eth0": {**well, "readings": {"down": 1.0, "lost": 0.25, "traffic": 1e6}},
    }
    assert value(changed, "vlad_gpu_ratio", gpu="gpu 0") == 0.9
    assert value(changed, "vlad_gpu_memory_ratio", gpu="gpu 0") == 0.5
    assert value(changed, "vlad_temperature_celsius", sensor="gpu 0") == 61.0
    assert value(changed, "vlad_power_watts", source="gpu 0") == 200.0
    assert value(changed, "vlad_power_watts", source="VDD_IN") == 14.5
    assert value(changed, "vlad_network_up", interface="eth0") == 0
    assert value(changed, "vlad_network_lost_ratio", interface="eth0") == 0.25
    known = [sample.labels.get("gpu") for sample in families(changed)["vlad_gpu_ratio"].samples]
    assert known == ["gpu 0"]
    promtool("check", "metrics", text=render(changed))


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_name_of_a_robot_signal_or_component_can_be_read_back(answer: Answer, name: str) -> None:
    changed = {**answer, "robot": name, "signals": {name: answer["signals"]["camera"]}}
    text = render(changed).decode()
    read = {
        sample.labels["signal"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "vlad_signal_rate_hertz"
    }
    assert read == {name}
