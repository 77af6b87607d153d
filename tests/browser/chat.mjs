// The example `chat`: two pages talk, lose their server, and come back.

import assert from "node:assert/strict";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SCREENSHOTS, browser, check, composePicture, eventually, expectStrictHeaders, freePort, inspect, link, main, pages, start } from "./support.mjs";

const DESKTOP = { width: 1200, height: 840 };
const PHONE = { width: 360, height: 720 };

main(async () => {
  const port = await freePort();
  let stop = await start("chat", port, [String(port)]);
  const between = await link(port);
  const chromium = await browser();
  const { open: openPage, errors } = pages(chromium);
  const open = (query, { at = port, ...options } = {}) => openPage(`http://127.0.0.1:${at}/${query}`, { viewport: DESKTOP, ...options });
  const connected = (page) => eventually(() => page.textContent("#status"), "Connected");
  const texts = (page) => page.locator("#log .text").allTextContents();
  const say = async (page, text) => {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  };
  /** Mends the link, and does not wait for the page's next attempt. */
  const mend = async (page) => {
    between.mend();
    await page.locator("#retry").evaluate((button) => button.click());
    await connected(page);
  };
  const people = (page) => page.locator("#people bdi").allTextContents();

  await check("each file has the headers that protect the page", async () => {
    await expectStrictHeaders(port, { "": "text/html", "style.css": "text/css", "chat.js": "text/javascript", "icon.svg": "image/svg+xml" });
  });

  const ann = await open("", { at: between.port });
  await check("the dialog is filled in with the keyboard alone", async () => {
    assert.equal(await ann.evaluate(() => document.activeElement.id), "name");
    await ann.keyboard.press("Escape");
    await ann.keyboard.type("Ann");
    await ann.keyboard.press("Tab");
    assert.equal(await ann.inputValue("#room"), "lobby");
    await ann.keyboard.press("Enter");
    await connected(ann);
    assert.equal(await ann.evaluate(() => document.activeElement.id), "text");
  });

  const ben = await open("?room=lobby&name=Ben");
  await check("two pages talk both ways, with names", async () => {
    await connected(ben);
    await say(ann, "Hello Ben");
    await eventually(() => texts(ben), ["Hello Ben"]);
    await say(ben, "Hello Ann\nsecond line");
    await eventually(() => texts(ann), ["Hello Ben", "Hello Ann\nsecond line"]);
    assert.deepEqual(await ann.locator("#log .who bdi").allTextContents(), ["Ann", "Ben"]);
    assert.equal(await ann.locator(".mine").count(), 1);
    assert.equal(await ann.locator(".waiting, .failed").count(), 0);
  });

  await check("the list of people is live", async () => {
    await eventually(() => people(ann), ["Ann", "Ben"]);
    const cleo = await open("?room=lobby&name=Cleo");
    await eventually(() => people(ann), ["Ann", "Ben", "Cleo"]);
    await eventually(() => ann.textContent("#announcer"), "Cleo has joined.");
    await cleo.context().close();
    await eventually(() => people(ann), ["Ann", "Ben"]);
    await eventually(() => ann.textContent("#announcer"), "Cleo has left.");
  });

  await check("who types is shown until the message is there", async () => {
    await ann.locator("#text").pressSequentially("Well");
    await eventually(() => ben.textContent("#typing"), "\u2068Ann\u2069 is typing…");
    assert.equal(await ann.textContent("#typing"), "");
    await ann.press("#text", "Enter");
    await eventually(() => ben.textContent("#typing"), "");
  });

  await check("HTML in a name and in a message stays text", async () => {
    const eve = await open(`?room=lobby&name=${encodeURIComponent("<b>Eve</b>")}`);
    const html = `<img src=x onerror="document.title='bad'"><script>document.title='bad'</script>&amp;`;
    await connected(eve);
    await say(eve, html);
    for (const page of [ann, eve]) {
      await eventually(async () => (await texts(page)).at(-1), html);
      assert.equal(await page.locator("#log .who bdi").last().textContent(), "<b>Eve</b>");
      assert.equal(await page.locator("#log img, #log script, #log b, #people b").count(), 0);
    }
    await eve.context().close();
    await eventually(() => people(ann), ["Ann", "Ben"]);
  });

  await check("a room is created by its name, and a later member gets its history", async () => {
    await ann.fill("#new-room-name", "tea & cake");
    await ann.press("#new-room-name", "Enter");
    await eventually(() => ann.textContent("#title"), "tea & cake");
    await connected(ann);
    await say(ann, "Is anybody here?");
    await eventually(() => ann.locator("#log .message[data-state=sent]").count(), 1);
    await ben.getByRole("button", { name: "tea & cake" }).click();
    await eventually(() => texts(ben), ["Is anybody here?"]);
    assert.equal(await ben.locator("[aria-current=true]").textContent(), "tea & cake");
    for (const page of [ann, ben]) {
      await page.getByRole("button", { name: "lobby" }).click();
      await connected(page);
    }
    await eventually(() => people(ann), ["Ann", "Ben"]);
    assert.equal((await texts(ann)).length, 4, "the room is resumed, not loaded again");
  });

  await check("after a cut only what was missed comes, and what was written meanwhile is sent once", async () => {
    const before = await texts(ann);
    between.cut();
    await eventually(() => ann.getAttribute("#status", "data-state"), "lost");
    await eventually(() => ann.locator("#retry").isVisible(), true);
    await say(ann, "written offline 1");
    await say(ann, "written offline 2");
    assert.deepEqual(await ann.locator(".state:visible").allTextContents(), Array(2).fill("Waiting for the connection"));
    for (const text of ["missed 1", "missed 2", "missed 3"]) {
      await say(ben, text);
    }
    await eventually(() => ben.locator(".message[data-state=sent]").count(), before.length + 3);
    between.mend();
    const all = [...before, "missed 1", "missed 2", "missed 3", "written offline 1", "written offline 2"];
    await eventually(() => texts(ann), all);
    await eventually(() => texts(ben), all);
    await connected(ann);
    assert.equal(await ann.locator(".state:visible, .notice").count(), 0);
  });

  await check("a message whose acknowledgement was lost is there once", async () => {
    between.state.isDeaf = true;
    await say(ann, "did you get this?");
    await eventually(async () => (await texts(ben)).at(-1), "did you get this?");
    assert.equal(await ann.locator(".waiting").count(), 1);
    between.cut();
    await eventually(() => ann.getAttribute("#status", "data-state"), "lost");
    await mend(ann);
    await eventually(() => ann.locator(".waiting").count(), 0);
    await sleep(300);
    for (const page of [ann, ben]) {
      assert.equal((await texts(page)).filter((text) => text === "did you get this?").length, 1);
    }
  });

  await check("a connection that no longer answers is given up and made again", async () => {
    between.state.isDeaf = true;
    await say(ben, "unheard");
    assert.equal(await ann.textContent("#status"), "Connected");
    // As after a sleep, or a change of the network.
    await ann.evaluate(() => dispatchEvent(new Event("online")));
    await eventually(() => ann.getAttribute("#status", "data-state").then((state) => state !== "connected"), true);
    await mend(ann);
    await eventually(async () => (await texts(ann)).at(-1), "unheard");
  });

  await check("a reload keeps the name and the own messages, and a new window asks", async () => {
    await ben.reload();
    await connected(ben);
    assert.equal(await ben.textContent("#my-name"), "Ben");
    await eventually(() => ben.locator(".mine .text").last().textContent(), "unheard");
    const second = await ben.context().newPage();
    await second.goto(`http://127.0.0.1:${port}/`);
    assert.equal(await second.inputValue("#name"), "Ben");
    assert(await second.locator("#entry").isVisible());
    await second.close();
  });

  await check("a name that the server refuses is asked for again", async () => {
    const page = await open(`?room=lobby&name=${encodeURIComponent("a\u0007b")}`);
    await eventually(() => page.textContent("#problem"), "The server refused this: the name contains an invisible character.");
    await page.fill("#name", "\u0085Ada\u0085");
    await page.press("#name", "Enter");
    await connected(page);
    assert.equal(await page.textContent("#my-name"), "Ada");
    assert.equal(await page.locator("#people li", { hasText: "you" }).locator("bdi").textContent(), "Ada");
    await page.context().close();
  });

  await check("a page that was away for too long says how much it has missed", async () => {
    between.cut();
    await eventually(() => ann.getAttribute("#status", "data-state"), "lost");
    await ben.evaluate(async () => {
      const socket = new WebSocket(`ws://${location.host}/chat`);
      await new Promise((resolve) => (socket.onopen = resolve));
      socket.send(JSON.stringify({ type: "join", room: "lobby", name: "Robot" }));
      for (let number = 1; number <= 53; number += 1) {
        socket.send(JSON.stringify({ type: "say", id: `robot-${number}`, text: `number ${number}` }));
      }
      await new Promise((resolve) => {
        socket.onmessage = (event) => event.data.includes("number 53") && resolve();
      });
      socket.close();
    });
    await mend(ann);
    await eventually(() => ann.locator(".notice").allTextContents(), ["You were away for long. 3 messages could not be kept for you."]);
    assert.equal((await texts(ann)).at(-1), "number 53");
    assert(!(await texts(ann)).includes("number 3"));
  });

  await check("when the server restarts, the pages come back by themselves and repeat nothing", async () => {
    await sleep(5_500); // after which the connection counts as good, and the waits begin anew
    const before = await texts(ann);
    assert.equal(await stop("SIGTERM"), 0, "a graceful end");
    await eventually(() => ann.getAttribute("#status", "data-state"), "lost");
    await say(ann, "is it back?");
    stop = await start("chat", port, [String(port)]);
    await connected(ann);
    await connected(ben);
    await eventually(() => texts(ann), [...before, "is it back?"]);
    await eventually(async () => (await texts(ben)).at(-1), "is it back?");
    assert.match(await ann.locator(".notice").last().textContent(), /^The server has restarted/);
    await say(ben, "it is");
    await eventually(() => texts(ann), [...before, "is it back?", "it is"]);
    assert.equal((await texts(ben)).filter((text) => text === "is it back?").length, 1);
  });

  await check("a message that cannot be queued is marked, and can be sent later", async () => {
    between.cut();
    await eventually(() => ann.getAttribute("#status", "data-state"), "lost");
    for (let number = 1; number <= 21; number += 1) {
      await say(ann, `queued ${number}`);
    }
    assert.equal(await ann.locator(".failed").count(), 1);
    assert.equal(await ann.locator(".failed .text").textContent(), "queued 21");
    await ann.setViewportSize(PHONE);
    await ann.screenshot({ path: path.join(SCREENSHOTS, "offline-phone-light.png") });
    const { scrollWidth, clientWidth } = await ann.evaluate(() => document.documentElement);
    assert.equal(scrollWidth, clientWidth);
    await ann.setViewportSize(DESKTOP);
    await mend(ann);
    await eventually(async () => (await texts(ben)).at(-1), "queued 20");
    await ann.getByRole("button", { name: "Try again" }).click();
    await eventually(async () => (await texts(ben)).slice(-21), Array.from({ length: 21 }, (_, index) => `queued ${index + 1}`));
    assert.equal(await ann.locator(".failed, .waiting").count(), 0);
  });

  // Pages that look as if people used them.
  const lines = [
    ["Mara", "Morning! The new sensors are on the roof."],
    ["Tom", "Nice. Do they report every second?"],
    ["Mara", "Every two. That is 14,000 messages an hour, and the server is bored."],
    ["Lea", "I have opened a dashboard on my phone, on the train. It lost the connection in each tunnel and came back without me."],
    ["Mara", "And what you wrote in the tunnel?"],
    ["Lea", "Was sent when it was back. Once."],
  ];
  const crew = new Map();
  for (const who of ["Mara", "Tom", "Lea"]) {
    crew.set(who, await open(`?room=rooftop&name=${who}`));
    await connected(crew.get(who));
  }
  const idle = await open("?room=garden&name=Noor");
  await connected(idle);
  for (const [who, text] of lines) {
    await say(crew.get(who), text);
    // The sender shows its message before the server has it.
    for (const page of crew.values()) {
      await eventually(async () => (await texts(page)).at(-1), text);
    }
  }

  const answers = ["Then it is ready to be shown.", "It fits on the phone.", "And it is dark at night.", "Good night."];
  const appearances = { light: { colorScheme: "light" }, dark: { colorScheme: "dark" } };
  for (const [appearance, options] of Object.entries(appearances)) {
    for (const [device, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      const size = device === "phone" ? { deviceScaleFactor: 2, hasTouch: true, isMobile: true } : {};
      // axe sets styles of its own, so it gets a page without the policy.
      const page = await open("", { viewport, ...options, ...size, bypassCSP: true });
      await check(`accessible and in order: ${device}, ${appearance}`, async () => {
        const shot = (name) => page.screenshot({ path: path.join(SCREENSHOTS, `${name}-${device}-${appearance}.png`) });
        await inspect(page, "the dialog");
        await shot("dialog");
        await page.fill("#name", "Kim");
        await page.fill("#room", "rooftop");
        await page.press("#room", "Enter");
        await connected(page);
        await say(page, answers.shift());
        await eventually(() => page.locator(".mine[data-state=sent]").count(), 1);
        await crew.get("Tom").locator("#text").pressSequentially("Yes", { delay: 1 });
        await eventually(() => page.textContent("#typing"), "\u2068Tom\u2069 is typing…");
        await sleep(300);
        await shot("chat");
        await inspect(page, "the messages");
        if (device === "phone") {
          await page.locator("#menu").tap();
          assert(await page.locator("#people").isVisible());
          await shot("menu");
          await inspect(page, "the menu");
          await page.keyboard.press("Escape");
          assert(!(await page.locator("#people").isVisible()));
          await page.locator("#menu").tap();
          await page.getByRole("button", { name: "garden" }).tap();
          await connected(page);
          await say(page, "w".repeat(200));
          await sleep(300);
          await inspect(page, "a long word");
          // With the keyboard on the screen.
          await page.setViewportSize({ width: 360, height: 300 });
          await page.locator("#text").tap();
          await sleep(200);
          const box = await page.locator("#composer").boundingBox();
          assert(box.y > 0 && box.y + box.height <= 300, JSON.stringify(box));
          const last = await page.locator(".message").last().boundingBox();
          assert(last.y + last.height <= box.y, "the last message is above the field");
        }
      });
      await page.context().close();
      await crew.get("Tom").fill("#text", "");
    }
  }

  await check("everything is reached with the keyboard, in the order of the page, with a visible focus", async () => {
    const page = crew.get("Mara");
    await page.locator("#title").click();
    const buttons = await page.locator("#rooms button").allTextContents();
    const order = [];
    for (let step = 0; step < buttons.length + 6; step += 1) {
      await page.keyboard.press("Tab");
      const { id, isMarked } = await page.evaluate(() => {
        const focused = document.activeElement;
        const marked = [focused, focused.closest("#composer") ?? focused].some((element) => {
          const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(element);
          return (outlineStyle !== "none" && parseFloat(outlineWidth) >= 2) || boxShadow !== "none";
        });
        return { id: focused.id || focused.textContent, isMarked: marked };
      });
      assert(isMarked, `${id} shows the focus`);
      order.push(id);
    }
    assert.deepEqual(order, [...buttons, "new-room-name", "Open", "rename", "log", "text", "send"]);
  });

  await check("a screen reader gets landmarks, labels and the names of all", async () => {
    const page = crew.get("Mara");
    const tree = await page.locator("body").ariaSnapshot();
    for (const part of [
      "- banner:", '- heading "rooftop" [level=1]', "- complementary \"Rooms and people\":", '- navigation "Rooms":', '- heading "People 3" [level=2]',
      '- main "rooftop":', '- log "Messages in rooftop":', '- textbox "Message to rooftop"', '- button "Send"', "- status", '- textbox "Name of a room"',
    ]) {
      assert(tree.includes(part), `${part} in\n${tree}`);
    }
    const names = await page.locator(".message .who").allTextContents();
    assert(names.length >= lines.length && names.every((name) => /^\w+\d\d:\d\d$/.test(name)), String(names));
    assert.equal(await page.getAttribute("#log", "aria-live"), "polite");
  });

  await check("with reduced motion nothing moves", async () => {
    const page = await open("?room=rooftop&name=Kim", { reducedMotion: "reduce" });
    await connected(page);
    const moving = () => [...document.querySelectorAll("*")].filter((element) => getComputedStyle(element).animationName !== "none").length;
    assert.equal(await page.evaluate(moving), 0);
    await page.context().close();
  });

  await check("one picture shows both", async () => {
    const [desktop, phone] = ["left:40px;top:40px;width:1080px", "left:1050px;top:150px;width:310px;border-radius:24px"];
    await composePicture(chromium, "chat", 850, ["chat-desktop-light", desktop], ["chat-phone-dark", phone]);
  });

  await check("no error in any console, and no violation of the Content-Security-Policy", async () => {
    assert.deepEqual(errors, []);
  });
});
