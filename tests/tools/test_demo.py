"""The demo: the referee's judgement, the pictures and the summary; and `tools/demo` itself, for real."""

import io
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tools.demonstration.dashboard import Dashboard, plan
from tools.demonstration.output import Lines
from tools.demonstration.pictures import SceneMap, half_blocks
from tools.demonstration.processes import Process, ProcessDiedError
from tools.demonstration.referee import FIRST_SEED, Judge, NewWorld, Referee, Tell, Truth, named_object
from tools.demonstration.summary import Measured, in_words, stop_reason, summarize
from tools.demonstration.svg import to_svg
from tools.demonstration.view import View
from tools.sim.world import make_world

ROOT = Path(__file__).parents[2]
FAULT = {
    "id": "obstacle_ahead",
    "subject": "laser",
    "level": "CAUTION",
    "reaction": "report",
    "detail": "0.42 m free",
    "hint": "Clear the way, or give another instruction.",
    "since_s": 1.0,
}
STATUS = {
    "mode": "active",
    "level": "CAUTION",
    "task": "go to the red ball",
    "faults": [FAULT],
    "tick": {
        "hz": 100, "count": 1234, "missed": 0, "late_1ms": 3, "late_5ms": 1,
        "late_p50_ms": 0.03, "late_p99_ms": 0.11,
    },
    "commands": {"values": [0.35, -0.6], "sent": 1300},
    "policy": {
        "bundle": "demo", "version": "1", "rate_hz": 10.0, "latency_p50_ms": 4.8, "latency_p99_ms": 6.2,
        "age_p50_ms": 41.0, "age_p99_ms": 58.3, "collision": 0.12, "error": "",
    },
}  # fmt: skip


class Game:
    """A referee and a robot that is put wherever the test wants."""

    def __init__(self, **settings):
        self.referee = Referee(5, **settings)
        self.now_s = 0.0
        self.pose = (0.0, 0.0, 0.0)
        self.twist = (0.3, 0.0)
        self.collided = False

    def turn(self, mode="active", wait_s=0.1):
        self.now_s += wait_s
        return self.referee.turn(self.now_s, Truth(self.pose, self.twist, self.collided), mode)

    def start(self):
        """Into a world; the first instruction."""
        act = self.turn()
        assert isinstance(act, NewWorld)
        self.enter(act.seed)
        return self.turn(wait_s=2.0)

    def enter(self, seed):
        world = make_world(seed)
        self.pose, self.collided = world.start, False
        self.referee.placed(world, self.now_s)

    def go_to_goal(self):
        """Stand still in front of the goal, looking at it, but touching nothing."""
        goal = self.referee.goal
        away = goal.radius + 0.4
        self.pose, self.twist = (goal.x - away, goal.y, 0.0), (0.0, 0.0)


def test_the_referee_asks_for_a_world_of_its_own_and_then_names_an_object_of_it():
    game = Game()
    told = game.start()
    assert isinstance(told, Tell)
    assert game.referee.world.seed >= FIRST_SEED
    assert named_object(told.text) == game.referee.goal.name
    assert game.referee.goal in game.referee.world.targets


def test_the_same_seed_plays_the_same_game():
    first, second = Game(), Game()
    assert first.start() == second.start()
    assert first.referee.world == second.referee.world


def test_standing_still_before_the_goal_is_a_success_and_the_next_task_names_another_object():
    game = Game()
    told = game.start()
    assert game.turn() is None
    game.go_to_goal()
    judged = game.turn()
    assert judged == Judge(told.text, True, "reached", pytest.approx(0.2))
    before = game.referee.goal
    assert isinstance(game.turn(wait_s=2.0), Tell)
    assert game.referee.goal is not before
    assert game.referee.score.successes == 1


def test_passing_the_goal_without_stopping_is_no_success():
    game = Game()
    game.start()
    game.go_to_goal()
    game.twist = (0.3, 0.0)
    assert game.turn() is None


def test_a_collision_ends_the_episode_and_the_world():
    game = Game()
    game.start()
    game.collided = True
    judged = game.turn()
    assert (judged.success, judged.outcome) == (False, "collision")
    assert isinstance(game.turn(wait_s=2.0), NewWorld)
    assert game.referee.score.collisions == 1


def test_a_robot_that_does_not_arrive_in_time_has_failed():
    game = Game(limit_s=30.0)
    game.start()
    assert game.turn(wait_s=29.0) is None
    assert game.turn(wait_s=2.0).outcome == "too slow"


def test_a_stop_may_clear_by_itself_but_not_for_ever():
    game = Game()
    game.start()
    for _ in range(3):
        assert game.turn("stopping", wait_s=2.0) is None
        assert game.turn("active") is None
    assert game.turn("stopped", wait_s=4.0) is None
    assert game.turn("stopped", wait_s=2.0).outcome == "stopped"


def test_an_emergency_stop_ends_the_episode_at_once():
    game = Game()
    game.start()
    assert game.turn("estop").outcome == "stopped"


