// The far end of a call in a browser: says one tone, measures the other, and negotiates when it is told to.
"use strict";

const KEYS = "123A456B789C*0#D"; // ITU-T Q.23
const ROWS_HZ = [697, 770, 852, 941];
const COLUMNS_HZ = [1209, 1336, 1477, 1633];

// Which of these tones is the strongest, or null if none is loud.
function nearest(tones, levels, sound) {
  const levelOf = (hz) => levels[Math.round((hz * 2 * levels.length) / sound.sampleRate)];
  const best = tones.reduce((a, b) => (levelOf(b) > levelOf(a) ? b : a));
  return levelOf(best) > -50 ? tones.indexOf(best) : null;
}

class Phone {
  static async ring(hz) {
    const sound = new AudioContext({ sampleRate: 48000 });
    await sound.resume();
    return new Phone(hz, sound);
  }

  constructor(hz, sound) {
    this.sound = sound;
    this.pc = new RTCPeerConnection({ iceServers: [] });
    this.pc.ontrack = (event) => event.track.kind === "audio" && this.listenTo(event.track);
    const tone = new OscillatorNode(sound, { frequency: hz });
    const out = new MediaStreamAudioDestinationNode(sound);
    tone.connect(out);
    tone.start();
    this.voice = out.stream.getAudioTracks()[0];
    this.sender = this.pc.addTrack(this.voice, out.stream);
    this.pressed = [];
    this.sender.dtmf.ontonechange = (event) => this.pressed.push(event.tone);
  }

  listenTo(track) {
    const stream = new MediaStream([track]);
    this.element = new Audio(); // Chromium gives Web Audio nothing of a remote track that no element plays
    this.element.srcObject = stream;
    this.element.muted = true;
    this.element.play();
    const source = this.sound.createMediaStreamSource(stream);
    this.ear = new AnalyserNode(this.sound, { fftSize: 16384, smoothingTimeConstant: 0 });
    this.quickEar = new AnalyserNode(this.sound, { fftSize: 2048, smoothingTimeConstant: 0 });
    source.connect(this.ear);
    source.connect(this.quickEar);
  }

  // Notes the digits that sound from now on: libwebrtc plays what telephone-event packets mean as the two tones of a key.
  noteDigits() {
    this.digits = "";
    let [noted, before] = ["", ""];
    setInterval(() => {
      const key = this.soundingKey();
      if (key === before && key !== noted) this.digits += noted = key; // twice in a row: no click is that long
      before = key;
    }, 15);
  }

  soundingKey() {
    const levels = new Float32Array(this.quickEar.frequencyBinCount);
    this.quickEar.getFloatFrequencyData(levels);
    const [row, column] = [nearest(ROWS_HZ, levels, this.sound), nearest(COLUMNS_HZ, levels, this.sound)];
    return row === null || column === null ? "" : KEYS[row * 4 + column];
  }

  async settled() {
    if (this.pc.iceGatheringState !== "complete") {
      await new Promise((resolve) => {
        this.pc.addEventListener("icegatheringstatechange", () => this.pc.iceGatheringState === "complete" && resolve());
      });
    }
    return this.pc.localDescription.sdp;
  }

  async answer(sdp) {
    await this.pc.setRemoteDescription({ type: "offer", sdp });
    await this.pc.setLocalDescription();
    return this.settled();
  }

  async offer({ restart, video }) {
    if (video) {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d").fillRect(0, 0, 10, 10);
      this.pc.addTrack(canvas.captureStream(10).getVideoTracks()[0]);
    }
    if (restart) this.pc.restartIce();
    await this.pc.setLocalDescription();
    return this.settled();
  }

  take(sdp) {
    return this.pc.setRemoteDescription({ type: "answer", sdp });
  }

  mute(muted) {
    return this.sender.replaceTrack(muted ? null : this.voice);
  }

  // The strongest frequency of the last third of a second, or 0 while there is nothing.
  heardHz() {
    if (!this.ear) return 0;
    const levels = new Float32Array(this.ear.frequencyBinCount);
    this.ear.getFloatFrequencyData(levels);
    const loudest = levels.indexOf(Math.max(...levels));
    return levels[loudest] > -60 ? (loudest * this.sound.sampleRate) / this.ear.fftSize : 0;
  }

  async stats(type) {
    return [...(await this.pc.getStats()).values()].filter((entry) => entry.type === type);
  }
}
