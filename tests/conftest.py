"""What all tests share: property tests never fail for being slow, since these machines are.

VLAD_CASES sets how many cases each property gets: 100 where it is not set, 5000 in the long run.
"""

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "unhurried",
    max_examples=int(os.environ.get("VLAD_CASES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.load_profile("unhurried")

# What a shell starts in the background ignores SIGINT, and so would all that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
