// One call: what it was, why it went so, its time axis, its sound, its log. Read anew while it goes on.

import { $, element, fill, put, text } from "./dom.js";
import { drawCurve } from "./curve.js";
import { because, bytes, clockTime, lasting, precise, span, whole } from "./format.js";
import { state } from "./rows.js";
import { get, lost, may, notice, post, sure } from "./server.js";
import { drawMarks } from "./timeline.js";

const AGAIN_MS = 2_000, ENDED_LONG_AGO_MS = 120_000;
const SETUP_SHARE = 0.6; // of a call; where the beginning is as much of it, one axis shows both
const AFTER_SETUP = 0.25; // more of it: what the connection brought at once

let call = null, readNow = () => {};

export async function showCall(id) {
  $("hang-up").addEventListener("click", () => hangUp(id));
  new ResizeObserver(() => call && draw()).observe($("call"));
  await read(id);
}

async function read(id) {
  let seenMs = Date.now();
  for (;;) {
    try {
      const told = await get(`/console/data/calls/${encodeURIComponent(id)}`);
      lost("");
      seenMs = Date.now();
      if (!told) return none(id);
      const news = call?.phase !== "ended" || told.facts.length !== call.facts.length;
      call = told;
      if (news) await show();
      if (told.phase === "ended" && told.now_ms - told.last_ms > ENDED_LONG_AGO_MS) return;
    } catch (error) {
      lost(error instanceof TypeError ? "Connection lost." : error.message, `What you see is of ${clockTime(seenMs)}.`);
    }
    await new Promise((done) => {
      readNow = done;
      setTimeout(done, AGAIN_MS);
    });
  }
}

function none(id) {
  $("call-none").hidden = false;
  text("call-none-text", `Nothing is known of ${id}. Logs are kept for LOG_HOURS or RETENTION_HOURS after a call’s end.`);
}

async function show() {
  $("call-there").hidden = false;
  document.title = `${call.outcome ?? call.phase} · ${call.call_id} · Console`;
  text("call-id", call.call_id);
  text("call-way", call.direction === "business_initiated" ? "Outbound call" : "Inbound call");
  const chip = $("call-state");
  chip.dataset[call.outcome ? "outcome" : "phase"] = call.outcome ?? call.phase;
  text("call-state", call.outcome ?? call.phase);
  pairs($("call-facts"), aboutCall());
  showWhy();
  $("call-do").hidden = call.phase === "ended" || call.phase === "ending" || !(await may("call"));
  draw();
  pairs($("figures"), call.figures);
  const silent = !call.figures.length && call.quality.samples.length < 2;
  $("sound-none").hidden = !silent;
  text("sound-none", call.live_ms ? "Nothing was measured yet." : "It never came to a conversation.");
  showRecordings();
  fill($("facts"), call.facts.map((fact, index) => ({ ...fact, index })), (fact) => fact.index, makeFact, (item, fact) => {
    put(item.children[0], precise(fact.at_ms - call.started_ms));
    put(item.children[1], fact.fact);
    put(item.children[2], fact.details);
  });
}

function aboutCall() {
  const said = [
    ["began", whole(call.started_ms)],
    ["spoken", call.live_ms ? lasting((call.ended_ms ?? call.now_ms) - call.live_ms) : "not at all"],
    ["ended", call.outcome ? because(call.because) : ""],
    ["Page", call.page],
    ["consumer", call.psid ?? call.consumer],
    ["worker", call.owner && `${call.owner}, epoch ${call.epoch}`],
    ["Meta’s id", call.meta_id],
  ];
  return said.filter(([, what]) => what);
}

function showWhy() {
  $("call-well").hidden = call.phase !== "ended" || call.why.length > 0;
  const goesOn = (reason) => reason.rule === "not_closed" && !call.outcome; // which is no trouble while one looks on
  fill($("call-why"), call.why.filter((reason) => !goesOn(reason)), (reason) => reason.rule, makeReason, (item, reason) => {
    put(item.children[0], reason.sentence);
    put(item.children[1], reason.remedy);
  });
}

function draw() {
  const untilMs = Math.max(call.ended_ms ? call.last_ms : call.now_ms, call.started_ms + 1);
  const setupMs = call.live_ms ? call.live_ms - call.started_ms : 0;
  const apart = setupMs > 0 && setupMs < SETUP_SHARE * (untilMs - call.started_ms);
  $("setup-panel").hidden = !apart;
  const toldMs = apart ? call.live_ms + setupMs * AFTER_SETUP : 0;
  if (apart) drawMarks($("setup"), call.marks, call.started_ms, toldMs);
  drawMarks($("whole"), call.marks, call.started_ms, untilMs, toldMs);
  $("curve").toggleAttribute("hidden", call.quality.samples.length < 2);
  if (call.quality.samples.length >= 2) drawCurve($("curve"), call.quality.samples, call.started_ms, untilMs);
}

function showRecordings() {
  const known = call.recordings.map((each, index) => ({ ...each, index }));
  $("recordings-panel").hidden = known.length === 0;
  fill($("recordings"), known, (each) => each.index, makeRecording, (item, each) => {
    const [about, player] = item.children;
    const size = each.size == null ? "" : `, ${bytes(each.size)}`;
    const where = each.playable ? `${each.path.split("/").at(-1)}${size}` : `${each.path}${size}: not within reach of this process`;
    put(about, `After ${span(each.at_ms - call.started_ms)}: ${where}`);
    player.hidden = !each.playable;
    const source = `/console/data/calls/${encodeURIComponent(call.call_id)}/recordings/${each.index}`;
    if (each.playable && player.getAttribute("src") !== source) player.src = source;
  });
}

async function hangUp(id) {
  if (!(await sure("End this call?", "The consumer is hung up on.", "End it"))) return;
  try {
    const done = await post(`/console/calls/${encodeURIComponent(id)}/hangup`);
    notice(done?.message ?? "There is no such call.");
    readNow();
  } catch (error) {
    notice(error.message, true);
  }
}

function pairs(list, said) {
  fill(list, said, ([what]) => what, () => {
    const pair = element("div");
    pair.append(element("dt"), element("dd"));
    return pair;
  }, (pair, [what, value]) => {
    put(pair.children[0], what);
    put(pair.children[1], String(value));
  });
}

function makeReason() {
  const item = element("li");
  item.append(element("strong"), element("span", "quiet"));
  return item;
}

function makeRecording() {
  const item = element("li"), player = element("audio");
  player.controls = true;
  player.preload = "none";
  item.append(element("p", "small"), player);
  return item;
}

function makeFact() {
  const item = element("tr");
  item.append(element("td", "number quiet"), element("td", "name"), element("td", "details"));
  return item;
}
