"""A model that lies on several devices gives the same answer, and brings every tensor where it is needed.

Torch's fake tensors have a device and a shape but no numbers, so that GPUs that are not there can be tried:
an operation on tensors of two devices fails as it does on real ones.
"""

import contextlib
import sys
import zipfile

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.export.pt2_archive._package import load_pt2

from vlad.policy.backends import BackendError, Model, TorchOptions, load_backend, torch_devices
from vlad.policy.backends.torch_devices import cut, place, place_stages

FIRST, SECOND, THIRD = (torch.device(name) for name in ("cuda:0", "cuda:1", "cuda:2"))


class Layer(nn.Module):
    """Makes a tensor of its own, as models do for positions."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.register_buffer("scale", torch.rand(8))

    def forward(self, x):
        return torch.relu(self.linear(x)) * self.scale + torch.arange(8, device=x.device) + x


class Net(nn.Module):
    """What the layers give meets what came in: on one device, or it fails."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(4, 8)
        self.layers = nn.ModuleList([Layer(), Layer(), Layer()])

    def forward(self, scan):
        x = entered = self.enter(scan)
        for layer in self.layers:
            x = layer(x)
        return {"actions": (x + entered + torch.ones(8, device=scan.device)).reshape(1, 4, 2)}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A network, and the file with the same one exported."""
    torch.manual_seed(0)
    net, path = Net().eval(), tmp_path_factory.mktemp("devices") / "model.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 4),)), path)
    return net, path


def model(path, precision="float32", stages=(), **devices):
    options = TorchOptions(devices, dict.fromkeys(stages, "cpu"))
    return Model(path, precision, ("actions",), 1, torch=options)


def unflattened(path):
    return torch.export.unflatten(load_pt2(str(path)).exported_programs["model"])


def assert_answers_as(net, backend, precision):
    for seed in (1, 2):
        scan = torch.rand(1, 4, generator=torch.Generator().manual_seed(seed))
        backend.warm_up({"scan": scan.numpy()})
        expected = net(scan)["actions"].detach().numpy()
        given = backend.run({"scan": scan.numpy()})["actions"]
        np.testing.assert_allclose(given, expected, rtol=0 if precision == "float32" else 0.05, atol=1e-5)


@contextlib.contextmanager
def fake():
    """Within it tensors have no numbers, and may be on any GPU."""
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        yield


@pytest.mark.parametrize("exported", [False, True])
def test_every_tensor_is_brought_to_the_device_of_the_module_that_takes_it(program, exported):
    net, ran = unflattened(program[1]) if exported else Net(), {}
    with fake():
        said = place(net, FIRST, {"layers.1": SECOND, "layers.2": SECOND, "layers.2.linear": THIRD})
        lie = {name: tensor.device for name, tensor in net.state_dict().items()}
        for name in ("enter", "layers.0.linear", "layers.1.linear", "layers.2.linear"):
            net.get_submodule(name).register_forward_pre_hook(
                lambda _, given, name=name: ran.update({name: given[0].device})
            )
        assert net(torch.empty(1, 4, device=FIRST))["actions"].device == FIRST
    assert said == "cuda:0, layers.1 on cuda:1, layers.2 on cuda:1, layers.2.linear on cuda:2"
    assert lie["enter.weight"] == lie["layers.0.linear.weight"] == lie["layers.0.scale"] == FIRST
    assert lie["layers.1.linear.bias"] == lie["layers.2.scale"] == SECOND
    assert lie["layers.2.linear.weight"] == THIRD
    assert list(ran.values()) == [FIRST, FIRST, SECOND, SECOND]  # before the last brings it to its own


def test_a_part_that_is_called_by_itself_takes_and_gives_where_it_is_called():
    net = Net()
    with fake():
        place(net, FIRST, {"layers": SECOND})
        assert net.layers[1].linear.weight.device == SECOND
        assert net.layers[1].linear(torch.empty(1, 8, device=FIRST)).device == FIRST


def test_a_fake_gpu_refuses_what_lies_on_another(monkeypatch):
    """Or the test above could not fail."""
    monkeypatch.setattr(torch_devices, "_bring", lambda *_: None)
    net = Net()
    with fake():
        place(net, FIRST, {"layers.1": SECOND})
        with pytest.raises(RuntimeError, match=r"two devices, cuda:0 and cuda:1"):
            net(torch.empty(1, 4, device=FIRST))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_program_in_parts_gives_the_same_answer_and_says_where_they_lie(program, precision):
    net, path = program
    backend = load_backend("torch", model(path, precision, **{"layers.1": "cpu", "layers.2": "cpu"}))
    assert backend.describe().device == "cpu, layers.1 on cpu, layers.2 on cpu"
    assert_answers_as(net, backend, precision)


def test_a_module_that_is_not_there_is_refused_with_those_that_are(program):
    with pytest.raises(BackendError, match=r"has no module layers\.7, but layers, layers\.0"):
        load_backend("torch", model(program[1], **{"layers.7": "cpu"}))


def test_a_program_whose_modules_have_no_plain_names_is_not_divided(program, tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(program[1]) as source, zipfile.ZipFile(path, "w") as target:
        for record in source.namelist():
            content = source.read(record)
            if record.endswith("models/model.json"):
                content = content.replace(b",enter,", b',enter\\")(,')
            target.writestr(record, content)
    load_backend("torch", model(path)).close()
    with pytest.raises(BackendError, match="has a module of the name"):
        load_backend("torch", model(path, enter="cpu"))


def test_torchscript_is_not_divided(tmp_path):
    path = tmp_path / "model.pt2"
    torch.jit.trace(nn.Linear(4, 2), torch.zeros(1, 4)).save(path)
    with pytest.raises(BackendError, match=r"device_map is for exported programs"):
        load_backend("torch", model(path, linear="cpu"))
    with pytest.raises(BackendError, match=r"stages is for exported programs"):
        load_backend("torch", model(path, stages=["linear"]))


def test_from_where_a_stage_begins_all_lies_and_runs_on_its_device(program):
    """Also what the first stage makes and only the last one takes."""
    pipe = cut(unflattened(program[1]), [torch.zeros(1, 4)], {}, ["layers.1", "layers.2.linear"])
    with fake():
        said = place_stages(pipe, FIRST, {"layers.1": SECOND, "layers.2.linear": THIRD})
        (actions,) = pipe(torch.empty(1, 4, device=FIRST))
    assert said == "cuda:0, from layers.1 on cuda:1, from layers.2.linear on cuda:2"
    assert actions.device == THIRD
    lie = {name.partition("_pp_")[2]: tensor.device for name, tensor in pipe.state_dict().items()}
    assert lie["0.enter.weight"] == lie["0.layers.0.linear.bias"] == lie["0.layers.0.scale"] == FIRST
    assert lie["1.layers.1.linear.weight"] == lie["1.layers.1.scale"] == SECOND
    assert lie["2.layers.2.linear.weight"] == lie["2.layers.2.scale"] == THIRD


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stages", [["layers.1"], ["layers.2", "layers.1"]])
def test_a_program_in_stages_gives_the_same_answer_and_says_where_they_lie(program, precision, stages):
    net, path = program
    backend = load_backend("torch", model(path, precision, stages))
    said = [f"from {name} on cpu" for name in sorted(stages)]
    assert backend.describe().device == ", ".join(["cpu", *said])
    assert_answers_as(net, backend, precision)


class Twice(nn.Module):
    """One module that runs twice, another between; an input by position, one by name."""

    def __init__(self):
        super().__init__()
        self.enter, self.again, self.between = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, scan, *, noise):
        return self.again(self.between(self.again(self.enter(scan) + noise)))


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    net, path = Twice().eval(), tmp_path_factory.mktemp("twice") / "model.pt2"
    torch.export.save(torch.export.export(net, (torch.zeros(1, 4),), {"noise": torch.zeros(1, 8)}), path)
    return net, path


def test_a_stage_may_hold_weights_of_another_and_inputs_come_by_position_and_by_name(twice):
    net, path = twice
    backend = load_backend("torch", model(path, stages=["between"]))
    given = {"scan": np.ones((1, 4), np.float32), "noise": np.full((1, 8), 0.5, np.float32)}
    expected = net(torch.ones(1, 4), noise=torch.full((1, 8), 0.5)).detach().numpy()
    np.testing.assert_allclose(backend.run(given)["actions"], expected, atol=1e-6)


@pytest.mark.parametrize("stages", [["enter"], ["again"], ["layers"], ["layers.1", "layers.1.linear"]])
def test_where_no_stage_can_begin_the_model_is_refused_with_what_to_name(program, twice, stages):
    path = twice[1] if stages == ["again"] else program[1]
    with pytest.raises(BackendError, match=rf"cut where {', '.join(stages)} begins; name modules that"):
        load_backend("torch", model(path, stages=stages))


def test_a_torch_without_distributed_refuses_stages_alone(program, monkeypatch):
    """As NVIDIA's builds for its Jetsons are."""
    monkeypatch.setitem(sys.modules, "torch.distributed.pipelining", None)
    load_backend("torch", model(program[1], **{"layers.1": "cpu"})).close()
    with pytest.raises(BackendError, match=r"by this build of torch .* policy\.torch\.device_map"):
        load_backend("torch", model(program[1], stages=["layers.1"]))


def test_a_stage_that_begins_with_no_module_is_refused_with_those_that_are_there(program):
    with pytest.raises(BackendError, match=r"has no module layers\.7, but layers, layers\.0"):
        load_backend("torch", model(program[1], stages=["layers.7"]))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_accelerate_a_map_alone_is_refused_with_what_to_install(program, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, "accelerate.hooks", raising=False)
    load_backend("torch", model(program[1])).close()
    with pytest.raises(BackendError, match=r"needs the package accelerate, .*`pip install vlad\[torch\]`"):
        load_backend("torch", model(program[1], **{"layers.1": "cpu"}))


def test_a_device_of_the_map_that_is_not_there_is_refused(program):
    with pytest.raises(BackendError, match=r"policy\.torch\.device_map\.layers\.1 is 'cuda:1', but torch"):
        load_backend("torch", model(program[1], **{"layers.1": "cuda:1"}))
