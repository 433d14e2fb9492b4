"""The table of faults: what can go wrong, what the robot does about it, and when it may go on.

A new fault is a row here and a check in checks/. How a reaction clears follows one thought: nobody must be
surprised by motion. What says that the way is not free *now* (an obstacle, no fresh chunk) clears by itself,
and motion resumes with a ramp. What says that the robot's knowledge or its obedience failed (a dead sensor, a
stop that was not followed) waits for a person. Words in `...` name the setting that holds a limit.
"""

from __future__ import annotations

from vlad.messages import Level, Request
from vlad.safety.reaction import ActiveFault, Clears, Fault, Finding, Reaction

SAFE, CAUTION, WARNING, DANGER, EMERGENCY = Level
REPORT, SLOW, STOP2, STOP1, STOP0, ESTOP = Reaction
ITSELF, DISARM, RESET, NEVER = Clears

_DOUBT, _HALF, _THIRD = 0.7, 0.5, 0.3
"""Speed factors of a policy in doubt, of a WARNING and of a DANGER that is met by slowing down."""

_OPERATOR = (
    Fault(
        "estop", "The operator called for an emergency stop.",
        EMERGENCY, ESTOP, RESET,
        "Find out why, make the place safe, then `vladctl reset` and `vladctl arm`.",
        request=Request.CANCEL_ACTION,
    ),
    Fault(
        "estop_pressed", "An emergency stop button is pressed.",
        EMERGENCY, ESTOP, RESET,
        "Make the place safe, release the button, then `vladctl reset` and `vladctl arm`.",
        request=Request.CANCEL_ACTION,
    ),
    Fault(
        "estop_silent", "A required emergency stop button is not heard.",
        DANGER, STOP1, RESET,
        "Check that the button's driver runs and its cable is whole; then `vladctl reset`.",
    ),
    Fault(
        "deadman_released", "The tele-operator's enabling switch is not held.",
        WARNING, STOP2, ITSELF,
        "Hold the switch; the robot goes on from rest, with a ramp.", only_armed=True,
    ),
)  # fmt: skip

_JOINTS = (
    Fault(
        "position_limit", "A joint is measured beyond its limits `lower, upper`.",
        DANGER, STOP2, DISARM,
        "`vladctl disarm`, move the joint back by hand or with the robot's own controller, then arm again.",
    ),
    Fault(
        "position_soft", "A joint is within `soft_margin` of its limits.",
        WARNING, SLOW, ITSELF,
        "Nothing to mend, unless it happens often: then look at the task or the policy.",
        factor=_HALF, only_armed=True,
    ),
    Fault(
        "limit_ahead", "A joint is so fast that it cannot stop before its limit.",
        DANGER, STOP2, RESET,
        "Check the motor driver, its gains and `deceleration`; then `vladctl reset`.",
        hold_s=0.02, only_armed=True,
    ),
    Fault(
        "velocity_limit", "An axis moves faster than its limit `velocity` allows.",
        DANGER, STOP2, RESET,
        "Check the motor driver and its gains, and the robot's limits file; then `vladctl reset`.",
        hold_s=0.1, only_armed=True,
    ),
    Fault(
        "acceleration_limit", "An axis speeds up far beyond its limit `acceleration`.",
        DANGER, STOP2, RESET,
        "Something pushes the robot, or the motor driver's gains are too high; then `vladctl reset`.",
        hold_s=0.02, only_armed=True,
    ),
    Fault(
        "jerk_limit", "The policy asks for more jerk than `jerk`; the command is bounded.",
        CAUTION, REPORT, ITSELF,
        "Nothing to mend, unless it happens often: then smooth the policy's training data.",
        clear_s=1.0, only_armed=True,
    ),
    Fault(
        "effort_limit", "A joint's torque or force is beyond `effort`.",
        DANGER, STOP2, RESET,
        "Look at what the joint pushes against or carries; then `vladctl reset`.",
        hold_s=0.05, request=Request.REDUCE_FORCE,
    ),
    Fault(
        "current_limit", "A motor draws more than `current` ampere.",
        DANGER, STOP1, RESET,
        "Look for a blocked joint or a short circuit; then `vladctl reset`.",
        hold_s=0.1, request=Request.REDUCE_FORCE,
    ),
    Fault(
        "joint_hot", "A motor is hotter than `temperature`.",
        DANGER, STOP2, RESET,
        "Let the motor cool down; then `vladctl reset`.", hold_s=1.0,
    ),
    Fault(
        "joint_warm", "A motor is within 10 degrees of `temperature`.",
        WARNING, SLOW, ITSELF,
        "Give the robot a rest before it must stop.", hold_s=1.0, clear_s=5.0, factor=_HALF,
    ),
    Fault(
        "following_error", "A joint is farther than `following_error` from where it is commanded.",
        DANGER, STOP2, RESET,
        "Look for something that holds the joint, and check the motor driver; then `vladctl reset`.",
        hold_s=0.1, only_armed=True,
    ),
    Fault(
        "joint_parked", "A faulty joint that is not critical is parked and left out.",
        WARNING, SLOW, RESET,
        "Mend the joint; then `vladctl reset`. Until then the task goes on without it.",
        hold_s=0.1, factor=_HALF,
    ),
)  # fmt: skip

