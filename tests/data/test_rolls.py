"""Piano rolls: the real file, batches of whole pieces, folders of MIDI files, and one clear error for bad ones."""

from itertools import chain
from pathlib import Path

import numpy
import pytest
import torch

from recurra.data.midi import write_midi
from recurra.data.rolls import read_roll, read_rolls, roll_batches, transposed
from recurra.errors import ConfigError, DataError

io = pytest.importorskip("scipy.io")
pytest.importorskip("mido")

CHORALES = Path(__file__).parents[3] / "shared/data/music/JSB_Chorales.mat"
SPLIT = (0.6, 0.2, 0.2)


def pieces(*lengths: int) -> tuple[torch.Tensor, ...]:
    """A piece of each length; its first frame has the key 30 and as many more as its number."""
    found = []
    for number, length in enumerate(lengths):
        roll = (torch.rand(length, 88, generator=torch.Generator().manual_seed(number)) < 0.02).byte()
        roll[:, :22], roll[:, 76:] = 0, 0
        roll[0] = 0
        roll[0, 30 : 31 + number] = 1
        found.append(roll)
    return tuple(found)


def save(path: Path, **changes: object) -> Path:
    def cells(*rolls: numpy.ndarray) -> numpy.ndarray:
        found = numpy.empty((1, len(rolls)), dtype=object)
        found[0] = [*rolls]
        return found

    good = [roll.numpy() for roll in pieces(3, 5)]
    table = {name: cells(*good) for name in ("traindata", "validdata", "testdata")}
    table |= {name: cells(*value) if isinstance(value, list) else value for name, value in changes.items()}
    io.savemat(path, {name: value for name, value in table.items() if value is not None})
    return path


@pytest.mark.skipif(not CHORALES.exists(), reason="the file of chorales is not here")
def test_the_real_chorales() -> None:
    train, valid, test = read_rolls(CHORALES, 1.0, SPLIT)
    assert [len(part) for part in (train, valid, test)] == [229, 76, 77]
    assert [sum(map(len, part)) for part in (train, valid, test)] == [13807, 4602, 4725]
    assert train[0].shape == (129, 88)
    assert train[0][0].nonzero()[:, 0].tolist() == [39, 51, 58, 67], "C4 C5 G5 E6"
    assert int(torch.cat(train).sum(1).max()) == 4
    assert len(read_roll(str(CHORALES), 1.0)) == 77


