// Toasts: good news leaves after six seconds unless hovered or focused; errors stay until closed.
function arm(toast) {
  if (toast.dataset.toast === "error") return;
  let timer;
  const start = () => { timer = setTimeout(() => toast.remove(), 6000); };
  const hold = () => clearTimeout(timer);
  toast.addEventListener("mouseenter", hold);
  toast.addEventListener("focusin", hold);
  toast.addEventListener("mouseleave", start);
  toast.addEventListener("focusout", start);
  start();
}

document.addEventListener("click", (event) => {
  event.target.closest("[data-toast-close]")?.closest("[data-toast]")?.remove();
});

for (const toast of document.querySelectorAll("[data-toast]")) arm(toast);
