"""The backend `kserve` on servers that others wrote; `tools/test` does not install them: they are large.

VLAD_TRITON_PYTHON, VLAD_MLSERVER_PYTHON and VLAD_KSERVE_PYTHON name the Python of an environment of its own
into which the server was installed, from the package of PACKAGES:

    python -m venv /opt/triton && /opt/triton/bin/pip install nvidia-pytriton
    VLAD_TRITON_PYTHON=/opt/triton/bin/python tools/test tests/policy/backends/test_kserve_real.py
"""

import os
import signal

import numpy as np
import pytest

from tests.policy.backends.asking import asking
from tests.policy.backends.real_servers.models import PROMPT
from tests.policy.backends.real_servers.process import PACKAGES, RealServer
from tests.test_daemon import CAMERA, UNLOCKED
from tests.test_remote_policy import Served, has_fault
from tools.benchmarks.rig import rig
from vlad.driver import CommandReceiver
from vlad.messages import CommandMode
from vlad.policy.backends import ServerLost, TensorSpec

PICTURE = np.random.default_rng(0).integers(0, 255, (1, 48, 64, 3), np.uint8)
MIXED = {
    "camera": PICTURE,
    "state": np.array([[0.5, -1.0]], np.float32),
    "tokens": np.array([[2**40, 0, -7]], np.int64),
    "prompt": np.array([PROMPT], object),
}
SAW = [PICTURE.sum() % 251, -9.5, 1, 1]


@pytest.fixture(params=[f"{kind}-{scheme}" for kind in PACKAGES for scheme in ("http", "grpc")])
def server(request, tmp_path):
    """The server is not started yet."""
    kind, _, scheme = request.param.partition("-")
    variable = f"VLAD_{kind.upper()}_PYTHON"
    if not (python := os.environ.get(variable)):
        pytest.skip(f"{variable} names no Python with {PACKAGES[kind]}")
    made = RealServer(kind, scheme, python, tmp_path)
    yield made
    made.kill()


@pytest.mark.slow
def test_a_real_server_sees_the_inputs_as_they_are_and_says_what_it_takes_and_why_it_failed(server):
    server.start()
    model = f"{server.address}/v2/models/mixed"
    with asking("kserve", model, "doubt", "actions") as backend:
        said = backend.describe()
        assert said.inputs["camera"] == TensorSpec("uint8", (1, None, None, 3))
        assert said.inputs["tokens"] == TensorSpec("int64", (1, None))
        assert said.outputs["actions"] == TensorSpec("float32", (1, 4))
        for _ in range(3):
            answer = backend.run(MIXED)
        np.testing.assert_array_equal(answer["actions"], np.array([SAW], np.float32))
        assert answer["doubt"].tolist() == [[20.0]]
    with asking("kserve", model, "actoins") as backend, pytest.raises(ServerLost, match="actoins"):
        backend.run(MIXED)
    with (
        asking("kserve", f"{server.address}/v2/models/gone", "actions") as backend,
        pytest.raises(ServerLost, match=r"unknown model: 'gone'|Model.* gone .*not"),
    ):
        backend.describe()


def await_well(served, fault):
    """Until that fault is over and the robot goes on; a busy computer may have others."""
    served.await_status(lambda status: not has_fault(fault)(status))
    served.await_command(CommandMode.RUN)


@pytest.mark.slow
def test_a_real_server_drives_a_robot_which_rests_while_the_server_fails_is_dead_or_frozen(server):
    with rig(CAMERA, realtime=UNLOCKED) as made:
        served = Served(made, server)
        with CommandReceiver(made.commands) as made.motor:
            server.start(slow_s=1.0)
            served.start()
            served.drive()
            for fault, name, said in (
                ("error", "policy_lost", "CUDA error: out of memory"),
                ("nan", "chunk_not_finite", "NaN or infinity"),
            ):
                if (server.kind, server.address[:4], fault) == ("mlserver", "grpc", "nan"):
                    # Its codec makes None of NaN, which it then cannot pack.
                    name, said = "policy_lost", "required argument is not a float"
                server.misbehave(fault)
                served.await_command(CommandMode.HOLD)
                status = served.await_status(has_fault(name))
                assert said in next(row["detail"] for row in status["faults"] if row["id"] == name)
                server.misbehave("")
                await_well(served, name)
            server.kill()
            served.await_command(CommandMode.HOLD)
            served.await_status(has_fault("policy_lost"))
            server.start()
            await_well(served, "policy_lost")
            server.send(signal.SIGSTOP)
            served.await_command(CommandMode.HOLD)
            served.await_status(has_fault("policy_lost"))
            server.send(signal.SIGCONT)
            await_well(served, "policy_lost")
