"""Policies that LeRobot made and saved run in the daemon's own policy, and give what they give there."""

import asyncio
import errno
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot", reason="LeRobot is not installed; tools/test installs it")

import torch

from tests.policy.backends.lerobot_policies import (
    CHUNK,
    FRONT,
    JOINTS,
    SEED,
    STATE,
    declare_operators,
    own_answer,
    policy_class,
    save_language_model,
    save_policy,
)
from tests.policy.bundles import sample
from vlad.clock import SystemClock
from vlad.config import load_settings
from vlad.ctl.__main__ import main
from vlad.messages import Image, Instruction, JointState
from vlad.policy.backends.torch_devices import place
from vlad.policy.bundle import BundleRefused, load_bundle, write_manifest
from vlad.policy.model_thread import ModelThread
from vlad.policy.policy import Policy
from vlad.policy.prefix import Prefix
from vlad.policy.worker import InferenceLoop
from vlad.policy_settings import PolicySettings
from vlad.queues import Latest

declare_operators()


def manifest(several=(), **changes):
    raw = {"mean": [0.0] * len(JOINTS), "std": [1.0] * len(JOINTS)}
    picture = {"name": FRONT, "kind": "image", "signal": "camera", "dtype": "uint8"}
    state = {"name": STATE, "kind": "joint_state", "signal": "joints", "field": "position", "joints": JOINTS}
    return {
        "name": "act", "version": "1", "robot_type": "arm", "backend": "lerobot", "precision": "float32",
        "model": "model.safetensors", "expected_latency_s": 0.1,
        "inputs": [
            picture | {"shape": [1, *several, 32, 40, 3]},
            state | raw | {"shape": [1, *several, len(JOINTS)]},
        ],
        "output": {"name": "action", "kind": "joint_position", "names": JOINTS, "horizon": CHUNK,
                   "step_s": 0.05} | raw,
    } | changes  # fmt: skip


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folders as LeRobot's training leaves them, each made once: `saved(kind)`."""
    folder = tmp_path_factory.mktemp("lerobot")

    def policy(kind):
        if not (folder / kind).exists():
            save_policy(folder / kind, kind)
        return folder / kind

    return policy


@pytest.fixture
def bundle(saved, tmp_path):
    """A bundle of a saved policy that can be spoilt: `bundle(spoil, **changes of the manifest)`."""

    def make(kind="act", spoil=None, **changes):
        folder = tmp_path / "bundle"
        shutil.copytree(saved(kind), folder, dirs_exist_ok=True)
        if spoil is not None:
            spoil(folder)
        write_manifest(folder, manifest(**changes))
        return folder

    return make


def open_policy(folder, **settings):
    return Policy(load_bundle(folder), SystemClock(), PolicySettings(**settings))


def frame(seed):
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (32, 40, 3), np.uint8)
    return {FRONT: pixels, STATE: random.normal(size=3).astype(np.float32)}


def samples(frame, stamp_ns=1_000):
    joints = JointState(tuple(reversed(JOINTS)), frame[STATE][::-1].copy())
    return {
        "camera": sample("camera", Image("rgb8", frame[FRONT]), stamp_ns),
        "joints": sample("joints", joints, stamp_ns),
    }


def edit(name, change):
    """Spoil a JSON file of the folder."""

    def spoil(folder):
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return spoil


def refusal(folder):
    with pytest.raises(BundleRefused) as refused:
        open_policy(folder)
    return refused.value.reasons


def test_an_act_gives_the_chunk_that_lerobot_s_own_loop_follows(bundle):
    folder = bundle()
    policy = open_policy(folder)
    assert policy.warm_up() > 0
    for seed in (1, 2):
        chunk = policy.infer(samples(frame(seed)))
        assert chunk.names == JOINTS
        np.testing.assert_allclose(chunk.actions, own_answer(folder, [frame(seed)]), rtol=0, atol=1e-5)
    policy.close()


