"""Data sets by name: fetched from an index that runs here, checked, kept, and refused when anything is wrong."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recurra.data import downloads, packages, sources
from recurra.data.packages import Debian, Npm, Pypi
from recurra.data.sources import SOURCES, Source, get, listing, path
from recurra.errors import ConfigError, DataError

LIBRARY = str(Path(sources.__file__).parents[1])
TEXT = b"To be, or not to be.\n"
DEAD = "http://127.0.0.1:9/simple"  # the port "discard": nobody listens
SETUP = b"open('{mark}', 'w').close()\nfrom setuptools import setup\nsetup(name='toy', version='1.0')\n"


def wheel(text: bytes = TEXT) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("toy/data/text.txt"), text)
        file.writestr(
            zipfile.ZipInfo("toy-1.0.dist-info/METADATA"), "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n"
        )
        file.writestr(zipfile.ZipInfo("toy-1.0.dist-info/WHEEL"), "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(zipfile.ZipInfo("toy-1.0.dist-info/RECORD"), "")
    return out.getvalue()


def tarball(top: str, more: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in {"data/text.txt": TEXT, **more}.items():
            info = tarfile.TarInfo(f"{top}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def deb() -> bytes:
    data = tarball("./usr/share/toy", {}, "w:xz")
    header = f"{'data.tar.xz':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
    return b"!<arch>\n" + header + data


def packed(kind: type, filename: str, content: bytes) -> packages.Package:
    return kind("toy", "1.0", filename, len(content), hashlib.sha256(content).hexdigest())


def source(package: packages.Package, **more) -> Source:
    given = {"summary": "a toy", "licence": "CC0", "origin": "made here", "members": ("*/data/text.txt",)}
    return Source(name="toy", packages=(package,), **{"prepare": flat, **given, **more})


def flat(folder: Path, target: Path) -> None:
    """What a data set's own preparation does: read what was unpacked, write plain files."""
    (found,) = folder.rglob("text.txt")
    shutil.copyfile(found, target / "text.txt")


