"""`tow config`, as its user sees it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from towline.cli import main as cli


@dataclass(frozen=True)
class Done:
    code: object
    out: str
    err: str


Tow = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings, in a folder of a work tree."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    (tmp_path / "tree" / ".git").mkdir(parents=True)
    (tmp_path / "tree" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "tree" / "sub")
    return tmp_path


@pytest.fixture
def tow(home: Path, capsys: pytest.CaptureFixture[str]) -> Tow:
    def tow(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            cli.run(["config", *arguments])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return Done(caught.value.code, told.out, told.err)

    return tow


@pytest.fixture
def own(home: Path) -> Path:
    return home / "xdg" / "towline" / "config.yaml"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def origins(tow: Tow) -> dict[str, tuple[object, str]]:
    """The value of each key, and its layer."""
    lines = json.loads(tow("show", "-o", "json").out)
    return {each["key"]: (each["value"], each["origin"]["layer"]) for each in lines}


def test_what_is_set_is_shown(tow: Tow, own: Path) -> None:
    assert tow("set", "namespace", "shop").out == f"namespace is set in {own}.\n"
    tow("set", "exchange.expose", "8080:80", "9090")
    tow("set", "exchange.strict", "yes")
    tow("set", "timeout", "2.5")
    shown = tow("show")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out == (
        "namespace: shop\ntimeout: 2.5\nexchange:\n  expose: ['8080:80', '9090']\n  strict: true\n"
    )
    assert own.read_text() == shown.out


def test_origin_is_layer_and_place(
    tow: Tow, home: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own, "# mine\ngrace: 5\nexchange:\n  mode: scale\n")
    write(home / "tree/.towline.yaml", "exchange:\n  mode: selector\nmirror:\n  mode: selector\n")
    monkeypatch.setenv("TOW_TIMEOUT", "9")
    rows = [line.split(maxsplit=2) for line in tow("show", "--origin").out.splitlines()]
    assert rows == [
        ["KEY", "VALUE", "ORIGIN"],
        ["grace", "5", f"user: {own}:2"],
        ["timeout", "9.0", "environment: TOW_TIMEOUT"],
        ["exchange.mode", "scale", f"user: {own}:4"],
        ["mirror.mode", "selector", f"team: {home}/tree/.towline.yaml:4"],
    ]


def test_all_that_can_be_set_is_shown_with_its_default(tow: Tow) -> None:
    lines = json.loads(tow("show", "--all", "-o", "json").out)
    values = {each["key"]: each["value"] for each in lines}
    assert values["grace"] == 60
    assert values["namespace"] is None
    assert values["output"] == "text"
    assert {each["origin"]["layer"] for each in lines} == {"built-in"}
    assert tow("show", "--all", "--origin").code == tow("show", "--all").code == 0


def test_without_settings_their_place_is_told(tow: Tow, own: Path) -> None:
    assert str(own) in tow("show").out
    assert tow("show", "-o", "json").out == "[]\n"


def test_get_prints_what_counts(tow: Tow, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(own, "namespace: shop\nexchange:\n  namespace: test\nexpose: [80, 90]\nstrict: true\n")
    assert tow("get", "namespace").out == "shop\n"
    assert tow("get", "exchange.namespace").out == "test\n"
    assert tow("get", "exchange.expose").out == "80\n90\n"
    assert tow("get", "exchange.strict").out == "true\n"
    assert tow("get", "connect.grace").out == "60\n"
    monkeypatch.setenv("TOW_EXCHANGE_NAMESPACE", "mine")
    assert tow("get", "exchange.namespace").out == "mine\n"


def test_get_of_nothing_is_one(tow: Tow) -> None:
    assert tow("get", "context") == Done(1, "", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["set", "namespcae", "x"], ["namespcae", "'namespace'"]),
        (["set", "exchange.mod", "scale"], ["exchange", "'mode'"]),
        (["set", "exchnage.mode", "scale"], ["exchnage", "'exchange'"]),
        (["set", "connect.mode", "scale"], ["tow connect", "exchange, mesh, mirror"]),
        (["set", "exchange.mode", "scael"], ["scael", "'scale'"]),
        (["set", "exchange.strict", "maybe"], ["maybe", "neither true nor false"]),
        (["set", "grace", "0"], ["x>=1"]),
        (["set", "grace", "5", "6"], ["one value"]),
        (["set", "expose", "80:80:80:80"], ["what to expose"]),
        (["set", "older-than", "7"], ["length of time"]),
        (["set", "registry", "https://x"], ["registry"]),
        (["set", "--team", "kubeconfig", "x"], ["clone", "run programs"]),
        (["set", "--team", "expose", "evil:80:80"], ["clone", "another host"]),
        (["set", "--team", "profile", "x"], ["not here"]),
        (["set", "--team", "--profile", "x", "grace", "5"], ["not both"]),
        (["set", "--profile", "../x", "grace", "5"], ["no name of a profile"]),
        (["unset", "namespace"], ["not set"]),
        (["get", "mod"], ["'mode'"]),
        (["get", "exchange.grase"], ["'grace'"]),
        (["get", "config.output"], ["config"]),
        (["load-profile", "none-such"], ["no profile"]),
        (["load-profile"], ["NAME"]),
        (["load-profile", "x", "--none"], ["NAME"]),
        (["drop-profile", "x"], ["no profile"]),
        (["save-profile", "x"], ["nothing"]),
        (["save-profile", "none"], ["stands for no profile"]),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    tow: Tow, home: Path, arguments: list[str], words: list[str]
) -> None:
    done = tow(*arguments)
    assert done.code == 2
    assert all(word in done.err for word in words), done.err
    assert not list(home.rglob("*.yaml"))


def test_no_profile_is_set_that_is_not_there(tow: Tow, own: Path) -> None:
    done = tow("set", "profile", "work")
    assert (done.code, own.exists()) == (2, False)
    assert "There is no profile 'work'." in done.err
    assert "save-profile" in done.err
    write(own.parent / "profiles" / "work.yaml", "grace: 9\n")
    assert tow("set", "profile", "work").code == 0
    assert origins(tow)["grace"] == (9, "profile")


def test_link_of_a_clone_is_not_followed_to_write(tow: Tow, home: Path) -> None:
    (home / "other.yaml").write_text("a: b\n")
    (home / "tree/.towline.yaml").symlink_to(home / "other.yaml")
    assert tow("set", "--team", "namespace", "dev").code == 2
    assert (home / "other.yaml").read_text() == "a: b\n"


def test_folder_that_is_gone_is_no_place_for_settings(tow: Tow, home: Path) -> None:
    (home / "tree/sub").rmdir()
    for arguments in (["--team", "namespace", "dev"], ["kubeconfig", "kube"]):
        done = tow("set", *arguments)
        assert (done.code, "not there any more" in done.err) == (2, True)


def test_set_in_the_team_file_is_at_the_root_of_the_tree(tow: Tow, home: Path) -> None:
    tow("set", "--team", "namespace", "shop")
    assert (home / "tree" / ".towline.yaml").read_text() == "namespace: shop\n"
    tow("unset", "--team", "namespace")
    assert (home / "tree" / ".towline.yaml").read_text() == ""


def test_relative_file_is_meant_from_here(tow: Tow, own: Path, home: Path) -> None:
    tow("set", "kubeconfig", "kube")
    assert own.read_text() == f"kubeconfig: {home}/tree/sub/kube\n"


def test_comments_stay(tow: Tow, own: Path) -> None:
    write(own, "# mine\ngrace: 5  # slow\n")
    assert tow("set", "grace", "6").err == ""
    assert own.read_text() == "# mine\ngrace: 6  # slow\n"


def test_lost_comments_are_told(tow: Tow, own: Path) -> None:
    write(own, "# mine\n{grace: 5}\n")
    assert "are lost" in tow("set", "timeout", "6").err
    assert origins(tow) == {"grace": (5, "user"), "timeout": (6.0, "user")}


def test_what_counts_more_is_told(tow: Tow, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(own, "exchange:\n  grace: 5\n")
    told = tow("set", "grace", "6").err
    assert told == "", "it is in the same file"
    monkeypatch.setenv("TOW_MIRROR_GRACE", "7")
    assert "for tow mirror is this: environment: TOW_MIRROR_GRACE" in tow("set", "grace", "8").err
    monkeypatch.setenv("TOW_GRACE", "7")
    assert "counts is this: environment: TOW_GRACE" in tow("set", "connect.grace", "8").err


def test_broken_file_is_told_of_and_the_rest_is_shown(tow: Tow, own: Path, home: Path) -> None:
    write(own, "grace: 5\n")
    write(home / "tree/.towline.yaml", "namespcae: x\nmode: scale\nexchange: [\n")
    shown = tow("show")
    assert (shown.code, shown.out) == (2, "grace: 5\n")
    assert f"{home}/tree/.towline.yaml:" in shown.err
    assert tow("get", "grace").out == "5\n"


def test_wrong_name_can_be_unset_and_wrong_value_set(tow: Tow, own: Path) -> None:
    write(own, "gracee: 5\nexchange:\n  mode: nonsense\n")
    assert tow("show").code == 2
    tow("unset", "gracee")
    tow("set", "exchange.mode", "scale")
    assert (tow("show").code, own.read_text()) == (0, "exchange:\n  mode: scale\n")


def test_what_is_no_yaml_is_left_for_the_editor(tow: Tow, own: Path) -> None:
    write(own, "grace: [\n")
    done = tow("set", "grace", "5")
    assert (done.code, own.read_text()) == (2, "grace: [\n")
    assert f"{own}:" in done.err
    assert "tow config edit" in done.err


@pytest.fixture
def editor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """An editor that replaces all by a text."""

    def editor(text: str) -> None:
        (home / "edited").write_text(text)
        script = home / "editor.sh"
        # click takes a file for unchanged whose time is that of before.
        script.write_text(f'cat {home}/edited > "$1"; touch -d "1 hour" "$1"\n')
        monkeypatch.setenv("VISUAL", f"sh {script}")

    return editor


def test_edited_is_written_if_it_is_right(
    tow: Tow, own: Path, editor: Callable[[str], None]
) -> None:
    editor("grace: 5  # slow\n")
    assert tow("edit").code == 0
    assert own.read_text() == "grace: 5  # slow\n"
    editor("grace: 0\nb: 1\n")
    done = tow("edit")
    assert done.code == 2
    assert f"{own}:1: 'grace'" in done.err
    assert f"{own}:2: " in done.err
    assert own.read_text() == "grace: 5  # slow\n"


def test_broken_file_can_be_edited(tow: Tow, own: Path, editor: Callable[[str], None]) -> None:
    write(own, "grace: [\n")
    editor("grace: 5\n")
    assert (tow("edit").code, own.read_text()) == (0, "grace: 5\n")


def test_profiles_are_saved_loaded_listed_and_dropped(tow: Tow, own: Path) -> None:
    write(own, "# mine\nnamespace: shop\n")
    tow("save-profile", "shop")
    tow("set", "namespace", "other")
    tow("save-profile", "other")
    assert "already" in tow("save-profile", "other").err
    assert tow("save-profile", "--force", "other").code == 0
    tow("load-profile", "shop")
    assert tow("list-profiles").out == "  other\n* shop\n"
    listed = json.loads(tow("list-profiles", "-o", "json").out)
    assert [(each["name"], each["loaded"]) for each in listed] == [("other", False), ("shop", True)]
    assert origins(tow)["namespace"] == ("shop", "profile")
    assert (own.parent / "profiles/shop.yaml").read_text() == "# mine\nnamespace: shop\n"
    tow("drop-profile", "shop")
    assert own.read_text() == "# mine\nnamespace: other\n"
    assert tow("list-profiles").out == "  other\n"
    tow("load-profile", "other")
    tow("load-profile", "--none")
    assert origins(tow) == {"namespace": ("other", "user")}


def test_saved_profile_has_what_the_loaded_one_says(tow: Tow, own: Path) -> None:
    write(own, "namespace: a\ngrace: 5\n")
    tow("save-profile", "first")
    tow("load-profile", "first")
    tow("set", "--profile", "first", "namespace", "b")
    tow("set", "--profile", "first", "exchange.expose", "80", "90")
    tow("save-profile", "second")
    text = (own.parent / "profiles/second.yaml").read_text()
    assert text == "namespace: b\ngrace: 5\nexchange:\n  expose: ['80', '90']\n"


def test_profile_that_is_broken_is_not_loaded(tow: Tow, own: Path) -> None:
    write(own.parent / "profiles/bad.yaml", "nonsense: 1\n")
    assert "bad.yaml:1" in tow("load-profile", "bad").err
    assert not own.exists()


def test_profile_of_the_environment_is_told(
    tow: Tow, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(own.parent / "profiles/a.yaml", "grace: 5\n")
    write(own.parent / "profiles/b.yaml", "grace: 6\n")
    monkeypatch.setenv("TOW_PROFILE", "b")
    assert "TOW_PROFILE" in tow("load-profile", "a").err
    assert "not loaded" in tow("set", "--profile", "a", "grace", "7").err


def test_misspelt_variable_is_told_of(tow: Tow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOW_NAMESPCAE", "x")
    assert "Did you mean TOW_NAMESPACE?" in tow("show").err


def test_settings_concern_not_the_commands_about_them(tow: Tow, own: Path) -> None:
    write(own, "output: json\nforce: true\n")
    assert tow("show").out == "force: true\noutput: json\n"
