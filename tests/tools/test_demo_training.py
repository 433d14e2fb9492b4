"""What the demo policy learns from, and what it sees when the daemon runs it, are the same."""

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tools.sim.world import ROBOT_RADIUS_M, World  # noqa: E402
from tools.training import demo_data  # noqa: E402
from tools.training.demo_batch import ASKED, FrameStore  # noqa: E402
from tools.training.demo_data import Episode, due, reduce_scan, shrink  # noqa: E402
from tools.training.demo_frames import SLOTS, join  # noqa: E402
from tools.training.demo_model import (  # noqa: E402
    IMAGE_HEIGHT,
    IMAGE_MEAN,
    IMAGE_STD,
    IMAGE_WIDTH,
    MAP_HEIGHT,
    MAP_WIDTH,
    PREFIX_ROWS,
    SCAN_BEAMS,
    SCAN_MEAN_M,
    SCAN_STD_M,
    DemoNet,
)
from tools.training.demo_restore import example, restore, with_prefix  # noqa: E402
from tools.training.expert import HORIZON  # noqa: E402
from tools.training.instructions import LENGTH, NAMES, UNKNOWN, make_tokenizer, tokens, wordings  # noqa: E402
from vlad.messages import Image, LaserScan  # noqa: E402
from vlad.policy.inputs import ImageInput, LaserInput  # noqa: E402
from vlad.policy.preprocess import make_reader  # noqa: E402

PUBLISHED = Path(__file__).resolve().parents[2] / "tools/models/demo/1/model.onnx"


@pytest.fixture(scope="module")
def frames():
    return join([Episode(seed, None).run() for seed in (1, 2)])


