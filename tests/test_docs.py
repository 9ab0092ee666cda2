"""The documents: their code runs, what they say it prints is true, their links lead somewhere, their twins agree.

Every ```python block of a document runs, top to bottom in one namespace, in an empty folder, with warnings as
errors. An ```output block must be exactly what the python block before it printed. Other blocks are not run.
"""

import ast
import contextlib
import io
import re
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from recurra.kernels import dispatch

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
TWINS = [(path, path.parent / "zh-TW" / path.name) for path in DOCUMENTS if path.parent == ROOT / "docs"]
TWINS = [pair for pair in [(ROOT / "README.md", ROOT / "README.zh-TW.md"), *TWINS] if pair[1].exists()]

# Characters that only Simplified Chinese writes (none of them is a Traditional character too, as 后 or 里 would
# be), and words of mainland China for which Taiwan has its own.
SIMPLIFIED = (
    "网络门层态训练显这个为时实际数经过说语译输们开关学习对长记忆单双环递归隐权参来发动会话变简义将图书读写"
    "见点样测预视频电脑进还处问题规则误间无从应该让认识"
)
MAINLAND = ("網絡", "視頻", "軟件", "內存", "默認", "代碼", "字符", "緩存", "門控", "激活函數")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the line of the file where its code begins, and the code."""

    language: str
    line: int
    code: str


def blocks(path: Path) -> list[Block]:
    """All fenced blocks of a Markdown file, in order."""
    found: list[Block] = []
    fence, language, begin, code = "", "", 0, []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)\s*(\w*)", line)
        if not fence and mark:
            fence, language, begin, code = mark[1], mark[2], number + 1, []
        elif fence and line.strip() == fence:
            found.append(Block(language, begin, "\n".join(code) + "\n"))
            fence = ""
        elif fence:
            code.append(line)
    if fence:
        raise ValueError(f"{title(path)}:{begin - 1}: a fenced block that does not end")
    return found


def prose(path: Path) -> list[str]:
    """The lines of a file without what its fenced blocks and inline code say."""
    lines, fence = [], ""
    for line in path.read_text("utf-8").splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if fence:
            fence = "" if line.strip() == fence else fence
            line = ""
        elif mark:
            fence, line = mark[1], ""
        lines.append(re.sub(r"(`+)(?!`).*?\1", "", line))
    return lines


def headings(path: Path) -> list[str]:
    """The heading lines, fenced blocks left out but inline code kept."""
    lines = path.read_text("utf-8").splitlines()
    return [line for line, shown in zip(lines, prose(path), strict=True) if re.match(r"#{1,6} ", shown)]


def title(path: Path) -> str:
    """How test reports name a file."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


@contextlib.contextmanager
def fresh_start() -> Iterator[None]:
    """What a reader's new interpreter has: one thread here, seed 0, float32, warnings not yet given."""
    threads, dtype, warned = torch.get_num_threads(), torch.get_default_dtype(), set(dispatch._warned)
    dispatch._warned.clear()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("error")
            torch.manual_seed(0)
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        dispatch._warned.update(warned)


def run(path: Path) -> str:
    """Run a document's code; "" or the first thing that went wrong, as ``file:line: what``."""
    namespace: dict = {"__name__": "__main__"}
    printed = ""
    with fresh_start():
        for block in blocks(path):
            if block.language == "output" and block.code.rstrip() != printed.rstrip():
                return f"{title(path)}:{block.line}: the text says\n{block.code}\nbut the code printed\n{printed}"
            if block.language == "python":
                try:
                    printed = execute(block, path, namespace)
                except Exception as error:
                    return report(error, path)
    return ""


