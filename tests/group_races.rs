//! Groups under races: joins, leaves and ends from several threads. The events must form a possible history.

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as blocking};

use react_websocket::errors::GroupError;
use react_websocket::{ConnectionGroup, GroupManager, SocketServer, WebSocketConnection};
use support::groups::{Server, in_time};
use support::*;
use tokio::runtime::Runtime;

// Races. All events are recorded, and must form a possible history: see `Record::check`.

/// All events of groups, in order.
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

    /// Checks each group: `create`, then each `leave` after its `join`, then `destroy` when it is
    /// empty, and no event after that. Returns the number of groups and the number of joins.
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
async fn joins_that_race_with_every_kind_of_end_emit_join_and_leave_in_pairs() {
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
async fn create_precedes_join_when_connections_create_a_group_at_the_same_time() {
    in_time(async {
        let mut server = Server::new();
        let record = Record::of(&server.groups);
        let (mut threads, mut peers) = (Vec::new(), Vec::new());
        // Threads with the same name create and destroy a group again and again. All threads
        // contend for the manager.
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
async fn a_shutdown_that_races_with_joins_emits_every_event_in_pairs() {
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