class Index(ThreadingHTTPServer):
    """A package index on this machine. ``pages`` are its answers, ``asked`` the paths and passwords it was sent."""

    def __init__(self):
        self.pages: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        self.cut = 0  # bytes that answers lack of the length that they announce
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def offer(self, filename: str, content: bytes, at: str = "simple") -> None:
        self.pages[f"/files/{filename}"] = content
        self.pages[f"/{at}/toy/"] = f'<a href="/files/{filename}">{filename}</a>'.encode()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        page = self.server.pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "application/json" if (page or b"")[:1] == b"{" else "text/html")
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        self.wfile.write((page or b"")[: len(page or b"") - self.server.cut])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def index():
    server = Index()
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """An empty cache, and none of this machine's settings of pip and npm."""
    for name in [name for name in os.environ if name.lower().startswith(("pip_", "npm_config_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("PIP_INDEX_URL", DEAD)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def kept(cache: Path) -> list[str]:
    """All files of the cache, those with hidden names too."""
    return sorted(p.relative_to(cache).as_posix() for p in cache.rglob("*") if p.is_file())


WHEEL = packed(Pypi, "toy-1.0-py3-none-any.whl", wheel())
SDIST = packed(Pypi, "toy-1.0.tar.gz", tarball("toy-1.0", {}))


def put(cache: Path, package: packages.Package, content: bytes) -> Path:
    """Place a file by hand."""
    place = cache / "packages" / package.filename
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    return place


# Each kind of package


def test_a_wheel_comes_through_pip(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    index.offer(WHEEL.filename, wheel())
    folder = get(source(WHEEL))
    assert folder == cache / "toy-1.0-1"
    assert (folder / "text.txt").read_bytes() == TEXT
    record = json.loads((folder / "source.json").read_text())
    assert (record["licence"], record["files"], record["left_out"]) == ("CC0", {"text.txt": len(TEXT)}, {})
    assert record["packages"] == [{"file": str(WHEEL), "sha256": WHEEL.sha256}]
    assert kept(cache) == [f"packages/{WHEEL.filename}", "toy-1.0-1/source.json", "toy-1.0-1/text.txt"]
    asked = len(index.asked)
    assert asked
    assert get(source(WHEEL)) == folder
    assert len(index.asked) == asked, "what is there is used without asking again"


def test_a_source_package_comes_from_the_index_and_none_of_its_code_runs(index, cache, tmp_path, monkeypatch):
    mark = tmp_path / "ran"
    content = tarball("toy-1.0", {"setup.py": SETUP.replace(b"{mark}", str(mark).encode())})
    sdist = packed(Pypi, "toy-1.0.tar.gz", content)
    index.offer(sdist.filename, content, at="mirror")
    secret = index.url.replace("//", "//me:p%40ss@")
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/empty")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{DEAD} {secret}/mirror")
    assert (get(source(sdist)) / "text.txt").read_bytes() == TEXT
    assert not mark.exists()
    paths = [path for path, _ in index.asked]
    assert paths == ["/empty/toy/", "/mirror/toy/", "/files/toy-1.0.tar.gz"]
    assert dict(index.asked)["/mirror/toy/"] == "Basic bWU6cEBzcw=="  # me:p@ss


def test_a_source_package_from_folders(tmp_path, monkeypatch):
    content = tarball("toy-1.0", {})
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / SDIST.filename).write_bytes(content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match="pip is set up to use no index"):
        get(source(SDIST))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    sdist = packed(Pypi, SDIST.filename, content)
    assert (get(source(sdist)) / "text.txt").read_bytes() == TEXT


def test_where_a_source_package_was_looked_for(index, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//me:secret@") + "/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.url}/other {DEAD}")
    index.offer("toy-0.9.tar.gz", b"", at="other")
    with pytest.raises(DataError) as raised:
        get(source(SDIST))
    said = str(raised.value)
    for part in ("/simple/toy/: Not Found", "/other/toy/ does not offer toy-1.0.tar.gz", "9/simple/toy/: "):
        assert part in said
    assert "secret" not in said
    assert "\n" not in said


def test_the_default_index_is_that_of_pip(monkeypatch):
    monkeypatch.delenv("PIP_INDEX_URL")
    (page,) = packages.indexes._places(packages.indexes.settings(), "To.y__x")
    assert page.startswith("https://")
    assert page.endswith("/simple/to-y-x/")


NPM = packed(Npm, "toy-1.0.tgz", tarball("package", {}))


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_npm(index, monkeypatch):
    content = tarball("package", {"package.json": b'{"name": "toy", "version": "1.0.0"}'})
    package = replace(packed(Npm, "toy-1.0.0.tgz", content), version="1.0.0")
    release = {"name": "toy", "version": "1.0.0", "dist": {"tarball": f"{index.url}/files/toy-1.0.0.tgz"}}
    release["dist"]["shasum"] = hashlib.sha1(content).hexdigest()
    page = {"name": "toy", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": release}}
    index.pages |= {"/toy": json.dumps(page).encode(), "/files/toy-1.0.0.tgz": content}
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", index.url)
    assert (get(source(package)) / "text.txt").read_bytes() == TEXT
    with pytest.raises(DataError, match=r"npm pack toy@3\.0\.0: npm err.*put toy-3\.0\.0\.tgz"):
        get(source(replace(package, version="3.0.0", filename="toy-3.0.0.tgz")))


@pytest.mark.parametrize("where", ["environment", ".npmrc"])
def test_npm_packages_without_npm(where, index, tmp_path, monkeypatch):
    content = tarball("package", {})
    index.pages["/npm/@of/toy/-/toy-1.0.tgz"] = content
    package = replace(packed(Npm, "of-toy-1.0.tgz", content), name="@of/toy")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no npm here; install it, or set NPM_CONFIG_REGISTRY"):
        get(source(package))
    if where == "environment":
        monkeypatch.setenv("npm_config_registry", f"{index.url}/npm/")
    else:
        (tmp_path / ".npmrc").write_text(f"fund=false\nregistry={index.url}/npm/\n")
    assert (get(source(package)) / "text.txt").read_bytes() == TEXT


def test_debian(tmp_path, monkeypatch):
    (tmp_path / "archive.deb").write_bytes(deb())
    program = tmp_path / "bin" / "apt-get"
    program.parent.mkdir()
    # It stands for apt-get: 'download NAME=VERSION' writes the file into the working folder.
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "download toy=1.0" ] && cp {tmp_path}/archive.deb toy_1.0_all.deb\n'
    )
    program.chmod(0o755)
    package = packed(Debian, "toy_1.0_all.deb", deb())
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert (get(source(package)) / "text.txt").read_bytes() == TEXT
    program.write_text("#!/bin/sh\necho reading lists\necho 'E: Unable to locate package toy'\nexit 100\n")
    lost = replace(package, filename="other.deb")
    with pytest.raises(DataError, match=r"toy=1\.0: E: Unable to locate package toy \('apt-get update' renews"):
        get(source(lost, edition=2))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="no apt-get here"):
        get(source(lost, edition=2))


def test_a_file_of_another_name_is_an_error(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    index.offer(WHEEL.filename, wheel())
    with pytest.raises(DataError, match=r"expected toy-1\.0-py2-none-any\.whl, got toy-1\.0-py3-none-any\.whl"):
        get(source(replace(WHEEL, filename="toy-1.0-py2-none-any.whl")))
    assert kept(cache) == []


# What is wrong is refused and not kept


@pytest.mark.parametrize(
    ("pinned", "content"),
    [(SDIST, b"x" * SDIST.size), (WHEEL, wheel(b"To be, or otherwise.\n"))],
    ids=["from the index", "from pip"],
)
def test_a_wrong_checksum_names_both_and_keeps_nothing(pinned, content, index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    index.offer(pinned.filename, content)
    came = hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match=f"expected sha256 {pinned.sha256}, got {came} .* the file was not kept"):
        get(source(pinned))
    assert kept(cache) == []


def test_a_download_that_breaks_off_or_never_ends_keeps_nothing(index, cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.url}/simple")
    index.offer(SDIST.filename, b"x" * (SDIST.size + 1))
    with pytest.raises(DataError, match=rf"{SDIST.filename} is longer than the {SDIST.size} bytes expected"):
        get(source(SDIST))
    with pytest.raises(DataError, match=r"is longer than"):
        downloads.download(f"{index.url}/files/{SDIST.filename}", cache / "x", SDIST.size)
    index.pages["/p"] = b"y" * 1000
    index.cut = 400
    with pytest.raises(DataError, match=r"/p broke off after 600 of 1,000 bytes"):
        downloads.download(f"{index.url}/p", cache / "y", 1000)
    assert not [name for name in kept(cache) if name.startswith("packages")]


def test_offline_says_where_to_put_the_file_and_then_uses_it(cache):
    with pytest.raises(DataError) as raised:
        get(source(WHEEL))
    said = str(raised.value)
    assert "\n" not in said
    assert "pip download toy==1.0: no connection to the index" in said
    assert f"put {WHEEL.filename} with sha256 {WHEEL.sha256} into {cache / 'packages'}" in said
    (cache / "packages" / WHEEL.filename).write_bytes(wheel())
    assert (get(source(WHEEL)) / "text.txt").read_bytes() == TEXT


def test_a_wrong_file_placed_by_hand_is_refused_and_left_there(cache):
    place = put(cache, WHEEL, wheel()[:100])
    with pytest.raises(
        DataError, match=f"expected sha256 {WHEEL.sha256}, got .*; delete {place}, or put the right"
    ):
        get(source(WHEEL))
    assert kept(cache) == [f"packages/{WHEEL.filename}"]


def test_a_preparation_that_fails_leaves_nothing(cache):
    put(cache, WHEEL, wheel())
    with pytest.raises(DataError, match=r"has no file like \*\.csv"):
        get(source(WHEEL, members=("*.csv",)))
    with pytest.raises(ZeroDivisionError):
        get(source(WHEEL, prepare=lambda folder, target: (target / "half").write_text("") / 0))
    assert kept(cache) == [f"packages/{WHEEL.filename}"]


def test_a_changed_folder_is_not_trusted(cache):
    put(cache, WHEEL, wheel())
    folder = get(source(WHEEL))
    (folder / "text.txt").write_bytes(TEXT[:5])
    for asked in (get, path):
        with pytest.raises(DataError, match=f"{folder} is not as it was made; delete it and run: recurra data get"):
            asked(source(WHEEL))
    (folder / "source.json").unlink()
    with pytest.raises(DataError, match="is not as it was made"):
        get(source(WHEEL))


def test_the_folder_that_was_prepared_is_renamed_and_not_copied(cache):
    """A copy would have its name while it is half done."""
    put(cache, WHEEL, wheel())
    nodes = []
    folder = get(source(WHEEL, prepare=lambda raw, target: flat(raw, target) or nodes.append(target.stat().st_ino)))
    assert nodes == [folder.stat().st_ino]


def test_several_packages_make_one_set(cache):
    more = {"data/more.txt": b"that is the question.\n", "data/text.txt": b"another\n"}
    second = tarball("second-2.0", more)
    package = replace(packed(Pypi, "second-2.0.tar.gz", second), name="second", version="2:2.0")
    put(cache, WHEEL, wheel())
    (cache / "packages" / package.filename).write_bytes(second)
    both = replace(
        source(WHEEL, members=("toy/data/*.txt", "*/more.txt"), prepare=joined), packages=(WHEEL, package)
    )
    assert both.size == WHEEL.size + package.size
    folder = get(both)
    assert folder.name == "toy-1.0+2-2.0-1", "no colon, which some systems do not allow in names"
    assert (folder / "text.txt").read_bytes() == TEXT + more["data/more.txt"]
    record = json.loads((folder / "source.json").read_text())
    assert [entry["sha256"] for entry in record["packages"]] == [WHEEL.sha256, package.sha256]
    assert record["left_out"] == {"empty lines": 2}
    with pytest.raises(DataError, match=rf"{WHEEL.filename} and second-2\.0\.tar\.gz has no file like \*\.csv"):
        get(replace(both, members=("*.txt", "*.csv"), edition=2))


def joined(folder: Path, target: Path) -> dict[str, int]:
    """A preparation that counts what it leaves out."""
    parts = sorted(folder.rglob("*.txt"), reverse=True)
    (target / "text.txt").write_bytes(b"".join(part.read_bytes() for part in parts))
    return {"empty lines": 2}


def test_a_new_edition_is_prepared_beside_the_old_one(cache):
    put(cache, WHEEL, wheel())
    old, new = get(source(WHEEL)), get(source(WHEEL, edition=2))
    assert old.name == "toy-1.0-1"
    assert new.name == "toy-1.0-2"


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RECURRA_DATA", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot write .*file.*: Not a directory; free some space, or set RECURRA"):
        get(source(WHEEL))


def test_what_killed_processes_left_is_removed_after_a_day(cache):
    put(cache, WHEEL, wheel())
    old, fresh = cache / ".part-old", cache / "packages" / ".part-new"
    old.mkdir()
    fresh.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    get(source(WHEEL))
    assert not old.exists()
    assert fresh.exists()


# The child does without recurra/__init__.py, which imports torch and takes seconds.
CHILD = """
import os, shutil, signal, sys, time, types
from pathlib import Path
sys.modules["recurra"] = types.ModuleType("recurra")
sys.modules["recurra"].__path__ = [{library!r}]
from recurra.data.packages import Pypi
from recurra.data.sources import Source, get

def prepare(folder, target):
    (found,) = folder.rglob("text.txt")
    (target / "text.txt").write_bytes(found.read_bytes()[:3])
    if sys.argv[1] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    Path(sys.argv[1]).touch()
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    shutil.copyfile(found, target / "text.txt")

package = Pypi("toy", "1.0", {filename!r}, {size}, {sha256!r})
print(get(Source("toy", "a toy", "CC0", "here", (package,), ("*/data/text.txt",), prepare)))
"""


def child(*arguments: str) -> subprocess.Popen:
    code = CHILD.format(filename=WHEEL.filename, size=WHEEL.size, sha256=WHEEL.sha256, library=LIBRARY)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=-1, stderr=-1, text=True)