def execute(block: Block, path: Path, namespace: dict) -> str:
    """Run one block and return what it printed. Empty lines before it give the code its lines of the file."""
    code = compile("\n" * (block.line - 1) + block.code, str(path), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        exec(code, namespace)
    return output.getvalue()


def report(error: Exception, path: Path) -> str:
    """``file:line: error`` with the line of the document where it happened."""
    frames = [f.lineno or 0 for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    line = frames[-1] if frames else getattr(error, "lineno", 0) or 0
    source = path.read_text("utf-8").splitlines()[line - 1].strip()
    return f"{title(path)}:{line}: {type(error).__name__}: {error}\n    {source}"


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.lstrip("#").strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def dead_links(path: Path) -> list[str]:
    """Relative links and images of a document that lead nowhere, as ``file:line: target``."""
    found = []
    for number, line in enumerate(prose(path), 1):
        targets = re.findall(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)?)[^)]*\)", line)
        targets += re.findall(r"(?:src|href)=\"([^\"]+)\"", line)
        near = [target for target in targets if not re.match(r"\w+:", target)]
        found += [f"{title(path)}:{number}: {target}" for target in near if not leads_somewhere(path, target)]
    return found


def leads_somewhere(path: Path, target: str) -> bool:
    file, _, anchor = target.partition("#")
    goal = (path.parent / file).resolve() if file else path
    if not goal.exists():
        return False
    return not anchor or goal.suffix != ".md" or anchor in [slug(h) for h in headings(goal)]


def foreign_words(path: Path) -> list[str]:
    """Simplified characters and mainland words in a document of Taiwan, as ``file:line: what``."""
    pattern = re.compile("|".join([f"[{SIMPLIFIED}]", *MAINLAND]))
    lines = enumerate(path.read_text("utf-8").splitlines(), 1)
    return [f"{title(path)}:{number}: {word}" for number, line in lines for word in pattern.findall(line)]


def meaning(block: Block) -> str:
    """A block's code without comments and without what its strings say, which a translation may change."""
    tree = ast.parse(block.code)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def differences(path: Path, twin: Path) -> list[str]:
    """Where a document and its translation do not have the same build: headings, python blocks, images."""
    found = []
    levels = [[len(h) - len(h.lstrip("#")) for h in headings(p)] for p in (path, twin)]
    if levels[0] != levels[1]:
        found.append(f"heading levels of {title(path)} and {title(twin)}: {levels[0]} and {levels[1]}")
    code = [[b for b in blocks(p) if b.language == "python"] for p in (path, twin)]
    if len(code[0]) != len(code[1]):
        found.append(f"python blocks of {title(path)} and {title(twin)}: {len(code[0])} and {len(code[1])}")
    for a, b in zip(*code, strict=False):
        if meaning(a) != meaning(b):
            found.append(f"code of {title(path)}:{a.line} and {title(twin)}:{b.line}")
    return found


def program(path: Path) -> list[str]:
    """What a document runs and what it says that this prints; comments left out."""
    found = [block for block in blocks(path) if block.language in ("python", "output")]
    return [ast.unparse(ast.parse(b.code)) if b.language == "python" else b.code.rstrip() for b in found]


def to_run(paths: list[Path], twins: list[tuple[Path, Path]]) -> list[Path]:
    """Documents with code; a translation only where its program is not that of the original, comments aside."""
    same = {twin for path, twin in twins if program(path) == program(twin)}
    return [path for path in paths if path not in same and program(path)]


@pytest.mark.parametrize("path", to_run(DOCUMENTS, TWINS), ids=title)
def test_code_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    problem = run(path)
    assert not problem, problem


@pytest.mark.parametrize("path", DOCUMENTS, ids=title)
def test_links_lead_somewhere(path):
    assert dead_links(path) == []


@pytest.mark.parametrize(("path", "twin"), TWINS, ids=title)
def test_twins_have_the_same_build(path, twin):
    assert differences(path, twin) == []


@pytest.mark.parametrize("path", [p for p in DOCUMENTS if "zh-TW" in title(p)], ids=title)
def test_chinese_is_that_of_taiwan(path):
    assert foreign_words(path) == []


# The checks above must be able to fail: each is given a document with one thing wrong.


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def document(text: str, file: str = "page.md") -> Path:
        path = tmp_path / file
        path.write_text(text, "utf-8")
        return path

    return document


