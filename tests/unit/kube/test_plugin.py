from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.errors import ConfigError
from towline.kube import auth, plugin
from towline.kube.config import Access, ExecPlugin, Pem, Tls, User
from towline.kube.plugin import Given, run_plugin

VERSION = "client.authentication.k8s.io/v1"


def access(
    script: str, *arguments: str, command: str = "/bin/sh", tls: Tls | None = None, **fields: Any
) -> Access:
    """Access whose plugin is a shell script."""
    fields = {"interactive_mode": "Never", **fields}
    made = ExecPlugin(command, ("-c", textwrap.dedent(script), "sh", *arguments), **fields)
    return Access(
        server="https://k:6443",
        namespace="default",
        context="c",
        source="/k",
        tls=tls or Tls(),
        user=User(label='the user "u" in /k', exec=made),
    )


def answer(version: str = VERSION, **status: Any) -> str:
    """A script that gives an ExecCredential."""
    text = json.dumps({"kind": "ExecCredential", "apiVersion": version, "status": status})
    return f"cat <<'END'\n{text}\nEND\n"


async def test_a_token_and_its_expiry_are_given() -> None:
    script = answer(token="t", expirationTimestamp="2030-01-01T00:00:00Z")

    assert await run_plugin(access(script)) == Given(token="t", expires=1893456000.0)


async def test_a_certificate_is_given() -> None:
    script = answer(clientCertificateData="crt", clientKeyData="key")

    given_ = await run_plugin(access(script))

    assert (given_.certificate, given_.key, given_.token) == (b"crt", b"key", "")
    assert given_.expires == float("inf")


async def test_v1beta1_is_answered_in_kind() -> None:
    version = "client.authentication.k8s.io/v1beta1"

    assert (await run_plugin(access(answer(version, token="t"), api_version=version))).token == "t"


async def test_arguments_and_environment_reach_the_plugin(tmp_path: Path) -> None:
    script = f'echo "$1 $ADDED $HOME" > {tmp_path}/seen\n' + answer(token="t")

    await run_plugin(access(script, "one two", env=(("ADDED", "a b"),)))

    home = os.environ.get("HOME", "")
    assert (tmp_path / "seen").read_text() == f"one two a b {home}\n"


async def test_the_plugin_is_told_about_the_cluster_only_when_it_wants_to(tmp_path: Path) -> None:
    script = f'printf %s "$KUBERNETES_EXEC_INFO" > {tmp_path}/info\n' + answer(token="t")
    tls = Tls(ca=Pem(data=b"pem"), server_name="kube")

    await run_plugin(access(script, tls=tls))
    plain = json.loads((tmp_path / "info").read_text())
    await run_plugin(
        access(script, tls=tls, provide_cluster_info=True, cluster_config={"audience": "x"})
    )
    full = json.loads((tmp_path / "info").read_text())

    assert plain == {
        "kind": "ExecCredential",
        "apiVersion": VERSION,
        "spec": {"interactive": False},
    }
    assert full["spec"]["cluster"] == {
        "server": "https://k:6443",
        "tls-server-name": "kube",
        "certificate-authority-data": base64.b64encode(b"pem").decode(),
        "config": {"audience": "x"},
    }


async def test_a_missing_plugin_comes_with_its_install_hint() -> None:
    missing = access("", command="no-such-plugin", install_hint="brew install no-such-plugin")

    with pytest.raises(ConfigError) as caught:
        await run_plugin(missing)

    assert caught.value.summary == (
        'The sign-in program "no-such-plugin" that the user "u" in /k names is not installed'
    )
    assert caught.value.hint == "brew install no-such-plugin"


