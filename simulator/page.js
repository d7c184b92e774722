"use strict";
// The consumer's phone, in a browser. The simulator rings the line, hands over the line's offer by server-sent events,
// and gets one complete answer back: nothing is trickled, as with Meta.

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const SOFT_TONE_HZ = 440, SOFT_TONE_LEVEL = 0.06, TEST_TONE_LEVEL = 0.3;
const TONE_MS = 500, GAP_MS = 100; // as Messenger's own dial pad has it
const GATHERING_LIMIT_MS = 2000, FLOOR_DB = -75, BARS = 28;

const EXPLAIN = {
  microphone: "Your browser will ask whether this page may use the microphone. If you say no, a soft tone is sent instead.",
  tone: "The microphone stays off. The line hears a quiet, steady tone.",
};

const call = { id: null, peer: null, events: null, stopSending: null, connectedAt: null, firstAudioMs: null, hz: null, ticks: [] };
let context = null, analyser = null;

// What the page shows

function show(state, status) {
  document.body.dataset.state = state;
  $("status").textContent = status;
  $("call").disabled = false;
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}

function drawLevel(level) {
  const bars = $("meter").children;
  for (let i = 0; i < bars.length - 1; i++) bars[i].style.setProperty("--level", bars[i + 1].style.getPropertyValue("--level"));
  bars[bars.length - 1].style.setProperty("--level", Math.max(0.06, Math.min(1, level)).toFixed(3));
}

function explain() {
  if (query.get("tone")) {
    $("explain").textContent = `A test tone of ${Number(query.get("tone"))} Hz, because the address of this page asks for it.`;
    document.body.dataset.asked = "tone";
    return;
  }
  $("explain").textContent = EXPLAIN[document.querySelector("[name=source]:checked").value];
}

// What the line hears

async function openContext() {
  context ??= new AudioContext();
  await context.resume();
}

function toneTrack(hz, level) {
  const oscillator = new OscillatorNode(context, { frequency: hz });
  const volume = new GainNode(context, { gain: level });
  const out = context.createMediaStreamDestination();
  oscillator.connect(volume).connect(out);
  oscillator.start();
  call.stopSending = () => oscillator.stop();
  return out.stream.getAudioTracks()[0];
}

async function ownVoice() {
  const asked = Number(query.get("tone"));
  if (asked) {
    $("sending").textContent = `Sending a tone of ${asked} Hz`;
    return toneTrack(asked, TEST_TONE_LEVEL);
  }
  if (document.querySelector("[name=source]:checked").value === "microphone") {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
      const track = stream.getAudioTracks()[0];
      call.stopSending = () => track.stop();
      $("sending").textContent = "Your microphone is on";
      return track;
    } catch (refusal) {
      const why = refusal.name === "NotFoundError" ? "No microphone was found" : "The microphone was not allowed";
      $("sending").textContent = `${why}, so the line hears a soft tone`;
    }
  } else {
    $("sending").textContent = "Microphone off: the line hears a soft tone";
  }
  return toneTrack(SOFT_TONE_HZ, SOFT_TONE_LEVEL);
}

// What we hear

function listenTo(track) {
  const stream = new MediaStream([track]);
  $("ear").srcObject = stream;
  analyser = new AnalyserNode(context, { fftSize: 32768, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(stream).connect(analyser);
}

/** Returns the strongest frequency heard just now, between bins by a parabola; null in silence. */
function heardHz() {
  if (!analyser) return null;
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  const width = context.sampleRate / analyser.fftSize;
  let peak = Math.ceil(50 / width);
  for (let i = peak; i < bins.length - 1; i++) if (bins[i] > bins[peak]) peak = i;
  if (!(bins[peak] > FLOOR_DB)) return null;
  const [left, top, right] = [bins[peak - 1], bins[peak], bins[peak + 1]];
  const bend = left - 2 * top + right;
  return (peak + (bend ? (0.5 * (left - right)) / bend : 0)) * width;
}

function heardLevel() {
  if (!analyser) return 0;
  const wave = new Float32Array(1024);
  analyser.getFloatTimeDomainData(wave);
  const power = wave.reduce((sum, sample) => sum + sample * sample, 0) / wave.length;
  return power > 1e-8 ? Math.max(0, 1 + Math.log10(power) / 4.5) : 0; // -45 dB is the foot of the meter
}

// The call

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body ?? {}) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

async function start() {
  if (["ringing", "connected"].includes(document.body.dataset.state)) return;
  $("call").disabled = true;
  Object.assign(call, { connectedAt: null, firstAudioMs: null, hz: null });
  try {
    await openContext();
    const voice = await ownVoice();
    const psid = query.get("psid");
    const created = await post("/sim/browser/calls", psid ? { psid } : {});
    call.id = created.call_id;
    show("ringing", "Ringing…");
    $("hang-up").focus();
    call.events = new EventSource(`/sim/browser/calls/${call.id}/events`);
    call.events.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "offer") answer(event.sdp, voice).catch((error) => over(`The call could not be set up: ${error.message}`));
      if (event.type === "ended") ended(event.by);
    };
    call.events.onerror = () => {
      if (call.events?.readyState === EventSource.CLOSED) over("The simulator no longer answers");
    };
  } catch (error) {
    over(`The call could not be made: ${error.message}`);
  }
}

