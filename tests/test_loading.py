"""The policies that a daemon starts with: what is refused is told, and what they read is required."""

import pytest

from tests.policy.bundles import ROBOT, SIGNALS, make_bundle
from tests.policy.test_seat import on_server
from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.loading import load_policies, require_signals
from vlad.record.events import EventLog

OPTIONAL = {topic: known.model_copy(update={"required": False}) for topic, known in SIGNALS.items()}


@pytest.fixture
async def load(tmp_path):
    opened = []

    async def loading(**policy):
        clock = SystemClock()
        settings = Settings.model_validate({
            "robot": {"limits": "none.toml"}, "signals": OPTIONAL, "policy": policy,
            "paths": {"state_dir": tmp_path},
        })  # fmt: skip
        events = EventLog(tmp_path / "vlad.db", clock)
        loaded = await load_policies(settings, ROBOT, clock, events, tmp_path / "policy.json")
        events.close()
        opened.extend(policy for policy in (loaded.policy, loaded.fallback) if policy is not None)
        return settings, loaded

    yield loading
    for policy in opened:
        policy.close()


async def test_both_are_loaded_and_what_either_reads_is_required(load, tmp_path):
    first = make_bundle(tmp_path / "models" / "tiny" / "1")
    make_bundle(tmp_path / "models" / "calm" / "1", name="calm")
    settings, loaded = await load(bundle=first, fallback="calm/1")
    assert (str(loaded.policy.bundle), str(loaded.fallback.bundle)) == ("tiny/1", "calm/1")
    assert (loaded.error, loaded.fallback_error) == ("", "")
    required = require_signals(settings, None, loaded.fallback).signals
    assert {topic for topic, known in required.items() if known.required} == {"camera", "laser"}
    assert require_signals(settings, None, None) == settings


async def test_a_fallback_that_runs_on_a_server_or_is_not_there_is_refused_and_the_other_is_loaded(
    load, tmp_path
):
    first = make_bundle(tmp_path / "models" / "tiny" / "1")
    on_server(tmp_path, "2")
    _, loaded = await load(bundle=first, fallback="tiny/2")
    assert loaded.policy is not None
    assert "tiny/2: runs on a server, which may be lost with the other" in loaded.fallback_error
    _, loaded = await load(bundle=first, fallback="tiny/3")
    assert "tiny/3/policy.toml: cannot be read" in loaded.fallback_error


async def test_without_a_bundle_nothing_is_loaded_and_a_refused_one_is_told(load, tmp_path):
    _, loaded = await load()
    assert (loaded.policy, loaded.fallback, loaded.error) == (None, None, "")
    _, loaded = await load(bundle=tmp_path / "none")
    assert "none/policy.toml: cannot be read" in loaded.error
