//! Groups: joins and leaves that race with each other and with the ends of connections.

use std::collections::{HashMap, HashSet};

use react_websocket::{ConnectionGroup, WebSocketConnection};
use shuttle::future::{block_on, spawn};
use shuttle::thread;
use tokio::net::TcpStream;

use super::peer::{self, Attached, Open, Room};
use super::{Notes, check, let_others, seen};

/// An event that was emitted.
#[derive(Clone, Copy, Debug)]
enum Told {
    Create(ConnectionGroup),
    Join(ConnectionGroup, WebSocketConnection),
    Leave(ConnectionGroup, WebSocketConnection),
    Destroy(ConnectionGroup),
    /// A listener is done.
    Done,
}

/// Notes all that the groups of a room tell.
fn listen(room: &Room) -> Notes<Told> {
    let notes = Notes::new();
    let (created, destroyed) = (notes.clone(), notes.clone());
    let tell = |notes: &Notes<Told>, told| {
        notes.note(told);
        let_others();
        notes.note(Told::Done);
    };
    room.groups.on("create", move |group| {
        let (joined, left) = (created.clone(), created.clone());
        group.on("join", move |member| {
            assert!(member.get::<Attached>().is_some(), "what is attached has gone before the join is told");
            tell(&joined, Told::Join(group, member));
        });
        group.on("leave", move |member| {
            assert!(member.get::<Attached>().is_some(), "what is attached has gone before the leave is told");
            tell(&left, Told::Leave(group, member));
        });
        tell(&created, Told::Create(group));
    });
    room.groups.on("destroy", move |group| tell(&destroyed, Told::Destroy(group)));
    notes
}

/// One `destroy` to each `create`, one `leave` to each `join`, in an order that makes sense, and one at a time.
fn assert_makes_sense(notes: &Notes<Told>) {
    let (told, mut groups, mut over) = (notes.all(), HashMap::new(), HashSet::new());
    for pair in told.chunks(2) {
        let [told_one, Told::Done] = pair else { panic!("two at the same time: {told:?}") };
        let makes_sense = match told_one {
            Told::Create(group) => !over.contains(group) && groups.insert(*group, HashSet::new()).is_none(),
            Told::Join(group, member) => groups.get_mut(group).is_some_and(|members| members.insert(*member)),
            Told::Leave(group, member) => groups.get_mut(group).is_some_and(|members| members.remove(member)),
            Told::Destroy(group) => over.insert(*group) && groups.remove(group).is_some_and(|members| members.is_empty()),
            Told::Done => false,
        };
        assert!(makes_sense, "{told_one:?} in {told:?}");
    }
    assert!(groups.is_empty(), "left over: {groups:?} of {told:?}");
}

/// Ends connections, and looks whether all is over then.
fn end(room: &Room, notes: &Notes<Told>, connections: Vec<(Open, TcpStream)>) {
    let mut peers = Vec::new();
    for (open, peer) in connections {
        end_one(open);
        peers.push(peer);
    }
    room.assert_empty();
    assert_makes_sense(notes);
}

/// Ends a connection, and looks whether it is in no group then, also if others are about to put it into one.
fn end_one(open: Open) {
    let connection = open.connection;
    connection.terminate();
    open.ended();
    assert!(connection.groups().is_empty() && connection.group().is_none());
}

#[test]
fn a_join_against_the_last_leave_against_the_end_of_the_connection() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let (comes, goes) = (room.open(100), room.open(100));
        let (one, two) = (comes.0.connection, goes.0.connection);
        room.groups.join("name", two).expect("it is open");
        let threads = [
            thread::spawn({
                let groups = room.groups.clone();
                move || {
                    let joined = groups.join("name", one);
                    seen(if joined.is_ok() { "in" } else { "closed" });
                }
            }),
            thread::spawn({
                let groups = room.groups.clone();
                move || assert!(groups.leave("name", two))
            }),
            thread::spawn(move || one.terminate()),
        ];
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        end(&room, &notes, vec![comes, goes]);
    });
}

