// <time data-time="relative|full"> in the reader's time zone; both local and UTC stand in the title.
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
const utc = new Intl.DateTimeFormat("en-US", { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });

function near(moment) {
  const seconds = (moment - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < 10) return "just now";
  if (size < 60) return relative.format(Math.round(seconds), "second");
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return relative.format(Math.round(seconds / 3600), "hour");
  if (size < 7 * 86400) return relative.format(Math.round(seconds / 86400), "day");
  return new Date().getFullYear() === moment.getFullYear() ? day.format(moment) : full.format(moment);
}

function show(element) {
  const moment = new Date(element.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  const style = element.dataset.time;
  const text = style === "relative" ? near(moment) : style === "clock" ? clock.format(moment) : full.format(moment);
  if (element.textContent !== text) element.textContent = text;
  element.title = `${exact.format(moment)}\n${utc.format(moment)} UTC`;
}

export function showTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-time]")) show(element);
}

showTimes();
setInterval(showTimes, 15000);
document.addEventListener("htmx:afterSettle", (event) => showTimes(event.target));
