"""Every local backend gives the answer of the demo policy's ONNX file, and refuses what it cannot run."""

import os
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from tests.policy.bundles import make_bundle, manifest, observations, write_model
from tests.policy.torch_models import Tiny, make_torch_bundle
from tools.training.demo_quantize import (
    CALIBRATION_WORLDS,
    CHECK_WORLDS,
    halve,
    quantize,
    quantize_program,
    sightings,
)
from tools.training.demo_restore import example, without_wrapped_padding, write_torch
from vlad.clock import SystemClock
from vlad.policy.backends import BACKENDS, BackendError, Model, OnnxOptions, load_backend
from vlad.policy.backends.torch_network import convert_weights
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.policy import Policy
from vlad.policy_settings import PolicySettings

DEMO = Path(__file__).resolve().parents[2] / "tools/models/demo/1/model.onnx"
OUTPUTS = ("actions", "collision")
TOLERANCE = {"float32": 1e-5, "float16": 2e-2, "bfloat16": 2e-2, "int8": 1e-1}
MODELS = ("onnx", "openvino", "export", "script")
SPECS = {
    "image": ("float32", (1, 3, 96, 128)),
    "scan": ("float32", (1, 90)),
    "odometry": ("float32", (1, 2)),
    "tokens": ("int64", (1, 12)),
}
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="AOTInductor needs a C++ compiler, and there is none here",
)


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo policy for each backend, made once: `demo(kind)` is what to load it with."""
    folder = tmp_path_factory.mktemp("demo")

    def model(kind, precision="float32", **changes):
        path = folder / {"openvino": "openvino.onnx"}.get(kind, f"{kind}.pt2")
        if kind == "onnx":
            path = DEMO
        elif kind == "openvino" and not path.exists():
            without_wrapped_padding(DEMO, path)
        elif not path.exists():
            write_torch(DEMO, kind, path)
        return replace(Model(path, precision, OUTPUTS, threads=1), **changes)

    return model


@pytest.fixture(scope="session")
def answers():
    """What ONNX Runtime says in float32 to two different inputs."""
    session = onnxruntime.InferenceSession(DEMO, providers=["CPUExecutionProvider"])
    inputs = [example(DEMO, seed) for seed in (1, 2)]
    return [(given, dict(zip(OUTPUTS, session.run(OUTPUTS, given), strict=True))) for given in inputs]


def load(model, kind):
    return load_backend(kind if kind in ("onnx", "openvino") else "torch", model)


def assert_gives(backend, answers, precision="float32"):
    backend.warm_up(example(DEMO, 0))
    for inputs, expected in answers:
        backwards = dict(reversed(inputs.items()))
        given = backend.run(backwards)
        assert list(given) == list(OUTPUTS)
        for name, value in expected.items():
            assert given[name].dtype == np.float32
            np.testing.assert_allclose(given[name], value, rtol=0, atol=TOLERANCE[precision])


@pytest.mark.parametrize(
    ("kind", "precision"),
    [(kind, "float32") for kind in MODELS]
    + [(kind, half) for kind in ("openvino", "export", "script") for half in ("float16", "bfloat16")],
)
def test_every_backend_gives_the_same_answer_whatever_the_order_of_its_inputs(demo, answers, kind, precision):
    backend = load(demo(kind, precision), kind)
    assert_gives(backend, answers, precision)
    backend.close()


@pytest.mark.parametrize("kind", MODELS)
def test_an_array_may_change_between_runs_and_an_answer_stays_as_it_is(demo, answers, kind):
    backend = load(demo(kind), kind)
    (inputs, expected), (others, expected_then) = answers
    arrays = {name: array.copy() for name, array in inputs.items()}
    given = backend.run(arrays)
    for name, array in arrays.items():
        array[...] = others[name]
    given_then = backend.run(arrays)
    for name in OUTPUTS:
        np.testing.assert_allclose(given[name], expected[name], rtol=0, atol=TOLERANCE["float32"])
        np.testing.assert_allclose(given_then[name], expected_then[name], rtol=0, atol=TOLERANCE["float32"])
    backend.close()


@pytest.fixture(scope="session")
def quantized(tmp_path_factory):
    """The demo policy in int8 for each backend."""
    folder, seen = tmp_path_factory.mktemp("int8"), sightings(CALIBRATION_WORLDS, 32)
    quantize(DEMO, folder / "onnx.onnx", seen)
    without_wrapped_padding(DEMO, folder / "float32.onnx")
    quantize(folder / "float32.onnx", folder / "openvino.onnx", seen)
    quantize_program(DEMO, folder / "export.pt2", example(DEMO))
    return {path.stem: Model(path, "int8", OUTPUTS, 1) for path in folder.iterdir() if path.stem != "float32"}


@pytest.mark.parametrize("kind", ["onnx", "openvino", "export"])
def test_in_int8_every_backend_gives_nearly_the_same_answer_to_what_the_policy_sees(quantized, kind):
    exact = load_backend("onnx", Model(DEMO, "float32", OUTPUTS, 1))
    seen = sightings(CHECK_WORLDS[:1], 16)
    backend = load(quantized[kind], kind)
    assert {name: (spec.dtype, spec.shape) for name, spec in backend.describe().inputs.items()} == SPECS
    assert_gives(backend, [(inputs, exact.run(inputs)) for inputs in seen], "int8")
    assert any(
        np.abs(backend.run(inputs)["actions"] - exact.run(inputs)["actions"]).max() > 0 for inputs in seen
    )
    assert quantized[kind].path.stat().st_size < DEMO.stat().st_size
    backend.close()


def test_a_bundle_is_int8_by_its_model_and_by_what_it_says(quantized, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(DEMO.parent, folder)
    shutil.copy(quantized["onnx"].path, folder / "model.onnx")
    values = tomllib.loads((folder / "policy.toml").read_text()) | {"precision": "int8"}
    write_manifest(folder, values)
    policy = Policy(load_bundle(folder), SystemClock())
    assert policy.warm_up() > 0
    assert policy.bundle.manifest.precision == "int8"
    policy.close()


def test_in_float16_onnx_runtime_gives_the_same_answer(tmp_path, answers):
    halve(DEMO, tmp_path / "model.onnx")
    backend = load_backend("onnx", Model(tmp_path / "model.onnx", "float16", OUTPUTS, 1))
    assert_gives(backend, answers, "float16")
    assert (tmp_path / "model.onnx").stat().st_size < 0.6 * DEMO.stat().st_size


@pytest.mark.slow
@needs_compiler
def test_a_compiled_package_gives_the_same_answer_and_is_for_this_machine_alone(demo, answers, monkeypatch):
    model = demo("aot")
    backend = load(model, "aot")
    assert_gives(backend, answers)
    graph = backend.describe()
    assert {name: (spec.dtype, spec.shape) for name, spec in graph.inputs.items()} == SPECS
    inputs, _ = answers[0]
    with pytest.raises(BackendError, match="torch got float32 of shape"):
        backend.run(inputs | {"scan": inputs["scan"][:, :45]})
    backend.close()
    elsewhere = torch.cpu.get_capabilities() | {"sse2": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: elsewhere)
    with pytest.raises(BackendError, match="a processor with sse2, which this one has not"):
        load(model, "aot")


@needs_compiler
@pytest.mark.slow
def test_a_package_that_does_not_say_what_it_takes_is_refused(tmp_path):
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(1, 4),))
    torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "model.pt2"))
    with pytest.raises(BackendError, match=r"compile it with .*compile_package"):
        load_backend("torch", Model(tmp_path / "model.pt2", "float32", ("actions",), 1))


@needs_gpu
@pytest.mark.parametrize("kind", ["export", "script"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_gives_the_same_answer_from_a_captured_graph(demo, answers, kind, precision):
    backend = load(demo(kind, precision, device="cuda"), kind)
    assert_gives(backend, answers, precision)
    assert backend.describe().device == "cuda:0"
    backend.close()


@pytest.mark.parametrize("kind", ["onnx", "openvino", "export"])
def test_a_backend_says_what_the_graph_takes_and_gives(demo, kind):
    graph = load(demo(kind), kind).describe()
    assert {name: (spec.dtype, spec.shape) for name, spec in graph.inputs.items()} == SPECS
    assert graph.outputs["actions"].shape == (1, 20, 2)
    assert graph.outputs["collision"].dtype == "float32"
    assert graph.device == "cpu"


def test_of_torchscript_only_the_names_are_known(demo):
    graph = load(demo("script"), "script").describe()
    assert set(graph.inputs) == set(SPECS)
    assert {(spec.dtype, spec.shape) for spec in graph.inputs.values()} == {(None, None)}


@pytest.mark.parametrize("kind", MODELS)
def test_inputs_that_do_not_fit_are_refused(demo, kind):
    model = demo(kind)
    backend, inputs = load(model, kind), example(DEMO, 1)
    without = {name: array for name, array in inputs.items() if name != "scan"}
    wide = inputs | {"scan": inputs["scan"].astype(np.float64)}
    short = inputs | {"scan": inputs["scan"][:, :45].copy()}
    for bad in (without, wide, short):
        with pytest.raises(BackendError) as error:
            backend.run(bad)
        assert str(error.value).startswith(f"{model.path}: ")
    assert np.isfinite(backend.run(inputs)["actions"]).all()


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("keep", [0, 1_000, -1_000])
def test_a_file_that_is_damaged_is_refused(demo, tmp_path, kind, keep):
    model = demo(kind)
    damaged = tmp_path / model.path.name
    damaged.write_bytes(model.path.read_bytes()[:keep])
    with pytest.raises(BackendError, match=damaged.name):
        load(replace(model, path=damaged), kind)


@pytest.mark.parametrize("kind", MODELS)
def test_results_are_not_changed_by_the_next_run(demo, answers, kind):
    backend = load(demo(kind), kind)
    (inputs, _), (others, _) = answers
    first = backend.run(inputs)["actions"]
    before = first.copy()
    second = backend.run(others)["actions"]
    np.testing.assert_array_equal(first, before)
    assert not np.array_equal(second, before)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_in_the_same_arrays_later_is_seen(demo, answers, kind):
    backend = load(demo(kind), kind)
    (inputs, _), (others, expected) = answers
    arrays = {name: array.copy() for name, array in inputs.items()}
    backend.run(arrays)
    for name, array in arrays.items():
        array[:] = others[name]
    np.testing.assert_allclose(backend.run(arrays)["actions"], expected["actions"], rtol=0, atol=1e-5)


def tiny_policy(folder, net):
    return Policy(load_bundle(make_torch_bundle(folder, net)), SystemClock())


@pytest.mark.parametrize("form", [tuple, dict])
def test_a_policy_of_torch_s_gives_chunks(tmp_path, form):
    policy = tiny_policy(tmp_path / "b", Tiny(form))
    assert policy.warm_up() > 0
    chunk = policy.infer(observations(level=255))
    np.testing.assert_allclose(chunk.actions, np.full((4, 2), 2.0) * [0.5, 4.0] + [1.0, 2.0], rtol=1e-5)
    assert chunk.collision == pytest.approx(0.5)
    policy.close()


class Converting(torch.nn.Module):
    """Asserts, once it is exported, that what it converts is float32."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, scan):
        return self.layer(scan).to(torch.float64).to(torch.float32)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_program_that_converts_types_runs_in_another_precision(tmp_path, precision):
    net, scan = Converting(), torch.ones(1, 4)
    torch.export.save(torch.export.export(net, (scan,)), tmp_path / "model.pt2")
    backend = load_backend("torch", Model(tmp_path / "model.pt2", precision, ("actions",), 1))
    given = backend.run({"scan": scan.numpy()})["actions"]
    np.testing.assert_allclose(given, net(scan).detach(), rtol=0, atol=TOLERANCE[precision])


