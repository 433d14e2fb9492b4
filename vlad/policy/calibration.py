"""What was calibrated for a bundle, as `tools/calibrate` wrote it: how much doubt is usual in its recordings.

One file a bundle, calibration/NAME/VERSION.toml in the state folder. It holds for the bundle with that very
manifest, and so with those very files, and for no other.
"""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vlad.files import write_durably
from vlad.policy.bundle import MANIFEST, Bundle, BundleRefused
from vlad.policy.toml import write_toml

_AGAIN = "run `tools/calibrate` for this bundle again, or remove the file to run it without"

Level = Annotated[float, Field(gt=0, lt=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Limits(_Table):
    """The largest values of a measure at which the robot is not slowed down, and not stopped."""

    slow: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    stop: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _in_order(self) -> Limits:
        if self.stop < self.slow:
            raise ValueError(f"stop, {self.stop:g}, is below slow, {self.slow:g}")
        return self


class Calibration(_Table):
    """The limits of each measure, and what they promise.

    An episode like the `episodes` that they were taken from has a chunk over any limit `slow` with a
    probability of at most `alpha_slow`, and over any limit `stop` of at most `alpha_stop`.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    bundle: str
    manifest_sha256: str
    episodes: Annotated[int, Field(ge=1)]
    rate_hz: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    """Inferences a second in these episodes."""
    alpha_slow: Level
    alpha_stop: Level
    measures: dict[str, Limits]

    def limits(self) -> dict[str, tuple[float, float]]:
        """Of each measure the limits for slowing down and for stopping."""
        return {name: (limits.slow, limits.stop) for name, limits in self.measures.items()}


def calibration_path(state_dir: Path, bundle: Bundle) -> Path:
    """Where the calibration of a bundle lies, if it has one."""
    return state_dir / "calibration" / bundle.name / f"{bundle.version}.toml"


def manifest_sha256(bundle: Bundle) -> str:
    """What a bundle is known by: its manifest has the hashes of all other files."""
    return hashlib.sha256((bundle.folder / MANIFEST).read_bytes()).hexdigest()


def read_calibration(state_dir: Path, bundle: Bundle) -> Calibration | None:
    """What was calibrated for this bundle; None: nothing. BundleRefused where that is for another one."""
    path = calibration_path(state_dir, bundle)
    try:
        calibration = Calibration.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BundleRefused([f"{path}: cannot be read ({error}); {_AGAIN}"]) from None
    except ValidationError as error:
        mistakes = ", ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()
        )
        raise BundleRefused([f"{path}: is no calibration ({mistakes}); {_AGAIN}"]) from None
    if calibration.manifest_sha256 != (found := manifest_sha256(bundle)):
        raise BundleRefused([
            f"{path}: was made for another bundle, whose {MANIFEST} has the SHA-256 "
            f"{calibration.manifest_sha256:.12}; that of {bundle.folder} has {found:.12}; {_AGAIN}"
        ])  # fmt: skip
    return calibration


def write_calibration(state_dir: Path, bundle: Bundle, calibration: Calibration) -> Path:
    """Write the file, whole or not at all; OSError where the disk does not take it."""
    path = calibration_path(state_dir, bundle)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, write_toml(calibration.model_dump(by_alias=True)))
    return path
