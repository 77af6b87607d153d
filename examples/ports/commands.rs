//! A shared list of tasks: JSON commands, dispatched by a type with the callbacks of Ratchet.
//!
//! `commands.php` is the same app in PHP. Run this one, connect twice with
//! `npx wscat -c ws://127.0.0.1:8080/`, and send `{"command": "add", "task": "Tea"}`.

use react_websocket::errors::BoxError;
use react_websocket::{Error, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection, WebSocketMiddleware};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

pub async fn serve(socket: SocketServer) -> Result<(), Error> {
    let websocket = WebSocketMiddleware::new();
    Arc::new(TaskList::default()).attach(&websocket);

    let router = |_request: ServerRequest| Response::plaintext("Connect with a WebSocket\n");

    let http = HttpServer::new((websocket, router));
    http.listen(socket).await
}

#[derive(Default)]
struct TaskList {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    clients: HashSet<WebSocketConnection>,
    tasks: Vec<String>,
}

impl TaskList {
    fn attach(self: Arc<Self>, websocket: &WebSocketMiddleware) {
        websocket.on("connection", move |connection: WebSocketConnection| {
            self.on_open(connection);
            let this = self.clone();
            connection.on("text", move |text: &str| {
                if let Err(error) = this.on_message(connection, text) {
                    this.on_error(connection, error);
                }
            });
            let this = self.clone();
            connection.on("close", move || this.on_close(connection));
        });
    }

    fn on_open(&self, connection: WebSocketConnection) {
        let mut state = self.state.lock().unwrap();
        state.clients.insert(connection);
        connection.write(json!({"tasks": state.tasks}).to_string());
    }

    fn on_message(&self, connection: WebSocketConnection, text: &str) -> Result<(), BoxError> {
        let message: Value = serde_json::from_str(text)?;
        match message["command"].as_str() {
            Some("add") => self.add(message["task"].as_str())?,
            Some("done") => self.done(message["task"].as_str())?,
            Some("bye") => connection.end(),
            _ => return Err("unknown command".into()),
        }
        Ok(())
    }

    fn on_close(&self, connection: WebSocketConnection) {
        self.state.lock().unwrap().clients.remove(&connection);
    }

    fn on_error(&self, connection: WebSocketConnection, error: BoxError) {
        connection.write(json!({"error": error.to_string()}).to_string());
    }

    fn add(&self, task: Option<&str>) -> Result<(), BoxError> {
        let task = task.ok_or("a task is a text")?.to_owned();
        let mut state = self.state.lock().unwrap();
        if state.tasks.contains(&task) {
            return Err(format!("{task} is on the list already").into());
        }
        state.tasks.push(task);
        state.broadcast();
        Ok(())
    }

    fn done(&self, task: Option<&str>) -> Result<(), BoxError> {
        let mut state = self.state.lock().unwrap();
        let place = state.tasks.iter().position(|other| Some(&**other) == task).ok_or("no such task")?;
        state.tasks.remove(place);
        state.broadcast();
        Ok(())
    }
}

impl State {
    fn broadcast(&self) {
        for client in &self.clients {
            client.write(json!({"tasks": self.tasks}).to_string());
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let socket = SocketServer::new(address)?;
    println!("Listening on {}", socket.address());
    serve(socket).await
}
