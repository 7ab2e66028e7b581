// The pages work without this. It renews what stands on a page, and adds a slider and keys to the slices.
"use strict";

const RENEW_MS = 5000;

function renewing(live) {
  const busy = () => live.contains(document.activeElement) || !document.getSelection().isCollapsed;
  const get = async (address) => {
    const answer = await fetch(address, { headers: { "X-Scarnode-Renews": "1" }, redirect: "manual" });
    if (answer.type === "opaqueredirect" || answer.status === 401) location.assign("/login");
    return answer.ok ? answer.text() : null;
  };
  const renew = async () => {
    if (document.hidden || busy() || !live.dataset.renew) return;
    try {
      const part = await get(live.dataset.renew);
      if (part !== null && !busy()) live.innerHTML = part;
      const newsElement = document.getElementById("news");
      if (newsElement && live.dataset.news) {
        const news = (await get(live.dataset.news))?.trim();
        if (news && news !== newsElement.textContent.trim()) newsElement.textContent = news; // read aloud, but only when it changed
      }
    } catch { /* the node restarts: the next renewal tries again */ }
  };
  setInterval(renew, RENEW_MS);
}

function scrolling(stack) {
  const slices = [...stack.querySelectorAll("figure")];
  const slider = document.getElementById("at"), words = document.getElementById("at-words");
  const at = () => Math.round(stack.scrollTop / slices[0].offsetHeight);
  const go = (index) => {
    const bounded = Math.min(Math.max(index, 0), slices.length - 1);
    stack.scrollTo({ top: slices[bounded].offsetTop - slices[0].offsetTop });
  };
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 3, PageUp: -3 };
  stack.addEventListener("keydown", (event) => {
    if (event.key in steps) go(at() + steps[event.key]);
    else if (event.key === "Home") go(0);
    else if (event.key === "End") go(slices.length - 1);
    else return;
    event.preventDefault();
  });
  stack.addEventListener("scroll", () => {
    slider.value = at() + 1;
    words.textContent = `${at() + 1} of ${slices.length}`;
  });
  slider.addEventListener("input", () => go(slider.value - 1));
  slider.closest("p").hidden = false;
}

const live = document.getElementById("live");
if (live?.dataset.renew) renewing(live);
const stack = document.getElementById("stack");
if (stack) scrolling(stack);
