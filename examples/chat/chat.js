// The page of the chat. chat.rs describes the protocol.
// All texts of people become text nodes, never HTML: the Content-Security-Policy forbids `innerHTML`.

const KEPT = 500; // messages that a room shows
const QUEUED = 20; // messages that may wait for the connection
const FIRST_WAIT = 500, LONGEST_WAIT = 30_000; // milliseconds before the next attempt
const PATIENCE = 10_000; // milliseconds for an answer, after which the connection counts as lost
const GOOD = 5_000; // milliseconds after which a connection counts as good: the waits begin anew
const PROBE = 30_000; // milliseconds after which the page asks whether the connection still works

const $ = (id) => document.getElementById(id);
const [log, text, announcer, entry] = [$("log"), $("text"), $("announcer"), $("entry")];

/** An element with properties and children. Strings become text nodes. */
function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Storage, which a browser may refuse. */
function load(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}
function save(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // The page works without it.
  }
}

// ---------------------------------------------------------------- Rooms

/** The page's state of a room: its last position, its messages by id, and the messages that are not sent yet. */
function newRoom(name) {
  return { name, since: null, list: element("ol"), items: new Map(), waiting: [] };
}

const visited = new Map();
let open = []; // names of the rooms that the server has
let room = null;
let name = "";
let isJoined = false;
const mine = new Set(JSON.parse(load("sessionStorage", "mine") ?? "[]")); // ids of the messages of this page

function enter(roomName) {
  isJoined = false;
  inFlight = null;
  if (!visited.has(roomName)) {
    visited.set(roomName, newRoom(roomName));
  }
  room = visited.get(roomName);
  save("localStorage", "room", roomName);
  save("localStorage", "name", name);
  save("sessionStorage", "name", name);
  history.replaceState(null, "", `?${new URLSearchParams({ room: roomName })}`);
  $("title").textContent = roomName;
  $("my-name").textContent = name;
  $("text").placeholder = `Message to ${roomName}`;
  text.labels[0].textContent = `Message to ${roomName}`;
  log.setAttribute("aria-label", `Messages in ${roomName}`);
  unread = 0;
  showUnread();
  quietly(() => log.replaceChildren(room.list));
  scrollToEnd();
  showRooms();
  showPeople([]);
  typists.forEach((_, typist) => stopTyping(typist));
  if (socket?.readyState === WebSocket.OPEN) {
    join();
  } else if (!socket) {
    connect();
  }
}

function join() {
  joins += 1;
  send({ type: "join", room: room.name, name, since: room.since ?? undefined });
  awaitAnswer();
}

function showRooms() {
  const names = [...new Set([...open, ...visited.keys(), "lobby"])].sort((a, b) => a.localeCompare(b));
  const focused = $("rooms").contains(document.activeElement) ? document.activeElement.textContent : null;
  $("rooms").replaceChildren(
    ...names.map((name) => {
      const button = element("button", { type: "button", dir: "auto" }, name);
      if (name === room?.name) {
        button.setAttribute("aria-current", "true");
      }
      button.onclick = () => {
        closeMenu();
        if (name !== room?.name) {
          enter(name);
        }
      };
      return element("li", {}, button);
    }),
  );
  [...$("rooms").querySelectorAll("button")].find((button) => button.textContent === focused)?.focus();
}

// ---------------------------------------------------------------- The connection

let socket = null;
let failures = 0;
let joins = 0; // answers to `join` that are still to come
let retryTimer, countdown, patience, goodTimer;

