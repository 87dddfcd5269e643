// Draws the days of the table: all accesses, and those that were refused.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const DAY = 86400;
  const place = document.getElementById("trend-chart");
  const rows = [...document.querySelectorAll("#trend tbody tr")];
  const column = (name) => rows.map((row) => Number(row.dataset[name]));
  // Noon in Jakarta, so that every zone shows the day itself.
  const days = rows.map((row) => Date.parse(`${row.dataset.key}T12:00:00+07:00`) / 1000);
  const axis = { stroke: ink("--ink"), grid: { stroke: ink("--line"), width: 1 }, ticks: { stroke: ink("--line"), width: 1 } };
  const written = new Intl.DateTimeFormat("sv", { timeZone: "Asia/Jakarta" });
  const size = () => ({ width: Math.max(place.clientWidth, 200), height: 240 });
  const chart = new uPlot(
    {
      ...size(),
      cursor: { show: false },
      legend: { show: false },
      scales: { x: { range: (_, first, last) => [first - DAY / 2, last + DAY / 2] }, y: { range: (_, __, most) => [0, Math.max(most * 1.1, 1)] } },
      axes: [{ ...axis, values: (_, at) => at.map((one) => written.format(new Date(one * 1000))), space: 90 }, { ...axis, size: 72 }],
      series: [{}, { stroke: ink("--strong"), width: 2 }, { stroke: ink("--bad"), width: 2, dash: [6, 4] }],
    },
    [days, column("entries"), column("refused")],
    place,
  );
  window.addEventListener("resize", () => chart.setSize(size()));
});