_BASE = (
    Fault(
        "base_deviation", "The base moves otherwise than it is commanded.",
        DANGER, STOP2, RESET,
        "Check the motor driver, slipping wheels and the odometry; then `vladctl reset`.",
        hold_s=0.2, only_armed=True,
    ),
    Fault(
        "step_deviation", "The policy's steps jump from one tick to the next.",
        WARNING, SLOW, ITSELF,
        "The jump is bounded. If it happens often, use a longer policy.blend_s or a smoother policy.",
        clear_s=0.5, factor=_HALF, only_armed=True,
    ),
)  # fmt: skip

_SPACE = (
    Fault(
        "workspace", "The end effector is outside its workspace, or cannot stop inside.",
        DANGER, STOP2, DISARM,
        "`vladctl disarm`, move it back with the robot's own controller, then arm again.",
    ),
    Fault(
        "keep_out", "The end effector is in a zone it must keep out of, or cannot stop before it.",
        DANGER, STOP2, DISARM,
        "`vladctl disarm`, move it out with the robot's own controller, then arm again.",
    ),
    Fault(
        "obstacle", "The robot cannot come to rest before what is in its way.",
        WARNING, STOP2, ITSELF,
        "Clear the way; the robot goes on by itself, and may turn or back away.", only_armed=True,
    ),
    Fault(
        "obstacle_ahead", "The way is blocked: the robot waits, but may turn or back away.",
        CAUTION, REPORT, ITSELF,
        "Clear the way, or give another instruction.", hold_s=0.3, only_armed=True,
    ),
    Fault(
        "person_near", "A person is nearer than the protective distance, or nothing says where they are.",
        DANGER, STOP2, ITSELF,
        "Step back; the robot goes on by itself, with a ramp.", clear_s=1.0, only_armed=True,
    ),
    Fault(
        "person_close", "A person is within twice the protective distance.",
        WARNING, SLOW, ITSELF,
        "Step back, or leave the robot slow.", clear_s=1.0, factor=_THIRD, only_armed=True,
    ),
    Fault(
        "contact", "The robot touches something.",
        DANGER, STOP1, RESET,
        "Look at what it touches, move one of the two away, then `vladctl reset`.",
    ),
    Fault(
        "contact_force", "A force or torque is beyond `contact.force, contact.torque`.",
        DANGER, STOP1, RESET,
        "Look at what it touches, move one of the two away, then `vladctl reset`.",
        hold_s=0.01, request=Request.REDUCE_FORCE,
    ),
)  # fmt: skip

_BODY = (
    Fault(
        "unbalanced", "The centre of mass is farther than `body.center_of_mass` from the support.",
        EMERGENCY, STOP2, RESET,
        "Hold the robot and set it upright; then `vladctl reset`.",
        hold_s=0.02, request=Request.BALANCE,
    ),
    Fault(
        "tilted", "Roll or pitch is beyond `body.tilt`.",
        DANGER, STOP2, RESET,
        "Set the robot upright on level ground; then `vladctl reset`.",
        hold_s=0.05, request=Request.BALANCE,
    ),
    Fault(
        "power_limit", "The robot draws more than `body.power`.",
        DANGER, STOP2, RESET,
        "Look for a blocked motor or a short circuit; then `vladctl reset`.",
        hold_s=0.5, request=Request.REDUCE_FORCE,
    ),
    Fault(
        "component_hot", "A component is hotter than `body.temperature`.",
        DANGER, STOP1, RESET,
        "Let it cool down and look at its fan; then `vladctl reset`.",
        hold_s=1.0, request=Request.POWER_OFF,
    ),
    Fault(
        "component_warm", "A component is within 10 degrees of `body.temperature`.",
        WARNING, SLOW, ITSELF,
        "Give the robot a rest before it must stop.", hold_s=1.0, clear_s=5.0, factor=_HALF,
    ),
    Fault(
        "battery_low", "The battery is below `body.battery_low`.",
        CAUTION, SLOW, ITSELF,
        "Drive to the charger soon.", clear_s=10.0, factor=_HALF,
    ),
    Fault(
        "battery_critical", "The battery is below `body.battery_critical`.",
        DANGER, STOP1, RESET,
        "Charge the battery, then `vladctl reset`.", hold_s=1.0,
    ),
)  # fmt: skip

