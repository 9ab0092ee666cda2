"""How long an MP3 file is by its frames (ISO 11172-3, layer III): without a table of them libsndfile guesses.

a frame's header   11 bits set, version 2, layer 2, - 1, bit rate 4, rate 2, padding 1, ...
its bytes          144 (72 below 32 kHz) bit rate / rate + padding
its samples        1152 (576 below 32 kHz)
"""

from pathlib import Path

__all__ = ["count_samples"]

KILOBITS = {
    True: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44_100, 48_000, 32_000)  # of version 1
DIVISORS = {0b11: 1, 0b10: 2, 0b00: 4}  # of these rates by version: 1, 2 and 2.5


def count_samples(path: Path) -> int:
    """Samples in the whole frames that follow each other from the beginning of a file on; 0: it is no MP3."""
    raw = path.read_bytes()
    place, samples = _tag(raw), 0
    while frame := _frame(raw[place : place + 4]):
        place += frame[0]
        samples += frame[1] if place <= len(raw) else 0
    return samples


def _tag(raw: bytes) -> int:
    """Bytes of the ID3v2 tag in front: its length is written with seven bits a byte."""
    if raw[:3] != b"ID3" or len(raw) < 10:
        return 0
    size = 0
    for byte in raw[6:10]:
        size = size << 7 | byte & 127
    return 10 + size


def _frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples of the frame with this header; None if it is no header."""
    if len(header) < 4 or header[0] != 255 or header[1] >> 5 != 7 or header[1] >> 1 & 3 != 1:
        return None
    version, bits, rate = header[1] >> 3 & 3, header[2] >> 4, header[2] >> 2 & 3
    if version not in DIVISORS or not 1 <= bits <= 14 or rate == 3:
        return None
    first = version == 0b11
    samples = 1152 if first else 576
    kilobits, padding = KILOBITS[first][bits - 1], header[2] >> 1 & 1
    return samples // 8 * kilobits * 1000 // (RATES[rate] // DIVISORS[version]) + padding, samples
