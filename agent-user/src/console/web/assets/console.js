// Renews the page in place when the daemon says that something changed, and gives it keys. Works on what the server rendered:
// text of others is never turned into markup here.
"use strict";

const rules = { createHTML: (page) => page };
const parse = globalThis.trustedTypes ? trustedTypes.createPolicy("agentward", rules) : rules;
const state = document.getElementById("live-state");
const pause = document.getElementById("pause");
const recording = state !== null && state.textContent === "recording";
let paused = false;
let waiting = false;
let busy = false;

// Each section of the new page replaces its older self where they differ; what the reader opened stays open.
function renew(page) {
  const next = new DOMParser().parseFromString(parse.createHTML(page), "text/html");
  for (const section of document.querySelectorAll("main section[id]")) {
    const other = next.getElementById(section.id);
    if (other === null || other.outerHTML === section.outerHTML) continue;
    const open = [...section.querySelectorAll("details[open]")].map((details) => details.id);
    const focused = section.contains(document.activeElement) ? document.activeElement : null;
    const place = focused && (focused.getAttribute("href") || focused.id);
    const scrolled = [...section.querySelectorAll(".scroll")].map((part) => [part.scrollLeft, part.scrollTop]);
    for (const details of other.querySelectorAll("details")) details.open = open.includes(details.id);
    const fresh = document.adoptNode(other);
    section.replaceWith(fresh);
    fresh.querySelectorAll(".scroll").forEach((part, at) => {
      if (scrolled[at]) [part.scrollLeft, part.scrollTop] = scrolled[at];
    });
    if (place) {
      const again = [...fresh.querySelectorAll("a, [id]")].find((node) => node.getAttribute("href") === place || node.id === place);
      if (again) again.focus({ preventScroll: true });
    }
  }
  for (const section of next.querySelectorAll("main > section[id]")) {
    if (document.getElementById(section.id) === null) document.getElementById("main").append(document.adoptNode(section));
  }
  filter();
}

async function change() {
  if (paused || busy || document.hidden) {
    waiting = true;
    return;
  }
  busy = true;
  waiting = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, redirect: "manual" });
    if (answer.ok) renew(await answer.text());
    else if (answer.type === "opaqueredirect") location.assign("/login");
  } catch {
    waiting = true;
  }
  busy = false;
  // At most one renewal a second, however much happens.
  setTimeout(() => { if (waiting) change(); }, 800);
}

function listen() {
  const events = new EventSource("/api/v1/events");
  let first = true;
  events.addEventListener("open", () => say("live"));
  events.addEventListener("error", () => say("no connection"));
  events.addEventListener("change", () => {
    if (!first) change();
    first = false;
  });
  addEventListener("pagehide", () => events.close());
}

function say(text) {
  state.textContent = paused ? "paused" : recording && text === "live" ? "recording" : text;
  state.dataset.state = text;
}

function filter() {
  const field = document.getElementById("filter");
  if (field === null) return;
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of document.querySelectorAll("#list tbody tr")) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    if (!row.hidden) shown += 1;
  }
  document.getElementById("filter-count").textContent = words.length ? `${shown} shown` : "";
}

function step(by) {
  const links = [...document.querySelectorAll("main table.rows tbody tr:not([hidden]) a:first-of-type")].filter(
    (link) => link === link.closest("tr").querySelector("a"),
  );
  if (links.length === 0) return;
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (by > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + by));
  links[next].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const page = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
  if (page) page.click();
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "p" && pause) pause.click();
  else if (event.key === "/" && document.getElementById("filter")) {
    document.getElementById("filter").focus();
    event.preventDefault();
  }
});

if (pause) {
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    say(state.dataset.state || "live");
    if (!paused && waiting) change();
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden && waiting) change(); });
const field = document.getElementById("filter");
if (field) field.addEventListener("input", filter);
if (state) listen();
