// [data-live-refresh="run_1 dep_2"]: asks htmx for the region again when an event names one of these
// words (an id in the payload, or a type such as deployment.*); at most twice a second.
import { onEvent } from "./live.js";

function matches(words, event) {
  const values = Object.values(event.payload ?? {}).map(String);
  return words.some((word) => word === event.type || values.includes(word) ||
    (word.endsWith(".*") && event.type.startsWith(word.slice(0, -1))));
}

const pending = new Map();

function refresh(element) {
  if (pending.has(element.id)) return;
  pending.set(element.id, setTimeout(() => {
    pending.delete(element.id);
    const current = document.getElementById(element.id);
    if (current) window.htmx?.trigger(current, "live");
  }, 250));
}

if (document.querySelector("[data-live-refresh]")) {
  onEvent((event) => {
    for (const element of document.querySelectorAll("[data-live-refresh]")) {
      if (matches(element.dataset.liveRefresh.split(" "), event)) refresh(element);
    }
  });
}
