"""Status reports as the daemon sends them."""

from typing import Any

Row = dict[str, Any]


def fault(name: str = "signal_stale", subject: str = "camera", level: str = "WARNING") -> Row:
    return {
        "id": name,
        "subject": subject,
        "level": level,
        "reaction": "stop2",
        "detail": "no sample for 0.61 s, allowed are 0.30 s",
        "hint": "Is the driver running? Look at its log, and at the cable.",
        "since_s": 0.412,
    }


def signal(kind: str, **changes: Any) -> Row:
    row = {"type": kind, "required": True, "age_s": 0.012, "rate_hz": 29.97, "received": 12_345, "dropped": 3}
    return row | {"bad": {}} | changes


def upkeep(**changes: Any) -> Row:
    """A task of maintenance that went well."""
    row = {
        "schedule": "daily 03:00",
        "priority": "high",
        "only_disarmed": False,
        "verdict": "ok",
        "summary": "fine",
    }
    row |= {"ended_wall_ns": 1_700_000_000 * 10**9, "took_s": 1.5, "failures": 0}
    return row | {"due_wall_ns": 1_900_086_400 * 10**9} | changes


def report(**changes: Any) -> Row:
    """A robot that drives; `changes` replace top-level keys."""
    status = {
        "schema": 1,
        "version": "0.1.0",
        "pid": 4_242,
        "uptime_s": 754.2,
        "robot": {"name": "rover", "type": "rover", "command": "twist"},
        "mode": "active",
        "level": "SAFE",
        "faults": [],
        "refusals": [],
        "estop": {"latched": False, "reason": None},
        "task": "go to the red ball",
        "tick": {"hz": 100, "count": 75_420, "early": 7_000, "missed": 0, "late_1ms": 12, "late_5ms": 0,
                 "late_p50_ms": 0.026, "late_p99_ms": 0.065},
        "commands": {"sent": 82_420, "listeners": 1, "mode": "run", "kind": "twist",
                     "names": ["linear_x", "angular_z"], "values": [0.3, -0.12]},
        "signals": {
            "camera": signal("image"),
            "laser": signal("laser_scan", rate_hz=10.0, bad={"truncated": 4, "not_finite": 1}),
            "instruction": signal("instruction", required=False, age_s=None, rate_hz=None, received=0),
        },
        "unknown_topics": {"cam_left": 17},
        "policy": {"bundle": "demo", "version": "1", "state": "running", "inferences": 22_000,
                   "rate_hz": 29.8, "latency_p50_ms": 5.9, "latency_p99_ms": 8.1, "age_p50_ms": 31.0,
                   "age_p99_ms": 44.0, "collision": 0.03, "error": "", "calibrated": True,
                   "doubts": {"disagreement": {"value": 0.1234, "slow": 0.3, "stop": 0.75}}},
        "parts": {"watchdog": {"state": "running", "critical": True, "restarts": 0, "error": ""},
                  "inference": {"state": "restarting", "critical": False, "restarts": 2,
                                "error": "OSError: x"}},
        "computer": {"cpu": 0.42, "memory": 0.5, "gpu_memory": None, "disk": 0.9,
                     "celsius": 51.3, "age_s": 0.4},
        "health": {
            "score": 0.5, "level": "WARNING", "age_s": 0.4,
            "components": {
                "disk": {"score": 0.5, "level": "WARNING", "text": "90% used", "trend_per_h": 0.0021,
                         "unit": "part", "time_to_limit_s": 259_200.0, "risk": 0.5, "reason": "90% used",
                         "action": "Free space.", "readings": {"used": 0.9}},
                "cpu": {"score": 1.0, "level": "SAFE", "text": "42% used", "trend_per_h": None, "unit": "",
                        "time_to_limit_s": None, "risk": 0.0, "reason": "", "action": "", "readings": {}},
                "temperature": {"score": None, "level": "SAFE", "text": "not known"},
            },
            "alerts": [{"id": "a1", "component": "disk", "level": "WARNING", "text": "90% used",
                        "action": "Free space.", "for_s": 412.0}],
            "outlets": {"webhook": {"problem": "", "delivered": 3, "lost": 0}},
        },
        "guard": {"required": True, "state": "watching", "reason": "", "age_s": 0.012},
        "record": {"mode": "triggered", "state": "recording", "file": "/var/lib/vlad/recordings/x.mcap.part",
                   "causes": ["stop signal_stale: camera"], "ends_in_s": 8.2, "finished": 3, "held_s": 30.1,
                   "folder": "/var/lib/vlad/recordings", "held_mb": 21.4, "messages": 51_000, "dropped": 0,
                   "pictures_dropped": 2, "chunks_lost": 0, "problem": ""},
        "maintenance": {
            "running": None, "ordered": [], "problem": "",
            "tasks": {
                "backup": upkeep(verdict="failed", summary="/mnt/x: No space left on device", failures=3),
                "clean_up": upkeep(due_wall_ns=1_900_000_000 * 10**9),
                "security_scan": upkeep(verdict="warning", ended_wall_ns=1_700_009_000 * 10**9),
            },
        },
        "page": {"on": True, "address": "http://127.0.0.1:8420", "browsers": 2, "problem": ""},
        "motion": {"names": ["linear_x", "angular_z"], "velocity_limits": [0.8, 2.0], "lower": [None, None],
                   "upper": [None, None], "velocity": [0.29, -0.11], "position": None, "watts": None,
                   "chunk": None},
        "realtime": {"fifo": "applied", "memory": "refused: Operation not permitted", "cpus": "off"},
    }  # fmt: skip
    return status | changes
