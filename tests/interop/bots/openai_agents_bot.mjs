// A voice bot written with OpenAI's Agents SDK for Twilio, as its users write them; it knows nothing of pageline.
// It hangs up when its second answer was played. What happened goes to standard output, a line each.
import { createRequire } from "node:module";

// The packages lie beside the built peers, out of reach of an import.
const require = createRequire(new URL("../.cache/", import.meta.url));
const { WebSocketServer } = require("ws");
const { RealtimeAgent, RealtimeSession } = require("@openai/agents/realtime");
const { TwilioRealtimeTransportLayer } = require("@openai/agents-extensions");

const [port, model] = process.argv.slice(2);
const agent = new RealtimeAgent({ name: "Reception", instructions: "Be brief." });

new WebSocketServer({ host: "127.0.0.1", port: Number(port), path: "/bot" }).on("connection", async (socket) => {
  const transport = new TwilioRealtimeTransportLayer({ twilioWebSocket: socket });
  const session = new RealtimeSession(agent, { transport });
  session.on("error", (trouble) => console.log("error", JSON.stringify(trouble)));
  session.on("audio_interrupted", () => console.log("interrupted"));
  session.on("transport_event", ({ type, message }) => {
    if (type !== "twilio_message") return;
    const { event, start, mark, dtmf } = message;
    if (event === "start") console.log("start", start.callSid, start.customParameters.shop);
    if (event === "dtmf") console.log("dtmf", dtmf.digit);
    if (event === "mark") console.log("mark", mark.name);
    if (event === "mark" && mark.name.startsWith("done:")) socket.close();
    if (event === "stop") console.log("stop");
  });
  await session.connect({ apiKey: "sk-none", url: model });
});
console.log("listening");
