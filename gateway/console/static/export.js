// Fetches an export where the page can tell how far it is, and saves it when it is whole.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("export");
  const progress = document.getElementById("progress");
  const bar = progress.querySelector("progress");
  const told = document.getElementById("told");
  const stop = document.getElementById("stop");
  const NEWLINE = 10;

  const say = (template, values) => {
    told.textContent = template.replace(/\{(\w+)\}/g, (_, name) => values[name].toLocaleString());
  };
  const lines = (piece) => piece.reduce((found, octet) => found + (octet === NEWLINE), 0);
  const size = (range) => {
    const [, first, end] = /^(\d+)-(\d+)\//.exec(range ?? "") ?? [];
    return Number(end) - Number(first);
  };

  const save = (pieces, answer) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(pieces, { type: answer.headers.get("content-type") }));
    [, link.download] = /filename="([^"]+)"/.exec(answer.headers.get("content-disposition"));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  };

  const take = async (answer) => {
    const counted = !answer.headers.get("content-type").includes("parquet");
    const all = size(answer.headers.get("log-range"));
    const pieces = [];
    let octets = 0;
    let done = answer.headers.get("content-type").includes("csv") ? -1 : 0;
    if (!counted) bar.removeAttribute("value");
    for (const reader = answer.body.getReader(); ;) {
      const { done: over, value } = await reader.read();
      if (over) break;
      pieces.push(value);
      octets += value.length;
      if (counted) {
        done += lines(value);
        bar.value = all > 0 ? Math.max(done, 0) / all : 1;
        say(told.dataset.part, { done: Math.max(done, 0), all });
      } else {
        say(told.dataset.bytes, { done: octets });
      }
    }
    bar.value = 1;
    save(pieces, answer);
    told.textContent = told.dataset.done;
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = new URL(form.action);
    for (const [name, text] of new FormData(form)) if (text !== "") asked.searchParams.set(name, text);
    const ending = new AbortController();
    stop.onclick = () => ending.abort();
    progress.hidden = stop.hidden = false;
    bar.value = 0;
    told.textContent = "";
    try {
      const answer = await fetch(asked, { signal: ending.signal });
      // Why not is a page of its own.
      if (!answer.ok) { location.assign(asked); return; }
      await take(answer);
    } catch {
      told.textContent = told.dataset.broken;
    } finally {
      stop.hidden = true;
    }
  });
});
