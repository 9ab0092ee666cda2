"""Every public name has a docstring; those of layers give equations or shapes."""

import importlib
import inspect
import pkgutil

import pytest

import recurra

MODULES = [
    module.name
    for module in pkgutil.walk_packages(recurra.__path__, "recurra.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name}.{public} has no docstring"
            assert thing.__doc__, f"{name}.{public} has no docstring of its own"
            for method, value in vars(thing).items() if inspect.isclass(thing) else ():
                if inspect.isfunction(value) and not method.startswith("_") and value.__name__ != "<lambda>":
                    documented = inspect.getdoc(getattr(thing, method))
                    assert documented, f"{name}.{public}.{method} has no docstring"


@pytest.mark.parametrize("layer", sorted(recurra.LAYERS))
def test_cells_state_equation_and_paper(layer: str) -> None:
    text = recurra.LAYERS[layer].__doc__ or ""
    assert "h' = " in text, "the equation"
    assert any(year in text for year in map(str, range(1980, 2030))), "the paper's year"


@pytest.mark.parametrize("layer", sorted(recurra.CONVOLUTIONAL))
def test_layers_over_maps_state_equation_and_paper(layer: str) -> None:
    text = recurra.CONVOLUTIONAL[layer].__doc__ or ""
    assert "h' = " in text, "the equation"
    assert "(B, T" in text, "the shapes"
    assert any(year in text for year in map(str, range(2010, 2030))), "the paper's year"


def test_every_public_layer_states_shapes_or_equation() -> None:
    for name in recurra.__all__:
        thing = getattr(recurra, name)
        if inspect.isclass(thing) and issubclass(thing, recurra.Recurrent):
            text = inspect.getdoc(thing) or ""
            assert "=" in text or "(B, T" in text, name
