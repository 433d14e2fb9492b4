"""The made-up TensorRT that the other tests run on has the names and parameters of three real ones.

TensorRT itself is large and wants a GPU; its bindings are 1 MB each, and import where libraries of the right
names have the few functions that they look for, which are never called.
"""

import enum
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.policy.backends.fake_cuda import Machine
from tests.policy.backends.fake_tensorrt import EXTRA, make_tensorrt

WHEELS = {
    "8.6.1": "tensorrt-bindings",
    "10.16.1.11": "tensorrt-cu12-bindings",
    "11.4.0.106": "tensorrt-cu13-bindings",
}
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
    "_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)  # fmt: skip
CONSTRUCTED = ("ILogger", "Runtime", "Builder", "OnnxParser")
"""The classes that vlad makes objects of; of the others it gets them."""

ROOT = Path(__file__).resolve().parents[3]


def surface(module):
    """All names in the module, down to methods and members -> the function, where it is one, else None."""
    found = {}
    for name, value in vars(module).items():
        if name.startswith("__"):
            continue
        found[name] = value if inspect.isfunction(value) else None
        if isinstance(value, enum.EnumType):
            found |= dict.fromkeys(f"{name}.{member}" for member in value.__members__)
        elif inspect.isclass(value):
            found |= surface_of_class(name, value)
    return found


def surface_of_class(name, value):
    found = {}
    for attribute, member in vars(value).items():
        if attribute == "Severity":
            found |= dict.fromkeys(f"{name}.Severity.{severity.name}" for severity in member)
        elif not attribute.startswith("_") or (attribute == "__init__" and name in CONSTRUCTED):
            found[f"{name}.{attribute}"] = member if inspect.isfunction(member) else None
    return found


def fake(version):
    return surface(make_tensorrt(Machine(version)))


def overloads(documentation):
    """The parameters of each signature in it: name -> whether it must be given."""
    signatures = []
    for line in documentation.splitlines():
        if found := re.match(r"(?:\d+\. )?\w+\((?P<parameters>.*)\) -> ", line):
            pairs = re.findall(r"(?:^|, )(\w+): [^,=]*(=)?", found["parameters"])
            signatures.append({name: not default for name, default in pairs if name != "self"})
    return signatures


def accepts(signature, function):
    """Whether the real one can be called wherever the made-up one can."""
    ours = [name for name in inspect.signature(function).parameters if name != "self"]
    given, more = list(signature)[: len(ours)], list(signature)[len(ours) :]
    return given == ours and not any(signature[name] for name in more)


def download(version, folder):
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary=:all:", "--dest", folder, f"{WHEELS[version]}=={version}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        pytest.skip(f"{WHEELS[version]} {version} cannot be downloaded here: {done.stderr.strip()[-200:]}")
    zipfile.ZipFile(wheels[0]).extractall(folder)


def compile_libraries(version, folder):
    (folder / "empty.c").write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in FUNCTIONS))
    for library in LIBRARIES:
        target = folder / f"lib{library}.so.{version.partition('.')[0]}"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", target, folder / "empty.c"], check=True, timeout=60)


@pytest.fixture(scope="module", params=WHEELS)
def bindings(request, tmp_path_factory):
    """The version, and what describe_bindings.py says of its bindings."""
    version = request.param
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc here, which makes the libraries that the bindings look for")
    folder = tmp_path_factory.mktemp("bindings")
    download(version, folder)
    compile_libraries(version, folder)
    names = set().union(*(fake(each) for each in EXTRA))
    done = subprocess.run(
        [sys.executable, ROOT / "tests/policy/backends/describe_bindings.py", folder, *sorted(names)],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return version, json.loads(done.stdout)


def test_what_the_made_up_one_has_the_real_one_has_and_what_it_lacks_that_lacks(bindings):
    version, real = bindings
    assert real["version"] == version
    assert {name for name, found in real["names"].items() if found is not None} == set(fake(version))


def test_functions_take_the_same_parameters_in_the_same_order(bindings):
    version, real = bindings
    functions = {name: function for name, function in fake(version).items() if function is not None}
    assert len(functions) > 30
    for name, function in functions.items():
        signatures = overloads(real["names"][name])
        assert signatures, f"{name}: {real['names'][name]!r}"
        assert any(accepts(signature, function) for signature in signatures), f"{name}: {signatures}"


def test_what_is_read_without_a_call_is_a_property(bindings):
    version, real = bindings
    made_up = make_tensorrt(Machine(version))
    for name in fake(version):
        owner, _, attribute = name.rpartition(".")
        if isinstance(inspect.getattr_static(getattr(made_up, owner, None), attribute, None), property):
            assert real["names"][name] == "property", name


def test_the_logger_is_one_to_the_real_bindings_and_a_builder_that_cannot_be_made_is_an_error(bindings):
    version, real = bindings
    assert real["ours"]["taken"] == "INTERNAL_ERROR; ERROR"
    assert "model.onnx: TensorRT cannot build it" in real["ours"]["refused"]
    assert real["ours"]["flags"] == (["EXPLICIT_BATCH"] if version == "8.6.1" else ["STRONGLY_TYPED"])
