"""Policy bundles: a folder with policy.toml, the model and what it needs, all under SHA-256.

A bundle that does not match its hashes, the robot or the configured sensors is refused with every reason.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from vlad.config import SignalSettings
from vlad.policy.backends import BACKENDS, READS_JPEG, REMOTE, lerobot_folder
from vlad.policy.inputs import INPUT, NoiseInput, PrefixInput, SignalInput
from vlad.policy.manifest import SCHEMA, Manifest, Output
from vlad.policy.toml import plain, write_toml
from vlad.robot import Robot

MANIFEST = "policy.toml"

_SIGNAL_TYPES: dict[str, tuple[str, ...]] = {
    "image": ("image", "compressed_image"),
    "laser_scan": ("laser_scan",),
    "point_cloud": ("point_cloud",),
    "odometry": ("odometry",),
    "joint_state": ("joint_state",),
    "instruction": ("instruction",),
}

_T = TypeVar("_T")


class BundleRefused(Exception):  # noqa: N818 - a refusal with reasons, not a failure of vlad
    """The bundle cannot run here. `reasons` has a line for each mistake: where, what, how to mend it."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files, robot and signals have been checked; the model itself is not loaded yet."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def version(self) -> str:
        return self.manifest.version

    @property
    def variants(self) -> tuple[Bundle, ...]:
        """The same at lower resolutions, the largest first."""
        manifest = self.manifest
        return tuple(Bundle(self.folder, manifest.at(variant)) for variant in manifest.variants)

    @property
    def model(self) -> Path:
        """The model's file; of a policy that runs on a server the folder."""
        return self.folder / (self.manifest.model or "")

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


def load_bundle(
    folder: Path,
    robot: Robot | None = None,
    signals: Mapping[str, SignalSettings] | None = None,
) -> Bundle:
    """Read and check the bundle in `folder`; BundleRefused with every reason.

    It must be made for `robot`, and its inputs for the `signals` of the settings; None leaves that check out.
    """
    path = folder / MANIFEST
    values = _read(path)
    reasons = _check_files(folder, values.get("files"))
    manifest = None
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        reasons += _mistakes(error, path)
    reasons += _check_backend(values, path)
    if values.get("backend") == "lerobot" and isinstance(values.get("model"), str):
        reasons += lerobot_folder.faults(folder / values["model"])
    if robot is not None:
        reasons += _check_robot(values, path, robot)
    if signals is not None:
        inputs = values.get("inputs")
        for item in inputs if isinstance(inputs, list) else []:
            valid = _valid(INPUT, item)
            if valid is not None and not isinstance(valid, PrefixInput | NoiseInput):
                reasons += _check_signal(valid, path, signals)
    if reasons or manifest is None:
        raise BundleRefused(reasons)
    return Bundle(folder, manifest)


def is_unchanged(bundle: Bundle) -> bool:
    """Whether its folder still holds the same bundle, by the manifest; the files are not hashed again."""
    try:
        return Manifest.model_validate(_read(bundle.folder / MANIFEST)) == bundle.manifest
    except (BundleRefused, ValidationError):
        return False


def find_bundles(
    models: Path, loaded: Mapping[Path, str], robot: Robot, signals: Mapping[str, SignalSettings]
) -> list[dict[str, Any]]:
    """The bundles in `models`/NAME/VERSION and those that are loaded, a row for each, for an operator.

    `loaded` says for the folder of a bundle in memory what it is there for: it is `running`, the `fallback`,
    `waiting` for its place again, or `resident`. `refused` has the reasons for which it could not run here;
    none: it could. Reads and hashes every file.
    """
    states = {folder.resolve(): state for folder, state in loaded.items()}
    rows = []
    for folder in sorted({path.parent.resolve() for path in models.glob(f"*/*/{MANIFEST}")} | states.keys()):
        state = states.get(folder)
        row: dict[str, Any] = {"name": folder.parent.name, "version": folder.name, "folder": str(folder)}
        row |= {"running": state == "running", "loaded": state, "refused": []}
        try:
            manifest = load_bundle(folder, robot, signals).manifest
            row |= {"name": manifest.name, "version": manifest.version, "backend": manifest.backend}
        except BundleRefused as refused:
            row["refused"] = refused.reasons
        rows.append(row)
    return rows


