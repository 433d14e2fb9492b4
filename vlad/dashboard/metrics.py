"""/metrics: what the daemon counts, as text that Prometheus reads. Base units, and a help text for each name.

A name stands in every answer, also while it has no value, so that rules and dashboards can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from vlad.safety.faults import FAULTS

Row = Mapping[str, Any]
Values = Iterable[tuple[tuple[str, ...], float | None]]
"""The labels' values, and the value; None: not known."""

_NS_PER_S = 1e9
_LIFETIME = {
    "uptime_s": ("uptime_seconds", "How long vlad ran"),
    "armed_s": ("armed_seconds", "How long the robot was armed"),
    "moving_s": ("moving_seconds", "How long it moved"),
    "distance_m": ("distance_meters", "How far a base went"),
    "tasks": ("tasks", "Instructions"),
    "tasks_done": ("tasks_done", "Instructions that were carried out"),
    "tasks_failed": ("tasks_failed", "Instructions that were not"),
    "interventions": ("interventions", "How often a person stopped the armed robot"),
    "starts": ("starts", "Starts of vlad"),
    "clean_ends": ("clean_ends", "Starts of vlad that ended in order"),
}
"""Of what is remembered since the first start, by its name in vlad/operation.py: our name, and what it is."""


class _Answer(Collector):
    """What one answer of the daemon says."""

    def __init__(self, answer: Row) -> None:
        self._answer = answer

    def collect(self) -> Iterator[Metric]:
        for part in (
            _daemon,
            _safety,
            _tick,
            _signals,
            _policy,
            _parts,
            _health,
            _computer,
            _storage,
            _lifetime,
        ):
            yield from part(self._answer)


def render(answer: Row) -> bytes:
    """The text, from the answer to the control method `metrics`."""
    return generate_latest(_Answer(answer))


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return _gauges(name, text, (), [((), value)])


