// Keep the badges true while the worker moves files: ask every second, until nothing is left to move.
"use strict";

const root = document.querySelector("[data-places]");
const cards = new Map([...document.querySelectorAll("[data-photo]")].map((card) => [card.dataset.photo, card]));
const INTERVAL = 1000;

function showBadge(badge, place) {
  badge.dataset.state = place.state;
  badge.dataset.tier = place.tier ?? "";
  badge.title = place.error;
  const label = badge.querySelector("[data-label]");
  if (label.textContent !== place.label) label.textContent = place.label;
}

function showFacts(card, photo) {
  for (const cell of card.querySelectorAll("[data-fact]")) {
    const [file, fact] = cell.dataset.fact.split(".");
    const value = photo[file][fact];
    const text = Array.isArray(value) ? value.join(", ") : value;
    if (text) cell.textContent = text;
  }
}

function showSummary(photos) {
  const meter = document.querySelector("[data-meter]");
  if (!meter) return;
  const count = (test) => photos.filter(({ image }) => test(image)).length;
  for (const part of meter.children) {
    const read = count((image) => image.tier === part.dataset.tier);
    part.style.flexGrow = read;
    part.hidden = !read;
  }
  meter.hidden = false;
  const parts = [
    `${count((image) => image.tier === "disk")} read from the disk`,
    `${count((image) => image.tier === "s3")} from S3`,
  ];
  const pending = count((image) => image.state === "pending");
  const failed = count((image) => image.state === "failed");
  if (pending) parts.push(`${pending} under way`);
  if (failed) parts.push(`${failed} failed`);
  document.querySelector("[data-summary]").textContent = parts.join(" · ");
}

function show(photos) {
  for (const photo of photos) {
    const card = cards.get(String(photo.id));
    const badge = card.querySelector("[data-badge]");
    // The page of one picture has more to say about a failure: the reason, and a button.
    if (card === root && photo.image.state === "failed" && badge.dataset.state !== "failed") location.reload();
    showBadge(badge, photo.image);
    showFacts(card, photo);
  }
  showSummary(photos);
}

const isMoving = ({ image, thumbnail }) => [image, thumbnail].some((place) => place.state === "pending");

async function poll() {
  let goOn = true;
  try {
    const query = new URLSearchParams([...cards.keys()].map((id) => ["id", id]));
    const response = await fetch(`${root.dataset.places}?${query}`);
    if (!response.ok) throw new Error(response.statusText);
    const { photos } = await response.json();
    show(photos);
    goOn = photos.some(isMoving);
  } catch (error) {
    console.warn("The places of the pictures could not be read; asking again.", error);
  }
  if (goOn) setTimeout(poll, INTERVAL);
}

if (root) poll();
