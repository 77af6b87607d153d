// The example `dashboard`: pages watch a server while the clients of `load` come and go, lose the server, and come back.

import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SCREENSHOTS, browser, check, composePicture, eventually, expectStrictHeaders, freePort, inspect, launch, link, main, pages, start } from "./support.mjs";

const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };
const CHARTS = ["Connections", "Messages", "Opened and closed", "Closes by cause", "Unsent bytes", "Bytes", "Groups", "HTTP requests", "Refusals"];

main(async () => {
  const port = await freePort();
  let stop = await start("dashboard", port, [String(port)]);
  const between = await link(port);
  const chromium = await browser();
  const { open: openPage, errors } = pages(chromium);
  const open = ({ at = port, ...options } = {}) => openPage(`http://127.0.0.1:${at}/`, { viewport: DESKTOP, ...options });
  const state = (page) => page.getAttribute("body", "data-state");
  const live = (page) => eventually(() => state(page), "live");
  const card = (page, title) => page.locator(".card", { has: page.getByRole("heading", { name: title, exact: true }) });
  const plot = (page, title) => card(page, title).getByRole("slider");
  /** The numbers of a legend, by their labels. */
  const legend = async (page, title) =>
    Object.fromEntries(
      await card(page, title).locator("dl div:visible").evaluateAll((items) =>
        items.map((item) => [item.querySelector("dt").textContent, Number.parseFloat(item.querySelector("dd").textContent.replaceAll(",", ""))]),
      ),
    );
  const becomes = (read, test) => eventually(async () => Boolean(test(await read())), true);
  /** The path of the first series, which is drawn last. */
  const lines = (page, title, kind = "line") => card(page, title).locator(`.${kind}`).last().getAttribute("d");

  await check("each file has the headers that protect the page", async () => {
    const script = "text/javascript";
    await expectStrictHeaders(port, { "": "text/html", "style.css": "text/css", "dashboard.js": script, "measures.js": script, "chart.js": script, "icon.svg": "image/svg+xml" });
  });

  const desk = await open({ at: between.port });
  await check("without clients the page says how to get some", async () => {
    await live(desk);
    assert(await desk.locator("#hint").isVisible());
    await eventually(() => legend(desk, "Connections"), { open: 0 });
    assert.deepEqual(await desk.locator(".card h2").allTextContents(), CHARTS);
    await eventually(() => card(desk, "Refusals").locator(".note").textContent(), "No refusals");
  });

  // Pages that see a minute of load. axe sets styles of its own, so they are without the policy.
  const looks = new Map();
  for (const colorScheme of ["light", "dark"]) {
    const look = { colorScheme, bypassCSP: true, reducedMotion: "reduce" };
    looks.set(`desktop-${colorScheme}`, await open(look));
    looks.set(`phone-${colorScheme}`, await open({ ...look, viewport: PHONE, deviceScaleFactor: 2, hasTouch: true, isMobile: true }));
  }
  const loadBegins = Date.now();
  const load = launch("load", ["--server", `127.0.0.1:${port}`, "--stay", "12", "--slow", "20"]);

  await check("the charts move under load", async () => {
    await becomes(() => legend(desk, "Connections"), ({ open }) => open > 20);
    assert(!(await desk.locator("#hint").isVisible()));
    await becomes(() => legend(desk, "Messages"), (messages) => messages.in > 0 && messages.out > messages.in);
    for (const [title, kind] of [["Connections", "line"], ["Messages", "line"], ["Closes by cause", "column"]]) {
      const before = await lines(desk, title, kind);
      await becomes(() => lines(desk, title, kind), (now) => now !== before && now.length > 20);
    }
    await becomes(() => legend(desk, "Groups"), ({ groups, members }) => groups === 10 && members > 20);
    await becomes(() => desk.title(), (title) => /^\d+ open · Live view$/.test(title));
  });

  await check("the table has the values of the charts", async () => {
    const row = (name, label) => desk.locator("table", { has: desk.locator(`caption:text-is("${name}")`) }).locator(`tr:has(th:text-is("${label}"))`);
    await becomes(() => row("WebSockets", "Open").locator("td").first().textContent(), (text) => Number(text) > 20);
    await becomes(() => row("Messages", "Messages out").locator("td").allTextContents(), ([now, total]) => /^[\d.,k]+\/s$/.test(now) && /\d/.test(total));
  });

  await check("a pointer shows one moment in all charts", async () => {
    const { width, height } = await plot(desk, "Messages").boundingBox();
    await plot(desk, "Messages").hover({ position: { x: width - 40, y: height / 2 } });
    const when = await desk.locator(".when").allTextContents();
    assert.match(when[0], /^\d+ s ago$/);
    assert.deepEqual(when, Array(CHARTS.length).fill(when[0]));
    assert.notEqual(await card(desk, "Groups").locator(".cursor").getAttribute("d"), "");
    await desk.mouse.move(2, 2);
    assert.deepEqual(await desk.locator(".when").allTextContents(), Array(CHARTS.length).fill(""));
  });

  await check("the keyboard chooses a moment, and a screen reader gets its values", async () => {
    const slider = plot(desk, "Messages");
    await slider.focus();
    await desk.keyboard.press("PageDown");
    await desk.keyboard.press("ArrowRight");
    const moment = /^(\d+) s ago, out [\d.,k]+, in [\d.,k]+$/;
    const chosen = await slider.getAttribute("aria-valuetext");
    assert.match(chosen, moment);
    // The moment stays where it is, and moves with the chart.
    await becomes(() => slider.getAttribute("aria-valuetext"), (text) => Number(moment.exec(text)[1]) > Number(moment.exec(chosen)[1]));
    const [least, now] = [await slider.getAttribute("aria-valuemin"), await slider.getAttribute("aria-valuenow")];
    assert(Number(least) === -60 && Number(now) < -5 && Number(now) > -60, `${now}`);
    // Over five minutes each point is of five seconds, and a step is a point.
    await desk.getByRole("radio", { name: "5 min" }).check();
    await slider.focus();
    await desk.keyboard.press("ArrowLeft");
    await desk.keyboard.press("ArrowLeft");
    assert.match(await slider.getAttribute("aria-valuetext"), /^([5-9]|1[0-2]) s ago, out/);
    await desk.keyboard.press("Escape");
    assert.equal(await card(desk, "Messages").locator(".when").textContent(), "");
    await desk.getByRole("radio", { name: "1 min" }).check();
  });

  await check("everything is reached with the keyboard, in the order of the page, with a visible focus", async () => {
    await desk.locator("h1").click();
    const order = [];
    for (let step = 0; step <= CHARTS.length; step += 1) {
      await desk.keyboard.press("Tab");
      const { name, isMarked } = await desk.evaluate(() => {
        const focused = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(focused.type === "radio" ? focused.nextElementSibling : focused);
        return { name: focused.value ?? focused.ariaLabel, isMarked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 };
      });
      assert(isMarked, `${name} shows the focus`);
      order.push(name);
    }
    assert.equal(order.shift(), "60");
    assert.deepEqual(order.map((name) => name.split(",")[0]), CHARTS);
  });

  await check("a hidden page draws nothing, and all at once when it is visible again", async () => {
    const hide = (isHidden) =>
      desk.evaluate((isHidden) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => isHidden });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await hide(true);
    const before = await lines(desk, "Messages");
    const points = (line) => line.split(/[ML]/).length;
    await becomes(() => looks.get("desktop-light").title(), (title) => title.includes("open"));
    await sleep(3_000);
    assert.equal(await lines(desk, "Messages"), before);
    await hide(false);
    assert(points(await lines(desk, "Messages")) >= points(before) + 3, "what came meanwhile is there");
  });

  await check("with reduced motion nothing slides", async () => {
    const still = await open({ reducedMotion: "reduce" });
    await live(still);
    const moving = (page) => page.evaluate(() => document.getAnimations().length);
    await becomes(() => moving(desk), (count) => count >= CHARTS.length);
    const before = await lines(still, "Connections");
    await becomes(() => lines(still, "Connections"), (now) => now !== before);
    assert.equal(await moving(still), 0);
    await still.context().close();
  });

  await check("history is bounded, and a leap of time or a restart of the server does no harm", async () => {
    const stats = (time) => ({
      time,
      http: { open: 1, pending: 0, accepted: time, refused: {}, requests: time, errors: {} },
      websocket: {
        open: 7, unsent: 0, accepted: time, refused: {}, not_upgraded: {}, closed: { peer: time, io: time }, messages_in: time, messages_out: 2 * time,
        bytes_in: time, bytes_out: time, dropped: 0, slow_listeners: 0, stuck_listeners: 0,
      },
      groups: { open: 1, members: 7, created: 1, joined: time, left: time },
    });
    const routes = [];
    const fed = await open({ prepare: (page) => page.routeWebSocket("**/stats", (route) => routes.push(route)) });
    await fed.getByRole("radio", { name: "5 min" }).check();
    const send = (message) => routes.at(-1).send(JSON.stringify(message));
    send({ type: "start", interval: 1000, stats: stats(0) });
    for (let second = 1; second <= 2_000; second += 1) {
      send({ type: "stats", stats: stats(second * 1000) });
    }
    await eventually(() => card(fed, "Messages").locator("dd").allTextContents(), ["2,000", "1,000"]);
    const points = async () => (await lines(fed, "Connections")).split(/[ML]/).length - 1;
    assert(await points() >= 60 && await points() <= 64, `${await points()} points for five minutes`);
    assert.deepEqual(await legend(fed, "Closes by cause"), { peer: 1000, other: 1000 });
    // What has left the charts is not kept.
    const devtools = await fed.context().newCDPSession(fed);
    const used = async () => {
      await devtools.send("HeapProfiler.collectGarbage");
      return (await devtools.send("Runtime.getHeapUsage")).usedSize;
    };
    const before = await used();
    for (let second = 2_001; second <= 8_000; second += 1) {
      send({ type: "stats", stats: stats(second * 1000) });
    }
    send({ type: "stats", stats: { ...stats(8_001_000), groups: { open: 9, members: 9, created: 1, joined: 0, left: 0 } } });
    await eventually(() => legend(fed, "Groups"), { members: 9, groups: 9 });
    const grown = (await used()) - before;
    assert(grown < 1_000_000, `${grown} bytes more after 6,000 messages`);
    // The rates are about the time that has passed, however long.
    send({ type: "stats", stats: stats(20_000_000) });
    await eventually(points, 1);
    assert.deepEqual(await card(fed, "Messages").locator("dd").allTextContents(), ["2,000", "1,000"]);
    await routes.at(-1).close();
    await eventually(() => routes.length, 2);
    send({ type: "start", interval: 1000, stats: stats(500) });
    send({ type: "stats", stats: stats(1500) });
    await eventually(() => card(fed, "Messages").locator("dd").allTextContents(), ["2,000", "1,000"]);
    await fed.context().close();
  });

  await check("all ways to leave, slow clients and refusals are seen", async () => {
    const all = ["lost", "peer", "protocol", "server"];
    await becomes(() => legend(desk, "Closes by cause"), (causes) => all.every((cause) => cause in causes));
    await becomes(() => legend(desk, "Refusals"), ({ handshakes, requests }) => handshakes >= 0 && requests >= 0);
    await becomes(() => lines(desk, "Unsent bytes"), (line) => new Set(line.match(/(?<= )[\d.]+/g)).size > 2);
  });

  await sleep(Math.max(0, loadBegins + 66_000 - Date.now()));
  const shot = (name) => looks.get(name).screenshot({ path: path.join(SCREENSHOTS, `dashboard-${name}.png`) });
  for (const name of looks.keys()) {
    await shot(name);
  }
  for (const [name, page] of looks) {
    await check(`accessible and in order: ${name}`, async () => {
      await live(page);
      await inspect(page, "one minute");
      if (name.startsWith("phone")) {
        await plot(page, "Messages").tap({ position: { x: 200, y: 50 } });
        assert.match(await card(page, "Bytes").locator(".when").textContent(), /^\d+ s ago$/);
        await inspect(page, "a moment");
        await page.locator("h1").tap();
        assert.equal(await card(page, "Bytes").locator(".when").textContent(), "");
      } else {
        const { y, height } = await page.locator(".card").last().boundingBox();
        assert(y + height <= DESKTOP.height, "all charts fit on one screen");
      }
      await page.getByRole("radio", { name: "5 min" }).check();
      await inspect(page, "five minutes");
      await page.getByRole("radio", { name: "1 min" }).check();
    });
  }

  await check("the clients end gracefully", async () => {
    assert.equal(await load.stop("SIGTERM"), 0);
    await eventually(() => legend(desk, "Connections"), { open: 0 });
  });

  await check("a link that is silent is given up, and the charts go on after a gap", async () => {
    between.state.isDeaf = true;
    await eventually(() => state(desk), "lost");
    between.cut();
    await becomes(() => desk.textContent("#status"), (text) => text.startsWith("Offline, "));
    assert.equal(await desk.textContent("#announcer"), "Connection lost. The charts show a gap until it is back.");
    between.mend();
    await desk.locator("#retry").evaluate((button) => button.click());
    await live(desk);
    await eventually(() => desk.textContent("#announcer"), "Connected again. The charts go on.");
    assert.match(await card(desk, "Messages").locator(".gap").getAttribute("d"), /^M/);
  });

  await check("when the server restarts, the pages show the gap and come back by themselves", async () => {
    assert.equal(await stop("SIGTERM"), 0, "a graceful end");
    for (const page of [desk, ...looks.values()]) {
      await eventually(() => state(page), "lost");
      await eventually(() => card(page, "Connections").locator("dd").textContent(), "–");
    }
    const gap = async (page) => (await card(page, "Connections").locator(".gap").getAttribute("d")).split("M").length - 1;
    const before = await gap(desk);
    stop = await start("dashboard", port, [String(port)]);
    for (const page of [desk, ...looks.values()]) {
      await live(page);
    }
    await eventually(() => legend(desk, "Connections"), { open: 0 });
    assert.equal(await gap(desk), before);
    await becomes(() => desk.textContent("#server"), (text) => /, up \d s$/.test(text));
  });

  await check("accessible and in order while the server is away", async () => {
    await stop();
    await sleep(6_000);
    for (const [name, page] of looks) {
      await page.screenshot({ path: path.join(SCREENSHOTS, `dashboard-offline-${name}.png`) });
      await inspect(page, name);
    }
    stop = await start("dashboard", port, [String(port)]);
    for (const page of [desk, ...looks.values()]) {
      await page.locator("#retry").evaluate((button) => button.click());
      await live(page);
    }
  });

  await check("a screen reader gets landmarks, headings, sliders and tables", async () => {
    const tree = await desk.locator("body").ariaSnapshot();
    for (const part of [
      "- banner:", '- heading "Live view" [level=1]', '- group "Time shown"', '- radio "1 min" [checked]', "- main:", '- region "Charts"', "- figure",
      '- heading "Connections" [level=2]', '- slider "Messages, per second"', '- region "Latest values"', '- table "WebSockets"', '- columnheader "Total"', '- rowheader "Opened"', "- status",
    ]) {
      assert(tree.includes(part), `${part} in\n${tree}`);
    }
  });

  await check("one picture shows both", async () => {
    const [desktop, phone] = ["left:40px;top:50px;width:1120px", "left:1050px;top:88px;width:310px;border-radius:24px"];
    await composePicture(chromium, "dashboard", 800, ["dashboard-desktop-light", desktop], ["dashboard-phone-dark", phone]);
  });

  await check("no error in any console, and no violation of the Content-Security-Policy", async () => {
    assert.deepEqual(errors, []);
  });
});
