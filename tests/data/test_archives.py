"""Unpacking: each kind of archive, made here byte by byte, and each way in which one may be hostile or broken."""

import io
import shutil
import stat
import subprocess
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from recurra.data.archives import members, unpack
from recurra.errors import DataError

FILES = {"kit/data/a.txt": b"alpha\n", "kit/data/deep/b.txt": b"beta\n", "kit/setup.py": b"raise SystemExit\n"}
ZSTD = shutil.which("zstd")


def tar_bytes(files: dict[str, bytes], mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def deb_bytes(data: bytes, suffix: str) -> bytes:
    """An ar archive of three parts; the first has an odd size, so that a byte of padding follows."""
    parts = {"debian-binary": b"2.0\nx", "control.tar.xz/": b"--", f"data.tar{suffix}": data}
    body = b"!<arch>\n"
    for name, content in parts.items():
        body += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode()
        body += content + b"\n" * (len(content) % 2)
    return body


def make(path: Path, files: dict[str, bytes]) -> Path:
    """Write an archive of the kind that its name says."""
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path, "w") as file:
            for name, content in files.items():
                file.writestr(name, content)
    elif path.suffix == ".deb":
        path.write_bytes(deb_bytes(tar_bytes({f"./{name}": files[name] for name in files}, "w:xz"), ".xz"))
    else:
        path.write_bytes(tar_bytes(files, "w:gz"))
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "inner" / "target"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["k-1-py3-none-any.whl", "k.zip", "k-1.tar.gz", "k-1.tgz", "k_1_all.deb"])
def test_only_the_wanted_members_are_unpacked(name, tmp_path, target):
    archive = make(tmp_path / name, FILES)
    unpack(archive, ("kit/data/*.txt",), target)
    assert tree(target) == {key: value for key, value in FILES.items() if "data" in key}


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz", ""])
def test_every_compression_of_debian_packages(kind, tmp_path, target):
    archive = tmp_path / "k.deb"
    archive.write_bytes(deb_bytes(tar_bytes(FILES, f"w:{kind}"), f".{kind}" if kind else ""))
    unpack(archive, ("kit/data/a.txt",), target)
    assert tree(target) == {"kit/data/a.txt": b"alpha\n"}


@pytest.mark.skipif(not ZSTD, reason="needs the program zstd to make the package")
def test_zstandard(tmp_path, target):
    data = subprocess.run([ZSTD, "-cq"], input=tar_bytes(FILES, "w:"), capture_output=True, check=True).stdout
    archive = tmp_path / "k.deb"
    archive.write_bytes(deb_bytes(data, ".zst/"))
    unpack(archive, ("kit/data/*",), target)
    assert len(tree(target)) == 2
    archive.write_bytes(deb_bytes(data[:-20], ".zst"))
    with pytest.raises(DataError, match="is broken"):
        unpack(archive, ("kit/data/deep/*",), target / "again")


@pytest.mark.skipif(bool(find_spec("zstandard") or find_spec("compression")), reason="can be unpacked here")
def test_zstandard_without_a_way_to_unpack_it(tmp_path, target, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    archive = tmp_path / "k.deb"
    archive.write_bytes(deb_bytes(b"whatever", ".zst"))
    with pytest.raises(DataError, match=r"Zstandard; install it with: pip install zstandard"):
        unpack(archive, ("*",), target)


@pytest.mark.parametrize("suffix", [".whl", ".tgz", ".deb"])
@pytest.mark.parametrize(
    "evil", ["../evil.txt", "kit/../../evil.txt", "{}/evil.txt", "kit\\evil.txt", "c:evil.txt"]
)
def test_names_that_leave_the_folder_are_refused(suffix, evil, tmp_path, target):
    evil = evil.format(tmp_path)
    if suffix == ".deb":
        archive = tmp_path / "k.deb"
        archive.write_bytes(deb_bytes(tar_bytes({evil: b"!"}, "w:gz"), ".gz"))
    else:
        archive = make(tmp_path / f"k{suffix}", {evil: b"!"})
    with pytest.raises(DataError, match="refused to unpack"):
        unpack(archive, ("*.txt",), target)
    assert tree(tmp_path) == {archive.name: archive.read_bytes()}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tarball_are_refused(kind, tmp_path, target):
    archive = tmp_path / "k.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("kit/a.txt")
        info.type, info.linkname = kind, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(DataError, match="expected a plain file"):
        unpack(archive, ("kit/*",), target)
    assert list(target.iterdir()) == []


def test_links_in_a_wheel_are_refused(tmp_path, target):
    archive = tmp_path / "k.whl"
    info = zipfile.ZipInfo("kit/a.txt")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="expected a plain file"):
        unpack(archive, ("kit/*",), target)


def test_what_is_not_wanted_may_be_anything(tmp_path, target):
    archive = make(tmp_path / "k.tgz", {"../evil.txt": b"!", "kit/a.txt": b"fine"})
    unpack(archive, ("kit/*",), target)
    assert tree(target) == {"kit/a.txt": b"fine"}


def test_more_than_the_limit_is_refused(tmp_path, target):
    archive = make(tmp_path / "k.whl", {"a": bytes(600), "b": bytes(600)})
    unpack(archive, ("*",), target, limit=1200)
    with pytest.raises(DataError, match="'b': over the size limit"):
        unpack(archive, ("*",), target / "again", limit=1199)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_comes_twice_is_refused(tmp_path, target):
    archive = tmp_path / "k.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", "one")
        file.writestr("a", "two")
    with pytest.raises(DataError, match="comes twice"):
        unpack(archive, ("a",), target)


def test_a_pattern_that_nothing_fits_is_an_error(tmp_path, target):
    archive = make(tmp_path / "k.whl", FILES)
    with pytest.raises(DataError, match=r"k\.whl has no file like kit/\*\.csv"):
        unpack(archive, ("kit/data/*", "kit/*.csv"), target)


@pytest.mark.parametrize("name", ["k.whl", "k.tgz", "k.deb"])
def test_truncated_and_foreign_files_are_named(name, tmp_path, target):
    archive = make(tmp_path / name, {"a": bytes(range(256)) * 4000})
    whole = archive.read_bytes()
    for part in (whole[: len(whole) // 2], b"<html>not found</html>", b"!<arch>\n" + b"x" * 60, b""):
        archive.write_bytes(part)
        with pytest.raises(DataError, match=r"is broken .*; delete .* and fetch it again"):
            unpack(archive, ("a",), target / str(len(part)))


def test_unknown_kinds_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"k\.rar: expected a \.whl"):
        list(members(tmp_path / "k.rar"))
