// The events page: new rows on top of [data-event-tail], with pause; filters are those of the form.
import { onEvent } from "./live.js";
import { showTimes } from "./local-time.js";

const tail = document.querySelector("[data-event-tail]");
const template = document.getElementById("event-row");
const button = document.querySelector("[data-event-pause]");
const limit = 200;
let paused = false;
let held = [];

function pattern(text) {
  if (!text) return () => true;
  const parts = text.split(",").map((part) => part.trim()).filter(Boolean);
  return (type) => parts.some((part) => part.endsWith("*") ? type.startsWith(part.slice(0, -1)) : type === part);
}

function wanted(event) {
  const { type, severity, source } = tail.dataset;
  return pattern(type)(event.type) && (!severity || event.severity === severity) && (!source || event.source === source);
}

function row(event) {
  const item = template.content.firstElementChild.cloneNode(true);
  const tone = { error: "bad", critical: "bad", warning: "warn" }[event.severity] ?? "info";
  item.querySelector("[data-sequence]").textContent = `#${event.sequence}`;
  item.querySelector("[data-type]").textContent = event.type;
  item.querySelector(".dot").classList.add(`tone-${tone}`);
  item.querySelector("[data-payload]").textContent = JSON.stringify(event.payload, null, 2);
  item.querySelector("[data-summary]").textContent = Object.values(event.payload ?? {}).filter((v) => typeof v === "string").slice(0, 3).join(" · ");
  item.querySelector("time").dateTime = event.created_at;
  const link = item.querySelector("[data-event-link]");
  link.href = link.dataset.eventLink.replace("EVENT", event.id);
  return item;
}

function show(event) {
  document.querySelector("[data-event-empty]")?.remove();
  const item = row(event);
  tail.prepend(item);
  showTimes(item);
  while (tail.children.length > limit) tail.lastElementChild.remove();
}

function setPaused(next) {
  paused = next;
  button.setAttribute("aria-pressed", String(paused));
  button.querySelector("[data-pause-word]").textContent = paused ? "Resume" : "Pause";
  if (!paused) {
    held.forEach(show);
    held = [];
  }
}

if (tail && template) {
  onEvent((event) => {
    if (!wanted(event)) return;
    if (paused) {
      held.push(event);
      button.querySelector("[data-pause-word]").textContent = `Resume (${held.length})`;
    } else show(event);
  });
  button?.addEventListener("click", () => setPaused(!paused));
}
