// <form data-confirm="question">: asks in a dialog before it is sent. Without JavaScript it is sent at once.
const dialog = document.getElementById("confirm-dialog");
let waiting = null;

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-confirm]");
  if (!form || form.dataset.confirmed || !dialog) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  waiting = { form, submitter: event.submitter };
  dialog.querySelector("[data-confirm-title]").textContent = form.dataset.confirmTitle || "Are you sure?";
  dialog.querySelector("[data-confirm-text]").textContent = form.dataset.confirm;
  dialog.querySelector("[data-confirm-yes]").textContent = form.dataset.confirmYes || "Continue";
  dialog.showModal();
}, true);

dialog?.addEventListener("close", () => {
  if (dialog.returnValue === "yes" && waiting) {
    waiting.form.dataset.confirmed = "true";
    waiting.form.requestSubmit(waiting.submitter);
    delete waiting.form.dataset.confirmed;
  }
  waiting = null;
  dialog.returnValue = "";
});
