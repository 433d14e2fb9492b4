"""What a real daemon answers to `metrics`, and the tool of Prometheus that checks what comes of it."""

from __future__ import annotations

import functools
import shutil
import subprocess
from typing import Any

import pytest

from tools.benchmarks.rig import rig, write_policy
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import Battery, Power

SIGNALS = {
    "camera": {"type": "image", "max_age_s": 5.0},
    "battery": {"type": "battery", "required": False, "max_age_s": 60.0},
    "power": {"type": "power", "required": False, "max_age_s": 60.0},
    "instruction": {"type": "instruction", "required": False},
}


@functools.cache
def real_answer() -> dict[str, Any]:
    """Of a daemon whose policy drives, and that knows what power is drawn. Do not change it: copy."""
    with rig(SIGNALS, realtime={"lock_memory": False}) as made:
        made.policy["bundle"] = str(write_policy(made.folder / "models" / "bench", "camera", 32, rounds=0))
        made.start_daemon("vlad", "--config", made.write_settings())
        made.feed(["camera:image:30:64x48"])
        with (
            CommandReceiver(made.commands),
            SensorPublisher(made.sensors, "battery", "battery") as battery,
            SensorPublisher(made.sensors, "power", "power") as power,
        ):
            made.arm()
            while True:
                battery.publish(Battery(0.8, 24.0, -2.0, 25.0))
                power.publish(Power(60.0))
                answer: dict[str, Any] = made.call("metrics")
                known = len(answer["watts"]) == 2 and answer["health"]["components"]
                if known and sum(answer["policy"]["age"]["counts"]) > 3:
                    return answer


def promtool(*words: str, text: bytes = b"") -> None:
    """Fails with what it says; skips the test where it is not installed."""
    if shutil.which("promtool") is None:
        pytest.skip("there is no promtool here: apt-get install prometheus")
    done = subprocess.run(["promtool", *words], input=text, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
