"""Labelled clips: lists and folders, windows, what is drawn for training, and batches that are decoded ahead."""

import threading

import pytest
import torch

from recurra.data.ahead import Ahead
from recurra.data.clip_augmentation import Colour, Crop, Flip, Speed
from recurra.data.clips import Reader, Shot, View, clip_batches, read_shot_parts, read_shots, side_by_side, windows
from recurra.data.video import read_clip, write_video
from recurra.errors import ConfigError, DataError

pytest.importorskip("av")
LABELS = {"run": 0, "walk": 1}


def film(number: int, count: int = 10) -> torch.Tensor:
    """Frame t has the brightness 10 number + t."""
    shades = 10 * number + torch.arange(count)
    return shades[:, None, None, None].expand(-1, 3, 8, 8).to(torch.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four films of 1, 0.5, 1 and 2 seconds."""
    root = tmp_path_factory.mktemp("clips")
    for number, (label, count) in enumerate((("walk", 10), ("walk", 5), ("run", 10), ("run", 20))):
        (root / label).mkdir(exist_ok=True)
        write_video(root / label / f"film {number}.mkv", film(number, count), 10)
    return root


def test_a_folder_for_each_label_is_a_list_of_them(folder, tmp_path):
    shots = read_shots(folder)
    assert [(shot.path.name, shot.label) for shot in shots] == [
        (f"film {n}.mkv", label) for n, label in ((2, "run"), (3, "run"), (0, "walk"), (1, "walk"))
    ]
    rows = [f"{shot.path} {shot.label}\n" for shot in shots[:2]]
    rows += ["\n", *(f"{shot.path}\t{shot.label} fast\n" for shot in shots[2:])]
    (tmp_path / "list.txt").write_text("".join(rows), "utf-8")
    listed = read_shots(tmp_path / "list.txt")
    assert [shot.path for shot in listed] == [shot.path for shot in shots]
    assert [shot.label for shot in listed] == ["run", "run", "walk fast", "walk fast"]
    assert listed[-1].where.endswith("list.txt, line 5")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("film.mkv", "line 1: expected the name of a video, a space and its label, got 'film.mkv'"),
        ("film.mkv walk", "line 1: there is no video"),
        ("", "empty"),
    ],
)
def test_bad_lists(text, what, tmp_path):
    (tmp_path / "list.txt").write_text(text, "utf-8")
    with pytest.raises(DataError, match=what):
        read_shots(tmp_path / "list.txt")


def test_parts(folder, tmp_path):
    (tmp_path / "test.txt").write_text(f"{folder}/walk/film 0.mkv swim\n", "utf-8")
    with pytest.raises(DataError, match=r"test.txt, line 1: no video to learn from has the label 'swim'"):
        read_shot_parts(folder, str(folder), str(tmp_path / "test.txt"), (0.8, 0.1, 0.1), 0)
    whole = read_shot_parts(folder, str(folder), str(folder), (0.8, 0.1, 0.1), 0)
    assert len(whole.train) == len(whole.valid) == len(whole.test) == 4
    many = [
        f"{folder}/{shot.label}/{shot.path.name} {shot.label}\n" for shot in read_shots(folder) for _ in range(3)
    ]
    (tmp_path / "many.txt").write_text("".join(many), "utf-8")
    cut = read_shot_parts(tmp_path / "many.txt", "", str(folder), (0.5, 0.25, 0.25), 0)
    films = [{shot.path for shot in part} for part in (cut.train, cut.valid)]
    assert [len(part) for part in films] == [3, 1]
    assert not films[0] & films[1], "a video is in one part whole"
    (tmp_path / "one.txt").write_text(f"{folder}/walk/film 0.mkv walk\n", "utf-8")
    with pytest.raises(DataError, match="every video has the label 'walk'"):
        read_shot_parts(tmp_path / "one.txt", "", "", (0.8, 0.1, 0.1), 0)


def test_windows_leave_no_frame_out(folder):
    view = View(rate=10, size=8, length=8, stride=5)
    found = windows(read_shots(folder), view)
    spans = [(shot.path.name[5], round(shot.start * 10), round(shot.duration * 10)) for shot in found]
    assert spans == [
        *[("2", 0, 8), ("2", 2, 8)],
        *[("3", 0, 8), ("3", 5, 8), ("3", 10, 8), ("3", 12, 8)],
        *[("0", 0, 8), ("0", 2, 8)],
        ("1", 0, 5),  # shorter than a window
    ]
    reader = Reader(view)
    for shot, (number, start, count) in zip(found, spans, strict=True):
        assert reader(shot).equal(film(int(number), 20)[start : start + count])
    whole = windows(read_shots(folder), View(rate=20, size=8))
    assert [len(Reader(View(rate=20, size=8))(shot)) for shot in whole] == [20, 40, 20, 10]


def test_frames_stay_in_memory_as_long_as_there_is_room(folder, monkeypatch):
    shots = windows(read_shots(folder), View(rate=10, size=8))
    asked = []
    monkeypatch.setattr("recurra.data.clips.read_clip", lambda *given: asked.append(given[0]) or read_clip(*given))
    reader = Reader(View(rate=10, size=8), memory=25 * 3 * 8 * 8)
    for _ in range(2):
        assert [len(reader(shot)) for shot in shots] == [10, 20, 10, 5]
    assert asked == [shot.path for shot in (*shots, shots[1])], "10, 10 and 5 frames stay, 20 do not fit"


CHANGES = (Speed(), Crop(0.6), Flip(), Colour())


def batches(folder, augment=CHANGES):
    view = View(rate=10, size=8, length=6)
    return clip_batches(windows(read_shots(folder), view), LABELS, Reader(view), 3, augment)


def test_batches_made_ahead_are_the_same(folder):
    plain = batches(folder)
    for number in (0, 1):
        for ahead in (Ahead(plain), Ahead(plain, threads=3, ready=9)):
            expected, found = plain.epoch(number), ahead.epoch(number)
            assert len(found) == len(expected) > 2
            for index in (*range(len(expected)), 0):
                for one, other in zip(found[index], expected[index], strict=True):
                    assert one.equal(other)
    first, second = (plain.epoch(number)[0].frames for number in (0, 1))
    assert first.shape != second.shape or not first.equal(second)
    half = Ahead(clip_batches(plain.rows, LABELS, Reader(View(rate=10, size=8)), 4)).shard(1, 2).epoch(0)[0]
    assert len(half.frames) == 2


def test_a_batch_is_its_clips_side_by_side(folder):
    batch = batches(folder, None).epoch(0)[0]
    assert batch.frames.dtype == torch.uint8
    assert batch.lengths.tolist() == [5, 6, 6]
    assert batch.labels.tolist() == [1, 0, 0]
    assert batch.frames[0].equal(torch.cat([film(1, 5), film(0)[:1]]))
    with pytest.raises(DataError, match="the label 'swim' is none of run, walk"):
        clip_batches([Shot(folder, "swim", "here")], LABELS, Reader(View()), 1)
    with pytest.raises(DataError, match="different shapes"):
        side_by_side([film(0), film(0)[:, :, :4]], [0, 0])


def test_a_worker_s_error_is_the_reader_s(folder, tmp_path):
    shots = [Shot(tmp_path / "gone.mp4", "run", "here", 0, 1)]
    with pytest.raises(DataError, match=r"gone.mp4: no such file"):
        Ahead(clip_batches(shots, LABELS, Reader(View()), 1)).epoch(0)[0]
    with pytest.raises(IndexError):
        Ahead(batches(folder)).epoch(0)[99]


def test_threads_end_with_their_pass(folder):
    passing = Ahead(batches(folder)).epoch(0)
    assert passing[0] is not None
    workers = list(passing.pool._threads)
    del passing
    for worker in workers:
        worker.join(10)
    assert not any(worker in threading.enumerate() for worker in workers)


def test_changes_are_the_same_for_all_frames():
    random = torch.Generator().manual_seed(1)
    picture = torch.randint(0, 256, (1, 3, 16, 20), generator=random, dtype=torch.uint8).expand(6, -1, -1, -1)
    for change in (Crop(0.5), Flip(1.0), Colour(), Speed(0.5, 2.0)):
        for seed in range(5):
            found = change(picture, torch.Generator().manual_seed(seed))
            assert found.shape[1:] == picture.shape[1:]
            assert found.dtype == torch.uint8
            assert found.equal(found[:1].expand_as(found))
            assert change(picture, torch.Generator().manual_seed(seed)).equal(found)
    assert Flip(1.0)(picture, random).equal(picture.flip(3))
    assert Flip(0.0)(picture, random) is picture
    assert Crop(1.0)(picture, random) is picture
    assert Colour(0, 0, 0)(picture, random).equal(picture)
    grey = Colour(0, 0, 1.0)(picture, torch.Generator().manual_seed(3)).float()
    assert (grey - grey.mean(1, keepdim=True)).abs().mean() < (
        picture - picture.float().mean(1, keepdim=True)
    ).abs().mean()


def test_speed_takes_frames_in_order():
    frames = film(0, 20)
    random = torch.Generator().manual_seed(0)
    fast, slow = Speed(2, 2)(frames, random), Speed(0.5, 0.5)(frames, random)
    assert fast[:, 0, 0, 0].tolist() == list(range(0, 20, 2))
    shades = slow[:, 0, 0, 0].long()
    assert len(shades) == 20
    assert set(shades.diff().tolist()) == {0, 1}
    assert 8 <= int(shades[-1] - shades[0]) <= 10


@pytest.mark.parametrize(
    "make",
    [
        lambda: Crop(0),
        lambda: Flip(2),
        lambda: Colour(contrast=2),
        lambda: Speed(2, 1),
        lambda: View(rate=0),
        lambda: Ahead(None, threads=0),
    ],
)
def test_numbers_that_cannot_be(make):
    with pytest.raises(ConfigError):
        make()
