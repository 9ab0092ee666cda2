"""Sound files: what is written is read again, and what is no whole sound is one clear error."""

import math
import struct
import sys

import pytest
import torch

from recurra.data.audio import SUFFIXES, Sound, complaints, read_sound, resample, write_sound
from recurra.data.mp3 import count_samples
from recurra.errors import ConfigError, DataError, DataWarning, RunError

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


def tone(seconds: float = 1.0, rate: int = 8000, hertz: float = 440.0) -> Sound:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return Sound((0.5 * torch.sin(2 * math.pi * hertz * time)).float(), rate)


@pytest.mark.parametrize(("suffix", "error"), list(zip(SUFFIXES, (2**-15, 2**-15, 0.1, 0.1), strict=True)))
def test_a_sound_comes_back(suffix, error, tmp_path):
    path = tmp_path / f"tone{suffix}"
    write_sound(path, tone())
    sound = read_sound(path)
    assert sound.rate == 8000
    assert sound.samples.dtype == torch.float32
    assert (sound.samples[:8000] - tone().samples).abs().max() <= error
    assert sound.seconds == pytest.approx(1.0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_resampling_keeps_a_tone():
    for rate in (16_000, 6_000):
        sound = resample(tone(), rate)
        expected = tone(rate=rate).samples
        assert len(sound.samples) == rate
        assert (sound.samples - expected)[500:-500].abs().max() < 1e-3
    assert resample(tone(), 8000).samples.equal(tone().samples)
    with pytest.raises(ConfigError, match="rate: expected samples per second, got 0"):
        resample(tone(), 0)


def test_reading_at_another_rate_is_reading_and_resampling(tmp_path):
    write_sound(tmp_path / "tone.wav", tone())
    sound = read_sound(tmp_path / "tone.wav", 12_000)
    assert sound.rate == 12_000
    assert sound.samples.equal(resample(read_sound(tmp_path / "tone.wav"), 12_000).samples)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_part_of_a_file(suffix, tmp_path):
    path = tmp_path / f"tone{suffix}"
    write_sound(path, tone())
    whole = read_sound(path).samples
    assert read_sound(path, None, 0.25, 0.5).samples.equal(whole[2000:6000])
    assert read_sound(path, None, 0.25).samples.equal(whole[2000:])
    assert read_sound(path, None, 0.5, 0.51).samples.equal(whole[4000:]), "lengths in manifests are rounded"
    for start, duration in ((1.0, 0.0), (0.5, 0.6), (-0.1, 0.2)):
        with pytest.raises(DataError, match=r"tone\.\w+ lasts 1\.000 s; expected a part of it"):
            read_sound(path, None, start, duration)


def test_channels_are_mixed_down_with_a_warning(tmp_path):
    left, right = tone().samples, tone(hertz=700.0).samples
    soundfile.write(tmp_path / "two.wav", torch.stack([left, right], 1).numpy(), 8000, subtype="FLOAT")
    with pytest.warns(DataWarning, match="sound of 2 channels: mixed down to their mean"):
        sound = read_sound(tmp_path / "two.wav")
    assert torch.allclose(sound.samples, (left + right) / 2)


def broken(kind: str, folder) -> bytes:
    write_sound(folder / "whole.wav", tone())
    write_sound(folder / "whole.flac", tone())
    whole = (folder / "whole.wav").read_bytes()
    infinite = struct.pack("<f", math.inf) * 80
    if kind == "infinite":
        soundfile.write(folder / "float.wav", tone().samples.numpy(), 8000, subtype="FLOAT")
        return (folder / "float.wav").read_bytes()[:-320] + infinite
    return {
        "empty": b"",
        "text": b"no sound at all, but text\n" * 9,
        "half a header": whole[:20],
        "half": whole[:5001],
        "half a flac": (folder / "whole.flac").read_bytes()[:3000],
        "no sample": whole[:40] + bytes(4),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("empty", "is empty; expected a sound"),
        ("text", "cannot read the sound .*Format not recognised; expected a whole WAV, FLAC, OGG or MP3"),
        ("half a header", "cannot read the sound"),
        ("half", r"is broken off: 4,957 of 16,000 bytes are there; copy it again"),
        ("half a flac", "cannot read the sound"),
        ("no sample", "holds no sound: 0 samples"),
        ("infinite", "NaN or infinite"),
    ],
)
def test_what_is_no_whole_sound(kind, what, tmp_path):
    path = tmp_path / "given.wav"
    path.write_bytes(broken(kind, tmp_path))
    with pytest.raises(DataError, match=what) as error:
        read_sound(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000])
