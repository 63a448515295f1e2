"""Completion by the shells themselves, with what the cluster has."""

from __future__ import annotations

import pytest

from tests.e2e import shells
from tests.e2e.waiting import until

pytestmark = pytest.mark.usefixtures("no_trace")

SET_UP = {
    "bash --norc --noprofile -i": "source <(tow completion bash)",
    "zsh -f -i": "autoload -Uz compinit; compinit -u -D; source <(tow completion zsh)",
}
# Each tab completes a word, and puts a space behind it.
TYPED = "tow exch\twe\t--expose 8080:ht\t--context=la\t-n tea\t--mode sca\t"
MEANT = "tow exchange web --expose 8080:http --context=lab -n team-a --mode scale"


@pytest.mark.parametrize("shell", SET_UP)
def test_line_is_completed_word_by_word(laptop, shell):
    with shells.terminal(laptop, *shell.split()) as terminal:
        terminal.type(f"{SET_UP[shell]}; echo READY =\n")
        terminal.line("READY =")
        # The cluster may be too slow for a shell once, on a busy machine.
        until(lambda: terminal.completed(TYPED) == MEANT, 120, f"'{MEANT}'")


def test_fish(laptop):
    asked = {
        "tow exch": "exchange",
        "tow exchange deploy/sam": "deploy/sample",
        "tow exchange web --expose 9090:80,8080:ht": "9090:80,8080:http",
        "tow connect --context=la": "--context=lab",
        "tow connect --namespace tea": "team-a",
    }
    script = "tow completion fish | source; " + "; ".join(
        f"complete --do-complete '{line}'" for line in asked
    )

    def is_answered() -> bool:
        found = [line.partition("\t")[0] for line in shells.fish(laptop, script)]
        return found == list(asked.values())

    until(is_answered, 120, f"{list(asked.values())}")
