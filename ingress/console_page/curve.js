// How a call sounded over time: the estimated score as a line, what was lost as bars, the round trip as a second line.

import { axis, draw, label, reset } from "./drawing.js";
import { lasting } from "./format.js";

const LEFT = 62, RIGHT = 14, TOP = 20, TALL = 110, LOW = 46, FOOT = 26;
const WORST = 1, BEST = 4.5;

export function drawCurve(svg, samples, fromMs, untilMs) {
  const width = Math.max(280, svg.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(svg.parentElement).paddingLeft));
  const height = TOP + TALL + 34 + LOW + FOOT;
  const x = (ms) => LEFT + ((ms - fromMs) / (untilMs - fromMs)) * (width - LEFT - RIGHT);
  const y = (mos) => TOP + TALL * (1 - (mos - WORST) / (BEST - WORST));
  const scored = samples.map((sample) => [sample.at_ms, sample.mos_estimate ?? sample.sent_mos_estimate]);
  reset(svg, width, height, spoken(scored.map(([, mos]) => mos).filter((mos) => mos != null)));
  axis(svg, { fromMs, untilMs, x, top: TOP, bottom: height - FOOT, width });
  label(svg, 0, 8, "MOS estimate", "lane-name");
  for (const mos of [2, 3, 4]) {
    draw(svg, "line", { class: "lane", x1: LEFT, x2: width - RIGHT, y1: y(mos), y2: y(mos) });
    label(svg, LEFT - 8, y(mos), String(mos), "tick", "end");
  }
  line(svg, scored.filter(([, mos]) => mos != null).map(([ms, mos]) => [x(ms), y(mos)]), "curve");
  const base = TOP + TALL + 34 + LOW;
  const shares = samples.map((sample) => [sample, share(sample)]);
  const highest = Math.max(5, ...shares.map(([, percent]) => percent));
  label(svg, 0, TOP + TALL + 22, `Lost on the way to us, up to ${highest.toFixed(0)} %`, "lane-name");
  draw(svg, "line", { class: "lane", x1: LEFT, x2: width - RIGHT, y1: base, y2: base });
  const wide = Math.max(1.5, Math.min(14, (x(samples.at(-1).at_ms) - x(samples[0].at_ms)) / samples.length - 1));
  for (const [sample, percent] of shares) {
    const tall = (LOW * percent) / highest;
    if (!tall) continue;
    const bar = draw(svg, "rect", { class: "loss", x: x(sample.at_ms) - wide, y: base - tall, width: wide, height: tall, rx: 1 });
    draw(bar, "title", {}).textContent = `${percent.toFixed(1)} % lost, after ${lasting(sample.at_ms - fromMs)}`;
  }
}

function share(sample) {
  const lost = Math.max(0, sample.packets_lost ?? 0), all = (sample.packets_received ?? 0) + lost;
  return all ? (100 * lost) / all : 0;
}

function line(svg, points, kind) {
  if (points.length) draw(svg, "polyline", { class: kind, points: points.map((each) => each.map((part) => part.toFixed(1)).join()).join(" ") });
}

function spoken(scores) {
  if (!scores.length) return "No score could be estimated.";
  return `The MOS estimate lay between ${Math.min(...scores).toFixed(1)} and ${Math.max(...scores).toFixed(1)}.`;
}
