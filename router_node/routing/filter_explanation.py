"""Why a filter holds for an event or not: each of its conditions, what it led to in the event, and its verdict.

Every verdict comes from the language itself: a condition is compiled as a filter of its own and asked, so that an
explanation cannot say anything else than :meth:`Filter.matches`.

An explanation has a node for each condition and operator of the filter, however large the event, and shows at most
``MAX_FOUND`` values for each; values and names are cut. It takes a few times as long as matching at its worst: every
condition is looked at, not only up to the first that decides, and those of an ``$elemMatch`` again for the element that
explains it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from router_node.routing.effort import UNLIMITED
from router_node.routing.filter_compilation import has_operators
from router_node.routing.filter_language import compile_filter
from router_node.routing.filter_operators import as_object, as_one
from router_node.routing.filter_values import MISSING, parse_path, reach
from router_node.routing.shown_value import Shown, shown, shown_name

MAX_FOUND = 5
MAX_ELEMENT_LEVELS = 3
"""So deep is an ``$elemMatch`` within others explained by its parts; deeper, only whether it held."""

ELEMENT = ""
"""The path of a condition on an element itself, which has no name in the event."""

_JOINS = ("$and", "$or", "$nor")


class Condition(NamedTuple):
    """One condition of a filter, or an operator that joins others, its ``parts``.

    ``field`` is its place in the filter as InvalidInput names it; ``path`` leads from the event to what it is about, or
    from the element within an ``$elemMatch``, and is None for ``$and``, ``$or`` and ``$nor``. ``found`` are the first
    values the path led to, ``more`` is how many others there were. ``element`` is what the parts of an ``$elemMatch``
    are about: the first element that met them, else the one that met most.
    """

    field: str
    operator: str
    holds: bool
    path: str | None = None
    operand: Shown | None = None
    found: tuple[Shown, ...] = ()
    more: int = 0
    element: Shown | None = None
    parts: tuple[Condition, ...] = ()

    def to_object(self) -> dict[str, Any]:
        """Return the JSON object of the API; what does not apply is left out."""
        body: dict[str, Any] = {"field": self.field, "operator": self.operator, "holds": self.holds}
        if self.path is not None:
            body |= {"path": self.path, "found": [each.to_object() for each in self.found], "more": self.more}
        if self.operand is not None:
            body["operand"] = self.operand.to_object()
        if self.element is not None:
            body["element"] = self.element.to_object()
        if self.parts:
            body["parts"] = [each.to_object() for each in self.parts]
        return body


class Explanation(NamedTuple):
    """The verdict of a filter, and its conditions at the top, all of which have to hold."""

    matches: bool
    conditions: tuple[Condition, ...]


def explain(spec: Mapping[str, Any], document: Mapping[str, Any], field: str = "filter") -> Explanation:
    """Explain what a filter makes of an event object, a decoded JSON document.

    Raises InvalidInput as compile_filter does, whose ``field`` begins with the given one.
    """
    compile_filter(spec, field)  # refuses what is wrong, by its place in the whole
    conditions = tuple(_of_query(spec, field, document, MAX_ELEMENT_LEVELS))
    return Explanation(_joined("$and", conditions), conditions)


class _Place(NamedTuple):
    """Where conditions look: what ``path`` led to in ``document``; and how many levels of elements may be explained."""

    path: str
    document: Any
    reached: Sequence[Any]
    levels: int

    def holds(self, test: Mapping[str, Any]) -> bool:
        """Tell whether an object of operators holds here."""
        return compile_filter({self.path: test}).matches(self.document)

    def condition(
        self,
        field: str,
        operator: str,
        *,
        holds: bool,
        operand: Any = MISSING,
        element: Any = MISSING,
        parts: tuple[Condition, ...] = (),
    ) -> Condition:
        """Return the condition with what was found here."""
        return Condition(
            field,
            operator,
            holds,
            shown_name(self.path),
            None if operand is MISSING else shown(operand),
            tuple(map(shown, self.reached[:MAX_FOUND])),
            max(0, len(self.reached) - MAX_FOUND),
            None if element is MISSING else shown(element),
            parts,
        )


def _of_query(spec: Mapping[str, Any], field: str, document: Any, levels: int) -> Iterator[Condition]:
    for key, value in spec.items():
        at = shown_name(f"{field}.{key}")
        if key in _JOINS:
            parts = tuple(_of_part(each, f"{at}[{i}]", document, levels) for i, each in enumerate(value))
            yield Condition(at, key, _joined(key, parts), parts=parts)
        else:
            reached = reach(document, parse_path(key), UNLIMITED.spend)
            yield from _on_path(value, at, _Place(key, document, reached, levels))


def _of_part(spec: Mapping[str, Any], field: str, document: Any, levels: int) -> Condition:
    """Return a filter inside another as one condition: its only one, or the ``$and`` that joins them unsaid."""
    parts = tuple(_of_query(spec, field, document, levels))
    return parts[0] if len(parts) == 1 else Condition(field, "$and", _joined("$and", parts), parts=parts)


def _joined(operator: str, parts: Iterable[Condition]) -> bool:
    verdicts = [part.holds for part in parts]
    if operator == "$and":
        return all(verdicts)
    return any(verdicts) if operator == "$or" else not any(verdicts)


def _on_path(value: Any, field: str, place: _Place) -> Iterator[Condition]:
    """Explain what stands after a path: an object of operators, or a value to equal."""
    if not isinstance(value, dict) or not has_operators(value):
        yield place.condition(field, "$eq", holds=place.holds({"$eq": value}), operand=value)
        return
    for name, operand in value.items():
        at = shown_name(f"{field}.{name}")
        if name == "$not":
            parts = tuple(_on_path(operand, at, place))
            yield place.condition(at, name, holds=not _joined("$and", parts), parts=parts)
        elif name == "$elemMatch":
            yield _on_elements(operand, at, place)
        elif name == "$all" and any(map(has_operators, operand)):
            inside = enumerate(operand)
            parts = tuple(_on_elements(each["$elemMatch"], f"{at}[{i}].$elemMatch", place) for i, each in inside)
            yield place.condition(at, name, holds=_joined("$and", parts), parts=parts)
        elif name == "$regex" and "$options" in value:
            test = {name: operand, "$options": value["$options"]}
            yield place.condition(at, name, holds=place.holds(test), operand=test)
        elif name != "$options":
            yield place.condition(at, name, holds=place.holds({name: operand}), operand=operand)


def _on_elements(operand: dict[str, Any], field: str, place: _Place) -> Condition:
    """Explain an ``$elemMatch`` by the element that met it first, or else came closest."""
    holds = place.holds({"$elemMatch": operand})
    on_itself = any(key.startswith("$") and key not in _JOINS for key in operand)
    elements = [each for value in place.reached if isinstance(value, list) for each in value]
    if not on_itself:
        elements = [each for each in elements if isinstance(each, (dict, list))]
    if not elements or place.levels == 0:
        return place.condition(field, "$elemMatch", holds=holds, operand=operand)
    scopes = [{ELEMENT: as_one(each)} if on_itself else as_object(each) for each in elements]
    find = _first_that_meets if holds else _closest
    chosen = find({ELEMENT: operand} if on_itself else operand, scopes)
    scope, levels = scopes[chosen], place.levels - 1
    parts = (
        _on_path(operand, field, _Place(ELEMENT, scope, [scope[ELEMENT]], levels))
        if on_itself
        else _of_query(operand, field, scope, levels)
    )
    return place.condition(field, "$elemMatch", holds=holds, element=elements[chosen], parts=tuple(parts))


def _first_that_meets(query: Mapping[str, Any], scopes: Sequence[Any]) -> int:
    met = compile_filter(query).matches
    return next(place for place, scope in enumerate(scopes) if met(scope))


def _closest(query: Mapping[str, Any], scopes: Sequence[Any]) -> int:
    """Return the place of the first that meets most members of a query, where none meets it whole."""
    if len(query) == 1 or len(scopes) == 1:
        return 0
    members = [compile_filter({key: value}) for key, value in query.items()]
    met = [sum(member.matches(scope) for member in members) for scope in scopes]
    return met.index(max(met))
