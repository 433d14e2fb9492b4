"""What the sensors say in some seconds, from the daemon's feed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

from vlad.clock import NS_PER_S, Clock
from vlad.feed import FeedReader
from vlad.maintenance.sensors.camera import grey
from vlad.messages import CompressedImage, Image, Sample

_PICTURES = 10
"""So many of each camera are enough: megabytes each."""
_BEGIN_S = 3.0
_WAIT_S = 0.1


def listen(
    run_dir: Path,
    topics: Collection[str],
    seconds: float,
    clock: Clock,
    progress: Callable[[float, str], None],
) -> dict[str, list[Any]]:
    """The data of each topic in the order of its arrival, photographs as arrays of grey.

    The time counts from the first message on. Where nothing comes within 3 s the lists stay empty.
    """
    heard: dict[str, list[Any]] = {topic: [] for topic in topics}
    reader = FeedReader(run_dir, ["feed", *(f"sensor/{topic}" for topic in topics)])
    try:
        begin_ns, end_ns = clock.now_ns(), clock.now_ns() + round(_BEGIN_S * NS_PER_S)
        while (now_ns := clock.now_ns()) < end_ns:
            if not reader.wait(_WAIT_S):
                continue
            if not any(heard.values()):
                begin_ns, end_ns = now_ns, now_ns + round(seconds * NS_PER_S)
            for item in reader.read():
                if isinstance(item, Sample) and item.topic in heard:
                    _keep(heard[item.topic], item)
            progress(0.9 * (now_ns - begin_ns) / (end_ns - begin_ns), "listening to the sensors")
    finally:
        reader.close()
    return heard


def _keep(data: list[Any], sample: Sample) -> None:
    """Of what is no photograph one is kept as it came, to be told of, until there is one."""
    if not isinstance(sample.data, Image | CompressedImage):
        data.append(sample.data)
    elif len(data) < _PICTURES:
        picture = grey(sample.data)
        if picture is None and not data:
            data.append(sample.data)
        elif picture is not None:
            data[:] = [*(kept for kept in data if isinstance(kept, np.ndarray)), picture]
