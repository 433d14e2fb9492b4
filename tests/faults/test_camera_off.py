"""From end to end: the simulated rover drives, its camera is cut off, and vlad stops it and says why."""

import time

import pytest

from tools.benchmarks.rig import ROOT, rig
from tools.injection.kinds import Kind
from tools.injection.remote import Injector
from tools.injection.trial import Stage
from vlad.clock import SystemClock
from vlad.config import load_settings

TIMEOUT_S = 20.0


@pytest.mark.slow
def test_a_rover_whose_camera_goes_dark_stops_and_says_why():
    settings = ROOT / "etc" / "demo.toml"
    _, robot = load_settings(settings)
    with rig({}) as bench:
        listen = bench.run_dir / "inject"
        words = ("--config", settings, "--run-dir", bench.run_dir)
        bench.start_daemon("vlad", *words, "--state-dir", bench.folder / "state")
        bench.start("vlad.guard", *words)
        bench.start("tools.sim", "--run-dir", bench.run_dir, "--inject", "imu=ok@0")
        stage = Stage(bench.run_dir, listen, bench.run_dir, robot, SystemClock())
        try:
            stage.drive()
            with Injector(listen) as injector:
                injector.set("camera", Kind.OFF)
                end_s = time.monotonic() + TIMEOUT_S
                while (status := bench.call("status"))["mode"] != "stopped":
                    assert time.monotonic() < end_s, status
                    time.sleep(0.05)
        finally:
            stage.close()
        changes = [event["data"] for event in bench.call("events", limit=200) if event["kind"] == "mode"]
    stopping = [change for change in changes if change["after"] == "stopping"]
    assert "signal_stale" in stopping[-1]["cause"]
    assert "camera" in stopping[-1]["cause"]
    fault = next(row for row in status["faults"] if row["id"] == "signal_stale")
    assert fault["subject"] == "camera"
    assert "driver" in fault["hint"]
