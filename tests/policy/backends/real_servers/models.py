"""What the real servers serve, whichever they are. This runs in their environments: NumPy, and no vlad.

`bench` drives as SamePolicy does, and misbehaves as the file says that VLAD_FAULT_FILE names; its first
answer takes VLAD_SLOW_S. `mixed` has an input of each kind, and says in numbers what it saw of them.
"""

import os
import time
from pathlib import Path

import numpy as np

from tools.policy_servers.same import HORIZON, SamePolicy

MODELS = {
    "bench": (
        [("camera", "UINT8", [1, -1, -1, 3])],
        [("actions", "FP32", [1, -1, 2])],
    ),
    "mixed": (
        [
            ("camera", "UINT8", [1, -1, -1, 3]),
            ("state", "FP32", [1, 2]),
            ("tokens", "INT64", [1, -1]),
            ("prompt", "BYTES", [1]),
        ],
        [("actions", "FP32", [1, 4]), ("doubt", "FP32", [1, 1])],
    ),
}
"""Name -> its inputs, its outputs; each with a name, a datatype and a shape."""

PROMPT = "räume auf"
slow_s = [float(os.environ.get("VLAD_SLOW_S", "0"))]


def rows(tensors):
    """Tensors as the protocol's metadata has them."""
    return [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in tensors]


def answer(name, inputs):
    """The outputs of the model of this name. RuntimeError is the fault `error`."""
    if name == "bench":
        time.sleep(slow_s.pop() if slow_s else 0)
        policy = SamePolicy(Path(os.environ["VLAD_FAULT_FILE"]).read_text())
        policy.misbehaves = True
        return {"actions": policy(inputs["camera"][0])[None]}
    (prompt,) = inputs["prompt"]
    said = prompt.decode() if isinstance(prompt, bytes) else prompt
    seen = [
        inputs["camera"].sum() % 251,
        inputs["state"][0] @ [1, 10],
        inputs["tokens"][0].tolist() == [2**40, 0, -7],
        said == PROMPT,
    ]
    return {"actions": np.array([seen], np.float32), "doubt": np.full((1, 1), HORIZON, np.float32)}
