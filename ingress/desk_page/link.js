// The WebSocket to the desk. It comes back by itself, after longer and longer pauses, and tells what becomes of it.

const FIRST_PAUSE_MS = 500, LONGEST_PAUSE_MS = 10_000;
const SESSION_OVER = 4401, OPEN_ELSEWHERE = 4409;

export class Link {
  #socket = null;
  #pauseMs = FIRST_PAUSE_MS;
  #timer = null;
  #on;

  /** `on` has `message(object)`, `lost(retryAtMs)`, `loggedOut()` and `elsewhere()`. */
  constructor(on) {
    this.#on = on;
    addEventListener("online", () => this.#timer && this.connect());
    addEventListener("offline", () => this.#giveUp());
  }

  connect() {
    clearTimeout(this.#timer);
    this.#timer = null;
    const socket = (this.#socket = new WebSocket(new URL("/desk/ws", location.href.replace(/^http/, "ws"))));
    let opened = false;
    socket.onopen = () => {
      opened = true;
      this.#pauseMs = FIRST_PAUSE_MS;
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#on.message(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#closed(code, opened);
  }

  /** Sends, and returns whether there was a connection to send by. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /** Does not wait for a network that has gone to say so. */
  #giveUp() {
    const socket = this.#socket;
    if (!socket) return;
    this.#closed(0, true);
    socket.close();
  }

  async #closed(code, opened) {
    this.#socket = null;
    if (code === OPEN_ELSEWHERE) return this.#on.elsewhere();
    if (code === SESSION_OVER || (!opened && (await asksForLogin()))) return this.#on.loggedOut();
    const pauseMs = this.#pauseMs * (0.8 + 0.4 * Math.random()); // a desk that restarts is not asked by all at once
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    this.#timer = setTimeout(() => this.connect(), pauseMs);
    this.#on.lost(Date.now() + pauseMs);
  }
}

/** A refused WebSocket does not say why; the page does. */
async function asksForLogin() {
  try {
    const page = await fetch("/desk", { cache: "no-store" });
    return page.ok && (await page.text()).includes('id="login"');
  } catch {
    return false;
  }
}
