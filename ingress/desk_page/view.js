// The state as the page shows it. `draw` may be called as often as one likes: it touches only what has changed.

import { $, element, fill, set, text } from "./dom.js";
import { chip, control, icon } from "./elements.js";
import { callerOf, drawSide, supervises } from "./side.js";
import { BECAUSE, MICROPHONE, OFFLINE, PRESENCE, TROUBLE, clock, count, list } from "./words.js";

export function draw(state) {
  const now = Date.now() + state.aheadMs;
  const stage = stageOf(state);
  drawStage(stage);
  drawBar(state);
  drawBanners(state);
  if (stage === "elsewhere") text("elsewhere-text", state.call ? "The sound of your call stays in this window: keep it open until the call is over. Everything else is in the other one." : "Calls ring there.");
  if (stage === "offline") text("offline-text", OFFLINE[state.wantsReady ? "ready" : "away"]);
  if (stage === "away") text("away-text", awayText(state));
  if (stage === "idle") text("idle-text", idleText(state));
  if (stage === "microphone") drawMicrophone(state.microphone);
  if (stage === "ringing") drawRinging(state, now);
  if (stage === "call") drawCall(state, now);
  if (stage === "ended") drawEnded(state);
  drawNote(state, stage);
  drawSide(state, now, stage === "ringing" ? ringingOf(state) : null);
  document.title = titleOf(state, stage, now);
}

/** Returns the panel that matters most. */
export function stageOf(state) {
  if (state.elsewhere) return "elsewhere";
  if (state.call) return "call";
  if (!state.agent) return "opening";
  if (state.lost) return "offline";
  if (state.microphone) return "microphone";
  if (ringingOf(state)) return "ringing";
  if (state.past) return "ended";
  return state.wantsReady ? "idle" : "away";
}

/** Returns the waiting call that rings here: one that was transferred to this agent, or who waits longest. */
export function ringingOf(state) {
  if (!state.wantsReady || state.call || state.lost || !state.desk) return null;
  const { waiting } = state.desk;
  return waiting.find((each) => each.for === state.agent.name) ?? waiting.find((each) => !each.for) ?? null;
}

// The parts of the page

function drawStage(stage) {
  if (document.body.dataset.stage === stage) return;
  const lost = document.querySelector(`[data-for="${document.body.dataset.stage}"]`)?.contains(document.activeElement);
  document.body.dataset.stage = stage;
  for (const panel of document.querySelectorAll("[data-for]")) panel.hidden = panel.dataset.for !== stage;
  if (lost || document.activeElement === document.body) $("stage").focus({ preventScroll: true }); // its button is hidden now
}

function drawBar(state) {
  const presence = state.lost || state.elsewhere ? "lost" : (state.desk?.me.state ?? "lost");
  text("agent-name", state.agent?.name ?? "Desk");
  text("agent-queues", state.agent ? [...(supervises(state) ? ["supervisor"] : []), ...state.agent.queues].join(" · ") : "");
  set($("presence"), "presence", presence);
  const label = { ...PRESENCE, lost: state.elsewhere ? "Elsewhere" : state.agent ? "Offline" : "Connecting" }[presence];
  text("presence-label", presence === "talking" && !state.wantsReady ? `${label}, then away` : label);
  $("presence").disabled = presence === "lost";
  $("presence").title = state.wantsReady ? "No more calls (R)" : "Take calls (R)";
  for (const [id, on] of [["sound", state.aloud], ["notify", state.notifying]]) $(id).setAttribute("aria-pressed", String(on));
  icon($("sound"), state.aloud ? "bell" : "bell-off");
}

function drawBanners(state) {
  $("lost").hidden = !state.lost || state.elsewhere;
  if (state.lost) {
    const seconds = Math.ceil((state.lost.retryAtMs - Date.now()) / 1000);
    text("lost-what", "No connection to the desk.");
    const goesOn = state.call ? "Your call goes on, and so does mute. Hold, transfer and end wait for the connection. " : "";
    text("lost-text", goesOn + (seconds > 0 ? `Next try in ${seconds} s.` : "Trying again …"));
  }
  const trouble = state.call && TROUBLE[state.trouble];
  $("trouble").hidden = !trouble;
  if (trouble) {
    text("trouble-what", trouble[0]);
    text("trouble-text", trouble[1]);
    text("trouble-mend", trouble[2]);
    $("trouble-mend").hidden = !trouble[2];
  }
  $("notice").hidden = !state.notice || state.elsewhere;
  $("notice").className = `banner ${state.notice?.kind ?? ""}`;
  if (state.notice) {
    text("notice-what", state.notice.message);
    text("notice-text", state.notice.remedy ?? "");
  }
}

function drawMicrophone(problem) {
  const [title, what, steps] = MICROPHONE[problem];
  text("microphone-title", title);
  text("microphone-text", what);
  icon($("microphone-emblem"), problem === "asking" ? "microphone" : "muted");
  fill($("microphone-steps"), steps, (step) => step, () => element("li"), (item, step) => (item.textContent = step));
  $("microphone-steps").hidden = !steps.length;
  $("microphone-again").hidden = problem === "asking";
}

