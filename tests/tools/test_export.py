"""tools/export: what the black box recorded becomes a LeRobot dataset that says the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tools.lerobot.dataset import Dataset
from vlad.feed import Turn
from vlad.messages import Command, CommandMode, Image, JointState, Kind, Level, Mode, Sample
from vlad.record.chunks import ChunkBuilder
from vlad.record.encode import SampleEncoder, command, tick
from vlad.record.mcapfile import McapFile, Topic

ROOT = Path(__file__).resolve().parents[2]
JOINTS = ("a", "b")
TOPICS = [
    Topic("camera", "foxglove.CompressedImage"),
    Topic("joints", "vlad.JointState"),
    Topic("vlad/tick", "vlad.Tick"),
    Topic("vlad/command", "vlad.Command"),
]
HZ, SECONDS = 50, 6.0
WALL_NS = 1_700_000_000_000_000_000


def mode_at(time_s: float) -> Mode:
    """Two drives; the second is slowed for its last half."""
    if 0.5 <= time_s < 2.5:
        return Mode.ACTIVE
    if 3.0 <= time_s < 5.0:
        return Mode.ACTIVE if time_s < 4.0 else Mode.DEGRADED
    return Mode.DISARMED


def position(time_s: float) -> np.ndarray:
    return np.array([time_s, -time_s], np.float32)


def record(path: Path) -> None:
    """Six seconds of a robot whose joints say what time it is, as do its pictures."""
    builder, encoder = ChunkBuilder(compress=True), SampleEncoder(95)
    for k in range(round(HZ * SECONDS)):
        time_s, at_ns = k / HZ, round(k / HZ * 1e9)
        mode = mode_at(time_s)
        values = position(time_s + 10)
        sent = Command(k, at_ns, 60, CommandMode.RUN, Kind.JOINT_POSITION, JOINTS, values, 0)
        task = "first" if time_s < 2.8 else "second"
        turn = Turn(at_ns, mode, Level.SAFE, False, 0, 0, task, (), "", sent, 0, 0)
        pixels = np.full((49, 64, 3), 40 * int(time_s), np.uint8)
        samples = (Image("rgb8", pixels), JointState(JOINTS, position=position(time_s)))
        messages = [encoder.encode(Sample("", k, at_ns, at_ns, "", data), WALL_NS) for data in samples]
        messages += [tick(turn, WALL_NS + at_ns), command(sent, WALL_NS)]
        for channel, message in enumerate(messages, 1):
            builder.add(channel, k, WALL_NS + at_ns, WALL_NS + at_ns, message)
    chunk = builder.take()
    assert chunk is not None
    with path.open("xb", buffering=0) as raw:
        file = McapFile(raw)
        file.begin(TOPICS, {})
        file.add(chunk)
        file.finish()


def export(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "tools" / "export", *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    record(folder / "a.mcap")
    done = export(folder / "a.mcap", "--out", folder / "out", "--robot", "arm", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"episodes": 2, "frames": 40, "left_out": []}
    return folder / "out"


def test_each_drive_is_an_episode_with_its_task_and_what_was_done_after_each_observation(
    dataset: Path,
) -> None:
    read = Dataset(dataset)
    assert [(e.length, e.instruction) for e in read.episodes] == [(20, "first"), (20, "second")]
    assert read.names("observation.state") == ("joints.a", "joints.b")
    for episode, start_s in zip(read.episodes, (0.5, 3.0), strict=True):
        state = read.column(episode, "observation.state")
        assert np.allclose(state[:, 0], start_s + np.arange(20) / 10, atol=1.5 / HZ)
        assert np.allclose(read.column(episode, "action") - state, [10, -10], atol=1.5 / HZ)
        for number, pixels in enumerate(read.frames(episode, "observation.images.camera")):
            seen_s = state[number, 0]
            assert pixels.shape == (48, 64, 3), "an even number of rows"
            assert abs(float(pixels.mean()) - 40 * int(seen_s + 1e-3)) < 8


def test_where_vlad_slowed_the_robot_the_column_intervention_says_so(dataset: Path) -> None:
    first, second = (
        pq.read_table(dataset / f"data/chunk-000/file-00{number}.parquet").column("intervention").to_pylist()
        for number in (0, 1)
    )
    assert first == [False] * 20
    assert second == [False] * 10 + [True] * 10


def test_numbers_of_frames_and_statistics_are_those_of_the_whole(dataset: Path) -> None:
    tables = [pq.read_table(path) for path in sorted((dataset / "data").glob("*/*.parquet"))]
    assert [k for table in tables for k in table.column("index").to_pylist()] == list(range(40))
    assert {k for table in tables for k in table.column("task_index").to_pylist()} == {0, 1}
    statistics = json.loads((dataset / "meta" / "stats.json").read_text())
    assert statistics["observation.state"]["count"] == [40]
    assert statistics["observation.state"]["max"][0] == pytest.approx(4.9, abs=2 / HZ)
    assert np.shape(statistics["observation.images.camera"]["mean"]) == (3, 1, 1)


def test_what_cannot_be_exported_is_told(tmp_path: Path) -> None:
    (tmp_path / "torn.mcap").write_bytes(b"\x89MCAP0\r\n")
    done = export(tmp_path / "torn.mcap", "--out", tmp_path / "out")
    assert (done.returncode, "torn.mcap: cannot be read" in done.stderr) == (1, True)
    assert not (tmp_path / "out").exists()
    missing = export(tmp_path / "none.mcap", "--out", tmp_path / "out")
    assert "none.mcap: No such file" in missing.stderr


def test_the_lerobot_package_loads_it(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("lerobot")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if not torch.cuda.is_available() and not hasattr(torch.ops.torchvision, "nms"):
        # torchvision's library is linked to CUDA's, and cannot be imported without these two.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    package = pytest.importorskip("lerobot.datasets.lerobot_dataset")
    monkeypatch.setattr(package, "decode_video_frames", decode)
    loaded = package.LeRobotDataset("local/test", root=dataset, delta_timestamps={"action": [0, 0.1]})
    assert (loaded.num_episodes, len(loaded), loaded.fps) == (2, 40, 10)
    item = loaded[35]
    assert (item["task"], bool(item["intervention"])) == ("second", True)
    assert item["action"].shape == (2, 2)
    assert torch.allclose(item["observation.state"], torch.tensor([4.5, -4.5]), atol=1.5 / HZ)
    assert item["observation.images.camera"].shape == (3, 48, 64)


def decode(path: Path, times_s: list[float], tolerance_s: float, _backend: str) -> object:
    """As LeRobot's own with torchcodec, which is linked to CUDA's libraries, too."""
    torch = pytest.importorskip("torch")
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frames = [
            (float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)
        ]
    found = [min(frames, key=lambda frame: abs(frame[0] - time_s)) for time_s in times_s]
    assert all(abs(f[0] - time_s) < tolerance_s for f, time_s in zip(found, times_s, strict=True))
    return torch.stack([torch.tensor(pixels).permute(2, 0, 1) / 255 for _, pixels in found])
