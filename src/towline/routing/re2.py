"""Regular expressions that Python and RE2, which Envoy uses, take to mean the same.

See https://github.com/google/re2/wiki/Syntax. Like Envoy, rules match a whole value.
"""

from __future__ import annotations

import itertools
import re
import warnings

_TOKEN = re.compile(
    r"""\\[0-9]+ | \\. | \[\^?\]?(?:\\.|[^\]\\])*\]
    | \(\?P. | \(\?[a-zA-Z-]+[:)]? | \(\?.? | \{[0-9]*,?[0-9]*\} | .""",
    re.VERBOSE | re.DOTALL,
)
# \x is that of \x41; whatever is neither a letter nor a digit means itself.
_ESCAPES = set("AbBdDfnrsStvwWx")
_NOT_IN_CLASSES = set("AbB")
_GROUP = re.compile(r"\(\?(P<|:|[ims]+(-[ims]+)?[:)]|-[ims]+:)")
_REPEATS = ("*", "+", "?")
_LONGEST_REPEAT = 1000
# What may be tried here and now without taking long: Python tries one way after the other.
_QUICK_REPEATS = 3
_QUICK_LENGTH = 200


def objection(pattern: str) -> str:
    """Why an expression is not one that Python and RE2 both know; empty if it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of sets that other dialects read otherwise
            re.compile(pattern)
    except (re.error, Warning, OverflowError, RecursionError) as error:
        return str(error)
    if not pattern:
        return "there is nothing to compare with"
    parts = _tokens(pattern)
    return next(filter(None, map(_objection, parts, ["", *parts])), "")


def excludes(pattern: str, text: str) -> bool:
    """Whether the expression certainly does not match the whole text.

    False also where to find out could take long, or where dialects differ.
    """
    if not (text.isascii() and text.isprintable() and len(text) <= _QUICK_LENGTH):
        return False
    tokens = _tokens(pattern)
    if sum(map(_is_repeat, tokens)) > _QUICK_REPEATS or _repeats_a_group(tokens):
        return False
    ways = (0, re.ASCII)
    return not any(re.compile(pattern, flags).fullmatch(text) for flags in ways)


def _tokens(pattern: str) -> list[str]:
    return [found[0] for found in _TOKEN.finditer(pattern)]


def _objection(part: str, before: str) -> str:
    if part.startswith("\\"):
        return _objection_to_escape(part)
    if part.startswith("["):
        return _objection_to_class(part)
    if part.startswith("(?") and not _GROUP.fullmatch(part):
        return f"RE2 knows no {part}: it neither looks around nor back"
    if part.startswith("+") and _is_repeat(before):
        return f"RE2 knows no {before}{part}"
    if _is_repeat(part) and any(int(n) > _LONGEST_REPEAT for n in re.findall("[0-9]+", part)):
        return f"RE2 repeats nothing more than {_LONGEST_REPEAT} times"
    return ""


def _objection_to_class(part: str) -> str:
    if "[:" in part[1:]:
        return "classes such as [:alpha:] mean another thing elsewhere"
    escapes = re.findall(r"\\.", part)
    if wrong := [each for each in escapes if each[1] in _NOT_IN_CLASSES]:
        return f"RE2 knows no {wrong[0]} in a set"
    return next(filter(None, map(_objection_to_escape, escapes)), "")


def _objection_to_escape(part: str) -> str:
    known = part[1] in _ESCAPES or not (part[1].isalnum() or part[1] == "_")
    return "" if known else f"RE2 knows no {part}, or means another thing by it"


def _is_repeat(part: str) -> bool:
    return part in _REPEATS or (part.startswith("{") and len(part) > 1)


def _repeats_a_group(parts: list[str]) -> bool:
    return any(
        part.startswith(")") and _is_repeat(after) for part, after in itertools.pairwise(parts)
    )
