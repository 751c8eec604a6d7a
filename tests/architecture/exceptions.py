"""What may break a rule of size, by name, each with the reason. Empty is best."""

from __future__ import annotations

# "path" for a long file, "path::Class.function" for a long function, "path::Protocol" for a wide one.
ALLOWED: dict[str, str] = {}
