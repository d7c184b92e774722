// All calls, the newest first, or those that are looked for; what is looked for stands behind # in the address.

import { $, text } from "./dom.js";
import { count } from "./format.js";
import { fillEnded } from "./rows.js";
import { get, notice, post } from "./server.js";

let calls = [];

export function showCalls() {
  addEventListener("hashchange", load);
  $("calls-more").addEventListener("click", (event) => older(Number(event.currentTarget.dataset.before)));
  load();
}

async function load() {
  const wanted = new URLSearchParams(`q=${location.hash.slice(1)}`).get("q");
  calls = [];
  $("search-text").value = wanted;
  await show(wanted ? () => post("/console/data/find", { q: wanted }) : () => get("/console/data/calls"), wanted);
}

async function older(before) {
  const first = calls.length;
  await show(() => get(`/console/data/calls?before=${before}`), "");
  $("calls-rows").children[first]?.querySelector("a").focus();
}

async function show(ask, wanted) {
  let found;
  try {
    found = await ask();
  } catch (error) {
    return notice(error.message, true);
  }
  if (!found) return;
  calls = [...calls, ...found.calls];
  fillEnded($("calls-rows"), calls, Date.now());
  text("calls-title", wanted ? `Calls for “${wanted}”` : "Calls");
  text("calls-said", wanted ? foundSo(calls.length) : `${count(found.kept, "call", "calls")} in the log, the newest first`);
  $("calls-table").hidden = calls.length === 0;
  $("calls-none").hidden = calls.length > 0;
  text("calls-none-what", wanted ? "Nothing was found." : "No call has come yet.");
  text("calls-none-text", wanted
    ? "Look for a call by its id or the beginning of it, by the consumer’s PSID, or by the pseudonym that logs show. Logs are kept for RETENTION_HOURS."
    : "A call shows here from the moment it rings.");
  const more = $("calls-more");
  more.hidden = found.before === null;
  more.dataset.before = found.before ?? "";
}

function foundSo(some) {
  if (some < 2) return some ? "1 call was found" : "";
  return `${count(some, "call", "calls")} were found, the newest first`;
}
