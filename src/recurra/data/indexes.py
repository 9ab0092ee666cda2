"""The package indexes that pip is set up with, read as pip reads them, for files that pip itself would build.

``pip download`` runs the setup code of a source package to learn its name. A data set needs the file alone, so the
file is looked up by its name on the index's page for the project (PEP 503, the simple repository interface).
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

from recurra.data.downloads import download, opened, without_password
from recurra.errors import DataError

__all__ = ["fetch", "settings"]

ACCEPT = "application/vnd.pypi.simple.v1+html, text/html;q=0.5"
SCOPES = ("global", "download", ":env:")  # later ones win, as in pip
DEFAULT = re.compile(r"--index-url .*?\(default\s+(\S+)\)", re.DOTALL)


def pip(*arguments: str) -> str:
    """What ``python -m pip ARGUMENTS`` prints. Raises DataError if there is no pip."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(sys.prefix))
    if done.returncode:
        raise DataError(f"pip does not work here ({done.stderr.strip()}); try: python -m ensurepip")
    return done.stdout


def settings() -> Mapping[str, str]:
    """pip's settings by name, such as ``index-url``, from its files and environment."""
    merged: dict[str, str] = {}
    lines = [line.partition("=") for line in pip("config", "list").splitlines()]
    for scope in SCOPES:
        mine = [(name, value) for name, _, value in lines if name.startswith(f"{scope}.")]
        merged |= {name[len(scope) + 1 :]: ast.literal_eval(value) for name, value in mine}
    return merged


def fetch(project: str, filename: str, target: Path, size: int) -> None:
    """Write the file ``filename`` of a project to ``target``, from the first index or folder that has it.

    Raises DataError that names every place that was tried.
    """
    given = settings()
    certificates = given.get("cert") or None
    tried = []
    for place in _places(given, project):
        try:
            download(_find(place, filename, certificates), target, size, certificates)
            return
        except DataError as error:
            tried.append(str(error))
    raise DataError("; ".join(tried) or "pip is set up to use no index")


def _places(given: Mapping[str, str], project: str) -> Iterator[str]:
    """Addresses of pages that may link to the file: find-links first, then the indexes' pages for the project."""
    for place in given.get("find-links", "").split():
        yield place if "://" in place else Path(os.path.expanduser(place)).absolute().as_uri()
    if given.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        return
    page = re.sub(r"[-_.]+", "-", project).lower()
    main = given.get("index-url") or _default()
    for index in [main, *given.get("extra-index-url", "").split()]:
        yield f"{index.rstrip('/')}/{page}/"


def _default() -> str:
    """The index that pip uses when none is set; pip's own help names it."""
    found = DEFAULT.search(pip("download", "--help"))
    if not found:
        raise DataError("pip names no default index; set one with: python -m pip config set global.index-url URL")
    return found[1]


def _find(place: str, filename: str, certificates: str | None) -> str:
    """The URL of ``filename`` as linked from a page, or as it lies in a folder."""
    if place.startswith("file:"):
        folder = Path(url2pathname(urlsplit(place).path))
        if (folder / filename).is_file():
            return (folder / filename).as_uri()
        place = (folder / "index.html").as_uri() if folder.is_dir() else place
    with opened(place, ACCEPT, certificates) as answer:
        page = _Links(answer.read().decode("utf-8", "replace"))
    for link in page.found:
        if unquote(urlsplit(link).path).rpartition("/")[2] == filename:
            return urldefrag(urljoin(place, link))[0]
    raise DataError(f"{without_password(place)} does not offer {filename}")


class _Links(HTMLParser):
    """The targets of all links of a page, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]
