//! Threads: whatever writes, broadcasts and closes from wherever, at the same time as turns, wakes whom it has to and keeps the
//! order of each sender.

mod support;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use react_websocket::{GroupManager, HttpServer, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions};
use support::*;
use tokio::time::timeout;

const MEMBERS: usize = 12;
const EACH: usize = 400;

/// What one peer gets: for each sender, the numbers 0 to `EACH` in this order, however mixed with those of others.
async fn all_in_order(peer: &mut Peer<tokio::net::TcpStream>, senders: &[String]) {
    let mut next: HashMap<&str, usize> = senders.iter().map(|sender| (sender.as_str(), 0)).collect();
    while next.values().any(|number| *number < EACH) {
        let text = timeout(Duration::from_secs(30), peer.text())
            .await
            .unwrap_or_else(|_| panic!("somebody was not woken: nothing comes any more, and the next were to be {next:?}"));
        let (sender, number) = text.split_once(' ').expect("a sender and a number");
        let expected = next.get_mut(sender).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(number, expected.to_string(), "of {sender}");
        *expected += 1;
    }
}

/// A server whose connections echo, are all members of one group, and are handed out. Its listeners note each `close`.
struct Server {
    address: SocketAddr,
    groups: GroupManager,
    connections: Arc<Mutex<Vec<WebSocketConnection>>>,
    closes: Arc<AtomicUsize>,
}

fn serve(options: WebSocketOptions) -> Server {
    let groups = GroupManager::new();
    let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups.clone());
    let (connections, closes) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (opened, closed) = (connections.clone(), closes.clone());
    websocket.on("connection", move |connection: WebSocketConnection| {
        connection.on("text", move |text: &str| connection.write(text));
        let closed = closed.clone();
        connection.on("close", move || closed.fetch_add(1, Ordering::SeqCst) < usize::MAX);
        opened.lock().unwrap().push(connection);
        connection.set_group(Some("all"))
    });
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let address = socket.local_address().unwrap();
    HttpServer::new((websocket, router)).listen(socket);
    Server { address, groups, connections, closes }
}

fn write_each(connections: &[WebSocketConnection], text: &str) {
    for connection in connections {
        connection.write(text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_broadcasts_and_turns_race_and_nothing_is_lost_or_overtaken() {
    let server = serve(WebSocketOptions::new().write_buffer_hard_limit(usize::MAX));
    let mut peers = Vec::new();
    for _ in 0..MEMBERS {
        peers.push(Peer::open(server.address).await);
    }
    let connections = server.connections.lock().unwrap().clone();
    let group = server.groups.get("all").expect("a group");
    // Threads of the app's own, tasks, and what the peers themselves send, which comes back.
    let begin = Arc::new(Barrier::new(4));
    for thread in 0..3 {
        let (begin, connections) = (begin.clone(), connections.clone());
        std::thread::spawn(move || {
            begin.wait();
            for number in 0..EACH {
                match thread {
                    0 => group.write(format!("broadcast {number}")),
                    1 => write_each(&connections, &format!("thread {number}")),
                    _ => react_websocket::cork(|| write_each(&connections, &format!("cork {number}"))),
                }
            }
        });
    }
    for connection in connections {
        tokio::spawn(async move {
            for number in 0..EACH {
                connection.send(format!("task {number}")).await.expect("it is open");
                if number % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    tokio::spawn(async move {
        for number in 0..EACH {
            group.write(format!("spread {number}"));
            tokio::task::yield_now().await;
        }
    });
    let senders = ["broadcast", "thread", "cork", "task", "spread", "echo"].map(str::to_owned);
    let mut readers = Vec::new();
    for mut peer in peers {
        let senders = senders.clone();
        readers.push(tokio::spawn(async move {
            peer.send((0..EACH).flat_map(|number| text(format!("echo {number}"))).collect::<Vec<_>>()).await;
            all_in_order(&mut peer, &senders).await;
        }));
    }
    begin.wait();
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn however_many_close_a_connection_at_once_it_closes_once() {
    for round in 0..60 {
        let server = serve(WebSocketOptions::new());
        let mut peers = Vec::new();
        for _ in 0..MEMBERS {
            peers.push(Peer::open(server.address).await);
        }
        let connections = server.connections.lock().unwrap().clone();
        let group = server.groups.get("all").expect("a group");
        let begin = Arc::new(Barrier::new(3));
        let threads: Vec<_> = (0..3usize)
            .map(|thread| {
                let (begin, connections) = (begin.clone(), connections.clone());
                std::thread::spawn(move || {
                    begin.wait();
                    for (n, connection) in connections.iter().enumerate() {
                        group.write("news");
                        match (thread + n + round) % 5 {
                            0 => connection.close(),
                            1 => connection.end(),
                            2 => connection.terminate(),
                            3 => write_each(&[*connection], "more"),
                            _ => connection.close_with(4000, "enough"),
                        }
                    }
                    // In the end all are closed for sure.
                    connections.iter().for_each(WebSocketConnection::close);
                })
            })
            .collect();
        let mut readers = Vec::new();
        for mut peer in peers {
            readers.push(tokio::spawn(async move {
                // It answers the Close as a peer does, unless it is cut off.
                while let Some(frame) = peer.frame().await {
                    if frame.opcode == 8 {
                        use tokio::io::AsyncWriteExt;
                        let _ = peer.stream.write_all(&close(1000, "")).await;
                    }
                }
            }));
        }
        for reader in readers {
            timeout(Duration::from_secs(30), reader).await.expect("an end: somebody was not woken").unwrap();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // The group ends with its last member, which is out after its own `close`.
        timeout(Duration::from_secs(30), async {
            while server.groups.get("all").is_some() {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("all members are out");
        assert_eq!(server.closes.load(Ordering::SeqCst), MEMBERS, "each closed once, in round {round}");
    }
}
