//! Ticks and timers that several threads enqueue while the loop runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use react_websocket::Loop;
use react_websocket::inside::Turn;
use shuttle::future::block_on;
use shuttle::thread;
use tokio::sync::oneshot;
use tokio::time;

use super::{Notes, check, let_others, seen};

#[test]
fn what_turns_enqueue_is_called_after_them_in_order_and_one_at_a_time() {
    check(3, || {
        let (called, inside) = (Notes::new(), Arc::new(AtomicBool::new(false)));
        let threads: Vec<_> = (0..2)
            .map(|thread| {
                let (called, inside) = (called.clone(), inside.clone());
                thread::spawn(move || {
                    for turn in 0..2 {
                        let in_turn = Arc::new(AtomicBool::new(true));
                        let callback = |place| {
                            let (called, inside, in_turn) = (called.clone(), inside.clone(), in_turn.clone());
                            move || {
                                assert!(!inside.swap(true, Ordering::SeqCst), "one at a time");
                                assert!(!in_turn.load(Ordering::SeqCst), "after its turn");
                                let_others();
                                called.note((thread, turn, place));
                                inside.store(false, Ordering::SeqCst);
                            }
                        };
                        let this = Turn::begin();
                        Loop::future_tick(callback(0));
                        Loop::add_timer(0, callback(2));
                        let_others();
                        Loop::future_tick(callback(1));
                        in_turn.store(false, Ordering::SeqCst);
                        block_on(this.end().expect("something was enqueued"));
                        let mine = || called.all().into_iter().filter(|call| call.0 == thread);
                        assert!(mine().eq((0..=turn).flat_map(|turn| (0..3).map(move |place| (thread, turn, place)))));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        assert_eq!(called.len(), 12);
        seen(if called.all()[3].0 == called.all()[0].0 { "one after the other" } else { "mixed" });
    });
}

#[test]
fn ticks_and_timers_outside_of_turns_are_called_too() {
    check(3, || {
        let threads = [0, 1].map(|_| {
            thread::spawn(|| {
                let (tick, ticked) = oneshot::channel();
                let (ring, rung) = oneshot::channel();
                Loop::future_tick(move || tick.send(()).is_ok());
                Loop::add_timer(0, move || ring.send(()).is_ok());
                block_on(async { (ticked.await, rung.await) })
            })
        });
        for thread in threads {
            assert_eq!(thread.join().expect("no panic"), (Ok(()), Ok(())));
        }
    });
}

#[test]
fn an_earlier_timer_is_not_slept_through() {
    check(3, || {
        let (ring, rung) = oneshot::channel();
        let late = thread::spawn(|| Loop::add_timer(10, || {}));
        let early = thread::spawn(move || Loop::add_timer(5, move || ring.send(()).is_ok()));
        let late = late.join().expect("no panic");
        early.join().expect("no panic");
        time::pass(Duration::from_secs(5));
        assert_eq!(block_on(rung), Ok(()));
        Loop::cancel_timer(late);
    });
}

#[test]
fn a_timer_that_is_cancelled_meanwhile_is_called_once_or_never_and_dropped() {
    check(3, || {
        let (calls, kept) = (Notes::new(), Arc::new(()));
        let (called, captured) = (calls.clone(), kept.clone());
        let timer = Loop::add_periodic_timer(5, move || {
            let _ = &captured;
            called.note(());
            let_others();
        });
        let passing = thread::spawn(|| time::pass(Duration::from_secs(5)));
        Loop::cancel_timer(timer);
        passing.join().expect("no panic");
        // When the loop has gone round once more, a call that had begun has ended.
        let turn = Turn::begin();
        Loop::future_tick(|| {});
        block_on(turn.end().expect("something was enqueued"));
        assert_eq!(Arc::strong_count(&kept), 1);
        assert!(calls.len() <= 1);
        seen(if calls.len() == 1 { "called" } else { "never" });
    });
}
