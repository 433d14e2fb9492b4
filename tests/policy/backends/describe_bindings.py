"""Print as JSON what real bindings of TensorRT have, and what vlad's own code does with them. No GPU.

`python describe_bindings.py FOLDER NAME...`: the bindings are in FOLDER; of each NAME the first lines of its
documentation, where pybind11 puts the signatures, or null where there is none of that name.
"""

import functools
import json
import sys
from pathlib import Path


def described(module, name):
    try:
        found = functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        return None
    return "property" if isinstance(found, property) else found.__doc__ or ""


def reports_of(module):
    """The logger is a subclass of theirs, with a constructor and types that the bindings check."""
    from vlad.policy.backends import BackendError, Model
    from vlad.policy.backends.tensorrt_plan import TensorrtLog, _build, _network_flags

    reports = TensorrtLog()
    for severity in ("INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"):
        reports.log(getattr(module.ILogger.Severity, severity), severity)
    taken = reports.take()
    module.init_libnvinfer_plugins(reports, "")
    try:
        _build(Model(Path("model.onnx"), "float32", (), 1), None, reports)
    except BackendError as error:
        refused = str(error)
    flags = module.NetworkDefinitionCreationFlag.__members__.items()
    asked = [name for name, flag in flags if _network_flags() & 1 << int(flag)]
    return {"taken": taken, "refused": refused, "flags": asked}


def main():
    folder, *names = sys.argv[1:]
    sys.path.insert(0, folder)
    import tensorrt_bindings

    # What the package `tensorrt` is, beside the libraries.
    sys.modules["tensorrt"] = tensorrt_bindings
    told = {name: described(tensorrt_bindings, name) for name in names}
    print(json.dumps({
        "version": tensorrt_bindings.__version__,
        "names": told,
        "ours": reports_of(tensorrt_bindings),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
