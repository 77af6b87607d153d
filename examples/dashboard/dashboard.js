// The page of the live view. feed.rs describes the protocol, measures.js says what is shown, chart.js draws.

import { Chart, count, element } from "./chart.js";
import { CHARTS, SERIES, TABLES } from "./measures.js";

const HISTORY = 300_000; // milliseconds that are kept
const KEPT = 330; // samples that are kept at most
const FIRST_WAIT = 500, LONGEST_WAIT = 30_000; // milliseconds before the next attempt
const GOOD = 5_000; // milliseconds after which a connection counts as good: the waits begin anew

const $ = (id) => document.getElementById(id);

// ---------------------------------------------------------------- Samples

const samples = []; // the oldest first
let interval = 1000;
let offset = 0; // of this page's clock to the time of the server
let isLive = false;

/** Adds the counters of a message. After a gap (`isFirst`) there are no rates yet. */
function add(stats, isFirst) {
  const before = isFirst ? null : samples.at(-1);
  const seconds = before ? (stats.time - before.stats.time) / 1000 : 0;
  if (before && seconds <= 0) {
    return;
  }
  const values = SERIES.map(({ isGauge, total }) => {
    const now = total(stats);
    return isGauge ? now : before ? (now - total(before.stats)) / seconds : null;
  });
  samples.push({ at: offset + stats.time, from: before ? before.at : null, stats, before: before?.stats ?? null, values });
  if (before) {
    before.before = null; // only the latest needs it
  }
  const oldest = offset + stats.time - HISTORY - 2 * interval;
  while (samples.length > KEPT || samples[0].at < oldest) {
    samples.shift();
  }
}

/**
 * The samples that a chart shows: at most about 60, so that a long time is as clear as a short one. Samples of the same
 * few seconds become one sample, with the mean of their rates and the maximum of their gauges. A gap divides them.
 */
function shownSamples() {
  if (span <= 60 * interval) {
    return samples;
  }
  const groups = [];
  let [last, lastPeriod] = [null, null];
  for (const sample of samples) {
    const period = Math.floor(sample.stats.time / (span / 60));
    if (period !== lastPeriod || sample.from === null || last?.from === null) {
      groups.push([]);
    }
    groups.at(-1).push(sample);
    [last, lastPeriod] = [sample, period];
  }
  return groups.map((group) => {
    const values = SERIES.map(({ id, isGauge }) => {
      const numbers = group.map((sample) => sample.values[id]);
      return isGauge ? Math.max(...numbers) : numbers[0] === null ? null : numbers.reduce((sum, number) => sum + number) / numbers.length;
    });
    return { at: group.at(-1).at, from: group[0].from, values };
  });
}

// ---------------------------------------------------------------- Drawing

let span = 60_000;
let frame = null; // the frame that will be drawn
let cursor = null; // {fraction} under the pointer, {at} of a sample that the keyboard has chosen, or null
const isStill = matchMedia("(prefers-reduced-motion: reduce)");
const charts = CHARTS.map((spec) => new Chart(spec, { point, step }));

const currentTime = () => {
  const last = samples.at(-1)?.at ?? Date.now();
  return isLive ? last : Math.max(last, Date.now());
};

/** The index of the sample that is nearest to a moment. */
function nearestIndex(shown, at) {
  const distances = shown.map((sample) => Math.abs(sample.at - at));
  return distances.indexOf(Math.min(...distances));
}

/** The sample under the cursor, if there is one near it. */
function sampleAtCursor(shown, now) {
  const at = cursor.at ?? now - span * (1 - cursor.fraction);
  const nearest = shown[nearestIndex(shown, at)];
  return nearest && Math.abs(nearest.at - at) <= 1.5 * Math.max(interval, span / 60) ? nearest : undefined;
}

/** Draws everything. A hidden page draws nothing: it keeps the samples, and draws when it is visible again. */
function draw({ slides = false } = {}) {
  if (document.hidden) {
    return;
  }
  const now = currentTime();
  if (cursor?.at < now - span) {
    cursor = null;
  }
  const [shown, latest] = [shownSamples(), samples.at(-1)];
  const legend = cursor ? sampleAtCursor(shown, now) : isLive ? latest : undefined;
  const view = { samples: shown, latest, legend, now, span, interval, isLive, hasCursor: cursor !== null, slides: slides && !isStill.matches };
  charts.forEach((chart) => chart.draw(view));
  showTables();
  showServer();
}

/** Draws in the next frame, once for all messages that arrive together, for example after the computer has slept. */
function drawSoon() {
  frame ??= requestAnimationFrame(() => {
    frame = null;
    draw({ slides: true });
  });
}

function point(fraction) {
  cursor = fraction === null || fraction < 0 || fraction > 1 ? null : { fraction };
  draw();
}

/** Moves the cursor by a number of samples. */
function step(number) {
  const now = currentTime();
  const inView = shownSamples().filter((sample) => sample.at >= now - span);
  const index = nearestIndex(inView, cursor ? (cursor.at ?? now - span * (1 - cursor.fraction)) : now);
  const chosen = inView[Math.min(Math.max(index + number, 0), inView.length - 1)];
  cursor = chosen ? { at: chosen.at } : null;
  draw();
}

function clearCursor() {
  if (cursor) {
    cursor = null;
    draw();
  }
}

const bodies = Object.keys(TABLES).map((name) => {
  const body = element("tbody");
  const head = element("tr", {}, ...["Value", "Now", "Total"].map((title) => element("th", { scope: "col" }, title)));
  $("tables").append(element("table", {}, element("caption", {}, name), element("thead", {}, head), body));
  return body;
});