def test_a_diffusion_policy_is_given_what_was_seen_before(bundle):
    folder = bundle("diffusion", several=(2,))
    policy = open_policy(folder)
    policy.warm_up()
    policy.infer(samples(frame(1), stamp_ns=10**10))  # more than a second after the start: nothing before it
    torch.manual_seed(SEED)
    chunk = policy.infer(samples(frame(2), stamp_ns=10**10 + 1_000))
    expected = own_answer(folder, [frame(1), frame(2)])
    np.testing.assert_allclose(chunk.actions, expected, rtol=0, atol=1e-5)
    assert np.abs(expected - own_answer(folder, [frame(2)])).max() > 1e-3


def test_a_policy_computes_in_half_floats_where_the_bundle_says_so(bundle):
    policy = open_policy(bundle(precision="bfloat16"))
    given = policy.infer(samples(frame(1))).actions
    expected = own_answer(policy.bundle.folder, [frame(1)])
    np.testing.assert_allclose(given, expected, rtol=0, atol=0.05)
    assert np.abs(given - expected).max() > 1e-6


def test_the_manifest_can_turn_the_units_of_the_training_into_the_robot_s(bundle):
    degree = np.pi / 180
    changes = manifest()
    changes["inputs"][1]["std"] = changes["output"]["std"] = [degree] * 3
    policy = open_policy(bundle(**changes))
    radians = frame(1) | {STATE: (frame(1)[STATE] * degree).astype(np.float32)}
    expected = own_answer(policy.bundle.folder, [frame(1)]) * degree
    np.testing.assert_allclose(policy.infer(samples(radians)).actions, expected, rtol=0, atol=1e-5)


def test_nothing_is_fetched_although_the_config_asks_for_it(bundle, monkeypatch):
    weights = "ResNet18_Weights.IMAGENET1K_V1"
    folder = bundle(
        spoil=edit(
            "config.json", lambda values: values.update(pretrained_backbone_weights=weights, device="cuda")
        )
    )

    def refuse(*_):
        raise AssertionError("something was fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    open_policy(folder).warm_up()


def test_a_pickle_in_place_of_the_weights_is_refused(bundle):
    import pickle

    reasons = refusal(
        bundle(spoil=lambda folder: (folder / "model.safetensors").write_bytes(pickle.dumps({})))
    )
    assert len(reasons) == 1
    assert "model.safetensors: is no safetensors file" in reasons[0]


@pytest.mark.parametrize("keep", [0, 4, 1_000, -1_000])
def test_weights_that_are_cut_off_are_refused(bundle, keep):
    def cut(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])

    assert "model.safetensors" in refusal(bundle(spoil=cut))[0]


def test_weights_that_are_not_all_there_are_refused_and_not_made_up(bundle):
    from safetensors.torch import load_file, save_file

    def forget(folder):
        tensors = load_file(folder / "model.safetensors")
        del tensors["model.action_head.weight"]
        save_file(tensors, folder / "model.safetensors")

    (reason,) = refusal(bundle(spoil=forget))
    assert "model.action_head.weight" in reason


def test_every_file_that_is_missing_is_reported(bundle):
    names = (
        "config.json",
        "policy_preprocessor.json",
        "policy_postprocessor_step_0_unnormalizer_processor.safetensors",
    )

    def remove(folder):
        for name in names:
            (folder / name).unlink()

    reasons = refusal(bundle(spoil=remove))
    assert len(reasons) == 3
    for name in names:
        assert any(f"{name}: cannot be read (No such file or directory)" in reason for reason in reasons)


