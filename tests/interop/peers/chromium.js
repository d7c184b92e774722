// The far end of a call in a browser: says one tone, measures the other, and negotiates when it is told to.
"use strict";

const EAR = `registerProcessor("ear", class extends AudioWorkletProcessor {
  process([input]) {
    if (input.length) this.port.postMessage(input[0].slice());
    return true;
  }
});`;

class Phone {
  static async ring(hz) {
    const sound = new AudioContext({ sampleRate: 48000 });
    await sound.resume();
    await sound.audioWorklet.addModule(URL.createObjectURL(new Blob([EAR], { type: "text/javascript" })));
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
    this.heard = [];
    this.pressed = [];
    this.sender.dtmf.ontonechange = (event) => this.pressed.push(event.tone);
  }

  listenTo(track) {
    const stream = new MediaStream([track]);
    this.element = new Audio(); // Chromium gives Web Audio nothing of a remote track that no element plays
    this.element.srcObject = stream;
    this.element.muted = true;
    this.element.play();
    const ear = new AudioWorkletNode(this.sound, "ear", { outputChannelCount: [1] });
    ear.port.onmessage = (event) => this.heard.push(event.data);
    this.sound.createMediaStreamSource(stream).connect(ear);
  }

  // What was heard since `heard` was emptied: 16-bit samples as a string of their bytes.
  recording() {
    const samples = this.heard.flatMap((piece) => Array.from(piece, (value) => Math.round(value * 32767)));
    return Array.from(new Uint8Array(Int16Array.from(samples).buffer), (byte) => String.fromCharCode(byte)).join("");
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

  async offer({ restart, video, data, move }) {
    if (video) {
      const canvas = document.createElement("canvas");
      canvas.getContext("2d").fillRect(0, 0, 10, 10);
      this.pc.addTrack(canvas.captureStream(10).getVideoTracks()[0]);
    }
    if (data) this.pc.createDataChannel("data");
    if (move) { // as Meta does when the consumer has picked up: the voice comes in a section of its own
      this.pc.getTransceivers()[0].direction = "recvonly";
      this.sender = this.pc.addTransceiver(this.voice, { direction: "sendonly" }).sender;
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

  async iceNames() {
    const all = await this.pc.getStats();
    const transport = [...all.values()].find((entry) => entry.type === "transport");
    const pair = all.get(transport.selectedCandidatePairId);
    return [pair.localCandidateId, pair.remoteCandidateId].map((id) => all.get(id).usernameFragment);
  }

  async stats(type) {
    return [...(await this.pc.getStats()).values()].filter((entry) => entry.type === type);
  }
}
