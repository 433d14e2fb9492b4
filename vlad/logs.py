"""Logging that never holds up who logs."""

from __future__ import annotations

import logging
import logging.handlers
import queue
import sys

_LOG_QUEUE = 10_000


def start_logging(verbose: bool) -> logging.handlers.QueueListener:
    """Log through a bounded queue and a thread: a slow terminal or journal never holds the loop."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    records: queue.Queue[logging.LogRecord] = queue.Queue(_LOG_QUEUE)
    sender = logging.handlers.QueueHandler(records)
    sender.setFormatter(logging.Formatter())
    sender.handleError = lambda record: None  # type: ignore[method-assign]  # full: the record is lost
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[sender])
    listener = logging.handlers.QueueListener(records, handler)
    listener.start()
    return listener