def test_a_translation_runs_where_its_program_is_another_one(write):
    page = write("```python\nprint(1)  # one\n```\n\n```output\n1\n```\n")
    same = write("```python\nprint(1)  # 一\n```\n\n```output\n1\n```\n", "same.md")
    others = [
        write("```python\nprint('1')\n```\n\n```output\n1\n```\n", "string.md"),
        write("```python\nprint(1)\n```\n\n```output\n2\n```\n", "output.md"),
    ]
    twins = [(page, twin) for twin in (same, *others)]
    assert to_run([page, same, *others, write("No code.\n", "none.md")], twins) == [page, *others]


def test_a_false_statement_is_caught_with_its_line(write):
    path = write("# Page\n\n```python\nx = 1\n```\n\ntext\n\n```python\ny = x\nassert y == 2\n```\n")
    assert run(path).startswith("page.md:11: AssertionError")


def test_an_error_deep_inside_is_reported_where_the_document_called(write):
    path = write("```python\nimport torch\n\ntorch.ones(2) @ torch.ones(3)\n```\n")
    assert run(path).startswith("page.md:4: RuntimeError")


def test_code_that_cannot_be_parsed_is_caught_with_its_line(write):
    assert run(write("text\n\n```python\nx = 1\nx = (\n```\n")).startswith("page.md:5: SyntaxError")


def test_a_warning_is_an_error(write):
    path = write("```python\nimport warnings\nwarnings.warn('slow')\n```\n")
    assert run(path).startswith("page.md:3: UserWarning: slow")


def test_a_wrong_output_is_caught(write):
    right = "```python\nprint(6 * 7)\n```\n\nprints\n\n```output\n42\n```\n"
    assert run(write(right)) == ""
    assert run(write(right.replace("42", "41"))).startswith("page.md:8: the text says\n41")


def test_only_python_is_run(write):
    assert run(write("```sh\nfalse (\n```\n\n```text\nh' = f(h)\n```\n\n```\n1 +\n```\n")) == ""


def test_a_document_changes_nothing_for_the_next_one(write):
    path = write("```python\nimport torch\ntorch.set_default_dtype(torch.float64)\ntorch.rand(5)\n```\n")
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    assert run(path) == ""
    assert (torch.get_default_dtype(), torch.get_num_threads()) == (torch.float32, threads)
    assert torch.equal(torch.get_rng_state(), state)


def test_dead_links_are_caught(write):
    write("# A Page: `of` its own!\n", "other.md")
    good = "[a](other.md) [b](https://example.org/x) [c](other.md#a-page-of-its-own) `[d](code.md)`"
    assert dead_links(write(good + "\n\n# Top\n[e](#top)\n")) == []
    assert dead_links(write("text\n![a](none.png)\n")) == ["page.md:2: none.png"]
    assert dead_links(write("[a](other.md#another-page)\n")) == ["page.md:1: other.md#another-page"]
    assert dead_links(write('<img src="none.png" width="3">\n')) == ["page.md:1: none.png"]


def test_twins_that_differ_are_caught(write):
    text = "# One\n\n## Two\n\n```python\nx = 'a'  # why\n```\n"
    path = write(text, "a.md")
    assert differences(path, write(text.replace("why", "為何").replace("One", "一"), "b.md")) == []
    assert differences(path, write(text.replace("## Two", "### Two"), "b.md"))[0].startswith("heading levels")
    assert differences(path, write(text + "```python\n```\n", "b.md"))[0].startswith("python blocks")
    assert differences(path, write(text.replace("x =", "z ="), "b.md")) == ["code of a.md:6 and b.md:6"]


def test_simplified_characters_and_mainland_words_are_caught(write):
    assert foreign_words(write("循環神經網路的隱藏狀態，皇后在里長家裡\n")) == []
    assert foreign_words(write("# 循\n循环神经網絡\n")) == ["page.md:2: 环", "page.md:2: 经", "page.md:2: 網絡"]
