"""`python -m cli` is `event-router`."""

from cli.main import run

run()
