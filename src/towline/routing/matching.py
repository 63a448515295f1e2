"""A participant's rules as Envoy's routes have them.

See https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/route/v3/route_components.proto.
"""

from __future__ import annotations

import re
from typing import Any

from towline.routing.rules import Match, Operator, Place, Rule

Config = dict[str, Any]

_LISTS = {Place.COOKIE: "cookies", Place.QUERY: "query_parameters"}
_PSEUDO_HEADERS = {Place.METHOD: ":method", Place.HOST: ":authority"}
_STRING_MATCHES = {
    Operator.EXACT: "exact",
    Operator.PREFIX: "prefix",
    Operator.CONTAINS: "contains",
}
# `:path` has the query as well.
_QUERY = r"(?:\?.*)?"
_PORT = r"(?::[0-9]*)?"


def route_match(match: Match) -> Config:
    """The `match` of a route.

    A second regular expression of the path, which only those who get copies can bring along, may
    run on into the query: then there is a copy too many.
    """
    path: Config = {"prefix": ""}
    lists: dict[str, list[Config]] = {}
    for rule in match.rules:
        if rule.place is Place.PATH and rule.operator is Operator.REGEX and "prefix" in path:
            path = _regex(rule.value)
        elif rule.place in _LISTS:
            lists.setdefault(_LISTS[rule.place], []).append(_named(rule))
        else:
            lists.setdefault("headers", []).append(_header(rule))
    return {**path, **lists}


def _named(rule: Rule) -> Config:
    if rule.place is Place.QUERY and rule.operator is Operator.PRESENT:
        return {"name": rule.name, "present_match": True}
    return {"name": rule.name, "string_match": _string_match(rule)}


def _header(rule: Rule) -> Config:
    if rule.place is Place.PATH:
        return {"name": ":path", "string_match": _regex(_path_pattern(rule))}
    if rule.place is Place.HOST:
        return {"name": ":authority", "string_match": _regex(_host_pattern(rule))}
    name = rule.name or _PSEUDO_HEADERS[rule.place]
    if rule.operator is Operator.PRESENT:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": _string_match(rule)}


def _string_match(rule: Rule) -> Config:
    if rule.operator is Operator.REGEX:
        return _regex(rule.value)
    if rule.operator is Operator.PRESENT:
        return _regex(".*")
    if rule.operator is Operator.EXACT and not rule.value:
        return _regex("^$")  # an exact match of nothing is no match for Envoy
    return {_STRING_MATCHES[rule.operator]: rule.value}


def _regex(pattern: str) -> Config:
    return {"safe_regex": {"regex": pattern}}


def _path_pattern(rule: Rule) -> str:
    literal = _escaped(rule.value)
    return {
        Operator.EXACT: literal + _QUERY,
        Operator.PREFIX: f"{literal}.*",
        Operator.CONTAINS: f"[^?]*{literal}.*",
        Operator.REGEX: f"(?:{rule.value}){_QUERY}",
    }[rule.operator]


def _host_pattern(rule: Rule) -> str:
    literal = _escaped(rule.value)
    pattern = {
        Operator.EXACT: literal,
        Operator.PREFIX: f"{literal}.*",
        Operator.CONTAINS: f".*{literal}.*",
        Operator.REGEX: f"(?:{rule.value})",
    }[rule.operator]
    return f"(?i){pattern}{_PORT}"


def _escaped(text: str) -> str:
    # RE2 takes a backslash before anything but punctuation for something else.
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