def foreign_step(values):
    values["steps"][0] = {"class": "os.system", "config": {"command": "true"}}


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("policy_preprocessor.json", foreign_step, "step 0: the Python class 'os.system' is not run"),
        (
            "policy_postprocessor.json",
            lambda values: values["steps"].append({"registry_name": "reward_classifier_processor"}),
            "step 2: 'reward_classifier_processor' is not run",
        ),
        (
            "policy_preprocessor.json",
            lambda values: values["steps"][3].pop("state_file"),
            "step 3: normalizer_processor has no state_file",
        ),
        (
            "policy_preprocessor.json",
            lambda values: values["steps"][3].update(state_file="../other.safetensors"),
            "state_file '../other.safetensors' is no file of this folder",
        ),
        (
            "policy_preprocessor.json",
            lambda values: values["steps"].append({
                "registry_name": "tokenizer_processor", "config": {"tokenizer_name": "some/model"}
            }),
            "hf download some/model",
        ),
        ("policy_preprocessor.json", lambda values: values.pop("steps"), "has no list of steps"),
        ("config.json", lambda values: values.update(type="groot"), "type: 'groot' cannot be run"),
        ("config.json", lambda values: values.update(use_peft=True), "holds an adapter alone"),
        ("config.json", lambda values: values.update(chunk_size="many"), "LeRobot cannot load it"),
        ("config.json", lambda values: values.update(dim_model=64), "LeRobot cannot load it"),
        ("config.json", lambda values: values.update(unheard_of=1), "unheard_of"),
    ],
)  # fmt: skip
def test_a_folder_that_asks_for_what_is_not_run_is_refused(bundle, name, change, reason):
    reasons = refusal(bundle(spoil=edit(name, change)))
    assert len(reasons) == 1
    assert reason in reasons[0]


def test_a_normaliser_without_the_numbers_of_a_feature_is_refused(bundle):
    from safetensors.torch import load_file, save_file

    def forget(folder):
        path = next(folder.glob("policy_preprocessor_step_*.safetensors"))
        save_file({k: v for k, v in load_file(path).items() if not k.startswith(STATE)}, path)

    (reason,) = refusal(bundle(spoil=forget))
    assert f"has no numbers to normalise {STATE} with (MEAN_STD)" in reason


def test_every_difference_from_the_manifest_is_reported(bundle):
    changes = manifest()
    picture, state = changes["inputs"]
    changes["inputs"] = [picture | {"shape": [1, 32, 48, 3]}, state | {"name": "observation.joints"}]
    changes["output"]["horizon"] = 8
    reasons = refusal(bundle(**changes))
    assert len(reasons) == 4
    for part in (
        f"takes an input {STATE!r} that the manifest does not have",
        f"input {FRONT!r}: has shape (1, 32, 40, 3) in the model, (1, 32, 48, 3) in the manifest",
        "input 'observation.joints': the model has none of this name",
        "output 'action': has shape (1, 6, 3) in the model, (1, 8, 3) in the manifest",
    ):
        assert any(part in reason for reason in reasons)


def prefix_input(rows=4):
    return {
        "name": "prev_chunk_left_over",
        "kind": "prefix",
        "shape": [1, rows, 3],
        "length": "inference_delay",
    }


def test_the_committed_rows_of_a_prefix_reach_the_policy_in_its_own_normalisation(bundle, monkeypatch):
    """With an ACT that says that it can do real-time chunking: what can needs more than is installed here."""
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy

    seen = []

    def predict(self, batch, **chunking):
        seen.append(chunking)
        return torch.zeros(1, CHUNK, 3) if not chunking else chunking["prev_chunk_left_over"].repeat(1, 3, 1)

    monkeypatch.setattr(ACTConfig, "rtc_config", None, raising=False)
    monkeypatch.setattr(ACTPolicy, "predict_action_chunk", predict)
    policy = open_policy(bundle(inputs=[*manifest()["inputs"], prefix_input()]))
    policy.infer(samples(frame(1)), None)
    assert seen == [{}]
    rows = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
    chunk = policy.infer(samples(frame(1)), Prefix(rows, committed=2))
    assert seen[1]["inference_delay"] == 2
    np.testing.assert_allclose(chunk.actions[:2], rows[:2], rtol=0, atol=1e-5)  # normalised, and back again
    assert policy._backend._config.rtc_config.enabled


def told(frame, text="go to the ball"):
    return samples(frame) | {"instruction": sample("instruction", Instruction(text))}


