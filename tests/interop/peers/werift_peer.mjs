// A telephone made of werift: says back what it hears. One JSON command per line, one line in answer.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The package lies beside the built peers, out of reach of an import.
const { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } = createRequire(
  new URL("../.cache/", import.meta.url),
)("werift");

const opus = new RTCRtpCodecParameters({ mimeType: "audio/opus", clockRate: 48000, channels: 2, payloadType: 111 });
const pc = new RTCPeerConnection({
  iceServers: [],
  iceAdditionalHostAddresses: ["127.0.0.1"],
  codecs: { audio: [opus], video: [] },
});
const voice = new MediaStreamTrack({ kind: "audio" });
const transceiver = pc.addTransceiver("audio", { direction: "sendrecv" });
await transceiver.sender.replaceTrack(voice);
pc.onTrack.subscribe((track) => track.onReceiveRtp.subscribe((packet) => voice.writeRtp(packet)));

const verbs = {
  async answer({ sdp }) {
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription(await pc.createAnswer());
    return { sdp: pc.localDescription.sdp };
  },
  async offer({ restart }) {
    if (restart) pc.restartIce();
    await pc.setLocalDescription(await pc.createOffer());
    return { sdp: pc.localDescription.sdp };
  },
  async take({ sdp }) {
    await pc.setRemoteDescription({ type: "answer", sdp });
    return {};
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  const reply = await verbs[command.do](command).catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify(reply));
}
process.exit(0);
