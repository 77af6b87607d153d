//! Groups: their lifetime, their members, the order of their events, and the limits on joining.

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use react_websocket::errors::GroupError;
use react_websocket::options::SlowMemberPolicy;
use react_websocket::{
    ConnectionGroup, GroupManager, HttpServer, Response, WebSocketConnection, WebSocketMiddleware, WebSocketOptions,
};
use support::groups::{Name, Server, name, watch};
use support::*;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;

// The lifetime of a group, and its events.

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
async fn a_connection_removed_from_the_group_of_set_group_has_no_group() {
    let mut server = Server::watched();
    let (ann, _peer) = server.open("ann").await;
    ann.set_group(Some("a")).unwrap();
    assert!(server.groups.leave("a", ann));
    assert_eq!((ann.group(), ann.groups()), (None, vec![]));
    ann.set_group(Some("a")).unwrap();
    assert_eq!(ann.group(), server.groups.get("a"));
}

#[tokio::test(start_paused = true)]
async fn joining_twice_emits_join_once_and_leaving_twice_emits_leave_once() {
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
async fn leave_fires_once_and_early_if_a_close_listener_removes_the_member() {
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
async fn a_member_that_joins_in_the_connection_listener_receives_messages_after_the_101() {
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

// Limits on joining, and joins that fail.

#[tokio::test(start_paused = true)]
async fn the_number_of_groups_of_a_connection_is_limited() {
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
async fn the_length_of_a_groups_name_is_limited() {
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
async fn a_handle_that_outlives_its_group_reaches_no_member_and_never_a_later_group() {
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

// Reading the state of groups.

#[tokio::test(start_paused = true)]
async fn a_group_lists_its_members() {
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
