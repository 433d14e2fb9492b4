"""Nothing that its author wrote runs when a model file of torch's is opened.

Each attack is first shown to work on torch itself: it makes a folder, by which it is noticed.
"""

import json
import os
import pickle
import re
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.export.pt2_archive._package import load_pt2

from vlad.policy.backends import BackendError, Model, load_backend
from vlad.policy.backends.torch_archive import check

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
EXAMPLE = "data/sample_inputs/model.pt"

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, scan):
        return self.layer(scan)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def saved(tmp_path):
    """A sound exported program."""
    path = tmp_path / "sound.pt2"
    torch.export.save(torch.export.export(Net(), (torch.zeros(1, 4),)), path)
    return path


@pytest.fixture
def noticed(tmp_path):
    return tmp_path / "noticed"


def rewrite(path, changes):
    """A copy of an archive with some records changed, added, or left out where their content is None."""
    changed = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(changed, "w") as target:
        records = {name.partition("/")[2]: source.read(name) for name in source.namelist()}
        for name, content in (records | changes).items():
            if content is not None:
                target.writestr(f"model/{name}", content)
    return changed


def record(path, name):
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read(f"{path.stem}/{name}"))


def tensor_bomb(folder):
    path = Path(f"{folder}.pickle")
    torch.save(Bomb(str(folder)), path)
    return path.read_bytes()


def by_example(path, folder):
    return {EXAMPLE: tensor_bomb(folder)}


def by_weight(path, folder):
    config = record(path, WEIGHTS)
    entry = next(iter(config["config"].values()))
    entry["use_pickle"] = True
    return {WEIGHTS: json.dumps(config), f"data/weights/{entry['path_name']}": tensor_bomb(folder)}


def by_old_weights(path, folder):
    return {"data/weights/model.pt": tensor_bomb(folder)}


def by_opaque_object(path, folder):
    config = record(path, CONSTANTS)
    config["config"]["bomb"] = {
        "path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None,
    }  # fmt: skip
    return {CONSTANTS: json.dumps(config), "data/constants/opaque_obj_0": pickle.dumps(Bomb(str(folder)))}


def computed(folder):
    return {"as_expr": {"expr_str": f"__import__('os').mkdir({str(folder)!r})", "hint": None}}


def by_dimension(path, folder):
    program = record(path, PROGRAM)
    program["graph_module"]["graph"]["tensor_values"]["scan"]["sizes"][1] = computed(folder)
    return {PROGRAM: json.dumps(program)}


def by_dimension_of_a_tensor_called_as_a_note(path, folder):
    text = json.dumps(record(path, PROGRAM)).replace('"scan"', '"metadata"')
    program = json.loads(text)
    program["graph_module"]["graph"]["tensor_values"]["metadata"]["sizes"][1] = computed(folder)
    return {PROGRAM: json.dumps(program)}


def by_name(path, folder):
    name = f"a=__import__('os').mkdir({str(folder)!r})"
    return {PROGRAM: json.dumps(record(path, PROGRAM)).replace('"linear"', json.dumps(name))}


def by_operator(path, folder):
    """An operator that writes a file."""
    values = {"filename": {"as_string": str(folder)}, "shared": {"as_bool": True}, "size": {"as_int": 8}}
    return {PROGRAM: json.dumps(calling(path, "torch.ops.aten.from_file.default", values))}


def by_function(path, folder):
    return {PROGRAM: json.dumps(calling(path, "torch.os.mkdir", {"path": {"as_string": str(folder)}}))}


def calling(path, target, values):
    program = record(path, PROGRAM)
    node = program["graph_module"]["graph"]["nodes"][0]
    node["target"] = target
    node["inputs"] = [{"name": name, "arg": value, "kind": 1} for name, value in values.items()]
    return program


def by_guard(path, folder):
    program = record(path, PROGRAM)
    program["guards_code"] = [f"__import__('os').mkdir({str(folder)!r}) is None"]
    return {PROGRAM: json.dumps(program)}


def by_tree(path, folder):
    """A default factory that is called for a missing key: `this` prints a poem when it is imported."""
    program = record(path, PROGRAM)
    signature = program["graph_module"]["module_call_graph"][0]["signature"]
    spec = json.loads(signature["out_spec"])
    context = {"default_factory_module": "this", "default_factory_name": "s", "dict_context": ["a"]}
    spec[1] = {"type": "collections.defaultdict", "context": context, "children_spec": [spec[1]]}
    signature["out_spec"] = json.dumps(spec)
    return {PROGRAM: json.dumps(program)}


