"""What the agent finds out about its pod."""

from pathlib import Path

import pytest

from towline.agent.pod import DEFAULT_MEMORY_BYTES, memory_limit


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (["268435456\n"], 268435456),
        ([None, "134217728\n"], 134217728),
        (["max\n"], DEFAULT_MEMORY_BYTES),
        ([None, "9223372036854771712\n"], DEFAULT_MEMORY_BYTES),
        (["", "134217728\n"], 134217728),
        ([None, None], DEFAULT_MEMORY_BYTES),
    ],
)
def test_memory_limit_is_the_containers_own(
    tmp_path: Path, said: list[str | None], limit: int
) -> None:
    files = [tmp_path / str(number) for number in range(len(said))]
    for file, text in zip(files, said, strict=True):
        if text is not None:
            file.write_text(text)
    assert memory_limit([str(file) for file in files]) == limit
