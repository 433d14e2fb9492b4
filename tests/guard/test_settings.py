"""The guard's settings are those of the daemon, read without its libraries."""

from pathlib import Path

import pytest

from vlad.config import GuardSettings, PathSettings, RealtimeSettings, Settings
from vlad.guard.settings import SettingsError, load_guard_settings

ETC = Path(__file__).parents[2] / "etc"


def load(tmp_path, text, more=None):
    (tmp_path / "vlad.toml").write_text(text)
    if more is not None:
        (tmp_path / "vlad.toml.d").mkdir()
        (tmp_path / "vlad.toml.d" / "50.toml").write_text(more)
    return load_guard_settings(tmp_path / "vlad.toml", None)


def problems_of(tmp_path, text, more=None):
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, text, more)
    return [problem.removeprefix(f"{tmp_path}/") for problem in refused.value.problems]


def test_without_any_key_it_goes_by_the_daemons_defaults(tmp_path):
    settings, guard = load(tmp_path, ""), GuardSettings()
    assert settings.silence_ns == guard.silence_ms * 1_000_000
    assert settings.relay is guard.relay is None
    assert settings.relay_stop == bytes.fromhex(guard.relay_stop)
    assert settings.relay_run == bytes.fromhex(guard.relay_run)
    assert settings.run_dir == PathSettings().run_dir
    assert settings.fifo_priority == RealtimeSettings().fifo_priority
    assert settings.lock_memory is RealtimeSettings().lock_memory


def test_later_files_override_single_keys_and_a_relay_is_named_from_its_file(tmp_path):
    settings = load(
        tmp_path,
        '[guard]\nsilence_ms = 80\nrelay = "line"\nrelay_stop = ""\n[signals.camera]\ntype = 3\n',
        '[guard]\nrelay_run = "a0FF"\nrelay = "other"\n[paths]\nrun_dir = "/tmp/x"\n',
    )
    assert settings.silence_ns == 80_000_000
    assert settings.relay == tmp_path / "vlad.toml.d" / "other"
    assert (settings.relay_stop, settings.relay_run) == (b"", b"\xa0\xff")
    assert settings.run_dir == Path("/tmp/x")


def test_the_command_line_goes_before_the_file(tmp_path):
    (tmp_path / "vlad.toml").write_text('[paths]\nrun_dir = "/tmp/x"\n')
    assert load_guard_settings(tmp_path / "vlad.toml", Path("/tmp/y")).run_dir == Path("/tmp/y")


def test_each_mistake_is_told_with_file_and_key(tmp_path):
    assert problems_of(
        tmp_path,
        '[guard]\nsilence_ms = 5\nrequired = "yes"\nrelais = "x"\nrelay = 3\n[paths]\nrun_dir = ""\n',
        '[guard]\nrelay_stop = "3"\n[realtime]\nfifo_priority = true\nlock_memory = 1\n',
    ) == [
        "vlad.toml: guard.required: must be true or false (got 'yes')",
        "vlad.toml: guard.silence_ms: must be a whole number from 20 to 1000 (got 5)",
        "vlad.toml: guard.relay: must be a path (got 3)",
        "vlad.toml.d/50.toml: guard.relay_stop: must be bytes in hexadecimal, two digits each (got '3')",
        "vlad.toml: paths.run_dir: must be a path (got '')",
        "vlad.toml.d/50.toml: realtime.fifo_priority: must be a whole number from 0 to 99 (got True)",
        "vlad.toml.d/50.toml: realtime.lock_memory: must be true or false (got 1)",
        "vlad.toml: guard.relais: unknown key; check its spelling, or remove it",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("guard = 3", "vlad.toml: guard: must be a table"),
        ("[guard", "vlad.toml: is not valid TOML: "),
    ],
)
def test_what_is_no_settings_file_is_refused(tmp_path, text, told):
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(told)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load_guard_settings(tmp_path / "none.toml", None)


@pytest.mark.parametrize("key", GuardSettings.model_fields)
def test_it_knows_every_key_of_the_section(tmp_path, key):
    problems = problems_of(tmp_path, f"[guard]\n{key} = [1]\n")
    assert len(problems) == 1
    assert "unknown" not in problems[0]


@pytest.mark.parametrize("silence_ms", [19, 20, 1000, 1001, 50.0])
@pytest.mark.parametrize("relay_stop", ["", "0a", "0", "xy"])
def test_it_refuses_what_the_daemon_refuses(tmp_path, silence_ms, relay_stop):
    section = {"silence_ms": silence_ms, "relay_stop": relay_stop}
    try:
        Settings.model_validate({"robot": {"limits": "r"}, "signals": {}, "guard": section})
    except ValueError:
        problems_of(tmp_path, f'[guard]\nsilence_ms = {silence_ms}\nrelay_stop = "{relay_stop}"\n')
    else:
        load(tmp_path, f'[guard]\nsilence_ms = {silence_ms}\nrelay_stop = "{relay_stop}"\n')


@pytest.mark.parametrize("file", sorted(ETC.glob("*.toml")), ids=lambda file: file.name)
def test_it_reads_the_settings_that_come_with_vlad(file):
    assert load_guard_settings(file, None).silence_ns == 50_000_000
