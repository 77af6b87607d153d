//! The emitter that many tasks share, and its queue.

use react_websocket::EventEmitter;
use react_websocket::inside::SerialQueue;
use shuttle::thread;

use super::{Notes, check, check_all, let_others};

/// A listener that notes that it begins and ends, and lets others run in between.
fn listener(name: &'static str, notes: &Notes<(&'static str, u32)>) -> impl FnMut(&u32) + Send + 'static {
    let notes = notes.clone();
    move |number| {
        notes.note((name, *number));
        let_others();
        notes.note(("end", *number));
    }
}

/// The calls, none of which may have begun before the one before had ended.
fn calls(notes: &Notes<(&'static str, u32)>) -> Vec<(&'static str, u32)> {
    let all = notes.all();
    for pair in all.chunks(2) {
        assert!(matches!(pair, [(_, begun), ("end", ended)] if begun == ended), "two at the same time: {all:?}");
    }
    all.into_iter().filter(|(name, _)| *name != "end").collect()
}

#[test]
fn every_job_is_run_once_and_one_at_a_time() {
    check_all(|| {
        let (queue, notes) = (std::sync::Arc::new(SerialQueue::default()), Notes::new());
        let enqueue = {
            let (queue, notes) = (queue.clone(), notes.clone());
            move |job: u32| {
                queue.push(job);
                queue.drain(|job| listener("job", &notes)(&job));
            }
        };
        let other = thread::spawn({
            let enqueue = enqueue.clone();
            move || enqueue(1)
        });
        enqueue(2);
        other.join().expect("no panic");
        let mut calls = calls(&notes);
        calls.sort_unstable();
        assert_eq!(calls, [("job", 1), ("job", 2)]);
    });
}

#[test]
fn the_jobs_of_each_are_run_in_their_order_whoever_runs_them() {
    check(10, || {
        let (queue, notes) = (std::sync::Arc::new(SerialQueue::default()), Notes::new());
        let threads: Vec<_> = [10, 20, 30]
            .map(|first| {
                let (queue, notes) = (queue.clone(), notes.clone());
                thread::spawn(move || {
                    for job in first..first + 3 {
                        queue.push(job);
                        queue.drain(|job| listener("job", &notes)(&job));
                    }
                })
            })
            .into();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let calls = calls(&notes);
        for first in [10, 20, 30] {
            assert!(
                calls.iter().map(|(_, job)| *job).filter(|job| job / 10 == first / 10).eq(first..first + 3),
                "{calls:?}"
            );
        }
    });
}

#[test]
fn a_listener_that_is_there_before_an_emission_is_called_once_and_in_its_place() {
    check(10, || {
        let (emitter, notes) = (EventEmitter::new(), Notes::new());
        emitter.on("event", listener("first", &notes));
        let adding = thread::spawn({
            let (emitter, notes) = (emitter.clone(), notes.clone());
            move || {
                emitter.on("event", listener("second", &notes));
                emitter.emit("event", 1);
            }
        });
        let emitting = thread::spawn({
            let emitter = emitter.clone();
            move || {
                emitter.emit("event", 2);
                emitter.emit("event", 3);
            }
        });
        adding.join().expect("no panic");
        emitting.join().expect("no panic");
        let calls = calls(&notes);
        let of = |name| calls.iter().filter(|call| call.0 == name).map(|call| call.1).collect::<Vec<u32>>();
        let (first, second) = (of("first"), of("second"));
        assert_eq!(first.len(), 3, "each emission once: {calls:?}");
        assert!(first.iter().filter(|number| **number > 1).eq(&[2, 3]), "in the order of each: {calls:?}");
        assert_eq!(
            first.len() - second.len(),
            first.iter().position(|number| *number == second[0]).expect("it was emitted")
        );
        assert!(first.ends_with(&second), "from one emission on, all: {calls:?}");
        assert!(second.contains(&1), "it was there before that: {calls:?}");
        for (place, call) in calls.iter().enumerate().filter(|(_, call)| call.0 == "second") {
            assert_eq!(calls[place - 1], ("first", call.1), "{calls:?}");
        }
    });
}

#[test]
fn a_listener_for_once_is_called_once_whoever_emits() {
    check(10, || {
        let (emitter, notes) = (EventEmitter::new(), Notes::new());
        emitter.once("event", listener("once", &notes));
        emitter.on("event", listener("always", &notes));
        let other = thread::spawn({
            let emitter = emitter.clone();
            move || emitter.emit("event", 1)
        });
        emitter.emit("event", 2);
        other.join().expect("no panic");
        let calls = calls(&notes);
        assert_eq!((calls[0].0, calls[1].0, calls[2].0, calls.len()), ("always", "once", "always", 3), "{calls:?}");
        assert_eq!(calls[0].1, calls[1].1, "with the first emission: {calls:?}");
        assert_eq!(emitter.listener_count("event"), 1, "the listener for once is not registered any more");
    });
}

#[test]
fn a_listener_that_was_removed_is_not_called_by_later_emissions_and_is_dropped() {
    check(10, || {
        let (emitter, notes) = (EventEmitter::new(), Notes::new());
        let token = std::sync::Arc::new(());
        let id = emitter.on("event", {
            let (mut call, token) = (listener("removed", &notes), token.clone());
            move |number: &u32| {
                let _token = &token;
                call(number);
            }
        });
        let emitting = thread::spawn({
            let emitter = emitter.clone();
            move || emitter.emit("event", 1)
        });
        let adding = thread::spawn({
            let (emitter, notes) = (emitter.clone(), notes.clone());
            move || emitter.on("event", listener("added", &notes))
        });
        emitter.remove_listener(id);
        emitter.emit("event", 2);
        adding.join().expect("no panic");
        emitting.join().expect("no panic");
        let calls = calls(&notes);
        assert!(!calls.contains(&("removed", 2)), "{calls:?}");
        assert_eq!(emitter.listener_count("event"), 1);
        assert_eq!(std::sync::Arc::strong_count(&token), 1, "nothing keeps its closure");
        emitter.emit("event", 3);
        assert!(notes.all().contains(&("added", 3)), "it is not lost");
    });
}
