"""What a shell's script is answered; tests/e2e has the shells themselves."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from towline.cli import completion
from towline.cli import main as cli
from towline.cli.commands import COMMANDS

CONTEXTS = {"dev": "shop", "prod": "shop", "arn:aws:prod": ""}


@pytest.fixture
def silent_server():
    """Where connections are accepted, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def kubeconfig(folder: Path, server: str, **user: Any) -> Path:
    content = {
        "kind": "Config",
        "current-context": "dev",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": "u", "namespace": namespace}}
            for name, namespace in CONTEXTS.items()
        ],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(content))
    return path


def question(shell: str, words: tuple[str, ...], config: Path | str) -> dict[str, str]:
    """The variables by which a shell asks."""
    return {
        "_TOW_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": ("\n" if shell == "bash" else " ").join(words),
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
        "KUBECONFIG": str(config),
    }


def complete(shell: str, *words: str, config: Path | str = "/nonexistent") -> str:
    """What a shell is answered, where no cluster has to be asked."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in question(shell, words, config).items():
            environment.setenv(name, value)
        return completion._class_of(shell)(cli.main, {}, "tow", "_TOW_COMPLETE").complete()


def offered(*words: str, config: Path | str = "/nonexistent") -> list[str]:
    """The same as a list."""
    return [
        line.removeprefix("plain,") for line in complete("bash", *words, config=config).splitlines()
    ]


def run(*words: str, config: Path | str, seconds: float = 50, before: str = "pass") -> list[str]:
    """What `tow` prints, a process of its own, that asks a cluster for that long."""
    program = (
        f"{before}; from towline.cli import main, offers; offers.SECONDS = {seconds}; main.run()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        timeout=45,
        env={**os.environ, **question("bash", words, config)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [line.removeprefix("plain,") for line in done.stdout.splitlines()]


def test_commands() -> None:
    assert offered("tow", "exp") == ["explain"]


def test_contexts_also_behind_an_equals_sign_and_with_colons(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert offered("tow", "connect", "--context", "", config=config) == list(CONTEXTS)
    assert offered("tow", "connect", "--context", "=", "pr", config=config) == ["prod"]
    colons = ("arn", ":", "aws", ":", "p")
    assert offered("tow", "connect", "--context", *colons, config=config) == ["prod"]
    whole = "arn:aws:p"  # as where COMP_WORDBREAKS has no colon
    assert offered("tow", "connect", "--context", whole, config=config) == ["arn:aws:prod"]


def test_keys_of_settings_and_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = tmp_path / "towline" / "profiles"
    profiles.mkdir(parents=True)
    for name in ("prod", "test"):
        (profiles / f"{name}.yaml").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert offered("tow", "config", "set", "exch") == ["exchange."]
    assert offered("tow", "config", "get", "exchange.e") == ["exchange.expose"]
    assert offered("tow", "config", "set", "gra") == ["grace"]
    assert offered("tow", "config", "load-profile", "") == ["prod", "test"]
    assert offered("tow", "--profile", "p") == ["prod"]


def test_values_of_settings_are_those_of_the_options(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert offered("tow", "config", "set", "exchange.mode", "s") == ["selector", "scale"]
    assert offered("tow", "config", "set", "output", "") == ["text", "json"]
    assert offered("tow", "config", "set", "strict", "t") == ["true"]
    assert offered("tow", "config", "set", "context", "pr", config=config) == ["prod"]
    assert offered("tow", "config", "set", "nonsense", "") == []
    assert offered("tow", "config", "set", "nonsense.mode", "") == []


def test_cluster_has_all_the_time_whatever_the_imports_take(tmp_path: Path) -> None:
    begins_too_early = (
        "import sys; from towline.cli import offers; begin = offers._ending_with_the_process;"
        "offers._ending_with_the_process = lambda: 'aiohttp' in sys.modules and begin()"
    )
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    run("tow", "connect", "-n", "", config=config, before=begins_too_early)


def test_what_is_set_counts_for_what_is_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    own = tmp_path / "towline" / "config.yaml"
    own.parent.mkdir()
    own.write_text(f"kubeconfig: {config}\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert offered("tow", "connect", "--context", "pr") == ["prod"]
    own.write_text("something: wrong\n")
    assert offered("tow", "connect", "--det") == ["--detach"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("mesh --match header : x-user = ada we", ["mesh", "--match", "header:x-user=ada", "we"]),
        ("mesh --match path^ = /api web", ["mesh", "--match", "path^=/api", "web"]),
        ("mesh --context = la", ["mesh", "--context", "la"]),
        ("mesh --context =", ["mesh", "--context", ""]),
        ("mesh --expose 8080 :", ["mesh", "--expose", "8080:"]),
        ("mesh --expose 1:2,3 : 4", ["mesh", "--expose", "1:2,3:4"]),
        ("mesh 'web", ["mesh", "web"]),
        ("", [""]),
    ],
)
def test_bash_cuts_words_that_are_whole(
    monkeypatch: pytest.MonkeyPatch, words: str, meant: list[str]
) -> None:
    cut = ["tow", *words.split(" ")]
    monkeypatch.setenv("COMP_WORDS", "\n".join(cut))
    monkeypatch.setenv("COMP_CWORD", str(len(cut) - 1))
    args, incomplete = completion._class_of("bash")(cli.main, {}, "tow", "_").get_completion_args()
    assert [*args, incomplete] == meant


def test_namespaces_that_the_kubeconfig_names_when_the_cluster_does_not_answer(
    tmp_path: Path,
) -> None:
    config = kubeconfig(tmp_path, "http://127.0.0.1:1")
    assert run("tow", "connect", "-n", "", config=config) == ["shop"]


def test_cluster_that_says_nothing_is_not_waited_for(tmp_path: Path, silent_server: str) -> None:
    config = kubeconfig(tmp_path, silent_server)
    assert run("tow", "exchange", "", config=config, seconds=0.1) == []


def signing_in(folder: Path, script: str) -> Path:
    """A kubeconfig whose user signs in by a script."""
    version = "client.authentication.k8s.io/v1"
    plugin = {"command": "sh", "args": ["-c", script], "apiVersion": version}
    plugin["interactiveMode"] = "IfAvailable"
    return kubeconfig(folder, "https://127.0.0.1:1", exec=plugin)


def test_sign_in_that_takes_long_is_not_waited_for(tmp_path: Path) -> None:
    config = signing_in(tmp_path, "sleep 600")
    assert run("tow", "exchange", "", config=config, seconds=0.1) == []


def test_sign_in_sees_no_terminal(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    config = signing_in(tmp_path, f"readlink /proc/self/fd/0 > {seen}; exit 1")
    assert run("tow", "exchange", "", config=config) == []
    assert set(seen.read_text().split()) == {"/dev/null"}


def test_lookup_that_cannot_be_interrupted_ends_with_the_process(tmp_path: Path) -> None:
    slow = "import time, socket; socket.getaddrinfo = lambda *_, **__: time.sleep(600)"
    config = kubeconfig(tmp_path, "http://web.example")
    assert run("tow", "exchange", "", config=config, seconds=0.1, before=slow) == []


@pytest.mark.parametrize("words", [("exchange", ""), ("connect", "--context", "")])
def test_no_or_a_broken_kubeconfig_offers_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    broken = tmp_path / "broken"
    broken.write_text("{")
    assert run("tow", *words, config=broken) == []


def test_program_behind_two_dashes_is_a_file() -> None:
    assert complete("bash", "tow", "exchange", "web", "--", "./se") == "file,./se"


def test_powershell_is_told_each_in_three_lines() -> None:
    lines = complete("powershell", "tow", "exch").splitlines()
    assert lines == ["plain", "exchange", COMMANDS["exchange"][1]]


@pytest.mark.parametrize("shell", ["zsh", "fish", "powershell"])
def test_option_stays_with_its_value_where_shells_see_one_word(shell: str) -> None:
    answer = complete(shell, "tow", "exchange", "web", "--mode=sca")
    assert "--mode=scale" in re.split(r"[\n,]", answer)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_script_asks_as_it_is_answered(shell: str) -> None:
    script = CliRunner().invoke(cli.main, ["completion", shell]).output
    assert f"{shell}_complete" in script
    assert completion.VARIABLE in script
    for opening, closing in ("()", "{}", "[]"):
        text = re.sub(r"(?m)^\s*#.*|'[^']*'|\(\(.*?\)\)", "", script)
        assert text.count(opening) == text.count(closing)


def test_powershell_leads_every_completion_of_tow_to_its_script() -> None:
    script = CliRunner().invoke(cli.main, ["completion", "powershell"]).output
    assert script.startswith("Register-ArgumentCompleter -Native -CommandName tow -ScriptBlock {")
    assert script.rstrip().endswith("}")


@pytest.mark.parametrize("instruction", ["csh_complete", "bash_destroy", "_", "bash_complete"])
def test_senseless_question_is_met_with_silence(instruction: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "towline"],
        capture_output=True,
        check=False,
        env={**os.environ, "_TOW_COMPLETE": instruction},
    )
    assert (done.stdout, done.stderr) == (b"", b"")