_CHUNK_HINT = "Check the bundle against the robot (`vladctl model list`) and what the policy is shown."

_ACTION = (
    Fault(
        "chunk_not_finite", "The policy said NaN or infinity; the chunk was thrown away.",
        DANGER, SLOW, ITSELF, _CHUNK_HINT, clear_s=0.5, factor=_THIRD,
    ),
    Fault(
        "chunk_shape", "A chunk has another shape, type, kind or other names than the robot takes.",
        DANGER, SLOW, ITSELF, _CHUNK_HINT, clear_s=0.5, factor=_THIRD,
    ),
    Fault(
        "chunk_bounds", "A chunk is so far out of bounds that only a broken policy says it.",
        WARNING, SLOW, ITSELF, _CHUNK_HINT, clear_s=0.5, factor=_HALF,
    ),
    Fault(
        "chunk_order", "A chunk is older than the one before or than allowed, or its steps are out of order.",
        WARNING, SLOW, ITSELF, _CHUNK_HINT, clear_s=0.5, factor=_HALF,
    ),
    Fault(
        "chunk_jump", "A chunk begins far from where the robot is; it was thrown away.",
        WARNING, SLOW, ITSELF,
        "Bring the robot near where the policy expects it, or check the order of the joints.",
        clear_s=0.5, factor=_HALF,
    ),
    Fault(
        "chunk_envelope", "A chunk has steps that leave the robot's limits; they are bounded.",
        CAUTION, REPORT, ITSELF,
        "Nothing to mend, unless it happens often: then compare limits file and training data.",
        clear_s=0.5,
    ),
    Fault(
        "silence", "An instruction stands, but no new chunk came for `safety.silence_s`.",
        WARNING, STOP2, ITSELF,
        "See why the policy is silent: `vladctl status` (policy), and its camera.", only_armed=True,
    ),
    Fault(
        "chunk_used_up", "The chunk has no steps left.",
        WARNING, STOP2, ITSELF,
        "Inference is slower than the chunk is long: use a faster backend or a longer horizon.",
        only_armed=True,
    ),
    Fault(
        "chunk_old", "The frame behind the chunk is older than `policy.max_chunk_age_s`.",
        WARNING, STOP2, ITSELF,
        "Check the camera's rate and the inference time in `vladctl status`.", only_armed=True,
    ),
    Fault(
        "step_invalid", "The step that is due is not finite, or not meant for this robot.",
        DANGER, STOP2, ITSELF,
        "This is a defect of the daemon: report it, with the event log.", clear_s=0.5, only_armed=True,
    ),
    Fault(
        "collision_predicted", "The policy's safety head expects a collision (`safety.collision_threshold`).",
        WARNING, STOP2, ITSELF,
        "Clear the way, or give another instruction.", hold_s=0.1, clear_s=0.5, only_armed=True,
    ),
    Fault(
        "uncertain", "The policy doubts its own actions (`safety.uncertainty_threshold`).",
        WARNING, STOP2, ITSELF,
        "Show it something it knows, or give another instruction.",
        hold_s=0.1, clear_s=0.5, only_armed=True,
    ),
    Fault(
        "low_confidence", "The policy is less sure than in the recordings it was calibrated on.",
        WARNING, SLOW, ITSELF,
        "Nothing to mend, unless it happens often: then train it on what it meets here.",
        clear_s=0.5, factor=_DOUBT, only_armed=True,
    ),
    Fault(
        "no_confidence", "The policy is far less sure than in the recordings it was calibrated on.",
        WARNING, STOP2, ITSELF,
        "Show it something it knows, or give another instruction; calibrate it again if it does well.",
        hold_s=0.1, clear_s=0.5, only_armed=True,
    ),
)  # fmt: skip

_SIGNAL_HINT = "Check the driver, its cable and its clock (`vladctl status`); then `vladctl reset`."

