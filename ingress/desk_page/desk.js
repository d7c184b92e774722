// The agent's desk: what the server says and the agent does becomes the state; view.js shows it.

import * as bell from "./bell.js";
import { $, element } from "./dom.js";
import { KEYS, listenToKeys } from "./keys.js";
import { Link } from "./link.js";
import { NoMicrophone, audio, openMicrophone, permission, watchPermission } from "./sound.js";
import { describe } from "./side.js";
import { Talk } from "./talk.js";
import { draw, ringingOf, stageOf } from "./view.js";
import { BEFORE } from "./words.js";

const REDRAW_MS = 250, READY_AGAIN_MS = 2_000;

const state = {
  agent: null, // who is logged in
  desk: null, // who waits, who is there, who talks
  aheadMs: 0, // the server's clock less ours
  wantsReady: false,
  microphone: null, // why calls cannot be taken
  call: null, // the agent's own, or the one listened in to
  past: null, // the one that ended last, until the agent is done with it
  note: null,
  opening: false, // the microphone, for a call that is about to be taken
  muted: false,
  transferring: "",
  lost: null, // since the connection to the desk was lost: when it is tried again
  elsewhere: false,
  notice: null,
  aloud: remembered("aloud", true),
  notifying: remembered("notifying", false) && globalThis.Notification?.permission === "granted",
  keysOn: remembered("keys", true),
};
const talk = new Talk($("ear"), { levels: drawLevels, trouble: soundChanged });
let iceServers = [], readySaidAtMs = 0;

const link = new Link({ message: receive, lost: linkLost, loggedOut: () => location.replace("/desk"), elsewhere: openedElsewhere });

// What the server says

function receive(message) {
  switch (message.type) {
    case "welcome":
      state.agent = message.agent;
      iceServers = message.ice_servers;
      state.lost = null;
      if (state.call?.listening) stopListening("Listening ended with the connection.");
      state.returned = state.call !== null;
      sayReady();
      break;
    case "desk":
      state.desk = message;
      state.aheadMs = message.now_ms - Date.now();
      if (state.returned && state.call && message.me.state !== "talking") over({ ...state.call, because: "connection_lost" });
      state.returned = false;
      if (state.wantsReady && message.me.state === "away" && Date.now() - readySaidAtMs > READY_AGAIN_MS) sayReady(); // it was forgotten there
      break;
    case "offer":
      answerOffer(message).catch((error) => notice("The sound could not be connected.", error.message));
      return;
    case "call":
      state.returned = false;
      if (message.state === "ended") over(message);
      else own(message);
      break;
    case "noted":
      if (state.note?.call === message.call && state.note.state === "sent") state.note.state = "saved";
      break;
    case "error":
      refused(message);
      break;
  }
  show();
}

function own(message) {
  const before = state.call?.call === message.call ? state.call : {};
  state.call = { ...before, ...message, liveMs: before.liveMs ?? (message.state === "connecting" ? null : message.since_ms) };
  if (message.state !== before.state) announce({ live: message.listening ? "Listening" : "Connected", held: "On hold", connecting: "Connecting" }[message.state]);
  if (message.state === "live") state.transferring = "";
  beginNote(state.call);
  speakOrNot();
}

function over(message) {
  const { call } = state;
  if (call?.call !== message.call) return; // left before
  const wasLive = Boolean(call.liveMs), before = BEFORE[message.because];
  talk.close();
  Object.assign(state, { call: null, transferring: "", muted: false });
  $("transfer-dialog").close();
  if (call.listening) {
    notice("The call you listened in to is over.", "", "news");
  } else if (before && !wasLive) {
    notice(`${before[0]}.`, before[1], "news");
    forgetNote();
  } else {
    state.past = { ...call, because: message.because, lastedMs: wasLive ? Date.now() + state.aheadMs - call.liveMs : null };
    announce("The call ended");
  }
}

function refused({ about, message, remedy }) {
  notice(message, remedy);
  if (about === "transfer") state.transferring = "";
  if (about === "note" && state.note) state.note.state = "changed";
  if ((about === "take" || about === "listen") && state.call?.state === "connecting") {
    talk.close();
    state.call = null;
    forgetNote();
  }
}

