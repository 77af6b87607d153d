// Shows the messages of the members to a user who is logged in.
const [login, say, messages] = ["login", "say", "messages"].map((id) => document.getElementById(id));

fetch("/user").then((response) => {
  if (!response.ok) return;
  login.hidden = true;
  say.hidden = false;
  const socket = new WebSocket(`${location.protocol.replace("http", "ws")}//${location.host}/members`);
  socket.onmessage = (event) => {
    const item = document.createElement("li");
    item.textContent = event.data;
    messages.append(item);
  };
  say.onsubmit = (event) => {
    if (event.submitter?.hasAttribute("formaction")) return;
    event.preventDefault();
    socket.send(say.elements.text.value);
    say.reset();
  };
});
