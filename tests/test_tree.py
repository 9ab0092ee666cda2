"""States as values: what the functions on trees promise, against plain lists."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recurra import tree
from recurra.tree import State


def example(batch: int = 3) -> Any:
    """A state as a stack has it: named, nested, with a layer without memory and one integer leaf."""
    number = torch.arange(batch)
    inner = State(seed=number, layer=State(h=10.0 + number, c=20.0 + number[:, None].expand(-1, 2)))
    return (State(h=1.0 * number), (), inner)


def test_leaves_and_names_go_left_to_right() -> None:
    state = example()
    assert tree.names(state) == ["0.h", "2.seed", "2.layer.h", "2.layer.c"]
    assert [tuple(leaf.shape) for leaf in tree.leaves(state)] == [(3,), (3,), (3,), (3, 2)]
    assert tree.leaves(state)[2] is state[2].layer.h


def test_a_lone_tensor_and_an_empty_tuple_are_trees() -> None:
    leaf = torch.zeros(2)
    assert tree.leaves(leaf) == [leaf]
    assert tree.names(leaf) == ["state"]
    assert tree.leaves(()) == []
    assert tree.names(()) == []
    assert tree.map(torch.neg, ()) == ()


def test_states_with_the_same_names_have_the_same_type() -> None:
    one, other = State(h=torch.zeros(1), c=torch.zeros(1)), State(h=torch.ones(1), c=torch.ones(1))
    assert type(one) is type(other)
    assert type(one) is not type(State(c=torch.zeros(1), h=torch.zeros(1)))
    assert one._fields == ("h", "c")
    assert one._replace(c=other.c).c is other.c


def test_map_keeps_the_structure_and_pairs_the_leaves() -> None:
    state = example()
    doubled = tree.map(torch.add, state, state)
    assert type(doubled[2].layer) is type(state[2].layer)
    assert doubled[1] == ()
    for got, leaf in zip(tree.leaves(doubled), tree.leaves(state), strict=True):
        assert torch.equal(got, 2 * leaf)


def test_map_refuses_trees_of_different_structure() -> None:
    with pytest.raises(ValueError, match="zip"):
        tree.map(torch.add, example(), example()[:2])


def test_unflatten_is_the_inverse_of_leaves() -> None:
    state = example()
    other = [leaf + 1 for leaf in tree.leaves(state)]
    found = tree.unflatten(state, other)
    assert tree.names(found) == tree.names(state)
    assert all(a is b for a, b in zip(tree.leaves(found), other, strict=True))


@given(st.lists(st.integers(0, 2), max_size=5))
def test_rows_choose_with_order_and_repetition(index: list[int]) -> None:
    chosen = tree.rows(example(), torch.tensor(index, dtype=torch.int64))
    assert chosen[2].layer.c[:, 0].tolist() == [20.0 + i for i in index]
    assert chosen[2].seed.tolist() == index


def test_rows_take_slices_and_lists() -> None:
    assert tree.rows(example(), slice(1, None))[0].h.tolist() == [1, 2]
    assert tree.rows(example(), [2, 0])[0].h.tolist() == [2, 0]


def test_where_chooses_per_row_in_every_leaf() -> None:
    yes, no = example(), tree.map(lambda leaf: -leaf - 1, example())
    found = tree.where(torch.tensor([True, False, True]), yes, no)
    assert found[0].h.tolist() == [0, -2, 2]
    assert found[2].seed.tolist() == [0, -2, 2]
    assert found[2].layer.c.tolist() == [[20, 20], [-22, -22], [22, 22]]


def test_where_lets_no_gradient_through_to_the_row_not_chosen() -> None:
    yes, no = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    tree.where(torch.tensor([True, False]), State(h=yes), State(h=no)).h.sum().backward()
    assert yes.grad is not None
    assert no.grad is not None
    assert yes.grad.tolist() == [1, 0]
    assert no.grad.tolist() == [0, 1]


def test_detach_cuts_the_graph_and_keeps_the_values() -> None:
    state = State(h=torch.ones(2, requires_grad=True) * 3, clock=torch.zeros(2, dtype=torch.int64))
    found = tree.detach(state)
    assert state.h.requires_grad
    assert not found.h.requires_grad
    assert found.h.tolist() == [3, 3]


def test_structure_survives_json() -> None:
    for state in (example(), (), torch.zeros(2), State(h=torch.zeros(1))):
        structure = json.loads(json.dumps(tree.spec(state)))
        found = tree.build(structure, tree.leaves(state))
        assert tree.names(found) == tree.names(state)
        assert type(found) is type(state)
        assert all(a is b for a, b in zip(tree.leaves(found), tree.leaves(state), strict=True))
