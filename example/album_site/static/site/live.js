// Keep a page true while the worker moves files: fetch it again, and put in place what has changed of the parts that
// are marked data-live. The server writes both, so there is no second template; without this script a reload does it.
"use strict";

const QUICK = 1000; // while something is owed
const SLOW = 5000; // on a page that goes on watching (data-for-ever) when nothing is
const forEver = "forEver" in document.currentScript.dataset;
let patience = QUICK;

function states(part) {
  return new Map([...part.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row.dataset.state]));
}

function replace(part, news) {
  if (part.innerHTML === news.innerHTML) return;
  const before = states(part);
  part.replaceChildren(...news.childNodes);
  for (const row of part.querySelectorAll("[data-key]")) {
    if (before.get(row.dataset.key) !== row.dataset.state) row.classList.add("changed");
  }
}

async function look() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
  if (!response.ok) throw new Error(response.statusText);
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const news = page.getElementById(part.id);
    // A key or a pointer is on something in there: leave it alone for now.
    if (news && !part.contains(document.activeElement?.closest("a, button"))) replace(part, news);
  }
}

async function follow() {
  if (!document.hidden) {
    try {
      await look();
      patience = QUICK;
    } catch (error) {
      patience = Math.min(patience * 2, 30_000);
      console.warn(`The page could not be read again; next time in ${patience / 1000} s.`, error);
    }
  }
  const isMoving = document.querySelector('[data-live] [data-state="pending"], [data-live] [data-state="deleted"]');
  if (isMoving || patience > QUICK) setTimeout(follow, patience);
  else if (forEver) setTimeout(follow, SLOW);
}

for (const part of document.querySelectorAll("[data-with-script]")) part.hidden = false;
follow();