def test_every_third_episode_is_the_last_in_its_world():
    game = Game()
    game.start()
    for _ in range(2):
        game.go_to_goal()
        assert game.turn().success
        assert isinstance(game.turn(wait_s=2.0), Tell)
    game.go_to_goal()
    assert game.turn().success
    assert isinstance(game.turn(wait_s=2.0), NewWorld)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("go to the red ball", "red ball"),
        ("Please find a BLUE cube, now!", "blue box"),
        ("go to the pillar that is yellow", "yellow cylinder"),
        ("dance", ""),
        ("the red ball or the green box", ""),
    ],
)
def test_an_instruction_names_one_object_or_none(text, name):
    assert named_object(text) == name


def test_a_fixed_task_is_played_in_worlds_that_have_its_object():
    game = Game(task="find a blue cube")
    assert game.start() == Tell("find a blue cube")
    assert game.referee.goal.name == "blue box"
    game.go_to_goal()
    assert game.turn().success
    assert isinstance(game.turn(wait_s=2.0), NewWorld)


def test_a_task_that_names_no_object_is_given_and_never_judged():
    game = Game(task="dance")
    assert game.start() == Tell("dance")
    assert game.turn(wait_s=1000.0) is None


# pictures ---------------------------------------------------------------------------------------------------


def test_half_blocks_show_two_pixels_in_each_cell():
    pixels = np.zeros((4, 3, 3), np.uint8)
    pixels[0, :, 0] = 252
    pixels[1:, :, 2] = 252
    rows = half_blocks(pixels)
    assert ["".join(piece.text for piece in row) for row in rows] == ["▀▀▀", "   "]
    style = rows[0][0].style
    assert style.color.triplet.red > 240
    assert style.color.triplet.blue < 8
    assert style.bgcolor.triplet.blue > 240


def test_equal_neighbours_become_one_piece():
    assert [len(row) for row in half_blocks(np.full((6, 50, 3), 90, np.uint8))] == [1, 1, 1]


def test_the_map_shows_rover_and_things_where_they_are():
    world = make_world(FIRST_SEED)
    size = 80
    extent_m = max(world.size_x, world.size_y) + 0.24
    pixels = SceneMap(world, size).draw(world.start, [], None, hit=False)
    for x, y, channel in [
        (*world.start[:2], 2),
        *(
            (t.x, t.y, ("red", "green", "blue").index(t.colour))
            for t in world.targets
            if t.colour != "yellow"
        ),
    ]:
        column, line = int((x / extent_m + 0.5) * size), int((0.5 - y / extent_m) * size)
        near = pixels[line - 1 : line + 2, column - 1 : column + 2].reshape(-1, 3).max(axis=0)
        assert near[channel] > 150, (x, y)


# the live display -------------------------------------------------------------------------------------------


def make_view():
    world = make_world(FIRST_SEED)
    view = View(Referee(0), elapsed_s=75.0, waiting="")
    view.referee.placed(world, 0.0)
    view.truth = Truth(world.start, (0.31, -0.4), False)
    view.camera = np.full((120, 160, 3), 77, np.uint8)
    view.status = STATUS
    view.referee.turn(5.0, view.truth, "active")
    for number in range(30):
        view.note("SAFE", f"event {number}")
    return view


def draw(view, width, height):
    console = Console(width=width, height=height, file=io.StringIO(), force_terminal=True)
    return console.render_lines(Dashboard(view, (0.8, 2.0)), console.options, pad=False)


def text_of(rows):
    return "\n".join("".join(piece.text for piece in row) for row in rows)


@given(st.integers(20, 260), st.integers(4, 90))
def test_the_display_fills_any_terminal_exactly(width, height):
    rows = draw(make_view(), width, height)
    assert len(rows) == height
    assert {sum(piece.cell_length for piece in row) for row in rows} == {width}


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (100, 40), (200, 50)])
def test_the_display_names_mode_task_fault_and_hint_in_usual_terminals(size):
    text = text_of(draw(make_view(), *size))
    for wanted in ("ACTIVE", "CAUTION", "go to the red ball", "obstacle_ahead", "Clear the way", "event 29"):
        assert wanted in text


def test_a_narrow_terminal_gets_no_pictures_and_a_wide_one_both():
    assert plan(60, 30).width == 0
    assert plan(80, 24).camera == 0
    assert plan(80, 24).scene > 0
    assert plan(160, 45).camera > 0
    assert plan(100, 40).stacked


def test_before_the_daemon_answers_the_display_says_what_is_waited_for():
    view = View(Referee(0), waiting="cannot be armed yet: signal_missing camera")
    assert "signal_missing camera" in text_of(draw(view, 100, 30))


def test_the_picture_for_the_readme_is_well_formed_and_small():
    svg = to_svg(draw(make_view(), 138, 34))
    assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg")
    assert len(svg) < 200_000
    assert (ROOT / "tools/demonstration/demo.svg").stat().st_size < 200_000


