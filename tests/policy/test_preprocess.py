import math
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.bundles import image_input, instruction_input, laser_input, write_tokenizer
from vlad.messages import CompressedImage, Image, Instruction, JointState, LaserScan, Odometry, PointCloud
from vlad.policy.inputs import INPUT
from vlad.policy.pictures import resize_area
from vlad.policy.preprocess import ObservationError, make_reader
from vlad.policy.tokenizer import InstructionTokenizer, TokenizerError

CLOUD = PointCloud(("x",), np.zeros((1, 1), np.float32))
JOINTS = {"name": "s", "kind": "joint_state", "signal": "joints", "field": "position", "shape": [1, 3],
          "joints": ["a", "b", "c"], "mean": [1.0, 0.0, 0.0], "std": [2.0, 1.0, 1.0]}  # fmt: skip
VOXELS = {"name": "v", "kind": "point_cloud", "signal": "lidar", "shape": [1, 2, 3, 2], "low": [0, 0, -1],
          "high": [2, 3, 1]}  # fmt: skip
SPEEDS = {"name": "o", "kind": "odometry", "signal": "odometry", "fields": ["angular_z", "linear_x"],
          "shape": [1, 2], "mean": [0.0, 0.5], "std": [2.0, 0.5]}  # fmt: skip


def reader(spec, folder=None):
    return make_reader(INPUT.validate_python(spec), folder)


def floats(*values):
    return np.array(values, np.float32)


