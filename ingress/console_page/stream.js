// The stream of what there is to see. A silent connection is a lost one: the server beats every five seconds.

import { clockTime } from "./format.js";
import { get, lost } from "./server.js";

const SILENT_MS = 12_000, AGAIN_MS = 2_000;

let aheadMs = 0; // the server's clock before ours

export const now = () => Date.now() + aheadMs;

/** Follows; `sections` has a function for each section's name, given what it holds. */
export function follow(sections) {
  let source = null, heardMs = Date.now(), away = false;

  function connect() {
    source?.close();
    source = new EventSource("/console/events");
    source.addEventListener("beat", ({ data }) => {
      if (Number(data) > 0) aheadMs = Number(data) - Date.now();
      heard();
    });
    source.addEventListener("redis", ({ data }) => {
      away = JSON.parse(data).away;
      heard();
    });
    source.addEventListener("over", () => location.assign("/console"));
    for (const [name, show] of Object.entries(sections)) {
      source.addEventListener(name, ({ data }) => {
        show(JSON.parse(data));
        heard();
      });
    }
    source.onerror = () => source.readyState === EventSource.CLOSED && refused();
  }

  function heard() {
    heardMs = Date.now();
    const since = `What you see is of ${clockTime(heardMs)} and not renewed until it is back.`;
    lost(away ? "Redis does not answer." : "", away ? since : "");
  }

  /** The server answered with something else than a stream: is the session over, or is it about to be back? */
  async function refused() {
    say();
    try {
      await get("/console/data/me"); // goes to the login if there is no session any more
    } catch {
      // still away
    }
    setTimeout(connect, AGAIN_MS);
  }

  function say() {
    lost("Connection lost.", `What you see is of ${clockTime(heardMs)}. It is tried again and again.`);
  }

  setInterval(() => {
    if (Date.now() - heardMs < SILENT_MS) return;
    say();
    if (source.readyState !== EventSource.CONNECTING) connect();
  }, 2_000);
  addEventListener("offline", say);
  addEventListener("online", connect);
  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
}
