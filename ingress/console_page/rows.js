// Calls as rows of a table; on a phone each row is a card.

import { element, fill, put, symbol } from "./dom.js";
import { OUTCOMES, because, grade, lasting, score, shortId, when } from "./format.js";

/** Shows calls that go on. */
export function fillNow(body, rows, nowMs) {
  fill(body, rows, (row) => row.call_id, make, (item, row) => {
    identify(item, row);
    state(cell(item, 2), row.phase, "phase");
    put(cell(item, 3), row.owner || "waits for one");
    sound(cell(item, 4), row);
    put(cell(item, 5), lasting(nowMs - row.started_ms));
  });
}

/** Shows calls, ended or not. */
export function fillEnded(body, rows, nowMs) {
  fill(body, rows, (row) => row.call_id, make, (item, row) => {
    identify(item, row);
    const shown = cell(item, 2);
    state(shown, row.outcome ?? row.phase, row.outcome ? "outcome" : "phase", row.outcome && because(row.because));
    put(cell(item, 3), row.owner);
    const spoken = row.live_ms ? lasting((row.ended_ms ?? nowMs) - row.live_ms) : "–";
    put(cell(item, 4), spoken);
    put(cell(item, 5), when(row.started_ms, nowMs));
  });
}

export function tick(body, rows, nowMs) {
  const known = new Map(rows.map((row) => [row.call_id, row]));
  for (const item of body.children) {
    const row = known.get(item.dataset.key);
    if (row) put(cell(item, 5), lasting(nowMs - row.started_ms));
  }
}

/** Shows a phase or an outcome as a chip, with a word on why beside it. */
export function state(holder, word, kind, why = "") {
  let chip = holder.querySelector(".state");
  if (!chip) {
    chip = element("span", "state");
    holder.replaceChildren(chip, element("span", "quiet small"));
  }
  chip.dataset[kind] = word;
  delete chip.dataset[kind === "phase" ? "outcome" : "phase"];
  put(chip, OUTCOMES[word] ?? word);
  put(chip.nextSibling, why || "");
}

function make() {
  const item = element("tr");
  for (const name of ["which", "consumer", "how", "worker", "figure number", "time number"]) item.append(element("td", name));
  const one = element("span", "one");
  one.append(element("span", "way"), element("a", "id"));
  cell(item, 0).append(one);
  return item;
}

function identify(item, row) {
  const [way, link] = cell(item, 0).firstChild.children;
  const out = row.direction === "business_initiated";
  if (way.dataset.out !== String(out)) {
    way.dataset.out = String(out);
    const spoken = element("span", "unseen");
    spoken.textContent = out ? "outbound" : "inbound";
    way.replaceChildren(symbol(out ? "out" : "in"), spoken);
  }
  link.href = `/console/calls/${encodeURIComponent(row.call_id)}`;
  link.title = row.call_id;
  put(link, shortId(row.call_id));
  put(cell(item, 1), row.consumer ? row.consumer.slice(0, 6) : "–");
  cell(item, 1).title = row.consumer ? `Consumer ${row.consumer}` : "";
}

function sound(holder, row) {
  holder.className = `figure sound ${grade(row.mos)}`;
  put(holder, row.mos == null ? (row.phase === "live" ? "not known yet" : "") : `MOS est. ${score(row.mos)}`);
}

const cell = (item, index) => item.children[index];
