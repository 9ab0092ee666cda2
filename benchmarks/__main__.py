"""``make bench``: measure, and write docs/benchmarks.

python -m benchmarks                        everything
python -m benchmarks training inference     these sections; the others stay as they were
python -m benchmarks --render               no measurement, only the page and the picture from what is there
python -m benchmarks --quick                does it work? tiny sizes, written to build/benchmarks
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

from benchmarks import chart, machine, page
from benchmarks.results import Section, read, write
from benchmarks.sections import SECTIONS
from benchmarks.timing import QUICK, Effort

ROOT = Path(__file__).parents[1]
FOLDER, TRIAL = ROOT / "docs" / "benchmarks", ROOT / "build" / "benchmarks"
CHART = "ratios.png"


def main(arguments: list[str] | None = None) -> int:
    """Run the sections that were asked for. 1 if sides disagreed somewhere."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    unknown = [name for name in asked.sections if name not in SECTIONS]
    if unknown:
        parser.error(f"expected sections among {', '.join(SECTIONS)}, got {', '.join(unknown)}")
    folder = asked.folder or (TRIAL if asked.quick else FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    effort = dataclasses.replace(Effort(), rounds=asked.rounds)
    wrong = 0
    for name in [] if asked.render else asked.sections or SECTIONS:
        section = measure(name, QUICK if asked.quick else effort)
        wrong += sum(row.note.startswith("not timed") for table in section.tables for row in table.rows)
        write(section, folder / f"{name}.json")
        render(folder)
    if asked.render:
        render(folder)
    print(f"see {folder / 'README.md'}" + (f"; {wrong} rows whose sides disagree" if wrong else ""))
    return int(wrong > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none is named")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="turns of each side (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes and few rounds")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--folder", type=Path, help="where to write")
    return parser


def measure(name: str, effort: Effort) -> Section:
    """Run one section and say how long it took."""
    begin = time.perf_counter()
    section = SECTIONS[name](effort, lambda text: print(text, flush=True))
    seconds = time.perf_counter() - begin
    for table in section.tables:
        print("\n".join(page.table_lines(table)))
    print(f"{name}: {seconds:.0f} s", flush=True)
    return dataclasses.replace(section, machine=machine.describe(), seconds=round(seconds, 1))


def render(folder: Path) -> None:
    """Write the page and the picture from the JSON files in a folder."""
    paths = [folder / f"{name}.json" for name in SECTIONS]
    sections = [read(path) for path in paths if path.exists()]
    drawn = chart.draw(sections, folder / CHART)
    page.write(sections, folder, CHART if drawn else "")


if __name__ == "__main__":
    sys.exit(main())
