"""Where a node's log goes: stderr, one line an entry, those of the libraries among them."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import Processor


def configure_logs(level: str, log_format: str) -> None:
    """Send the log to stderr from ``level`` (debug, info, warning, error) on, as ``json`` or for the ``console``."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_end(log_format)))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    if level != "debug":
        # A line for every connection that opens is noise beside the node's own words.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # It logs every statement with its values, which are users' data, and pages of them.
    logging.getLogger("aiosqlite").setLevel(logging.INFO)


def _end(log_format: str) -> list[Processor]:
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if log_format == "console":
        return [remove, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [remove, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
