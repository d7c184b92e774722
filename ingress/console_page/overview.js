// The overview: what is going on now, what was today, and what wants somebody's hand.

import { $, element, fill, put, set, text } from "./dom.js";
import { showDead } from "./dead.js";
import { count, number, span, when } from "./format.js";
import { fillEnded, fillNow, tick } from "./rows.js";
import { follow, now } from "./stream.js";
import { showHours } from "./today.js";

const QUEUES = [
  ["waiting", "calls for a media worker"],
  ["accept", "answers for Graph"],
  ["control", "other actions for Graph"],
  ["bulk", "reports and what can wait"],
];

let rows = [], slots = null, total = 0;

export function showOverview() {
  follow({
    calls: (calls) => {
      ({ rows, total } = calls);
      fillNow($("now"), rows, now());
      shown("now", rows.length);
      $("now-more").hidden = total <= rows.length;
      text("now-more", `${number(rows.length)} of ${number(total)} are shown.`);
      showNow();
    },
    recent: (recent) => {
      fillEnded($("recent"), recent.rows, now());
      shown("recent", recent.rows.length);
      text("recent-all", `All calls (${number(recent.kept)})`);
      $("recent-all").hidden = recent.kept === 0;
    },
    hours: (hours) => showHours(hours, now()),
    workers: (workers) => {
      showWorkers(workers);
      slots = workers.reduce((sum, worker) => sum + (worker.capacity ?? 0), 0);
      showNow();
    },
    deaths: showDeaths,
    queues: showQueues,
    wrongs: (wrongs) => {
      $("wrongs").hidden = wrongs.length === 0;
      fill($("wrongs-list"), wrongs, (said) => said, () => element("li"), put);
    },
    dead: showDead,
  });
  setInterval(() => tick($("now"), rows, now()), 1000);
}

function shown(name, some) {
  $(`${name}-table`).hidden = !some;
  $(`${name}-none`).hidden = Boolean(some);
}

function showNow() {
  text("now-count", number(total));
  if (slots !== null) text("now-slots", slots ? `of ${count(slots, "slot", "slots")}` : "no worker takes calls");
  document.title = total ? `${count(total, "call", "calls")} · Console` : "Console";
}

function showWorkers(workers) {
  $("workers-none").hidden = workers.length > 0;
  fill($("workers"), workers, (worker) => worker.worker, makeWorker, (item, { worker, capacity, held }) => {
    const [name, said, meter] = item.children;
    const drains = capacity === null;
    put(name, worker);
    const calls = count(held, "call", "calls");
    put(said, drains ? `drains, ${calls} left` : capacity ? `${held} of ${capacity}` : `${calls}; overloaded, takes no more for now`);
    set(item, "drains", String(drains));
    meter.max = Math.max(1, capacity ?? held);
    meter.value = held;
    meter.hidden = drains;
  });
}

function showDeaths(deaths) {
  $("deaths").hidden = deaths.length === 0;
  fill($("deaths-list"), deaths, (death) => death.worker, makeDeath, (item, { worker, held, at_ms }) => {
    put(item.children[0], worker);
    put(item.children[1], `${when(at_ms, now())}, ${held ? `with ${count(held, "call", "calls")}` : "without calls"}`);
  });
}

function makeDeath() {
  const item = element("li");
  item.append(element("span", "name"), element("span", "quiet small"));
  return item;
}

function makeWorker() {
  const item = element("li"), meter = element("progress");
  meter.setAttribute("aria-hidden", "true");
  item.append(element("span", "name"), element("span", "quiet small"), meter);
  return item;
}

function showQueues(queues) {
  fill($("queues"), QUEUES, ([name]) => name, makePair, (pair, [name, words]) => {
    put(pair.children[0], words);
    const longest = name === "waiting" && queues.waited_s ? `, one for ${span(1000 * queues.waited_s)}` : "";
    put(pair.children[1], number(queues[name] ?? 0) + longest);
    set(pair, "some", String((queues[name] ?? 0) > 0));
  });
}

function makePair() {
  const pair = element("div");
  pair.append(element("dt"), element("dd"));
  return pair;
}
