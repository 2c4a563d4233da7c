// Light, dark or the system's theme: [data-theme-choice] buttons set a cookie that the server reads.
const root = document.documentElement;

function choose(theme) {
  if (theme === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = theme;
  document.cookie = `studio_theme=${theme}; path=/; max-age=31536000; samesite=lax`;
  mark(theme);
}

function mark(theme) {
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === theme));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-choice]");
  if (button) choose(button.dataset.themeChoice);
});
mark(root.dataset.theme || "system");
