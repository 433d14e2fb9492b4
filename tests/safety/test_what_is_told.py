"""What an operator reads of each fault, word for word: where it is, what is seen, and how bad."""

from __future__ import annotations

import pytest

from tests.safety.rig import Rig
from tests.safety.test_faults import REACHED, RIGS

TOLD = {
    "acceleration_limit": ("j1", "gains 30 a second", 1.0),
    "base_deviation": ("linear_x", "at -0.800", 1.0),
    "battery_critical": ("battery", "5% left", 1.0),
    "battery_low": ("battery", "15% left", 0.25),
    "chunk_bounds": ("policy", "linear_x reaches 9; -2.4 to 2.4 could be bounded", 1.0),
    "chunk_envelope": ("policy", "linear_x at step 0", 1.0),
    "chunk_jump": ("policy", "linear_x begins 1.6 from what is followed; at most 1.2", 1.0),
    "chunk_not_finite": ("policy", "it holds NaN or infinity", 1.0),
    "chunk_old": ("policy", "its frame is 1.05 s old", 1.0),
    "chunk_order": ("policy", "its frame is 0.250 s older than the one before", 1.0),
    "chunk_shape": ("policy", "its shape is (5, 3), expected (horizon, 2)", 1.0),
    "chunk_used_up": ("policy", "for 0.00 s", 1.0),
    "collision_predicted": ("policy", "0.95, at most 0.90", 0.95),
    "component_hot": ("knee", "81 of 80 degrees", 1.0),
    "component_warm": ("knee", "71 of 80 degrees", 0.1),
    "computer_hot": ("computer", "91 degrees", 1.0),
    "contact": ("bumper", "touches front", 1.0),
    "contact_force": ("wrench", "34.6 of 30 N", 1.0),
    "cpu_high": ("computer", "99% used", 1.0),
    "current_limit": ("j1", "12 of 10 ampere", 1.0),
    "deadman_released": ("teleop", "not held", 1.0),
    "disk_full": ("computer", "100% used", 1.0),
    "effort_limit": ("j1", "-120 of 100", 1.0),
    "estop": ("operator", "by test", 1.0),
    "estop_pressed": ("estop", "pressed", 1.0),
    "estop_silent": ("estop", "0.510 s old, at most 0.500 s", 1.0),
    "gpu_memory_high": ("computer", "99% used", 1.0),
    "guard_estop": ("guard", "by test", 1.0),
    "guard_silent": ("guard", "was never heard", 1.0),
    "guard_stop": ("guard", "by test", 1.0),
    "inference_hung": ("policy", "runs for 2.01 s", 1.0),
    "inference_late": ("policy", "runs for 1.00 s", 1.0),
    "joint_hot": ("j1", "85 of 80 degrees", 1.0),
    "joint_warm": ("j1", "75 of 80 degrees", 0.5),
    "keep_out": ("shelf", "at (0.600, 0.600, 0.500)", 1.0),
    "limit_ahead": ("j1", "would come to rest at 10.246", 1.0),
    "low_confidence": ("disagreement", "0.4, at most 0.3", 1.0),
    "memory_high": ("computer", "96% used", 1.0),
    "no_confidence": ("disagreement", "0.6, at most 0.5", 1.0),
    "no_driver": ("commands", "nobody subscribed to `command`", 1.0),
    "not_applied": ("command_ack", "follows a command of 0.50 s ago", 1.0),
    "obstacle": ("laser", "0.07 m free, 0.24 m needed to stop", 1.0),
    "obstacle_ahead": ("laser", "0.02 m free", 1.0),
    "overrun": ("tick", "2 missed", 1.0),
    "overrun_stop": ("tick", "5 missed", 1.0),
    "part_failed": ("ingest", "does not run", 1.0),
    "person_close": ("people", "someone at 1.20 m, 0.85 m needed", 0.582),
    "person_near": ("people", "someone at 0.30 m, 0.85 m needed", 1.0),
    "policy_fallback": ("policy", "calm/1 drives: out of memory", 1.0),
    "policy_lost": ("policy", "out of memory", 1.0),
    "position_soft": ("j1", "at 9.500", 0.5),
    "power_limit": ("power", "501 of 500 W", 1.0),
    "queue_overflow": ("queues", "3 entries lost", 1.0),
    "signal_bad": ("bumper", "79.4 messages/s refused", 1.0),
    "signal_clock": ("battery", "1 messages with a stamp that cannot be", 1.0),
    "signal_frozen": ("camera", "the same content for 0.31 s of motion", 1.0),
    "signal_gaps": ("laser", "116 of 233 messages missing", 0.498),
    "signal_invalid": ("battery", "its charge is not a number", 1.0),
    "signal_missing": ("camera", "never came", 1.0),
    "signal_rate": ("odometry", "200.0 Hz, nominal 100.0 Hz", 1.0),
    "signal_replaced": ("laser", "by laser_2: 0.310 s old, at most 0.300 s", 1.0),
    "signal_stale": ("laser", "0.310 s old, at most 0.300 s", 1.0),
    "silence": ("policy", "no new chunk for 0.51 s", 1.0),
    "step_deviation": ("angular_z", "by 1.500", 1.0),
    "step_invalid": ("policy", "not one finite value for each axis", 1.0),
    "stop_failed": ("linear_x", "still at 0.800", 1.0),
    "stop_late": ("linear_x", "still at 0.800", 1.0),
    "tilted": ("imu", "roll 0.30, pitch 0.00 rad", 1.0),
    "unbalanced": ("balance", "the centre of mass is 0.22 m off", 1.0),
    "uncertain": ("policy", "0.95, at most 0.90", 0.95),
    "velocity_limit": ("angular_z", "at -2.500", 1.0),
    "workspace": ("pose", "at (1.100, 0.000, 0.500)", 1.0),
}
"""Fault -> subject, detail, severity when the cause in test_faults first acts."""


@pytest.mark.parametrize("cause", REACHED, ids=lambda cause: cause.__name__)
def test_a_fault_says_where_it_is_what_is_seen_and_how_bad(cause):
    rig = RIGS.get(cause.__name__, Rig)().driving()
    cause(rig)
    told = []
    for _ in range(200):
        told += [f for f in rig.tick().faults if f.fault.id == cause.__name__]
        if told:
            break
    first = told[0]
    assert (first.subject, first.detail, round(first.severity, 3)) == TOLD[cause.__name__]