def _gauges(name: str, text: str, labels: tuple[str, ...], values: Values) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for row, value in values:
        if value is not None:
            family.add_metric(row, value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return _counters(name, text, (), [((), value)])


def _counters(name: str, text: str, labels: tuple[str, ...], values: Values) -> Metric:
    """`name` ends in _total."""
    family = CounterMetricFamily(name, text, labels=labels)
    for row, value in values:
        if value is not None:
            family.add_metric(row, value)
    return family


def _histogram(name: str, text: str, counted: Row) -> Metric:
    family = HistogramMetricFamily(name, text)
    bounds = [*(f"{bound / _NS_PER_S:g}" for bound in counted["bounds_ns"]), "+Inf"]
    buckets, below = [], 0
    for bound, count in zip(bounds, counted["counts"], strict=True):
        below += count
        buckets.append((bound, float(below)))
    family.add_metric((), buckets, counted["sum_ns"] / _NS_PER_S)
    return family


def _each(rows: Mapping[str, float]) -> Values:
    return (((name,), value) for name, value in rows.items())


def _of(rows: Mapping[str, Row], key: str) -> Values:
    return (((name,), None if row[key] is None else float(row[key])) for name, row in rows.items())


def _daemon(answer: Row) -> Iterator[Metric]:
    process, policy = answer["process"], answer["policy"]
    about = (answer["robot"], answer["type"], answer["version"])
    yield _gauges(
        "vlad_info", "Which robot and which vlad this is.", ("robot", "type", "version"), [(about, 1)]
    )
    yield _gauge("vlad_uptime_seconds", "Since the daemon started.", answer["uptime_s"])
    yield _counter("vlad_process_cpu_seconds_total", "Processor time of the daemon.", process["cpu_s"])
    yield _gauge("vlad_process_resident_memory_bytes", "Memory of the daemon.", process["resident_bytes"])
    yield _gauge("vlad_process_open_descriptors", "Open files and sockets.", process["descriptors"])
    yield _gauge("vlad_process_threads", "Threads of Python in the daemon.", process["threads"])
    named = (policy["name"] or "", policy["version"] or "")
    values = [(named, 1.0)] if policy["name"] else []
    yield _gauges("vlad_policy_info", "The policy that drives.", ("name", "version"), values)


def _safety(answer: Row) -> Iterator[Metric]:
    modes = {mode: float(mode == answer["mode"]) for mode in answer["modes"]}
    yield _gauges("vlad_mode", "1 for the mode that the robot is in.", ("mode",), _each(modes))
    yield _counters(
        "vlad_mode_changes_total", "How often each mode was entered.", ("mode",), _each(answer["modes"])
    )
    yield _gauge("vlad_armed", "Whether the policy has the robot.", float(answer["armed"]))
    yield _gauge("vlad_estop_latched", "Whether an emergency stop stands.", float(answer["estop"]))
    text = "0 safe, 1 caution, 2 warning, 3 danger, 4 emergency."
    yield _gauge("vlad_level", text, answer["level"])
    yield _gauges(
        "vlad_faults_active", "Subjects of each fault that acts.", ("fault",), _each(answer["faults"])
    )
    raised = {**dict.fromkeys(FAULTS, 0), **answer["raised"]}
    yield _counters("vlad_faults_total", "How often each fault began.", ("fault",), _each(raised))
    text = "Stops by category of IEC 60204-1; one that becomes a harder one counts in each."
    yield _counters("vlad_stops_total", text, ("category",), _each(answer["stops"]))
    text = "Commands sent to the motor driver."
    yield _counters("vlad_commands_total", text, ("mode",), _each(answer["commands"]))
    yield _gauge("vlad_motor_drivers", "Motor drivers that listen.", answer["motor_drivers"])
    guard = answer["guard"]
    watching = None if not guard["required"] else float(guard["state"] == "watching")
    yield _gauge("vlad_guard_watching", "Whether the guard watches, where one is required.", watching)


def _tick(answer: Row) -> Iterator[Metric]:
    tick = answer["tick"]
    yield _counter("vlad_ticks_total", "Turns of the safety tick that were due.", tick["count"])
    yield _counter(
        "vlad_ticks_early_total", "Turns in between that something urgent asked for.", tick["early"]
    )
    yield _counter("vlad_ticks_missed_total", "Periods of the safety tick without a turn.", tick["missed"])
    text = "How long after its time the safety tick began."
    yield _histogram("vlad_tick_lateness_seconds", text, tick["lateness"])


def _signals(answer: Row) -> Iterator[Metric]:
    signals, label = answer["signals"], ("signal",)
    yield _counters("vlad_signal_received_total", "Good samples.", label, _of(signals, "received"))
    text = "Messages that were refused."
    refused = [
        ((topic, why), count) for topic, row in signals.items() for why, count in row["refused"].items()
    ]
    yield _counters("vlad_signal_refused_total", text, ("signal", "reason"), refused)
    text = "Refused messages on no known topic."
    yield _counters("vlad_signal_unknown_total", text, ("reason",), _each(answer["unknown_topics"]))
    text = "Numbers missing in the sequence: messages that were lost."
    yield _counters("vlad_signal_gaps_total", text, label, _of(signals, "gaps"))
    text = "Samples of the policy's inputs that no inference used, for a newer one came."
    yield _counters("vlad_signal_dropped_total", text, label, _of(signals, "dropped"))
    yield _gauges(
        "vlad_signal_age_seconds", "Since the newest sample was measured.", label, _of(signals, "age_s")
    )
    text = "An older one is stale. Not for instruction and task_result, which are events."
    yield _gauges("vlad_signal_max_age_seconds", text, label, _of(signals, "max_age_s"))
    yield _gauges(
        "vlad_signal_required", "Whether the robot stops without it.", label, _of(signals, "required")
    )
    yield _gauges("vlad_signal_rate_hertz", "Good samples a second.", label, _of(signals, "rate_hz"))
    text = "How full each battery is, 0 to 1."
    yield _gauges("vlad_battery_ratio", text, label, _each(answer["batteries"]))


def _policy(answer: Row) -> Iterator[Metric]:
    policy = answer["policy"]
    yield _gauge("vlad_policy_lost", "Whether the policy does not answer.", float(policy["lost"]))
    text = "Whether the fallback drives in place of the policy."
    yield _gauge("vlad_policy_fallback", text, float(policy["fallback"]))
    text = "Frames of which no inference could be made."
    yield _counter("vlad_policy_bad_observations_total", text, policy["bad_observations"])
    text = "From the samples taken to the chunk ready, with preprocessing."
    yield _histogram("vlad_inference_seconds", text, policy["inference"])
    text = "How old the observation was when a command first went by it."
    yield _histogram("vlad_observation_age_seconds", text, policy["age"])
    text = "Standard deviation of the time between two chunks, over the last ten seconds."
    yield _gauge("vlad_inference_jitter_seconds", text, policy["jitter_s"])
    text = "Part of the last ten seconds that inference ran."
    yield _gauge("vlad_inference_utilization_ratio", text, policy["utilization"])
    yield _counter("vlad_actions_total", "Steps of the chunks that the policy made.", policy["actions"])
    yield _gauge("vlad_actions_per_second", "Over the last ten seconds.", policy["actions_per_s"])
    watts = _watts(answer)
    yield _gauges("vlad_power_watts", "Power that is drawn, by what is measured.", ("source",), _each(watts))
    text = "Actions a second for each watt, by what is measured."
    per_joule = {source: policy["actions_per_s"] / value for source, value in watts.items() if value > 0}
    yield _gauges("vlad_actions_per_joule", text, ("source",), _each(per_joule))


def _watts(answer: Row) -> dict[str, float]:
    """By what is measured: a signal, a rail of this computer, or a GPU."""
    rails = _readings(answer, "power")
    gpus = {name: readings["power"] for name, readings in _gpus(answer) if readings["power"] is not None}
    return {**answer["watts"], **{name: value for name, value in rails.items() if value is not None}, **gpus}


def _parts(answer: Row) -> Iterator[Metric]:
    parts = answer["parts"]
    yield _gauges("vlad_part_running", "Whether a part of the daemon runs.", ("part",), _of(parts, "running"))
    yield _counters("vlad_part_restarts_total", "How often it died.", ("part",), _of(parts, "restarts"))


def _health(answer: Row) -> Iterator[Metric]:
    health, label = answer["health"], ("component",)
    yield _gauge("vlad_health_age_seconds", "Since health was measured.", health["age_s"])
    yield _gauge(
        "vlad_health_ratio", "How well the worst component is: 1 fine, 0 at its limit.", health["score"]
    )
    components = health["components"]
    text = "How well each component is: 1 fine, 0 at its limit."
    yield _gauges("vlad_health_component_ratio", text, label, _of(components, "score"))
    text = "0 safe, 1 caution, 2 warning, 3 danger, 4 emergency."
    yield _gauges("vlad_health_component_level", text, label, _of(components, "level"))
    alerts = [((component, level), 1.0) for component, level in health["alerts"]]
    yield _gauges("vlad_alert", "1 for each alert that stands.", ("component", "level"), alerts)


def _readings(answer: Row, component: str) -> dict[str, float | None]:
    known = answer["health"]["components"].get(component)
    return known["readings"] if known else {}


def _gpus(answer: Row) -> Iterator[tuple[str, dict[str, float | None]]]:
    for name, row in answer["health"]["components"].items():
        if name.startswith("gpu"):
            yield name, row["readings"]


def _computer(answer: Row) -> Iterator[Metric]:
    for what, text in (("cpu", "Processors"), ("memory", "Memory"), ("disk", "The disk of the state folder")):
        used = _readings(answer, what).get("used")
        yield _gauge(f"vlad_computer_{what}_ratio", f"{text} in use, 0 to 1.", used)
    sensors = {
        **_readings(answer, "temperature"),
        **{name: row["temperature"] for name, row in _gpus(answer)},
    }
    degrees = [((name,), value) for name, value in sensors.items()]
    yield _gauges(
        "vlad_temperature_celsius", "Of each sensor, and the hottest of them.", ("sensor",), degrees
    )
    for what, name, text in (
        ("memory", "memory_ratio", "Its memory in use"),
        ("busy", "ratio", "How busy it is"),
    ):
        values = [((gpu,), readings[what]) for gpu, readings in _gpus(answer)]
        yield _gauges(f"vlad_gpu_{name}", f"{text}, 0 to 1.", ("gpu",), values)
    network = {
        name.removeprefix("network "): row["readings"]
        for name, row in answer["health"]["components"].items()
        if name.startswith("network ")
    }
    label = ("interface",)
    up = [((name,), 1.0 - row["down"]) for name, row in network.items()]
    yield _gauges("vlad_network_up", "Whether an interface is up.", label, up)
    yield _gauges("vlad_network_lost_ratio", "Packets dropped or damaged.", label, _of(network, "lost"))
    yield _gauges("vlad_network_bytes_per_second", "In and out.", label, _of(network, "traffic"))
    text = "How far the wall clock is off the time it is steered towards."
    yield _gauge("vlad_clock_offset_seconds", text, _readings(answer, "clock").get("offset"))


def _storage(answer: Row) -> Iterator[Metric]:
    storage = answer["storage"]
    text = "Whether what is stored does not reach the disk."
    problems = {store: float(problem) for store, problem in storage["problems"].items()}
    yield _gauges("vlad_storage_problem", text, ("store",), _each(problems))
    text = "Events that never reached the disk."
    yield _counter("vlad_events_dropped_total", text, storage["events_dropped"])
    text = "What did not get to the recorder and other processes, for too much waited."
    yield _counter("vlad_feed_dropped_total", text, storage["feed_dropped"])
    yield _gauge("vlad_recording", "Whether a recording is being written.", float(storage["recording"]))
    yield _counter("vlad_recordings_total", "Recordings that were finished.", storage["recordings"])
    text = "What the black box had no room for."
    dropped = {"message": storage["record_dropped"], "picture": storage["pictures_dropped"]}
    yield _counters("vlad_record_dropped_total", text, ("what",), _each(dropped))


def _lifetime(answer: Row) -> Iterator[Metric]:
    counted = answer["operation"]
    for key, (name, text) in _LIFETIME.items():
        yield _counter(f"vlad_lifetime_{name}_total", f"{text}, since the first start.", counted.get(key, 0))
