import pytest

from towline.agent.telling import AWAY, BACK, GONE, last_told


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
