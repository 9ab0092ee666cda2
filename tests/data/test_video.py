"""Videos: what is written is read again, time decides which frame is taken, and bad files are one clear error."""

import itertools
import sys
import types
from fractions import Fraction

import numpy
import pytest
import torch

from recurra.data import decoding
from recurra.data.video import contact_sheet, describe, read_clip, read_frames, write_video
from recurra.errors import ConfigError, DataError, DataWarning, DtypeError, ShapeError

av = pytest.importorskip("av")
pillow = pytest.importorskip("PIL.Image")


def noise(count: int = 20, channels: int = 3, height: int = 33, width: int = 47) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, height, width), generator=random, dtype=torch.uint8)


def smooth(frames: torch.Tensor) -> torch.Tensor:
    coarse = frames[:, :, :3, :4].float()
    return torch.nn.functional.interpolate(coarse, frames.shape[2:], mode="bicubic").clamp(0, 255).byte()


@pytest.fixture(scope="module")
def lossless(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "noise.mkv"
    write_video(path, noise(), 10)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_without_loss_comes_back(channels, tmp_path):
    frames = noise(5, channels)
    write_video(tmp_path / "a.mkv", iter(frames), 12.5)
    clip = read_clip(tmp_path / "a.mkv", colours="grey" if channels == 1 else "rgb")
    assert clip.frames.equal(frames)
    assert clip.rate == 12.5
    assert clip.seconds == 0.4
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


@pytest.mark.parametrize(("suffix", "error"), [(".mp4", 7), (".gif", 5)])
def test_other_formats_come_back_nearly(suffix, error, tmp_path):
    frames = smooth(noise(5))
    write_video(tmp_path / f"a{suffix}", frames, 12.5)
    clip = read_clip(tmp_path / f"a{suffix}", 12.5)
    even = suffix == ".mp4"
    assert clip.frames.shape == (5, 3, 33 + even, 47 + even)
    assert (clip.frames[:, :, :33, :47].float() - frames).abs().mean() < error


def test_white_stays_white(tmp_path):
    write_video(tmp_path / "a.mp4", torch.full((3, 3, 16, 16), 255, dtype=torch.uint8), 5)
    assert int(read_clip(tmp_path / "a.mp4").frames.min()) == 255
    assert int(read_clip(tmp_path / "a.mp4", colours="grey").frames.min()) == 255


@pytest.mark.parametrize("rate", [10, 5, 20, 3.3])
@pytest.mark.parametrize(("start", "duration"), [(0, 0), (0.5, 0.7), (0.73, 0), (1.9, 1)])
def test_time_decides_which_frame_is_taken(rate, start, duration, lossless):
    """Brute force: frame k of 20 is shown from k / 10 to (k + 1) / 10 seconds."""
    found = read_clip(lossless, rate, start=start, duration=duration).frames
    end = min(2.0, start + duration) if duration else 2.0
    times = [start + n / rate for n in range(999) if start + n / rate < end - 0.001]
    if duration:
        times = times[: max(1, round(duration * rate))]
    assert found.equal(noise()[[int((time + 0.001) * 10) for time in times]])


def test_frames_as_they_come(lossless):
    assert read_clip(lossless, start=0.5, duration=0.7).frames.equal(noise()[5:12])
    assert describe(lossless) == (20, 2.0, 10.0, 33, 47, "ffv1")
    first = list(itertools.islice(read_frames(lossless), 2))
    assert torch.stack(first).equal(noise()[:2])


def test_sizes_and_colours(lossless):
    assert read_clip(lossless, size=16).frames.shape == (20, 3, 16, 23)
    assert read_clip(lossless, size=(20, 10), colours="grey").frames.shape == (20, 1, 20, 10)
    grey = read_clip(lossless, colours="grey").frames.float()
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    assert (grey - (noise().float() * weights).sum(1, keepdim=True)).abs().max() < 3


def encode(path, frames, times=None, codec="ffv1", turn=0):
    """A film written by PyAV alone, with its own times in milliseconds."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "gray" if codec == "ffv1" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(turn)
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray")
            picture.pts, picture.time_base = times[number] if times else 40 * number, Fraction(1, 1000)
            file.mux(stream.encode(picture.reformat(format=stream.pix_fmt)))
        file.mux(stream.encode())


def test_a_variable_frame_rate_is_taken_by_time(tmp_path):
    path = tmp_path / "phone.mkv"
    encode(path, [numpy.full((16, 16), 10 * k, "uint8") for k in range(6)], [0, 40, 80, 400, 440, 900])
    found = read_clip(path, 10, colours="grey").frames[:, 0, 0, 0]
    assert found.tolist() == [0, 20, 20, 20, 30, 40, 40, 40, 40, 50]
    with pytest.warns(DataWarning, match="variable frame rate: give a rate"):
        assert read_clip(path, colours="grey").frames[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]


def test_a_turned_film_is_set_upright(tmp_path):
    picture = numpy.zeros((16, 32), "uint8")
    picture[:8, :16] = 255
    encode(tmp_path / "a.mp4", [picture] * 3, codec="libx264", turn=90)
    found = read_clip(tmp_path / "a.mp4", colours="grey").frames[0, 0]
    assert found.shape == (32, 16)
    assert found[24:, :8].min() > 200, "to the left, as the file asks"
    assert read_clip(tmp_path / "a.mp4", size=(8, 4)).frames.shape[2:] == (8, 4)


def test_a_folder_of_images(tmp_path):
    for number in range(12):
        pillow.fromarray(numpy.full((8, 9), number, "uint8")).save(tmp_path / f"f{number}.png")
    clip = read_clip(tmp_path, colours="grey")
    assert clip.frames[:, 0, 0, 0].tolist() == list(range(12)), "in the order of their numbers"
    assert (clip.rate, clip.seconds) == (0, 0)
    assert read_clip(tmp_path, 5, colours="grey", start=0.4, duration=1).frames[:, 0, 0, 0].tolist() == [
        2,
        3,
        4,
        5,
        6,
    ]
    assert describe(tmp_path) == (12, 0, 0, 8, 9, "png")
    with pytest.raises(ConfigError, match="images have no times; give the rate"):
        read_frames(tmp_path, start=1)
    pillow.fromarray(numpy.zeros((4, 4), "uint8")).save(tmp_path / "f12.png")
    with pytest.raises(DataError, match="frame 13 has 4 x 4 pixels, those before have 8 x 9; give a size"):
        read_clip(tmp_path)


def test_alpha_is_put_on_black_and_palettes_are_colours(tmp_path):
    half = numpy.full((8, 9, 4), (200, 100, 40, 128), "uint8")
    pillow.fromarray(half).save(tmp_path / "half.png")
    with pytest.warns(DataWarning, match="transparent pixels: they are put on black"):
        assert read_clip(tmp_path / "half.png").frames[0, :, 0, 0].tolist() == [100, 50, 20]
    with pytest.warns(DataWarning, match="transparent"):
        assert abs(int(read_clip(tmp_path / "half.png", colours="grey").frames[0, 0, 0, 0]) - 62) <= 1
    pillow.fromarray(half[..., :3]).quantize(4).save(tmp_path / "few.png")
    assert read_clip(tmp_path / "few.png").frames[0, :, 0, 0].tolist() == [200, 100, 40]
    pillow.fromarray(numpy.full((8, 9), 257 * 99, "uint16")).save(tmp_path / "deep.png")
    assert abs(int(read_clip(tmp_path / "deep.png").frames[0, 0, 0, 0]) - 99) <= 1


def test_bad_files(tmp_path):
    def refused(name: str, what: str, content: bytes | None = None) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        for read in (read_clip, describe):
            with pytest.raises(DataError, match=what) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)

    write_video(tmp_path / "whole.mp4", noise(5), 5)
    refused("none.mp4", "no such file")
    refused("empty.mp4", "is empty", b"")
    refused("text.mp4", "expected a whole video", b"hello" * 99)
    refused("half.mp4", "expected a whole video", (tmp_path / "whole.mp4").read_bytes()[:500])
    with av.open(str(tmp_path / "sound.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(numpy.zeros((1, 800), "int16"), format="s16", layout="mono")
        sound.sample_rate = 8000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    refused("sound.wav", "no pictures, only audio")
    (tmp_path / "folder").mkdir()
    refused("folder", "expected images")
    with pytest.raises(DataError, match=r"whole.mp4 lasts 1.000 s; expected a frame at 7 s"):
        read_clip(tmp_path / "whole.mp4", 5, start=7)


def test_a_missing_codec_is_named(tmp_path):
    encode(tmp_path / "a.avi", [numpy.zeros((16, 16), "uint8")] * 3, codec="mpeg4")
    strange = (tmp_path / "a.avi").read_bytes().replace(b"FMP4", b"QQQQ")
    (tmp_path / "b.avi").write_bytes(strange)
    with pytest.raises(DataError, match=r"b.avi: there is no decoder for its codec, none \(QQQQ .*; convert it"):
        read_clip(tmp_path / "b.avi")


def test_a_file_that_is_broken_off(tmp_path):
    encode(tmp_path / "a.avi", list(noise(40, 1, 64, 64)[:, 0].numpy()), codec="mpeg4")
    content = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "b.avi").write_bytes(content[: len(content) // 2])
    assert len(read_clip(tmp_path / "a.avi").frames) == 40
    damaged = pytest.warns(DataWarning, match="damaged frames: they are shown as they are")
    with damaged, pytest.raises(DataError, match=r"b.avi is broken off: [01]\.\d of 1.6 seconds are there; copy"):
        read_clip(tmp_path / "b.avi")


def test_what_cannot_be_asked(lossless, monkeypatch):
    for wrong in ({"rate": 0}, {"rate": float("nan")}, {"size": 0}, {"start": -1}, {"colours": "bgr"}):
        with pytest.raises(ConfigError, match=f"{next(iter(wrong))}"):
            read_frames(lossless, **wrong)
    with pytest.raises(ConfigError, match="never ends; give a duration"):
        read_clip("camera:0")
    with pytest.raises(ConfigError, match="expected a camera by its number, such as camera:0, got 'camera:front'"):
        read_clip("camera:front", duration=1)
    monkeypatch.setattr("recurra.data.video.LIMIT", 5000)
    with pytest.raises(DataError, match="give a size or a duration, or use read_frames"):
        read_clip(lossless)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"install it with: pip install 'recurra\[video\]'"):
        read_clip(lossless)


class Camera:
    """What OpenCV says of a camera that sends five pictures."""

    def __init__(self, number: int) -> None:
        self.number, self.sent, self.released = number, 0, False

    def isOpened(self) -> bool:
        return self.number == 0

    def read(self):
        self.sent += 1
        return self.sent <= 5, numpy.full((4, 6, 3), (0, 0, 10 * self.sent), "uint8")

    def release(self) -> None:
        self.released = True


def test_a_camera(monkeypatch):
    cameras = []
    opencv = types.SimpleNamespace(VideoCapture=lambda number: cameras.append(Camera(number)) or cameras[-1])
    monkeypatch.setitem(sys.modules, "cv2", opencv)
    clock = itertools.count(100.0, 0.1)
    monkeypatch.setattr(decoding.time, "monotonic", lambda: next(clock))
    clip = read_clip("camera:0", 10, duration=0.3)
    assert clip.frames[:, 0, 0, 0].tolist() == [10, 20, 30], "red, and OpenCV's blue comes first"
    assert cameras[0].released
    with pytest.raises(DataError, match="the camera 0 sends no pictures any more"):
        list(read_frames("camera:0"))
    with pytest.raises(DataError, match="there is no camera 1"):
        read_clip("camera:1", duration=1)


def test_what_cannot_be_written(tmp_path):
    frames = noise(2)
    for path, rate, wrong, error in (
        ("a.mp3", 5, frames, ConfigError),
        ("a.mp4", 0, frames, ConfigError),
        ("a.mp4", 5, frames[:0], DataError),
        ("a.mp4", 5, frames.float(), DtypeError),
        ("a.mp4", 5, frames[:, :2], ShapeError),
        ("a.mp4", 5, [frames[0], frames[1, :, :9]], ShapeError),
    ):
        with pytest.raises(error):
            write_video(tmp_path / path, wrong, rate)
    assert not list(tmp_path.iterdir())


def test_a_sheet_shows_the_frames(tmp_path):
    frames = torch.zeros(30, 3, 20, 30, dtype=torch.uint8)
    frames[-1, 1] = 255
    contact_sheet(tmp_path / "a.png", {"truth": frames, "short": frames[:5]}, [f"f{n}" for n in range(30)])
    green = read_clip(tmp_path / "a.png").frames[0]
    found = (green[1] == 255) & (green[0] == 0)
    columns = found.any(0).nonzero()
    assert found.sum() > 500
    assert int(columns.min()) > 0.85 * green.shape[2], "the last frame stands at the right end"
    assert found.any(1).nonzero().max() < 0.6 * green.shape[1], "in the first row alone"
    with pytest.raises(ConfigError, match="expected 30 captions, one a frame, got 1"):
        contact_sheet(tmp_path / "b.png", {"truth": frames}, ["f"])
    with pytest.raises(ConfigError, match="expected a clip"):
        contact_sheet(tmp_path / "b.png", {})