def test_two_processes_at_once(cache, tmp_path):
    """Each waits inside its preparation until the other has come as far, then both rename."""
    put(cache, WHEEL, wheel())
    marks = [str(tmp_path / name) for name in "ab"]
    both = [child(*marks), child(*reversed(marks))]
    said = [process.communicate(timeout=60) for process in both]
    assert [out.strip() for out, _ in said] == [str(cache / "toy-1.0-1")] * 2, said
    assert (cache / "toy-1.0-1" / "text.txt").read_bytes() == TEXT
    assert list(cache.glob(".part-*")) == []


def test_a_kill_in_the_middle_leaves_nothing_that_is_trusted(cache):
    put(cache, WHEEL, wheel())
    process = child("die")
    process.communicate(timeout=60)
    assert process.returncode == -9
    (part,) = cache.glob(".part-*/made/text.txt")
    assert part.read_bytes() == TEXT[:3]
    with pytest.raises(DataError, match="not here; fetch it with: recurra data get toy"):
        path(source(WHEEL))
    assert (get(source(WHEEL)) / "text.txt").read_bytes() == TEXT


# Names, places, lists


def test_an_unknown_name_gets_the_nearest():
    for asked in (get, path):
        with pytest.raises(ConfigError, match="unknown data set 'shakespear'; did you mean 'shakespeare'"):
            asked("shakespear")


