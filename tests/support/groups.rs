//! Helpers of the tests of groups: a server whose connections are in groups.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Log, Peer, router};
use react_websocket::shutdown::Serving;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use tokio::io::DuplexStream;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What a connection is called in a log.
pub struct Name(pub &'static str);

pub fn name(connection: WebSocketConnection) -> &'static str {
    connection.get::<Name>().map_or("?", |name| name.0)
}

/// A server whose connections are handed out as they come, and the groups of them.
pub struct Server {
    pub http: HttpServer,
    pub websocket: WebSocketMiddleware,
    pub groups: GroupManager,
    pub log: Log,
    pub opened: mpsc::UnboundedReceiver<WebSocketConnection>,
}

impl Server {
    pub fn new() -> Server {
        Server::with(WebSocketOptions::new())
    }

    /// Pings would be noise in what the peers receive.
    pub fn with(options: WebSocketOptions) -> Server {
        let groups = GroupManager::new();
        let websocket =
            WebSocketMiddleware::new().with_options(options.ping_interval(None)).with_group_manager(groups.clone());
        let (open, opened) = mpsc::unbounded_channel();
        websocket.on("connection", move |connection| {
            let _ = open.send(connection);
        });
        let http = HttpServer::new((websocket.clone(), router));
        Server { http, websocket, groups, log: Log::default(), opened }
    }

    /// A server that notes what its groups tell.
    pub fn watched() -> Server {
        let server = Server::new();
        watch(&server.log, &server.groups);
        server
    }

    /// A connection in memory.
    pub async fn open(&mut self, name: &'static str) -> (WebSocketConnection, Peer<DuplexStream>) {
        let (connection, peer, _) = self.serve(name, 1 << 20).await;
        (connection, peer)
    }

    pub async fn serve(
        &mut self,
        name: &'static str,
        capacity: usize,
    ) -> (WebSocketConnection, Peer<DuplexStream>, Serving) {
        let (mut peer, serving) = Peer::serve_with_capacity(&self.http, capacity);
        peer.shake_hands().await;
        let connection = self.opened.recv().await.expect("a connection");
        connection.set(Name(name));
        (connection, peer, serving)
    }

    /// A connection over a socket.
    pub async fn connect(&mut self, address: SocketAddr) -> (WebSocketConnection, Peer<TcpStream>) {
        let peer = Peer::open(address).await;
        (self.opened.recv().await.expect("a connection"), peer)
    }
}

/// Notes all events of a manager and its groups.
pub fn watch(log: &Log, groups: &GroupManager) {
    let (created, destroyed) = (log.clone(), log.clone());
    groups.on("create", move |group| {
        created.add(format_args!("create {}", group.name()));
        for event in ["join", "leave", "drop"] {
            let log = created.clone();
            group.on(event, move |member| log.add(format_args!("{event} {} {}", group.name(), name(member))));
        }
    });
    groups.on("destroy", move |group| destroyed.add(format_args!("destroy {}", group.name())));
}

/// A net under tests over sockets and threads, which would hang otherwise.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

/// A server over a socket, with so many members of the group `room`.
pub async fn room(
    options: WebSocketOptions,
    members: usize,
) -> (Server, ConnectionGroup, Vec<(WebSocketConnection, Peer<TcpStream>)>, SocketAddr) {
    let mut server = Server::with(options);
    let socket = SocketServer::new("127.0.0.1:0").unwrap();
    let address = socket.local_address().unwrap();
    server.http.listen(socket);
    let mut all = Vec::new();
    for _ in 0..members {
        let (connection, peer) = server.connect(address).await;
        connection.set_group(Some("room")).unwrap();
        all.push((connection, peer));
    }
    let group = server.groups.get("room").unwrap();
    (server, group, all, address)
}