_SIGNALS = (
    Fault(
        "signal_missing", "A required signal never came.",
        DANGER, STOP2, RESET,
        "Start the signal's driver, and compare its topic and endpoint with the settings (`vladctl doctor`).",
    ),
    Fault(
        "signal_stale", "The newest sample of a required signal is too old, or stamped in the future.",
        DANGER, STOP2, RESET, _SIGNAL_HINT,
    ),
    Fault(
        "signal_invalid", "A signal that the safety tick needs makes no sense.",
        DANGER, STOP2, RESET,
        "Compare what the driver sends with the robot's limits file; then `vladctl reset`.",
    ),
    Fault(
        "signal_frozen", "A required signal repeats the same content while the robot moves (`frozen_s`).",
        DANGER, STOP2, RESET,
        "Restart the driver: it sends an old measurement again and again; then `vladctl reset`.",
    ),
    Fault(
        "signal_rate", "A signal comes more often or more rarely than `rate_hz` allows.",
        CAUTION, REPORT, ITSELF,
        "Check the driver's load and settings.", hold_s=1.0, clear_s=2.0,
    ),
    Fault(
        "signal_gaps", "Messages of a signal are lost (`safety.gap_fraction`).",
        CAUTION, REPORT, ITSELF,
        "Look for load on the network or on this computer.", hold_s=1.0, clear_s=2.0,
    ),
    Fault(
        "signal_bad", "A signal's messages are refused (`safety.bad_hz`).",
        WARNING, SLOW, ITSELF,
        "See the reasons in `vladctl status`, and mend the driver.", clear_s=2.0, factor=_HALF,
    ),
    Fault(
        "signal_clock", "A signal's stamps are off this computer's clock.",
        WARNING, SLOW, ITSELF,
        "Synchronise the sender's clock (chrony, PTP).", clear_s=2.0, factor=_HALF,
    ),
    Fault(
        "signal_replaced", "A backup stands in for a signal that failed.",
        CAUTION, REPORT, ITSELF,
        "Mend the signal that failed: `vladctl status` shows which.",
    ),
    Fault(
        "signal_estimated", "A signal failed and is estimated for a moment (`estimate_s`).",
        WARNING, SLOW, ITSELF,
        "Mend the signal that failed: `vladctl status` shows which.", factor=_HALF, only_armed=True,
    ),
)  # fmt: skip

_COMPUTE = (
    Fault(
        "inference_late", "An inference takes longer than `policy.deadline_s`.",
        WARNING, SLOW, ITSELF,
        "Look for other load on this computer, or use a faster backend.", clear_s=0.5, factor=_HALF,
    ),
    Fault(
        "inference_hung", "An inference takes longer than `policy.hung_s`.",
        DANGER, STOP2, RESET,
        "The model hangs: restart vlad, and look at its backend; then `vladctl reset`.",
    ),
    Fault(
        "overrun", "The safety tick missed `safety.overruns_slow` periods in a row.",
        WARNING, SLOW, ITSELF,
        "Look for other load on this computer; `vladctl doctor` checks the real-time settings.",
        clear_s=1.0, factor=_HALF,
    ),
    Fault(
        "overrun_stop", "The safety tick missed `safety.overruns_stop` periods in a row.",
        DANGER, STOP2, ITSELF,
        "Look for other load on this computer; `vladctl doctor` checks the real-time settings.", clear_s=1.0,
    ),
    Fault(
        "part_failed", "A part that the daemon cannot do without does not run.",
        DANGER, STOP2, NEVER,
        "See `vladctl status` (policy, parts) for why; mend it, and start the daemon anew.",
    ),
    Fault(
        "queue_overflow", "A bounded queue of the daemon lost entries.",
        CAUTION, REPORT, ITSELF,
        "Look for a slow disk or other load on this computer.", clear_s=5.0,
    ),
    Fault(
        "cpu_high", "This computer's CPUs are busy (`computer.cpu`).",
        CAUTION, REPORT, ITSELF,
        "Look for other load on this computer (`top`).", hold_s=3.0, clear_s=5.0,
    ),
    Fault(
        "memory_high", "This computer's memory is nearly used up (`computer.memory`).",
        WARNING, SLOW, ITSELF,
        "Look for what uses it (`top`), before the kernel kills something.",
        hold_s=1.0, clear_s=5.0, factor=_HALF,
    ),
    Fault(
        "gpu_memory_high", "The GPU's memory is nearly used up (`computer.gpu_memory`).",
        WARNING, SLOW, ITSELF,
        "Look for what uses it (`nvidia-smi`).", hold_s=1.0, clear_s=5.0, factor=_HALF,
    ),
    Fault(
        "disk_full", "The disk with the daemon's state is nearly full (`computer.disk`).",
        CAUTION, REPORT, ITSELF,
        "Delete old recordings, or give vlad a larger disk.", hold_s=1.0, clear_s=5.0,
    ),
    Fault(
        "computer_hot", "This computer is hotter than `computer.temperature`.",
        WARNING, SLOW, ITSELF,
        "Look at its fan and its load: it will soon be too slow for the tick.",
        hold_s=1.0, clear_s=10.0, factor=_HALF,
    ),
)  # fmt: skip