class Sharing(torch.nn.Module):
    """Weights that only a layer takes which autocast converts, and others that something else reads, too."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm = torch.nn.Conv1d(2, 2, 3), torch.nn.LayerNorm(6)
        self.tied, self.layer = torch.nn.Linear(6, 6), torch.nn.Linear(6, 4)

    def forward(self, scan):
        seen = self.tied(self.norm(self.mix(scan))) * self.tied.weight.sum()
        return self.layer(seen)


def test_weights_are_converted_once_where_that_changes_no_bit():
    net, scan = Sharing().eval(), torch.randn(1, 2, 8)
    program = torch.export.export(net, (scan,))
    convert_weights(program, torch.bfloat16)
    kept = {name for name, weight in program.state_dict.items() if weight.dtype is torch.float32}
    assert kept == {"norm.weight", "norm.bias", "tied.weight"}
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(program.module()(scan), net(scan))


def test_half_floats_go_in_and_out_as_float32(tmp_path):
    net, scan = torch.nn.Linear(4, 2).to(torch.bfloat16), torch.ones(1, 4)
    program = torch.export.export(net, (scan.to(torch.bfloat16),))
    torch.export.save(program, tmp_path / "model.pt2")
    backend = load_backend("torch", Model(tmp_path / "model.pt2", "bfloat16", ("actions",), 1))
    assert {spec.dtype for spec in backend.describe().inputs.values()} == {"float32"}
    given = backend.run({"input": scan.numpy()})["actions"]
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, net(scan.to(torch.bfloat16)).float().detach(), rtol=0, atol=2e-2)


def test_results_are_contiguous_as_another_model_may_take_them(tmp_path):
    class Turned(torch.nn.Module):
        def forward(self, scan):
            return (scan * 2).T

    scan = torch.arange(8.0).reshape(2, 4)
    torch.export.save(torch.export.export(Turned(), (scan,)), tmp_path / "model.pt2")
    backend = load_backend("torch", Model(tmp_path / "model.pt2", "float32", ("actions",), 1))
    given = backend.run({"scan": scan.numpy()})["actions"]
    np.testing.assert_array_equal(given, scan.numpy().T * 2)
    assert given.flags.c_contiguous


def test_outputs_that_could_be_any_are_refused(tmp_path):
    with pytest.raises(BundleRefused, match="gives 3 outputs without names"):
        tiny_policy(tmp_path / "b", Tiny(list))


def test_a_model_of_torch_s_that_gives_nan_is_refused_at_warm_up(tmp_path):
    policy = tiny_policy(tmp_path / "b", Tiny(plan=float("nan")))
    with pytest.raises(BundleRefused, match="'actions': was not finite"):
        policy.warm_up()


def test_a_model_of_openvino_that_gives_nan_is_refused_at_warm_up(tmp_path):
    folder = make_bundle(tmp_path / "b", np.full((1, 4, 2), np.nan, np.float32), backend="openvino")
    with pytest.raises(BundleRefused, match="'actions': was not finite"):
        Policy(load_bundle(folder), SystemClock()).warm_up()


def test_every_difference_from_the_manifest_is_reported_for_torch_too(tmp_path):
    folder = tmp_path / "b"
    tiny_policy(folder, Tiny(dict)).close()
    inputs = manifest()["inputs"]
    narrow = [inputs[0] | {"shape": [1, 3, 6, 9]}, inputs[1] | {"name": "beams"}, inputs[2]]
    write_manifest(folder, manifest(backend="torch", model="model.pt2", inputs=narrow))
    with pytest.raises(BundleRefused) as refused:
        Policy(load_bundle(folder), SystemClock())
    assert len(refused.value.reasons) == 3
    for part in ("takes an input 'scan'", "'beams': the model has none", "'image': has shape (1, 3, 6, 8)"):
        assert part in str(refused.value)


def test_openvino_reads_its_own_form(demo, answers, tmp_path):
    import openvino

    model = demo("openvino")
    openvino.save_model(openvino.Core().read_model(model.path), tmp_path / "m.xml", compress_to_fp16=False)
    assert_gives(load_backend("openvino", replace(model, path=tmp_path / "m.xml")), answers)


def test_openvino_is_given_nothing_but_its_own_form_and_onnx(tmp_path):
    with pytest.raises(BackendError, match=r"neither \.xml nor \.onnx"):
        load_backend("openvino", Model(tmp_path / "model.pb", "float32", OUTPUTS, 1))


def test_torch_uses_the_threads_that_are_set_in_the_thread_that_runs(demo):
    backend, seen = load(demo("export", threads=2), "export"), []
    backend.run(example(DEMO))

    def run():
        torch.set_num_threads(1)
        backend.run(example(DEMO))
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [2]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("export", "none of its weights is int8; let torchao"),
        ("script", "not in TorchScript; export the model"),
    ],
)
def test_a_model_of_torch_s_that_is_not_quantised_is_no_int8(demo, kind, reason):
    with pytest.raises(BackendError, match=reason):
        load(demo(kind, "int8"), kind)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(demo):
    with pytest.raises(BackendError, match=r"policy\.device is 'cuda:1', but torch .* finds 0 GPUs"):
        load(demo("export", device="cuda:1"), "export")


@pytest.mark.parametrize(
    ("provider", "package"),
    [("cuda", "onnxruntime-gpu"), ("tensorrt", "onnxruntime-gpu"), ("openvino", "onnxruntime-openvino")],
)
def test_a_provider_that_this_build_lacks_is_no_silent_fall_back(tmp_path, provider, package):
    if any(provider in name.lower() for name in onnxruntime.get_available_providers()):
        pytest.skip(f"this build of ONNX Runtime has {provider}")
    settings = PolicySettings.model_validate({"onnx": {"providers": [provider, "cpu"]}})
    with pytest.raises(BundleRefused, match=f"no provider '{provider}'; install {package}"):
        Policy(load_bundle(make_bundle(tmp_path / "b")), SystemClock(), settings)


LIMIT = """
import sys
import numpy as np
from pathlib import Path
from vlad.policy.backends import BACKENDS, BackendError, Model, OnnxOptions, load_backend