function linkLost(retryAtMs) {
  if (!state.lost) announce("No connection to the desk");
  state.lost = { retryAtMs };
  state.transferring = "";
  if (state.note?.state === "sent") state.note.state = "refused";
  show();
}

function openedElsewhere() {
  Object.assign(state, { elsewhere: true, call: talk.begun ? state.call : null, wantsReady: false });
  show();
}

// Ready or away

async function setReady(ready) {
  if (ready && !(await microphoneIsThere())) return;
  state.wantsReady = ready;
  state.microphone = null;
  sayReady();
  show();
}

function sayReady() {
  readySaidAtMs = Date.now();
  link.send({ type: "ready", ready: state.wantsReady });
}

/** Asks for the microphone, which also is the moment to learn that there is none; switches it off again. */
async function microphoneIsThere() {
  await audio().resume();
  if ((await permission()) !== "granted") {
    state.microphone = "asking";
    show();
  }
  try {
    (await openMicrophone()).stop();
    return true;
  } catch (error) {
    withoutMicrophone(error);
    return false;
  }
}

function withoutMicrophone(error) {
  if (!(error instanceof NoMicrophone)) throw error;
  state.microphone = error.problem;
  state.wantsReady = false;
  sayReady();
  show();
}

function permissionChanged(now) {
  if (now === "granted" && state.microphone && state.microphone !== "asking") setReady(true);
  if (now === "denied" && state.wantsReady && !state.call) withoutMicrophone(new NoMicrophone("denied"));
}

// A call

async function take(waiting) {
  if (!waiting || state.call || state.opening) return;
  state.opening = true;
  show();
  try {
    await audio().resume();
    await talk.open();
    if (link.send({ type: "take", call: waiting.call })) begin({ ...waiting, listening: false });
    else talk.close();
  } catch (error) {
    withoutMicrophone(error);
  } finally {
    state.opening = false;
  }
}

async function listenIn(call) {
  if (!call || state.call || state.opening) return;
  await audio().resume();
  if (link.send({ type: "listen", call: call.call })) begin({ ...call, listening: true });
}

function begin(call) {
  saveNote();
  Object.assign(state, { call: { ...call, state: "connecting", liveMs: null }, past: null, muted: false, notice: null });
  state.note = null;
  show();
}

async function answerOffer({ call, leg, sdp }) {
  if (state.call?.call !== call) return;
  link.send({ type: "answer", leg, sdp: await talk.answer(iceServers, leg, sdp) });
}

async function mend() {
  try {
    await talk.mend();
  } catch (error) {
    notice("That did not help.", error instanceof NoMicrophone ? "No microphone starts." : error.message);
  }
}

function soundChanged() {
  if (state.elsewhere && talk.trouble === "failed") {
    talk.close();
    state.call = null; // the other window says why
  }
  show();
}

function speakOrNot() {
  talk.speak(!state.muted && state.call?.state !== "held");
}

function drawLevels(heard, spoken) {
  $("level-in").style.transform = `scaleX(${heard.toFixed(3)})`;
  $("level-out").style.transform = `scaleX(${spoken.toFixed(3)})`;
}

function mute() {
  state.muted = !state.muted;
  announce(state.muted ? "Muted" : "Not muted");
  speakOrNot();
  show();
}

function hold() {
  link.send({ type: "hold", on: state.call.state !== "held" });
}

function chooseTransfer() {
  $("transfer-dialog").showModal();
  $("transfer-dialog").querySelector("[data-number]:not(:disabled)")?.focus();
}

function transferTo({ agent, queue }) {
  $("transfer-dialog").close();
  if (!state.call || !link.send({ type: "transfer", to: agent ? { agent } : { queue } })) return;
  state.transferring = agent ?? queue;
  show();
}

function end() {
  if (!state.call.listening) return link.send({ type: "hang_up" });
  link.send({ type: "leave" });
  stopListening("");
}

function stopListening(why) {
  talk.close();
  state.call = null;
  if (why) notice(why, "", "news");
  show();
}

// The note

function beginNote(call) {
  if (call.listening || state.note?.call === call.call) return;
  state.note = { call: call.call, caller: call.caller, text: "", state: "clean" };
  $("note-text").value = "";
}

