// Command palette (Ctrl K or ⌘ K) over the links in [data-palette-item], and "g then letter" to go places.
const dialog = document.getElementById("palette");
const input = dialog?.querySelector("input");
const list = dialog?.querySelector("[role=listbox]");
const items = [...(list?.querySelectorAll("[data-palette-item]") ?? [])];
let selected = 0;
let armedAt = 0;

const visible = () => items.filter((item) => !item.hidden);

function select(index) {
  const shown = visible();
  selected = shown.length ? (index + shown.length) % shown.length : 0;
  items.forEach((item) => item.setAttribute("aria-selected", "false"));
  const current = shown[selected];
  current?.setAttribute("aria-selected", "true");
  current?.scrollIntoView({ block: "nearest" });
  if (current) input.setAttribute("aria-activedescendant", current.id);
  else input.removeAttribute("aria-activedescendant");
}

function narrow() {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const item of items) {
    item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
  }
  const records = dialog.querySelector("[data-palette-search]");
  if (records) {
    records.hidden = !input.value.trim();
    records.querySelector("b").textContent = input.value.trim();
    records.dataset.paletteItem = records.dataset.paletteSearch + encodeURIComponent(input.value.trim());
  }
  select(0);
}

function open() {
  input.value = "";
  dialog.showModal();
  narrow();
  input.focus();
}

function go(item) {
  if (item) location.assign(item.dataset.paletteItem);
}

input?.addEventListener("input", narrow);
input?.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") select(selected + 1);
  else if (event.key === "ArrowUp") select(selected - 1);
  else if (event.key === "Enter") go(visible()[selected]);
  else return;
  event.preventDefault();
});
list?.addEventListener("click", (event) => go(event.target.closest("[data-palette-item]")));
dialog?.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

const typing = (target) => target.closest?.("input, textarea, select, [contenteditable]");

document.addEventListener("click", (event) => {
  if (dialog && event.target.closest("[data-palette-open]")) open();
});
document.addEventListener("keydown", (event) => {
  if (!dialog) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    open();
  } else if (!typing(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
    if (event.key === "/") {
      const search = document.querySelector("main input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "g") {
      armedAt = Date.now();
    } else if (Date.now() - armedAt < 1200) {
      armedAt = 0;
      go(items.find((item) => item.dataset.key === event.key));
    }
  }
});