function connect() {
  clearTimeout(retryTimer);
  clearInterval(countdown);
  showStatus("connecting", "Connecting…");
  const current = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/chat`);
  socket = current;
  joins = 0;
  awaitAnswer();
  current.onopen = () => current === socket && join();
  current.onmessage = (event) => current === socket && receive(JSON.parse(event.data));
  current.onclose = () => current === socket && lost();
}

function send(command) {
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify(command));
  }
}

/** Ends a connection that does not answer in time: a network can fail without an event. */
function awaitAnswer() {
  clearTimeout(patience);
  patience = setTimeout(lost, PATIENCE);
}

/** Asks for an answer. Otherwise a page that only reads would not notice that its network has changed. */
function probe() {
  if (isJoined && !inFlight) {
    send({ type: "ping" });
    awaitAnswer();
  }
}

/** Reconnects after a random time, whose limit doubles with each failure, so that pages do not reconnect all at once. */
function lost() {
  clearTimeout(patience);
  clearTimeout(goodTimer);
  const old = socket;
  socket = null;
  old?.close();
  if (isJoined) {
    announce("Connection lost. Messages are sent when it is back.");
  }
  isJoined = false;
  inFlight = null;
  room?.waiting.forEach(showState);
  const wait = Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures);
  failures += 1;
  const due = Date.now() + wait;
  const show = () => {
    const seconds = Math.ceil((due - Date.now()) / 1000);
    showStatus("lost", seconds > 1 ? `Offline, next try in ${seconds} s` : "Offline, trying again");
  };
  show();
  clearInterval(countdown);
  clearTimeout(retryTimer);
  countdown = setInterval(show, 1000);
  retryTimer = setTimeout(connect, wait);
}

function connectNow() {
  if (room && !socket) {
    connect();
  }
  probe();
}

function showStatus(state, words) {
  $("status").dataset.state = state;
  $("status").textContent = words;
  const hadFocus = document.activeElement === $("retry");
  $("retry").hidden = state !== "lost";
  if (hadFocus && state !== "lost") {
    text.focus();
  }
}

// ---------------------------------------------------------------- What the server sends

const receivers = {
  rooms({ names }) {
    open = names;
    showRooms();
  },

  joined(message) {
    joins -= 1;
    if (joins > 0) {
      return; // of a room that the page has left since
    }
    name = message.name;
    $("my-name").textContent = name;
    clearTimeout(patience);
    clearTimeout(goodTimer);
    goodTimer = setTimeout(() => (failures = 0), GOOD);
    const isReturn = room.since !== null;
    isJoined = true;
    hasPeople = false;
    quietly(() => {
      if (isReturn && !message.resumed) {
        showNotice("The server has restarted and no longer has the earlier messages. Some may be missing here.");
      } else if (isReturn && message.missed > 0) {
        showNotice(`You were away for long. ${count(message.missed, "message")} could not be kept for you.`);
      }
      room.since = { history: message.history, number: message.number - message.messages.length };
      message.messages.forEach((each) => receivers.message(each));
      room.since.number = message.number;
    });
    showEmpty();
    showStatus("connected", "Connected");
    const news = count(message.messages.length, isReturn ? "new message" : "earlier message");
    announce(`${isReturn ? "Connected again to" : "You are in"} ${room.name}. ${news}.`);
    sendNext();
  },

  message(message) {
    if (!isJoined) {
      return; // it is in the answer to `join`
    }
    room.since.number = Math.max(room.since.number, message.number);
    stopTyping(message.name);
    const own = room.items.get(message.id);
    if (!own) {
      showMessage({ ...message, state: "sent" });
    } else if (own.state !== "sent") {
      forgetWaiting(own);
      Object.assign(own, { state: "sent", name: message.name, time: message.time });
      place(own);
    }
    sendNext();
  },

  people({ names }) {
    if (isJoined) {
      showPeople(names);
    }
  },

  typing({ name: typist }) {
    clearTimeout(typists.get(typist));
    typists.set(typist, setTimeout(() => stopTyping(typist), 5000));
    showTyping();
  },

  pong() {
    if (!inFlight) {
      clearTimeout(patience);
    }
  },

  error({ id, text: reason }) {
    const own = room.items.get(id);
    if (own) {
      fail(own, reason);
      sendNext();
    } else if (!isJoined) {
      joins -= 1;
      if (joins === 0) {
        clearTimeout(patience);
        askName(reason);
      }
    }
  },
};

function receive(message) {
  receivers[message.type]?.(message);
}

// ---------------------------------------------------------------- Messages

let inFlight = null; // one message at a time, so that their order stays
let stick = true; // whether the log follows new messages
let unread = 0;

function say(words) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const id = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  mine.add(id);
  save("sessionStorage", "mine", JSON.stringify([...mine].slice(-200)));
  const item = { id, name, text: words, time: Date.now(), state: "waiting" };
  showMessage(item);
  enqueue(item);
  scrollToEnd();
}

function enqueue(item) {
  if (room.waiting.length >= QUEUED) {
    fail(item, "too many messages wait for the connection");
    return;
  }
  item.state = "waiting";
  room.waiting.push(item);
  place(item);
  sendNext();
}

function sendNext() {
  if (isJoined && !inFlight && room.waiting.length > 0) {
    inFlight = room.waiting[0];
    send({ type: "say", id: inFlight.id, text: inFlight.text });
    awaitAnswer();
  }
  room.waiting.forEach(showState);
}

function forgetWaiting(item) {
  room.waiting = room.waiting.filter((other) => other !== item);
  if (inFlight === item) {
    inFlight = null;
    clearTimeout(patience);
  }
}

function fail(item, reason) {
  forgetWaiting(item);
  Object.assign(item, { state: "failed", reason });
  place(item);
  announce(`Not sent: ${reason}.`);
}

function showMessage(item) {
  const isMine = mine.has(item.id);
  item.element = element(
    "li",
    { className: "message arrived" },
    avatar(item.name),
    element("p", { className: "who" }),
    element("p", { className: "text", dir: "auto" }, item.text),
    element("p", { className: "state", hidden: true }),
  );
  item.element.classList.toggle("mine", isMine);
  item.element.onanimationend = () => item.element.classList.remove("arrived");
  room.items.set(item.id, item);
  place(item);
  if (!isMine && (document.hidden || !stick)) {
    unread += 1;
    showUnread();
  }
  if (room.items.size > KEPT) {
    const [id, oldest] = room.items.entries().next().value;
    room.items.delete(id);
    oldest.element.remove();
  }
}

/** Puts a message where it belongs: sent messages in the server's order, then those that wait or have failed. */
function place(item) {
  const { element: li, time, state } = item;
  room.list.querySelector(".empty")?.remove();
  li.item = item;
  const date = new Date(time);
  li.querySelector(".who").replaceChildren(
    element("bdi", {}, item.name),
    element(
      "time",
      { dateTime: date.toISOString(), title: date.toLocaleString() },
      date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" }),
    ),
  );
  li.dataset.state = state;
  const [former, list] = [li.nextElementSibling, room.list];
  const next = state === "sent" ? list.querySelector("[data-state=waiting], [data-state=failed]") : null;
  if (!li.parentNode || (state !== "failed" && former !== next)) {
    list.insertBefore(li, next);
    group(former);
  }
  showState(item);
  group(li);
  group(li.nextElementSibling);
  if (stick) {
    scrollToEnd();
  }
}

/** Messages of one person in a row have one visible name. A screen reader gets the name of each. */
function group(li) {
  if (!li?.item) {
    return;
  }
  const [item, before] = [li.item, li.previousElementSibling?.item];
  const isFirst = !before || before.name !== item.name || mine.has(before.id) !== mine.has(item.id) || item.time - before.time > 300_000;
  li.classList.toggle("first", isFirst);
  li.querySelector(".who").classList.toggle("hidden", !isFirst);
}

function showState(item) {
  const { element: li, state, reason } = item;
  const line = li.querySelector(".state");
  li.classList.toggle("waiting", state === "waiting");
  li.classList.toggle("failed", state === "failed");
  line.hidden = state === "sent" || (state === "waiting" && isJoined);
  if (state === "waiting") {
    line.textContent = "Waiting for the connection";
  } else if (state === "failed") {
    const again = element("button", { type: "button", className: "quiet" }, "Try again");
    again.onclick = () => {
      text.focus();
      enqueue(item);
    };
    line.replaceChildren(`Not sent: ${reason}.`, again);
  }
}

function showNotice(words) {
  room.list.append(element("li", { className: "notice" }, words));
  announce(words);
}

function showEmpty() {
  if (room.list.childElementCount === 0) {
    const title = element("strong", {}, "It is quiet here");
    room.list.append(element("li", { className: "empty" }, title, element("span", {}, "Write the first message.")));
  }
}

/** Changes the log without an animation, and without an announcement: screen readers would read the whole history. */
function quietly(change) {
  log.setAttribute("aria-live", "off");
  change();
  log.querySelectorAll(".arrived").forEach((li) => li.classList.remove("arrived"));
  setTimeout(() => log.setAttribute("aria-live", "polite"), 500);
}

function scrollToEnd() {
  stick = true;
  log.scrollTop = log.scrollHeight;
}

function showUnread() {
  $("newer").hidden = unread === 0 || stick;
  document.title = `${unread > 0 ? `(${unread}) ` : ""}${room?.name ?? "Chat"} · Chat`;
}

function readAll() {
  if (stick && !document.hidden) {
    unread = 0;
    showUnread();
  }
}

// ---------------------------------------------------------------- People

const typists = new Map(); // names, with the timers after which they count as silent
let present = [];
let hasPeople = false; // whether `present` is of this room and this connection

function avatar(name) {
  const hash = [...name].reduce((hash, char) => Math.imul(hash ^ char.codePointAt(0), 16_777_619), 2_166_136_261);
  const hue = (hash >>> 8) % 8;
  const circle = element("span", { className: `avatar hue-${hue}` }, [...name][0]?.toUpperCase() ?? "");
  circle.setAttribute("aria-hidden", "true");
  return circle;
}

/** `some` without `others`, where a name may be there several times. */
function without(some, others) {
  const left = [...others];
  return some.filter((name) => {
    const index = left.indexOf(name);
    return index < 0 || !left.splice(index, 1);
  });
}

function showPeople(names) {
  if (hasPeople) {
    without(names, present).forEach((name) => announce(`${name} has joined.`));
    without(present, names).forEach((name) => announce(`${name} has left.`));
  }
  without(present, names).forEach(stopTyping);
  hasPeople = names.length > 0;
  present = names;
  const myself = names.indexOf(name);
  $("people").replaceChildren(
    ...names.map((name, index) =>
      element("li", {}, avatar(name), element("bdi", {}, name), ...(index === myself ? [element("small", {}, "you")] : [])),
    ),
  );
  $("count").textContent = names.length > 0 ? names.length : "";
}

function stopTyping(typist) {
  clearTimeout(typists.get(typist));
  typists.delete(typist);
  showTyping();
}

function showTyping() {
  const names = [...typists.keys()];
  const isolated = names.map((name) => `\u2068${name}\u2069`); // so that no name turns the direction of the line
  $("typing").textContent =
    ["", `${isolated[0]} is typing…`, `${isolated[0]} and ${isolated[1]} are typing…`][names.length] ?? "Several people are typing…";
}

// ---------------------------------------------------------------- Words to screen readers

let news = [];

/** Announces politely, several pieces of news at once. */
function announce(words) {
  news.push(words);
  if (news.length === 1) {
    setTimeout(() => {
      announcer.textContent = news.slice(0, 5).join(" ");
      news = [];
    }, 250);
  }
}

function count(number, noun) {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

// ---------------------------------------------------------------- What people do

let lastTyped = 0;

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const words = text.value.trim();
  text.value = "";
  lastTyped = 0;
  if (words && room) {
    say(words);
  }
  text.focus();
};

text.onkeydown = (event) => {
  // An Enter that ends the composition of a character sends nothing. Safari has only the code 229 for it.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
};

text.oninput = () => {
  if (!text.value.trim()) {
    lastTyped = 0;
  } else if (isJoined && Date.now() - lastTyped > 3000) {
    lastTyped = Date.now();
    send({ type: "typing" });
  }
};

$("new-room").onsubmit = (event) => {
  event.preventDefault();
  const wanted = $("new-room-name").value.trim();
  if (wanted) {
    $("new-room-name").value = "";
    closeMenu();
    enter(wanted);
    text.focus();
  }
};

function askName(reason) {
  $("problem").textContent = reason ? `The server refused this: ${reason}.` : "";
  $("name").value = name || (load("localStorage", "name") ?? "");
  $("room").value = room?.name ?? new URLSearchParams(location.search).get("room") ?? load("localStorage", "room") ?? "lobby";
  if (!entry.open) {
    entry.showModal();
  }
  $("name").focus();
}

entry.oncancel = (event) => {
  if (!isJoined) {
    event.preventDefault(); // there is nothing behind the dialog yet
  }
};

$("enter").onsubmit = (event) => {
  event.preventDefault();
  const [newName, newRoom] = [$("name").value.trim(), $("room").value.trim()];
  if (newName && newRoom) {
    name = newName;
    entry.close();
    enter(newRoom);
    text.focus();
  }
};

$("rename").onclick = () => {
  closeMenu();
  askName();
};
$("retry").onclick = connectNow;
$("newer").onclick = () => {
  scrollToEnd();
  readAll();
  text.focus();
};

function closeMenu() {
  setMenu(false);
}
function setMenu(isOpen) {
  $("side").classList.toggle("open", isOpen);
  $("menu").setAttribute("aria-expanded", isOpen);
  // What the panel covers. The landmark stays.
  [...$("main").children].forEach((part) => (part.inert = isOpen));
}
$("menu").onclick = () => setMenu(!$("side").classList.contains("open"));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && $("side").classList.contains("open")) {
    closeMenu();
    $("menu").focus();
  }
});
matchMedia("(max-width: 44rem)").onchange = closeMenu;

log.onscroll = () => {
  stick = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  readAll();
};
// The keyboard of a phone makes the log smaller; its end stays in view.
new ResizeObserver(() => stick && scrollToEnd()).observe(log);
// Safari puts its keyboard over the page. A page that is zoomed in stays as it is.
visualViewport?.addEventListener("resize", () => {
  if (visualViewport.scale === 1) {
    document.documentElement.style.setProperty("--height", `${visualViewport.height}px`);
    scrollTo(0, 0);
  }
});

addEventListener("online", connectNow);
document.addEventListener("visibilitychange", () => {
  readAll();
  if (!document.hidden) {
    connectNow();
  }
});
addEventListener("beforeunload", (event) => {
  if ([...visited.values()].some((room) => room.waiting.length > 0)) {
    event.preventDefault();
  }
});

// ---------------------------------------------------------------- The beginning

const wanted = new URLSearchParams(location.search);
// A page that is loaded again joins at once. A new window asks, and proposes the last name.
name = wanted.get("name")?.trim() || load("sessionStorage", "name") || "";
setInterval(probe, PROBE);
showRooms();
if (name) {
  enter(wanted.get("room")?.trim() || load("localStorage", "room") || "lobby");
  text.focus();
} else {
  askName();
}
