"""Which regular expressions are taken: those that Python and RE2 read alike."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.routing import re2

#: Real Envoys are asked about these as well: tests/router/test_patterns.py.
TAKEN = [
    "ada",
    "a.c",
    "ada|eve|",
    "(?:a|b)+",
    "(?P<name>a)(b)",
    "(?i)ada",
    "(?i:ada)",
    "(?-i:a)(?i-s:b)",
    "(?im)a",
    "(?s).*",
    "a*?b+?c??",
    "a{2}b{2,}c{2,3}",
    r"\d\D\w\W\s\S\b\Ba",
    r"\.\*\+\?\(\)\[\]\{\}\|\^\$\\\-\/",
    r"[a-z0-9_\-\]\d]+",
    "[]a]",
    "[^]a]",
    "[a^]",
    "{",
    "a{,3}",
    "a{x}",
    r"\x41\t\n\r\f\v",
    "^ada$",
    r"\Aada",
    "über",
    "(a)(?:b)((c))",
    "a{1000}",
    "[(?=]",
]
REFUSED = [
    "",
    "(",
    "a)",
    "[a",
    "*a",
    "a**",
    "(?=a)",
    "(?!a)",
    "(?<=a)b",
    "(?<!a)b",
    "(?>a)",
    "(?#note)a",
    "(?x) a",
    "(?a)a",
    "(?u)a",
    "(?L)a",
    "(?ix)a",
    r"(a)\1",
    "(?P<n>a)(?P=n)",
    "(a)?(?(1)b|c)",
    "a*+",
    "a++",
    "a?+",
    "a{2}+",
    "a{1001}",
    r"a\Z",
    r"\u0041",
    r"\U00000041",
    r"\N{DIGIT ONE}",
    r"\012",
    r"[\1]",
    r"[\b]",
    "[[:alpha:]]",
    "[a--b]",
    "[a&&b]",
    r"\p{L}",
    r"\Qa\E",
    r"\C",
    r"\xZZ",
]


@pytest.mark.parametrize("pattern", TAKEN)
def test_common_expression_is_taken(pattern):
    assert re2.objection(pattern) == ""
    re.compile(pattern)


@pytest.mark.parametrize("pattern", REFUSED)
def test_other_expression_is_refused_with_the_reason(pattern):
    assert re2.objection(pattern)


@given(st.text(alphabet=r"ab01(?:=!<>P|)*+{,}[]^-\dDZzxQ.$#i", max_size=12))
def test_what_is_taken_is_an_expression(pattern):
    if not re2.objection(pattern):
        re.compile(pattern)


@given(st.sampled_from(TAKEN), st.text(alphabet="abcde.(", max_size=6))
def test_excluded_is_only_what_does_not_match(pattern, text):
    if re2.excludes(pattern, text):
        assert not re.fullmatch(pattern, text)


def test_some_are_excluded_and_unknown_things_are_not():
    assert re2.excludes("ada|eve", "bob")
    assert not re2.excludes("ada|eve", "bób")
    assert not re2.excludes("(?i)ada", "ADA")


def test_no_expression_takes_long():
    began = time.process_time()
    for pattern in ("(a+)+b", "(a|a)*b", "a*a*a*a*a*a*b", "((a{1,9}){1,9}){1,9}b", "(?:a*)*b"):
        assert not re2.objection(pattern)
        re2.excludes(pattern, "a" * 200)
    assert time.process_time() - began < 5
