"""Settings that are no option of a command."""

import pytest

from towline.settings.own import OWN, from_registry


@pytest.mark.parametrize(
    ("image", "mirrored"),
    [
        ("docker.io/library/python:3-slim", "mirror.example/library/python:3-slim"),
        ("python:3", "mirror.example/python:3"),
        ("me/python:3", "mirror.example/me/python:3"),
        ("localhost/python", "mirror.example/python"),
        ("localhost:5000/a/python@sha256:00", "mirror.example/a/python@sha256:00"),
    ],
)
def test_image_of_a_mirror_has_the_same_path(image: str, mirrored: str) -> None:
    assert from_registry(image, "mirror.example") == mirrored


@pytest.mark.parametrize("text", ["mirror.example", "mirror.example:5000/a/b", "localhost/"])
def test_registry_is_host_port_and_path(text: str) -> None:
    assert OWN["registry"].read((text,)) == text.rstrip("/")


@pytest.mark.parametrize("text", ["https://mirror.example", "mirror example", "", "a/B/"])
def test_nothing_else_is_a_registry(text: str) -> None:
    with pytest.raises(ValueError, match="registry"):
        OWN["registry"].read((text,))


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 64])
def test_profile_is_no_path(name: str) -> None:
    with pytest.raises(ValueError, match="profile"):
        OWN["profile"].read((name,))