function showTables() {
  const latest = samples.at(-1);
  if (!latest) {
    return;
  }
  const { stats, before } = latest;
  Object.values(TABLES).forEach((rows, index) => {
    const cells = rows.flatMap((row) => (typeof row === "function" ? row(stats) : [row])).map(([kind, label, total, format = count]) => {
      const seconds = before ? (stats.time - before.time) / 1000 : 0;
      const now = kind === "gauge" ? total(stats) : seconds > 0 ? (total(stats) - total(before)) / seconds : null;
      const shown = isLive ? format(now) : "–";
      return [label, kind === "gauge" || shown === "–" ? shown : `${shown}/s`, kind === "gauge" ? "" : format(total(stats))];
    });
    const body = bodies[index];
    while (body.rows.length > cells.length) {
      body.lastChild.remove();
    }
    cells.forEach((texts, number) => {
      const row = body.rows[number] ?? body.appendChild(element("tr", {}, element("th", { scope: "row" }), element("td"), element("td")));
      texts.forEach((text, column) => {
        if (row.cells[column].textContent !== text) {
          row.cells[column].textContent = text;
        }
      });
    });
  });
}

function showServer() {
  const stats = samples.at(-1)?.stats;
  const seconds = Math.floor((stats?.time ?? 0) / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const up = hours > 0 ? `${hours} h ${minutes} min` : minutes > 0 ? `${minutes} min` : `${seconds} s`;
  $("server").textContent = isLive && stats ? `${location.host}, up ${up}` : location.host;
  $("hint").hidden = !isLive || samples.some((sample) => sample.stats.websocket.accepted > 0);
  document.title = isLive && stats ? `${count(stats.websocket.open)} open · Live view` : "Offline · Live view";
}

// ---------------------------------------------------------------- The connection

let socket = null;
let failures = 0;
let retryTimer, countdown, patience, goodTimer;

function connect() {
  clearTimeout(retryTimer);
  clearInterval(countdown);
  showStatus("connecting", "Connecting…");
  const current = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/stats`);
  socket = current;
  expectMessage();
  current.onmessage = (event) => current === socket && receive(JSON.parse(event.data));
  current.onclose = () => current === socket && lost();
}

/** A network can fail without an event. */
function expectMessage() {
  clearTimeout(patience);
  patience = setTimeout(lost, 5 * interval);
}

function receive({ type, stats, interval: newInterval }) {
  expectMessage();
  if (type === "start") {
    const last = samples.at(-1);
    interval = newInterval;
    // The time of the server is measured from its start, and the clock of this computer may be turned back.
    offset = Math.max(Date.now(), last ? last.at + interval : 0) - stats.time;
    isLive = true;
    add(stats, true);
    showStatus("live", "Live");
    clearTimeout(goodTimer);
    goodTimer = setTimeout(() => (failures = 0), GOOD);
    if (last) {
      $("announcer").textContent = "Connected again. The charts go on.";
    }
    draw();
  } else if (type === "stats" && isLive) {
    add(stats, false);
    drawSoon();
  }
}

/** Reconnects after a random time, whose limit doubles with each failure, so that pages do not reconnect all at once. */
function lost() {
  clearTimeout(patience);
  clearTimeout(goodTimer);
  const old = socket;
  socket = null;
  old?.close();
  if (isLive) {
    $("announcer").textContent = "Connection lost. The charts show a gap until it is back.";
  }
  isLive = false;
  const wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
  failures += 1;
  const due = Date.now() + wait;
  const show = () => {
    const seconds = Math.ceil((due - Date.now()) / 1000);
    showStatus("lost", seconds > 1 ? `Offline, next try in ${seconds} s` : "Offline, trying again");
  };
  clearInterval(countdown);
  clearTimeout(retryTimer);
  countdown = setInterval(show, 1000);
  retryTimer = setTimeout(connect, wait);
  show();
  draw();
}

function connectNow() {
  if (!socket) {
    connect();
  }
}

function showStatus(state, words) {
  document.body.dataset.state = state;
  $("status").textContent = words;
  const hadFocus = document.activeElement === $("retry");
  $("retry").hidden = state !== "lost";
  if (hadFocus && state !== "lost") {
    $("spans").querySelector(":checked").focus();
  }
}

// ---------------------------------------------------------------- What people do

$("retry").onclick = connectNow;
$("spans").onchange = (event) => {
  span = Number(event.target.value) * 1000;
  cursor = null;
  draw();
};
document.addEventListener("keydown", (event) => event.key === "Escape" && clearCursor());
// A finger leaves the cursor where it was. A tap beside the charts removes it.
document.addEventListener("pointerdown", (event) => !event.target.closest(".plot") && clearCursor());
document.addEventListener("focusout", (event) => event.target.closest(".plot") && clearCursor());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    draw();
    connectNow();
  }
});
addEventListener("online", connectNow);
addEventListener("pageshow", (event) => event.persisted && connectNow());

// ---------------------------------------------------------------- The beginning

$("charts").append(...charts.map((chart) => chart.figure));
const sizes = new ResizeObserver(() => draw());
charts.forEach((chart) => sizes.observe(chart.plot));
span = Number($("spans").querySelector(":checked").value) * 1000; // a reload keeps the choice
// Without messages the charts move on too, so that the gap is seen.
setInterval(() => {
  if (!isLive) {
    draw({ slides: true });
  }
}, 1000);
connect();
