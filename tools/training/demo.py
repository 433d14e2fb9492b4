"""Train the demo policy and write its bundle: `tools/train_demo`.

One process trains while another collects: first the expert's episodes, then episodes that the newest policy
drives and the expert labels. The learning rate follows the clock, so that `--minutes` is kept on any machine.

With `--prefix` the published policy is taught, in the same way, to go on from what will be done until its
answer is there: real-time chunking.
"""

from __future__ import annotations

import argparse
import io
import math
import multiprocessing
import time
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor
from torch.nn import functional

from tools.sim.world import ROBOT_RADIUS_M
from tools.training.demo_batch import ASKED, Batch, FrameStore
from tools.training.demo_bundle import write_bundle
from tools.training.demo_data import Driver, Episode
from tools.training.demo_frames import Frames, Tally, join
from tools.training.demo_model import (
    ACTION_MEAN,
    ACTION_STD,
    IMAGE_MEAN,
    IMAGE_STD,
    PREFIX_ROWS,
    SCAN_MEAN_M,
    SCAN_STD_M,
    TWIST_STD,
    DemoNet,
)
from tools.training.demo_restore import with_prefix
from tools.training.expert import HORIZON
from tools.training.instructions import make_tokenizer, tokens

SEED = 7
BATCH = 64
LEARNING_RATE = 2e-3
FURTHER_RATE = 7e-4  # of a network that was trained before
LOSS_WEIGHTS = {"action": 1.0, "clearance": 2.0, "where": 0.1, "distance": 0.1, "collision": 0.2}
CLEARANCE_M = ROBOT_RADIUS_M + 0.08  # a chunk's way shall keep this from what the scan shows
WARM_UP = 0.02  # of the time
AVERAGE_SHARE = 0.002  # of the newest weights in the averaged ones, each step
EXPERT_FRAMES_A_MINUTE = 450  # of the time given
FRAMES_A_MINUTE = 3_200
EPISODES_A_JOB = 8
POLICY_FROM = 0.08  # of the time: from here on the policy drives most episodes
COLLECT_UNTIL = 0.85
REPORT_S = 20.0
MODELS = Path(__file__).resolve().parents[1] / "models"
PUBLISHED = MODELS / "demo" / "1" / "model.onnx"

_STEP_WEIGHT = torch.linspace(1.5, 0.5, HORIZON)[:, None]


def main() -> None:
    """Parse the arguments, train, write the bundle."""
    parser = argparse.ArgumentParser(prog="tools/train_demo", description="Train the demo policy on the CPU.")
    parser.add_argument("--minutes", type=float, default=32.0, help="time to take (default: %(default)s)")
    parser.add_argument("--prefix", action="store_true", help="teach the published policy to take a prefix")
    parser.add_argument("--output", type=Path, help="the bundle's folder, else that of the published one")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    trainer = Trainer(arguments.minutes * 60.0, PREFIX_ROWS if arguments.prefix else 0)
    trainer.run()
    output = arguments.output or MODELS / ("demo-rtc" if arguments.prefix else "demo") / "1"
    write_bundle(output, trainer.policy(), trainer.tokenizer, trainer.provenance())