def test_the_folder_of_all_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("RECURRA_DATA", "~/sets")
    assert sources.root() == tmp_path / "sets"
    monkeypatch.delenv("RECURRA_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sources.root() == tmp_path / "xdg" / "recurra" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert sources.root() == tmp_path / ".cache" / "recurra" / "data"


def test_listing(cache, monkeypatch):
    put(cache, WHEEL, wheel())
    monkeypatch.setattr(sources, "SOURCES", {"toy": source(WHEEL), "other": replace(source(WHEEL), name="other")})
    get("toy")
    assert path("toy") == cache / "toy-1.0-1"
    assert [(row.name, row.size, row.licence, row.present) for row in listing()] == [
        ("other", WHEEL.size, "CC0", False),
        ("toy", WHEEL.size, "CC0", True),
    ]


def test_every_entry_is_pinned():
    for name, entry in SOURCES.items():
        assert entry.name == name
        assert entry.packages or entry.version == "drawn"
        for package in entry.packages:
            assert len(package.sha256) == 64
            assert set(package.sha256) <= set("0123456789abcdef")
            assert package.version.replace(":", "%3a") in package.filename
        assert entry.summary
        assert entry.licence
        assert entry.origin
        assert bool(entry.members) == bool(entry.packages)


BUSY = """
import pathlib, shutil, time
end = time.time() + 1.5
while time.time() < end:
    for i in range(20):
        pathlib.Path(f"a{i}/b/c").mkdir(parents=True)
        pathlib.Path(f"a{i}/b/c/d").write_bytes(bytes(100))
    for i in range(20):
        shutil.rmtree(f"a{i}")
"""


def test_a_command_may_remove_what_is_being_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    assert downloads.run([sys.executable, "-S", "-c", BUSY], tmp_path, 1000, os.environ) == ""


def test_a_bar_shows_on_a_terminal_only(index, tmp_path, monkeypatch, capfd):
    index.pages["/p"] = b"y" * 1000
    for terminal in ("0", "1"):
        monkeypatch.setenv("TTY_COMPATIBLE", terminal)
        downloads.download(f"{index.url}/p", tmp_path / "y", 1000)
        assert ("fetching" in capfd.readouterr().err) == (terminal == "1")