def picture(height, width, seed=0, grain=6):
    """Smooth, as the world is, and different in each channel."""
    shape = (height // grain + 2, width // grain + 2, 3)
    coarse = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


FRAMES = {size: picture(*size, grain=12) for size in [(480, 640), (720, 1280), (601, 799)]}


def expected(rgb, height, width):
    small = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
    return ((small.astype(np.float64) / 255 - 0.5) / 0.25).transpose(2, 0, 1)[None]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_a_picture_becomes_a_jpeg_file_which_is_the_larger_the_better_it_is(encoding):
    rgb, sizes = picture(96, 128, grain=32), []
    for quality in (30, 98):
        values = {"dtype": "uint8", "shape": [1, 48, 64, 3], "encode": "jpeg", "quality": quality}
        made = reader(image_input(**values, mean=[], std=[]))
        buffer = made.buffer
        made.read(Image(encoding, rgb if encoding == "rgb8" else rgb[:, :, ::-1]))
        assert made.buffer is buffer
        assert buffer.shape == (1,)
        sizes.append(len(buffer[0]))
    seen = cv2.imdecode(np.frombuffer(buffer[0], np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(seen.astype(int) - cv2.resize(rgb, (64, 48), interpolation=cv2.INTER_AREA)).mean() < 6
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_an_image_is_resized_turned_to_rgb_planes_and_normalised(encoding):
    rgb = picture(120, 160)
    made = reader(image_input(shape=[1, 3, 96, 128]))
    buffer = made.buffer
    made.read(Image(encoding, rgb if encoding == "rgb8" else rgb[:, :, ::-1]))
    assert made.buffer is buffer
    assert buffer.dtype == np.float32
    np.testing.assert_allclose(buffer, expected(rgb, 96, 128), atol=1e-5)


def test_an_image_of_the_right_size_is_not_resized_and_may_be_read_only():
    rgb = picture(6, 8)
    rgb.flags.writeable = False
    made = reader(image_input())
    made.read(Image("rgb8", rgb))
    np.testing.assert_allclose(made.buffer, expected(rgb, 6, 8), atol=1e-5)


def test_mono_fills_all_three_planes():
    grey = picture(12, 16)[:, :, 0].copy()
    made = reader(image_input())
    made.read(Image("mono8", grey))
    np.testing.assert_allclose(made.buffer, expected(np.dstack([grey] * 3), 6, 8), atol=1e-5)


@pytest.mark.parametrize("form", ["png", "jpeg"])
def test_compressed_images_come_out_in_the_same_colours(form):
    rgb = picture(48, 64)
    data = cv2.imencode(f".{form}", rgb[:, :, ::-1])[1].tobytes()
    made = reader(image_input(shape=[1, 3, 24, 32]))
    made.read(CompressedImage(form, memoryview(data)))
    np.testing.assert_allclose(made.buffer, expected(rgb, 24, 32), atol=1e-5 if form == "png" else 1)


@given(st.integers(4, 300), st.integers(4, 300), st.integers(4, 64), st.integers(4, 64))
def test_a_small_picture_is_resized_to_the_exact_mean_of_the_covered_area(height, width, high, wide):
    pixels = picture(height, width)
    exact = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(resize_area(pixels, (high, wide)), exact)


@settings(max_examples=25)
@given(st.sampled_from([(480, 640), (720, 1280), (601, 799)]), st.integers(48, 400), st.integers(48, 400))
def test_a_large_picture_is_resized_to_near_the_mean_of_the_covered_area(size, high, wide):
    pixels = FRAMES[size]
    exact = cv2.resize(pixels, (wide, high), interpolation=cv2.INTER_AREA).astype(int)
    got = resize_area(pixels, (high, wide))
    assert got.shape == (high, wide, 3)
    assert np.abs(got - exact).mean() < 3
    if (size[0] % high, size[1] % wide) == (0, 0):
        assert np.abs(got - exact).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("rows", "columns", "off"), [(3, 3, 0), (5, 5, 0), (5, 3, 0), (4, 4, 1), (10, 6, 1)])
def test_a_picture_some_whole_times_too_large_becomes_the_mean_of_each_block(rows, columns, off, channels):
    pixels = picture(480, 720)[:, :, :channels].squeeze()
    got = resize_area(pixels, (480 // rows, 720 // columns))
    blocks = pixels.reshape(480 // rows, rows, 720 // columns, columns, *pixels.shape[2:])
    mean = blocks.mean(axis=(1, 3))
    assert got.flags.c_contiguous
    assert np.abs(got - mean).max() <= 0.5 + off + 1e-6


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (CompressedImage("jpeg", memoryview(b"not a picture")), "cannot be decoded"),
        (CompressedImage("jpeg", memoryview(b"")), "cannot be decoded"),
        (Image("16UC1", np.zeros((4, 4), np.uint16)), "is not a picture"),
        (Image("rgb8", np.zeros((4, 4), np.uint8)), "must be uint8 of shape (height, width, 3)"),
        (Image("rgb8", np.zeros((4, 4, 4), np.uint8)), "(4, 4, 4)"),
        (Image("mono8", np.zeros((4, 4, 3), np.uint8)), "must be uint8 of shape (height, width)"),
        (Image("rgb8", np.zeros((4, 4, 3), np.float32)), "float32"),
        (CLOUD, "not an image but PointCloud"),
    ],
)
def test_what_is_no_picture_is_refused(data, part):
    with pytest.raises(ObservationError) as refused:
        reader(image_input()).read(data)
    assert str(refused.value).startswith("camera: ")
    assert part in str(refused.value)


def test_a_scan_is_cut_grouped_by_the_nearest_and_normalised():
    made = reader(laser_input())
    made.read(LaserScan(0, 1, 0, 8, floats(np.inf, 3.0, np.nan, np.inf, 7.0, 7.5, 0.0, 1.5)))
    np.testing.assert_allclose(made.buffer, [[0.0, 2.0, 2.0, -2.0]])


def test_a_scan_may_be_normalised_beam_by_beam():
    made = reader(laser_input(mean=[0, 1, 2, 3], std=[1, 1, 1, 2]))
    made.read(LaserScan(0, 1, 0, 8, floats(1, 1, 1, 1)))
    np.testing.assert_allclose(made.buffer, [[1, 0, -1, -1]])


def test_quantiles_become_minus_one_and_one():
    made = reader(laser_input(mean=[], std=[], q01=[1.0], q99=[5.0]))
    made.read(LaserScan(0, 1, 0, 8, floats(1, 5, 3, 2)))
    np.testing.assert_allclose(made.buffer, [[-1, 1, 0, -0.5]])


@given(beams=st.integers(4, 300), sectors=st.integers(1, 4), seed=st.integers(0, 9))
def test_sectors_share_the_beams_in_their_order_and_as_evenly_as_can_be(beams, sectors, seed):
    made = reader(laser_input(shape=[1, sectors], mean=[0.0], std=[1.0]))
    ranges = np.random.default_rng(seed).uniform(0, 8, beams).astype(np.float32)
    made.read(LaserScan(0, 1, 0, 8, ranges))
    ends = [-(-beams * number // sectors) for number in range(sectors + 1)]
    groups = [ranges[begin:end] for begin, end in pairwise(ends)]
    assert {len(group) for group in groups} <= {beams // sectors, -(-beams // sectors)}
    np.testing.assert_array_equal(made.buffer[0], [min(6.0, group.min()) for group in groups])


@given(beams=st.integers(1, 720), first=st.floats(-7, 7), clockwise=st.booleans(), at=st.floats(-3.1, 3.1))
def test_with_angles_a_wall_is_seen_in_the_same_sector_by_every_laser(beams, first, clockwise, at):
    made = reader(laser_input(shape=[1, 8], mean=[0.0], std=[1.0], angles=[-math.pi, math.pi]))
    step = (-1 if clockwise else 1) * 2 * math.pi / beams
    angles = (first + step * np.arange(beams) - at + math.pi) % (2 * math.pi) - math.pi
    beam = int(np.abs(angles).argmin())
    ranges = np.full(beams, 5.0, np.float32)
    ranges[beam] = 1.0
    made.read(LaserScan(first, step, 0, 8, ranges))
    turned = (first + step * beam + math.pi + 1e-6) % (2 * math.pi)
    assert made.buffer[0].argmin() == int(turned / (2 * math.pi) * 8)
    assert (made.buffer[0] < 5).sum() == 1


def test_a_sector_that_no_beam_looks_into_is_free_and_a_new_laser_is_noticed():
    made = reader(laser_input(shape=[1, 4], mean=[0.0], std=[1.0], angles=[-math.pi, math.pi]))
    made.read(LaserScan(0.1, 0.1, 0, 8, floats(1, 2, 3)))
    np.testing.assert_allclose(made.buffer, [[6, 6, 1, 6]])
    made.read(LaserScan(-0.3, 0.1, 0, 8, floats(1, 2, 3)))
    np.testing.assert_allclose(made.buffer, [[6, 1, 6, 6]])
    with pytest.raises(ObservationError, match="no beam is within the angles"):
        reader(laser_input(angles=[1.0, 2.0])).read(LaserScan(-0.3, 0.1, 0, 8, floats(1, 2, 3)))


@pytest.mark.parametrize("beams", [0, 2])
def test_fewer_beams_than_sectors_are_refused(beams):
    with pytest.raises(ObservationError, match=f"{beams} beams are too few for the 4 sectors"):
        reader(laser_input()).read(LaserScan(0, 1, 0, 8, np.ones(beams, np.float32)))


def test_points_fill_the_voxels_that_they_lie_in():
    made = reader(VOXELS)
    points = [[0, 0, 0, 9], [0.5, 2.9, -0.1, 9], [0.99, 0, 0.1, 9], [2, 0, 0, 9], [np.nan, 0, 0, 9]]
    made.read(PointCloud(("x", "y", "z", "intensity"), np.array(points, np.float32)))
    assert np.argwhere(made.buffer[0]).tolist() == [[0, 0, 1], [0, 2, 0]]
    made.read(PointCloud(("z", "y", "x"), floats(-0.1, 2.9, 0.5)[None]))
    assert np.argwhere(made.buffer[0]).tolist() == [[0, 2, 0]]
    made.read(PointCloud(("x", "y", "z"), np.zeros((0, 3), np.float32)))
    assert not made.buffer.any()


def test_a_cloud_without_a_coordinate_is_refused_by_its_name():
    with pytest.raises(ObservationError, match="has no field z"):
        reader(VOXELS).read(PointCloud(("x", "y"), np.zeros((1, 2), np.float32)))


def test_a_history_has_the_oldest_first_and_begins_with_the_first_again_and_again():
    made = reader(JOINTS | {"shape": [1, 3, 3], "mean": [0] * 3, "std": [1] * 3})
    seen = []
    for value in (1, 2, 3, 4):
        made.read(JointState(("a", "b", "c"), position=floats(value, 0, 0)))
        seen.append(made.buffer[0, :, 0].tolist())
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    with pytest.raises(ObservationError):
        made.read(JointState(("a", "b", "c"), position=floats(np.nan, 0, 0)))
    assert made.buffer[0, :, 0].tolist() == [2, 3, 4]
    made.forget()
    made.read(JointState(("a", "b", "c"), position=floats(9, 0, 0)))
    assert made.buffer[0, :, 0].tolist() == [9, 9, 9]


def test_pictures_may_have_a_history_too():
    made = reader(image_input(shape=[1, 2, 3, 6, 8]))
    for level in (0, 255):
        made.read(Image("mono8", np.full((6, 8), level, np.uint8)))
    np.testing.assert_allclose(made.buffer[0, :, :, 0, 0], [[-2] * 3, [2] * 3], rtol=1e-6)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_a_uint8_picture_stays_as_it_is_in_rgb(encoding):
    rgb = picture(6, 8)
    made = reader(image_input(dtype="uint8", shape=[1, 6, 8, 3], mean=[], std=[]))
    made.read(Image(encoding, rgb if encoding == "rgb8" else rgb[:, :, ::-1]))
    assert made.buffer.dtype == np.uint8
    np.testing.assert_array_equal(made.buffer[0], rgb)
    made.read(Image("mono8", rgb[:, :, 0]))
    np.testing.assert_array_equal(made.buffer[0], rgb[:, :, [0, 0, 0]])


def test_a_picture_is_padded_with_black_to_keep_its_ratio_whatever_came_before():
    made = reader(image_input(shape=[1, 3, 8, 8], fit="pad"))
    for height, width, filled in ((8, 8, (8, 8)), (4, 8, (4, 8)), (8, 2, (8, 2)), (30, 60, (4, 8))):
        made.read(Image("rgb8", np.full((height, width, 3), 255, np.uint8)))
        rows, columns = (8 - filled[0]) // 2, (8 - filled[1]) // 2
        wanted = np.full((8, 8), -2.0)
        wanted[rows : 8 - rows, columns : 8 - columns] = 2.0
        np.testing.assert_allclose(made.buffer[0], [wanted] * 3, rtol=1e-6)


def test_a_picture_is_cut_to_its_middle_to_keep_its_ratio():
    made = reader(image_input(shape=[1, 2, 2, 3], dtype="uint8", mean=[], std=[], fit="cut"))
    wide = np.zeros((2, 6, 3), np.uint8)
    wide[:, 2:4] = 200
    made.read(Image("rgb8", wide))
    assert (made.buffer == 200).all()
    made.read(Image("rgb8", wide.transpose(1, 0, 2)))
    assert (made.buffer == 200).all()


def test_the_crop_is_a_part_of_the_picture_whatever_its_size():
    made = reader(image_input(shape=[1, 2, 2, 3], dtype="uint8", mean=[], std=[], crop=[0.5, 0, 1, 0.5]))
    for scale in (1, 3):
        pixels = np.zeros((4 * scale, 8 * scale, 3), np.uint8)
        pixels[: 2 * scale, 4 * scale :] = 100
        made.read(Image("rgb8", pixels))
        assert (made.buffer == 100).all()


def test_the_instruction_may_be_the_text_itself():
    made = reader({"name": "prompt", "kind": "instruction", "signal": "instruction"})
    made.read(Instruction(" pick the bottle "))
    assert made.buffer.tolist() == ["pick the bottle"]


def odometry(linear, angular):
    return Odometry("base_link", (0, 0, 0), (0, 0, 0, 1), linear, angular)


def test_odometry_gives_the_named_components():
    made = reader(SPEEDS)
    made.read(odometry((1.0, 9, 9), (9, 9, -4.0)))
    np.testing.assert_allclose(made.buffer, [[-2.0, 1.0]])


def test_odometry_that_is_not_finite_is_refused_by_name():
    with pytest.raises(ObservationError, match="odometry: not a finite number for linear_x"):
        reader(SPEEDS).read(odometry((float("nan"), 0, 0), (0, 0, 0)))


@given(st.permutations(["a", "b", "c", "extra"]))
def test_joints_are_put_in_the_order_of_the_bundle(names):
    values = {"a": 3.0, "b": 4.0, "c": 5.0, "extra": 6.0}
    made = reader(JOINTS)
    for _ in range(2):
        made.read(JointState(tuple(names), position=floats(*(values[name] for name in names))))
        np.testing.assert_allclose(made.buffer, [[1.0, 4.0, 5.0]])


def test_a_driver_that_changes_its_order_is_followed():
    made = reader(JOINTS)
    made.read(JointState(("a", "b", "c"), position=floats(3, 4, 5)))
    made.read(JointState(("c", "b", "a"), position=floats(5, 4, 3)))
    np.testing.assert_allclose(made.buffer, [[1.0, 4.0, 5.0]])


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (JointState(("a", "b"), position=floats(1, 2)), "does not send c"),
        (JointState(("a", "b", "c", "a"), position=floats(1, 2, 3, 4)), "names a more than once"),
        (JointState(("a", "b", "c"), velocity=floats(1, 2, 3)), "has no position"),
        (JointState(("a", "b", "c"), position=floats(1, 2)), "3 names, but 2 values"),
        (JointState(("a", "b", "c"), position=floats(1, np.nan, np.inf)), "not a finite number for b, c"),
        (CLOUD, "not a joint state"),
    ],
)
def test_joint_states_that_do_not_fit_are_refused(data, part):
    made = reader(JOINTS)
    for _ in range(2):
        with pytest.raises(ObservationError, match=part):
            made.read(data)


@pytest.mark.parametrize("spec", [laser_input(), SPEEDS])
def test_another_type_of_sample_is_refused(spec):
    with pytest.raises(ObservationError, match="but PointCloud"):
        reader(spec).read(CLOUD)


def test_instructions_are_lower_cased_padded_and_cut(tmp_path):
    write_tokenizer(tmp_path / "tokenizer.json")
    made = reader(instruction_input(), tmp_path)
    made.read(Instruction(" GO to\n"))
    assert made.buffer.tolist() == [[1, 2, 0, 0, 0]]
    assert made.buffer.dtype == np.int64
    made.read(Instruction("go to the purple ball ball ball"))
    assert made.buffer.tolist() == [[1, 2, 3, 6, 5]]


@pytest.mark.parametrize("data", [Instruction("  "), CLOUD])
def test_no_instruction_is_refused(tmp_path, data):
    write_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(ObservationError, match="there is no instruction"):
        reader(instruction_input(), tmp_path).read(data)


def test_the_last_instructions_are_remembered(tmp_path):
    write_tokenizer(tmp_path / "tokenizer.json")
    tokenizer = InstructionTokenizer(tmp_path / "tokenizer.json", 5)
    assert tokenizer.encode("go") is tokenizer.encode("go")
    for number in range(100):
        tokenizer.encode(f"go {number}")
    assert tokenizer.encode("go").tolist() == [1, 0, 0, 0, 0]


def test_padding_and_truncation_of_the_file_itself_are_not_used(tmp_path):
    write_tokenizer(tmp_path / "tokenizer.json")
    library = pytest.importorskip("tokenizers").Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    library.enable_padding(length=9, pad_id=6)
    library.enable_truncation(1)
    library.save(str(tmp_path / "tokenizer.json"))
    assert InstructionTokenizer(tmp_path / "tokenizer.json", 4).encode("go to").tolist() == [1, 2, 0, 0]


def test_a_tokenizer_that_is_none_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a file"):
        InstructionTokenizer(tmp_path / "tokenizer.json", 4)
