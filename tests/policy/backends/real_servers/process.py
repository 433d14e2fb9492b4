"""A real server in processes of its own, to be killed and frozen."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.policy.backends.asking import free_port
from tests.policy.backends.real_servers.models import MODELS, rows

ROOT = Path(__file__).resolve().parents[4]
HERE = "tests.policy.backends.real_servers"
PACKAGES = {"triton": "nvidia-pytriton", "mlserver": "mlserver", "kserve": "kserve"}
PATIENT_S = 60.0
ASKED = """from sysconfig import *
print(get_path("purelib"), get_config_var("LIBDIR"), get_python_version())"""
"""Asks a Python for its packages, for the folder of its library, and for its version."""


class RealServer:
    """The server of this kind, always on the same ports; `folder` is its own. To `backend` and `address` see
    ServerProcess.
    """

    backend = "kserve"

    def __init__(self, kind, scheme, python, folder):
        self.kind, self.python, self.folder = kind, Path(python), folder
        self.ports = {"http": free_port(), "grpc": free_port()}
        self.port = self.ports[scheme]
        self.address = f"{scheme}://127.0.0.1:{self.port}"
        self.process = None
        self.misbehave("")

    def misbehave(self, fault):
        """One of SamePolicy's faults; none ends it."""
        written = self.folder / "fault.new"
        written.write_text(fault)
        written.replace(self.folder / "fault")

    def start(self, slow_s=0.0):
        """Start it, and wait until its models are ready."""
        self.kill()
        words, more = {"triton": self.triton, "mlserver": self.mlserver, "kserve": self.kserve}[self.kind]()
        own = {"VLAD_FAULT_FILE": str(self.folder / "fault"), "VLAD_SLOW_S": str(slow_s)}
        environment = os.environ | {"PYTHONPATH": str(ROOT)} | own | more
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                words, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        end_s = time.monotonic() + PATIENT_S
        while not all(self.is_ready(name) for name in MODELS):
            if time.monotonic() > end_s or self.process.poll() is not None:
                said = (self.folder / "log").read_text()
                raise AssertionError(f"{self.kind} does not start: {said[-2000:]}")
            time.sleep(0.1)

    def is_ready(self, name):
        link = http.client.HTTPConnection("127.0.0.1", self.ports["http"], timeout=5)
        with contextlib.closing(link), contextlib.suppress(OSError):
            link.request("GET", f"/v2/models/{name}/ready")
            return link.getresponse().status == 200
        return False

    def send(self, number):
        """To all of its processes; SIGSTOP has stopped the first of them when this returns."""
        os.killpg(self.process.pid, number)
        if number is signal.SIGSTOP:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def kill(self):
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.send(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def kserve(self):
        ports = [str(port) for port in self.ports.values()]
        return [self.python, "-m", f"{HERE}.kserve_server", *ports], {}

    def mlserver(self):
        settings = {
            "host": "127.0.0.1",
            "http_port": self.ports["http"],
            "grpc_port": self.ports["grpc"],
            "metrics_endpoint": None,
            "parallel_workers": 0,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings))
        for name, (inputs, outputs) in MODELS.items():
            model = {"name": name, "implementation": f"{HERE}.mlserver_model.Runtime"}
            tensors = {"inputs": rows(inputs), "outputs": rows(outputs)}
            (self.folder / name).mkdir(exist_ok=True)
            (self.folder / name / "model-settings.json").write_text(json.dumps(model | tensors))
        return [self.python.with_name("mlserver"), "start", self.folder], {}

    def triton(self):
        """PyTriton's wheel has the server itself, its Python backend, and a process for each Python."""
        found = subprocess.check_output([self.python, "-c", ASKED], text=True)
        packages, library, version = found.split()
        server, backends = Path(packages, "pytriton", "tritonserver"), self.folder / "backends"
        if not backends.exists():
            shutil.copytree(server / "backends", backends)
            stub = "triton_python_backend_stub"
            shutil.copy(server / "python_backend_stubs" / version / stub, backends / "python" / stub)
        for name, (inputs, outputs) in MODELS.items():
            model = self.folder / "models" / name
            (model / "1").mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(__file__).with_name("triton_model.py"), model / "1" / "model.py")
            tensors = f"input [{pbtxt(inputs)}] output [{pbtxt(outputs)}]"
            (model / "config.pbtxt").write_text(
                f'name: "{name}" backend: "python" {tensors} instance_group [{{kind: KIND_CPU}}]'
            )
        options = {
            "model-repository": self.folder / "models",
            "backend-directory": backends,
            "http-address": "127.0.0.1",
            "http-port": self.ports["http"],
            "grpc-address": "127.0.0.1",
            "grpc-port": self.ports["grpc"],
            "allow-metrics": "false",
        }
        words = [server / "bin" / "tritonserver", *(f"--{key}={value}" for key, value in options.items())]
        return words, {
            "PATH": f"{self.python.parent}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{packages}/nvidia_pytriton.libs:{library}",
        }


def pbtxt(tensors):
    """Tensors as Triton's configuration has them."""
    return ", ".join(
        f'{{name: "{name}" data_type: TYPE_{kind.replace("BYTES", "STRING")} dims: {shape}}}'
        for name, kind, shape in tensors
    )
