"""Plays: the layout of the text, and the oddities of the edition."""

import pytest

from recurra.data.preparations import plays

SCRIPT = """# King Lear

## ACT I

### SCENE I. King Lear's palace.

_Sennet. Enter KING LEAR, CORNWALL,
and Attendants_

**KING LEAR**\x20\x20
_\\[Aside]_\x20\x20
Meantime we shall express\x20\x20
Our darker purpose,\\--mine.

*Exit GLOUCESTER.*

Give me the map there.

**First Knight**\x20\x20
[To the Fool]_\x20\x20
With hey, ho, & c.
"""
TEXT = """KING LEAR

ACT I

SCENE I. King Lear's palace.

[Sennet. Enter KING LEAR, CORNWALL,
and Attendants]

KING LEAR:
[Aside]
Meantime we shall express
Our darker purpose,--mine.

[Exit GLOUCESTER.]

Give me the map there.

First Knight:
[To the Fool]
With hey, ho, &c."""


def test_layout():
    assert plays.plain(SCRIPT, "king-lear") == TEXT


def test_a_play_without_a_title_gets_that_of_its_file():
    assert plays.plain("## ACT I\n\n**DUKE**  \nEscalus.", "measure-for-measure").startswith(
        "MEASURE FOR MEASURE\n\nACT I\n\nDUKE:\nEscalus."
    )


@pytest.mark.parametrize(
    ("odd", "plain"),
    [
        ("__\\[Awaking]_  \nHelp me!", "[Awaking]\nHelp me!"),
        ("No, no; he'll _\\[ ]_  \nno more", "No, no; he'll\nno more"),
        ("A messenger?—Lord Audley", "A messenger?--Lord Audley"),
        ("*[He draws his sword.]*  \nStand!", "[He draws his sword.]\nStand!"),
        ("Now stops thy spring; my sea sha$l suck them dry,", "Now stops thy spring; my sea shall suck them dry,"),
        ("_Burthen _\\[dispersedly, within_", "[Burthen dispersedly, within]"),
        ("**PAGE & SHALLOW**  \nWell met.", "PAGE & SHALLOW:\nWell met."),
    ],
)
def test_oddities_of_the_edition(odd, plain):
    assert plays.plain(f"# T\n\n{odd}", "t") == f"T\n\n{plain}"


def test_all_plays_make_one_text_in_the_order_of_their_paths(tmp_path):
    for name in ("tragedies/king-lear", "comedies/twelfth-night"):
        path = tmp_path / "raw" / f"{name}.md"
        path.parent.mkdir(parents=True)
        path.write_text(f"# {name[-5:]}\n\n**A**  \nO!\n", "utf-8")
    (tmp_path / "made").mkdir()
    plays.prepare(tmp_path / "raw", tmp_path / "made")
    assert (tmp_path / "made" / "text.txt").read_bytes() == b"NIGHT\n\nA:\nO!\n\n-LEAR\n\nA:\nO!\n"
