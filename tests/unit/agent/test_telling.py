import pytest

from towline.agent.telling import BACK, GONE, says_gone


@pytest.mark.parametrize(
    ("lines", "gone"),
    [
        ([], False),
        (["anything"], False),
        ([GONE], True),
        ([GONE, "towline: /x cannot be put back yet: 403"], True),
        ([GONE, BACK], False),
        ([GONE, BACK, GONE], True),
        ([f"about {GONE}"], False),
    ],
)
def test_the_last_word_counts(lines: list[str], gone: bool) -> None:
    assert says_gone("\n".join(lines)) is gone
