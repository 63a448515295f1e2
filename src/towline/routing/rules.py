"""Which requests a participant wants, as `--match` says it.

A :class:`Match` is one `--match`: rules with commas between them, all of which a request must
satisfy. Several are alternatives. A rule is a place, an operator and a value:

    header:NAME  cookie:NAME  query:NAME  path  method  host
    =  exact     ^=  prefix   *=  contains   ~=  regular expression (RE2, of the whole value)

Without operator and value, a header, cookie or parameter of the query only has to be there. `\\,`
is a comma that belongs to a value. The path is without the query, and both are as they were sent,
with their escapes. The host is compared without its port, and whatever the case of its letters.
"""

from __future__ import annotations

import enum
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from towline.errors import UsageError
from towline.routing import re2

#: What one's own requests are told by unless a rule says otherwise: its value is the user's name.
DEFAULT_HEADER = "x-tow"

_HINT = "Rules look like header:x-user=ada, path^=/api/ or cookie:beta: see tow mesh --help."
# A name that has an operator in it cannot be given.
_RULE = re.compile(
    r"(?P<place>[a-z]+)(?::(?P<name>[^=\s]+?))?(?:(?P<operator>[\^*~]?=)(?P<value>.*))?", re.DOTALL
)
# What headers and cookies are called: RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SEPARATOR = re.compile(r"(?<!\\),")


class Place(enum.StrEnum):
    """Where in a request to look."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    PATH = "path"
    METHOD = "method"
    HOST = "host"

    @property
    def is_named(self) -> bool:
        """Whether there are several of it, told by their names."""
        return self in {Place.HEADER, Place.COOKIE, Place.QUERY}


class Operator(enum.StrEnum):
    """How what is there is compared with the rule's value."""

    EXACT = "="
    PREFIX = "^="
    CONTAINS = "*="
    REGEX = "~="
    PRESENT = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that a request must have. `name` is there if the place is named."""

    place: Place
    operator: Operator
    value: str = ""
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read one rule, without escapes. Raises UsageError."""
        found = _RULE.fullmatch(text)
        if not found or found["place"] not in set(Place):
            raise UsageError(f"'{text}' is no rule.", _HINT)
        place, operator = Place(found["place"]), Operator(found["operator"] or "")
        name, value = found["name"] or "", found["value"] or ""
        if place.is_named != bool(name):
            wants = "needs a name, as in" if place.is_named else "has no name: write"
            example = f"{place}:NAME=VALUE" if place.is_named else f"{place}=VALUE"
            raise UsageError(f"'{text}': {place} {wants} {example}.", _HINT)
        rule = cls(place, operator, value, name.lower() if place is Place.HEADER else name)
        if reason := rule._objection():
            raise UsageError(f"'{text}' cannot be matched: {reason}.", _HINT)
        return rule

    def __str__(self) -> str:
        name = f":{self.name}" if self.name else ""
        return f"{self.place}{name}{self.operator}{self.value}".replace(",", r"\,")

    def excludes(self, other: Rule) -> bool:
        """Whether certainly no request satisfies both. Whatever cannot be told: False."""
        if (self.place, self.name) != (other.place, other.name):
            return False
        return _excludes(self, other) or _excludes(other, self)

    @property
    def compared(self) -> str:
        """The value as it is compared: hosts do not depend on case (RFC 9110 section 4.2.3)."""
        if self.place is Place.HOST and self.operator is not Operator.REGEX:
            return self.value.lower()
        return self.value

    def _objection(self) -> str:
        """Why no request could satisfy it, or all do."""
        return self._objection_to_name() or self._objection_to_value()

    def _objection_to_name(self) -> str:
        if self.place in {Place.HEADER, Place.COOKIE} and not _TOKEN.fullmatch(self.name):
            return f"no {self.place} is called '{self.name}'"
        if self.place is Place.HEADER and self.name == "host":
            return "write host=VALUE"
        if self.operator is Operator.PRESENT and not self.place.is_named:
            return f"every request has a {self.place}"
        return ""

    def _objection_to_value(self) -> str:
        if any(ord(each) < 32 or ord(each) == 127 for each in self.value):
            return "no request has control characters there"
        if self.operator is Operator.REGEX:
            return re2.objection(self.value)
        if self.operator not in {Operator.EXACT, Operator.PRESENT} and not self.value:
            return "there is nothing to compare with"
        if self.place is Place.PATH and "?" in self.value:
            return "the path ends at the question mark: use query:NAME=VALUE"
        return ""


