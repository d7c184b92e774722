// Today's figures, and the hours of a day as bars: from what was counted as calls were closed.

import { $, element, fill, put, text } from "./dom.js";
import { OUTCOMES, count, number, span } from "./format.js";

const HOUR_MS = 3_600_000;

/** `hours` are in order, the last one is this one. */
export function showHours(hours, nowMs) {
  const midnight = new Date(nowMs).setHours(0, 0, 0, 0);
  // an hour into which midnight falls (time zones of half hours) counts as today's
  const today = hours.filter((hour) => hour.began_ms + HOUR_MS > midnight);
  const outcomes = sum(today.map((hour) => hour.outcomes));
  const ended = total(outcomes);
  text("today-count", number(ended));
  const completed = outcomes.completed ?? 0;
  text("today-share", ended ? `${Math.round((100 * completed) / ended)} % completed` : "since midnight");
  showAnswers(sum(today.map((hour) => hour.answers)));
  const day = hours.slice(-24);
  showBars(day);
  showOutcomes(outcomes, sum(day.map((hour) => hour.outcomes)));
}

function showAnswers(answers) {
  const waited = Object.entries(answers).map(([ms, times]) => [Number(ms), times]).sort(([a], [b]) => a - b);
  const known = total(answers);
  text("answer-p50", known ? span(percentile(waited, known, 0.5)) : "–");
  text("answer-p95", known ? `by half; 95 % within ${span(percentile(waited, known, 0.95))}` : "no caller was answered today");
}

/** The value that so great a share does not exceed. */
export function percentile(waited, known, share) {
  let left = Math.ceil(known * share);
  for (const [ms, times] of waited) {
    left -= times;
    if (left <= 0) return ms;
  }
  return waited.at(-1)[0];
}

function showBars(day) {
  const highest = Math.max(1, ...day.map((hour) => total(hour.outcomes)));
  const some = day.some((hour) => total(hour.outcomes));
  text("hours-most", some ? `up to ${count(highest, "call", "calls")} in an hour` : "");
  $("hours").hidden = !some;
  $("today-none").hidden = some;
  fill($("hours"), day, (hour) => hour.began_ms, makeBar, (bar, hour) => {
    const from = new Date(hour.began_ms).getHours();
    const told = Object.entries(OUTCOMES).filter(([word]) => hour.outcomes[word]);
    bar.title = `${from}:00 to ${(from + 1) % 24}:00 · ${count(total(hour.outcomes), "call", "calls")}`
      + told.map(([word, name]) => `\n${number(hour.outcomes[word])} ${name}`).join("");
    const [stack, label] = bar.children;
    put(label, from % 6 === 0 ? `${from}:00` : "");
    fill(stack, told, ([word]) => word, () => element("i"), (part, [word]) => {
      part.dataset.outcome = word;
      part.style.height = `${(100 * hour.outcomes[word]) / highest}%`;
    });
  });
}

function makeBar() {
  const bar = element("div", "hour");
  bar.append(element("div", "stacked"), element("span", "small quiet"));
  return bar;
}

function showOutcomes(today, day) {
  const some = Object.keys(OUTCOMES).filter((word) => today[word] || day[word]);
  $("outcomes-table").hidden = some.length === 0;
  fill($("outcomes"), some, (word) => word, makeRow, (row, word) => {
    const [colour, name] = row.children[0].children;
    colour.dataset.outcome = word;
    put(name, OUTCOMES[word]);
    put(row.children[1], number(today[word] ?? 0));
    put(row.children[2], number(day[word] ?? 0));
  });
}

function makeRow() {
  const row = element("tr"), head = element("th");
  head.scope = "row";
  head.append(element("i"), element("span"));
  row.append(head, element("td", "number"), element("td", "number quiet"));
  return row;
}

function sum(counts) {
  const all = {};
  for (const each of counts) for (const [name, times] of Object.entries(each)) all[name] = (all[name] ?? 0) + times;
  return all;
}

function total(counts) {
  return Object.values(counts).reduce((all, times) => all + times, 0);
}
