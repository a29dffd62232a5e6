// Parts of a page that change by themselves: <div data-live="/jobs/3/part" data-every="2">…</div>.
// A part is fetched again until it contains an element with data-over. Such requests don't keep the page from locking.

const QUIET = { "x-relay-quiet": "1" };
const FOCUSABLE = "a[href], button, input, [tabindex]";

async function refresh(part) {
  if (!document.hidden) {
    try {
      const answer = await fetch(part.dataset.live, { headers: QUIET, redirect: "error" });
      if (answer.status === 403) return location.reload();
      if (answer.ok) show(part, await answer.text());
    } catch (error) {
      console.warn(`${part.dataset.live}: ${error}`); // the server may be restarting: try again
    }
  }
  if (!part.querySelector("[data-over]")) setTimeout(refresh, 1000 * Number(part.dataset.every || 2), part);
}

function show(part, text) {
  if (part.dataset.shown === text) return;
  part.dataset.shown = text;
  const within = part.querySelector(".output");
  const top = within?.scrollTop ?? 0;
  const atEnd = !within || top + within.clientHeight >= within.scrollHeight - 4;
  const focused = part.contains(document.activeElement) ? called(document.activeElement) : null;
  const kept = new Map([...part.querySelectorAll("[data-keep]")].map((element) => [element.dataset.keep, element]));
  part.innerHTML = text;
  for (const place of part.querySelectorAll("[data-keep]")) {
    const same = kept.get(place.dataset.keep); // it draws itself, or has not changed: drawn anew, it would blink
    if (same) place.replaceWith(same);
  }
  const now = part.querySelector(".output");
  if (now) now.scrollTop = atEnd ? now.scrollHeight : top;
  if (focused === null) return;
  const same = [...part.querySelectorAll(FOCUSABLE)].find((element) => called(element) === focused);
  same?.focus({ preventScroll: true });
}

/** What tells an element that can have the focus from the others, before and after its part was fetched again. */
function called(element) {
  const text = element.matches("a, button") ? element.textContent : "";
  return [element.tagName, element.className, element.getAttribute("href"), element.name, text].join(" ");
}

for (const part of document.querySelectorAll("[data-live]")) refresh(part);

for (const area of document.querySelectorAll(".output")) area.scrollTop = area.scrollHeight;

// A form is sent once: its buttons are disabled while the answer is on its way.
document.addEventListener("submit", (event) => {
  const buttons = event.target.querySelectorAll("button:not([type=button])");
  setTimeout(() => buttons.forEach((button) => (button.disabled = true)));
});
addEventListener("pageshow", () => document.querySelectorAll("button:disabled").forEach((button) => (button.disabled = false)));
