"""Reader of LeRobot datasets on disk, v2.1 and v3: parquet by pyarrow, video by PyAV.

v2.1 has a parquet file and a video file for each episode; v3 joins several episodes in one file, and
meta/episodes/*/*.parquet says where each begins and ends. Source of the layouts: huggingface/lerobot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_V2_DATA = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_V2_VIDEO = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_V3_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_V3_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


class DatasetError(Exception):
    """The folder is not a dataset that can be read here; the text says where, what and what to do."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One episode: its number in the dataset, its frames and what the robot was told to do."""

    index: int
    length: int
    instruction: str


@dataclass(frozen=True, slots=True)
class _Video:
    """The part of a video file that belongs to an episode."""

    path: Path
    start_s: float


class Dataset:
    """A dataset folder. Files are opened when something of theirs is asked for."""

    def __init__(self, folder: Path) -> None:
        """Read what is under meta/; DatasetError if that is not a LeRobot dataset of version 2.1 or 3."""
        self.folder = folder
        info = _read_info(folder / "meta" / "info.json")
        self.version = str(info["codebase_version"]).removeprefix("v")
        self.fps = float(info["fps"])
        self.robot_type = str(info.get("robot_type") or "")
        self._info = info
        self._features: dict[str, dict[str, Any]] = info["features"]
        self.cameras = tuple(key for key, value in self._features.items() if value["dtype"] == "video")
        """Keys of the features that are videos."""
        major = self.version.split(".")[0]
        if major not in ("2", "3"):
            raise DatasetError(f"{folder}: is a LeRobot dataset of version {self.version}; "
                               f"2.1 and 3 can be read: convert it with LeRobot's own script")  # fmt: skip
        self._rows = _episodes_v2(folder) if major == "2" else _episodes_v3(folder)
        self._joined = major == "3"

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """All episodes that the folder lists, by number."""
        return tuple(
            Episode(index, int(row["length"]), next(iter(row.get("tasks") or ()), ""))
            for index, row in sorted(self._rows.items())
        )

    def episode(self, index: int) -> Episode:
        """The episode of this number; DatasetError if there is none."""
        for episode in self.episodes:
            if episode.index == index:
                return episode
        present = ", ".join(str(item.index) for item in self.episodes)
        raise DatasetError(f"{self.folder}: has no episode {index}; there are {present}")

    def names(self, key: str) -> tuple[str, ...]:
        """The names of a feature's numbers, in their order."""
        names = self._feature(key).get("names") or ()
        while len(names) == 1 and not isinstance(first := next(iter(_values(names))), str):
            names = first
        return tuple(str(name) for name in _values(names))

    def column(self, episode: Episode, key: str) -> Floats:
        """(length, n) float32: one feature of an episode, or (length, 1) for a plain number."""
        self._feature(key)
        path = self.folder / self._data_path(episode.index)
        wanted = ("episode_index", "=", episode.index)
        table = _read_table(path, [key], [wanted])
        column = table.column(key).combine_chunks()
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            column = column.flatten()
        values = np.asarray(column.to_numpy(zero_copy_only=False), np.float32)
        if table.num_rows != episode.length or values.size % episode.length:
            raise DatasetError(f"{path}: has {table.num_rows} frames of episode {episode.index}, "
                               f"meta/ says {episode.length}; copy the dataset again")  # fmt: skip
        return values.reshape(episode.length, -1)

    def frames(self, episode: Episode, key: str) -> Iterator[Pixels]:
        """The pictures of an episode, (height, width, 3) RGB, a frame each, decoded as they are taken."""
        self._feature(key)
        video = self._video(episode.index, key)
        count = 0
        for pixels in _decode(video, self.fps, episode.length):
            yield pixels
            count += 1
        if count < episode.length:
            raise DatasetError(f"{video.path}: ends after {count} of the {episode.length} frames of "
                               f"episode {episode.index}; copy the dataset again")  # fmt: skip

    def _feature(self, key: str) -> dict[str, Any]:
        if key not in self._features:
            raise DatasetError(
                f"{self.folder}: has no feature {key!r}; there are {', '.join(self._features)}"
            )
        return self._features[key]

    def _chunk(self, index: int) -> int:
        return index // int(self._info.get("chunks_size", 1000))

    def _data_path(self, index: int) -> str:
        if not self._joined:
            path = self._info.get("data_path") or _V2_DATA
            return str(path).format(episode_chunk=self._chunk(index), episode_index=index)
        row = self._rows[index]
        path = self._info.get("data_path") or _V3_DATA
        return str(path).format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])

    def _video(self, index: int, key: str) -> _Video:
        if not self._joined:
            path = str(self._info.get("video_path") or _V2_VIDEO).format(
                episode_chunk=self._chunk(index), episode_index=index, video_key=key
            )
            return _Video(self.folder / path, 0.0)
        row = self._rows[index]
        path = str(self._info.get("video_path") or _V3_VIDEO).format(
            video_key=key,
            chunk_index=row[f"videos/{key}/chunk_index"],
            file_index=row[f"videos/{key}/file_index"],
        )
        return _Video(self.folder / path, float(row[f"videos/{key}/from_timestamp"]))


def episode_numbers(text: str) -> frozenset[int]:
    """The numbers in a text such as "27-33" or "1,4,7-9"; ValueError if it is not of that form."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _values(names: Any) -> Any:
    """Names stand in a list, in a list of lists, or in a map such as {"motors": [...]}."""
    return names.values() if isinstance(names, dict) else names


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(
            f"{path}: cannot be read ({error.strerror}); name the folder of a LeRobot dataset"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path}: is not valid JSON ({error}); copy the dataset again") from error
    if absent := [key for key in ("codebase_version", "fps", "features") if key not in info]:
        raise DatasetError(f"{path}: has no {', '.join(absent)}; it is not a LeRobot dataset")
    return info


def _episodes_v2(folder: Path) -> dict[int, dict[str, Any]]:
    path = folder / "meta" / "episodes.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); copy the dataset again") from error
    return {int(row["episode_index"]): row for row in rows}


def _episodes_v3(folder: Path) -> dict[int, dict[str, Any]]:
    paths = sorted((folder / "meta" / "episodes").glob("*/*.parquet"))
    if not paths:
        raise DatasetError(f"{folder}/meta/episodes: has no parquet file; copy the dataset again")
    rows: dict[int, dict[str, Any]] = {}
    for path in paths:
        keys = [key for key in _schema(path).names if not key.startswith("stats/")]
        rows |= {int(row["episode_index"]): row for row in _read_table(path, keys).to_pylist()}
    return rows


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); copy the dataset again") from error


def _read_table(path: Path, keys: list[str], filters: list[tuple[str, str, int]] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=keys, filters=filters)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); copy the dataset again") from error


def _decode(video: _Video, fps: float, count: int) -> Iterator[Pixels]:
    """The `count` pictures from `start_s` on."""
    try:
        with av.open(str(video.path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            base = stream.time_base or Fraction(1, round(fps))
            if video.start_s > 0:
                container.seek(int(video.start_s / base), stream=stream, backward=True)
            left = count
            for frame in container.decode(stream):
                if frame.pts is not None and float(frame.pts * base) < video.start_s - 0.5 / fps:
                    continue
                yield np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                left -= 1
                if not left:
                    return
    except (OSError, IndexError, av.FFmpegError) as error:
        raise DatasetError(f"{video.path}: cannot be decoded ({error}); copy the dataset again") from error
