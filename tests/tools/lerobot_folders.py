"""Tiny LeRobot datasets made on the spot, of version 2.1 and of version 3, with the same content."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FPS = 30
HEIGHT, WIDTH = 48, 64
CAMERA = "observation.images.cam_high"
INSTRUCTION = "Pick up the yellow bottle on the table."
LENGTHS = {1: 9, 4: 7, 27: 11}
SHARED = Path(__file__).parents[3] / "shared" / "data" / "g1-pick-bottle"
"""The real recordings; absent on most machines."""


def motion(index: int, joints: int) -> tuple[np.ndarray, np.ndarray]:
    """(state, action) of an episode; each number is different."""
    frames = np.arange(LENGTHS[index])[:, None]
    action = np.sin(0.3 * frames + np.arange(joints) + index).astype(np.float32)
    return action - np.float32(0.05), action


def brightness(index: int, frame: int) -> int:
    """Of every pixel of a frame."""
    return 20 + 5 * index + 9 * frame


def make_v2(folder: Path, joints: tuple[str, ...]) -> Path:
    """A parquet and a video file for each episode."""
    for index, length in LENGTHS.items():
        table = _table(index, len(joints))
        _write(table, folder / f"data/chunk-000/episode_{index:06d}.parquet")
        pictures = [brightness(index, frame) for frame in range(length)]
        _encode(folder / f"videos/chunk-000/{CAMERA}/episode_{index:06d}.mp4", pictures)
    _write_info(folder, "v2.1", joints, [list(joints)], {
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    })  # fmt: skip
    lines = [
        json.dumps({"episode_index": index, "tasks": [INSTRUCTION], "length": length})
        for index, length in LENGTHS.items()
    ]
    (folder / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def make_v3(folder: Path, joints: tuple[str, ...]) -> Path:
    """All episodes in one parquet and one video file, but the last, which has files of its own."""
    files = {index: int(index == max(LENGTHS)) for index in LENGTHS}
    rows: list[dict[str, Any]] = []
    for file in (0, 1):
        members = [index for index in LENGTHS if files[index] == file]
        tables = [_table(index, len(joints)) for index in members]
        _write(pa.concat_tables(tables), folder / f"data/chunk-000/file-{file:03d}.parquet")
        pictures = [brightness(index, frame) for index in members for frame in range(LENGTHS[index])]
        _encode(folder / f"videos/{CAMERA}/chunk-000/file-{file:03d}.mp4", pictures)
        start = 0
        for index in members:
            end = start + LENGTHS[index]
            rows.append({
                "episode_index": index, "tasks": [INSTRUCTION], "length": LENGTHS[index],
                "data/chunk_index": 0, "data/file_index": file,
                f"videos/{CAMERA}/chunk_index": 0, f"videos/{CAMERA}/file_index": file,
                f"videos/{CAMERA}/from_timestamp": start / FPS, f"videos/{CAMERA}/to_timestamp": end / FPS,
                "stats/action/mean": [0.0] * len(joints),
            })  # fmt: skip
            start = end
    _write(pa.Table.from_pylist(rows), folder / "meta/episodes/chunk-000/file-000.parquet")
    _write_info(folder, "v3.0", joints, {"motors": list(joints)}, {
        "chunks_size": 1000,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    })  # fmt: skip
    return folder


def _table(index: int, joints: int) -> pa.Table:
    state, action = motion(index, joints)
    kind = pa.list_(pa.float32(), joints)
    frames = range(len(action))
    return pa.table({
        "observation.state": pa.array(list(state), kind),
        "action": pa.array(list(action), kind),
        "timestamp": pa.array([frame / FPS for frame in frames], pa.float32()),
        "episode_index": pa.array([index] * len(action), pa.int64()),
    })  # fmt: skip


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def _encode(path: Path, pictures: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.bit_rate = 2_000_000
        for number, value in enumerate(pictures):
            pixels = np.full((HEIGHT, WIDTH, 3), value, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _write_info(folder: Path, version: str, joints: tuple[str, ...], names: Any, paths: Any) -> None:
    numbers = {"dtype": "float32", "shape": [len(joints)], "names": names}
    features = {
        "observation.state": numbers,
        "action": numbers,
        CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channel"]},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {"codebase_version": version, "robot_type": "Unitree_G1_Inspire", "fps": FPS, "features": features}
    (folder / "meta").mkdir(parents=True, exist_ok=True)
    (folder / "meta" / "info.json").write_text(json.dumps({**info, **paths}))
