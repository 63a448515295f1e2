"""What is known of names, for how long, and how much of it."""

from tests.unit.dns.fakedns import Clock
from towline.dns.verdicts import CAPACITY, Verdicts
from towline.wire.dns import Name


def test_verdict_is_fresh_for_its_time_and_remembered_after():
    clock = Clock()
    verdicts = Verdicts(clock)
    verdicts.learn(Name.of("com"), False, 30)
    verdicts.learn(Name.of("Dev"), True, 30)

    clock.now += 29.9
    assert verdicts.fresh(Name.of("com")) is False
    assert verdicts.fresh(Name.of("dev")) is True

    clock.now += 0.1
    assert verdicts.fresh(Name.of("com")) is None
    assert verdicts.fresh(Name.of("dev")) is None
    assert verdicts.last(Name.of("dev"))
    assert verdicts.last(Name.of("com")) is False


def test_nothing_is_known_of_other_names():
    verdicts = Verdicts()

    assert verdicts.fresh(Name.of("com")) is None
    assert verdicts.last(Name.of("com")) is None


def test_later_verdict_replaces_the_earlier():
    verdicts = Verdicts(Clock())
    verdicts.learn(Name.of("dev"), True, 30)
    verdicts.learn(Name.of("dev"), False, 30)

    assert verdicts.fresh(Name.of("dev")) is False
    assert verdicts.last(Name.of("dev")) is False


def test_oldest_verdict_is_forgotten_when_there_are_too_many():
    verdicts = Verdicts(Clock())
    first, second = Name.of("first"), Name.of("second")
    verdicts.learn(first, True, 30)
    verdicts.learn(second, True, 30)
    verdicts.learn(first, True, 30)
    for number in range(CAPACITY - 1):
        verdicts.learn(Name.of(f"n{number}"), True, 30)

    assert verdicts.fresh(first) is True
    assert verdicts.fresh(second) is None
