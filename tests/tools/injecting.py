"""What the tests of tools/inject share."""

import subprocess
import sys
from pathlib import Path

from tests.fake_daemon import Served

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 20.0


def daemon_with(folder, mode, simulated):
    served = Served(folder)
    served.actions.report = {"mode": mode, "robot": {"name": "arm 1", "simulated": simulated}}
    return served


def inject(*words, timeout=60):
    command = [sys.executable, "-m", "tools.injection", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
