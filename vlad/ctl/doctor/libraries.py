"""The libraries that the daemon needs: there, and loadable on this machine."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Iterator

from vlad.ctl.doctor.finding import Finding

_MODULES = {
    "uvloop": "uvloop",
    "numpy": "numpy",
    "pyzmq": "zmq",
    "msgpack": "msgpack",
    "psutil": "psutil",
    "nvidia-ml-py": "pynvml",
    "pydantic": "pydantic",
    "onnxruntime": "onnxruntime",
    "tokenizers": "tokenizers",
    "opencv-python-headless": "cv2",
    "rich": "rich",
    "mcap": "mcap",
    "zstandard": "zstandard",
}


def check_libraries() -> Iterator[Finding]:
    """One finding for all that load, and one for each that does not."""
    loaded = [f"Python {sys.version.split()[0]}"]
    for package, module in _MODULES.items():
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            mend = f"{sys.executable} -m pip install --force-reinstall {package}"
            yield Finding("problem", "libraries", f"{package} does not load: {error}", mend)
        else:
            loaded.append(f"{package} {_version(package)}")
    yield Finding("ok", "libraries", ", ".join(loaded))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(of another package)"
