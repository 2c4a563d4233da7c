// [data-live-refresh="run_1 dep_2"]: asks htmx for the region again when an event names one of these
// words (an id in the payload, or a type such as deployment.*); at most twice a second. What happens
// while an answer is under way may not be in it: the region is asked for once more.
import { onEvent } from "./live.js";

function matches(words, event) {
  const values = Object.values(event.payload ?? {}).map(String);
  return words.some((word) => word === event.type || values.includes(word) ||
    (word.endsWith(".*") && event.type.startsWith(word.slice(0, -1))));
}

const pending = new Map();
const loading = new Set();
const overtaken = new Set();

function refresh(id) {
  if (loading.has(id)) overtaken.add(id);
  if (loading.has(id) || pending.has(id)) return;
  pending.set(id, setTimeout(() => {
    pending.delete(id);
    const region = document.getElementById(id);
    if (region) window.htmx?.trigger(region, "live");
  }, 250));
}

if (document.querySelector("[data-live-refresh]")) {
  document.addEventListener("htmx:beforeRequest", ({ detail }) => {
    const { elt } = detail.requestConfig;
    if ("liveRefresh" in elt.dataset) loading.add(elt.id);
  });
  document.addEventListener("htmx:afterRequest", ({ detail }) => {  // told of what is gone, too
    const { elt } = detail.requestConfig;
    if ("liveRefresh" in elt.dataset) loading.delete(elt.id);
    if (overtaken.delete(elt.id)) refresh(elt.id);
  });
  onEvent((event) => {
    for (const element of document.querySelectorAll("[data-live-refresh]")) {
      if (matches(element.dataset.liveRefresh.split(" "), event)) refresh(element.id);
    }
  });
}
