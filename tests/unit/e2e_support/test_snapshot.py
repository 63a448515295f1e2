from __future__ import annotations

from tests.e2e.trace.snapshot import counted, difference


def test_difference_of_the_same_is_empty():
    view = {"route": {"a": "1", "b": "2"}, "file": {}}
    assert difference(view, {"route": {"b": "2", "a": "1"}}) == ""


def test_difference_names_what_appeared_and_what_vanished():
    told = difference({"file": {"/old": "10 bytes"}}, {"file": {"/new": "20 bytes"}})
    assert told.splitlines() == ["+ file: /new 20 bytes", "- file: /old 10 bytes"]


def test_difference_shows_the_lines_that_changed():
    told = difference({"rules": {"nft": "a\nb\nc"}}, {"rules": {"nft": "a\nB\nc"}})
    assert told.splitlines()[0] == "! rules: nft has changed"
    assert {"    -b", "    +B"} <= set(told.splitlines())


def test_difference_of_a_missing_view_is_all_of_it():
    assert difference({}, {"process": {"process 7": "sleep"}}) == "+ process: process 7 sleep"


def test_difference_stays_readable():
    many = {"file": {f"/{n:03}": "" for n in range(1000)}}
    long = {"object": {"job": "\n".join(f"{n} {'x' * 9999}" for n in range(1000))}}
    for told in (difference({}, many), difference({"object": {"job": ""}}, long)):
        assert len(told.splitlines()) < 60
        assert max(len(line) for line in told.splitlines()) < 300
        assert "more lines" in told


def test_counted_tells_the_number_of_equal_lines_apart():
    assert difference({"s": counted(["a"])}, {"s": counted(["a", "a"])}) == "+ s: a ×2"
    assert difference({"s": counted(["a", "b"])}, {"s": counted(["b", "a"])}) == ""
