// Ways with SVG. Shapes get their colours from the style sheet.

import { span } from "./format.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
const STEPS_MS = [10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 216e5];
const WANTED_PX = 90;

export function draw(parent, name, attributes) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, typeof value === "number" ? Math.round(value * 10) / 10 : value);
  return parent.appendChild(made);
}

export function reset(svg, width, height, spoken) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  svg.setAttribute("aria-label", spoken);
}

export function label(parent, x, y, words, kind = "", anchor = "start") {
  draw(parent, "text", { x, y, class: kind, "text-anchor": anchor, "dominant-baseline": "central" }).textContent = words;
}

/** Draws what is passed since the beginning, at round times. */
export function axis(svg, { fromMs, untilMs, x, top, bottom, width }) {
  const most = Math.max(2, Math.floor(width / WANTED_PX));
  const step = STEPS_MS.find((each) => (untilMs - fromMs) / each <= most) ?? STEPS_MS.at(-1);
  for (let after = 0; after <= untilMs - fromMs; after += step) {
    const at = x(fromMs + after);
    draw(svg, "line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom });
    label(svg, at, bottom + 13, after ? span(after) : "0", "tick", at > width - 30 ? "end" : "middle");
  }
}

let ruler = null;

export function textWidth(words) {
  ruler ??= document.createElement("canvas").getContext("2d");
  ruler.font = `12.5px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(words).width;
}