def read_bundle(folders: Iterable[Path], name: str, version: str) -> dict[str, Any]:
    """`folder` and `manifest`, unchecked, of the first bundle that has this name and version.

    BundleRefused where none of `folders` has it, or only one of that path that cannot be read.
    """
    reasons = [f"no bundle {name} {version} is installed; `vladctl model list` shows which are"]
    for folder in folders:
        try:
            values = _read(folder / MANIFEST)
        except BundleRefused as refused:
            if (folder.parent.name, folder.name) == (name, version):
                reasons = refused.reasons
            continue
        if (values.get("name"), values.get("version")) == (name, version):
            return {"folder": str(folder), "manifest": values}
    raise BundleRefused(reasons)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Hash every file in `folder` and write policy.toml; `schema` and `files` are filled in here.

    `manifest` may hold NumPy numbers and arrays. What load_bundle would refuse is refused here as well, with
    BundleRefused, and nothing is written.
    """
    paths = sorted(path for path in _files(folder) if path != MANIFEST)
    values = plain({**manifest, "schema": SCHEMA, "files": {path: _sha256(folder / path) for path in paths}})
    try:
        Manifest.model_validate(values)
    except ValidationError as error:
        raise BundleRefused(_mistakes(error, folder / MANIFEST)) from None
    part = folder.parent / f".{folder.name}.{MANIFEST}.part"
    part.write_text(write_toml(values), encoding="utf-8")
    os.replace(part, folder / MANIFEST)


def _read(path: Path) -> dict[str, Any]:
    """The raw manifest; refused at once where nothing else can be checked."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleRefused([
            f"{path}: cannot be read ({error.strerror}); name a folder that holds a bundle"
        ]) from None  # fmt: skip
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleRefused([f"{path}: is not valid TOML: {error}"]) from None
    schema = values.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise BundleRefused([
            f"{path}: schema: {schema} is newer than the {SCHEMA} that this vlad reads; update vlad, "
            f"or use a bundle made for it"
        ])  # fmt: skip
    return values


def _mistakes(error: ValidationError, path: Path) -> list[str]:
    """One line for each mistake in the manifest."""
    lines = []
    for mistake in error.errors(include_url=False):
        kinds = {*_SIGNAL_TYPES, "prefix", "noise"}
        key = ".".join(str(part) for part in mistake["loc"] if part not in kinds)
        where = f"{path}: {key}" if key else f"{path}"
        match mistake["type"]:
            case "extra_forbidden":
                lines.append(f"{where}: unknown key; check its spelling, or remove it")
            case "missing":
                lines.append(f"{where}: is missing; add it")
            case "value_error":
                lines += [f"{where}: {text}" for text in str(mistake["ctx"]["error"]).split("\n")]
            case _:
                got = mistake["input"]
                shown = "" if isinstance(got, dict | BaseModel) else f" (got {got!r})"
                lines.append(f"{where}: {mistake['msg']}{shown}")
    return lines