for arena_mb in (256, 16):
    model = Model(Path(sys.argv[1]), "float32", ("actions",), 1, onnx=OnnxOptions(arena_mb=arena_mb))
    backend = load_backend("onnx", model)
    try:
        backend.run({"image": np.zeros((1, 3, 6, 8), np.float32)})
        print("ran")
    except BackendError:
        print("failed")
"""


def test_a_run_that_needs_more_memory_than_is_set_fails(tmp_path):
    """In a process of its own: ONNX Runtime keeps the limit for the whole process."""
    from onnx import TensorProto, helper, numpy_helper, save

    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "large"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["other"]),
        helper.make_node("ReduceMean", ["other"], ["actions"], keepdims=0),
    ]
    large = numpy_helper.from_array(np.array([4096, 4096], np.int64), "large")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 6, 8])
    actions = helper.make_tensor_value_info("actions", TensorProto.FLOAT, [])
    graph = helper.make_graph(nodes, "large", [image], [actions], [large])
    path = tmp_path / "large.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    words = [sys.executable, "-c", LIMIT, str(path)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["ran", "failed"]


ALONE = """
import sys
from pathlib import Path
from vlad.policy.backends import Model, OnnxOptions, load_backend

load_backend(sys.argv[1], Model(Path(sys.argv[2]), "float32", ("actions",), 1)).describe()
print(*sorted({"torch", "openvino", "openvino_telemetry", "onnxruntime"} & {
    name for name, module in sys.modules.items() if module is not None
}))
"""


@pytest.mark.parametrize(("backend", "imported"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_backend_imports_its_own_runtime_alone_and_reports_to_nobody(tmp_path, backend, imported):
    write_model(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    words = [sys.executable, "-c", ALONE, backend, str(tmp_path / "model.onnx")]
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(words, check=True, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == [imported]
    assert list(home.rglob("*")) == []


def test_a_backend_whose_runtime_is_not_installed_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delitem(sys.modules, "vlad.policy.backends.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"needs the package openvino.*pip install vlad\[openvino\]"):
        load_backend("openvino", Model(tmp_path / "m.onnx", "float32", OUTPUTS, 1, onnx=OnnxOptions()))


def test_packages_that_do_not_fit_each_other_are_told_as_such(monkeypatch, tmp_path):
    """As torchvision says it that was built for another torch."""
    (tmp_path / "misfit.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(BACKENDS, "lerobot", "misfit")
    with pytest.raises(BackendError, match=r"nms does not exist; install .* `pip install vlad\[lerobot\]`"):
        load_backend("lerobot", Model(tmp_path / "model.safetensors", "float32", ("action",), 1))