@dataclass(frozen=True, slots=True)
class Match:
    """Rules that a request must satisfy all; without any, each request does."""

    rules: tuple[Rule, ...]

    @classmethod
    def parse(cls, text: str) -> Match:
        """Read what `--match` says. Raises UsageError."""
        parts = [part.replace(r"\,", ",") for part in _SEPARATOR.split(text)]
        rules = tuple(dict.fromkeys(Rule.parse(part.strip()) for part in parts))
        patterns = [each for each in rules if each.operator is Operator.REGEX]
        if sum(each.place is Place.PATH for each in patterns) > 1:
            raise UsageError(f"'{text}': only one regular expression can be for the path.", _HINT)
        return cls(rules)

    def __str__(self) -> str:
        return ",".join(map(str, self.rules))

    def __and__(self, other: Match) -> Match:
        """What satisfies both."""
        return Match(tuple(dict.fromkeys((*self.rules, *other.rules))))

    def overlaps(self, other: Match) -> bool:
        """Whether a request may satisfy both: unless two of their rules exclude each other."""
        return not any(mine.excludes(theirs) for mine in self.rules for theirs in other.rules)


def default_match(user: str) -> Match:
    """What is matched when no rule is given: `header:x-tow=USER`."""
    return Match((Rule(Place.HEADER, Operator.EXACT, user, DEFAULT_HEADER),))


def version_mark(text: str) -> Match:
    """What kt-connect's `--version-mark KEY:VALUE` matches. Raises UsageError."""
    key, colon, value = text.partition(":")
    if not (key and colon and value):
        raise UsageError(f"'{text}' is no version mark.", "It looks like version:ada.")
    return Match((Rule.parse(f"header:{key}={value}"),))


def curl(matches: Iterable[Match], url: str) -> str | None:
    """A command that sends a request which the first possible match is satisfied by.

    None when all of them have regular expressions, for which nobody has a sample.
    """
    for match in matches:
        if all(rule.operator is not Operator.REGEX for rule in match.rules):
            return _curl(match, url)
    return None


def _curl(match: Match, url: str) -> str:
    path, query, words = "/", [], ["curl"]
    for rule in match.rules:
        value = rule.value if rule.operator is not Operator.PRESENT else "1"
        if rule.place is Place.PATH:
            path = value if value.startswith("/") else f"/{value}"
        elif rule.place is Place.QUERY:
            query.append(f"{rule.name}={value}")
        elif rule.place is Place.METHOD:
            words += ["-X", value]
        elif rule.place is Place.COOKIE:
            words += ["-b", f"{rule.name}={value}"]
        else:
            name = rule.name if rule.place is Place.HEADER else "host"
            words += ["-H", f"{name}: {value}"]
    target = url.rstrip("/") + path + (f"?{'&'.join(query)}" if query else "")
    return shlex.join([*words, target])


def _excludes(one: Rule, other: Rule) -> bool:
    """Whether no value satisfies both, told by what `one` is; called both ways round."""
    mine, theirs = one.compared, other.compared
    if one.operator is Operator.PREFIX and other.operator is Operator.PREFIX:
        return not (mine.startswith(theirs) or theirs.startswith(mine))
    if one.operator is not Operator.EXACT:
        return False
    if other.operator is Operator.REGEX:
        return one.place is not Place.HOST and re2.excludes(theirs, mine)
    return {
        Operator.EXACT: mine != theirs,
        Operator.PREFIX: not mine.startswith(theirs),
        Operator.CONTAINS: theirs not in mine,
        Operator.PRESENT: False,
    }[other.operator]
