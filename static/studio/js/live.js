// The live event stream: one websocket a page, resumed by sequence number, with backoff.
const listeners = new Set();
const states = new Set();
let socket = null;
let last = null;
let wait = 500;
let state = "connecting";

function setState(next) {
  state = next;
  for (const listener of states) listener(state);
}

function connect(address) {
  const url = new URL(address, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  if (last !== null) url.searchParams.set("after", last);
  socket = new WebSocket(url);
  socket.addEventListener("open", () => { wait = 500; setState("live"); });
  socket.addEventListener("message", (message) => receive(message.data));
  socket.addEventListener("close", () => {
    setState("reconnecting");
    setTimeout(() => connect(address), wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 15000);
  });
}

function receive(text) {
  const event = JSON.parse(text);
  if (typeof event.sequence !== "number" || (last !== null && event.sequence <= last)) return;
  last = event.sequence;
  for (const listener of listeners) listener(event);
}

/** Call `listener(event)` for each event of this project; returns a function that stops it. */
export function onEvent(listener) {
  listeners.add(listener);
  if (!socket) {
    const source = document.querySelector("[data-live-source]");
    if (!source) return () => {};
    last = source.dataset.liveAfter ? Number(source.dataset.liveAfter) : null;
    connect(source.dataset.liveSource);
  }
  return () => listeners.delete(listener);
}

/** Call `listener(state)` now and on each change: connecting, live, reconnecting. */
export function onState(listener) {
  states.add(listener);
  listener(state);
}
