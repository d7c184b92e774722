// What rings where the agent is not looking: a chime, and a notification while the page is hidden.

import { audio } from "./sound.js";

const EVERY_MS = 3_000;
const CHIME = [[659.3, 0], [523.3, 0.22], [659.3, 0.44], [523.3, 0.66]]; // Hz, seconds after the first
const VOLUME = 0.16, FADE_S = 0.5;

let ringing = null, aloud = true, notifying = false, shown = null, timer = null;

export function ringAloud(on) {
  aloud = on;
}

export function notify(on) {
  notifying = on;
}

/** Rings for this call, `{call, what}`, until it is told another one, or null. */
export function ring(waiting) {
  if (ringing === (waiting?.call ?? null)) return;
  ringing = waiting?.call ?? null;
  clearInterval(timer);
  shown?.close();
  shown = null;
  if (!waiting) return;
  chime();
  timer = setInterval(chime, EVERY_MS);
  if (notifying && document.hidden) {
    shown = notification(waiting.what);
  }
}

function notification(body) {
  try {
    const made = new Notification("A caller is waiting", { body, tag: "desk", icon: "/desk/icon.svg" });
    made.onclick = () => window.focus();
    return made;
  } catch {
    return null; // browsers of phones have the word and not the deed
  }
}

function chime() {
  const context = audio();
  if (!aloud || context.state !== "running") return;
  for (const [frequency, afterS] of CHIME) {
    const at = context.currentTime + afterS;
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.linearRampToValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(VOLUME, at + 0.02);
    volume.gain.exponentialRampToValueAtTime(0.0001, at + FADE_S);
    const tone = new OscillatorNode(context, { frequency, type: "triangle" });
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + FADE_S);
  }
}