#[test]
fn two_that_come_and_go_at_once_under_one_name() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let connections = vec![room.open(100), room.open(100)];
        let threads: Vec<_> = connections
            .iter()
            .map(|(open, _)| {
                let (groups, connection) = (room.groups.clone(), open.connection);
                thread::spawn(move || {
                    for _ in 0..2 {
                        let group = groups.join("name", connection).expect("it is open");
                        assert!(group.contains(connection), "nobody else takes it out");
                        assert!(group.remove(connection));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert!(room.groups.is_empty(), "{:?}", room.groups);
        let joined = notes.all().iter().filter(|told| matches!(told, Told::Join(..))).count();
        assert_eq!(joined, 4, "each is told: {:?}", notes.all());
        end(&room, &notes, connections);
    });
}

#[test]
fn an_add_to_a_group_against_its_end() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let (stays, goes) = (room.open(100), room.open(100));
        let (one, two) = (stays.0.connection, goes.0.connection);
        let group = room.groups.join("name", two).expect("it is open");
        let adding = thread::spawn(move || group.add(one).is_ok());
        let leaving = thread::spawn(move || assert!(group.remove(two)));
        let is_in = adding.join().expect("no panic");
        leaving.join().expect("no panic");
        assert_eq!((group.contains(one), one.groups().contains(&group)), (is_in, is_in));
        seen(if is_in { "in" } else { "gone" });
        assert_eq!(room.groups.get("name"), is_in.then_some(group));
        end(&room, &notes, vec![stays, goes]);
    });
}

#[test]
fn two_that_choose_a_group_for_one_connection_while_it_ends() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let (chosen, peer) = room.open(100);
        let connection = chosen.connection;
        connection.set_group(Some("first")).expect("it is open");
        let threads = ["second", "third"].map(|name| {
            thread::spawn(move || {
                let _ = connection.set_group(Some(name));
            })
        });
        let ending = thread::spawn(move || connection.terminate());
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        ending.join().expect("no panic");
        end(&room, &notes, vec![(chosen, peer)]);
    });
}

#[test]
fn the_first_two_joins_of_a_connection_that_ends_meanwhile() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let (joins, peer) = room.open(100);
        let connection = joins.connection;
        let threads = ["one", "other"].map(|name| {
            let groups = room.groups.clone();
            thread::spawn(move || seen(if groups.join(name, connection).is_ok() { "in" } else { "closed" }))
        });
        end_one(joins);
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        end(&room, &notes, vec![]);
        drop(peer);
    });
}

#[test]
fn of_two_that_choose_a_group_one_wins() {
    check(4, || {
        let room = Room::new();
        let notes = listen(&room);
        let (chosen, peer) = room.open(100);
        let connection = chosen.connection;
        connection.set_group(Some("first")).expect("it is open");
        let threads =
            ["second", "third"].map(|name| thread::spawn(move || connection.set_group(Some(name)).expect("it is open")));
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let group = connection.group().expect("one of the two");
        assert_eq!((connection.groups(), room.groups.groups()), (vec![group], vec![group]));
        assert!(group.contains(connection) && ["second", "third"].contains(&group.name().as_str()));
        end(&room, &notes, vec![(chosen, peer)]);
    });
}

#[test]
fn a_listener_that_changes_groups_against_others_who_do() {
    check(3, || {
        let room = Room::new();
        let notes = listen(&room);
        let groups = room.groups.clone();
        // A member that joins the hall is moved to the lobby. A member that leaves the lobby joins
        // the hall once more.
        room.groups.on("create", move |group| {
            let groups = groups.clone();
            let is_hall = group.name().as_str() == "hall";
            group.on("join", move |member| {
                if is_hall {
                    let _ = groups.join("lobby", member);
                    group.remove(member);
                }
            });
        });
        let connections = vec![room.open(100), room.open(100)];
        let threads: Vec<_> = connections
            .iter()
            .map(|(open, _)| {
                let (groups, connection) = (room.groups.clone(), open.connection);
                thread::spawn(move || {
                    let _ = groups.join("hall", connection);
                    groups.leave("lobby", connection);
                })
            })
            .collect();
        let connection = connections[0].0.connection;
        let ending = thread::spawn(move || connection.terminate());
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        ending.join().expect("no panic");
        end(&room, &notes, connections);
    });
}

#[test]
fn a_group_that_is_closed_while_others_join_ends_when_all_have_ended() {
    check(3, || {
        let room = Room::new();
        let notes = listen(&room);
        let connections = vec![room.open(100), room.open(100)];
        let group = room.groups.join("name", connections[0].0.connection).expect("it is open");
        let joining = thread::spawn({
            let (groups, connection) = (room.groups.clone(), connections[1].0.connection);
            move || groups.join("name", connection).is_ok()
        });
        let closing = thread::spawn(move || group.close_all("enough", 4000));
        joining.join().expect("no panic");
        closing.join().expect("no panic");
        let (opens, peers): (Vec<_>, Vec<_>) = connections.into_iter().unzip();
        // `close_all` did not close the members that joined after it.
        opens.iter().for_each(|open| open.connection.close());
        for reader in peers.into_iter().map(|peer| spawn(peer::read_to_end(peer))) {
            block_on(reader).expect("no panic");
        }
        opens.into_iter().for_each(|open| drop(open.ended()));
        room.assert_empty();
        assert_makes_sense(&notes);
    });
}
