"""Writer of LeRobot datasets on disk, version 3: parquet by pyarrow, H.264 by PyAV.

Each episode has files of its own, which the layout allows. Source of the layout: huggingface/lerobot,
datasets/utils.py and lerobot_dataset.py.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tools.lerobot.recording import Episode

_FILES_A_CHUNK = 1000
_KEY_FRAME_EVERY = 2
"""As LeRobot's own: training jumps to any frame."""
_MOST_PICTURES = 100
"""So many of each camera's are looked at for its statistics."""
_NUMBERS = ("timestamp", "frame_index", "episode_index", "index", "task_index")


class Writer:
    """`add` each episode, then `finish`."""

    def __init__(
        self, folder: Path, fps: int, robot: str, state: list[str], action: list[str], cameras: list[str]
    ) -> None:
        """The names of the numbers of a state and an action; FileExistsError where the folder is."""
        folder.mkdir(parents=True)
        self.folder = folder
        self.frames = 0
        self._fps = fps
        self._robot = robot
        self._names = {"observation.state": state, "action": action}
        self._cameras = cameras
        self._shapes: dict[str, tuple[int, int]] = {}
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._values: dict[str, list[NDArray[Any]]] = {}
        self._pictures: dict[str, list[NDArray[np.uint8]]] = {key: [] for key in cameras}

    def add(self, episode: Episode) -> None:
        """Write the files of one episode."""
        number, length = len(self._rows), len(episode.action)
        chunk, file = divmod(number, _FILES_A_CHUNK)
        task = self._tasks.setdefault(episode.task, len(self._tasks))
        columns: dict[str, NDArray[Any]] = {
            "observation.state": episode.state,
            "action": episode.action,
            "intervention": episode.intervention,
            "timestamp": (np.arange(length) / self._fps).astype(np.float32),
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": np.arange(self.frames, self.frames + length),
            "task_index": np.full(length, task),
        }
        table = pa.table({key: _column(values) for key, values in columns.items()})
        _write(table, self.folder / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet")
        for key, values in columns.items():
            self._values.setdefault(key, []).append(values.reshape(length, -1))
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [episode.task],
            "length": length,
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": self.frames,
            "dataset_to_index": self.frames + length,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for camera in self._cameras:
            key = _key(camera)
            self._encode(camera, self.folder / f"videos/{key}/chunk-{chunk:03d}/file-{file:03d}.mp4", episode)
            row |= {
                f"videos/{key}/chunk_index": chunk,
                f"videos/{key}/file_index": file,
                f"videos/{key}/from_timestamp": 0.0,
                f"videos/{key}/to_timestamp": length / self._fps,
            }
        self._rows.append(row)
        self.frames += length

    def finish(self) -> None:
        """Write what is under meta/."""
        meta = self.folder / "meta"
        _write(pa.Table.from_pylist(self._rows), meta / "episodes/chunk-000/file-000.parquet")
        _write(_tasks(self._tasks), meta / "tasks.parquet")
        statistics: dict[str, dict[str, Any]] = {
            key: _statistics(np.concatenate(parts)) for key, parts in self._values.items()
        }
        for camera, pictures in self._pictures.items():
            statistics[_key(camera)] = _colours(pictures)
        (meta / "stats.json").write_text(json.dumps(statistics))
        (meta / "info.json").write_text(json.dumps(self._info(), indent=2))

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {
            key: {"dtype": "float32", "shape": [len(names)], "names": names}
            for key, names in self._names.items()
        }
        features["intervention"] = {"dtype": "bool", "shape": [1], "names": None}
        for key in _NUMBERS:
            kind = "float32" if key == "timestamp" else "int64"
            features[key] = {"dtype": kind, "shape": [1], "names": None}
        for camera, (height, width) in self._shapes.items():
            shape = {"dtype": "video", "shape": [height, width, 3], "names": ["height", "width", "channels"]}
            about = {
                "video.fps": self._fps,
                "video.height": height,
                "video.width": width,
                "video.channels": 3,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "has_audio": False,
            }
            features[_key(camera)] = {**shape, "info": about}
        return {
            "codebase_version": "v3.0",
            "robot_type": self._robot,
            "total_episodes": len(self._rows),
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": _FILES_A_CHUNK,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
            "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
            "features": features,
        }

    def _encode(self, camera: str, path: Path, episode: Episode) -> None:
        """The video of one camera; H.264 wants an even height and width."""
        path.parent.mkdir(parents=True, exist_ok=True)
        pictures = episode.pictures[camera]
        every = max(1, len(pictures) * (1 + len(self._rows)) // _MOST_PICTURES)
        height, width = self._shapes.setdefault(camera, _rgb(pictures[0]).shape[:2])
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=self._fps, options={"g": str(_KEY_FRAME_EVERY)})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = Fraction(1, self._fps)
            for number, data in enumerate(pictures):
                pixels = _rgb(data)
                if pixels.shape[:2] != (height, width):
                    pixels = np.asarray(cv2.resize(pixels, (width, height)), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = number
                container.mux(stream.encode(frame))
                if number % every == 0:
                    self._pictures[camera].append(pixels[::4, ::4])
            container.mux(stream.encode())


def _key(camera: str) -> str:
    return f"observation.images.{camera.replace('/', '_')}"


def _rgb(data: bytes) -> NDArray[np.uint8]:
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))[..., ::-1]
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[: height & ~1, : width & ~1], np.uint8)


def _column(values: NDArray[Any]) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _statistics(values: NDArray[Any]) -> dict[str, list[float]]:
    """Of (frames, numbers)."""
    numbers = values.astype(np.float64)
    found = {
        "min": numbers.min(0),
        "max": numbers.max(0),
        "mean": numbers.mean(0),
        "std": numbers.std(0),
        **{f"q{point:02d}": np.percentile(numbers, point, axis=0) for point in (1, 10, 50, 90, 99)},
    }
    return {key: value.tolist() for key, value in found.items()} | {"count": [len(values)]}


def _colours(pictures: list[NDArray[np.uint8]]) -> dict[str, Any]:
    """Of red, green and blue, 0 to 1, in the shape that LeRobot has for pictures."""
    pixels = np.concatenate([picture.reshape(-1, 3) for picture in pictures]).astype(np.float32) / 255
    found = {key: [[[value]] for value in values] for key, values in _statistics(pixels).items()}
    return {**found, "count": [len(pictures)]}


def _tasks(tasks: dict[str, int]) -> pa.Table:
    """A table as pandas writes one whose index is the task."""
    index = "__index_level_0__"
    kinds = (("task_index", "task_index", "int64", "int64"), (None, index, "unicode", "object"))
    columns = [
        {"name": name, "field_name": place, "pandas_type": kind, "numpy_type": numpy, "metadata": None}
        for name, place, kind, numpy in kinds
    ]
    about = {"index_columns": [index], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    table = pa.table(
        {"task_index": pa.array(tasks.values(), pa.int64()), index: pa.array(tasks, pa.string())}
    )
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
