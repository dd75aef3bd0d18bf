// Dropping files, a look at what was chosen, and a word about what the site would refuse. Works without, too.
"use strict";

const form = document.querySelector("[data-upload]");
const input = form.querySelector("input[type=file]");
const zone = form.querySelector(".drop");
const list = form.querySelector("[data-chosen]");
const total = form.querySelector("[data-total]");
const send = form.querySelector("[data-send]");
const maxBytes = Number(form.dataset.maxBytes);
const accepted = form.dataset.accepted?.split(","); // none: any type is taken

function readableSize(bytes) {
  const units = ["bytes", "KB", "MB", "GB"];
  const step = bytes ? Math.min(Math.floor(Math.log(bytes) / Math.log(1024)), units.length - 1) : 0;
  return `${(bytes / 1024 ** step).toFixed(step > 1 ? 1 : 0)} ${units[step]}`;
}

function problem(file) {
  if (accepted && !accepted.includes(file.type)) return "not of these formats";
  if (file.size > maxBytes) return "too large";
  return "";
}

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function row(file) {
  const wrong = problem(file);
  const picture = wrong || !file.type.startsWith("image/")
    ? element("span", { className: "nothing" })
    : element("img", { src: URL.createObjectURL(file), alt: "", onload: (event) => URL.revokeObjectURL(event.target.src) });
  const size = element("small", {}, wrong ? `${readableSize(file.size)} · ${wrong}` : readableSize(file.size));
  return element("li", { className: wrong ? "wrong" : "" }, picture, element("span", {}, file.name), size);
}

function showChosen() {
  const files = [...input.files];
  list.replaceChildren(...files.map(row));
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  total.textContent = files.length ? `${files.length} chosen, ${readableSize(bytes)}` : "";
}

function addFiles(dropped) {
  const together = new DataTransfer();
  const kept = input.multiple ? [...input.files, ...dropped] : [...dropped].slice(0, 1);
  for (const file of kept) together.items.add(file);
  input.files = together.files;
  showChosen();
}

for (const name of ["dragenter", "dragover"]) {
  zone.addEventListener(name, (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
}
for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
zone.addEventListener("drop", (event) => {
  event.preventDefault();
  addFiles(event.dataTransfer.files);
});
input.addEventListener("change", showChosen);
form.addEventListener("submit", () => {
  send.disabled = true;
  send.textContent = "Uploading…";
});
// A page that comes back from the browser's memory must not stay locked.
window.addEventListener("pageshow", () => {
  send.disabled = false;
  send.textContent = "Upload";
});
form.classList.add("scripted");
for (const part of form.querySelectorAll("[data-with-script]")) part.hidden = false;
showChosen();