def test_epochs_hold_every_piece_once_in_another_order() -> None:
    rolls = pieces(*range(1, 24))
    batches = roll_batches(rolls, 4, shuffled=True)
    epochs = [[n for batch in batches.epoch(number) for n in batch.lengths.tolist()] for number in (0, 1, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(1, 24))
    assert epochs[0] != epochs[1] == epochs[2]
    assert [len(batch.lengths) for batch in roll_batches(rolls, 4).epoch(0)] == [4] * 5 + [3]
    for batch in batches.epoch(0):
        for frames, length in zip(*batch, strict=True):
            assert torch.equal(frames[:length], rolls[length - 1].float())
            assert not frames[length:].any()


def test_pools_save_padding() -> None:
    rolls = pieces(*torch.randperm(60, generator=torch.Generator().manual_seed(0)).add(1).tolist())
    padded = [
        sum(batch.frames.shape[0] * batch.frames.shape[1] for batch in roll_batches(rolls, 5, True, pool).epoch(3))
        for pool in (1, 3, 12)
    ]
    assert padded[0] > padded[1] > padded[2] >= sum(map(len, rolls))


def test_transposition_stays_on_the_keyboard_and_in_training() -> None:
    rolls, shifts = pieces(7), set()
    for number in range(90):
        (batch,) = roll_batches(rolls, 1, True, transpose=5).epoch(number)
        shift = int(batch.frames[0, 0].nonzero()[0]) - 30
        assert torch.equal(batch.frames[0], rolls[0].roll(shift, 1).float())
        shifts.add(shift)
    assert shifts == set(range(-5, 6))
    low = torch.zeros(2, 88).index_fill(1, torch.tensor([3, 50]), 1)
    assert transposed(low, -9).nonzero()[:, 1].unique().tolist() == [0, 47]
    assert transposed(low, 60).nonzero()[:, 1].unique().tolist() == [40, 87]
    assert not transposed(torch.zeros(2, 88), 4).any()


def test_processes_share_every_batch() -> None:
    batches = roll_batches(pieces(*range(1, 22)), 4, shuffled=True)
    whole, halves = batches.epoch(2), [batches.shard(rank, 2).epoch(2) for rank in (0, 1)]
    assert len(whole) == 6
    assert [len(half) for half in halves] == [5, 5], "one piece is left over, too few for two processes"
    full = [batch for batch in whole if len(batch.lengths) == 4]
    for batch, first, second in zip(full, *halves, strict=True):
        assert torch.equal(torch.stack([first.lengths, second.lengths], 1).flatten(), batch.lengths)
        assert torch.equal(second.frames[0, : second.lengths[0]], batch.frames[1, : batch.lengths[1]])
    with pytest.raises(ConfigError, match="expected a multiple of the 3 processes"):
        batches.shard(0, 3)


def test_a_folder_of_midi_files(tmp_path: Path) -> None:
    rolls = pieces(*range(4, 14))
    for i, roll in enumerate(rolls):
        write_midi(roll, tmp_path / f"{i:02d}.{'mid' if i % 2 else 'MIDI'}", 0.5)
    parts = read_rolls(tmp_path, 0.5, SPLIT)
    assert [len(part) for part in parts] == [6, 2, 2]
    assert all(torch.equal(a, b) for a, b in zip(chain(*parts), rolls, strict=True))
    for i, part in enumerate(("train", "valid", "test")):
        (tmp_path / "by_part" / part).mkdir(parents=True)
        write_midi(rolls[i], tmp_path / "by_part" / part / "a.mid")
    assert [[len(roll) for roll in part] for part in read_rolls(tmp_path / "by_part", 1.0, SPLIT)] == [
        [4],
        [5],
        [6],
    ]
    assert [len(roll) for roll in read_roll(str(tmp_path / "by_part"), 1.0)] == [6, 4, 5]
    assert [len(roll) for roll in read_roll(str(tmp_path / "03.mid"), 0.5)] == [7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"testdata": None}, "testdata is missing"),
        ({"traindata": numpy.zeros((3, 88))}, "traindata to be a row of cells"),
        ({"validdata": []}, "validdata to be a row of cells"),
        (
            {"traindata": [numpy.zeros((3, 88)), numpy.zeros((4, 87))]},
            r"piece 1 of traindata: .*got float64 \(4, 87\)",
        ),
        ({"traindata": [numpy.zeros((0, 88)), numpy.zeros((4, 88))]}, "piece 0 of traindata"),
        ({"testdata": [numpy.full((3, 88), 64.0), numpy.zeros((4, 88))]}, "only 0 and 1"),
        ({"testdata": [numpy.full((3, 88), numpy.nan), numpy.zeros((4, 88))]}, "only 0 and 1"),
        ({"testdata": ["some text", "more"]}, "piece 0 of testdata"),
    ],
)
def test_what_a_matlab_file_must_hold(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rolls(save(tmp_path / "a.mat", **changes), 1.0, SPLIT)


def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.mat").read_bytes()
    assert len(read_rolls(tmp_path / "a.mat", 1.0, SPLIT)[0]) == 2
    for bad in (b"", b"plain text", whole[:200], whole[: len(whole) // 2], whole[:130] + b"\xff" * 300):
        (tmp_path / "b.mat").write_bytes(bad)
        with pytest.raises(DataError, match=r"b\.mat"):
            read_rolls(tmp_path / "b.mat", 1.0, SPLIT)
    with pytest.raises(DataError, match="no such file"):
        read_rolls(tmp_path / "absent.mat", 1.0, SPLIT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no MIDI files"):
        read_rolls(tmp_path / "empty", 1.0, SPLIT)
    write_midi(pieces(4)[0], tmp_path / "empty" / "one.mid")
    with pytest.raises(DataError, match="at least three MIDI files"):
        read_rolls(tmp_path / "empty", 1.0, SPLIT)
