// A dialog to choose a file or folder on this computer; the server lists what may be opened.

const dialog = document.getElementById("browse");
let field = null;

async function list(path) {
  const asked = new URLSearchParams({ path, kind: field.kind });
  const answer = await fetch(`/browse?${asked}`);
  const text = await answer.text();
  if (answer.ok) dialog.innerHTML = text;
  else dialog.textContent = reason(text);
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Cancel";
  close.addEventListener("click", () => dialog.close());
  dialog.append(close);
  if (dialog.open) dialog.querySelector("button").focus(); // the one that was pressed is gone
}

/** Why the server refuses: in a page, or as plain text. */
function reason(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  return (page.querySelector(".error") ?? page.body).textContent.trim();
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-browse]");
  if (!button) return;
  const input = document.getElementById(button.dataset.browse);
  field = { input, kind: button.dataset.kind };
  await list(input.value);
  dialog.showModal();
});

dialog.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.open !== undefined) list(button.dataset.open);
  if (button?.dataset.choose !== undefined) {
    field.input.value = button.dataset.choose;
    field.input.dispatchEvent(new Event("change", { bubbles: true }));
    dialog.close();
    field.input.focus();
  }
});
