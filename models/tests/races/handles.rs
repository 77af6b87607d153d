//! Slots that are used again, and handles that outlive what they meant.

use std::sync::Arc;

use react_websocket::errors::GroupError;
use react_websocket::inside::{self, Slab};
use shuttle::future::{block_on, spawn};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use super::peer::{self, Kind, Room};
use super::{Notes, check, seen};

#[test]
fn a_slot_has_one_owner_at_a_time_and_each_owner_another_number() {
    check(10, || {
        let (slots, numbers) = (Arc::new(Slab::<AtomicU64>::new()), Notes::new());
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (slots, numbers) = (slots.clone(), numbers.clone());
                thread::spawn(move || {
                    for _ in 0..2 {
                        let (index, number) = slots.take();
                        let owner = slots.get(index).swap(number.get(), Ordering::SeqCst);
                        assert_eq!(owner, 0, "somebody has it");
                        numbers.note(number);
                        assert_eq!(slots.get(index).swap(0, Ordering::SeqCst), number.get());
                        slots.give_back(index);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let mut numbers = numbers.all();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 6);
    });
}

#[test]
fn a_handle_of_a_connection_that_ends_never_reaches_the_next_in_its_slot() {
    check(4, || {
        let (room, heard) = (Room::new(), Notes::new());
        let (first, first_peer) = room.open(100);
        let old = first.connection;
        let slot = inside::place(old);
        let user = thread::spawn({
            let heard = heard.clone();
            move || {
                for _ in 0..2 {
                    old.write("old");
                    let heard = heard.clone();
                    old.on("text", move |_: &str| heard.note("text"));
                    old.set("old");
                    inside::ring(old);
                    old.pause();
                    old.close_with(4000, "old");
                }
                old.terminate();
            }
        });
        drop(first_peer);
        block_on(first.task).expect("its task ends by itself");
        // The other thread is perhaps still at it.
        let (second, mut peer) = room.open_on(Kind::Socket, 100, |connection| {
            connection.on("text", move |text: &str| connection.write(text));
        });
        let connection = second.connection;
        assert_eq!(inside::place(connection), slot, "it is the same slot");
        let reader = spawn(async move {
            peer::send(&mut peer, peer::TEXT, b"new").await;
            let (texts, mut peer) = peer::read_some(peer, 1).await;
            peer::send(&mut peer, peer::CLOSE, &1000u16.to_be_bytes()).await;
            (texts, peer::read_to_end(peer).await)
        });
        let (texts, rest) = block_on(reader).expect("no panic");
        assert_eq!((texts, rest), (vec!["new".to_owned()], (vec![], Some(1000))));
        user.join().expect("no panic");
        assert_eq!(second.ended(), ["text", "end", "close"]);
        assert_eq!((connection.get::<&str>(), heard.len()), (None, 0));
        room.assert_empty();
    });
}

#[test]
fn a_handle_of_a_group_that_ends_never_reaches_the_next_in_its_slot() {
    check(4, || {
        let (room, heard) = (Room::new(), Notes::new());
        let ([first, other, next], peers): ([_; 3], Vec<_>) = {
            let [a, b, c] = [(); 3].map(|()| room.open(100));
            ([a.0, b.0, c.0], vec![a.1, b.1, c.1])
        };
        let (one, two, three) = (first.connection, other.connection, next.connection);
        let old = room.groups.join("old", one).expect("it is open");
        let user = thread::spawn({
            let heard = heard.clone();
            move || {
                old.on("leave", move |member| heard.note(member));
                let added = old.add(two);
                assert!(matches!(added, Ok(()) | Err(GroupError::Gone)), "{added:?}");
                old.write("old");
                old.close_all("old", 4000);
                assert!(!old.remove(three) && !old.contains(three));
            }
        });
        room.groups.leave("old", one);
        // If it has ended, its slot is the next that is taken.
        seen(if old.name().as_str().is_empty() { "the same slot" } else { "another slot" });
        let new = room.groups.join("new", three).expect("it is open");
        user.join().expect("no panic");
        assert_ne!(old, new);
        assert_eq!((new.members(), three.is_writable()), (vec![three], true));
        assert!(new.remove(three) && !heard.all().contains(&three), "{:?}", heard.all());
        [one, two, three].iter().for_each(|connection| connection.close());
        let texts = peers.into_iter().map(|peer| block_on(spawn(peer::read_to_end(peer))).expect("no panic"));
        assert_eq!(texts.last(), Some((vec![], Some(1000))));
        [first, other, next].into_iter().for_each(|open| drop(open.ended()));
        room.assert_empty();
    });
}
