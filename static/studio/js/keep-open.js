// Partial updates keep what the reader opened: <details id> inside a swapped region stay as they were.
let open = new Map();

document.addEventListener("htmx:beforeSwap", (event) => {
  open = new Map([...event.detail.target.querySelectorAll("details[id]")].map((d) => [d.id, d.open]));
});
document.addEventListener("htmx:afterSwap", () => {
  for (const [id, wasOpen] of open) {
    const details = document.getElementById(id);
    if (details && details.tagName === "DETAILS") details.open = wasOpen;
  }
  open = new Map();
});
