"""Which text a database can hold."""

from __future__ import annotations


def is_storable(text: str) -> bool:
    """Tell whether ``text`` can be stored: no NUL and no half of a surrogate pair. Nothing is found under any other."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