@pytest.fixture
def smolvla(tmp_path):
    """A bundle of a tiny SmolVLA, with more inputs if it is given some."""
    pytest.importorskip(
        "transformers", reason="SmolVLA needs transformers, which LeRobot 0.4 wants in version 4"
    )
    folder = tmp_path / "smolvla"
    save_policy(folder, "smolvla", vlm_model_name=str(save_language_model(folder / "vlm")))
    task = {"name": "task", "kind": "instruction", "signal": "instruction"}

    def make(*inputs):
        write_manifest(folder, manifest(inputs=[*manifest()["inputs"], task, *inputs]))
        return open_policy(folder)

    return make


def test_a_smolvla_gives_what_lerobot_gives_and_follows_the_instruction(smolvla):
    policy = smolvla()
    torch.manual_seed(SEED)
    given = policy.infer(told(frame(1))).actions
    expected = own_answer(policy.bundle.folder, [frame(1)], task="go to the ball")
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)
    torch.manual_seed(SEED)
    assert np.abs(policy.infer(told(frame(1), "ball")).actions - given).max() > 1e-6


def test_a_smolvla_goes_on_from_the_committed_rows(smolvla):
    policy = smolvla(prefix_input())
    rows = np.array([[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5]], np.float32)
    chunk = policy.infer(told(frame(1)), Prefix(rows, committed=2))
    assert np.abs(chunk.actions[:2] - rows[:2]).max() < 0.05
    assert np.abs(chunk.actions[2] - rows[2]).max() > 0.05  # not committed, and not asked for


def test_a_policy_that_has_no_real_time_chunking_takes_no_prefix(bundle):
    (reason,) = refusal(bundle(inputs=[*manifest()["inputs"], prefix_input()]))
    assert "type act takes no prev_chunk_left_over; remove the input" in reason


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_refused(bundle):
    with pytest.raises(BundleRefused, match=r"policy\.device is 'cuda:1', but torch .* finds 0 GPUs"):
        open_policy(bundle(), device="cuda:1")


def test_an_act_in_parts_gives_the_same_chunk_and_says_where_they_lie(bundle):
    policy = open_policy(bundle(), torch={"device_map": {"model.backbone": "cpu", "model.encoder": "cpu"}})
    assert policy.device == "cpu, model.backbone on cpu, model.encoder on cpu"
    expected = own_answer(policy.bundle.folder, [frame(1)])
    np.testing.assert_allclose(policy.infer(samples(frame(1))).actions, expected, rtol=0, atol=1e-5)


def test_an_act_is_not_cut_into_stages(bundle):
    with pytest.raises(BundleRefused, match=r"name the modules of a LeRobot policy in policy\.torch\.dev"):
        open_policy(bundle(), torch={"stages": {"model.decoder": "cpu"}})


def test_every_tensor_of_an_act_is_brought_to_its_device(saved):
    from lerobot.configs.policies import PreTrainedConfig
    from torch._subclasses.fake_tensor import FakeTensorMode

    policy = policy_class("act")(PreTrainedConfig.from_pretrained(saved("act"))).eval()
    home, other = torch.device("cpu"), torch.device("cuda:1")
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        place(policy, home, {"model.backbone": other, "model.decoder": other})
        assert policy.model.backbone.conv1.weight.device == other
        assert (
            policy.predict_action_chunk({FRONT: torch.empty(1, 3, 32, 40), STATE: torch.empty(1, 3)}).device
            == home
        )


SETTINGS = """
robot.limits = "arm.toml"
paths.state_dir = "STATE"
signals.camera.type = "image"
signals.joints.type = "joint_state"
signals.instruction.type = "instruction"
"""


@pytest.fixture
def settings(tmp_path):
    """Settings and limits of an arm with the joints of the policies here."""
    limits = "lower = -3\nupper = 3\nvelocity = 1\nacceleration = 1\n"
    axes = "".join(f"[axes.{joint}]\n{limits}" for joint in JOINTS)
    head = 'name = "arm"\ntype = "arm"\ncommand = "joint_position"\nfeedback = "joints"\n'
    (tmp_path / "arm.toml").write_text(head + axes)
    (tmp_path / "vlad.toml").write_text(SETTINGS.replace("STATE", str(tmp_path / "state")))
    return tmp_path / "vlad.toml"


