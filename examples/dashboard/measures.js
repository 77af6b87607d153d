// What the live view shows of the `stats`: charts, and tables with the latest values.

import { bytes, count } from "./chart.js";

const sum = (causes) => Object.values(causes).reduce((total, number) => total + number, 0);

let ids = 0;

/** A value that is now, and a counter that only grows, whose rate is shown. `total` reads it from the `stats`. */
const gauge = (label, color, total) => ({ id: ids++, label, color, total, isGauge: true });
const rate = (label, color, total) => ({ id: ids++, label, color, total, isGauge: false });

const closed = (cause) => (stats) => stats.websocket.closed[cause] ?? 0;
const NAMED = ["peer", "server", "lost", "protocol", "slow_reader"];
const unnamed = (stats) => sum(stats.websocket.closed) - NAMED.reduce((total, cause) => total + closed(cause)(stats), 0);

export const CHARTS = [
  {
    title: "Connections", unit: "open WebSockets", format: count, smallest: 1, wide: true,
    series: [gauge("open", "blue", ({ websocket }) => websocket.open)],
  },
  {
    title: "Messages", unit: "per second", format: count, wide: true,
    series: [rate("out", "blue", ({ websocket }) => websocket.messages_out), rate("in", "orange", ({ websocket }) => websocket.messages_in)],
  },
  {
    title: "Opened and closed", unit: "per second", format: count,
    series: [rate("opened", "blue", ({ websocket }) => websocket.accepted), rate("closed", "orange", ({ websocket }) => sum(websocket.closed))],
  },
  {
    title: "Closes by cause", unit: "per second", format: count, stacked: true, empty: "No closes",
    series: [
      rate("peer", "blue", closed("peer")), rate("server", "green", closed("server")), rate("lost", "grey", closed("lost")),
      rate("protocol", "orange", closed("protocol")), rate("slow reader", "purple", closed("slow_reader")), rate("other", "strong", unnamed),
    ],
  },
  {
    title: "Unsent bytes", unit: "for slow clients", format: bytes, smallest: 250, least: 1000, empty: "Nothing is unsent",
    series: [gauge("unsent", "purple", ({ websocket }) => websocket.unsent)],
  },
  {
    title: "Bytes", unit: "per second", format: bytes, smallest: 250, least: 1000,
    series: [rate("out", "blue", ({ websocket }) => websocket.bytes_out), rate("in", "orange", ({ websocket }) => websocket.bytes_in)],
  },
  {
    title: "Groups", unit: "and their members", format: count, smallest: 1, empty: "No groups",
    series: [gauge("members", "blue", ({ groups }) => groups.members), gauge("groups", "orange", ({ groups }) => groups.open)],
  },
  {
    title: "HTTP requests", unit: "per second", format: count, empty: "No requests",
    series: [rate("requests", "green", ({ http }) => http.requests)],
  },
  {
    title: "Refusals", unit: "per second", format: count, stacked: true, empty: "No refusals",
    series: [
      rate("handshakes", "purple", ({ websocket }) => sum(websocket.refused)), rate("requests", "orange", ({ http }) => sum(http.errors)),
      rate("connections", "grey", ({ http }) => sum(http.refused)), rate("not upgraded", "strong", ({ websocket }) => sum(websocket.not_upgraded)),
    ],
  },
];

export const SERIES = CHARTS.flatMap(({ series }) => series); // in the order of their ids

/** A row for each cause that has occurred. */
const causes = (label, all) => (stats) =>
  Object.keys(all(stats)).sort().map((cause) => ["counter", `${label}: ${cause.replaceAll("_", " ")}`, (stats) => all(stats)[cause] ?? 0]);

export const TABLES = {
  WebSockets: [
    ["gauge", "Open", ({ websocket }) => websocket.open],
    ["counter", "Opened", ({ websocket }) => websocket.accepted],
    causes("Closed", ({ websocket }) => websocket.closed),
    causes("Refused", ({ websocket }) => websocket.refused),
    causes("Not upgraded", ({ websocket }) => websocket.not_upgraded),
  ],
  Messages: [
    ["counter", "Messages in", ({ websocket }) => websocket.messages_in],
    ["counter", "Messages out", ({ websocket }) => websocket.messages_out],
    ["counter", "Bytes in", ({ websocket }) => websocket.bytes_in, bytes],
    ["counter", "Bytes out", ({ websocket }) => websocket.bytes_out, bytes],
    ["gauge", "Unsent bytes", ({ websocket }) => websocket.unsent, bytes],
    ["counter", "Dropped messages", ({ websocket }) => websocket.dropped],
    ["counter", "Slow listeners", ({ websocket }) => websocket.slow_listeners],
    ["counter", "Stuck listeners", ({ websocket }) => websocket.stuck_listeners],
  ],
  Groups: [
    ["gauge", "Open", ({ groups }) => groups.open],
    ["counter", "Created", ({ groups }) => groups.created],
    ["gauge", "Members", ({ groups }) => groups.members],
    ["counter", "Joined", ({ groups }) => groups.joined],
    ["counter", "Left", ({ groups }) => groups.left],
  ],
  HTTP: [
    ["gauge", "Connections open", ({ http }) => http.open],
    ["gauge", "Without a request yet", ({ http }) => http.pending],
    ["counter", "Connections accepted", ({ http }) => http.accepted],
    causes("Connections refused", ({ http }) => http.refused),
    ["counter", "Requests", ({ http }) => http.requests],
    causes("Errors", ({ http }) => http.errors),
  ],
};
