// A call on its time axis: a lane for each who took part, marks and bars, and labels that keep out of each other's way.

import { span } from "./format.js";
import { axis, draw, label, reset, textWidth } from "./drawing.js";

const LANES = { meta: "Meta", graph: "Graph", line: "Line", media: "Media", agents: "Agents" };
const LEFT = 62, RIGHT = 14, TOP = 8, ROW = 21, GAP = 10, FOOT = 26, MOST_ROWS = 6;

/** Draws what happened between two times; what was before `toldMs` has its words on another axis. */
export function drawMarks(svg, marks, fromMs, untilMs, toldMs = 0) {
  const width = Math.max(280, svg.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(svg.parentElement).paddingLeft));
  const x = (ms) => LEFT + ((ms - fromMs) / (untilMs - fromMs)) * (width - LEFT - RIGHT);
  const shown = marks.filter((mark) => mark.at_ms <= untilMs && (mark.until_ms ?? mark.at_ms) >= fromMs - 1000);
  const lanes = Object.keys(LANES).map((name) => laid(name, shown.filter((mark) => mark.lane === name), x, width, toldMs));
  const there = lanes.filter((lane) => lane.marks.length);
  const height = TOP + there.reduce((sum, lane) => sum + lane.rows * ROW + GAP, 0) + FOOT;
  reset(svg, width, height, told(shown, fromMs, untilMs));
  axis(svg, { fromMs, untilMs, x, top: TOP, bottom: height - FOOT, width });
  let top = TOP;
  for (const lane of there) {
    draw(svg, "line", { class: "lane", x1: LEFT, x2: width - RIGHT, y1: top + lane.rows * ROW + GAP / 2, y2: top + lane.rows * ROW + GAP / 2 });
    label(svg, 0, top + ROW / 2, LANES[lane.name], "lane-name");
    for (const mark of lane.marks) one(svg, mark, top + mark.row * ROW);
    top += lane.rows * ROW + GAP;
  }
}

/** Gives each mark of a lane a row in which its words have room, or no words. */
function laid(name, marks, x, width, toldMs) {
  const ends = [];
  const placed = marks.map((mark) => {
    const from = Math.max(LEFT, x(mark.at_ms)), until = mark.until_ms ? Math.max(from + 3, x(mark.until_ms)) : from;
    const words = mark.detail && mark.detail.length < 18 ? `${mark.label} · ${mark.detail}` : mark.label;
    const size = words ? textWidth(words) + 10 : 0;
    if (mark.at_ms <= toldMs) return { ...mark, from, until, words: "", row: 0 };
    const before = until + 6 + size > width - RIGHT; // no room to the right of it
    const start = before ? from - 6 - size : from - 4, end = before ? until + 4 : until + 6 + size;
    let row = ends.findIndex((taken) => taken <= start);
    if (row < 0 && ends.length < MOST_ROWS) row = ends.length;
    const fits = row >= 0 && start >= LEFT - 8;
    row = Math.max(0, row);
    ends[row] = Math.max(ends[row] ?? 0, fits ? end : until + 4);
    return { ...mark, from, until, words: fits ? words : "", before, row };
  });
  return { name, marks: placed, rows: Math.max(1, ends.length) };
}

function one(svg, mark, top) {
  const middle = top + ROW / 2;
  const group = draw(svg, "g", { class: mark.bad ? "mark bad" : "mark", "data-lane": mark.lane });
  draw(group, "title", {}).textContent = [mark.label, mark.detail, mark.until_ms ? span(mark.until_ms - mark.at_ms) : ""].filter(Boolean).join(" · ");
  if (mark.until_ms) draw(group, "rect", { x: mark.from, y: middle - 5, width: mark.until - mark.from, height: 10, rx: 3 });
  else draw(group, "circle", { cx: mark.from, cy: middle, r: 4.5 });
  if (mark.words) label(group, mark.before ? mark.from - 8 : mark.until + 8, middle, mark.words, "", mark.before ? "end" : "start");
}

function told(marks, fromMs, untilMs) {
  return `${marks.length} things that happened within ${span(untilMs - fromMs)}; the table under “Its log” tells them all.`;
}
