"""The TensorRT backend, on a GPU and bindings that are made up: all above them is the code that ships."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.policy.backends.fake_cuda import Machine, make_cuda
from tests.policy.backends.fake_tensorrt import EXTRA, make_tensorrt, onnx_text, plan_of
from tests.policy.bundles import SIGNALS, make_bundle, manifest, observations, output, write_model
from vlad.clock import SystemClock
from vlad.config import Settings
from vlad.policy.backends import BackendError, Model, TensorrtOptions, load_backend
from vlad.policy.bundle import load_bundle, write_manifest
from vlad.policy.opening import open_policy

SHIPPED = ("vlad.policy.backends.tensorrt", "vlad.policy.backends.tensorrt_plan")
SHAPES = {"image": (1, 3, 2, 2), "tokens": (1, 4)}
INPUTS = {"image": np.full((1, 3, 2, 2), 0.5, np.float32), "tokens": np.arange(4, dtype=np.int64)[None]}
SUM = 12 * 0.5 + 6
GRAPH = onnx_text(
    {"image": ["FLOAT", [1, 3, 2, 2]], "tokens": ["INT64", [1, 4]]},
    {"actions": ["FLOAT", [1, 2, 2]], "hidden": ["HALF", [7]], "collision": ["FLOAT", [1, 1]]},
)
OPEN = GRAPH.replace("[1, 3, 2, 2]", "[-1, 3, 2, 2]").replace("[1, 4]", "[-1, -1]")
ORIN = "Orin (8, 7)"


def forget():
    """Let the next load import the backend anew, with the bindings that are there then."""
    for name in SHIPPED:
        sys.modules.pop(name, None)
        package, _, module = name.rpartition(".")
        if hasattr(sys.modules[package], module):
            delattr(sys.modules[package], module)


@pytest.fixture
def install(monkeypatch):
    """`install(machine)` puts TensorRT and pycuda on it."""

    def put(machine):
        forget()
        cuda = make_cuda(machine)
        package = type(sys)("pycuda")
        package.driver = cuda
        for name, module in (
            ("pycuda", package), ("pycuda.driver", cuda), ("tensorrt", make_tensorrt(machine)),
        ):  # fmt: skip
            monkeypatch.setitem(sys.modules, name, module)
        return machine

    yield put
    forget()


@pytest.fixture(params=EXTRA)
def machine(request, install):
    return install(Machine(request.param))


@pytest.fixture
def robot(install):
    return install(Machine())


def onnx(tmp_path, text=GRAPH, **changes):
    folder = tmp_path / "bundle"
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_text(text)
    made = Model(folder / "model.onnx", "float32", ("actions", "collision"), 1, shapes=SHAPES,
                 cache=tmp_path / "cache")  # fmt: skip
    return replace(made, **changes)


def plan(tmp_path, machine, text=GRAPH, **changes):
    path = tmp_path / "model.plan"
    path.write_bytes(plan_of(text, machine.version, machine.gpu))
    return replace(Model(path, "float32", ("actions", "collision"), 1), **changes)


def load(model):
    return load_backend("tensorrt", model)


def names(machine):
    return [call for call, *_ in machine.calls]


def assert_left_nothing(machine):
    assert machine.contexts == []
    assert machine.stack == []
    assert machine.memory == {}
    assert machine.pinned == set()
    assert machine.leaked == []
    assert not machine.streams


def test_a_plan_and_an_onnx_file_run_on_every_version(machine, tmp_path):
    for model in (
        onnx(tmp_path),
        onnx(tmp_path, OPEN),
        plan(tmp_path, machine),
        plan(tmp_path, machine, OPEN),
    ):
        backend = load(model)
        backend.warm_up(INPUTS)
        outputs = backend.run(dict(reversed(INPUTS.items())))
        assert {name: (value.dtype.name, value.shape) for name, value in outputs.items()} == {
            "actions": ("float32", (1, 2, 2)), "collision": ("float32", (1, 1)),
        }  # fmt: skip
        assert all((value == SUM).all() for value in outputs.values())
        backend.close()
        assert_left_nothing(machine)


def test_what_was_returned_stays_when_the_next_run_overwrites_the_buffers(robot, tmp_path):
    backend = load(plan(tmp_path, robot))
    first = backend.run(INPUTS)
    backend.run(INPUTS | {"tokens": np.full((1, 4), 100)})
    assert (first["actions"] == SUM).all()
    backend.close()


def test_a_run_copies_in_starts_copies_out_and_only_then_waits(robot, tmp_path):
    backend = load(plan(tmp_path, robot))
    backend.warm_up(INPUTS)
    robot.calls.clear()
    backend.run(INPUTS)
    assert names(robot) == [
        "memcpy_htod_async", "memcpy_htod_async", "execute_async_v3", "memcpy_dtoh_async",
        "memcpy_dtoh_async", "synchronize",
    ]  # fmt: skip
    backend.close()


def test_buffers_are_made_once_and_again_only_for_other_shapes(robot, tmp_path):
    backend = load(plan(tmp_path, robot, OPEN))
    backend.warm_up(INPUTS)
    robot.calls.clear()
    backend.run({name: array.copy() for name, array in INPUTS.items()})
    assert "mem_alloc" not in names(robot)
    longer = INPUTS | {"tokens": np.ones((1, 9), np.int64)}
    assert backend.run(longer)["collision"] == 6 + 9
    assert len(robot.memory) == len(robot.pinned) == 5
    backend.close()
    assert_left_nothing(robot)


def test_an_empty_input_and_one_without_dimensions_can_be_run(robot, tmp_path):
    text = onnx_text({"image": ["FLOAT", [0, 3]], "gain": ["FLOAT", []]}, {"actions": ["FLOAT", []]})
    backend = load(plan(tmp_path, robot, text, outputs=("actions",)))
    outputs = backend.run({"image": np.zeros((0, 3), np.float32), "gain": np.array(2.5, np.float32)})
    assert outputs["actions"] == 2.5
    assert outputs["actions"].shape == ()
    backend.close()


def test_any_thread_may_use_it_and_none_keeps_the_context(robot, tmp_path):
    made, results, left = [], [], []

    def in_thread(work):
        def body():
            work()
            left.extend(robot.stack)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join(30)

    in_thread(lambda: made.append(load(plan(tmp_path, robot))))
    in_thread(lambda: made[0].warm_up(INPUTS))
    in_thread(lambda: results.append(made[0].run(INPUTS)))
    in_thread(lambda: made[0].close())
    assert (results[0]["actions"] == SUM).all()
    assert left == []
    assert_left_nothing(robot)


def test_each_model_has_a_context_of_its_own(robot, tmp_path):
    one, other = load(plan(tmp_path, robot)), load(plan(tmp_path, robot))
    assert len(robot.contexts) == 2
    assert (one.run(INPUTS)["actions"] == other.run(INPUTS)["actions"]).all()
    one.close()
    assert (other.run(INPUTS)["actions"] == SUM).all()
    other.close()
    assert_left_nothing(robot)


def test_it_says_what_the_plan_takes_and_gives(machine, tmp_path):
    backend = load(plan(tmp_path, machine, OPEN, device="cuda:0"))
    said = backend.describe()
    is_old = machine.version.startswith("8")
    assert {name: (spec.dtype, spec.shape) for name, spec in said.inputs.items()} == {
        "image": ("float32", (None, 3, 2, 2)), "tokens": (None if is_old else "int64", (None, None)),
    }  # fmt: skip
    assert said.outputs["hidden"].dtype == "float16"
    assert said.device == "cuda:0"
    backend.close()


def test_only_a_version_without_strong_types_is_told_of_batches_and_precision(machine, tmp_path):
    is_old = machine.version.startswith("8")
    for precision, allowed in (("float32", []), ("float16", ["FP16"]), ("int8", ["INT8"])):
        load(onnx(tmp_path, precision=precision)).close()
        assert machine.flags == (["EXPLICIT_BATCH"] if is_old else ["STRONGLY_TYPED"])
        assert machine.configs[-1].flags == (allowed if is_old else [])


def test_open_inputs_are_built_for_the_shapes_that_will_come_and_fixed_ones_need_none(robot, tmp_path):
    load(onnx(tmp_path, OPEN)).close()
    assert robot.configs[-1].profiles == [{name: (shape,) * 3 for name, shape in SHAPES.items()}]
    load(onnx(tmp_path)).close()
    assert robot.configs[-1].profiles == []
    with pytest.raises(BackendError, match="input 'tokens' of open size, and the manifest does not say"):
        load(onnx(tmp_path, OPEN, shapes={"image": (1, 3, 2, 2)}))
    assert_left_nothing(robot)


def test_a_layer_may_take_what_the_settings_say(robot, tmp_path):
    load(onnx(tmp_path)).close()
    assert robot.configs[-1].limits == {}
    load(onnx(tmp_path, tensorrt=TensorrtOptions(workspace_mb=3))).close()
    assert robot.configs[-1].limits == {"WORKSPACE": 3 << 20}


def test_a_plan_is_built_once_and_found_again(robot, tmp_path):
    for _ in range(3):
        load(onnx(tmp_path)).close()
    assert robot.builds == 1
    assert [path.suffix for path in sorted((tmp_path / "cache").iterdir(), key=lambda path: path.suffix)] == [
        ".plan", ".timings",
    ]  # fmt: skip


def test_without_a_folder_it_is_built_each_time_and_nothing_is_kept(robot, tmp_path):
    for _ in range(2):
        load(onnx(tmp_path, cache=None)).close()
    assert robot.builds == 2
    assert robot.configs[-1].timings is None
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("changes", "is_other"),
    [
        ({"precision": "float16"}, True),
        ({"shapes": {"image": (1, 3, 2, 2), "tokens": (1, 5)}}, True),
        ({"tensorrt": TensorrtOptions(64)}, True),
        ({"threads": 4}, False),
        ({"outputs": ("actions",)}, False),
    ],
)
def test_another_plan_is_built_where_an_option_counts(robot, tmp_path, changes, is_other):
    load(onnx(tmp_path)).close()
    load(onnx(tmp_path, **changes)).close()
    assert robot.builds == (2 if is_other else 1)


def test_another_plan_is_built_for_another_file_weights_gpu_or_version(install, tmp_path):
    def builds(machine):
        install(machine)
        before = machine.builds
        load(model).close()
        return machine.builds - before

    robot, model = Machine(), onnx(tmp_path)
    assert builds(robot) == 1
    assert builds(robot) == 0
    onnx(tmp_path, GRAPH + " ")
    assert builds(robot) == 1
    (tmp_path / "bundle" / "weights").mkdir()
    (tmp_path / "bundle" / "weights" / "all.bin").write_bytes(b"1")
    assert builds(robot) == 1
    (tmp_path / "bundle" / "weights" / "all.bin").write_bytes(b"2")
    assert builds(robot) == 1
    (tmp_path / "bundle" / "policy.toml").write_text("mean = [1.0]")
    assert builds(robot) == 0
    assert builds(Machine(gpu="Thor")) == 1
    assert builds(Machine("11.4.0.106")) == 1
    assert builds(robot) == 0


def test_what_was_tried_for_one_plan_is_used_for_the_next(robot, tmp_path):
    load(onnx(tmp_path)).close()
    assert robot.configs[-1].timings.content == b""
    load(onnx(tmp_path, precision="int8")).close()
    assert robot.configs[-1].timings.content == b"more"
    (timings,) = (tmp_path / "cache").glob("*.timings")
    for useless in (b"broken", b"other GPU"):
        timings.write_bytes(useless)
        load(onnx(tmp_path, GRAPH + " " * len(useless))).close()
        assert robot.configs[-1].timings.content == b""
        assert timings.read_bytes() == b"more"


def test_a_folder_that_cannot_be_written_costs_only_time(robot, tmp_path, caplog):
    (tmp_path / "cache").write_text("in the way")
    backend = load(onnx(tmp_path))
    assert (backend.run(INPUTS)["actions"] == SUM).all()
    backend.close()
    assert "cannot be kept" in caplog.text


def test_a_plan_of_another_version_or_gpu_is_refused_with_what_to_do(robot, tmp_path):
    given = plan(tmp_path, Machine("8.6.1"))
    with pytest.raises(BackendError) as refused:
        load(given)
    assert str(given.path) in str(refused.value)
    for part in (f"TensorRT 10.16.1.11 on {ORIN}", "expecting library version 8.6.1", "put the ONNX file"):
        assert part in str(refused.value)
    with pytest.raises(BackendError, match="build it again"):
        load(plan(tmp_path, Machine(gpu="Thor")))
    assert_left_nothing(robot)


def test_a_kept_plan_that_is_refused_is_named(robot, tmp_path):
    load(onnx(tmp_path)).close()
    (kept,) = (tmp_path / "cache").glob("*.plan")
    kept.write_bytes(plan_of(GRAPH, "9.0", "Orin"))
    with pytest.raises(BackendError, match=f"delete {kept}"):
        load(onnx(tmp_path))
    kept.unlink()
    load(onnx(tmp_path)).close()


@pytest.mark.parametrize(
    ("machine", "changes", "message"),
    [
        (Machine(driver=False), {}, "finds no GPU 0: cuInit failed.*NVIDIA's driver"),
        (Machine(), {"device": "cuda:3"}, "finds no GPU 3: .*correct policy.device"),
    ],
)
def test_a_computer_without_the_gpu_is_told_so(install, tmp_path, machine, changes, message):
    install(machine)
    with pytest.raises(BackendError, match=message):
        load(plan(tmp_path, machine, **changes))
    assert_left_nothing(machine)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("make_context", "gives no context: cuCtxCreate failed: out of memory; see with nvidia-smi"),
        ("build", "cannot build it: no tactic fits into the workspace; .*policy.tensorrt.workspace_mb"),
        ("Runtime", "cannot load it: pybind11"),
        ("too_big", "too little free memory"),
        ("Stream", "cannot load it: Stream failed"),
    ],
)
def test_what_fails_while_loading_says_so_and_leaves_nothing(robot, tmp_path, call, message):
    robot.fails.add(call)
    with pytest.raises(BackendError, match=message):
        load(onnx(tmp_path))
    assert_left_nothing(robot)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("enqueue", r"TensorRT failed \(enqueueV3: launch failed\)"),
        ("mem_alloc", "TensorRT failed: mem_alloc failed"),
        ("set_tensor_address", "does not take a buffer for 'image'"),
        ("synchronize", "TensorRT failed: synchronize failed"),
    ],
)
def test_what_fails_in_a_run_says_so_and_the_next_run_may_do_better(robot, tmp_path, call, message):
    backend = load(plan(tmp_path, robot))
    robot.fails.add(call)
    with pytest.raises(BackendError, match=message):
        backend.run(INPUTS)
    assert robot.stack == []
    robot.fails.clear()
    assert (backend.run(INPUTS)["actions"] == SUM).all()
    backend.close()
    assert_left_nothing(robot)


def test_inputs_that_do_not_fit_are_refused_before_the_gpu_sees_them(robot, tmp_path):
    backend = load(plan(tmp_path, robot))
    with pytest.raises(BackendError, match="got no input tokens"):
        backend.run({"image": INPUTS["image"]})
    for _ in range(2):
        with pytest.raises(BackendError) as refused:
            backend.run(INPUTS | {"tokens": np.zeros((1, 5), np.int64)})
        assert "does not take 'tokens' of shape (1, 5) (tokens: static dimension mismatch)" in str(
            refused.value
        )
    with pytest.raises(BackendError, match="Cannot cast"):
        backend.run(INPUTS | {"tokens": np.zeros((1, 4))})
    assert "execute_async_v3" not in names(robot)
    backend.close()
    assert_left_nothing(robot)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a model", "cannot read it: no operator Frobnicate; export the model again"),
        (onnx_text({"x": ["FLOAT", [1]]}, {"y": ["FLOAT", [1]]}, needs=["x"]), "x is a shape"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(robot, tmp_path, text, message):
    with pytest.raises(BackendError, match=message):
        load(onnx(tmp_path, text))
    assert_left_nothing(robot)


def test_an_output_whose_size_is_open_is_refused(robot, tmp_path):
    text = GRAPH.replace("[7]", "[-1]")
    backend = load(plan(tmp_path, robot, text))
    with pytest.raises(BackendError, match="cannot tell the size of 'hidden'"):
        backend.run(INPUTS)
    backend.close()
    assert_left_nothing(robot)


def test_files_of_other_kinds_and_missing_ones_are_refused(robot, tmp_path):
    with pytest.raises(BackendError, match=r"is neither \.plan nor \.engine nor \.onnx"):
        load(Model(tmp_path / "model.pt2", "float32", (), 1))
    with pytest.raises(BackendError, match=r"cannot read .*model\.plan: No such file"):
        load(Model(tmp_path / "model.plan", "float32", (), 1))
    assert_left_nothing(robot)


@pytest.mark.parametrize("absent", ["tensorrt", "pycuda"])
def test_a_missing_package_is_named_with_the_extra_that_has_it(install, monkeypatch, tmp_path, absent):
    install(Machine())
    monkeypatch.delitem(sys.modules, f"{absent}.driver", raising=False)
    monkeypatch.delitem(sys.modules, absent)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])
    with pytest.raises(BackendError, match=rf"needs the package {absent}.*pip install vlad\[tensorrt\]"):
        load(plan(tmp_path, Machine()))


def test_a_missing_driver_library_is_named(install, monkeypatch, tmp_path):
    install(Machine())
    monkeypatch.delitem(sys.modules, "pycuda.driver")
    package = tmp_path / "pycuda"
    package.mkdir()
    (package / "driver.py").write_text("raise ImportError('libcuda.so.1: cannot open shared object file')")
    monkeypatch.setattr(sys.modules["pycuda"], "__path__", [str(package)], raising=False)
    monkeypatch.delattr(sys.modules["pycuda"], "driver")
    with pytest.raises(BackendError, match=r"lacks a library: libcuda\.so\.1: .*NVIDIA's driver"):
        load(plan(tmp_path, Machine()))
    sys.modules.pop("pycuda.driver", None)


def test_a_bundle_with_an_onnx_file_drives_on_every_version_from_a_plan_in_the_state_folder(
    machine, tmp_path
):
    folder = make_bundle(tmp_path / "tiny")
    (folder / "model.onnx").write_text(onnx_text(
        {"image": ["FLOAT", [-1, 3, 6, 8]], "scan": ["FLOAT", [-1, 4]], "tokens": ["INT64", [-1, 5]]},
        {"actions": ["FLOAT", [1, 4, 2]]},
    ))  # fmt: skip
    planned = {key: value for key, value in output().items() if key != "collision"}
    write_manifest(folder, manifest(backend="tensorrt", output=planned))
    settings = Settings.model_validate({
        "robot": {"limits": "none.toml"},
        "signals": SIGNALS,
        "paths": {"state_dir": tmp_path / "state"},
        "policy": {"tensorrt": {"workspace_mb": 5}},
    })  # fmt: skip
    policy = open_policy(load_bundle(folder), settings, SystemClock())
    assert policy.infer(observations()).actions.shape == (4, 2)
    policy.close()
    assert machine.configs[-1].limits == {"WORKSPACE": 5 << 20}
    assert machine.configs[-1].profiles[0]["tokens"] == ((1, 5),) * 3
    assert len(list((tmp_path / "state" / "cache").glob("*.plan"))) == 1
    assert_left_nothing(machine)


def test_a_gpu_gives_the_answer_of_onnx_runtime_and_finds_its_plan_again(tmp_path):
    """The only test that needs TensorRT, pycuda and a GPU."""
    forget()
    pytest.importorskip("tensorrt", exc_type=ImportError, reason="there is no TensorRT here")
    cuda = pytest.importorskip("pycuda.driver", exc_type=ImportError, reason="there is no pycuda here")
    try:
        cuda.init()
    except cuda.Error as error:
        pytest.skip(f"there is no GPU here: {error}")
    write_model(tmp_path / "model.onnx", np.ones((1, 4, 2), np.float32))
    inputs = {
        "image": np.random.default_rng(1).random((1, 3, 6, 8), np.float32),
        "scan": np.ones((1, 4), np.float32),
        "tokens": np.zeros((1, 5), np.int64),
    }
    shapes = {name: array.shape for name, array in inputs.items()}
    model = Model(tmp_path / "model.onnx", "float32", ("actions", "collision"), 1, shapes=shapes,
                  cache=tmp_path / "cache")  # fmt: skip
    expected = load_backend("onnx", model).run(inputs)
    for _ in range(2):
        backend = load(model)
        backend.warm_up(inputs)
        given = backend.run({name: inputs[name] for name in backend.describe().inputs})
        backend.close()
        for name, value in expected.items():
            np.testing.assert_allclose(given[name], value, rtol=0, atol=1e-3)
    assert len(list((tmp_path / "cache").glob("*.plan"))) == 1
