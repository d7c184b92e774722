"""The report of a bench as one HTML file: nothing beside it, nothing from elsewhere, no script."""

import datetime as dt
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pageline.bench import figures
from pageline.bench.report import sections
from pageline.bench.report.sections import Section

_PAGE: Final = "page.html"


def write(to: Path, report: dict[str, Any]) -> None:
    """Write what was measured: `report` has the figures of each bench by its name, and the `machine` perhaps."""
    to.write_text(page(report), encoding="utf-8")


def page(report: dict[str, Any]) -> str:
    """Return the page."""
    members = {name: told for name, told in report.items() if name != "machine"}
    machine = report.get("machine") or next((told["machine"] for told in members.values() if "machine" in told), None)
    shown = [sections.of(name, told) for name, told in members.items()]
    now = dt.datetime.now(dt.UTC)
    template = files("pageline.bench.report").joinpath(_PAGE).read_text(encoding="utf-8")
    return (
        template.replace("<!-- when -->", f'<time datetime="{now.isoformat()}">{now:%d %B %Y, %H:%M} UTC</time>')
        .replace("<!-- machine -->", escape(_machine(machine or figures.machine())))
        .replace("<!-- sections -->", "\n".join(map(_section, shown)))
    )


def _machine(machine: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_1min_before']} before, {machine['system']}, "
        f"Python {machine['python']}; {versions}"
    )


def _section(section: Section) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in section.heads)
    rows = "\n".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in section.rows)
    drawn = "\n".join(f"<figure>{svg}</figure>" for svg in section.plots)
    return f"""<section>
<h2>{escape(section.title)}</h2>
{_verdict(section)}
<p>{escape(section.text)}</p>
<div class="wide" tabindex="0"><table><thead><tr>{heads}</tr></thead><tbody>
{rows}
</tbody></table></div>
{drawn}
</section>"""


def _verdict(section: Section) -> str:
    if section.met is None:
        return ""
    word = "met" if section.met else "not met in this run"
    return f'<p class="aim {"met" if section.met else "missed"}"><b>{word}</b> Aim: {escape(section.aim)}</p>'
