"""A daemon whose policy loses its way: slowed down, stopped, and on again, as its calibration says."""

import contextlib
import threading
import tomllib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.test_daemon import CAMERA, UNLOCKED, await_command, await_events, await_status
from tests.test_model_swap import vladctl
from tools.benchmarks.rig import HORIZON, rig, write_policy
from vlad.driver import CommandReceiver, SensorPublisher
from vlad.messages import CommandMode, Image
from vlad.policy.bundle import load_bundle, write_manifest
from vlad.policy.calibration import Calibration, calibration_path, manifest_sha256, write_calibration

SIZE = 8
WHITE, GREY, BLACK = 255, 191, 0
SLOW, STOP = 0.05, 0.3


def write_wavering(folder):
    """linear_x = 0.7 + 0.15 * brightness: 1.0 for white pictures, 0.85 for grey, 0.4 for black ones."""
    write_policy(folder, "camera", SIZE, rounds=0)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["weight", "mean"], ["more"]),
        helper.make_node("Add", ["plan", "more"], ["actions"]),
    ]
    plan = np.tile(np.array([0.7, 0.0], np.float32), (1, HORIZON, 1))
    graph = helper.make_graph(
        nodes, "wavering",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, HORIZON, 2])],
        [numpy_helper.from_array(plan, "plan"),
         numpy_helper.from_array(np.array([0.15, 0.0], np.float32), "weight")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    write_manifest(folder, tomllib.loads((folder / "policy.toml").read_text()))
    return folder


def calibrate(made, folder, **changes):
    bundle = load_bundle(folder)
    values = {
        "bundle": str(bundle), "manifest_sha256": manifest_sha256(bundle), "episodes": 99, "rate_hz": 30.0,
        "alpha_slow": 0.1, "alpha_stop": 0.01, "measures": {"disagreement": {"slow": SLOW, "stop": STOP}},
    }  # fmt: skip
    return write_calibration(made.folder / "state", bundle, Calibration.model_validate(values | changes))


@contextlib.contextmanager
def camera(made):
    """Thirty frames a second, of each of the levels in the list that it gives in turn."""
    levels, ended = [WHITE], threading.Event()

    def publish():
        with SensorPublisher(made.sensors, "camera", "image") as publisher:
            count = 0
            while not ended.wait(1 / 30):
                level = levels[count % len(levels)]
                publisher.publish(Image("rgb8", np.full((SIZE, SIZE, 3), level, np.uint8)))
                count += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield levels
    finally:
        ended.set()
        thread.join()


@pytest.fixture
def driving(request):
    """A daemon at full speed, its bundle calibrated or not, and what its camera shows."""
    with rig(CAMERA, realtime=UNLOCKED) as made:
        made.bundle = write_wavering(made.folder / "models" / "bench" / "1")
        made.policy["bundle"] = str(made.bundle)
        if getattr(request, "param", True):
            calibrate(made, made.bundle)
        made.start_daemon("vlad", "--config", made.write_settings())
        with camera(made) as made.levels, CommandReceiver(made.commands) as made.motor:
            made.arm()
            await_speed(made, 1.0)
            yield made


def await_speed(made, speed):
    while await_command(made, CommandMode.RUN).values[0] != pytest.approx(speed, abs=1e-3):
        continue


def has_faults(*names):
    return lambda status: {fault["id"] for fault in status["faults"]} == set(names)


def test_a_policy_that_wavers_is_slowed_down_then_stopped_and_goes_on_when_it_is_sure_again(driving):
    driving.levels[:] = [WHITE, GREY]
    status = await_status(driving, has_faults("low_confidence"))
    assert status["mode"] == "degraded"
    await_speed(driving, 0.7)
    doubt = driving.call("status")["policy"]["doubts"]["disagreement"]
    assert doubt == {"value": pytest.approx(0.15 / 2**0.5, rel=0.02), "slow": SLOW, "stop": STOP}
    driving.levels[:] = [WHITE, BLACK]
    await_command(driving, CommandMode.HOLD)
    await_status(driving, lambda status: status["mode"] == "stopped")
    driving.levels[:] = [WHITE]
    await_speed(driving, 1.0)
    for fault in ("low_confidence", "no_confidence"):
        assert await_events(driving, lambda event, fault=fault: event["text"].startswith(f"{fault}: "))
        assert await_events(driving, lambda event, fault=fault: event["text"].startswith(f"over: {fault}"))
    assert "disagreement 0 (slows above 0.05, stops above 0.3)" in vladctl(driving, "status").stdout


@pytest.mark.parametrize("driving", [False], indirect=True)
def test_without_a_calibration_doubt_is_shown_and_nothing_else(driving):
    driving.levels[:] = [WHITE, BLACK]
    status = await_status(driving, lambda status: status["policy"]["doubts"]["disagreement"]["value"] > STOP)
    assert status["policy"]["calibrated"] is False
    count = status["tick"]["count"]
    status = await_status(driving, lambda status: status["tick"]["count"] > count + 50)
    assert not {"low_confidence", "no_confidence"} & {fault["id"] for fault in status["faults"]}
    assert status["mode"] in ("active", "degraded")
    assert "not calibrated" in vladctl(driving, "status").stdout


def test_another_bundle_gets_its_own_calibration_or_none_and_never_a_false_one(driving):
    models = driving.folder / "state" / "models" / "bench"
    for version in ("2", "3", "4"):
        (models / version).parent.mkdir(parents=True, exist_ok=True)
        write_policy(models / version, "camera", SIZE, rounds=0, version=version)
    calibrate(driving, models / "3", measures={"disagreement": {"slow": 1.5, "stop": 2.5}})
    path = calibrate(driving, models / "4", manifest_sha256="0" * 64)
    for version, limits in (("2", (None, None)), ("3", (1.5, 2.5))):
        done = vladctl(driving, "model", "activate", "bench", version)
        assert done.returncode == 0, done.stdout + done.stderr
        doubt = await_status(driving, lambda status: status["policy"]["doubts"])["policy"]["doubts"][
            "disagreement"
        ]
        assert (doubt["slow"], doubt["stop"]) == limits
    done = vladctl(driving, "model", "activate", "bench", "4")
    assert done.returncode == 1
    assert f"{path}: was made for another bundle" in " ".join(done.stdout.split())
    assert driving.call("status")["policy"]["version"] == "3"


def test_a_daemon_with_a_calibration_for_another_bundle_cannot_be_armed_and_says_how_to_mend_it():
    with rig(CAMERA, realtime=UNLOCKED) as made:
        folder = write_wavering(made.folder / "models" / "bench" / "1")
        made.policy["bundle"] = str(folder)
        path = calibrate(made, folder, manifest_sha256="0" * 64)
        assert path == calibration_path(made.folder / "state", load_bundle(folder))
        made.start_daemon("vlad", "--config", made.write_settings())
        status = made.call("status")
        assert status["policy"]["state"] == "refused"
        assert f"{path}: was made for another bundle" in status["policy"]["error"]
        assert "remove the file" in status["policy"]["error"]
        assert not made.call("arm")["ok"]
