"""The house: imports go down, never up, never round in a circle, and never inside a function."""

import ast
from pathlib import Path

import pytest

import recurra

ROOT = Path(recurra.__file__).parent

# The highest prefix that fits decides. Within a floor files may import each other, but not in a circle.
FLOORS = {
    "recurra.errors": 0,
    "recurra.tree": 0,
    "recurra.lengths": 0,
    "recurra.files": 0,
    "recurra.config": 0,
    "recurra.kernels": 1,
    "recurra.layers": 2,
    "recurra.dropin": 2,
    "recurra.convert": 2,
    "recurra.twin_kernels": 2,
    "recurra.heads": 3,
    "recurra.diagnose": 3,
    "recurra.data": 4,
    "recurra.run": 5,
    "recurra.tasks": 6,
    "recurra.testing": 6,
    "recurra.adapters": 7,
    "recurra.answering": 7,
    "recurra.composing": 7,
    "recurra.recipe": 7,
    "recurra.runs": 7,
    "recurra.diagnose_commands": 7,
    "recurra.doctor": 7,
    "recurra.demonstration": 7,
    "recurra.probing": 7,
    "recurra.reaching": 7,
    "recurra.reasons": 7,
    "recurra.screen": 7,
    "recurra.listening": 7,
    "recurra.watching": 7,
    "recurra.cli": 7,
    "recurra.__main__": 7,
    "recurra": 7,
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def floor(name: str) -> int:
    while name not in FLOORS:
        name = name.rpartition(".")[0]
    return FLOORS[name]


def imported(node: ast.AST, of: str) -> list[str]:
    """Own modules that an import statement names. ``from recurra import tree`` names recurra.tree."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.split(".")[0] == "recurra"]
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "recurra":
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return sorted({name if name in MODULES else node.module for name in full})
    assert not (isinstance(node, ast.ImportFrom) and node.level), f"{of} has a relative import"
    return []


def imports(name: str) -> set[str]:
    """Own modules that a module imports when it runs; those for type checkers only are left out."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    checking = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    hidden = {id(inner) for node in checking for inner in ast.walk(node)}
    found = {target for node in ast.walk(tree) if id(node) not in hidden for target in imported(node, name)}
    return found - {name}


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name: str) -> None:
    for target in imports(name):
        assert floor(target) <= floor(name), (
            f"{name} (floor {floor(name)}) imports {target} (floor {floor(target)})"
        )


def test_no_circle() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for target in imports(name):
                visit(target, (*path, name))
            done.add(name)

    for name in MODULES:
        visit(name, ())


@pytest.mark.parametrize("name", MODULES)
def test_no_own_import_inside_a_function(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                assert not imported(node, name), f"{name}.{function.name} imports inside"


@pytest.mark.parametrize("name", MODULES)
def test_house_style(name: str) -> None:
    text = MODULES[name].read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert ast.get_docstring(tree), f"{name} has no docstring"
    assert text.count("\n") <= 500
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {ast.unparse(call) for call in calls}
    forbidden = {"hasattr", "pickle.load", "pickle.loads", "torch.load", "torch.save", "numpy.load"}
    assert not names & forbidden, f"{name} calls {names & forbidden}"
    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not modules & {"pickle", "dill", "joblib", "shelve", "marshal"}


def test_functions_are_short() -> None:
    sizes = []
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                sizes.append(sum(len(ast.unparse(line).splitlines()) for line in body))
    assert sorted(sizes)[len(sizes) // 2] <= 10


def test_layers_take_few_arguments() -> None:
    for name in recurra.__all__:
        thing = getattr(recurra, name)
        if isinstance(thing, type) and issubclass(thing, recurra.Recurrent):
            code = thing.__init__.__code__
            assert code.co_argcount - 1 <= 6, f"{name} takes {code.co_argcount - 1} arguments"
