"""The operators on text: ``$regex`` with ``$options``, ``$prefix``, ``$suffix`` and ``$cidr``."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from time import perf_counter_ns, thread_time_ns
from typing import Any

import re2

from router_client.errors import InvalidInput
from router_node.routing.effort import Effort, TooMuch
from router_node.routing.filter_compilation import Check, Compilation, Make, Test, any_element

MAX_REGEX_CHARS = 1000
MAX_REGEX_BYTES = 1 << 18
STEP_OF_RE2 = 20
"""Instructions times bytes that take a step at worst, see effort."""
UNMEASURED_STEPS = 32
"""A search that takes no more at worst is part of what a condition costs anyway."""
MUCH = 512
"""A search that takes more steps at worst is measured by the clock of its thread, which takes 0.6 µs to read."""
LONGEST_SEARCH = 100_000
SMALL_PROGRAM = 32
"""Instructions: a search takes either no more of these, or no more than LONGEST_SEARCH steps at worst; 10 ms."""

_VERBOSE = re.compile(r"(\\.|\[\^?\]?(?:\\.|[^\]\\])*\])|\s+|#[^\n]*", re.DOTALL)


def regex(operand: Any, field: str, compilation: Compilation, around: Mapping[str, Any]) -> Check:
    """Make ``$regex``: text in which RE2 finds ``operand``, in time linear in the text."""
    if not isinstance(operand, str):
        raise InvalidInput("a regular expression as text", field=field)
    if len(operand) > MAX_REGEX_CHARS:
        raise InvalidInput(f"at most {MAX_REGEX_CHARS} characters", field=field)
    flags = around.get("$options", "")
    if not isinstance(flags, str) or not set(flags) <= set("gimsux"):
        raise InvalidInput("letters out of g, i, m, s, u and x", field=field.removesuffix("$regex") + "$options")
    pattern = _without_comments(operand) if "x" in flags else operand
    prefix = "".join(sorted(set(flags) & set("ims")))
    compiled = _compile(f"(?{prefix}){pattern}" if prefix else pattern, field)
    compilation.spend_instructions(compiled.programsize, field)
    return any_element(_search(compiled, compilation.effort), compilation.effort, 10)


def _search(compiled: Any, effort: Effort) -> Test:
    """Return the search of an expression, which takes what it took from the effort.

    RE2 takes 1.5 ns for most bytes, but several for every instruction of an expression when a text is made for it:
    what only a text and an expression together decide is measured, in the time of this thread. Where the other threads
    cannot matter, since even the most it can take is little, the clock that is read faster will do.
    """
    search, size = compiled.search, compiled.programsize

    def test(value: Any) -> bool:
        if type(value) is not str:
            return False
        # A document may hold half a surrogate pair, which has no UTF-8; RE2 takes any bytes.
        text = value.encode("utf-8", "surrogatepass")
        most = len(text) * size // STEP_OF_RE2
        if most <= UNMEASURED_STEPS:
            return search(text) is not None
        if most > LONGEST_SEARCH and size > SMALL_PROGRAM:
            raise TooMuch
        effort.spend(1)
        clock = thread_time_ns if most > MUCH else perf_counter_ns
        began = clock()
        found = search(text) is not None
        effort.took(min((clock() - began) // 100, most))
        return found

    return test


def _compile(pattern: str, field: str) -> Any:
    options = re2.Options()
    options.max_mem = MAX_REGEX_BYTES
    options.log_errors = False
    options.never_capture = True
    try:
        return re2.compile(pattern.encode(), options)
    except UnicodeEncodeError as error:
        raise InvalidInput("half a surrogate pair is not a character", field=field) from error
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise InvalidInput(f"not a regular expression that RE2 takes: {reason}", field=field) from error


def _without_comments(pattern: str) -> str:
    """Take out what the option x ignores, which RE2 does not know: white space and comments outside classes."""
    return _VERBOSE.sub(lambda match: match[1] or "", pattern)


def _text(name: str, holds: Callable[[str, str], bool]) -> Make:
    def make(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
        if not isinstance(operand, str):
            raise InvalidInput(f"the {name} as text", field=field)
        return any_element(lambda value: type(value) is str and holds(value, operand), compilation.effort)

    return make


def cidr(operand: Any, field: str, compilation: Compilation, _: Mapping[str, Any]) -> Check:
    """Make ``$cidr``: text that is an IPv4 or IPv6 address inside the network; the zone in fe80::1%eth0 is ignored."""
    if not isinstance(operand, str):
        raise InvalidInput("a network as text", field=field)
    try:
        network = ipaddress.ip_network(operand, strict=False)
    except ValueError as error:
        raise InvalidInput("a network such as 10.0.0.0/8 or fd00::/8", field=field) from error

    # inet_pton takes a fifth of the time of ip_address, which an event with many addresses is spared.
    family = socket.AF_INET if network.version == 4 else socket.AF_INET6
    mask, inside = int(network.netmask), int(network.network_address)

    def test(value: Any) -> bool:
        if type(value) is not str:
            return False
        address = value if family is socket.AF_INET else value.partition("%")[0]
        try:
            return int.from_bytes(socket.inet_pton(family, address), "big") & mask == inside
        except (OSError, ValueError):
            return False

    return any_element(test, compilation.effort, 5)


prefix = _text("prefix", str.startswith)
suffix = _text("suffix", str.endswith)