function drawRinging(state, now) {
  const waiting = ringingOf(state), { length } = state.desk.waiting;
  text("ringing-what", waiting.for ? "Transferred to you" : length > 1 ? `Waits longest of ${length}` : "Waiting");
  text("ringing-caller", callerOf(waiting));
  chip("ringing-queue", waiting.queue);
  text("ringing-page", pageOf(waiting));
  text("ringing-since", clock(now - waiting.since_ms));
  $("answer").disabled = state.opening;
}

function drawCall(state, now) {
  const { call } = state, listening = call.listening, talking = call.state === "live" || call.state === "held";
  set(document.querySelector('[data-for="call"]'), "state", call.state);
  text("call-what", listening ? "Listening in" : { connecting: "Connecting", live: "Connected", held: "On hold" }[call.state]);
  text("call-caller", callerOf(call));
  chip("call-queue", call.queue);
  text("call-page", pageOf(call));
  text("call-clock", call.liveMs ? clock(now - call.liveMs) : "");
  const [what, tone] = stripOf(state, now);
  $("call-state").hidden = !what;
  text("call-state", what);
  $("call-state").className = `strip ${tone}`;
  $("level-out-name").hidden = $("level-out-row").hidden = listening;
  text("level-in-name", listening ? "Both" : "Caller");
  set($("level-out-row"), "muted", String(state.muted || call.state === "held"));
  set(document.querySelector(".controls"), "listening", String(listening));
  $("mute").hidden = $("hold").hidden = $("transfer").hidden = listening;
  control("mute", state.muted ? "Unmute" : "Mute", state.muted ? "muted" : "microphone", state.muted, talking);
  control("hold", call.state === "held" ? "Resume" : "Hold", call.state === "held" ? "resume" : "hold", call.state === "held", talking && !state.lost);
  control("transfer", "Transfer", "transfer", null, talking && !state.lost);
  control("end", listening ? "Leave" : "End", listening ? "leave" : "end", null, (talking || listening) && !state.lost);
}

function stripOf(state, now) {
  const { call } = state;
  if (state.transferring) return [`Transferring to ${state.transferring} …`, ""];
  if (call.listening) return [`You hear ${call.agent ?? "the agent"} and the caller. They do not hear you.`, ""];
  if (call.state === "connecting") return ["The sound is being connected …", ""];
  if (call.state === "held") return [`On hold for ${clock(now - call.since_ms)}. The caller hears music, and you do not hear each other.`, "amber"];
  if (state.muted) return ["You are muted. The caller does not hear you.", "red"];
  return ["", ""];
}

function drawEnded(state) {
  const { past } = state;
  const [title, what] = BECAUSE[past.because] ?? ["The call ended", ""];
  text("ended-caller", [callerOf(past), past.queue].filter(Boolean).join(" · "));
  text("ended-what", title);
  text("ended-text", what);
  text("ended-clock", past.lastedMs === null ? "" : clock(past.lastedMs));
  text("ended-next", state.wantsReady ? "The next caller rings here." : "You are away.");
}

function drawNote(state, stage) {
  const { note } = state;
  $("note").hidden = !note || state.elsewhere || (stage === "ringing" && !note.text);
  if (!note) return;
  text("note-title", state.call ? "Note" : `Note on ${callerOf(note)}`);
  const full = note.text.trim() !== "";
  text("note-state", { clean: "", changed: full ? "Not saved yet" : "", sent: "Saving …", saved: "Saved", refused: "Not saved: there is no connection" }[note.state]);
  $("note-save").disabled = note.state !== "changed" && note.state !== "refused";
}

// Words

function pageOf({ page }) {
  return page ? `Page ${page}` : "";
}

function awayText(state) {
  const { length } = state.desk?.waiting ?? [];
  if (length) return `${count(length, "caller is", "callers are")} waiting.`;
  return "Calls ring at your colleagues only.";
}

function idleText(state) {
  const { queues } = state.agent;
  return queues.length ? `Nobody is waiting in ${list(queues)}. The next caller rings here.` : "Nobody is waiting. The next caller rings here.";
}

function titleOf(state, stage, now) {
  const ringing = ringingOf(state);
  if (state.lost && stage !== "elsewhere") return "Offline · Desk";
  if (ringing) return `☎ ${callerOf(ringing)} waits ${clock(now - ringing.since_ms)} · Desk`;
  if (stage === "call") return `${state.call.liveMs ? clock(now - state.call.liveMs) : "Connecting"} ${callerOf(state.call)} · Desk`;
  const named = { idle: "Ready · ", away: "Away · ", ended: "Call ended · ", microphone: "Microphone · ", elsewhere: "Elsewhere · " };
  return `${named[stage] ?? ""}Desk`;
}