class Trainer:
    """The network, the frames collected so far, and the process that collects more."""

    def __init__(self, seconds: float, prefix_rows: int = 0) -> None:
        self._prefix_rows = prefix_rows
        self.tokenizer = make_tokenizer()
        self._seconds = seconds
        self._expert_frames = int(EXPERT_FRAMES_A_MINUTE * seconds / 60.0)
        self._capacity = int(FRAMES_A_MINUTE * seconds / 60.0)
        self._store = FrameStore(self._capacity, self.tokenizer, SEED)
        self._net = with_prefix(PUBLISHED, prefix_rows) if prefix_rows else self._new_net()
        self._rate = FURTHER_RATE if prefix_rows else LEARNING_RATE
        self._net.eye.requires_grad_(not prefix_rows)  # it sees well already, and takes most of the time
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
        self._mean = {name: value.clone() for name, value in self._net.state_dict().items()}
        self._optimizer = torch.optim.AdamW(self._net.parameters(), self._rate, weight_decay=1e-3)
        self._steps = 0
        self._episodes = 0
        self._loss: dict[str, float] = {}
        self._tally = Tally()

    def policy(self) -> DemoNet:
        """The averaged network, ready to drive."""
        net = self._new_net()
        net.load_state_dict(self._mean)
        return net.eval()

    def _new_net(self) -> DemoNet:
        return DemoNet(self.tokenizer.get_vocab_size(), self._prefix_rows)

    def provenance(self) -> dict[str, Any]:
        """What the bundle's manifest tells about the training."""
        return {
            "data": "simulated rover: episodes of a scripted expert, then of the policy (DAgger)",
            "code": "tools/train_demo" + (" --prefix" if self._prefix_rows else ""),
            "seed": SEED,
            "worlds": f"seeds 0 to {self._episodes - 1}",
            "frames": len(self._store),
            "steps": self._steps,
            "minutes": round(self._seconds / 60.0, 1),
        } | {f"loss_{name}": round(value, 4) for name, value in self._loss.items()}

    def run(self) -> None:
        """Collect and train until the time is up."""
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(2, mp_context=spawn) as pool, Progress(*columns) as progress:
            bar = progress.add_task("expert's episodes", total=1.0)
            begun = told = time.monotonic()
            jobs = [self._submit(pool, 0.0) for _ in range(2)]
            while (done := (time.monotonic() - begun) / self._seconds) < 1.0:
                jobs = self._gather(pool, jobs, done)
                if len(self._store) >= self._expert_frames:
                    self._step(done)
                    progress.update(bar, description="training")
                else:
                    time.sleep(0.1)
                progress.update(bar, completed=done)
                if time.monotonic() - told > REPORT_S:
                    told = time.monotonic()
                    progress.console.print(self._now())

    def _submit(self, pool: ProcessPoolExecutor, done: float) -> Future[tuple[Frames, Tally]]:
        weights = None
        if done > POLICY_FROM:
            memory = io.BytesIO()
            torch.save(self._mean, memory)
            weights = memory.getvalue()
        first, self._episodes = self._episodes, self._episodes + EPISODES_A_JOB
        return pool.submit(collect, first, EPISODES_A_JOB, weights, self._prefix_rows)

    def _gather(
        self, pool: ProcessPoolExecutor, jobs: list[Future[tuple[Frames, Tally]]], done: float
    ) -> list[Future[tuple[Frames, Tally]]]:
        """Take what has been collected; keep two processes at it at first, then one, evenly over the time."""
        for job in [job for job in jobs if job.done()]:
            jobs.remove(job)
            frames, tally = job.result()
            self._store.add(frames)
            if done > POLICY_FROM:
                self._tally = tally
        expert = self._expert_frames
        planned = expert + (self._capacity - expert) * min(done / COLLECT_UNTIL, 1.0)
        processes = 2 if len(self._store) < expert else 1
        while len(jobs) < processes and len(self._store) < min(planned, self._capacity - 1):
            jobs.append(self._submit(pool, done))
        return jobs

    def _step(self, done: float) -> None:
        rate = self._rate * min(done / WARM_UP, 0.5 * (1.0 + math.cos(math.pi * done)), 1.0)
        for group in self._optimizer.param_groups:
            group["lr"] = max(rate, 1e-5)
        losses = self._losses(self._store.batch(BATCH))
        self._optimizer.zero_grad(set_to_none=True)
        total = torch.stack([LOSS_WEIGHTS[name] * loss for name, loss in losses.items()]).sum()
        torch.autograd.backward(total)
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 1.0)
        self._optimizer.step()
        self._steps += 1
        self._average()
        for name, loss in losses.items():
            self._loss[name] = 0.99 * self._loss.get(name, loss.item()) + 0.01 * loss.item()

    def _average(self) -> None:
        """Move the averaged weights towards the newest; theirs is the policy that drives."""
        share = max(AVERAGE_SHARE, 10.0 / (10.0 + self._steps))
        for name, value in self._net.state_dict().items():
            if value.is_floating_point():
                self._mean[name].lerp_(value, share)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        self._net.train()
        if self._prefix_rows:
            self._net.eye.eval()
        with torch.autocast("cpu", torch.bfloat16):
            image = batch.image.to(memory_format=torch.channels_last)
            output = self._net.policy(
                image, batch.scan, batch.odometry, batch.tokens, batch.prefix, batch.committed
            )
        error = functional.smooth_l1_loss(output.actions.float(), batch.actions, beta=0.1, reduction="none")
        seen = batch.cells < batch.cells.new_tensor(output.where.shape[1] - 1)
        distance = functional.smooth_l1_loss(output.distance.float(), batch.distances, reduction="none")
        clearance = self._net.clearance(output.actions.float(), batch.scan.repeat_interleave(ASKED, 0))
        count = batch.candidates.shape[1]
        risk = self._net.collision(
            batch.candidates.flatten(0, 1),
            batch.scan.repeat_interleave(count, 0),
            batch.odometry.repeat_interleave(count, 0),
        )
        return {
            "action": (error * _STEP_WEIGHT).mean(),
            "clearance": functional.relu(CLEARANCE_M - clearance).mean(),
            "where": functional.nll_loss(output.where.float(), batch.cells),
            "distance": (distance * seen).mean(),
            "collision": functional.binary_cross_entropy_with_logits(risk[:, 0], batch.collides.flatten()),
        }

    def _now(self) -> str:
        losses = " ".join(f"{name} {value:.3f}" for name, value in self._loss.items())
        tally = self._tally
        return (
            f"step {self._steps} frames {len(self._store)} {losses} | "
            f"last episodes: {tally.reached} reached, {tally.given_up} not, {tally.collided} collided"
        )