async function answer(offer, voice) {
  const peer = (call.peer = new RTCPeerConnection({ iceServers: [] }));
  peer.addTrack(voice, new MediaStream([voice]));
  peer.ontrack = ({ track }) => listenTo(track);
  peer.onconnectionstatechange = () => {
    if (peer.connectionState === "connected" && !call.connectedAt) connected();
    if (peer.connectionState === "failed") report({ gone: true });
  };
  await peer.setRemoteDescription({ type: "offer", sdp: offer });
  await peer.setLocalDescription(await peer.createAnswer());
  await gathered(peer);
  await post(`/sim/browser/calls/${call.id}/answer`, { sdp: peer.localDescription.sdp });
}

function gathered(peer) {
  return new Promise((resolve) => {
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, GATHERING_LIMIT_MS);
    look();
  });
}

function connected() {
  call.connectedAt = performance.now();
  show("connected", "Connected 0:00");
  showPad();
  report({ connected: true });
  call.ticks = [
    setInterval(() => {
      const level = heardLevel();
      if (level > 0 && call.firstAudioMs === null) call.firstAudioMs = performance.timeOrigin + performance.now();
      drawLevel(level);
    }, 60),
    setInterval(() => {
      $("status").textContent = `Connected ${clock((performance.now() - call.connectedAt) / 1000)}`;
      call.hz = heardHz() ?? call.hz;
      showPad();
      reportHeard();
    }, 1000),
  ];
}

function showPad() {
  $("pad").hidden = !call.peer.getSenders()[0]?.dtmf?.canInsertDTMF; // not every line takes keys, nor from its first moment
}

function press(key) {
  const pad = call.peer?.getSenders()[0]?.dtmf;
  if (pad?.canInsertDTMF) pad.insertDTMF(pad.toneBuffer + key, TONE_MS, GAP_MS);
}

function report(body) {
  return post(`/sim/browser/calls/${call.id}/report`, body).catch(() => {}); // the call matters more than its report
}

async function reportHeard() {
  if (!call.peer) return;
  for (const stats of (await call.peer.getStats()).values()) {
    if (stats.type !== "inbound-rtp") continue;
    const heard = { seconds: stats.totalSamplesDuration ?? 0, packets: stats.packetsReceived, lost_packets: stats.packetsLost };
    await report({ heard: { ...heard, dominant_hz: call.hz, first_audio_ms: call.firstAudioMs } });
  }
}

async function hangUp() {
  if (!call.id) return;
  $("status").textContent = "Hanging up…";
  await reportHeard().catch(() => {});
  await post(`/sim/calls/${call.id}/hangup`).catch(() => over("The simulator no longer answers"));
}

function ended(by) {
  const unconnected = { consumer: "You hung up", business: "The line declined", timeout: "Nobody answered" };
  const talked = { consumer: "You hung up", business: "The line hung up", timeout: "The connection was lost" };
  over((call.connectedAt ? talked : unconnected)[by] ?? "The call ended");
}

async function over(status) {
  if (document.body.dataset.state === "ended" && !call.id) return;
  call.ticks.forEach(clearInterval);
  call.events?.close();
  const lasted = call.connectedAt ? (performance.now() - call.connectedAt) / 1000 : 0;
  await reportHeard().catch(() => {});
  call.peer?.close();
  call.stopSending?.();
  analyser = null;
  $("ear").srcObject = null;
  Object.assign(call, { id: null, peer: null, events: null, stopSending: null });
  $("summary").textContent = lasted ? `Connected for ${clock(lasted)}` : "";
  $("call-label").textContent = "Call again";
  show("ended", status);
  $("call").focus();
}

// The page

$("call").addEventListener("click", start);
$("hang-up").addEventListener("click", hangUp);
document.addEventListener("keydown", (event) => event.key === "Escape" && hangUp());
document.querySelectorAll("[data-key]").forEach((key) => key.addEventListener("click", () => press(key.dataset.key)));
document.querySelectorAll("[name=source]").forEach((choice) => choice.addEventListener("change", explain));
addEventListener("pagehide", () => call.id && navigator.sendBeacon(`/sim/calls/${call.id}/hangup`));
for (let i = 0; i < BARS; i++) $("meter").append(document.createElement("i"));
explain();
fetch("/sim/about").then((answer) => answer.json()).then(({ page }) => ($("page-id").textContent = `Page ${page}`)).catch(() => {});

// For tests that drive the page from outside.
window.pageline = { call: start, hangUp, heardHz, heardLevel, state: () => document.body.dataset.state, callId: () => call.id };
