// The editor of a config. The text is what counts: a field replaces its value in the text, and the server says after
// each pause what is wrong, where each value is, and what it may be.

const form = document.getElementById("config");
const [text, lines, values] = ["text", "lines", "values"].map((id) => document.getElementById(id));
const [verdict, problems, unread, save, find] = ["verdict", "problems", "unread", "save", "find"].map((id) => document.getElementById(id));
const PAUSE = 350;
const first = text.value;
let [places, ends, structure, asked, timer, sent] = [{}, {}, null, 0, null, false];

// Whether the text was checked, with whatever result.
async function check(renewed = false) {
  const mine = ++asked;
  const waiting = setTimeout(() => (verdict.textContent = "Checking …"), 1000);
  const body = new URLSearchParams({ form_token: form.form_token.value, name: form.opened.value, text: text.value });
  try {
    const answer = await fetch("/data/config/check", { method: "POST", body });
    if (mine !== asked) return false; // a newer text is on its way
    if (answer.status === 422 && !renewed && (await renew())) return check(true);
    if (answer.ok) show(await answer.json());
    else unchecked(answer.status === 403 ? await answer.text() : reason(await answer.text()));
    return answer.ok;
  } catch (error) {
    unchecked("Not checked: relay ui does not answer. Is it still running?");
    return false;
  } finally {
    clearTimeout(waiting);
  }
}

// What was found in an older text says nothing about this one.
function unchecked(why) {
  verdict.textContent = why;
  problems.replaceChildren();
  mark([]);
}

function reason(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  return page.querySelector(".error .text")?.textContent.trim() || "This text could not be checked";
}

// After a lock, another link has opened another session: take its token, so that the text need not be typed again.
async function renew() {
  const page = new DOMParser().parseFromString(await (await fetch("/jobs")).text(), "text/html");
  const token = page.querySelector('meta[name="relay-token"]')?.content;
  for (const field of document.querySelectorAll('[name="form_token"]')) field.value = token ?? field.value;
  return token !== undefined;
}

function later() {
  asked += 1; // an answer that is on its way is of an older text
  clearTimeout(timer);
  timer = setTimeout(check, PAUSE);
  number();
}

function show(found) {
  if (found.html !== undefined) {
    [places, ends] = [found.values, found.ends];
    if (structure === found.structure) fill();
    else draw(found.html);
    structure = found.structure;
  }
  values.inert = found.html === undefined && values.inert;
  unread.hidden = !values.inert;
  const many = found.problems.length;
  verdict.textContent = many ? `${many} problem${many > 1 ? "s" : ""}` : "No problem was found";
  save.textContent = many ? "Save, with these problems" : "Save";
  problems.replaceChildren(...found.problems.map(item));
  mark(found.problems);
  filter();
}

// Show the values whose path or explanation has the word that is looked for.
function filter() {
  const word = find.value.trim().toLowerCase();
  for (const part of values.querySelectorAll("[data-part]")) {
    const rows = [...part.querySelectorAll("div.field")];
    for (const row of rows) row.hidden = !`${part.dataset.part} ${row.textContent}`.toLowerCase().includes(word);
    part.hidden = word !== "" && rows.every((row) => row.hidden);
  }
}
find.addEventListener("input", filter);

function draw(html) {
  const { path } = document.activeElement.dataset;
  const cursor = document.activeElement.selectionStart;
  const open = [...values.querySelectorAll("details[open]")].map((each) => each.closest("[data-part]").dataset.part);
  values.innerHTML = html;
  for (const part of values.querySelectorAll("[data-part]")) {
    const details = part.querySelector("details");
    if (details && open.includes(part.dataset.part)) details.open = true;
  }
  const field = path && fieldOf(path);
  if (!field) return;
  field.focus({ preventScroll: true });
  if (field.setSelectionRange && cursor !== null) field.setSelectionRange(cursor, cursor);
}

function fill() {
  for (const field of values.querySelectorAll("[data-path]")) {
    if (field !== document.activeElement && field.dataset.path in places) field.value = places[field.dataset.path][2];
  }
}

function fieldOf(path) {
  return values.querySelector(`[data-path="${CSS.escape(path)}"]`);
}

function item(problem) {
  const made = document.createElement("li");
  made.textContent = problem.text + (problem.cure ? `\n${problem.cure}` : "");
  if (problem.line) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "quiet", textContent: `Line ${problem.line}` });
    button.addEventListener("click", () => goTo(problem.line));
    made.append(button);
  }
  return made;
}

function goTo(line) {
  const start = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  const end = text.value.indexOf("\n", start);
  text.focus();
  text.setSelectionRange(start, end < 0 ? text.value.length : end);
  text.scrollTop = Math.max(0, ((line - 4) * text.scrollHeight) / text.value.split("\n").length);
}

function mark(found) {
  for (const field of values.querySelectorAll("[data-path]")) {
    const mine = found.filter(({ path }) => path === field.dataset.path || path.startsWith(`${field.dataset.path}[`));
    const note = field.closest(".field").querySelector(".problem");
    note.textContent = mine.map((problem) => problem.text).join("\n");
    note.hidden = !mine.length;
    field.setAttribute("aria-invalid", mine.length > 0);
  }
}

// Put text in the place of another, and move what comes after it.
function put(start, end, added) {
  text.setRangeText(added, start, end, "preserve");
  const shift = added.length - (end - start);
  for (const place of Object.values(places)) if (place[0] >= end) [place[0], place[1]] = [place[0] + shift, place[1] + shift];
  for (const place of Object.values(ends)) if (place[0] >= end) place[0] += shift;
  later();
}

values.addEventListener("input", ({ target }) => {
  const place = places[target.dataset.path];
  if (!place) return;
  const [start, end] = place;
  const lead = target.value && /[:\-]/.test(text.value[start - 1] ?? "") ? " " : "";
  delete places[target.dataset.path];
  put(start, end, lead + target.value);
  places[target.dataset.path] = [start + lead.length, start + lead.length + target.value.length, target.value];
});

values.addEventListener("click", ({ target }) => {
  const chosen = target.closest("details")?.querySelector("[data-add]");
  if (target.tagName !== "BUTTON" || !chosen) return;
  const [at, before] = ends[chosen.dataset.add];
  put(at, at, before + chosen.value);
});

function tell({ target }) {
  const chosen = target.closest("details")?.querySelector("[data-add]");
  if (chosen) chosen.closest("details").querySelector(".about").textContent = chosen.selectedOptions[0].dataset.about;
}
values.addEventListener("change", tell);
values.addEventListener("toggle", tell, true);

// Enter in a field is no wish to save; the button is.
form.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.tagName === "INPUT") event.preventDefault();
});

function number() {
  const many = text.value.split("\n").length;
  lines.textContent = Array.from({ length: many }, (_, place) => place + 1).join("\n");
  lines.scrollTop = text.scrollTop;
}

text.addEventListener("input", () => {
  values.inert = true; // where values are is known again after the next check
  later();
});
text.addEventListener("scroll", () => (lines.scrollTop = text.scrollTop));
// A page that has locked, or whose server has stopped, says so here: sending the form would lose the text.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  sent = await check();
  if (sent) form.submit();
  else save.disabled = false;
});
addEventListener("beforeunload", (event) => {
  if (!sent && text.value !== first) event.preventDefault();
});
addEventListener("pageshow", () => (sent = false));

number();
check();
