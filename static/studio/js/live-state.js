// [data-live-state]: tells whether the page is connected to the event stream.
import { onState } from "./live.js";

const words = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", ended: "Signed out" };
const tones = { connecting: "tone-idle", live: "tone-good", reconnecting: "tone-warn", ended: "tone-bad" };

for (const element of document.querySelectorAll("[data-live-state]")) {
  onState((state) => {
    element.querySelector("[data-live-word]").textContent = words[state];
    const dot = element.querySelector(".dot");
    dot.className = `dot ${tones[state]} ${state === "live" ? "dot-live" : ""}`;
  });
}
