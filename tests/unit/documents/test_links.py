"""Links lead somewhere: `make docs` sees to those among docs/, this to the others."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[3]
OUTSIDE = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "lab/README.md"]


@pytest.mark.parametrize("document", OUTSIDE)
def test_links_to_files_of_the_checkout(document: str) -> None:
    file = CHECKOUT / document
    for link in re.findall(r"\]\(([^)#]+)", file.read_text()):
        assert "://" in link or (file.parent / link).exists(), link


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A copy of what the site is made of."""
    shutil.copy(CHECKOUT / "mkdocs.yml", tmp_path)
    shutil.copytree(CHECKOUT / "docs", tmp_path / "docs")
    return tmp_path


def test_site_with_broken_links_or_a_page_in_no_nav_is_not_built(site: Path) -> None:
    (site / "docs" / "forgotten.md").write_text("# In no nav\n")
    broken = ["absent.md", "commands.md#absent", "/commands.md"]
    with (site / "docs" / "index.md").open("a") as page:
        page.writelines(f"[link]({link})\n" for link in broken)
    build = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=site, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Aborted with {len(broken) + 1} warnings" in done.stdout + done.stderr