def _valid(adapter: TypeAdapter[_T], value: object) -> _T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _files(folder: Path) -> Iterator[str]:
    """The path in `folder` of every file; a link to a folder counts as a file, so that it is noticed."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(folder: Path, listed: object) -> list[str]:
    """Every listed file is there, inside and unchanged; and nothing else is there."""
    files = listed if isinstance(listed, dict) else {}
    reasons = [
        f"{folder / name}: is not listed in [files] of {MANIFEST}; remove it, or write the manifest again"
        for name in sorted(_files(folder))
        if name != MANIFEST and name not in files
    ]
    for name, digest in files.items():
        pure, path = PurePosixPath(name), folder / name
        if pure.is_absolute() or ".." in pure.parts or not path.resolve().is_relative_to(folder.resolve()):
            reasons.append(f"{folder / MANIFEST}: files.{name!r}: leads out of the bundle's folder; "
                           f"put the file into the folder")  # fmt: skip
        elif not path.is_file():
            reasons.append(f"{path}: is missing; copy the whole bundle again")
        elif isinstance(digest, str) and (found := _sha256(path)) != digest:
            reasons.append(f"{path}: was changed: its SHA-256 is {found}, the manifest says {digest}; "
                           f"copy the bundle again")  # fmt: skip
    return reasons


def _check_backend(values: Mapping[str, Any], path: Path) -> list[str]:
    backend = values.get("backend")
    if not isinstance(backend, str):
        return []
    if backend not in BACKENDS:
        return [f"{path}: backend: {backend!r} is unknown; this vlad has {', '.join(BACKENDS)}"]
    if "model" not in values and backend not in REMOTE:
        return [f"{path}: model: is missing; name the model's file"]
    if backend not in READS_JPEG:
        inputs = values.get("inputs")
        return [
            f"{path}: input {item.get('name')!r}: encode: models of the backend {backend} take pictures as "
            f"arrays, not as files; remove encode, and choose a smaller shape if the network is slow"
            for item in (inputs if isinstance(inputs, list) else [])
            if isinstance(item, dict) and "encode" in item
        ]
    return []


def _check_robot(values: Mapping[str, Any], path: Path, robot: Robot) -> list[str]:
    """The bundle was made for this robot: its type, its kind of command, its axes in their order."""
    reasons = []
    made_for = values.get("robot_type")
    if isinstance(made_for, str) and made_for != robot.type:
        reasons.append(f"{path}: robot_type: made for {made_for!r}, this robot is a {robot.type!r}; "
                       f"use a bundle for it, or correct `type` in the robot's limits file")  # fmt: skip
    output = _valid(TypeAdapter(Output), values.get("output"))
    if output is None:
        return reasons
    if output.kind != robot.command:
        reasons.append(f"{path}: output.kind: the policy gives {output.kind}, the robot takes "
                       f"{robot.command}; use a bundle that gives {robot.command}")  # fmt: skip
    if output.names != (axes := tuple(robot.axes)):
        reasons.append(f"{path}: output.names: {_difference(output.names, axes)}")
    return reasons


def _difference(names: tuple[str, ...], axes: tuple[str, ...]) -> str:
    """How the policy's names differ from the robot's axes."""
    unknown = [name for name in names if name not in axes]
    absent = [name for name in axes if name not in names]
    if not unknown and not absent:
        at = next(index for index, pair in enumerate(zip(names, axes, strict=True)) if pair[0] != pair[1])
        return (f"the order is not that of the robot's axes: number {at} is {names[at]!r}, the robot has "
                f"{axes[at]!r} there; put the axes of the limits file in the policy's order")  # fmt: skip
    parts = [f"not an axis of the robot: {', '.join(unknown)}"] if unknown else []
    parts += [f"axes that the policy does not command: {', '.join(absent)}"] if absent else []
    return "; ".join([*parts, "the policy's names must be the robot's axes"])


def _check_signal(item: SignalInput, path: Path, signals: Mapping[str, SignalSettings]) -> list[str]:
    """The signal that an input reads is configured and has a type that the input can be made from."""
    where, types = f"{path}: input {item.name!r}", _SIGNAL_TYPES[item.kind]
    if item.signal not in signals:
        return [f"{where}: no signal {item.signal!r} in the settings; add [signals.{item.signal}] "
                f"with type = \"{types[0]}\""]  # fmt: skip
    if (got := signals[item.signal].type) not in types:
        return [f"{where}: signal {item.signal!r} is a {got} in the settings; the policy needs "
                f"{' or '.join(types)}"]  # fmt: skip
    return []