def test_an_mp3_file_is_read_to_its_end_or_not_at_all(rate, tmp_path):
    path, sound = tmp_path / "tone.mp3", tone(3.0, rate)
    write_sound(path, sound)
    whole = path.read_bytes()
    assert 0 <= count_samples(path) - len(read_sound(path).samples) <= 4 * 1152
    path.write_bytes(b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130) + whole)
    assert len(read_sound(path).samples) == len(sound.samples)
    table = whole.index(whole[:2], 4)  # the first frame is the table of all frames
    for raw in (whole[table:], whole + whole):
        path.write_bytes(raw)
        with pytest.raises(DataError, match=r"tone\.mp3 is longer than its first frames tell"):
            read_sound(path)


def test_what_is_no_mp3_file_has_no_frames(tmp_path):
    for raw in (b"", b"ID3", b"RIFF and more", b"\xff\xff\xff\xff", b"\xff\xfb\x00\x00", b"\xff\xeb\x90\x00" * 99):
        (tmp_path / "given.mp3").write_bytes(raw)
        assert count_samples(tmp_path / "given.mp3") == 0


def test_a_header_written_before_the_end_was_known(tmp_path):
    write_sound(tmp_path / "tone.wav", tone())
    raw = (tmp_path / "tone.wav").read_bytes()
    (tmp_path / "pipe.wav").write_bytes(raw[:40] + b"\xff\xff\xff\xff" + raw[44:])
    assert read_sound(tmp_path / "pipe.wav").samples.equal(read_sound(tmp_path / "tone.wav").samples)


def test_what_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_sound(tmp_path / "missing.wav")
    with pytest.raises(DataError, match="it is no file"):
        read_sound(tmp_path)


def test_where_no_sound_can_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a name with one of \.wav"):
        write_sound(tmp_path / "tone.aiff", tone())
    with pytest.raises(RunError, match=r"cannot write .*tone\.wav"):
        write_sound(tmp_path / "missing" / "tone.wav", tone())


def test_samples_beyond_the_range_are_cut_off(tmp_path):
    write_sound(tmp_path / "loud.wav", Sound(torch.tensor([0.0, 3.0, -3.0, 0.5]), 8000))
    assert read_sound(tmp_path / "loud.wav").samples.tolist() == pytest.approx([0, 1, -1, 0.5], abs=1e-4)


def test_complaints():
    assert complaints(tone()) == []
    assert complaints(Sound(torch.zeros(800), 8000)) == ["silent: no sample is larger than 0.0e+00 of full scale"]
    assert complaints(Sound(torch.zeros(0), 8000))[0].startswith("silent")
    clipped = Sound((4 * tone().samples).clamp(-1, 1), 8000)
    assert "clipped: " in complaints(clipped)[0]
    assert complaints(Sound(2.4 * tone().samples, 8000)) == ["too loud: samples reach 1.20, expected -1 to 1"]


@pytest.mark.parametrize("name", ["soundfile", "soxr"])
def test_a_missing_library_is_named(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"the library {name}; install it with: pip install 'recurra\[speech\]'"):
        read_sound(tmp_path) if name == "soundfile" else resample(tone(), 16_000)
