"""How much of the transports is measured."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks import measures


@dataclass(frozen=True, slots=True)
class Effort:
    """`flows` of TCP as the uplink's, `moved` bytes each way to see what they cost; `lost` times
    cut, and as often without an agent.

    `made` connections, `peers` of them by the peers, `crowd` at a time; `idle` ones that are held.
    `offers` are sizes of datagrams in bytes, and how many are sent in a second, for `datagrams`
    seconds each; `lookups` are the seconds of each kind.
    """

    rounds: int
    flows: measures.Effort
    moved: int
    lost: int
    made: int
    peers: int
    crowd: int
    idle: int
    offers: tuple[tuple[int, int], ...]
    datagrams: float
    lookups: float


FULL = Effort(
    rounds=3,
    flows=measures.Effort(rounds=3, bulk=1.5, echo=1.0, connect=1.0, first=15),
    moved=600_000_000,
    lost=3,
    made=50_000,
    peers=2_000,
    crowd=64,
    idle=1_000,
    # Of an answer to a lookup, of QUIC, and of a file by NFS, which takes several packets.
    offers=(
        *((64, rate) for rate in (1_000, 5_000, 20_000)),
        *((1_200, rate) for rate in (1_000, 5_000, 20_000)),
        *((8_000, rate) for rate in (1_000, 4_000)),
    ),
    datagrams=1.0,
    lookups=2.0,
)
QUICK = Effort(
    rounds=1,
    flows=measures.Effort(rounds=1, bulk=0.2, echo=0.2, connect=0.2, first=3, flows=(8,)),
    moved=20_000_000,
    lost=1,
    made=100,
    peers=20,
    crowd=16,
    idle=50,
    offers=((1_200, 1_000), (8_000, 100)),
    datagrams=0.2,
    lookups=0.2,
)