def import_policy(folder, settings, *more):
    words = ["model", "import", str(folder), "act", "1", "--rate", "20", "--config", str(settings), "--json"]
    return main([*words, *more])


def test_a_folder_becomes_a_bundle_with_one_command(saved, settings, capsys):
    assert import_policy(saved("act"), settings) == 0
    answer = json.loads(capsys.readouterr().out)
    read, robot = load_settings(settings)
    made = load_bundle(Path(answer["folder"]), robot, read.signals).manifest
    assert (made.output.horizon, made.output.step_s) == (CHUNK, 0.05)
    assert 0 < made.expected_latency_s < 10
    policy = open_policy(Path(answer["folder"]))
    expected = own_answer(saved("act"), [frame(1)])
    np.testing.assert_allclose(policy.infer(samples(frame(1))).actions, expected, rtol=0, atol=1e-5)
    with pytest.raises(SystemExit):
        import_policy(saved("act"), settings, "--rate", "0")
    assert import_policy(saved("act"), settings) == 1
    assert "is there already" in capsys.readouterr().out


def test_what_the_robot_has_not_is_reported_all_at_once_and_nothing_is_left(
    saved, settings, tmp_path, capsys
):
    more = 'signals.left.type = "image"\nsignals.legs.type = "joint_state"\n'
    settings.write_text(settings.read_text() + more)
    limits = tmp_path / "arm.toml"
    extra = "[axes.wrist]\nlower = -3\nupper = 3\nvelocity = 1\nacceleration = 1\n"
    limits.write_text(limits.read_text() + extra)
    assert import_policy(saved("act"), settings) == 1
    reasons = json.loads(capsys.readouterr().out)["reasons"]
    assert len(reasons) == 4
    for part in (
        f"{FRONT}: no signal of the type image is called 'front' in the settings, and there is not just one",
        f"{STATE}: no signal of the type joint_state is called 'state'",
        f"{STATE}: has 3 numbers, the robot has 4 axes",
        "action: has 3 numbers, the robot has 4 axes",
    ):
        assert any(part in reason for reason in reasons), part
    assert not list((tmp_path / "state").rglob("*.safetensors"))


def test_where_the_disk_is_full_nothing_is_left(saved, settings, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vlad.policy.bundle.write_manifest", full)
    assert import_policy(saved("act"), settings) != 0
    assert "No space left" in capsys.readouterr().out
    assert not list((tmp_path / "state").rglob("*.safetensors"))


def test_a_policy_that_cannot_be_run_is_not_installed(bundle, settings, tmp_path, capsys):
    def cut(folder):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1_000])

    assert import_policy(bundle(spoil=cut), settings) == 1
    assert "LeRobot cannot load it" in json.loads(capsys.readouterr().out)["reasons"][0]
    assert not list((tmp_path / "state").rglob("*.safetensors"))


async def test_the_daemon_s_inference_loop_runs_it_in_its_own_thread(bundle):
    policy, chunks, came = open_policy(bundle(), threads=2), Latest(), asyncio.Event()
    policy.warm_up()
    latest = {topic: Latest() for topic in policy.topics}
    worker = ModelThread(policy)
    loop = InferenceLoop(
        worker, latest, chunks, SystemClock(), PolicySettings(), came.set, {}, {}, lambda *_: None
    )
    running = asyncio.create_task(loop.run())
    await asyncio.sleep(0)
    for topic, made in reversed(samples(frame(1)).items()):  # the picture last: it starts the inference
        latest[topic].put(made)
        loop.notify(made)
    await asyncio.wait_for(came.wait(), 60)
    expected = own_answer(policy.bundle.folder, [frame(1)])
    np.testing.assert_allclose(chunks.take().actions, expected, rtol=0, atol=1e-5)
    assert loop.report()["device"] == "cpu"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    loop.close()