function forgetNote() {
  state.note = null;
}

function writeNote() {
  Object.assign(state.note, { text: $("note-text").value, state: "changed" });
  show();
}

function saveNote() {
  const { note } = state;
  if (!note || !["changed", "refused"].includes(note.state)) return;
  note.state = link.send({ type: "note", call: note.call, text: note.text }) ? "sent" : "refused";
  show();
}

function done() {
  saveNote();
  if (state.note?.state === "refused") return; // what was written is not thrown away
  Object.assign(state, { past: null, note: null });
  show();
}

// The page

function show() {
  const orphan = state.call?.state === "live" && !talk.begun;
  state.trouble = orphan ? "orphan" : talk.trouble;
  draw(state);
  const ringing = ringingOf(state);
  if (ringing && ringing.call !== show.announced) announce(`${describe(ringing)} is waiting. Press A to answer.`);
  show.announced = ringing?.call;
  bell.ring(ringing && stageOf(state) === "ringing" ? { call: ringing.call, what: describe(ringing) } : null);
}

function announce(words) {
  if (words) $("announcer").textContent = words;
}

function notice(message, remedy, kind = "fault") {
  state.notice = { message, remedy, kind };
  show();
}

function remembered(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`desk.${key}`) ?? String(otherwise));
  } catch {
    return otherwise;
  }
}

function remember(key, value) {
  try {
    localStorage.setItem(`desk.${key}`, String(value));
  } catch {
    // a browser that keeps nothing forgets it with the page
  }
}

async function toggleNotifications() {
  state.notifying = !state.notifying && (await Notification.requestPermission()) === "granted";
  if (!state.notifying && Notification.permission === "denied") {
    notice("This browser blocks notifications here.", "Open the settings of this page (the icon left of its address) and allow them.");
  }
  bell.notify(state.notifying);
  remember("notifying", state.notifying);
  show();
}

function toggleSound() {
  state.aloud = !state.aloud;
  bell.ringAloud(state.aloud);
  remember("aloud", state.aloud);
  show();
}

const clicks = {
  presence: () => setReady(!state.wantsReady),
  "go-ready": () => setReady(true),
  "microphone-again": () => setReady(true),
  answer: () => take(ringingOf(state)),
  here: () => location.reload(),
  reconnect: () => link.connect(),
  "trouble-mend": mend,
  "notice-close": () => ((state.notice = null), show()),
  mute,
  hold,
  transfer: chooseTransfer,
  "transfer-close": () => $("transfer-dialog").close(),
  end,
  done,
  "note-save": saveNote,
  sound: toggleSound,
  notify: toggleNotifications,
  keys: () => $("keys-dialog").showModal(),
  "keys-close": () => $("keys-dialog").close(),
};
for (const [id, act] of Object.entries(clicks)) $(id).addEventListener("click", act);

document.addEventListener("click", ({ target }) => {
  const { take: taken, listen, agent, queue } = target.closest("button")?.dataset ?? {};
  if (taken) take(state.desk.waiting.find(({ call }) => call === taken));
  if (listen) listenIn(state.desk.calls.find(({ call }) => call === listen));
  if (agent || queue) transferTo({ agent, queue });
});
$("note-text").addEventListener("input", writeNote);
$("note-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) saveNote();
  if (event.key === "Escape") $("stage").focus({ preventScroll: true });
});
$("keys-on").checked = state.keysOn;
$("keys-on").addEventListener("change", ({ target }) => remember("keys", (state.keysOn = target.checked)));
for (const [key, what] of KEYS) {
  const term = element("dt"), words = element("dd");
  term.append(Object.assign(element("kbd"), { textContent: key.toUpperCase() }));
  words.textContent = what;
  $("keys-list").append(term, words);
}
$("notify").hidden = !("Notification" in globalThis);
addEventListener("beforeunload", (event) => state.call && !state.call.listening && event.preventDefault());

bell.ringAloud(state.aloud);
bell.notify(state.notifying);
listenToKeys(() => state.keysOn);
watchPermission(permissionChanged);
setInterval(show, REDRAW_MS);
link.connect();
show();
