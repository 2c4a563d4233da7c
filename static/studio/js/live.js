// The live event stream: one websocket a page, resumed by sequence number, with backoff.
const REVOKED = 4401;
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
  socket.addEventListener("open", () => {
    wait = 500;
    setState("live");
    if (last === null) socket.send(JSON.stringify({ type: "subscribe" }));
  });
  socket.addEventListener("message", (message) => receive(message.data));
  socket.addEventListener("close", (closed) => {
    if (closed.code === REVOKED) return setState("ended");
    setState("reconnecting");
    setTimeout(() => connect(address), wait * (0.75 + Math.random() / 2));
    wait = Math.min(wait * 2, 15000);
  });
}

function receive(text) {
  const message = JSON.parse(text);
  if (message.type === "ping") socket.send(JSON.stringify({ type: "pong" }));
  if (message.type === "reset" || (message.type === "subscribed" && last === null)) last = message.after;
  if (message.type !== "event" || (last !== null && message.event.sequence <= last)) return;
  const event = message.event;
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

/** Call `listener(state)` now and on each change: connecting, live, reconnecting, ended. */
export function onState(listener) {
  states.add(listener);
  listener(state);
}