ATTACKS = [
    by_example,
    by_weight,
    by_old_weights,
    by_opaque_object,
    by_dimension,
    by_dimension_of_a_tensor_called_as_a_note,
    by_operator,
    by_guard,
]
OTHERS = [by_name, by_function, by_tree]


def load(path):
    return load_backend("torch", Model(path, "float32", ("actions",), 1))


def test_a_sound_file_is_loaded(saved):
    assert check(saved) == "export"
    assert check(rewrite(saved, {})) == "export"
    assert load(rewrite(saved, {})).describe().inputs["scan"].shape == (1, 4)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_that_works_on_torch_is_refused_before_it_runs(saved, noticed, attack):
    path = rewrite(saved, attack(saved, noticed))
    with pytest.raises(BackendError, match=r"changed\.pt2: .*; save it again"):
        load(path)
    assert not noticed.exists()
    try:
        load_pt2(str(path)).exported_programs["model"].module()(torch.zeros(1, 4))
    except Exception as error:  # what is left of the program may be broken, when the harm is done
        print(error)
    assert noticed.exists()


@pytest.mark.parametrize("attack", OTHERS)
def test_what_only_torch_s_own_checks_stop_is_refused_as_well(saved, noticed, attack):
    path = rewrite(saved, attack(saved, noticed))
    with pytest.raises(BackendError, match=r"changed\.pt2: (uses the operator|has|takes or gives)"):
        load(path)
    assert not noticed.exists()


def places(value, where=()):
    """The way to every text in a program that is neither a note nor an argument."""
    if isinstance(value, str):
        yield where
    elif isinstance(value, dict):
        for key, item in value.items():
            if key not in ("metadata", "torch_version", "as_string", "as_strings"):
                yield from places(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*where, index))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_text_that_is_no_name_is_let_in_nowhere(saved, data):
    program = record(saved, PROGRAM)
    *way, last = data.draw(st.sampled_from(sorted(places(program), key=str)))
    text = data.draw(st.text(min_size=1).filter(lambda text: not re.fullmatch(r"[A-Za-z0-9_.]*", text)))
    part = program
    for key in way:
        part = part[key]
    part[last] = text
    path = rewrite(saved, {PROGRAM: json.dumps(program)})
    with pytest.raises((BackendError, ValueError)):
        check(path)


def whole_module(path):
    torch.save(Net(), path)


def state(path):
    torch.save(Net().state_dict(), path)


def old_form(path):
    torch.save(Net().state_dict(), path, _use_new_zipfile_serialization=False)


def plain_pickle(path):
    path.write_bytes(pickle.dumps([1, 2]))


@pytest.mark.parametrize("write", [whole_module, state, old_form, plain_pickle])
def test_a_pickle_in_place_of_a_model_is_refused_with_what_to_do(tmp_path, write):
    write(tmp_path / "model.pt")
    with pytest.raises(
        BackendError, match=r"model\.pt: is a pickle.*; save it again with torch\.export\.save"
    ):
        load(tmp_path / "model.pt")


def test_the_form_before_today_s_is_refused_and_not_unpickled(tmp_path, noticed):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.1")
        archive.writestr("serialized_example_inputs.pt", tensor_bomb(noticed))
    with pytest.raises(BackendError, match=r"model\.pt2: is no model|neither an exported program"):
        load(path)
    assert not noticed.exists()


def test_open_dimensions_are_refused(tmp_path):
    wide = {"scan": {0: torch.export.Dim("batch", min=1, max=8)}}
    program = torch.export.export(Net(), (torch.zeros(2, 4),), dynamic_shapes=wide)
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(BackendError, match="export it with fixed shapes"):
        load(tmp_path / "model.pt2")


class Scripted(torch.nn.Module):
    def forward(self, scan: torch.Tensor) -> torch.Tensor:
        return scan + torch.from_file("/tmp/any", False, 4)


def test_torchscript_that_opens_files_is_refused(tmp_path):
    torch.jit.script(Scripted()).save(tmp_path / "model.pt")
    with pytest.raises(BackendError, match="uses 'from_file', which a policy has no need of"):
        load(tmp_path / "model.pt")


def test_a_program_that_switches_gradients_off_by_itself_is_loaded(tmp_path):
    class Quiet(Net):
        def forward(self, scan):
            with torch.no_grad():
                return super().forward(scan)

    program = torch.export.export(Quiet(), (torch.zeros(1, 4),))
    torch.export.save(program, tmp_path / "model.pt2")
    assert load(tmp_path / "model.pt2").run({"scan": torch.zeros(1, 4).numpy()})["actions"].shape == (1, 2)
