// What the desk says to the agent.

export const PRESENCE = { away: "Away", ready: "Ready", talking: "In a call" };

/** Each: title, text, what to do about it. */
export const MICROPHONE = {
  asking: [
    "May the desk use your microphone?",
    "Your browser is asking. Choose Allow, so that callers hear you. It is on during calls only.",
    [],
  ],
  dismissed: [
    "The browser’s question was closed",
    "Without the microphone no caller could hear you, so you are still away.",
    ["Try again.", "When the browser asks, choose Allow."],
  ],
  denied: [
    "This browser blocks the microphone here",
    "Without it no caller could hear you, so you are still away.",
    ["Open the settings of this page: the icon left of its address.", "Set the microphone to Allow.", "Try again."],
  ],
  system: [
    "Your computer keeps the microphone from the browser",
    "The page may use it, but the operating system says no, so you are still away.",
    ["Open the privacy settings of your computer, and there the microphone.", "Allow it for this browser.", "Try again."],
  ],
  absent: [
    "No microphone was found",
    "Without one no caller could hear you, so you are still away.",
    ["Plug in a headset or a microphone, or switch it on.", "Choose it as the input in the sound settings of your computer.", "Try again."],
  ],
  busy: [
    "The microphone does not start",
    "It is there and allowed, but gives no sound: often another program holds it. You are still away.",
    ["Close other programs that use it, such as meetings.", "Unplug the headset and plug it in again.", "Try again."],
  ],
  insecure: [
    "Browsers give no microphone to this address",
    "They do so for addresses that begin with https:// (and on this very computer, localhost).",
    ["Ask whoever runs pageline here for the https address of the desk."],
  ],
};

/** Why a call ended: title, text. */
export const BECAUSE = {
  caller_left: ["The caller hung up", ""],
  hung_up: ["You ended the call", ""],
  transferred: ["The call was transferred", ""],
  connection_lost: ["The connection was lost", "The caller waits for an agent again, unless they hung up."],
  failed: ["The sound could not be connected", "Often a firewall is in the way. Tell whoever runs pageline here: ICE_SERVERS may need a TURN server."],
};

/** The same for a call that never was connected. */
export const BEFORE = {
  caller_left: ["The caller gave up", "They hung up before you were connected."],
  taken: ["A colleague was faster", "Somebody else answered this call."],
};

/** What is wrong during a call: title, text, what the button says. */
export const TROUBLE = {
  orphan: ["This window has no sound of your call.", "The window where you answered has it. If that is closed, the caller waits for an agent again in a moment.", ""],
  interrupted: ["The sound is interrupted.", "It comes back by itself if the network does.", ""],
  failed: ["The sound’s connection is lost.", "You and the caller do not hear each other. The caller will wait for an agent again.", ""],
  unplugged: ["Your microphone is gone.", "The caller does not hear you. Plug it in, or choose another.", "Use the microphone"],
  silent: ["Your microphone brings no sound.", "Is it muted at the headset or in the settings of your computer?", ""],
  blocked: ["The browser plays no sound yet.", "It wants a click first.", "Let me hear"],
};

/** Returns minutes and seconds, and hours where there are any. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** Why nothing can be done just now. */
export const OFFLINE = {
  ready: "No call rings here. As soon as the desk is back, you are ready again.",
  away: "It is tried again and again; you need not do anything.",
};

export function count(number, one, many) {
  return number === 1 ? `1 ${one}` : `${number} ${many}`;
}

export function list(words) {
  return new Intl.ListFormat("en", { type: "conjunction" }).format(words);
}
