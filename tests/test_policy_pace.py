"""A daemon runs its policy at the resolution and the pace that this computer, or its share of it, allows."""

import os
import shutil
import time

import pytest

from tests.test_daemon import CAMERA, FEED, UNLOCKED, await_command, await_status
from tools.benchmarks.rig import rig, write_policy
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode
from vlad.policy.bundle import load_bundle, write_manifest

PATIENT_S = 30.0


@pytest.fixture
def made():
    with rig(CAMERA, realtime=UNLOCKED) as made, CommandReceiver(made.commands) as made.motor:
        yield made


def start(made, folder, **policy):
    made.policy |= {"bundle": str(folder), **policy}
    made.start_daemon("vlad", "--config", made.write_settings())
    made.feed(FEED)
    made.arm()
    await_command(made, CommandMode.RUN, timeout_s=PATIENT_S)


def test_a_bundle_whose_large_model_is_too_slow_drives_at_a_lower_resolution_and_says_why(made):
    folder = write_policy(made.folder / "models" / "bench", "camera", 64, rounds=40)
    small = write_policy(made.folder / "small", "camera", 32, rounds=0)
    shutil.copy(small / "model.onnx", folder / "small.onnx")
    manifest = load_bundle(small).manifest.model_dump(by_alias=True, mode="json", exclude_unset=True)
    image = manifest["inputs"][0] | {"shape": [1, 3, 64, 64]}
    variants = [{"model": "small.onnx", "shapes": {"image": [1, 3, 32, 32]}}]
    write_manifest(folder, manifest | {"inputs": [image], "variants": variants})
    start(made, folder)
    status = await_status(made, lambda status: status["policy"]["inferences"] > 5, timeout_s=PATIENT_S)
    policy = status["policy"]
    assert (policy["resolution"], policy["resolutions"]) == ("32x32", ["64x64", "32x32"])
    assert "and may take 33 ms" in policy["resolution_why"]


def test_inference_keeps_to_its_share_of_the_cpus_and_the_status_says_what_would_help(made):
    folder = write_policy(made.folder / "models" / "bench", "camera", 32, rounds=8)
    part = 0.1
    start(made, folder, cpu_share=part / os.cpu_count())
    before = made.call("status")["policy"]["inferences"]
    used_s, began_s = sum(made.daemon.cpu_times()[:2]), time.monotonic()
    status = await_status(made, lambda status: status["policy"]["inferences"] > before + 6, PATIENT_S)
    used_s, elapsed_s = sum(made.daemon.cpu_times()[:2]) - used_s, time.monotonic() - began_s
    policy = status["policy"]
    busy_s = (policy["inferences"] - before) * policy["latency_p50_ms"] / 1e3
    assert busy_s < 3 * part * elapsed_s, "half of them are about as long, and rested for nine times that"
    assert used_s < 0.6 * elapsed_s, "the tick and the camera take some of it; freely it would be a whole CPU"
    if policy["latency_p50_ms"] <= 33:
        assert "policy.cpu_share and gpu_share leave time for one every" in policy["advice"]
