//! Listeners of groups and of their manager, and listeners that change groups.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::time::Duration;

use react_websocket::errors::{GroupError, ListenerError};
use react_websocket::options::SlowMemberPolicy;
use react_websocket::{ConnectionGroup, Error, GroupManager, WebSocketConnection, cork};
use support::groups::{Name, Server, in_time, name, watch};
use support::*;
use tokio::io::DuplexStream;

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
async fn an_unknown_event_name_is_an_error_that_lists_the_valid_names() {
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
async fn listeners_may_keep_state_and_return_the_results_of_write_and_set_group() {
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
async fn a_failing_listener_ends_its_member_and_the_other_listeners_are_called() {
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
async fn a_failing_manager_listener_ends_no_connection_and_the_other_listeners_are_called() {
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
async fn listeners_and_their_captures_are_dropped_with_their_group() {
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
async fn events_that_a_listener_causes_fire_after_it_and_never_within_it() {
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

/// Calls every method. A call waits for ever if another thread holds a lock.
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
async fn joins_and_leaves_during_the_last_leave_fire_before_destroy() {
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

/// Another thread may still be emitting earlier events, and then emits `leave` later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_attached_to_a_member_exist_until_its_leave_has_fired() {
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
async fn in_a_destroy_listener_the_group_has_its_name_and_accepts_no_member_and_the_name_is_free() {
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
