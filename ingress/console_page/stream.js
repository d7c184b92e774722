// The stream of what there is to see. A silent connection is a lost one: the server beats every five seconds.

import { clockTime } from "./format.js";
import { get, lost } from "./server.js";

const SILENT_MS = 12_000, AGAIN_MS = 2_000;
const UNSEEN_MS = 60_000; // a browser has six connections to a server, and a page that nobody sees gives its one back

let aheadMs = 0; // the server's clock before ours

export const now = () => Date.now() + aheadMs;

/** Follows; `sections` has a function for each section's name, given what it holds. */
export function follow(sections) {
  let source = null, heardMs = Date.now(), knownMs = heardMs, failures = 0, away = false, leaving = null;

  function connect() {
    source?.close();
    heardMs = Date.now();
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
    source.onerror = () => {
      failures += 1;
      if (source?.readyState === EventSource.CLOSED) refused();
      else if (failures > 1) say(); // once is a process that made room for the next
    };
  }

  function heard() {
    heardMs = Date.now();
    failures = 0;
    if (!away) knownMs = heardMs;
    lost(away ? "Redis does not answer." : "", away ? `What you see is of ${clockTime(knownMs)}.` : "");
  }

  /** The server answered with something else than a stream: is the session over, or is it about to be back? */
  async function refused() {
    try {
      await get("/console/data/me"); // goes to the login if there is no session any more
      say("Connection lost.");
    } catch (error) {
      say(error instanceof TypeError ? "Connection lost." : error.message); // fetch's own error tells a person nothing
    }
    setTimeout(() => !document.hidden && connect(), AGAIN_MS);
  }

  function say(what = "Connection lost.") {
    lost(what, `What you see is of ${clockTime(knownMs)}. It is tried again and again.`);
  }

  function hide() {
    source.close();
    source = null;
  }

  setInterval(() => {
    if (!source || Date.now() - heardMs < SILENT_MS) return;
    say();
    if (source.readyState !== EventSource.CONNECTING) connect();
  }, 2_000);
  addEventListener("visibilitychange", () => {
    clearTimeout(leaving);
    if (document.hidden) leaving = setTimeout(hide, UNSEEN_MS);
    else if (source?.readyState !== EventSource.OPEN) connect();
  });
  addEventListener("offline", () => say());
  addEventListener("online", connect);
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && connect());
  connect();
}
