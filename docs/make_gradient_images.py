"""Draw the picture of docs/gradients.md: ``python docs/make_gradient_images.py``. The page's own code is run."""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import torch

from recurra.diagnose.gradient_pictures import draw

DOCS = Path(__file__).parent


def page() -> dict[str, Any]:
    """The variables of the page after its first block has run."""
    code = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "gradients.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    namespace: dict[str, Any] = {"__name__": "page"}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(code[0], "gradients.md", "exec"), namespace)
    return namespace


def main() -> None:
    torch.set_num_threads(1)
    path = DOCS / "images" / "gradients.png"
    draw(page()["found"], path, "Gradients through 200 steps, before training")
    print(f"{path.relative_to(DOCS.parent)}: {path.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
