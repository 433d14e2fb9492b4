"""Bundles with models in front of the model, real ones."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.policy.bundles import (
    HORIZON,
    image_input,
    instruction_input,
    manifest,
    observations,
    output,
    write_tokenizer,
)
from vlad.clock import SystemClock
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.memory import in_use
from vlad.policy.policy import Policy

WORDS = {"model": "language.onnx", "inputs": ["tokens"], "outputs": ["meaning"], "remembers": 2}
SIGHT = {"model": "vision.onnx", "inputs": ["image"], "outputs": ["seen"]}
FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def write(path, nodes, inputs, outputs):
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(*row) for row in inputs],
        [helper.make_tensor_value_info(*row) for row in outputs],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


@pytest.fixture
def folder(tmp_path):
    """meaning = sum of the tokens; seen = mean of the picture; actions = meaning + seen everywhere."""
    made = tmp_path / "b"
    made.mkdir()
    write_tokenizer(made / "tokenizer.json")
    write(
        made / "language.onnx",
        [helper.make_node("Cast", ["tokens"], ["floats"], to=FLOAT),
         helper.make_node("ReduceSum", ["floats"], ["meaning"], keepdims=0)],
        [("tokens", INT, [1, 5])], [("meaning", FLOAT, [])],
    )  # fmt: skip
    write(
        made / "vision.onnx", [helper.make_node("ReduceMean", ["image"], ["seen"], keepdims=0)],
        [("image", FLOAT, [1, 3, 6, 8])], [("seen", FLOAT, [])],
    )  # fmt: skip
    write(
        made / "model.onnx",
        [helper.make_node("Add", ["meaning", "seen"], ["sum"]),
         helper.make_node("Constant", [], ["shape"], value_ints=[1, HORIZON, 2]),
         helper.make_node("Expand", ["sum", "shape"], ["actions"])],
        [("meaning", FLOAT, []), ("seen", FLOAT, [])], [("actions", FLOAT, [1, HORIZON, 2])],
    )  # fmt: skip
    return made


def describe(folder, *encoders):
    plain = output(mean=[0.0, 0.0], std=[1.0, 1.0], collision=None)
    inputs = [image_input(), instruction_input()]
    write_manifest(folder, manifest(inputs=inputs, output=plain, encoders=list(encoders)))


@pytest.fixture(params=[False, True], ids=["here", "apart"])
def policy(folder, request):
    describe(folder, WORDS, SIGHT)
    made = Policy(load_bundle(folder), SystemClock(), apart=request.param)
    made.warm_up()
    assert (made.taken(in_use()) > 10e6) == request.param
    yield made
    made.close()


def said(policy, level, text):
    """What it says to a grey picture and a text, as the picture's and the text's own part."""
    actions = policy.infer(observations(level=level, text=text)).actions
    assert (actions == actions[0, 0]).all()
    return float(actions[0, 0]) - (level / 255 - 0.5) / 0.25


def test_the_answer_is_that_of_all_models_together(policy):
    for level, text, meaning in ((0, "go", 1), (255, "to the ball", 10), (255, "go", 1), (51, "go", 1)):
        assert said(policy, level, text) == pytest.approx(meaning, abs=1e-5)


def test_an_encoder_is_run_once_for_what_it_knows(policy):
    before = policy.remembered()
    for level, text in ((0, "go"), (0, "go"), (7, "go"), (0, "to"), (0, "go"), (0, "the"), (0, "to")):
        said(policy, level, text)
    after = policy.remembered()
    counts = {
        name: (after[name]["hits"] - before[name]["hits"], after[name]["misses"] - before[name]["misses"])
        for name in after
    }
    assert counts == {
        "tokens": (4, 3),
        "language.onnx": (3, 4),  # of three texts it knows the two that were asked for last
        "vision.onnx": (4, 3),
    }


def reasons(folder, *encoders):
    try:
        describe(folder, *encoders)
        Policy(load_bundle(folder), SystemClock()).warm_up()
    except BundleRefused as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("encoders", "part"),
    [
        ((WORDS | {"inputs": ["text"]}, SIGHT), "no input text in [[inputs]]; add it"),
        ((WORDS | {"outputs": ["image"]}, SIGHT), "encoders give image, which [[inputs]] have too"),
        ((WORDS, SIGHT | {"outputs": ["meaning"]}), "the outputs of encoders names meaning more than once"),
        ((WORDS, SIGHT | {"model": "none.onnx"}), "model of an encoder: 'none.onnx' is not listed"),
        ((WORDS, SIGHT | {"remembers": 0}), "remembers"),
        ((WORDS, SIGHT | {"inputs": ["image", "tokens"]}), "takes image, and would get image, tokens"),
        ((WORDS,), "takes an input 'seen' that the manifest does not have"),
        (
            (WORDS, SIGHT, WORDS | {"model": "model.onnx", "outputs": ["actions"]}),
            "actions, which the model does",
        ),
    ],
)
def test_encoders_that_do_not_fit_are_refused(folder, encoders, part):
    assert part in reasons(folder, *encoders)


def test_an_encoder_that_is_no_model_is_refused(folder):
    (folder / "vision.onnx").write_bytes(b"nothing")
    assert "vision.onnx: ONNX Runtime cannot load it" in reasons(folder, WORDS, SIGHT)


def test_the_memory_does_not_follow_the_buffers_that_are_filled_anew(policy):
    said(policy, 0, "go")
    known = policy._backend.encoders[1]._known[0]
    said(policy, 255, "go")
    assert np.all(known[0]["image"] == -2.0)
