import pytest

from towline.agent.telling import AWAY, BACK, GONE, away, last_told, tell_of_one


@pytest.mark.parametrize(
    ("lines", "last"),
    [
        ([], ""),
        (["anything"], ""),
        ([AWAY], AWAY),
        ([AWAY, GONE, "towline: /x cannot be put back yet: 403"], GONE),
        ([AWAY, GONE, BACK], BACK),
        ([AWAY, BACK, AWAY], AWAY),
        ([f"about {GONE}"], ""),
    ],
)
def test_the_last_word_counts(lines: list[str], last: str) -> None:
    assert last_told("\n".join(lines)) == last


def test_of_several_sessions_each_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    for port, there in ((1, True), (2, True), (1, False), (3, False), (3, True), (2, False)):
        tell_of_one(port, there)
    log = capsys.readouterr().err
    assert away(log) == {1, 2}
    assert last_told(log) == ""
    assert away(f"{AWAY}\nof port 4 is away") == set()
