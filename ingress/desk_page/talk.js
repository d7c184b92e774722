// The sound of one call: microphone, leg, levels, and what is wrong with them.

import { Leg, Level, openMicrophone } from "./sound.js";

const LEVELS_MS = 66, SILENT_MS = 8_000, SILENT_LEVEL = 0.02;

export class Talk {
  trouble = ""; // one of TROUBLE in words.js
  #ear;
  #on;
  #track = null;
  #leg = null;
  #legId = null;
  #heard = null;
  #spoken = null;
  #timer = null;
  #loudAtMs = 0;

  /** `ear` is an audio element; `on` has `levels(heard, spoken)`, each 0 to 1, and `trouble()`. */
  constructor(ear, on) {
    this.#ear = ear;
    this.#on = on;
  }

  /** Whether a media worker's offer was answered here. */
  get begun() {
    return this.#leg !== null;
  }

  /** Opens the microphone for this call; throws NoMicrophone. */
  async open() {
    this.#use(await openMicrophone());
  }

  /** Returns the answer to an offer; a leg that is known already is negotiated anew. */
  async answer(iceServers, legId, offer) {
    if (this.#legId !== legId) {
      this.#leg?.close();
      this.#legId = legId;
      this.#leg = new Leg(iceServers, this.#track, { stream: (stream) => this.#hear(stream), state: (state) => this.#legIs(state) });
    }
    return this.#leg.answer(offer);
  }

  /** Lets the caller hear the microphone, or not. */
  speak(on) {
    if (this.#track) this.#track.enabled = on;
  }

  /** Does what the trouble's button says; throws where that does not help. */
  async mend() {
    if (this.trouble === "blocked") await this.#ear.play();
    if (this.trouble === "unplugged") {
      const speaking = this.#track.enabled;
      this.#use(await openMicrophone());
      this.speak(speaking);
      await this.#leg?.speakBy(this.#track);
    }
    this.#becomes("");
  }

  close() {
    clearInterval(this.#timer);
    this.#track?.stop();
    for (const part of [this.#leg, this.#heard, this.#spoken]) part?.close();
    this.#track = this.#leg = this.#legId = this.#heard = this.#spoken = this.#timer = null;
    this.#ear.srcObject = null;
    this.trouble = "";
  }

  #use(track) {
    this.#track?.stop();
    this.#spoken?.close();
    this.#track = track;
    this.#spoken = new Level(new MediaStream([track]));
    this.#loudAtMs = Date.now();
    this.#timer ??= setInterval(() => this.#look(), LEVELS_MS);
    track.onended = () => track === this.#track && this.#becomes("unplugged");
  }

  #hear(stream) {
    this.#heard?.close();
    this.#heard = new Level(stream);
    this.#timer ??= setInterval(() => this.#look(), LEVELS_MS);
    this.#ear.srcObject = stream;
    this.#ear.play().catch((error) => error.name === "NotAllowedError" && this.#becomes("blocked"));
  }

  #look() {
    const spoken = this.#track?.enabled ? this.#spoken.now() : 0;
    this.#on.levels(this.#heard?.now() ?? 0, spoken);
    if (spoken > SILENT_LEVEL || !this.#track?.enabled) this.#loudAtMs = Date.now();
    const silent = Date.now() - this.#loudAtMs > SILENT_MS;
    if (silent && !this.trouble) this.#becomes("silent");
    if (!silent && this.trouble === "silent") this.#becomes("");
  }

  #legIs(state) {
    if (state === "disconnected") this.#becomes("interrupted");
    if (state === "failed") this.#becomes("failed");
    if (state === "connected" && ["interrupted", "failed"].includes(this.trouble)) this.#becomes("");
  }

  #becomes(trouble) {
    this.trouble = trouble;
    this.#on.trouble();
  }
}
