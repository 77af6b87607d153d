//! Groups: when they are there, who is in them, what is told and in which order, and what reaches whom.

mod support;

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::Duration;

use react_websocket::{
    ConnectionGroup, Error, GroupError, GroupManager, HttpServer, ListenerError, Response, Serving, SlowMemberPolicy,
    SocketServer, WebSocketConnection, WebSocketMiddleware, WebSocketOptions, cork,
};
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

/// What a connection is called in a log.
struct Name(&'static str);

fn name(connection: WebSocketConnection) -> &'static str {
    connection.get::<Name>().map_or("?", |name| name.0)
}

/// A server whose connections are handed out as they come, and the groups of them.
struct Server {
    http: HttpServer,
    websocket: WebSocketMiddleware,
    groups: GroupManager,
    log: Log,
    opened: mpsc::UnboundedReceiver<WebSocketConnection>,
}

impl Server {
    fn new() -> Server {
        Server::with(WebSocketOptions::new())
    }

    /// Pings would be noise in what the peers receive.
    fn with(options: WebSocketOptions) -> Server {
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
    fn watched() -> Server {
        let server = Server::new();
        watch(&server.log, &server.groups);
        server
    }

    /// A connection in memory.
    async fn open(&mut self, name: &'static str) -> (WebSocketConnection, Peer<DuplexStream>) {
        let (connection, peer, _) = self.serve(name, 1 << 20).await;
        (connection, peer)
    }

    async fn serve(&mut self, name: &'static str, capacity: usize) -> (WebSocketConnection, Peer<DuplexStream>, Serving) {
        let (mut peer, serving) = Peer::serve_with_capacity(&self.http, capacity);
        peer.shake_hands().await;
        let connection = self.opened.recv().await.expect("a connection");
        connection.set(Name(name));
        (connection, peer, serving)
    }

    /// A connection over a socket.
    async fn connect(&mut self, address: SocketAddr) -> (WebSocketConnection, Peer<TcpStream>) {
        let peer = Peer::open(address).await;
        (self.opened.recv().await.expect("a connection"), peer)
    }
}

/// Notes all events of a manager and its groups.
fn watch(log: &Log, groups: &GroupManager) {
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

/// Lets everybody else go on until nobody can: the paused clock moves only then.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

/// A net under tests over sockets and threads, which would hang otherwise.
async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(Duration::from_secs(60), future).await.expect("in time")
}

// When a group is there, and what is told.

#[tokio::test(start_paused = true)]
async fn a_group_exists_exactly_while_it_has_members() {
    let mut server = Server::watched();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let groups = server.groups.clone();
    assert!(groups.get("a").is_none());
    let group = groups.join("a", ann).unwrap();
    assert_eq!(groups.join("a", bob), Ok(group));
    assert_eq!((groups.get("a"), groups.len()), (Some(group), 1));
    assert!(groups.leave("a", ann));
    assert_eq!(groups.get("a"), Some(group));
    assert!(groups.leave("a", bob));
    assert_eq!((groups.get("a"), groups.len(), groups.is_empty()), (None, 0, true));
    let again = groups.join("a", ann).unwrap();
    assert_ne!(again, group, "the name is made anew, the group is another");
    assert_eq!(
        server.log.take(),
        ["create a", "join a ann", "join a bob", "leave a ann", "leave a bob", "destroy a", "create a", "join a ann"]
    );
}

#[tokio::test(start_paused = true)]
async fn in_the_create_listener_the_group_is_listed_and_empty_and_in_the_join_listener_the_member_is_in() {
    let mut server = Server::new();
    let (log, groups) = (server.log.clone(), server.groups.clone());
    server.groups.on("create", move |group| {
        let listed = groups.get("a") == Some(group) && groups.groups() == [group];
        log.add(format_args!("create: listed {listed}, {} in", group.len()));
        let log = log.clone();
        group.on("join", move |member| {
            log.add(format_args!("join: in {}, {:?}", group.contains(member), member.groups() == [group]));
        });
    });
    let (ann, _peer) = server.open("ann").await;
    server.groups.join("a", ann).unwrap();
    assert_eq!(server.log.take(), ["create: listed true, 0 in", "join: in true, true"]);
}

#[tokio::test(start_paused = true)]
async fn moving_leaves_and_ends_the_one_group_before_it_makes_and_joins_the_other() {
    let mut server = Server::watched();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    for connection in [ann, bob] {
        connection.set_group(Some("a")).unwrap();
    }
    server.log.take();
    ann.set_group(Some("b")).unwrap();
    assert_eq!(server.log.take(), ["leave a ann", "create b", "join b ann"]);
    bob.set_group(Some("c")).unwrap();
    assert_eq!(server.log.take(), ["leave a bob", "destroy a", "create c", "join c bob"]);
    bob.set_group(Some("b")).unwrap();
    assert_eq!(server.log.take(), ["leave c bob", "destroy c", "join b bob"]);
    assert_eq!(bob.group(), ann.group());
    assert_eq!(bob.group_name().as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn the_same_name_changes_nothing_and_none_leaves() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    assert_eq!((ann.group(), ann.group_name()), (None, None));
    ann.set_group(None).unwrap();
    assert!(server.log.take().is_empty(), "there was nothing to leave");
    ann.set_group(Some("a")).unwrap();
    let group = ann.group();
    ann.set_group(Some("a")).unwrap();
    assert_eq!((ann.group(), ann.groups().len()), (group, 1));
    ann.set_group(None).unwrap();
    assert_eq!((ann.group(), ann.group_name(), ann.groups()), (None, None, vec![]));
    assert_eq!(server.log.take(), ["create a", "join a ann", "leave a ann", "destroy a"]);
}

#[tokio::test(start_paused = true)]
async fn set_group_concerns_none_of_the_groups_that_were_joined_otherwise() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    let x = server.groups.join("x", ann).unwrap();
    ann.set_group(Some("a")).unwrap();
    let y = server.groups.join("y", ann).unwrap();
    ann.set_group(Some("b")).unwrap();
    let b = ann.group().unwrap();
    let groups: HashSet<_> = ann.groups().into_iter().collect();
    assert_eq!(groups, HashSet::from([x, y, b]));
    ann.set_group(None).unwrap();
    assert_eq!(ann.groups(), [x, y]);
    server.log.take();
    x.remove(ann);
    assert_eq!(server.log.take(), ["leave x ann", "destroy x"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_taken_out_of_the_group_that_set_group_chose_has_none() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    ann.set_group(Some("a")).unwrap();
    assert!(server.groups.leave("a", ann));
    assert_eq!((ann.group(), ann.groups()), (None, vec![]));
    ann.set_group(Some("a")).unwrap();
    assert_eq!(ann.group(), server.groups.get("a"));
}

#[tokio::test(start_paused = true)]
async fn joining_twice_is_told_once_and_leaving_twice_too() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    let groups = server.groups.clone();
    let group = groups.join("a", ann).unwrap();
    assert_eq!(groups.join("a", ann), Ok(group));
    assert_eq!(group.add(ann), Ok(()));
    ann.set_group(Some("a")).unwrap();
    assert_eq!((group.len(), ann.groups().len()), (1, 1));
    assert!(group.remove(ann));
    assert!(!group.remove(ann));
    assert!(!groups.leave("a", ann));
    assert!(!groups.leave("nobody", ann));
    assert_eq!(server.log.take(), ["create a", "join a ann", "leave a ann", "destroy a"]);
}

#[tokio::test(start_paused = true)]
async fn however_a_member_ends_its_close_listeners_run_then_leave_then_destroy() {
    for (how, code) in [
        ("it says Close", 4000),
        ("it sends a FIN", 1006),
        ("it is closed", 1000),
        ("it is cut", 1006),
        ("it breaks the protocol", 1002),
        ("a listener of it fails", 1011),
    ] {
        let mut server = Server::watched();
        let ((ann, mut peer, serving), (bob, mut other)) = (server.serve("ann", 1 << 20).await, server.open("bob").await);
        let log = server.log.clone();
        ann.on("close", move |ann: &WebSocketConnection, code: u16| {
            let group = ann.group().expect("it still answers");
            let (is_in, name) = (group.contains(*ann), ann.group_name().unwrap());
            log.add(format_args!("close {code} in {name}: {is_in}"));
        });
        ann.on("text", || Err::<(), _>("no"));
        for connection in [ann, bob] {
            connection.set_group(Some("a")).unwrap();
        }
        let group = server.groups.join("b", ann).unwrap();
        let room = ann.group().unwrap();
        let log = server.log.clone();
        room.on("leave", move |member| {
            log.add(format_args!("out {}, {:?}", !room.contains(member), member.group()));
            room.write(format!("{} has left", name(member)));
        });
        server.log.take();
        match how {
            "it says Close" => peer.send(close(4000, "bye")).await,
            "it sends a FIN" => drop(peer),
            "it is closed" => {
                ann.close();
                assert_eq!(peer.closed().await.0, Some(1000));
                peer.send(close(1000, "")).await;
            }
            "it is cut" => ann.terminate(),
            "it breaks the protocol" => peer.send([0x81, 0x00]).await,
            _ => {
                peer.send(text("fail")).await;
                assert_eq!(peer.closed().await.0, Some(1011));
                peer.send(close(1011, "")).await;
            }
        }
        if code == 1002 {
            // The server waits for the peer to end its side.
            settle().await;
            ann.terminate();
        }
        serving.await;
        let said = server.log.take();
        let close = format!("close {code} in a: true");
        assert_eq!(said[0], close, "{how}");
        let of = |group: &str| said.iter().filter(|entry| entry.ends_with(&format!("{group} ann"))).count();
        assert_eq!((of("leave a"), of("leave b")), (1, 1), "{how}: {said:?}");
        assert!(said.contains(&"out true, None".to_owned()), "{how}: {said:?}");
        let place = |entry: &str| said.iter().position(|other| other == entry);
        assert_eq!(said.iter().filter(|entry| *entry == "destroy b").count(), 1, "{how}: {said:?}");
        assert!(place("leave b ann") < place("destroy b"), "{how}: {said:?}");
        assert_eq!(place("destroy a"), None);
        assert_eq!((room.members(), group.members()), (vec![bob], vec![]));
        assert_eq!(other.text().await, "ann has left", "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_listener_that_takes_the_member_out_is_told_before_the_end_and_only_once() {
    let mut server = Server::watched();
    let (ann, peer, serving) = server.serve("ann", 1024).await;
    ann.set_group(Some("a")).unwrap();
    let log = server.log.clone();
    ann.on("close", move |ann: &WebSocketConnection| {
        ann.set_group(None).unwrap();
        assert_eq!(ann.set_group(Some("b")), Err(GroupError::Closed));
        log.add("close");
    });
    drop(peer);
    serving.await;
    assert_eq!(server.log.take(), ["create a", "join a ann", "leave a ann", "destroy a", "close"]);
}

#[tokio::test(start_paused = true)]
async fn removing_all_listeners_of_a_connection_does_not_keep_it_in_its_groups() {
    let mut server = Server::watched();
    let (ann, peer, serving) = server.serve("ann", 1024).await;
    ann.set_group(Some("a")).unwrap();
    assert_eq!(ann.listener_count("close"), 0, "what the group needs is not counted among the app's");
    ann.remove_all_listeners(None);
    ann.remove_all_listeners(Some("close"));
    drop(peer);
    serving.await;
    assert_eq!(server.log.take(), ["create a", "join a ann", "leave a ann", "destroy a"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_refused_after_it_joined_leaves_and_emits_nothing() {
    for (how, status) in [("rejected", 403), ("err", 500), ("panic", 500), ("too late", 503), ("gone", 0)] {
        let (groups, log) = (GroupManager::new(), Log::default());
        watch(&log, &groups);
        let options = WebSocketOptions::new().handshake_timeout(Duration::from_secs(1));
        let websocket = WebSocketMiddleware::new().with_options(options).with_group_manager(groups.clone());
        let joined = log.clone();
        websocket.on("connection", move |connection: WebSocketConnection| {
            joined.watch(connection);
            let closed = joined.clone();
            connection.on("close", move || closed.add("close"));
            async move {
                connection.set(Name("ann"));
                connection.set_group(Some("a")).unwrap();
                match how {
                    "rejected" => {
                        connection.reject(Response::new(403));
                        assert_eq!(connection.set_group(Some("b")), Err(GroupError::Closed));
                    }
                    "err" => return Err("no"),
                    "panic" => panic!("no"),
                    _ => sleep(Duration::from_secs(3600)).await,
                }
                Ok(())
            }
        });
        let (mut peer, serving) = Peer::serve(&HttpServer::new((websocket, router)));
        peer.send(HANDSHAKE).await;
        if how == "gone" {
            settle().await;
            drop(peer);
        } else {
            assert_eq!(peer.answer().await.status(), status, "{how}");
            drop(peer);
        }
        serving.await;
        assert_eq!(log.take(), ["create a", "join a ann", "leave a ann", "destroy a"], "{how}");
        assert!(groups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_in_the_connection_listener_gets_what_is_written_behind_the_101() {
    let (groups, decided) = (GroupManager::new(), Arc::new(Notify::new()));
    let websocket = WebSocketMiddleware::new().with_group_manager(groups.clone());
    let decide = decided.clone();
    websocket.on("connection", move |connection: WebSocketConnection| {
        let decide = decide.clone();
        async move {
            connection.set_group(Some("a")).unwrap();
            connection.write("one");
            decide.notified().await;
            connection.write("three");
        }
    });
    let (mut peer, _serving) = Peer::serve(&HttpServer::new((websocket, router)));
    peer.send(HANDSHAKE).await;
    settle().await;
    groups.write("a", "two");
    decided.notify_one();
    assert!(peer.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!((peer.text().await, peer.text().await, peer.text().await), ("one".into(), "two".into(), "three".into()));
}

// What is in the way of joining.

#[tokio::test(start_paused = true)]
async fn a_connection_may_be_in_so_many_groups_and_not_in_one_more() {
    let mut server = Server::with(WebSocketOptions::new().max_groups_per_connection(3));
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let groups = server.groups.clone();
    let log = server.log.clone();
    groups.on("create", move |group| log.add(format_args!("create {}", group.name())));
    let refused = GroupError::TooManyGroups { limit: 3 };
    ann.set_group(Some("a")).unwrap();
    groups.join("b", ann).unwrap();
    groups.join("c", ann).unwrap();
    let d = groups.join("d", bob).unwrap();
    assert_eq!(groups.join("d", ann), Err(refused));
    assert_eq!(d.add(ann), Err(refused));
    assert_eq!(groups.join("new", ann), Err(refused));
    assert_eq!(refused.to_string(), "the connection is in 3 groups, which is the limit");
    assert!(groups.get("new").is_none(), "nothing is left of a group that nobody came into");
    assert_eq!(groups.join("c", ann).unwrap(), groups.get("c").unwrap(), "one that it is in does not count again");
    ann.set_group(Some("e")).expect("it leaves one for it");
    groups.leave("b", ann);
    assert_eq!(d.add(ann), Ok(()));
    assert_eq!((ann.groups().len(), d.len(), bob.groups().len()), (3, 2, 1));
    let made = ["create a", "create b", "create c", "create d", "create e"];
    assert_eq!(server.log.take(), made, "a group that nobody may enter is not made");
    ann.set_group(None).unwrap();
    groups.join("f", ann).unwrap();
    assert_eq!(ann.set_group(Some("g")), Err(refused));
    assert_eq!(ann.group(), None);
}

/// A panic of an app's, in what a listener captured, is not one of who joins.
#[tokio::test(start_paused = true)]
async fn a_group_ends_though_a_listener_panics_when_it_is_dropped() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let mut server = Server::new();
    let (ann, _peer, serving) = server.serve("ann", 1024).await;
    let captured = PanicsWhenDropped;
    server.groups.once("create", move |_| _ = &captured);
    server.groups.join("a", ann).unwrap();
    ann.terminate();
    serving.await;
    assert!(server.groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn by_default_a_connection_may_be_in_1024_groups() {
    let mut server = Server::new();
    let (ann, _peer, serving) = server.serve("ann", 1024).await;
    for n in 0..1024 {
        server.groups.join(format!("{n}"), ann).unwrap();
    }
    assert_eq!(server.groups.join("one more", ann), Err(GroupError::TooManyGroups { limit: 1024 }));
    assert_eq!((server.groups.len(), ann.groups().len()), (1024, 1024));
    ann.terminate();
    serving.await;
    assert!(server.groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_groups_name_has_so_many_bytes_and_not_one_more() {
    for (options, limit) in [(WebSocketOptions::new(), 256), (WebSocketOptions::new().max_group_name(8), 8)] {
        let mut server = Server::with(options);
        watch(&server.log, &server.groups);
        let (ann, _peer) = server.open("ann").await;
        // Two bytes each, so that characters are not taken for bytes.
        let longest = "ä".repeat(limit / 2);
        let longer = format!("{longest}b");
        let refused = GroupError::NameTooLong { length: limit + 1, limit };
        assert_eq!(server.groups.join(longer.as_str(), ann), Err(refused));
        assert_eq!(ann.set_group(Some(&longer)), Err(refused));
        assert_eq!(refused.to_string(), format!("a group's name of {} bytes, the limit is {limit}", limit + 1));
        assert_eq!(server.log.take(), [""; 0], "no group was made for it");
        assert_eq!(server.groups.join(longest.as_str(), ann).unwrap().name(), longest.as_str());
        ann.set_group(Some(&longest)).unwrap();
        assert_eq!(ann.group_name().as_deref(), Some(longest.as_str()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_closing_or_closed_gets_into_no_group() {
    let mut server = Server::watched();
    let (bob, _b) = server.open("bob").await;
    let group = server.groups.join("a", bob).unwrap();
    let mut closed = Vec::new();
    for end in [WebSocketConnection::end, WebSocketConnection::close, WebSocketConnection::terminate] {
        let (ann, peer, serving) = server.serve("ann", 1024).await;
        end(&ann);
        closed.push((ann, peer, serving));
    }
    server.log.take();
    let check = |ann: WebSocketConnection| {
        assert_eq!(server.groups.join("a", ann), Err(GroupError::Closed));
        assert_eq!(server.groups.join("b", ann), Err(GroupError::Closed));
        assert_eq!(group.add(ann), Err(GroupError::Closed));
        assert_eq!(ann.set_group(Some("a")), Err(GroupError::Closed));
        assert_eq!(ann.set_group(None), Ok(()));
    };
    closed.iter().for_each(|(ann, ..)| check(*ann));
    for (ann, peer, serving) in closed {
        drop(peer);
        serving.await;
        check(ann);
    }
    assert_eq!((group.members(), server.groups.len()), (vec![bob], 1));
    assert_eq!(server.log.take(), [""; 0]);
    assert_eq!(GroupError::Closed.to_string(), "the connection is closed");
}

#[tokio::test(start_paused = true)]
async fn without_a_manager_there_is_no_group_to_set_but_others_can_be_joined() {
    let websocket = WebSocketMiddleware::new();
    let (open, mut opened) = mpsc::unbounded_channel();
    websocket.on("connection", move |connection| {
        let _ = open.send(connection);
    });
    let (_peer, _serving) = Peer::open_in_memory(&HttpServer::new((websocket, router))).await;
    let ann: WebSocketConnection = opened.recv().await.unwrap();
    assert_eq!(ann.set_group(Some("a")), Err(GroupError::NoManager));
    assert_eq!(ann.set_group(None), Ok(()));
    assert_eq!((ann.group(), ann.group_name(), ann.groups()), (None, None, vec![]));
    assert_eq!(GroupError::NoManager.to_string(), "the connection has no group manager");
    let groups = GroupManager::new();
    let group = groups.join("a", ann).unwrap();
    assert_eq!((ann.groups(), ann.group()), (vec![group], None));
}

#[tokio::test(start_paused = true)]
async fn a_handle_that_outlives_its_group_reaches_nobody_and_never_a_later_group() {
    let mut server = Server::new();
    let (ann, mut peer) = server.open("ann").await;
    let old = server.groups.join("a", ann).unwrap();
    old.set_slow_member_policy(SlowMemberPolicy::Close);
    old.remove(ann);
    // More than one, so that the place of the old one is taken again.
    let new: Vec<_> = (0..10).map(|n| server.groups.join(format!("{n}"), ann).unwrap()).collect();
    let new_a = server.groups.join("a", ann).unwrap();
    assert!(!new.contains(&old) && new_a != old);
    assert_eq!(old.name(), "");
    assert_eq!((old.len(), old.is_empty(), old.members(), old.contains(ann)), (0, true, vec![], false));
    assert_eq!(old.add(ann), Err(GroupError::Gone));
    assert_eq!(GroupError::Gone.to_string(), "the group is gone");
    assert!(!old.remove(ann));
    old.write("to nobody");
    old.write_all("to nobody");
    old.write_binary("to nobody");
    old.write_except(ann, "to nobody");
    old.close_all("nobody", 4000);
    let listener = old.on("join", |_| panic!("never called"));
    old.once("leave", |_| panic!("never called"));
    assert_eq!((old.listener_count("join"), old.dropped()), (0, 0));
    old.remove_listener(listener);
    old.remove_all_listeners(None);
    assert_eq!(old.into_iter().count(), 0);
    new_a.write("to the new one");
    assert_eq!(peer.text().await, "to the new one");
    assert!(ann.is_writable());
}

#[tokio::test(start_paused = true)]
async fn the_groups_of_a_manager_that_is_gone_still_let_their_members_out() {
    let mut server = Server::new();
    let ((ann, _a), (bob, peer, serving)) = (server.open("ann").await, server.serve("bob", 1024).await);
    let groups = GroupManager::new();
    let group = groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    drop(groups);
    drop(peer);
    serving.await;
    assert!(!group.contains(bob), "a connection that has ended is in no group");
    assert!(group.remove(ann));
    assert_eq!((group.members(), ann.groups()), (vec![], vec![]));
}

// Looking at groups.

#[tokio::test(start_paused = true)]
async fn a_group_answers_who_is_in_it() {
    let mut server = Server::new();
    let ((ann, _a), (bob, _b), (cid, _c)) = (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    let groups = server.groups.clone();
    let a = groups.join("a", ann).unwrap();
    a.add(bob).unwrap();
    let b = groups.join(String::from("b"), bob).unwrap();
    assert_eq!((a.name().as_str(), b.name().as_str()), ("a", "b"));
    assert_eq!((a.len(), b.len(), a.is_empty(), groups.len(), groups.is_empty()), (2, 1, false, 2, false));
    assert_eq!((a.contains(ann), a.contains(bob), a.contains(cid), b.contains(ann)), (true, true, false, false));
    assert_eq!(a.members(), [ann, bob], "in the order in which they came");
    assert_eq!(a.into_iter().map(name).collect::<Vec<_>>(), ["ann", "bob"]);
    let mut names = Vec::new();
    for member in &a {
        names.push(name(member));
    }
    assert_eq!(names, ["ann", "bob"]);
    assert_eq!((groups.get("a"), groups.get("b"), groups.get("c")), (Some(a), Some(b), None));
    let all: HashSet<_> = groups.groups().into_iter().collect();
    assert_eq!(all, HashSet::from([a, b]));
    assert_eq!((ann.groups(), bob.groups(), cid.groups()), (vec![a], vec![a, b], vec![]));
    let same = groups.clone();
    drop(groups);
    assert_eq!(same.get("a"), Some(a), "clones are the same manager");
    for member in a {
        a.remove(member);
    }
    assert_eq!(same.get("a"), None, "the members may go while they are iterated over");
}

#[test]
fn a_handle_is_an_address_of_16_bytes_that_any_thread_may_use() {
    fn is_an_address<T: Copy + Eq + std::hash::Hash + Send + Sync + 'static>() {}
    is_an_address::<ConnectionGroup>();
    assert!(size_of::<ConnectionGroup>() <= 16);
    assert_eq!(size_of::<Option<ConnectionGroup>>(), 16);
}

#[tokio::test(start_paused = true)]
async fn managers_do_not_know_each_others_groups() {
    let mut server = Server::new();
    let (ann, _peer) = server.open("ann").await;
    let (ours, others) = (server.groups.clone(), GroupManager::default());
    let (a, b) = (ours.join("a", ann).unwrap(), others.join("a", ann).unwrap());
    assert_ne!(a, b);
    assert!(others.leave("a", ann));
    assert_eq!((ours.get("a"), others.get("a"), ann.groups()), (Some(a), None, vec![a]));
}

// What reaches whom.

#[tokio::test(start_paused = true)]
async fn each_way_to_write_reaches_its_members_and_nobody_else() {
    let mut server = Server::new();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    let groups = server.groups.clone();
    let group = groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    group.write("write");
    group.write_all(String::from("write_all"));
    group.write_binary([1, 2, 3]);
    group.write_except(ann, "not ann");
    group.write_binary_except(bob, "not bob");
    groups.write("a", "by name");
    groups.write_binary("a", b"binary by name");
    groups.write("nobody", "lost");
    groups.write_binary("nobody", "lost");
    assert!(groups.get("nobody").is_none(), "writing to a name makes no group");
    group.write("");
    server.websocket.write_all("the end");
    let all = |frames: &[(u8, &[u8])]| {
        frames.iter().flat_map(|(opcode, payload)| server_frame(0x80 | *opcode, payload)).collect::<Vec<_>>()
    };
    let of_ann: [(u8, &[u8]); 8] = [
        (1, b"write"),
        (1, b"write_all"),
        (2, &[1, 2, 3]),
        (2, b"not bob"),
        (1, b"by name"),
        (2, b"binary by name"),
        (1, b""),
        (1, b"the end"),
    ];
    let of_bob =
        of_ann.map(|(opcode, payload)| if payload == b"not bob" { (1, &b"not ann"[..]) } else { (opcode, payload) });
    for (peer, frames) in [(&mut a, all(&of_ann)), (&mut b, all(&of_bob)), (&mut c, all(&[(1, b"the end")]))] {
        settle().await;
        assert_eq!(peer.exactly(frames.len()).await, frames);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_closes_gets_nothing_more_and_stays_in_until_it_is_closed() {
    let mut server = Server::new();
    let ((ann, mut a, serving), (bob, mut b)) = (server.serve("ann", 1024).await, server.open("bob").await);
    let group = server.groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    group.write("before");
    ann.close();
    group.write("after");
    assert_eq!(group.len(), 2);
    assert_eq!(a.text().await, "before");
    assert_eq!(a.closed().await, (Some(1000), String::new()));
    a.send(close(1000, "")).await;
    serving.await;
    assert_eq!(group.members(), [bob]);
    assert_eq!((b.text().await, b.text().await), ("before".into(), "after".into()));
}

#[tokio::test(start_paused = true)]
async fn close_all_says_the_reason_and_the_code_behind_what_is_queued_and_members_leave_when_they_are_closed() {
    let mut server = Server::watched();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    let group = server.groups.join("a", ann).unwrap();
    group.add(bob).unwrap();
    server.log.take();
    group.write("last");
    group.close_all("the room is closed", 4001);
    assert_eq!((group.len(), server.log.take()), (2, vec![]));
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.text().await, "last");
        assert_eq!(peer.closed().await, (Some(4001), "the room is closed".into()));
        peer.send(close(4001, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert_eq!(server.log.take(), ["leave a ann", "leave a bob", "destroy a"]);
    server.websocket.write_all("still there");
    assert_eq!(c.text().await, "still there");
}

#[tokio::test(start_paused = true)]
async fn a_manager_closes_the_members_of_all_its_groups() {
    let mut server = Server::new();
    let ((ann, mut a), (bob, mut b), (_cid, mut c)) =
        (server.open("ann").await, server.open("bob").await, server.open("cid").await);
    for (group, connection) in [("a", ann), ("b", bob), ("c", bob)] {
        server.groups.join(group, connection).unwrap();
    }
    server.groups.close_all("over", 4002);
    for peer in [&mut a, &mut b] {
        assert_eq!(peer.closed().await, (Some(4002), "over".into()));
        peer.send(close(4002, "")).await;
        assert!(peer.ended().await);
    }
    settle().await;
    assert!(server.groups.is_empty());
    server.websocket.write_all("still there");
    assert_eq!(c.text().await, "still there");
}

// Listeners.

#[tokio::test(start_paused = true)]
async fn the_other_names_of_the_managers_events_are_the_same_events() {
    let mut server = Server::new();
    let log = server.log.clone();
    for event in ["created", "create", "destroyed", "destroy"] {
        let log = log.clone();
        server.groups.on(event, move |_| log.add(event));
    }
    assert_eq!((server.groups.listener_count("create"), server.groups.listener_count("destroyed")), (2, 2));
    let (ann, _peer) = server.open("ann").await;
    ann.set_group(Some("a")).unwrap();
    ann.set_group(None).unwrap();
    assert_eq!(server.log.take(), ["created", "create", "destroyed", "destroy"]);
}

#[tokio::test(start_paused = true)]
async fn on_listeners_come_before_once_listeners_and_can_be_removed_and_counted() {
    let mut server = Server::new();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let (groups, log) = (server.groups.clone(), server.log.clone());
    let say = |what: &'static str| {
        let log = log.clone();
        move |group: ConnectionGroup| log.add(format_args!("{what} {}", group.name()))
    };
    groups.once("create", say("once"));
    groups.on("create", say("on"));
    let removed = groups.on("create", say("removed"));
    groups.remove_listener(removed);
    groups.remove_listener(removed);
    assert_eq!((groups.listener_count("create"), groups.listener_count("destroy")), (2, 0));
    let (a, b) = (groups.join("a", ann).unwrap(), groups.join("b", ann).unwrap());
    assert_eq!(log.take(), ["on a", "once a", "on b"]);
    groups.on("destroy", say("destroy"));
    groups.remove_all_listeners(Some("create"));
    assert_eq!((groups.listener_count("created"), groups.listener_count("destroy")), (0, 1));
    groups.remove_all_listeners(None);
    assert_eq!(groups.listener_count("destroy"), 0);

    let say = |what: &'static str| {
        let log = log.clone();
        move |member: WebSocketConnection| log.add(format_args!("{what} {}", name(member)))
    };
    a.once("join", say("once"));
    a.on("join", say("on"));
    let removed = a.on("leave", say("removed"));
    a.on("leave", say("leave"));
    a.remove_listener(removed);
    assert_eq!((a.listener_count("join"), a.listener_count("leave"), b.listener_count("join")), (2, 1, 0));
    for _ in 0..2 {
        a.add(bob).unwrap();
        a.remove(bob);
    }
    assert_eq!(log.take(), ["on bob", "once bob", "leave bob", "on bob", "leave bob"]);
    a.remove_all_listeners(Some("join"));
    assert_eq!((a.listener_count("join"), a.listener_count("leave")), (0, 1));
    a.remove_all_listeners(None);
    a.add(bob).unwrap();
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_event_name_is_told_the_valid_ones() {
    let mut server = Server::new();
    let (ann, _peer) = server.open("ann").await;
    let group = server.groups.join("a", ann).unwrap();
    for (object, valid, error) in [
        ("a GroupManager", "create, destroy", server.groups.try_on("no", |_| {}).unwrap_err()),
        ("a ConnectionGroup", "join, leave, drop", group.try_on("joined", |_| {}).unwrap_err()),
    ] {
        let ListenerError::UnknownEvent { name, hint, .. } = &error else { panic!("{error}") };
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        assert_eq!(error.to_string(), format!("there is no event {name:?} on {object}; its events are {valid}{hint}"));
    }
    let groups = server.groups.clone();
    let mistakes: [&dyn Fn(); 8] = [
        &|| _ = groups.on("Join", |_| {}),
        &|| _ = groups.once("Join", |_| {}),
        &|| _ = groups.listener_count("Join"),
        &|| groups.remove_all_listeners(Some("Join")),
        &|| _ = group.on("Join", |_| {}),
        &|| _ = group.once("Join", |_| {}),
        &|| _ = group.listener_count("Join"),
        &|| group.remove_all_listeners(Some("Join")),
    ];
    for mistake in mistakes {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(mistake)).expect_err("a panic");
        let message = panic.downcast_ref::<String>().expect("a message");
        assert!(message.starts_with("there is no event \"Join\" on "), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn listeners_may_keep_state_and_return_what_write_or_set_group_answers() {
    let mut server = Server::new();
    let log = server.log.clone();
    let mut created = 0;
    server.groups.on("create", move |group| {
        created += 1;
        log.add(format_args!("group {created}"));
        let (log, mut members) = (log.clone(), Vec::new());
        group.on("join", move |member| {
            members.push(name(member));
            log.add(members.join(" "));
        });
        group.on("join", |member| member.write("welcome"));
        group.on("leave", |_| Ok::<(), Error>(()));
        group.on("leave", |member| member.set_group(None));
    });
    let ((ann, mut peer), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    for connection in [ann, bob] {
        server.groups.join("a", connection).unwrap();
    }
    server.groups.join("b", ann).unwrap();
    assert_eq!(server.log.take(), ["group 1", "ann", "ann bob", "group 2", "ann"]);
    assert_eq!(peer.text().await, "welcome");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_ends_its_member_and_keeps_nobody_from_being_told() {
    for fails in ["join", "leave"] {
        for panics in [false, true] {
            let mut server = Server::watched();
            let log = server.log.clone();
            server.groups.on("create", move |group| {
                group.on(fails, move |member| match name(member) {
                    "ann" if panics => panic!("not ann"),
                    "ann" => Err("not ann"),
                    _ => Ok(()),
                });
                let log = log.clone();
                group.on(fails, move |member| log.add(format_args!("after it {}", name(member))));
            });
            let ((bob, mut b), (ann, mut a, serving)) = (server.open("bob").await, server.serve("ann", 1024).await);
            let log = server.log.clone();
            ann.on("error", move |reason: Option<&str>, code: Option<u16>| {
                log.add(format_args!("error {} {}", code.unwrap(), reason.unwrap()));
            });
            bob.set_group(Some("a")).unwrap();
            server.log.take();
            ann.set_group(Some("a")).expect("it is in, before it is out again");
            if fails == "leave" {
                ann.set_group(None).unwrap();
            }
            assert_eq!(a.closed().await, (Some(1011), "internal error".into()));
            a.send(close(1011, "")).await;
            drop(a);
            serving.await;
            let error = "error 1011 a listener failed: not ann";
            let expected = match fails {
                "join" => ["join a ann", "after it ann", error, "leave a ann"],
                _ => ["join a ann", "leave a ann", "after it ann", error],
            };
            assert_eq!(server.log.take(), expected);
            let group = bob.group().unwrap();
            assert_eq!(group.members(), [bob]);
            group.write("going on");
            assert_eq!(b.text().await, "going on");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_manager_listener_that_fails_ends_nobody_and_keeps_nobody_from_being_told() {
    let mut server = Server::new();
    for event in ["create", "destroy"] {
        server.groups.on(event, |_| -> () { panic!("no") });
        server.groups.on(event, |_| Err::<(), _>("no"));
    }
    watch(&server.log, &server.groups);
    let (ann, mut peer) = server.open("ann").await;
    for _ in 0..2 {
        server.groups.join("a", ann).unwrap();
        server.groups.leave("a", ann);
    }
    ann.write("still there");
    assert_eq!(peer.text().await, "still there");
    let one = ["create a", "join a ann", "leave a ann", "destroy a"];
    assert_eq!(server.log.take(), [one, one].concat());
}

#[tokio::test(start_paused = true)]
async fn listeners_and_what_they_hold_go_with_their_group() {
    let mut server = Server::new();
    let (ann, _peer) = server.open("ann").await;
    let held = Arc::new(());
    let group = server.groups.join("a", ann).unwrap();
    for event in ["join", "leave", "drop"] {
        let held = held.clone();
        group.on(event, move |_| drop(held.clone()));
    }
    assert_eq!(Arc::strong_count(&held), 4);
    group.remove(ann);
    assert_eq!(Arc::strong_count(&held), 1);
    let mine = held.clone();
    group.on("join", move |_| drop(mine.clone()));
    assert_eq!(Arc::strong_count(&held), 1, "on a group that is gone it is accepted and does nothing");
}

#[tokio::test(start_paused = true)]
async fn what_a_listener_changes_is_told_after_it_and_never_within_it() {
    let mut server = Server::new();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let (log, groups) = (server.log.clone(), server.groups.clone());
    let (inside, depth) = (log.clone(), Arc::new(AtomicUsize::new(0)));
    server.groups.on("create", move |group| {
        for event in ["join", "leave"] {
            let (log, groups, depth) = (inside.clone(), groups.clone(), depth.clone());
            group.on(event, move |member| {
                assert_eq!(depth.fetch_add(1, Ordering::Relaxed), 0, "a listener runs within another");
                log.add(format_args!("{event} {} {} begins", group.name(), name(member)));
                match (event, group.name().as_str()) {
                    ("join", "a") => drop(groups.join("b", bob).unwrap()),
                    ("join", "b") => drop(groups.leave("a", ann)),
                    ("leave", "a") => drop(groups.leave("b", bob)),
                    _ => {}
                }
                log.add(format_args!("{event} {} {} ends", group.name(), name(member)));
                depth.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    watch(&Log::default(), &server.groups);
    server.groups.join("a", ann).unwrap();
    assert!(server.groups.is_empty());
    let told: Vec<_> = ["join a ann", "join b bob", "leave a ann", "leave b bob"]
        .iter()
        .flat_map(|event| [format!("{event} begins"), format!("{event} ends")])
        .collect();
    assert_eq!(log.take(), told);
}

#[tokio::test(start_paused = true)]
async fn a_listener_added_by_a_listener_of_the_same_event_first_runs_at_the_next() {
    let mut server = Server::new();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let group = server.groups.join("a", ann).unwrap();
    let log = server.log.clone();
    group.once("join", move |_| {
        log.add("first");
        let log = log.clone();
        group.on("join", move |member| log.add(format_args!("added {}", name(member))));
    });
    group.add(bob).unwrap();
    assert_eq!(server.log.take(), ["first"]);
    group.remove(bob);
    group.add(bob).unwrap();
    assert_eq!(server.log.take(), ["added bob"]);
}

/// Calls all that can be called, which waits for ever if somebody holds a lock.
fn call_everything(groups: &GroupManager, group: ConnectionGroup, member: WebSocketConnection) {
    let _ = (groups.get("a"), groups.groups(), groups.len(), groups.is_empty(), format!("{groups:?} {group:?} {member:?}"));
    let _ = (group.name(), group.len(), group.is_empty(), group.members(), group.contains(member), group.dropped());
    let _ = (member.group(), member.group_name(), member.groups(), member.is_writable(), member.get::<Name>());
    groups.write("a", "x");
    groups.write_binary("a", "x");
    group.write("x");
    group.write_except(member, "x");
    group.write_binary_except(member, "x");
    member.write("x");
    cork(|| group.write_all("x"));
    group.set_slow_member_policy(SlowMemberPolicy::KeepLatest);
    let (of_group, of_manager) = (group.on("join", |_| {}), groups.on("create", |_| {}));
    group.remove_listener(of_group);
    groups.remove_listener(of_manager);
    let _ = (group.listener_count("leave"), groups.listener_count("destroy"), member.listener_count("close"));
    let _ = groups.join("other", member).map(|other| other.remove(member));
    let _ = group.add(member).map(|()| member.on("close", || {}));
    group.remove_all_listeners(Some("drop"));
}

#[test]
fn listeners_may_call_anything_and_other_threads_may_meanwhile() {
    let (done, finished) = blocking::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut server = Server::new();
            let (groups, log) = (server.groups.clone(), server.log.clone());
            let (ann, _peer, serving) = server.serve("ann", 1 << 20).await;
            let call = move |event: &'static str, group: ConnectionGroup| {
                if group.name() == "other" {
                    return;
                }
                call_everything(&groups, group, ann);
                // Nobody else is held up by a listener that takes its time.
                let (called, has_called) = blocking::channel();
                let groups = groups.clone();
                std::thread::spawn(move || {
                    call_everything(&groups, group, ann);
                    let _ = called.send(());
                });
                let called = has_called.recv_timeout(Duration::from_secs(20));
                log.add(format_args!("{event} {}", if called.is_ok() { "called" } else { "is in the way" }));
            };
            let of_groups = call.clone();
            server.groups.once("create", move |group| {
                of_groups("create", group);
                for event in ["join", "leave"] {
                    let call = of_groups.clone();
                    group.once(event, move |_| call(event, group));
                }
            });
            server.groups.on("destroy", move |group| call("destroy", group));
            ann.set_group(Some("a")).unwrap();
            ann.set_group(None).unwrap();
            // A `leave` listener above has put it back.
            ann.terminate();
            serving.await;
            assert!(server.groups.is_empty());
            let _ = done.send(server.log.take());
        });
    });
    let log = finished.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
    assert_eq!(log, ["create called", "join called", "leave called", "destroy called"]);
}

// Changing groups in listeners.

#[tokio::test(start_paused = true)]
async fn in_the_join_listener_group_answers_the_group_that_was_joined() {
    let mut server = Server::new();
    let log = server.log.clone();
    server.groups.on("create", move |group| {
        let log = log.clone();
        group.on("join", move |member| log.add(format_args!("in {:?}", member.group_name())));
    });
    let (ann, _peer) = server.open("ann").await;
    ann.set_group(Some("a")).unwrap();
    ann.set_group(Some("b")).unwrap();
    assert_eq!(server.log.take(), [r#"in Some("a")"#, r#"in Some("b")"#]);
}

/// Has a listener of `event` set another group while the connection is being moved from `old` to `new`.
async fn set_group_within(event: &'static str) -> (WebSocketConnection, Server, Peer<DuplexStream>) {
    let mut server = Server::watched();
    let (ann, peer) = server.open("ann").await;
    ann.set_group(Some("old")).unwrap();
    let set = move || ann.set_group(Some("listener's")).unwrap();
    match event {
        "create" => server.groups.on("create", move |group| {
            if group.name() == "new" {
                set()
            }
        }),
        "destroy" => server.groups.on("destroy", move |group| {
            if group.name() == "old" {
                set()
            }
        }),
        "leave" => ann.group().unwrap().on("leave", move |_| set()),
        _ => server.groups.on("create", move |group| {
            group.on("join", move |_| {
                if group.name() == "new" {
                    set()
                }
            });
        }),
    };
    ann.set_group(Some("new")).unwrap();
    (ann, server, peer)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_in_one_group_even_if_a_listener_sets_another_while_it_is_moved() {
    let mut wrong = Vec::new();
    for event in ["join", "create", "leave", "destroy"] {
        let (ann, server, _peer) = set_group_within(event).await;
        let names: Vec<_> = ann.groups().iter().map(|group| group.name().to_string()).collect();
        if names.len() != 1 || Some(names[0].as_str()) != ann.group_name().as_deref() {
            wrong.push(format!("in {event}: in {names:?}, group() is {:?}", ann.group_name()));
        }
        ann.set_group(None).unwrap();
        if !server.groups.is_empty() {
            wrong.push(format!("in {event}: set_group(None) leaves it in {:?}", ann.groups()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(start_paused = true)]
async fn a_join_listener_may_send_its_member_to_another_group() {
    let (ann, server, _peer) = set_group_within("join").await;
    assert_eq!(ann.group_name().as_deref(), Some("listener's"), "what was set last");
    let told = server.log.take();
    let expected = [
        "create old",
        "join old ann",
        "leave old ann",
        "destroy old",
        "create new",
        "join new ann",
        "leave new ann",
        "destroy new",
        "create listener's",
        "join listener's ann",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_listeners_send_back_and_forth_is_in_the_group_that_was_set_last() {
    let mut server = Server::new();
    let (ann, _peer) = server.open("ann").await;
    server.groups.on("create", |group| {
        let (mut joins, mut leaves) = (0, 0);
        group.on("leave", move |member| {
            leaves += 1;
            if group.name() == "a" && leaves == 1 {
                member.set_group(Some("b"))?;
            }
            Ok::<(), GroupError>(())
        });
        group.on("join", move |member| {
            joins += 1;
            if group.name() == "c" && joins == 1 {
                member.set_group(Some("b"))?;
            }
            Ok::<(), GroupError>(())
        });
    });
    ann.set_group(Some("a")).unwrap();
    // The first listener puts it into `b` before it is in `c`, the second when it is.
    ann.set_group(Some("c")).unwrap();
    assert_eq!(ann.group_name().as_deref(), Some("b"));
    assert_eq!(ann.groups(), [ann.group().unwrap()]);
    assert_eq!(server.groups.groups(), ann.groups());
    assert!(ann.is_writable(), "no listener failed");
}

#[tokio::test(start_paused = true)]
async fn a_leave_listener_may_keep_its_group_alive() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    let group = server.groups.join("a", ann).unwrap();
    let groups = server.groups.clone();
    group.once("leave", move |member| {
        assert_eq!((groups.get("a"), group.len()), (Some(group), 0), "it is still there");
        assert_eq!(groups.join("a", member), Ok(group));
    });
    assert!(group.remove(ann));
    assert_eq!((group.members(), server.groups.get("a")), (vec![ann], Some(group)));
    assert_eq!(server.log.take(), ["create a", "join a ann", "leave a ann", "join a ann"]);
    group.remove(ann);
    assert_eq!(server.log.take(), ["leave a ann", "destroy a"]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_and_goes_while_the_last_leave_is_told_is_told_of_before_destroy() {
    let mut server = Server::watched();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    let group = server.groups.join("a", ann).unwrap();
    group.once("leave", move |_| {
        group.add(bob).unwrap();
        group.remove(bob);
    });
    group.remove(ann);
    assert!(server.groups.is_empty());
    let told = ["create a", "join a ann", "leave a ann", "join a bob", "leave a bob", "destroy a"];
    assert_eq!(server.log.take(), told);
}

/// Another thread may be about telling what happened before, and tell it later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_attached_to_a_member_is_there_until_its_leave_has_been_told() {
    in_time(async {
        let mut server = Server::watched();
        let (ann, _ann) = server.open("ann").await;
        let (bob, peer, serving) = server.serve("bob", 1 << 16).await;
        let group = server.groups.join("a", ann).unwrap();
        group.add(bob).unwrap();
        let ((enter, entered), (let_go, gate)) = (blocking::channel::<()>(), blocking::channel::<()>());
        group.once("leave", move |_| {
            let _ = enter.send(());
            let _ = gate.recv();
        });
        let telling = tokio::task::spawn_blocking(move || group.remove(ann));
        tokio::task::spawn_blocking(move || entered.recv()).await.unwrap().unwrap();
        drop(peer);
        serving.await;
        drop(let_go);
        assert!(telling.await.unwrap());
        let told = ["create a", "join a ann", "join a bob", "leave a ann", "leave a bob", "destroy a"];
        assert_eq!(server.log.take(), told);
        assert!(bob.get::<Name>().is_none(), "it goes with the connection");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn in_a_destroy_listener_the_group_has_its_name_and_takes_nobody_and_the_name_is_free() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    let (groups, log) = (server.groups.clone(), server.log.clone());
    server.groups.once("destroy", move |group| {
        log.add(format_args!("{} {} {:?}", group.name(), group.len(), groups.get("a")));
        assert_eq!(group.add(ann), Err(GroupError::Gone));
        let new = groups.join("a", ann).unwrap();
        assert_ne!(new, group);
    });
    let group = server.groups.join("a", ann).unwrap();
    group.remove(ann);
    assert_eq!((group.name().as_str(), server.groups.get("a").map(|group| group.len())), ("", Some(1)));
    let told = ["create a", "join a ann", "leave a ann", "destroy a", "a 0 None", "create a", "join a ann"];
    assert_eq!(server.log.take(), told);
}

#[tokio::test(start_paused = true)]
async fn a_create_listener_may_take_the_name_apart_and_the_join_still_succeeds() {
    let mut server = Server::watched();
    let ((ann, _a), (bob, _b)) = (server.open("ann").await, server.open("bob").await);
    server.groups.once("create", move |group| {
        group.add(bob).unwrap();
        group.remove(bob);
    });
    let group = server.groups.join("a", ann).unwrap();
    assert_eq!((group.members(), server.groups.get("a")), (vec![ann], Some(group)));
    assert_eq!(server.log.take(), ["create a", "join a bob", "leave a bob", "join a ann"]);
}

// Races. What is told is kept, and must be a history that can be: see `Record::check`.

/// All that groups tell, in order.
#[derive(Clone, Default)]
struct Record {
    told: Arc<Mutex<Vec<(ConnectionGroup, Told)>>>,
    inside: Arc<AtomicBool>,
    overlaps: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Create,
    Destroy,
    Join(WebSocketConnection),
    Leave(WebSocketConnection),
}

impl Record {
    fn of(groups: &GroupManager) -> Record {
        let record = Record::default();
        let (created, destroyed) = (record.clone(), record.clone());
        groups.on("create", move |group| {
            created.note(group, Told::Create);
            let (joined, left) = (created.clone(), created.clone());
            group.on("join", move |member| joined.note(group, Told::Join(member)));
            group.on("leave", move |member| left.note(group, Told::Leave(member)));
        });
        groups.on("destroy", move |group| destroyed.note(group, Told::Destroy));
        record
    }

    fn note(&self, group: ConnectionGroup, told: Told) {
        // A panic here would be an error of the listener, and be lost.
        self.overlaps.fetch_or(self.inside.swap(true, Ordering::SeqCst), Ordering::SeqCst);
        self.told.lock().unwrap().push((group, told));
        self.inside.store(false, Ordering::SeqCst);
    }

    /// Each group: `create`, then each `leave` after its `join`, then `destroy` when nobody is in, and nothing after it.
    /// Returns how many groups there were, and how many joins.
    fn check(&self, groups: &GroupManager) -> (usize, usize) {
        let told = self.told.lock().unwrap();
        let mut alive: HashMap<ConnectionGroup, HashSet<WebSocketConnection>> = HashMap::new();
        let mut all = HashSet::new();
        for (place, (group, what)) in told.iter().enumerate() {
            let fits = match what {
                Told::Create => all.insert(*group) && alive.insert(*group, HashSet::new()).is_none(),
                Told::Join(member) => alive.get_mut(group).is_some_and(|members| members.insert(*member)),
                Told::Leave(member) => alive.get_mut(group).is_some_and(|members| members.remove(member)),
                Told::Destroy => alive.remove(group).is_some_and(|members| members.is_empty()),
            };
            let before = told[..place].iter().filter(|(other, _)| other == group).map(|(_, what)| what);
            assert!(fits, "{what:?} after {:?}", before.collect::<Vec<_>>());
        }
        assert!(alive.is_empty(), "still there: {alive:?}");
        assert!(!self.overlaps.load(Ordering::SeqCst), "two listeners at the same time");
        assert_eq!(groups.len(), 0, "{groups:?}");
        (all.len(), told.iter().filter(|(_, what)| matches!(what, Told::Join(_))).count())
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Puts a connection into some group, in some way, or takes it out.
fn stir(groups: &GroupManager, connection: WebSocketConnection) {
    let name = NAMES[fastrand::usize(..NAMES.len())];
    match fastrand::u8(..8) {
        0 | 1 => drop(groups.join(name, connection)),
        2 | 3 => drop(connection.set_group(Some(name))),
        4 => drop(groups.get(name).map(|group| group.add(connection))),
        5 => drop(connection.set_group(None)),
        6 => groups.write(name, "stirred"),
        _ => drop(groups.leave(name, connection)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joins_that_race_with_every_kind_of_end_are_told_in_pairs() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        // Listeners that fail are in the race too.
        let joins = AtomicUsize::new(0);
        server.groups.on("create", move |group| {
            let odd = joins.fetch_add(1, Ordering::Relaxed) % 5;
            group.on("join", move |_| if odd == 4 && fastrand::u8(..8) == 0 { Err("at times") } else { Ok(()) });
        });
        let mut tasks = Vec::new();
        for n in 0..400 {
            let (connection, mut peer, serving) = server.serve("", 1 << 16).await;
            for _ in 0..2 {
                let groups = server.groups.clone();
                tasks.push(tokio::spawn(async move {
                    while connection.is_writable() {
                        stir(&groups, connection);
                        tokio::task::yield_now().await;
                    }
                    // It may go on a little after the end.
                    stir(&groups, connection);
                }));
            }
            tasks.push(tokio::spawn(async move {
                for _ in 0..fastrand::u8(..8) {
                    tokio::task::yield_now().await;
                }
                match n % 4 {
                    0 => {}
                    1 => peer.send(close(1000, "")).await,
                    2 => connection.close(),
                    _ => connection.terminate(),
                }
                drop(peer);
                serving.await;
                let stale = connection.groups();
                assert!(stale.is_empty(), "{stale:?}");
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert!(record.check(&server.groups).1 > 400);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_leave_that_races_with_a_new_join_makes_one_destroy_for_each_create() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        let mut threads = Vec::new();
        let mut peers = Vec::new();
        let added = Arc::new(AtomicUsize::new(0));
        for n in 0..3 {
            let (connection, peer) = server.open("").await;
            peers.push(peer);
            let (groups, added) = (server.groups.clone(), added.clone());
            threads.push(std::thread::spawn(move || {
                let mut rounds = 0;
                while rounds < 3000 || added.load(Ordering::Relaxed) < 100 {
                    rounds += 1;
                    match n {
                        0 => connection.set_group(Some("a")).unwrap(),
                        1 => drop(groups.join("a", connection).unwrap()),
                        // The group may go between the two.
                        _ => match groups.get("a").map(|group| group.add(connection)) {
                            None | Some(Err(GroupError::Gone)) => {}
                            Some(Ok(())) => drop(added.fetch_add(1, Ordering::Relaxed)),
                            Some(Err(error)) => panic!("{error}"),
                        },
                    }
                    let is_in = groups.get("a").is_some_and(|group| group.contains(connection));
                    assert!(is_in || n == 2, "a join that succeeded holds until the leave");
                    assert!(groups.leave("a", connection) || n == 2);
                }
            }));
        }
        for thread in threads {
            tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        }
        assert!(record.check(&server.groups).1 >= 6100);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_make_a_group_at_the_same_time_are_told_after_it() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        let (mut threads, mut peers) = (Vec::new(), Vec::new());
        // Those of one name make it and end it again and again; all of them are in each other's way at the manager.
        for name in ["a", "a", "a", "b", "b", "b", "c", "d"] {
            let (connection, peer) = server.open("").await;
            peers.push(peer);
            let groups = server.groups.clone();
            threads.push(tokio::task::spawn_blocking(move || {
                for _ in 0..4000 {
                    groups.join(name, connection).unwrap();
                    assert!(groups.leave(name, connection));
                }
            }));
        }
        for thread in threads {
            thread.await.unwrap();
        }
        assert_eq!(record.check(&server.groups).1, 8 * 4000, "each join is told");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_join_at_the_very_end_of_a_connection_is_refused_or_left_again() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        // Each joins every connection, about when it ends; to be held up in the middle of it there are many of them.
        let joiners: Vec<_> = (0..4)
            .map(|_| {
                let (groups, (begin, connections)) = (server.groups.clone(), blocking::channel());
                let (done, joined) = blocking::channel();
                std::thread::spawn(move || {
                    for connection in connections {
                        let joined = groups.join("a", connection).is_ok();
                        // Others who look at the connection make its lock one to wait for.
                        while connection.is_writable() {}
                        let _ = done.send(joined);
                    }
                });
                (begin, joined)
            })
            .collect();
        for n in 0..2500 {
            let (connection, peer, serving) = server.serve("", 1024).await;
            joiners.iter().for_each(|(begin, _)| begin.send(connection).unwrap());
            if n % 2 == 0 {
                drop(peer);
            } else {
                connection.terminate();
            }
            serving.await;
            let joined = joiners.iter().filter(|(_, joined)| joined.recv().unwrap()).count();
            assert_eq!(server.groups.len(), 0, "connection {n}, which {joined} of {} joined", joiners.len());
        }
        record.check(&server.groups);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn set_group_from_several_threads_leaves_a_connection_in_one_group() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        let (ann, _peer) = server.open("ann").await;
        let mut stuck = 0;
        for _ in 0..300 {
            let barrier = Arc::new(std::sync::Barrier::new(2));
            let threads = ["a", "b"].map(|name| {
                let barrier = barrier.clone();
                std::thread::spawn(move || {
                    barrier.wait();
                    for _ in 0..10 {
                        ann.set_group(Some(name)).unwrap();
                    }
                })
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            stuck += usize::from(ann.groups().len() != 1);
            for group in ann.groups() {
                group.remove(ann);
            }
        }
        assert_eq!(stuck, 0, "of 300 times");
        record.check(&server.groups);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_races_with_joins_tells_everything_in_pairs() {
    in_time(async {
        for _ in 0..5 {
            let mut server = Server::new();
            let record = Record::of(&server.groups);
            let socket = SocketServer::new("127.0.0.1:0").unwrap();
            let address = socket.local_address().unwrap();
            let listening = server.http.listen(socket);
            let stop = Arc::new(AtomicBool::new(false));
            let mut tasks = Vec::new();
            for n in 0..40 {
                let (connection, mut peer) = server.connect(address).await;
                let (groups, stop) = (server.groups.clone(), stop.clone());
                tasks.push(tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        stir(&groups, connection);
                        tokio::task::yield_now().await;
                    }
                }));
                tasks.push(tokio::spawn(async move {
                    // Half of them answer the Close, the others leave when it comes.
                    while let Some(frame) = peer.frame().await {
                        if frame.opcode == 8 {
                            if n % 2 == 0 {
                                peer.send(close(1001, "")).await;
                                while peer.frame().await.is_some() {}
                            }
                            break;
                        }
                    }
                }));
            }
            listening.close().await;
            assert!(server.websocket.is_empty());
            stop.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await.unwrap();
            }
            record.check(&server.groups);
        }
    })
    .await;
}

#[test]
fn a_runtime_that_is_dropped_ends_its_connections_and_their_groups() {
    let runtime = Runtime::new().unwrap();
    let (groups, record, peers) = runtime.block_on(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        let mut peers = Vec::new();
        for n in 0..20 {
            let (connection, peer) = server.open("").await;
            connection.set_group(Some(NAMES[n % NAMES.len()])).unwrap();
            server.groups.join("all", connection).unwrap();
            peers.push(peer);
        }
        assert_eq!(server.groups.len(), 5);
        (server.groups, record, peers)
    });
    drop(runtime);
    assert_eq!(record.check(&groups), (5, 40));
    drop(peers);
}

// The order of what is written, to the byte, over sockets.

/// A server over a socket, with so many members of the group `room`.
async fn room(
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

/// What is written to all members of a room, and in between to each of them: broadcasts, direct messages and both kinds
/// of payload. Returns the bytes that member `n` has to get.
fn write_to_room(group: ConnectionGroup, members: &[WebSocketConnection], messages: usize, size: usize) -> Vec<Vec<u8>> {
    let mut expected = vec![Vec::new(); members.len()];
    for n in 0..messages {
        let payload = format!("{n} {}", "x".repeat(n * 7919 % (size + 1)));
        match n % 4 {
            0 => {
                group.write(&payload);
                expected.iter_mut().for_each(|bytes| bytes.extend(server_frame(0x80 | 1, &payload)));
            }
            1 => {
                group.write_binary(&payload);
                expected.iter_mut().for_each(|bytes| bytes.extend(server_frame(0x80 | 2, &payload)));
            }
            2 => {
                for (place, (member, bytes)) in members.iter().zip(&mut expected).enumerate() {
                    let payload = format!("{place} {payload}");
                    member.write(&payload);
                    bytes.extend(server_frame(0x80 | 1, &payload));
                }
            }
            _ => {
                let left_out = n % members.len();
                group.write_except(members[left_out], &payload);
                for (place, bytes) in expected.iter_mut().enumerate() {
                    if place != left_out {
                        bytes.extend(server_frame(0x80 | 1, &payload));
                    }
                }
            }
        }
    }
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_members_get_broadcasts_and_their_own_messages_in_the_order_of_writing() {
    in_time(async {
        let (mut server, group, all, address) = room(WebSocketOptions::new(), 300).await;
        let (conductor, mut baton) = server.connect(address).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let (said, mut expected) = mpsc::unbounded_channel();
        // Within a turn, whose writes leave together at its end.
        conductor.on("text", move || {
            let _ = said.send(write_to_room(group, &members, 60, 300));
        });
        baton.send([text("once"), text("and again")].concat()).await;
        let (first, second) = (expected.recv().await.unwrap(), expected.recv().await.unwrap());
        for (place, mut peer) in peers.into_iter().enumerate() {
            let expected = [&first[place][..], &second[place][..]].concat();
            assert_eq!(peer.exactly(expected.len()).await, expected, "member {place}");
        }
    })
    .await;
}

#[tokio::test]
async fn outside_of_a_turn_three_hundred_members_get_the_same() {
    in_time(async {
        let (_server, group, all, _) = room(WebSocketOptions::new(), 300).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let expected = write_to_room(group, &members, 60, 300);
        for (place, mut peer) in peers.into_iter().enumerate() {
            let expected = &expected[place];
            assert_eq!(peer.exactly(expected.len()).await, *expected, "member {place}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_get_all_of_it_in_order_and_hold_up_nobody() {
    in_time(async {
        let options = WebSocketOptions::new().write_buffer_hard_limit(256 << 20);
        let (mut server, group, all, address) = room(options, 6).await;
        let (conductor, mut baton) = server.connect(address).await;
        let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let slow_members = members[3..].to_vec();
        let (said, mut expected) = mpsc::unbounded_channel();
        conductor.on("text", move |conductor: &WebSocketConnection| {
            let _ = said.send(write_to_room(group, &members, 120, 15_000 * 7));
            conductor.write("done");
        });
        let slow = peers.split_off(3);
        // One turn is about 6 MB: more than a socket takes on the one side and holds on the other.
        let fast: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    while !received.ends_with(b"the end") {
                        assert!(peer.stream.read_buf(&mut received).await.unwrap() > 0);
                    }
                    received
                })
            })
            .collect();
        let mut wanted = vec![Vec::new(); 6];
        for turn in ["one", "two"] {
            baton.send(text(turn)).await;
            for (wanted, more) in wanted.iter_mut().zip(expected.recv().await.unwrap()) {
                wanted.extend(more);
            }
            assert_eq!(baton.text().await, "done", "the writer waits for nobody");
        }
        group.write("the end");
        wanted.iter_mut().for_each(|wanted| wanted.extend(server_frame(0x80 | 1, "the end")));
        let mut fast_bytes = Vec::new();
        for fast in fast {
            fast_bytes.push(fast.await.unwrap());
        }
        for (wanted, received) in wanted.iter().zip(&fast_bytes) {
            assert!(wanted == received, "{} of {} bytes", received.len(), wanted.len());
        }
        // Those who read fast have all of it while the others have not begun.
        for member in slow_members {
            assert!(member.buffered_amount() > 1 << 20, "{}", member.buffered_amount());
        }
        for (mut peer, wanted) in slow.into_iter().zip(&wanted[3..]) {
            let received = peer.exactly(wanted.len()).await;
            assert!(received == *wanted);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_messages_of_one_sender_keep_their_order_whoever_else_writes() {
    in_time(async {
        const SENDERS: usize = 5;
        const MESSAGES: usize = 400;
        let (_server, group, all, _) = room(WebSocketOptions::new(), 20).await;
        let (members, peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        let send = move |sender: usize, members: &[WebSocketConnection]| {
            for n in 0..MESSAGES {
                let message = format!("{sender} {n}");
                // A sender's own messages and broadcasts are one sequence to each member.
                match n % 3 {
                    0 => members.iter().for_each(|member| _ = member.write(&message)),
                    1 => cork(|| group.write(&message)),
                    _ => group.write(&message),
                }
            }
        };
        let mut threads = Vec::new();
        for sender in 0..SENDERS {
            let members = members.clone();
            if sender % 2 == 0 {
                threads.push(tokio::task::spawn_blocking(move || send(sender, &members)));
            } else {
                threads.push(tokio::spawn(async move { send(sender, &members) }));
            }
        }
        let readers: Vec<_> = peers
            .into_iter()
            .map(|mut peer| {
                tokio::spawn(async move {
                    let mut next = [0; SENDERS];
                    for _ in 0..SENDERS * MESSAGES {
                        let message = peer.text().await;
                        let (sender, n) = message.split_once(' ').unwrap();
                        let next = &mut next[sender.parse::<usize>().unwrap()];
                        assert_eq!(n.parse::<usize>().unwrap(), *next, "of sender {sender}");
                        *next += 1;
                    }
                })
            })
            .collect();
        for task in threads.into_iter().chain(readers) {
            task.await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn members_that_come_and_go_during_a_broadcast_miss_nothing_of_what_is_written_while_they_are_in() {
    in_time(async {
        let (_server, group, all, _) = room(WebSocketOptions::new(), 3).await;
        let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        cork(|| {
            group.write("1");
            group.remove(members[0]);
            group.write("2");
            members[0].write("own");
            group.add(members[0]).unwrap();
            group.write("3");
            group.remove(members[1]);
        });
        group.write("4");
        let expected = [vec!["1", "own", "3", "4"], vec!["1", "2", "3"], vec!["1", "2", "3", "4"]];
        for (peer, expected) in peers.iter_mut().zip(expected) {
            for message in expected {
                assert_eq!(peer.text().await, message);
            }
        }
    })
    .await;
}

// Members that read too slowly.

/// One slow member in memory: 100 bytes are in flight at most, and with 1,000 unsent it is slow.
struct Slow {
    server: Server,
    group: ConnectionGroup,
    member: WebSocketConnection,
    peer: Peer<DuplexStream>,
}

impl Slow {
    async fn new(policy: SlowMemberPolicy) -> Slow {
        let options = WebSocketOptions::new().write_buffer_soft_limit(1000).write_buffer_hard_limit(4000);
        let mut server = Server::with(options);
        watch(&server.log, &server.groups);
        let (member, peer, _) = server.serve("ann", 100).await;
        let group = server.groups.join("a", member).unwrap();
        group.set_slow_member_policy(policy);
        server.log.take();
        Slow { server, group, member, peer }
    }

    /// A message of 304 bytes on the wire: three are below the soft limit, four are not.
    fn message(n: usize) -> String {
        format!("{n:0>300}")
    }

    /// Writes these messages to the group.
    async fn write(&self, messages: impl IntoIterator<Item = usize>) {
        for n in messages {
            self.group.write(Slow::message(n));
        }
        settle().await;
    }

    /// Makes the member slow: 1,520 bytes, of which 100 are in flight.
    async fn fill(&self) {
        for n in 100..105 {
            self.member.write(Slow::message(n));
        }
        settle().await;
        assert_eq!(self.member.buffered_amount(), 5 * 304 - 100);
    }

    /// The messages that the peer gets, to the end of what is there.
    async fn received(&mut self) -> Vec<usize> {
        let mut all = Vec::new();
        loop {
            let next = timeout(Duration::from_millis(1), self.peer.frame()).await;
            match next {
                Ok(Some(frame)) if frame.opcode == 1 => {
                    all.push(String::from_utf8(frame.payload).unwrap().parse().unwrap())
                }
                Ok(Some(frame)) => all.push(10_000 + usize::from(u16::from_be_bytes([frame.payload[0], frame.payload[1]]))),
                Ok(None) | Err(_) => return all,
            }
        }
    }

    /// The first bytes of the frames that the peer gets, to the end of what is there.
    async fn frames(&mut self) -> Vec<(bool, u8)> {
        let mut all = Vec::new();
        while let Ok(Some(frame)) = timeout(Duration::from_millis(1), self.peer.frame()).await {
            all.push((frame.fin, frame.opcode));
        }
        all
    }

    fn dropped(&self) -> (u64, u64, usize) {
        let told = self.server.log.take().into_iter().filter(|entry| entry == "drop a ann").count();
        (self.group.dropped(), self.member.dropped(), told)
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_a_slow_member_gets_everything_until_its_hard_limit() {
    let mut slow = Slow::new(SlowMemberPolicy::default()).await;
    assert_eq!(SlowMemberPolicy::default(), SlowMemberPolicy::Keep);
    slow.fill().await;
    slow.write(0..5).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 2, 3, 4]);
    let log = slow.server.log.clone();
    slow.member.on("error", move |_: Option<&str>, code: Option<u16>| log.add(code.unwrap()));
    // The limit is asked for before a message is added: fourteen are 4,156 bytes unsent, and the next one is too much.
    slow.write(0..14).await;
    assert!(slow.member.is_writable());
    slow.write([14]).await;
    assert!(!slow.member.is_writable());
    assert_eq!(slow.server.log.take(), ["1013"]);
    assert_eq!(slow.received().await, (0..14).chain([11_013]).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn drop_new_drops_what_is_written_while_a_member_is_slow() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    slow.fill().await;
    slow.write(0..3).await;
    assert_eq!(slow.dropped(), (3, 3, 3));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104]);
    slow.write([3]).await;
    assert_eq!(slow.received().await, [3]);
    // Below the limit nothing is dropped; the message that reaches it is the last that is taken.
    slow.write(4..10).await;
    assert_eq!(slow.dropped(), (5, 5, 2));
    assert_eq!(slow.received().await, [4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn drop_oldest_keeps_as_much_as_the_soft_limit_and_drops_the_oldest_of_it() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..3).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    slow.write(3..5).await;
    assert_eq!(slow.dropped(), (2, 2, 2));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 2, 3, 4]);
    slow.write([5]).await;
    assert_eq!(slow.received().await, [5]);
}

#[tokio::test(start_paused = true)]
async fn keep_latest_keeps_the_last_message_of_each_group() {
    let mut slow = Slow::new(SlowMemberPolicy::KeepLatest).await;
    let other = slow.server.groups.join("b", slow.member).unwrap();
    other.set_slow_member_policy(SlowMemberPolicy::KeepLatest);
    slow.fill().await;
    slow.write([0]).await;
    other.write(Slow::message(50));
    slow.write(1..4).await;
    assert_eq!(slow.dropped(), (3, 3, 3));
    assert_eq!(other.dropped(), 0);
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 50, 3]);
    slow.write([4]).await;
    assert_eq!(slow.received().await, [4]);
}

#[tokio::test(start_paused = true)]
async fn close_ends_a_slow_member_with_1013_and_no_other() {
    let mut slow = Slow::new(SlowMemberPolicy::Close).await;
    let (bob, mut b) = slow.server.open("bob").await;
    slow.group.add(bob).unwrap();
    let log = slow.server.log.clone();
    slow.member.on("error", move |reason: Option<&str>, code: Option<u16>| {
        log.add(format_args!("{} {}", code.unwrap(), reason.unwrap()));
    });
    slow.fill().await;
    slow.write([0]).await;
    assert_eq!(slow.server.log.take(), ["join a bob", "1013 1420 bytes unsent, the limit is 1000"]);
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 11_013]);
    slow.peer.stream.shutdown().await.unwrap();
    settle().await;
    slow.write([1]).await;
    assert_eq!(slow.server.log.take(), ["leave a ann"]);
    assert_eq!((b.text().await, b.text().await), (Slow::message(0), Slow::message(1)));
    assert_eq!(slow.group.dropped(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_policy_concerns_only_the_slow_and_only_its_own_group() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    let (bob, mut b) = slow.server.open("bob").await;
    slow.group.add(bob).unwrap();
    let other = slow.server.groups.join("b", slow.member).unwrap();
    slow.fill().await;
    slow.write([0]).await;
    other.write(Slow::message(1));
    slow.member.write(Slow::message(2));
    slow.group.set_slow_member_policy(SlowMemberPolicy::Keep);
    slow.write([3]).await;
    assert_eq!((slow.group.dropped(), other.dropped(), slow.member.dropped(), bob.dropped()), (1, 0, 1, 0));
    assert_eq!((b.text().await, b.text().await), (Slow::message(0), Slow::message(3)));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 1, 2, 3]);
}

/// One large message of its own always fits, and may be larger than the hard limit.
#[tokio::test(start_paused = true)]
async fn who_drops_messages_of_a_group_does_not_fail_by_them_however_much_is_unsent() {
    for (policy, last) in
        [(SlowMemberPolicy::DropNew, 0), (SlowMemberPolicy::DropOldest, 2), (SlowMemberPolicy::KeepLatest, 1)]
    {
        let mut slow = Slow::new(policy).await;
        let large = "x".repeat(10_000);
        slow.member.write(&large);
        settle().await;
        slow.write(0..2).await;
        assert!(slow.member.is_writable(), "{policy:?}");
        assert_eq!(slow.peer.text().await, large);
        assert_eq!(slow.received().await, (2 - last..2).collect::<Vec<_>>(), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drop_listener_may_end_the_member_or_move_it() {
    let mut slow = Slow::new(SlowMemberPolicy::DropNew).await;
    slow.group.once("drop", move |member| member.set_group(Some("slow ones")));
    slow.group.remove(slow.member);
    slow.member.set_group(Some("a")).unwrap();
    let group = slow.member.group().unwrap();
    group.set_slow_member_policy(SlowMemberPolicy::DropNew);
    group.once("drop", |member| member.set_group(Some("slow ones")));
    slow.group = group;
    slow.fill().await;
    slow.write(0..2).await;
    assert_eq!(slow.member.group_name().as_deref(), Some("slow ones"));
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_a_slow_member_leaves_before_its_close() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..2).await;
    assert_eq!(slow.dropped(), (0, 0, 0));
    slow.member.end();
    settle().await;
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 11_000]);
    assert_eq!(slow.server.websocket.stats().messages_out, 7);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_a_slow_member_leaves_before_the_last_message_that_ends_it() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    slow.write(0..2).await;
    slow.member.end_with(Slow::message(2));
    settle().await;
    assert_eq!(slow.received().await, [100, 101, 102, 103, 104, 0, 1, 2, 11_000]);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_never_gets_into_the_middle_of_a_message_that_is_streamed() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    let mut message = slow.member.begin_text();
    message.write("a piece of it");
    slow.write(0..2).await;
    slow.member.end();
    settle().await;
    // The Close is a control frame and may come there (RFC 6455 §5.4); another message may not.
    assert_eq!(slow.frames().await, [[(true, 1); 5].as_slice(), &[(false, 1), (true, 8)]].concat());
    drop(message);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_follows_a_message_that_was_still_streamed_when_there_was_room_again() {
    let mut slow = Slow::new(SlowMemberPolicy::DropOldest).await;
    slow.fill().await;
    let mut message = slow.member.begin_text();
    message.write("a piece of it");
    slow.write(0..2).await;
    assert_eq!(slow.frames().await, [[(true, 1); 5].as_slice(), &[(false, 1)]].concat());
    settle().await;
    assert_eq!(slow.member.buffered_amount(), 2 * 304, "what was held is held no more, but waits");
    message.write("another");
    assert_eq!(slow.frames().await, [(false, 0)]);
    message.end();
    settle().await;
    assert_eq!(slow.frames().await, [(true, 0), (true, 1), (true, 1)]);
    assert_eq!(slow.dropped(), (0, 0, 0));
}

#[tokio::test]
async fn a_broadcast_that_finds_a_socket_reset_ends_that_member_and_reaches_the_others() {
    in_time(async {
        // The large one is more than is encoded once for all.
        for size in [100, 1 << 20] {
            let (server, group, all, _) = room(WebSocketOptions::new(), 3).await;
            let closed = Log::default();
            let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            for (n, member) in members.iter().enumerate() {
                let closed = closed.clone();
                member.on("close", move |code: u16| closed.add(format_args!("member {n}: {code}")));
            }
            let gone = peers.remove(1);
            socket2::SockRef::from(&gone.stream).set_linger(Some(Duration::ZERO)).unwrap();
            drop(gone);
            // Nobody has heard of the reset: no task has run since.
            let text = "x".repeat(size);
            group.write(&text);
            for peer in &mut peers {
                assert_eq!(peer.text().await, text);
            }
            while group.len() > 2 {
                tokio::task::yield_now().await;
            }
            assert_eq!(closed.take(), ["member 1: 1006"]);
            assert_eq!(server.websocket.len(), 2);
        }
    })
    .await;
}

#[tokio::test]
async fn over_a_socket_the_slow_member_misses_messages_and_the_fast_one_none() {
    in_time(async {
        for policy in [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest] {
            let (_server, group, all, _) = room(WebSocketOptions::new(), 2).await;
            group.set_slow_member_policy(policy);
            let (members, mut peers): (Vec<_>, Vec<_>) = all.into_iter().unzip();
            let (mut slow, mut fast) = (peers.remove(0), peers.remove(0));
            let told = Arc::new(AtomicUsize::new(0));
            let count = told.clone();
            group.on("drop", move |member| {
                assert_eq!(member, members[0]);
                count.fetch_add(1, Ordering::Relaxed);
            });
            // 40 MB: more than sockets hold.
            const MESSAGES: usize = 2000;
            for n in 0..MESSAGES {
                group.write(format!("{n:0>20000}"));
                assert_eq!(fast.text().await.parse::<usize>().unwrap(), n, "{policy:?}");
            }
            let dropped = group.dropped() as usize;
            assert!(dropped > 0, "{policy:?}");
            assert_eq!((members_dropped(&group), told.load(Ordering::Relaxed)), (dropped, dropped), "{policy:?}");
            let mut received = Vec::new();
            while received.len() < MESSAGES - dropped {
                received.push(slow.text().await.parse::<usize>().unwrap());
            }
            assert!(received.is_sorted(), "{policy:?}");
            assert_eq!(received.last() == Some(&(MESSAGES - 1)), policy != SlowMemberPolicy::DropNew, "{policy:?}");
            group.write("the end");
            assert_eq!((fast.text().await, slow.text().await), ("the end".into(), "the end".into()), "{policy:?}");
        }
    })
    .await;
}

fn members_dropped(group: &ConnectionGroup) -> usize {
    group.members().iter().map(|member| member.dropped() as usize).sum()
}

#[tokio::test]
async fn who_reads_fast_misses_nothing_of_a_burst_in_one_turn() {
    in_time(async {
        let mut wrong = Vec::new();
        for policy in
            [SlowMemberPolicy::DropNew, SlowMemberPolicy::DropOldest, SlowMemberPolicy::KeepLatest, SlowMemberPolicy::Close]
        {
            let (_server, group, mut all, _) = room(WebSocketOptions::new(), 1).await;
            group.set_slow_member_policy(policy);
            let (member, mut peer) = all.remove(0);
            // 100 KB, which an empty socket takes at once.
            cork(|| (0..100).for_each(|n| group.write(format!("{n:0>1000}"))));
            if group.dropped() > 0 || !member.is_writable() {
                wrong.push((policy, group.dropped(), member.is_writable()));
                continue;
            }
            for n in 0..100 {
                assert_eq!(peer.text().await.parse::<usize>().unwrap(), n, "{policy:?}");
            }
        }
        assert!(wrong.is_empty(), "policy, messages dropped, member still open: {wrong:#?}");
    })
    .await;
}
