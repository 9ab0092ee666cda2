"""The generated code under the address and undefined-behaviour sanitizers, over random sizes and all its forms."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from recurra.kernels.cpu import build

SCRIPT = """
import random, sys, torch
from recurra import Bidirectional, LayerNormLSTM, PeepholeLSTM, RecurrentDropout, Stream, Zoneout, linear_scan, zoo
from recurra.heads.crf import CRF
from recurra.heads.transducer import Transducer
from recurra.kernels.cpu import build, crfs, loops, transducers

build.FLAGS = (*build.FLAGS, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
loops.SPARE = int(sys.argv[1])
loops.OWN_CACHE = 8000  # so that small layers too are split by units
crfs.LITTLE = transducers.LITTLE = 0  # so that small batches too are split by rows
random.seed(0)
torch.set_num_threads(2)
for kind in (PeepholeLSTM, LayerNormLSTM, zoo.MUT3, zoo.IndRNN):
    for _ in range(4):
        batch, time, features = random.randint(1, 20), random.randint(1, 9), random.randint(1, 40)
        hidden, wrap = random.choice([1, 5, 16, 17, 33, 64]), random.choice([None, RecurrentDropout, Zoneout])
        cell, x = kind(features, hidden), torch.randn(batch, time, features, requires_grad=True)
        lengths = random.choice([None, [random.randint(0, time) for _ in range(batch)]])
        layer = Bidirectional(cell, kind(features, hidden)) if wrap is None else wrap(cell, 0.3)
        assert "fused ran" in layer.explain(x, lengths=lengths)
        y, state = layer(x, lengths=lengths)
        leaves = [leaf for leaf in torch.utils._pytree.tree_leaves(state) if leaf.requires_grad]
        (y.sum() + sum(leaf.sum() for leaf in leaves)).backward()
        Stream(cell, batch).push(torch.randn(batch, features))
for dtype in (torch.float32, torch.complex64):
    for hidden in (1, 7, 8, 15, 16, 17, 33, 100, 143, 300):
        batch, time = random.randint(1, 4), random.randint(1, 9)
        lengths = random.choice([None, [random.randint(0, time) for _ in range(batch)]])
        a = torch.rand(random.choice([(hidden,), (batch, time, hidden)])).to(dtype).requires_grad_()
        b = torch.randn(batch, time, hidden, dtype=dtype, requires_grad=True)
        h, last = linear_scan(a, b, lengths=lengths)
        (h.abs().sum() + last.abs().sum()).backward()
for kinds in (1, 7, 15, 16, 17, 33, 50, 64, 65, 130):
    batch, time, crf = random.randint(1, 19), random.randint(1, 9), CRF(kinds)
    torch.nn.init.normal_(crf.transitions, std=random.choice([1, 100]))
    lengths = random.choice([None, [random.randint(0, time) for _ in range(batch)]])
    scores = torch.randn(batch, time, kinds, requires_grad=True)
    tags, _ = crf.decode(scores, lengths)
    crf(scores, tags, lengths).sum().backward()
    crf.marginals(scores, lengths)
    assert "reference" not in crf.explain(scores, lengths)
for kinds, joint in ((2, 1), (17, 33), (50, 48), (33, 70)):
    batch, time, longest = random.randint(1, 11), random.randint(1, 9), random.randint(0, 20)
    head = Transducer(3, kinds, 4, 5, joint=joint)
    torch.nn.init.normal_(head.from_encoder.weight, std=random.choice([0.1, 100]))
    sizes = torch.tensor([random.randint(0, longest) for _ in range(batch)])
    lengths = torch.tensor([random.randint(min(1, int(size)), time) for size in sizes])
    encoded, tokens = torch.randn(batch, time, 3, requires_grad=True), torch.randint(1, kinds, (batch, longest))
    head(encoded, lengths, tokens, sizes).sum().backward()
    assert "native ran" in head.explain(encoded, lengths, tokens, sizes)
print("clean")
"""


def libraries() -> str:
    """The sanitizers' own libraries, which must be loaded before Python; "" if the compiler has none."""
    found = []
    for name in ("libasan.so", "libubsan.so"):
        command = [build.compiler(), f"-print-file-name={name}"]
        path = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if not Path(path).is_absolute():
            return ""
        found.append(path)
    return " ".join(found)


def run(tmp_path: Path, spare: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "LD_PRELOAD": libraries(),
        "ASAN_OPTIONS": "detect_leaks=0",
        "XDG_CACHE_HOME": str(tmp_path),
    }
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(spare)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(not build.compiler() or not libraries(), reason="no compiler with sanitizers")
def test_generated_code_is_clean(tmp_path: Path) -> None:
    done = run(tmp_path, 8)
    assert done.stdout.strip() == "clean", done.stderr[-3000:]


@pytest.mark.skipif(not build.compiler() or not libraries(), reason="no compiler with sanitizers")
def test_the_sanitizer_sees_a_row_too_many(tmp_path: Path) -> None:
    """Without the spare rows that a tile of rows may read, the same run is stopped."""
    assert "heap-buffer-overflow" in run(tmp_path, 0).stderr