async def test_a_plugin_that_fails_is_quoted() -> None:
    script = "echo 'please sign in \x1b[31mfirst' >&2; exit 3"

    with pytest.raises(ConfigError) as caught:
        await run_plugin(access(script))

    assert caught.value.summary.endswith("ended with exit code 3: please sign in [31mfirst")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo not json", "not JSON"),
        ("echo '[]'", "no ExecCredential"),
        ("echo '{}'", "no ExecCredential"),
        ("true", "not JSON"),
        (answer(), "neither a token nor"),
        (answer(token=""), "neither a token nor"),
        (answer(clientKeyData="key"), "only one of"),
        (answer("client.authentication.k8s.io/v1beta1", token="t"), "gave version"),
        (answer(token="t", expirationTimestamp="soon"), "is no time"),
        (answer(token="t", expirationTimestamp="2030-01-01T00:00:00"), "is no time"),
    ],
)
async def test_an_answer_that_is_no_credential_is_an_error(script: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        await run_plugin(access(script))


async def test_an_answer_is_never_quoted_as_it_may_hold_a_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        await run_plugin(access("echo my-secret-token"))

    assert "my-secret-token" not in caught.value.summary + caught.value.hint


async def test_a_plugin_that_hangs_is_ended_with_all_it_started(tmp_path: Path) -> None:
    script = f"sleep 1000 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own; wait"

    with pytest.raises(ConfigError, match="gave no answer within"):
        await run_plugin(access(script), timeout=0.5)

    for name in ("child", "own"):
        await _gone(int((tmp_path / name).read_text()))


async def test_a_plugin_that_is_no_longer_waited_for_is_ended(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "started")
    script = f"echo $$ > {tmp_path}/started; exec sleep 1000"
    running = asyncio.ensure_future(run_plugin(access(script)))
    process = int(await asyncio.to_thread((tmp_path / "started").read_text))

    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    await _gone(process)


async def _gone(process: int) -> None:
    """Wait until a process, maybe of another parent, has ended."""
    async with asyncio.timeout(5):
        while _is_running(process):
            await asyncio.sleep(0.01)


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


async def test_a_plugin_that_always_asks_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(ConfigError, match="needs a terminal"):
        await run_plugin(access(answer(token="t"), interactive_mode="Always"))


async def test_a_plugin_gets_no_input_without_a_terminal() -> None:
    script = 'read line; [ -z "$line" ] || exit 9\n' + answer(token="t")

    assert (await run_plugin(access(script, interactive_mode="IfAvailable"))).token == "t"


async def test_a_plugin_may_ask_where_there_is_a_terminal(tmp_path: Path) -> None:
    template = answer(token="LINE").replace("cat", 'sed "s/LINE/$line/"', 1)
    (tmp_path / "plugin").write_text(f"echo 'Your token:' >&2\nread line\n{template}")
    program = (
        "import asyncio\n"
        "from towline.kube.config import Access, ExecPlugin, User\n"
        "from towline.kube.plugin import run_plugin\n"
        f"plugin = ExecPlugin('/bin/sh', ('{tmp_path / 'plugin'}',))\n"
        "user = User(exec=plugin)\n"
        "access = Access('https://k', 'default', 'c', '/k', user=user)\n"
        "print(asyncio.run(run_plugin(access)).token)\n"
    )
    terminal, other_end = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program),
            stdin=other_end,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        assert await process.stderr.readline() == b"Your token:\n"
        os.write(terminal, b"typed\n")
        output, errors = await process.communicate()
    finally:
        os.close(terminal)
        os.close(other_end)

    assert (output, errors) == (b"typed\n", b"")


def counting(directory: Path, **status: Any) -> Access:
    """A plugin that gives token-1, token-2 and so on."""
    text = json.dumps(
        {"kind": "ExecCredential", "apiVersion": VERSION, "status": {"token": "token-N", **status}}
    )
    return access(
        f"""\
        n=$(($(cat {directory}/n 2>/dev/null || echo 0) + 1)); echo $n > {directory}/n
        echo '{text}' | sed s/token-N/token-$n/
        """
    )


async def test_a_credential_is_kept_until_it_expires(tmp_path: Path) -> None:
    now = 1893455999.0
    source = auth._FromPlugin(
        counting(tmp_path, expirationTimestamp="2030-01-01T00:00:00Z"), lambda: now
    )

    assert (await source.get()).authorization == "Bearer token-1"
    assert (await source.get()).authorization == "Bearer token-1"
    now = 1893456000.0
    assert (await source.get()).authorization == "Bearer token-2"


async def test_many_at_once_run_the_plugin_once(tmp_path: Path) -> None:
    source = auth._FromPlugin(counting(tmp_path))

    found = await asyncio.gather(*(source.get() for _ in range(10)))

    assert {one.authorization for one in found} == {"Bearer token-1"}


async def test_a_failure_is_that_of_all_who_waited_for_it(tmp_path: Path) -> None:
    source = auth.credentials(access('echo run >> "$1"; exit 1', str(tmp_path / "runs")))

    found = await asyncio.gather(*(source.get() for _ in range(4)), return_exceptions=True)

    assert all(isinstance(each, ConfigError) for each in found)
    assert (tmp_path / "runs").read_text() == "run\n"
    with pytest.raises(ConfigError):
        await source.get()
    assert (tmp_path / "runs").read_text() == "run\n" * 2


async def test_a_refused_credential_is_replaced_once(tmp_path: Path) -> None:
    source = auth._FromPlugin(counting(tmp_path))
    refused = await source.get()

    found = await asyncio.gather(*(source.refresh(refused) for _ in range(10)))

    assert {one.authorization for one in found} == {"Bearer token-2"}


@given(output=st.binary())
def test_any_output_is_a_credential_or_a_config_error(output: bytes) -> None:
    whole = access("")
    assert whole.user.exec is not None
    with pytest.raises(ConfigError):
        plugin._parse(output, whole, whole.user.exec)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    status=st.dictionaries(
        st.sampled_from(["token", "clientCertificateData", "clientKeyData", "expirationTimestamp"]),
        _JSON,
    )
)
def test_any_status_is_a_credential_or_a_config_error(status: dict[str, Any]) -> None:
    whole = access("")
    assert whole.user.exec is not None
    output = json.dumps({"kind": "ExecCredential", "apiVersion": VERSION, "status": status})
    try:
        found = plugin._parse(output.encode(), whole, whole.user.exec)
    except ConfigError:
        return
    assert found.token or found.certificate
