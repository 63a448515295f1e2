"""What `--match` says, and whether two of them may want the same request."""

from __future__ import annotations

import re
import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from towline.errors import UsageError
from towline.routing.rules import Match, Operator, Place, Rule, curl, default_match, version_mark

NAMES = {Place.HEADER: ["x-tow", "a"], Place.COOKIE: ["a", "B"], Place.QUERY: ["a", "f[x]"]}
VALUES = st.sampled_from(["a", "ab", "b", "abc", "A", "a,b", "", "c\\d"])
PATTERNS = st.sampled_from(["a", "a.*", "[ab]+", "a|b", ".", "(a|ab)b?", "(a+)+c"])


@st.composite
def rules(draw) -> Rule:
    place = draw(st.sampled_from(Place))
    operators = [each for each in Operator if each is not Operator.PRESENT or place.is_named]
    operator = draw(st.sampled_from(operators))
    value = draw(PATTERNS if operator is Operator.REGEX else VALUES)
    if operator is Operator.PRESENT:
        value = ""
    elif operator is not Operator.EXACT and not value:
        value = "a"
    return Rule(place, operator, value, draw(st.sampled_from(NAMES.get(place, [""]))))


def matches() -> st.SearchStrategy[Match]:
    several = st.lists(rules(), min_size=1, max_size=4, unique=True)
    return several.filter(_has_one_path_pattern).map(lambda found: Match(tuple(found)))


def _has_one_path_pattern(found: list[Rule]) -> bool:
    return sum((it.place, it.operator) == (Place.PATH, Operator.REGEX) for it in found) < 2


def satisfies(request: dict[tuple[Place, str], str], rule: Rule) -> bool:
    """What a rule means, said once more."""
    value = request.get((rule.place, rule.name))
    if value is None:
        return False
    wanted = rule.value
    if rule.place is Place.HOST and rule.operator is not Operator.REGEX:
        value, wanted = value.lower(), wanted.lower()
    flags = re.IGNORECASE if rule.place is Place.HOST else 0
    return {
        Operator.EXACT: lambda: value == wanted,
        Operator.PREFIX: lambda: value.startswith(wanted),
        Operator.CONTAINS: lambda: wanted in value,
        Operator.REGEX: lambda: re.fullmatch(wanted, value, flags) is not None,
        Operator.PRESENT: lambda: True,
    }[rule.operator]()


REQUESTS = st.fixed_dictionaries(
    {(place, ""): VALUES for place in (Place.PATH, Place.METHOD, Place.HOST)},
    optional={(place, name): VALUES for place, names in NAMES.items() for name in names},
)


@given(matches())
def test_match_is_read_as_it_is_written(match):
    assert Match.parse(str(match)) == match


@given(matches(), matches(), REQUESTS)
def test_matches_that_one_request_satisfies_overlap(one, other, request):
    if all(satisfies(request, rule) for rule in one.rules + other.rules):
        assert one.overlaps(other)
        assert other.overlaps(one)


@pytest.mark.parametrize(
    ("one", "other", "overlaps"),
    [
        ("header:x=a", "header:x=a", True),
        ("header:x=a", "header:X=b", False),
        ("header:x=a", "header:y=b", True),
        ("header:x=a", "cookie:x=b", True),
        ("header:x", "header:x=b", True),
        ("header:x=", "header:x", True),
        ("header:x^=ab", "header:x^=a", True),
        ("header:x^=ab", "header:x^=ac", False),
        ("header:x^=ab", "header:x=abc", True),
        ("header:x^=ab", "header:x=ac", False),
        ("header:x*=b", "header:x=abc", True),
        ("header:x*=b", "header:x=ac", False),
        ("header:x*=b", "header:x^=a", True),
        ("header:x~=ada|eve", "header:x=eve", True),
        ("header:x~=ada|eve", "header:x=bob", False),
        ("header:x~=ada|eve", "header:x^=bob", True),
        ("header:x~=(b+)+", "header:x=a", True),  # to find out may take long
        ("path^=/a/", "path^=/b/", False),
        ("path^=/a/,header:x=a", "path^=/a/,header:x=b", False),
        ("method=GET", "method=POST", False),
        ("host=Web", "host=web", True),
        ("host=a", "host=b", False),
        ("host~=b", "host=a", True),  # by what is a letter's other case, they differ
    ],
)
def test_overlap(one, other, overlaps):
    assert Match.parse(one).overlaps(Match.parse(other)) is overlaps
    assert Match.parse(other).overlaps(Match.parse(one)) is overlaps


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no rule"),
        ("x-tow", "is no rule"),
        ("body=1", "is no rule"),
        ("header:x=a,", "is no rule"),
        ("header=a", "needs a name"),
        ("header:=a", "is no rule"),
        ("path:x=a", "has no name"),
        ("path", "every request has a path"),
        ("path=/a?b=c", "use query:NAME=VALUE"),
        ("header:x^=", "nothing to compare with"),
        ("header:x~=", "nothing to compare with"),
        ("header:x~=(", "cannot be matched"),
        ("header:x~=(?=a)", "it neither looks around"),
        ("header:x=a\tb", "control characters"),
        ("header:host=a", "write host=VALUE"),
        ("header:a b=c", "is no rule"),
        ("header:a[b]=c", "no header is called"),
        ("path~=a,path~=b", "only one regular expression"),
    ],
)
def test_what_cannot_be_matched_is_refused_with_the_reason(text, reason):
    with pytest.raises(UsageError) as raised:
        Match.parse(text)
    assert reason in raised.value.summary
    assert raised.value.hint


@given(st.text(max_size=30))
@example("header:x=\\,")
def test_any_text_is_read_or_refused(text):
    try:
        match = Match.parse(text)
    except UsageError:
        return
    assert Match.parse(str(match)) == match


def test_names_of_headers_have_no_case():
    assert str(Match.parse(" header:X-Tow=Ada , header:x-tow=Ada ")) == "header:x-tow=Ada"


def test_default_and_version_mark():
    assert str(default_match("ada")) == "header:x-tow=ada"
    assert str(version_mark("version:ada")) == "header:version=ada"
    for text in ("version", ":ada", "version:"):
        with pytest.raises(UsageError):
            version_mark(text)


@pytest.mark.parametrize(
    ("texts", "command"),
    [
        (["header:x-tow=ada"], "curl -H 'x-tow: ada' http://web:80/"),
        (["header:x-tow"], "curl -H 'x-tow: 1' http://web:80/"),
        (["cookie:a=b c"], "curl -b 'a=b c' http://web:80/"),
        (["path^=/api,query:q=1,query:r"], "curl 'http://web:80/api?q=1&r=1'"),
        (["path*=api,method=PUT"], "curl -X PUT http://web:80/api"),
        (["host=ada.example"], "curl -H 'host: ada.example' http://web:80/"),
        (["header:a~=.", "header:a=b"], "curl -H 'a: b' http://web:80/"),
        (["header:a~=."], None),
    ],
)
def test_ready_command_for_a_request_that_matches(texts, command):
    found = curl(map(Match.parse, texts), "http://web:80")
    assert found == command
    assert found is None or shlex.split(found)[0] == "curl"