def collect(first: int, count: int, weights: bytes | None, prefix_rows: int) -> tuple[Frames, Tally]:
    """Episodes in `count` worlds, one of four driven by the expert; without `weights` all of them."""
    torch.set_num_threads(1)
    driver = _policy_driver(weights, prefix_rows) if weights else None
    parts, tally = [], Tally()
    for seed in range(first, first + count):
        episode = Episode(seed, None if seed % 4 == 0 else driver, prefix_rows)
        parts.append(episode.run())
        if driver and seed % 4:
            tally.add(episode.tally)
    return join(parts), tally


def _policy_driver(weights: bytes, prefix_rows: int) -> Driver:
    tokenizer = make_tokenizer()
    net = DemoNet(tokenizer.get_vocab_size(), prefix_rows)
    net.load_state_dict(torch.load(io.BytesIO(weights)))
    net.eval()

    scale, mean = torch.tensor(ACTION_STD), torch.tensor(ACTION_MEAN)

    def drive(
        image: NDArray[np.uint8],
        scan: NDArray[np.float32],
        twist: tuple[float, float],
        name: str,
        ahead: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        prefix = torch.zeros(1, prefix_rows, 2)
        prefix[0, : len(ahead)] = (torch.from_numpy(ahead) - mean) / scale
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255.0
        words = torch.from_numpy(tokens(tokenizer, f"go to the {name}"))[None]
        with torch.inference_mode():
            actions, _ = net(
                (pixels - IMAGE_MEAN) / IMAGE_STD,
                torch.from_numpy((scan - SCAN_MEAN_M) / SCAN_STD_M)[None],
                torch.tensor([twist]) / torch.tensor(TWIST_STD),
                words,
                prefix,
                torch.tensor([len(ahead)]),
            )
        return np.asarray(actions[0] * scale + mean)

    return drive


if __name__ == "__main__":
    main()
