// The console: one page that is the overview, the list of calls or one call, by its address.

import { $ } from "./dom.js";
import { showCall } from "./call.js";
import { showCalls } from "./list.js";
import { showOverview } from "./overview.js";
import { closeNotice } from "./server.js";

const VIEWS = { overview: showOverview, calls: showCalls, call: showCall };

function place() {
  const [, , area, id] = location.pathname.split("/");
  if (area !== "calls") return ["overview"];
  return id ? ["call", decodeURIComponent(id)] : ["calls"];
}

const [view, ...about] = place();
$(view).hidden = false;
document.querySelector(`[data-place="${view}"]`)?.setAttribute("aria-current", "page");
VIEWS[view](...about);

$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = $("search-text").value.trim();
  // behind #, because that part of an address stays in the browser, and a PSID is not for the logs of proxies
  if (wanted) location.assign(`/console/calls#${encodeURIComponent(wanted)}`);
});

addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  $("search-text").focus();
});

$("notice-close").addEventListener("click", closeNotice);