def test_lines_come_once_a_second_and_hold_no_control_codes():
    now_s, stream, view = [0.0], io.StringIO(), make_view()
    lines = Lines(view, stream, lambda: now_s[0])
    for _ in range(30):
        lines.refresh()
        now_s[0] += 0.1
    lines.happened(view.note("DANGER", "a stop"))
    written = stream.getvalue()
    assert written.count("\n") == 4
    assert "DANGER: a stop" in written
    assert written.replace("\n", "").isprintable()


# the summary ------------------------------------------------------------------------------------------------


def mode_event(after, cause):
    return {"kind": "mode", "level": "SAFE", "text": "", "data": {"after": after, "cause": cause}}


def test_only_stops_that_the_daemon_made_by_itself_are_counted():
    assert stop_reason(mode_event("stopping", "obstacle: laser 0.2 m free")) == "obstacle"
    assert stop_reason(mode_event("estop", "estop: the button is pressed")) == "estop"
    assert stop_reason(mode_event("stopping", "disarm: by root (uid 0)")) == ""
    assert stop_reason(mode_event("stopping", "stop: SIGTERM")) == ""
    assert stop_reason(mode_event("stopped", "at rest; obstacle: laser")) == ""
    assert stop_reason({"kind": "task", "data": {"task": "go"}}) == ""


def test_the_summary_counts_and_says_what_it_does_not_know():
    referee = Referee(0)
    referee.score.outcomes.update({"reached": 3, "collision": 1})
    measured = Measured(
        ready_s=1.0, armed_s=1.5, seconds=20.0, inferences=190, cpu_s=2.0, memory_bytes=120_000_000,
        stops=["obstacle", "signal_stale", "obstacle"], status=STATUS,
    )  # fmt: skip
    summary = summarize(7, referee.score, measured, "")
    assert (summary["ok"], summary["error"]) == (True, None)
    assert summary["episodes"] == 4
    assert summary["stops"] == [{"reason": "obstacle", "count": 2}, {"reason": "signal_stale", "count": 1}]
    assert summary["inferences_per_s"] == 9.5
    assert summary["daemon_cpu_share"] == 0.1
    assert summary["ticks"] == 1234
    unknown = summarize(7, Referee(0).score, Measured(), "vlad ended")
    assert unknown["ok"] is False
    assert unknown["ticks"] is None
    assert json.loads(json.dumps(unknown)) == unknown
    assert all(in_words(each) for each in (summary, unknown))


# processes --------------------------------------------------------------------------------------------------


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path):
    command = [sys.executable, "-c", "print('no such camera'); raise SystemExit(3)"]
    process = Process("sim", command, tmp_path, tmp_path / "sim.log")
    while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    with pytest.raises(ProcessDiedError, match=r"sim ended with status 3(.|\n)*no such camera"):
        process.check()
    assert process.stop()


def test_a_process_that_ignores_sigterm_is_killed_and_told(tmp_path):
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    process = Process("vlad", [sys.executable, "-c", deaf], tmp_path, tmp_path / "vlad.log")
    while "deaf" not in process.tail():
        process.check()
    assert not process.stop(timeout_s=0.2)
    assert not psutil.pid_exists(process.pid)


# for real ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_demo_runs_without_a_terminal_and_prints_one_json_object():
    words = [ROOT / "tools/demo", "--seconds", "15", "--headless", "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["schema"] == 1
    assert summary["ok"] is True
    assert summary["seconds"] >= 15
    assert summary["ticks"] > 1000
    assert summary["commands"] >= summary["ticks"] - summary["ticks_missed"]
    assert summary["inferences"] > 30
    assert 0 < summary["observation_to_command_p50_ms"] < 1000
    assert 0 < summary["start_to_ready_s"] <= summary["start_to_armed_s"]
    assert math.isfinite(summary["daemon_memory_mb"])
    assert "told " in done.stderr
    assert "\x1b" not in done.stderr


@pytest.fixture
def short_folder():
    """Paths of sockets have 107 characters at most; a test's own folder can be too long for them."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


@pytest.mark.slow
def test_ctrl_c_ends_the_demo_in_order_with_its_summary(short_folder):
    words = [sys.executable, "-m", "tools.demonstration", "--headless"]
    environment = {"PYTHONPATH": str(ROOT), "TMPDIR": str(short_folder), "PATH": "/usr/bin:/bin"}
    demo = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        for line in demo.stdout:
            if "told " in line:
                break
        parts = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(signal.SIGINT)
        rest = demo.communicate(timeout=60)[0]
    finally:
        demo.kill()
    assert demo.returncode == 0
    assert "-> disarmed" in rest
    assert "frame to command" in rest
    assert len(parts) >= 5
    assert not any(part.is_running() for part in parts)
    assert not list(short_folder.glob("vlad-demo-*"))
