// Drop files, folders and DICOM series on a form; the paths inside a dropped folder are kept as names.

const MOST_FILES = 5000;
const HUGE = 2 ** 28; // bytes of a file

for (const form of document.querySelectorAll("form[data-drop]")) {
  const zone = form.querySelector("[data-zone]");
  const input = form.querySelector("input[type=file]");
  const told = form.querySelector("[data-told]");
  let dropped = [];

  const tell = (files) => {
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const most = Number(form.dataset.most);
    const fits = bytes <= most && files.length <= MOST_FILES;
    const said = `${files.length} ${files.length === 1 ? "file" : "files"}, ${size(bytes)}`;
    const huge = files.filter((file) => file.size >= HUGE);
    const warned = `${said}. ${huge[0]?.name} has ${size(huge[0]?.size)}: predicting it may need several times as much memory, and long.`;
    told.textContent = fits ? (huge.length ? warned : said) : `${said}: at most ${MOST_FILES} files, ${size(most)} together. Drop fewer at once.`;
    input.setCustomValidity(fits ? "" : told.textContent);
  };

  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const items = [...event.dataTransfer.items].filter(({ kind }) => kind === "file");
    const entries = items.map((item) => item.webkitGetAsEntry() ?? item.getAsFile()); // now: items are gone after this
    input.value = "";
    try {
      dropped = (await Promise.all(entries.map(below))).flat();
      tell(dropped.map(({ file }) => file));
    } catch (error) {
      told.textContent = `What was dropped can't be read: ${error.message}. Choose the files instead.`;
    }
  });
  input.addEventListener("change", () => {
    dropped = [];
    tell([...input.files]);
  });
  form.addEventListener("submit", async (event) => {
    if (!dropped.length) return;
    event.preventDefault();
    const data = new FormData(form);
    data.delete("files");
    for (const { file, path } of dropped) data.append("files", file, path);
    told.textContent = `Copying ${dropped.length} files …`;
    try {
      const answer = await fetch(form.action, { method: "POST", body: data });
      if (answer.redirected) return location.assign(answer.url);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      told.textContent = page.querySelector(".error")?.textContent.trim() || `Refused (${answer.status}).`;
    } catch (error) {
      told.textContent = `The files could not be copied: ${error.message}. Drop them again.`;
    }
    form.querySelectorAll("button").forEach((button) => (button.disabled = false));
  });
}

function size(bytes) {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

async function below(entry) {
  if (entry instanceof File) return [{ file: entry, path: entry.name }];
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) break;
    found.push(...some);
  }
  return (await Promise.all(found.map(below))).flat();
}