_LINKS = (
    Fault(
        "no_driver", "No motor driver listens to the commands.",
        DANGER, STOP2, RESET,
        "Start the motor driver, and compare its endpoint with the settings; then `vladctl reset`.",
        hold_s=0.05,
    ),
    Fault(
        "not_applied", "The motor driver does not follow the commands (`safety.ack_s`).",
        DANGER, STOP1, RESET,
        "Look at the motor driver's log: it is connected, but stuck or in a stop of its own.",
        hold_s=0.05, only_armed=True,
    ),
    Fault(
        "policy_lost", "The policy's server or the network to it is lost, or the model fails.",
        DANGER, STOP2, ITSELF,
        "See the error in `vladctl status` (policy).", clear_s=0.5,
    ),
    Fault(
        "policy_fallback", "The policy that `policy.fallback` names drives in place of the other.",
        WARNING, REPORT, ITSELF,
        "See why in `vladctl status` (policy); the other drives again once it has been well for a while.",
    ),
    Fault(
        "guard_silent", "The guard is not heard.",
        DANGER, STOP2, RESET,
        "Start vlad-guard in the same run folder (or set guard.required = false); then `vladctl reset`.",
    ),
    Fault(
        "guard_stop", "The guard stopped the robot: the daemon was silent, or contradicted itself.",
        DANGER, STOP1, RESET,
        "Look for what held the daemon up (`vladctl events`, the log); then `vladctl reset`.",
    ),
    Fault(
        "guard_estop", "The guard's emergency stop is pressed.",
        EMERGENCY, ESTOP, RESET,
        "Make the place safe, release the button, then `vladctl reset` and `vladctl arm`.",
        request=Request.CANCEL_ACTION,
    ),
)  # fmt: skip

_STOPPING = (
    Fault(
        "stop_late", "A controlled stop does not slow the robot as planned, or nothing confirms it.",
        DANGER, STOP1, RESET,
        "Check the motor driver, the brakes and the feedback signal; then `vladctl reset`.", hold_s=0.05,
    ),
    Fault(
        "stop_failed", "The robot still moves after a category 1 stop.",
        EMERGENCY, STOP0, RESET,
        "Cut the power at the robot. Check the motor driver before you use it again.",
        hold_s=0.05, request=Request.POWER_OFF,
    ),
)  # fmt: skip

_REFUSALS = (
    Fault(
        "not_disarmed", "Arming starts from DISARMED only.",
        CAUTION, REPORT, ITSELF,
        "Use `vladctl reset` first; it moves nothing.",
    ),
    Fault(
        "bundle_reading", "A bundle is being read, which may make ticks late.",
        CAUTION, REPORT, ITSELF,
        "Wait until `vladctl model activate` is done; `vladctl status` (policy) says how far it is.",
    ),
    Fault(
        "moving", "The robot is not known to be at rest.",
        CAUTION, REPORT, ITSELF,
        "Wait until it stands still, and check the feedback signal.",
    ),
)  # fmt: skip

GROUPS: dict[str, tuple[Fault, ...]] = {
    "operator": _OPERATOR,
    "joints": _JOINTS,
    "base": _BASE,
    "space": _SPACE,
    "body": _BODY,
    "action": _ACTION,
    "signals": _SIGNALS,
    "compute": _COMPUTE,
    "links": _LINKS,
    "stopping": _STOPPING,
    "refusals": _REFUSALS,
}
"""The table, by what it is about. Those of the last group only ever refuse an arming or a reset."""

FAULTS: dict[str, Fault] = {fault.id: fault for group in GROUPS.values() for fault in group}
"""Every fault by its id."""


def active(finding: Finding, since_ns: int) -> ActiveFault:
    """The row of a finding, with the finding's particulars."""
    return ActiveFault(FAULTS[finding.fault], finding.subject, finding.detail, finding.severity, since_ns)
