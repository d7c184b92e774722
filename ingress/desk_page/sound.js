// Microphone, the agent's leg of a call, and levels.

const GATHERING_LIMIT_MS = 1_000;
const WISHES = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
const FLOOR_DB = -60;

let context = null;

/** Returns the one audio context; it sounds once it was resumed by a click or a key. */
export function audio() {
  context ??= new AudioContext({ latencyHint: "interactive" });
  return context;
}

/** Why there is no microphone: one of the words of words.js. */
export class NoMicrophone extends Error {
  constructor(problem) {
    super(problem);
    this.problem = problem;
  }
}

/** Returns "granted", "denied", "prompt", or "" where the browser does not say. */
export async function permission() {
  try {
    return (await navigator.permissions.query({ name: "microphone" })).state;
  } catch {
    return "";
  }
}

/** Calls back whenever somebody changes the permission in the browser's settings. */
export async function watchPermission(changed) {
  try {
    const status = await navigator.permissions.query({ name: "microphone" });
    status.onchange = () => changed(status.state);
  } catch {
    // a browser that does not tell: the next click on "Try again" finds out
  }
}

/** Returns the microphone's track; throws NoMicrophone. */
export async function openMicrophone() {
  if (!navigator.mediaDevices) throw new NoMicrophone("insecure");
  try {
    return (await navigator.mediaDevices.getUserMedia({ audio: WISHES })).getAudioTracks()[0];
  } catch (error) {
    throw new NoMicrophone(await whyNot(error));
  }
}

async function whyNot(error) {
  switch (error.name) {
    case "NotAllowedError":
      if (/system/i.test(error.message)) return "system";
      return (await permission()) === "prompt" ? "dismissed" : "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "absent";
    default:
      return "busy";
  }
}

/** The agent's end of one leg: the media worker offers, we answer once, completely. */
export class Leg {
  #peer;

  /** `track` is null for who only listens; `on` has `stream(MediaStream)` and `state(RTCPeerConnectionState)`. */
  constructor(iceServers, track, on) {
    const peer = (this.#peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" }));
    if (track) peer.addTrack(track, new MediaStream([track]));
    peer.ontrack = ({ track: heard }) => heard.kind === "audio" && on.stream(new MediaStream([heard]));
    peer.onconnectionstatechange = () => on.state(peer.connectionState);
  }

  /** Returns the complete answer to an offer. */
  async answer(offer) {
    const peer = this.#peer;
    await peer.setRemoteDescription({ type: "offer", sdp: offer });
    for (const transceiver of peer.getTransceivers()) {
      const { codecs } = RTCRtpReceiver.getCapabilities(transceiver.receiver.track.kind);
      const opus = codecs.filter(({ mimeType }) => mimeType === "audio/opus");
      if (opus.length) transceiver.setCodecPreferences(opus);
    }
    await peer.setLocalDescription(await peer.createAnswer());
    await gathered(peer);
    return peer.localDescription.sdp;
  }

  /** Sends another microphone from now on. */
  async speakBy(track) {
    await this.#peer.getSenders().find(({ transport }) => transport)?.replaceTrack(track);
  }

  close() {
    this.#peer.onconnectionstatechange = this.#peer.ontrack = null;
    this.#peer.close();
  }
}

function gathered(peer) {
  return new Promise((resolve) => {
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(resolve, GATHERING_LIMIT_MS);
    look();
  });
}

/** How loud a stream is just now. */
export class Level {
  #source;
  #analyser;
  #wave = new Float32Array(1024);

  constructor(stream) {
    this.#analyser = new AnalyserNode(audio(), { fftSize: this.#wave.length });
    this.#source = audio().createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  /** Returns 0 for -60 dB of full scale and less, 1 for full scale. */
  now() {
    this.#analyser.getFloatTimeDomainData(this.#wave);
    const power = this.#wave.reduce((sum, sample) => sum + sample * sample, 0) / this.#wave.length;
    return Math.max(0, 1 - (10 * Math.log10(power + 1e-12)) / FLOOR_DB);
  }

  close() {
    this.#source.disconnect();
  }
}
