// How times, figures and the words of calls are written.

const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const TIME = new Intl.DateTimeFormat([], CLOCK);
const DAY_TIME = new Intl.DateTimeFormat([], { day: "numeric", month: "short", ...CLOCK });
const WHOLE = new Intl.DateTimeFormat([], { day: "numeric", month: "short", ...CLOCK, timeZoneName: "short" });
const NUMBER = new Intl.NumberFormat("en");

/** In the order in which they are stacked and told. */
export const OUTCOMES = {
  completed: "completed",
  missed: "missed",
  cancelled: "cancelled",
  declined: "declined",
  unreached: "not reached",
  expired: "expired",
  failed: "failed",
  lost: "lost",
};

const BECAUSE = {
  no_permission: "no leave to call",
  permission_refused: "leave to call refused",
  permission_unanswered: "leave to call not answered",
  declined_or_unanswered: "declined, or not picked up",
  unanswered: "not picked up",
  ended_at_meta: "the consumer, or Meta",
  time_was_up: "time was up",
  hung_up_by_api: "over HTTP",
  hung_up_by_operator: "by an operator",
  hung_up_by_handler: "by the handler",
  hung_up_by_drain: "a deploy or a stop",
  hung_up_by_redis_away: "Redis was away",
  handler_returned: "the handler was done",
  handler_raised: "the handler raised",
  handler_cancelled: "the handler was cancelled",
  media_failed: "the media connection failed",
  worker_died: "its worker died",
  rejected: "the handler declined",
};

export function because(word) {
  return BECAUSE[word] ?? (word ?? "").replaceAll("_", " ");
}

export const number = (value) => NUMBER.format(value);
export const clockTime = (ms) => TIME.format(ms);

/** A time of today as such, an older one with its day. */
export function when(ms, nowMs) {
  return new Date(ms).toDateString() === new Date(nowMs).toDateString() ? TIME.format(ms) : DAY_TIME.format(ms);
}

/** A time with its day and its zone, as one needs it to compare with logs. */
export const whole = (ms) => WHOLE.format(ms);

/** Returns 0:42, 12:07 or 1:02:07. */
export function lasting(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (part) => String(part).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

/** Returns 0.355 s or 2:04.190, for what is told apart by milliseconds. */
export function precise(ms) {
  const seconds = (ms % 60_000) / 1000;
  return ms < 60_000 ? `${seconds.toFixed(3)} s` : `${Math.floor(ms / 60_000)}:${seconds.toFixed(3).padStart(6, "0")}`;
}

/** Returns 840 ms, 1.3 s or 2:05. */
export function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return ms < 60_000 ? `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s` : lasting(ms);
}

export function bytes(size) {
  return size < 1e6 ? `${Math.max(1, Math.round(size / 1e3))} kB` : `${(size / 1e6).toFixed(1)} MB`;
}

export function count(value, one, many) {
  return value === 1 ? `1 ${one}` : `${number(value)} ${many}`;
}

/** Ids are long and alike at their beginning; their end tells them apart. */
export function shortId(id) {
  return id.length > 18 ? `${id.slice(0, 8)}…${id.slice(-6)}` : id;
}

export function score(mos) {
  return mos == null ? "" : mos.toFixed(1);
}

export function grade(mos) {
  if (mos == null) return "unknown";
  return mos >= 4 ? "good" : mos >= 3.4 ? "fair" : "bad";
}
