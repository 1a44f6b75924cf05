"use strict";
// Who was in the room at a moment: where one points, or as one asks. Without this, the tables say it.
for (const room of document.querySelectorAll("article")) {
  const chart = room.querySelector(".chart"), cursor = room.querySelector(".cursor");
  const ask = room.querySelector(".ask"), told = room.querySelector(".told");
  const from = Number(chart.dataset.from), to = Number(chart.dataset.to), day = 86400000;
  const stays = [...room.querySelectorAll(".stay")].map(({ dataset }) => ({
    who: dataset.who, from: Number(dataset.from), to: dataset.to ? Number(dataset.to) : Infinity,
  }));
  const show = (moment) => {
    const there = new Set(stays.filter((one) => one.from <= moment && moment < one.to).map((one) => one.who));
    cursor.hidden = moment < from || moment > to;
    cursor.style.left = `${(100 * (moment - from)) / (to - from)}%`;
    told.textContent = `${new Date(moment).toISOString().slice(11, 19)}: ${[...there].join(", ") || "nobody"}`;
  };
  const asked = () => {
    const time = /^([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/.exec(ask.value.trim());
    if (!time) return;
    const moment = from - (from % day) + ((time[1] * 60 + Number(time[2])) * 60 + Number(time[3] || 0)) * 1000;
    show(moment < from && moment + day <= to ? moment + day : moment);
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    show(Math.round(from + ((event.clientX - box.left) / box.width) * (to - from)));
  });
  chart.addEventListener("pointerleave", () => { cursor.hidden = true; told.textContent = ""; asked(); });
  ask.addEventListener("input", asked);
  // What a mouse sees as a tooltip, for fingers and the keyboard; a screen reader has said it already.
  const behind = room.querySelector(".behind-it");
  const tell = ({ target }) => {
    const tip = target.closest(".tip");
    if (tip) [behind.hidden, behind.textContent] = [false, tip.querySelector("title").textContent];
  };
  for (const kind of ["focusin", "pointerover"]) chart.addEventListener(kind, tell);
  room.querySelector(".zoom").addEventListener("input", ({ target }) => {
    const frame = chart.parentElement, middle = (frame.scrollLeft + frame.clientWidth / 2) / chart.clientWidth;
    chart.style.width = `${100 * target.value}%`;
    frame.scrollLeft = middle * chart.clientWidth - frame.clientWidth / 2;
  });
  room.querySelector(".controls").hidden = false;
  asked();
}
