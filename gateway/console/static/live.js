// Keeps five minutes of what the live page tells, drawn by uPlot; says when it is cut off.
"use strict";
(() => {
  const KEPT_SECONDS = 300;
  const kept = { at: [], calls: [], p99: [] };
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = new Intl.DateTimeFormat("sv", { timeZone: "Asia/Jakarta", timeStyle: "medium" });
  const time = (at) => clock.format(new Date(at * 1000));
  const reading = (text) => (text === "" ? null : Number(text));

  const chart = (id) => {
    const place = document.getElementById(id);
    const axis = { stroke: ink("--ink"), grid: { stroke: ink("--line"), width: 1 }, ticks: { stroke: ink("--line"), width: 1 } };
    const size = () => ({ width: Math.max(place.clientWidth, 200), height: 192 });
    const drawn = new uPlot(
      {
        ...size(),
        legend: { show: false },
        cursor: { show: false },
        scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] } },
        axes: [{ ...axis, values: (_, moments) => moments.map(time), space: 80 }, { ...axis, size: 56 }],
        series: [{}, { stroke: ink("--strong"), width: 2, spanGaps: false }],
      },
      [[], []],
      place,
    );
    window.addEventListener("resize", () => drawn.setSize(size()));
    return drawn;
  };

  const begin = () => {
    const rate = chart("rate");
    const p99 = chart("p99");
    const take = () => {
      const beat = document.getElementById("beat");
      if (beat === null) return;
      const now = Date.now() / 1000;
      // A stream that begins tells again what the one before it told last.
      if (now - kept.at.at(-1) < 1) return;
      kept.at.push(now);
      kept.calls.push(reading(beat.dataset.calls));
      kept.p99.push(reading(beat.dataset.p99));
      while (kept.at[0] < now - KEPT_SECONDS) for (const one of Object.values(kept)) one.shift();
      rate.setData([kept.at, kept.calls]);
      p99.setData([kept.at, kept.p99]);
    };
    const cutOff = document.getElementById("cut-off");
    let silent;
    const heard = () => {
      cutOff.hidden = true;
      clearTimeout(silent);
      silent = setTimeout(() => { cutOff.hidden = false; }, 10000);
    };
    const live = document.getElementById("live");
    live.addEventListener("htmx:sseMessage", (event) => {
      if (event.detail.type === "over") { clearTimeout(silent); return; }
      heard();
      if (event.detail.type === "calls") take();
    });
    heard();
    take();
  };
  document.addEventListener("DOMContentLoaded", begin);
})();