def test_the_daemon_makes_the_same_picture_and_scan(tmp_path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    ranges = rng.uniform(0.1, 9.0, 360).astype(np.float32)
    shape = (1, 3, IMAGE_HEIGHT, IMAGE_WIDTH)
    picture = make_reader(
        ImageInput(
            name="image",
            kind="image",
            signal="camera",
            shape=shape,
            mean=(IMAGE_MEAN,) * 3,
            std=(IMAGE_STD,) * 3,
        ),
        tmp_path,
    )
    picture.read(Image("rgb8", pixels))
    mine = (shrink(pixels).transpose(2, 0, 1) / 255.0 - IMAGE_MEAN) / IMAGE_STD
    assert picture.buffer[0] == pytest.approx(mine, abs=1e-4)
    scan = make_reader(
        LaserInput(
            name="scan", kind="laser_scan", signal="laser", shape=(1, SCAN_BEAMS),
            range_max_m=demo_data.SCAN_RANGE_M,
            mean=(SCAN_MEAN_M,), std=(SCAN_STD_M,),
        ),
        tmp_path,
    )  # fmt: skip
    scan.read(LaserScan(-np.pi, np.pi / 180, 0.05, 8.0, ranges))
    assert scan.buffer[0] == pytest.approx((reduce_scan(ranges) - SCAN_MEAN_M) / SCAN_STD_M, abs=1e-4)


def test_a_step_is_due_at_the_end_of_its_time() -> None:
    chunk = np.stack([np.arange(HORIZON), np.zeros(HORIZON)], axis=1).astype(np.float32)
    assert due(chunk, 0.1) == (0.0, 0.0)
    assert due(chunk, 0.25)[0] == pytest.approx(1.5)
    assert due(chunk, 9.0)[0] == HORIZON - 1


def test_the_same_world_gives_the_same_frames(frames) -> None:
    again = Episode(1, None).run()
    count = len(again)
    assert np.array_equal(again.images, frames.images[:count])
    assert np.array_equal(again.chunks, frames.chunks[:count])


def test_a_target_out_of_view_and_an_absent_one_are_searched_by_turning(frames) -> None:
    unseen = frames.cells[:, 0] == MAP_HEIGHT * MAP_WIDTH
    assert unseen.any()
    assert np.array_equal(frames.chunks[unseen, 0], frames.chunks[unseen, SLOTS])
    assert np.abs(frames.chunks[:, SLOTS, -1, 0]).max() < 0.01
    assert np.abs(frames.chunks[:, SLOTS, -1, 1]) == pytest.approx(1.0, abs=0.01)


def test_the_expert_turns_towards_where_a_seen_target_is_marked(frames) -> None:
    seen = frames.cells[:, 0] < MAP_HEIGHT * MAP_WIDTH
    columns, turns = frames.cells[seen, 0] % MAP_WIDTH, frames.chunks[seen, 0, 4, 1].astype(float)
    assert np.corrcoef(columns, turns)[0, 1] < -0.5


def test_following_a_chunk_into_a_wall_is_a_collision() -> None:
    world = World(0, 4.0, 4.0, (), (), (0.0, 0.0, 0.0), 0.5, 0.7, 0.0)
    ahead = np.zeros((2, HORIZON, 2), np.float32)
    ahead[0, :, 0] = 0.8
    poses = np.array([[2.0 - ROBOT_RADIUS_M - 0.5, 0.0, 0.0]] * 2)
    assert demo_data._collides(world, poses, ahead).tolist() == [True, False]


def test_a_batch_asks_for_different_targets_of_the_same_frame(frames) -> None:
    tokenizer = make_tokenizer()
    store = FrameStore(1000, tokenizer, seed=0)
    store.add(frames)
    batch = store.batch(32)
    assert batch.image.shape == (32, 3, IMAGE_HEIGHT, IMAGE_WIDTH)
    assert batch.tokens.shape == (32, ASKED, LENGTH)
    assert batch.actions.shape == (32 * ASKED, HORIZON, 2)
    names = store._absent(frames.names)
    assert not (frames.names == names[:, None]).any()


def test_every_wording_fits_and_no_word_of_it_is_unknown() -> None:
    tokenizer = make_tokenizer()
    for name in NAMES:
        for text in wordings(name):
            ids = tokens(tokenizer, text.upper())
            assert UNKNOWN not in ids
            assert len(text.split()) <= LENGTH
    assert UNKNOWN in tokens(tokenizer, "go to the purple elephant")


def test_one_pass_answers_each_instruction_as_if_it_were_asked_alone(frames) -> None:
    torch.manual_seed(0)
    tokenizer = make_tokenizer()
    net = DemoNet(tokenizer.get_vocab_size()).eval()
    store = FrameStore(1000, tokenizer, seed=0)
    store.add(frames)
    batch = store.batch(4)
    with torch.inference_mode():
        together = net.policy(batch.image, batch.scan, batch.odometry, batch.tokens).actions
        alone, collision = net(batch.image[2:3], batch.scan[2:3], batch.odometry[2:3], batch.tokens[2:3, 1])
    assert together[2 * ASKED + 1].numpy() == pytest.approx(alone[0].numpy(), abs=1e-4)
    assert 0.0 <= collision.item() <= 1.0


# a policy that takes a prefix ---------------------------------------------------------------------------


def test_a_label_begins_with_what_was_done_and_goes_on_with_the_expert_s_plan_from_there() -> None:
    plain, given = Episode(2, None).run(), Episode(2, None, PREFIX_ROWS).run()
    assert np.array_equal(plain.images, given.images)
    assert set(given.committed) == set(range(PREFIX_ROWS + 1))
    compared = 0
    for frame, committed in enumerate(given.committed.tolist()):
        labels, there = given.chunks[frame], frame + committed
        assert (labels[:, :committed] == labels[0, :committed]).all() or committed == 0
        for slot in range(SLOTS):
            if (plain.cells[frame, slot] < MAP_HEIGHT * MAP_WIDTH) == (
                plain.cells[there, slot] < MAP_HEIGHT * MAP_WIDTH
            ):
                expected = plain.chunks[there, slot, : HORIZON - committed]
                assert np.array_equal(labels[slot, committed:], expected)
                compared += bool(committed)
    assert compared > 100


def test_what_was_done_is_what_the_robot_then_did() -> None:
    given = Episode(2, None, PREFIX_ROWS).run()
    long = np.flatnonzero(given.committed == PREFIX_ROWS)
    done = given.chunks[long, SLOTS, PREFIX_ROWS - 1].astype(float)
    assert np.corrcoef(done[:, 1], given.twists[long + PREFIX_ROWS, 1])[0, 1] > 0.95


def test_a_late_policy_is_given_what_is_followed_until_its_answer_comes() -> None:
    asked = []

    def drive(image, scan, twist, name, ahead):
        chunk = np.full((HORIZON, 2), 0.01 * len(asked), np.float32)
        chunk[: len(ahead)] = ahead
        asked.append((ahead.copy(), chunk))
        return chunk

    episode = next(
        one for one in (Episode(seed, drive, PREFIX_ROWS) for seed in range(2, 99)) if one._late > 2
    )
    episode.run()
    assert len(asked) > episode._late
    for (_, before), (ahead, _) in itertools.pairwise(asked):
        assert np.array_equal(ahead, before[1 : 1 + episode._late])


def test_a_network_that_takes_a_prefix_repeats_it_and_knows_nothing_of_the_other_rows() -> None:
    plain, net = restore(PUBLISHED), with_prefix(PUBLISHED, PREFIX_ROWS).eval()
    inputs = [torch.from_numpy(array) for array in example(PUBLISHED).values()]
    prefix = torch.randn(1, PREFIX_ROWS, 2)
    with torch.inference_mode():
        torch.nn.init.normal_(net.act[0].weight, std=0.1)
        free, _ = net(*inputs, prefix, torch.tensor([0]))
        kept, _ = net(*inputs, prefix, torch.tensor([3]))
        changed = torch.cat([prefix[:, :3], torch.randn(1, PREFIX_ROWS - 3, 2)], dim=1)
        again, _ = net(*inputs, changed, torch.tensor([3]))
        first = with_prefix(PUBLISHED, PREFIX_ROWS).eval()(*inputs, prefix, torch.tensor([0]))[0]
        # Matrices of another width are multiplied in another order on some processors.
        torch.testing.assert_close(first, plain(*inputs)[0])
    assert torch.equal(kept[:, :3], prefix[:, :3])
    assert torch.equal(kept, again)
    assert not torch.equal(kept[:, 3:], free[:, 3:])
