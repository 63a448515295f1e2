"""What several links may take together, whatever each of them asks for and gives back."""

from hypothesis import given
from hypothesis import strategies as st

from towline.wire.budget import Budget

WHOLE, OWN, TRUST = 4000, 1000, 200
LINKS = 8

# A link, and what a new stream of it wants, or, if negative, which of its streams ends.
STEPS = st.tuples(st.integers(0, LINKS - 1), st.integers(-3, 1500), st.booleans())


@given(st.lists(STEPS, max_size=100))
def test_links_together_take_no_more_than_there_is_and_give_all_back(
    steps: list[tuple[int, int, bool]],
) -> None:
    whole = Budget(WHOLE)
    links = [Budget(OWN, TRUST, within=whole) for _ in range(LINKS)]
    taken: list[list[tuple[int, int]]] = [[] for _ in links]
    for number, wanted, on_trust in steps:
        link, streams = links[number], taken[number]
        if wanted >= 0:
            got = link.take(wanted, 0, on_trust=on_trust)
            assert 0 <= got <= wanted
            assert not got or OWN - link.growth <= whole.growth, "took more than it left"
            streams.append((got, got if on_trust else 0))
        elif len(streams) >= -wanted:
            size, trusted = streams.pop(wanted)
            link.give_back(size, on_trust=trusted)
        assert whole.growth == WHOLE - sum(size for each in taken for size, _ in each)
        assert whole.growth > 0, "nothing is left for the next one"
    for link, streams in zip(links, taken, strict=True):
        for size, trusted in streams:
            link.give_back(size, on_trust=trusted)
        assert (link.growth, link.trust) == (OWN, TRUST)
    assert whole.growth == WHOLE


def test_link_alone_has_as_much_as_if_it_shared_with_nobody() -> None:
    alone, sharing = Budget(OWN, TRUST), Budget(OWN, TRUST, within=Budget(WHOLE))
    for on_trust in (True, False) * 10:
        wanted = alone.take(WHOLE, 0, on_trust=on_trust)
        assert sharing.take(WHOLE, 0, on_trust=on_trust) == wanted


def test_each_of_many_links_gets_something_and_what_has_come_back() -> None:
    whole = Budget(WHOLE)
    links = [Budget(OWN, within=whole) for _ in range(LINKS)]
    has = [0] * LINKS
    for _ in range(20):
        for number, link in enumerate(links):
            has[number] += link.take(50, 0, on_trust=False)
    assert min(has) > WHOLE // LINKS // 2, "not its share"

    late = Budget(OWN, within=whole)
    little = late.take(OWN, 0, on_trust=False)
    assert little > 0
    for link, size in zip(links, has, strict=True):
        link.give_back(size, on_trust=0)
    assert late.take(OWN, 0, on_trust=False) > little
