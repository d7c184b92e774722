"""`make sabotage`: take out what each promise rests on, one thing at a time, and see that a test notices."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from tests.sabotage.sabotage import MechanismMoved, Sabotage
from tests.sabotage.stage import ROOT, NoStage, Seen, Stage, staged
from tests.sabotage.table import SABOTAGES

COLUMNS: Final = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
SHOWN_CHARACTERS: Final = 160


class Finding(NamedTuple):
    """What one test made of one sabotage."""

    promise: int
    sentence: str
    test: str
    red: bool
    seconds: float
    said: str
    """The first line of what failed, so that a reader sees whether it is red for the right reason."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Sabotage what was asked for; 1 unless every test noticed."""
    parser = argparse.ArgumentParser(prog="make sabotage", description=__doc__)
    parser.add_argument("--only", type=int, action="append", metavar="N", help="this promise only (may be repeated)")
    parser.add_argument("--json", action="store_true", help="print the findings as one JSON value")
    asked = parser.parse_args(arguments)
    sabotages = [each for each in SABOTAGES if not asked.only or each.promise in asked.only]
    if not sabotages:
        parser.error(f"there is no promise {asked.only}; docs/operating.md numbers them 1 to 10")
    console = Console(stderr=True, highlight=False)
    try:
        for sabotage in sabotages:
            sabotage.sabotaged((ROOT / sabotage.file).read_text(encoding="utf-8"))
        findings = _find(sabotages, console)
    except (MechanismMoved, NoStage) as error:
        console.print(str(error), markup=False)
        return 1
    console.print(_table(findings))
    if asked.json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    green = [finding for finding in findings if not finding.red]
    console.print(f"{len(findings) - len(green)} of {len(findings)} red" + (", as they should be" * (not green)))
    return int(bool(green))


def _find(sabotages: Sequence[Sabotage], console: Console) -> list[Finding]:
    tests = list(dict.fromkeys(test for sabotage in sabotages for test in sabotage.tests))
    findings = []
    with staged() as stage, Progress(*COLUMNS, console=console) as bar:
        task = bar.add_task("unsabotaged", total=len(tests))
        sound = {}
        for file in dict.fromkeys(test.partition("::")[0] for test in tests):
            sound.update(stage.run([test for test in tests if test.startswith(f"{file}::")]))
            bar.update(task, completed=len(sound))
        task = bar.add_task("sabotaged", total=sum(len(sabotage.tests) for sabotage in sabotages))
        for sabotage in sabotages:
            bar.update(task, description=f"{sabotage.promise:>2} {sabotage.sentence}")
            findings += _sabotage(stage, sabotage, sound)
            bar.update(task, completed=len(findings))
        bar.update(task, description="sabotaged")
    return findings


def _sabotage(stage: Stage, sabotage: Sabotage, sound: dict[str, Seen]) -> list[Finding]:
    """Run a sabotage's tests without the mechanism; one that fails with it, too, proves nothing and is not run."""
    provable = [test for test in sabotage.tests if sound[test].outcome == "passed"]
    with sabotage.applied(stage.tree):
        seen = {test: stage.run([test])[test] for test in provable}
    return [_finding(sabotage, test, seen.get(test), sound[test]) for test in sabotage.tests]


def _finding(sabotage: Sabotage, test: str, seen: Seen | None, sound: Seen) -> Finding:
    if seen is None:
        said = f"{sound.outcome} without a sabotage, too: {sound.said}"
        return Finding(sabotage.promise, sabotage.sentence, test, red=False, seconds=0, said=said)
    said = seen.said if seen.red else f"{seen.outcome}: {seen.said}" if seen.said else seen.outcome
    return Finding(sabotage.promise, sabotage.sentence, test, seen.red, round(seen.took_s, 1), said)


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=SIMPLE_HEAD, caption="red is good: the test notices what is missing")
    for name in ("promise", "without", "red", "s", "test, and what it said"):
        table.add_column(name, justify="right" if name in {"promise", "s"} else "left", overflow="fold")
    for finding in findings:
        test = finding.test.partition("::")[2]
        told = Text.assemble(test, "\n", (finding.said[:SHOWN_CHARACTERS], "dim"))
        red = Text("red", "red") if finding.red else Text("GREEN", "bold yellow")
        table.add_row(str(finding.promise), finding.sentence, red, f"{finding.seconds:.0f}", told)
    return table


if __name__ == "__main__":
    sys.exit(main())
