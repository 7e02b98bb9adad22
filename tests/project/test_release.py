"""The version is the same everywhere, and the changelog has an entry for it."""

import re
import tomllib

import yaml

import rnn_topologies

from ..support.paths import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]


def test_the_package_and_the_citation_have_the_version_of_pyproject():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert rnn_topologies.__version__ == VERSION
    assert citation["version"] == VERSION


def test_the_newest_release_in_the_changelog_is_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## \[(\d[^]]*)\] - (\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert releases[0] == (VERSION, str(citation["date-released"]))
    for version, _ in releases:
        assert f"[{version}]: https://" in changelog  # the link of its heading
