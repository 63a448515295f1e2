"""`tow completion`: scripts for shells; and the answers that those scripts ask for."""

from __future__ import annotations

import os
import sys
from typing import Any, ClassVar

import click
from click import shell_completion
from click.shell_completion import CompletionItem

from towline.cli.command import Command

#: By this variable a script asks, as click's scripts do.
VARIABLE = "_TOW_COMPLETE"
PROGRAM = "tow"
SHELLS = ("bash", "zsh", "fish", "powershell")

EPILOG = """\b
Examples:
  source <(tow completion bash)                                  in this bash, or in ~/.bashrc
  source <(tow completion zsh)                                   the same, after compinit
  tow completion fish > ~/.config/fish/completions/tow.fish      for every fish
  tow completion powershell | Out-String | Invoke-Expression     in this PowerShell, or in $PROFILE
"""


@click.command("completion", cls=Command, epilog=EPILOG)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes what is typed behind tow.

    It knows commands and options, the contexts of the kubeconfig, namespaces, services and
    workloads, the ports of those, running sessions, settings and profiles. The cluster is asked
    each time, for a moment only: when it does not answer, nothing is offered.
    """
    click.echo(_class_of(shell)(ctx.find_root().command, {}, PROGRAM, VARIABLE).source(), nl=False)


def answer(cli: click.Command, instruction: str) -> None:
    """Print what completes a command line, as click's scripts ask for it; never returns.

    Silent whatever goes wrong: there is a shell waiting, with a prompt.
    """
    # A program that signs in to the cluster must neither read the terminal nor write to it.
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    os.dup2(silence, 2)
    shell, _, deed = instruction.partition("_")
    try:
        asked = _class_of(shell)(cli, {}, PROGRAM, VARIABLE)
        text = {"source": asked.source, "complete": asked.complete}[deed]()
        sys.stdout.write(text)
        sys.stdout.flush()
    except (Exception, SystemExit):  # noqa: BLE001 (there is nobody to tell)
        sys.exit(1)
    sys.exit(0)


class _Bash(shell_completion.BashComplete):
    """Bash takes for words what : and = separate, and wants the last of them completed."""

    _begun = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words as their user sees them."""
        cut = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
        words = [""]
        for word in cut[1:]:
            if word == "=" and words[-1].startswith("-"):
                words.append("")
            elif word in {":", "="} or words[-1].endswith((":", "=")):
                words[-1] += word
            elif words[-1]:
                words.append(word)
            else:
                words[-1] = word
        words = ["".join(shell_completion.split_arg_string(word)) for word in words]
        *args, incomplete = words
        # Where COMP_WORDBREAKS has no colon, the word is whole, and so is what replaces it.
        last = "".join(shell_completion.split_arg_string(cut[-1])).removeprefix(":")
        self._begun = incomplete.removesuffix(last)
        return args, incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """As click's, without what stands before the word already."""
        return f"{item.type},{str(item.value).removeprefix(self._begun)}"


class _Fish(shell_completion.FishComplete):
    """Values may have commas."""

    source_template: ClassVar[str] = shell_completion.FishComplete.source_template.replace(
        'string split ","', 'string split -m 1 ","'
    )


_OURS: dict[str, type[shell_completion.ShellComplete]] = {"bash": _Bash, "fish": _Fish}


def _class_of(shell: str) -> type[shell_completion.ShellComplete]:
    found = _OURS.get(shell) or shell_completion.get_completion_class(shell)
    if found is None:
        raise ValueError(f"{shell} is not among {SHELLS}")

    class Complete(found):  # type: ignore[misc, valid-type]
        """As the shell's own, for whatever words."""

        def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
            # A program that is to be run has arguments of its own: files, as far as is known.
            if "--" in args:
                return [CompletionItem(incomplete, type="file")]
            items: list[CompletionItem[str]] = super().get_completions(args, incomplete)
            # Shells other than bash put the answer in place of the word, which is --OPTION=VALUE.
            option, equals, _ = incomplete.partition("=")
            if equals and option.startswith("-"):
                for item in items:
                    item.value = f"{option}={item.value}"
            return items

    return Complete
