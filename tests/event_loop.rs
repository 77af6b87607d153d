//! Future ticks, timers and signals: the order of ReactPHP's `Loop`, on one thread and on several.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use react_websocket::{EventEmitter, Loop, Response, ServerRequest, Timer, WebSocketConnection};
use support::*;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{Instant, advance, sleep};

/// Adds an entry to a log.
fn note(log: &Log, entry: &'static str) -> impl Fn() + Clone + Send + Sync + 'static {
    let log = log.clone();
    move || log.add(entry)
}

/// Ready when the ticks and timers that are due now have been called.
async fn round() {
    let (done, is_done) = oneshot::channel();
    Loop::future_tick(move || {
        Loop::add_timer(0, move || done.send(()).is_ok());
    });
    is_done.await.expect("the loop runs");
}

fn several_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

fn both_flavors() -> [Runtime; 2] {
    [Builder::new_current_thread().enable_all().build().unwrap(), several_threads()]
}

// The order of a round: ReactPHP's future ticks, then its due timers, then its streams.

#[tokio::test(start_paused = true)]
async fn ticks_come_first_and_then_due_timers_each_in_the_order_of_insertion() {
    let log = Log::default();
    Loop::add_timer(0, note(&log, "timer 1"));
    Loop::future_tick(note(&log, "tick 1"));
    Loop::add_timer(0, note(&log, "timer 2"));
    Loop::future_tick(note(&log, "tick 2"));
    round().await;
    assert_eq!(log.take(), ["tick 1", "tick 2", "timer 1", "timer 2"]);
}

#[tokio::test(start_paused = true)]
async fn timers_are_called_in_the_order_in_which_they_are_due() {
    let log = Log::default();
    for (seconds, entry) in [(3.0, "3"), (1.0, "1"), (2.0, "2"), (1.0, "1 again"), (3.0, "3 again")] {
        Loop::add_timer(seconds, note(&log, entry));
    }
    advance(Duration::from_secs(10)).await;
    round().await;
    assert_eq!(log.take(), ["1", "1 again", "2", "3", "3 again"]);
}

#[tokio::test(start_paused = true)]
async fn a_tick_of_a_tick_comes_after_the_timers_that_are_due() {
    let log = Log::default();
    let of_tick = note(&log, "tick of a tick");
    Loop::future_tick({
        let (tick, timer) = (note(&log, "tick"), note(&log, "timer of a tick"));
        move || {
            tick();
            Loop::future_tick(of_tick);
            Loop::add_timer(0, timer);
        }
    });
    Loop::add_timer(0, note(&log, "timer"));
    round().await;
    round().await;
    assert_eq!(log.take(), ["tick", "timer", "timer of a tick", "tick of a tick"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_a_timer_belongs_to_the_next_round() {
    let log = Log::default();
    let (first, inner) = (note(&log, "first"), note(&log, "of the first"));
    Loop::add_timer(0, move || {
        first();
        Loop::add_timer(0, inner);
    });
    Loop::add_timer(0, note(&log, "second"));
    round().await;
    round().await;
    assert_eq!(log.take(), ["first", "second", "of the first"]);
}

/// A tick that enqueues itself for ever leaves the others their turn, as ReactPHP's streams have
/// theirs.
#[tokio::test]
async fn other_tasks_run_between_two_rounds() {
    fn again(is_over: Arc<AtomicBool>) {
        Loop::future_tick(move || {
            if !is_over.load(Ordering::Relaxed) {
                again(is_over);
            }
        });
    }
    let is_over = Arc::new(AtomicBool::new(false));
    again(is_over.clone());
    let (mut peer, _) = Peer::open_in_memory(&websockets(|c| {
        c.on("text", move |text: &str| c.write(text));
    }))
    .await;
    peer.send(text("hello")).await;
    assert_eq!(peer.text().await, "hello");
    is_over.store(true, Ordering::Relaxed);
}

// The time of a timer.

#[tokio::test(start_paused = true)]
async fn the_time_of_a_timer_runs_from_the_call() {
    let (log, start) = (Log::default(), Instant::now());
    let noted = log.clone();
    Loop::add_timer(0.1, move || noted.add(start.elapsed().as_millis()));
    advance(Duration::from_millis(150)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(log.take(), ["150"]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_timer_that_is_due_earlier_is_called_first() {
    let log = Log::default();
    Loop::add_timer(0.05, note(&log, "A, due at 50 ms"));
    advance(Duration::from_millis(40)).await;
    Loop::add_timer(0.02, note(&log, "B, due at 60 ms"));
    advance(Duration::from_millis(40)).await;
    round().await;
    assert_eq!(log.take(), ["A, due at 50 ms", "B, due at 60 ms"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_no_time_waits_for_no_time() {
    let (log, start) = (Log::default(), Instant::now());
    for seconds in [0.0, -1.0, f64::NAN] {
        let noted = log.clone();
        Loop::add_timer(seconds, move || noted.add(start.elapsed().as_nanos()));
    }
    round().await;
    assert_eq!(log.take(), ["0", "0", "0"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_is_never_called_early() {
    let (log, start) = (Log::default(), Instant::now());
    let noted = log.clone();
    Loop::add_timer(Duration::from_nanos(1_000_000_001), move || noted.add(start.elapsed() > Duration::from_secs(1)));
    sleep(Duration::from_secs(1)).await;
    assert!(log.take().is_empty());
    sleep(Duration::from_millis(3)).await;
    assert_eq!(log.take(), ["true"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_beyond_the_range_of_the_clock_is_not_called_and_can_be_cancelled() {
    let kept = Arc::new(());
    let timers = [f64::INFINITY, 1e300].map(|seconds| {
        let kept = kept.clone();
        Loop::add_timer(seconds, move || drop(kept))
    });
    let far = kept.clone();
    let periodic = Loop::add_periodic_timer(f64::MAX, move || _ = &far);
    round().await;
    assert_eq!(Arc::strong_count(&kept), 4);
    timers.into_iter().chain([periodic]).for_each(Loop::cancel_timer);
    assert_eq!(Arc::strong_count(&kept), 1);
}

/// ReactPHP's `Timers::tick`: the next call is an interval after the round's time.
#[tokio::test(start_paused = true)]
async fn a_periodic_timer_makes_up_for_nothing() {
    let (log, start) = (Log::default(), Instant::now());
    let noted = log.clone();
    Loop::add_periodic_timer(1, move || noted.add(start.elapsed().as_millis()));
    sleep(Duration::from_millis(2500)).await;
    advance(Duration::from_millis(4000)).await;
    sleep(Duration::from_millis(2100)).await;
    assert_eq!(log.take(), ["1000", "2000", "6500", "7500", "8500"]);
}

#[tokio::test(start_paused = true)]
async fn a_periodic_timer_of_no_time_leaves_others_their_turn() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let timer = Loop::add_periodic_timer(0, move || _ = counted.fetch_add(1, Ordering::Relaxed));
    sleep(Duration::from_millis(100)).await;
    Loop::cancel_timer(timer);
    assert!((50..200).contains(&calls.load(Ordering::Relaxed)), "a call for each tick of tokio's clock: {calls:?}");
}

// The order of ticks and timers after the code that enqueued them.

/// Waits until another thread of the runtime has run what was spawned or enqueued before.
fn wait_for_other_threads() {
    let (tell, told) = mpsc::channel();
    // The last task to be spawned stays with this thread, the others do not.
    for _ in 0..3 {
        let tell = tell.clone();
        tokio::spawn(async move { tell.send(()) });
    }
    told.recv_timeout(Duration::from_secs(30)).expect("another thread runs tasks");
}

/// The first entries of a log: an answer may arrive before the turn that has written it ends.
async fn first(count: usize, log: &Log) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        round().await;
        heard.extend(log.take());
    }
    heard
}

#[test]
fn a_tick_and_a_due_timer_wait_for_the_listener_that_made_them() {
    let log = Log::default();
    let noted = log.clone();
    let listener = move || {
        Loop::future_tick(note(&noted, "tick"));
        Loop::add_timer(0, note(&noted, "timer"));
        wait_for_other_threads();
        noted.add("listener");
    };
    several_threads().block_on(async {
        // Of a connection, before and after its 101, and when it closes.
        let each = listener.clone();
        let http = websockets(move |connection| {
            each();
            connection.on("text", each.clone());
            connection.on("close", each.clone());
        });
        let (address, _) = listen_with(http);
        let mut peer = Peer::open(address).await;
        assert_eq!(first(3, &log).await, ["listener", "tick", "timer"]);
        peer.send(text("hello")).await;
        peer.send(close(1000, "")).await;
        let heard = first(6, &log).await;
        for place in 0..6 {
            let count = |what: &str| heard[..=place].iter().filter(|entry| *entry == what).count();
            assert!(count("listener") >= count("tick") && count("listener") >= count("timer"), "{heard:?}");
        }

        // Of a router.
        let routed = listener.clone();
        let router = move |_: ServerRequest| {
            routed();
            Response::plaintext("")
        };
        let (address, _) = listen(router);
        Peer::connect(address).await.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(first(3, &log).await, ["listener", "tick", "timer"]);

        // Of an emitter, in a task of the app's own.
        let emitter = EventEmitter::new();
        let emitted = listener.clone();
        emitter.on("event", move |()| emitted());
        tokio::spawn(async move { emitter.emit("event", ()) }).await.unwrap();
        assert_eq!(first(3, &log).await, ["listener", "tick", "timer"]);

        // Of the loop itself.
        Loop::future_tick(listener.clone());
        assert_eq!(first(3, &log).await, ["listener", "timer", "tick"]);

        // And of an asynchronous callback, after its first `await`.
        Loop::future_tick(move || async move {
            tokio::task::yield_now().await;
            listener();
        });
        assert_eq!(first(3, &log).await, ["listener", "tick", "timer"]);
    });
}

#[test]
fn ticks_of_a_connection_run_in_the_order_of_its_messages() {
    for runtime in both_flavors() {
        let log = Log::default();
        let noted = log.clone();
        runtime.block_on(async {
            let (address, _) = listen_with(websockets(move |connection| {
                let noted = noted.clone();
                connection.on("text", move |text: &str| {
                    for place in ["first", "second"] {
                        let (noted, entry) = (noted.clone(), format!("{text} {place}"));
                        Loop::future_tick(move || noted.add(entry));
                    }
                    if text == "299" {
                        Loop::future_tick(move || connection.write("done"));
                    }
                });
            }));
            let mut peer = Peer::open(address).await;
            for message in 0..300 {
                peer.send(text(message.to_string())).await;
            }
            assert_eq!(peer.text().await, "done");
        });
        let all = (0..300).flat_map(|message| ["first", "second"].map(|place| format!("{message} {place}")));
        assert!(all.eq(log.take()));
    }
}

/// ReactPHP calls ticks and due timers before it reads again.
#[test]
fn a_text_listener_made_in_a_tick_or_timer_of_the_connection_listener_misses_nothing() {
    for runtime in both_flavors() {
        runtime.block_on(async {
            for by_tick in [true, false] {
                let (address, _) = listen_with(websockets(move |connection| {
                    let begin = move || _ = connection.on("text", move |text: &str| connection.write(text));
                    if by_tick { Loop::future_tick(begin) } else { _ = Loop::add_timer(0, begin) }
                }));
                // A quick client, and one that does not even wait for the 101.
                for _ in 0..50 {
                    let mut peer = Peer::open(address).await;
                    peer.send(text("quick")).await;
                    assert_eq!(peer.text().await, "quick");
                }
                let mut peer = Peer::connect(address).await;
                peer.send([HANDSHAKE.as_bytes(), &text("quicker")].concat()).await;
                assert!(peer.head().await.starts_with("HTTP/1.1 101"));
                assert_eq!(peer.text().await, "quicker");
            }
        });
    }
}

/// A tick that is slow holds up those who have enqueued it, and so the queue does not grow without
/// end.
#[test]
fn a_connection_is_not_read_before_its_ticks_have_run() {
    several_threads().block_on(async {
        let outstanding = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (counted, highest) = (outstanding.clone(), most.clone());
        let (address, _) = listen_with(websockets(move |connection| {
            let (counted, highest) = (counted.clone(), highest.clone());
            connection.on("text", move |text: &str| {
                highest.fetch_max(counted.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let counted = counted.clone();
                Loop::future_tick(move || {
                    wait_for_other_threads();
                    counted.fetch_sub(1, Ordering::SeqCst);
                });
                if text == "last" {
                    Loop::future_tick(move || connection.write("done"));
                }
            });
        }));
        let mut peer = Peer::open(address).await;
        for _ in 0..1000 {
            peer.send(text("more")).await;
        }
        peer.send(text("last")).await;
        assert_eq!(peer.text().await, "done");
        // The frames of one turn.
        assert!(most.load(Ordering::SeqCst) <= 64, "{most:?}");
    });
}

// One at a time.

#[test]
fn callbacks_of_one_runtime_are_called_one_at_a_time() {
    several_threads().block_on(async {
        let (inside, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let callback = {
            let (inside, calls) = (inside.clone(), calls.clone());
            move || {
                assert!(!inside.swap(true, Ordering::SeqCst));
                std::thread::yield_now();
                inside.store(false, Ordering::SeqCst);
                calls.fetch_add(1, Ordering::SeqCst);
            }
        };
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let callback = callback.clone();
                tokio::spawn(async move {
                    for _ in 0..200 {
                        Loop::future_tick(callback.clone());
                        Loop::add_timer(0, callback.clone());
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        round().await;
        assert_eq!(calls.load(Ordering::SeqCst), 3200);
    });
}

// Asynchronous callbacks.

#[tokio::test(start_paused = true)]
async fn the_queue_does_not_wait_for_an_asynchronous_callback() {
    let log = Log::default();
    for number in 1..3 {
        let log = log.clone();
        Loop::future_tick(async move || {
            log.add(format_args!("{number} begins"));
            sleep(Duration::from_secs(1)).await;
            log.add(format_args!("{number} ends"));
        });
    }
    Loop::future_tick(note(&log, "3"));
    round().await;
    assert_eq!(log.take(), ["1 begins", "2 begins", "3"]);
    sleep(Duration::from_millis(1001)).await;
    assert_eq!(log.take(), ["1 ends", "2 ends"]);
}

#[tokio::test(start_paused = true)]
async fn a_periodic_timer_skips_a_call_while_the_last_one_is_running() {
    let (log, start) = (Log::default(), Instant::now());
    let noted = log.clone();
    let timer = Loop::add_periodic_timer(1, async move || {
        noted.add(format_args!("begins at {}", start.elapsed().as_millis()));
        sleep(Duration::from_millis(1500)).await;
        noted.add(format_args!("ends at {}", start.elapsed().as_millis()));
    });
    sleep(Duration::from_millis(3500)).await;
    Loop::cancel_timer(timer);
    sleep(Duration::from_millis(3000)).await;
    // A call that has begun goes on, as what a promise of PHP's has begun.
    assert_eq!(log.take(), ["begins at 1000", "ends at 2500", "begins at 3000", "ends at 4500"]);
}

// Failures.

#[tokio::test(start_paused = true)]
async fn a_panic_or_an_error_ends_nothing_but_its_call() {
    let (log, kept) = (Log::default(), Arc::new(()));
    let held = || {
        let kept = kept.clone();
        move || _ = &kept
    };
    let hold = held();
    Loop::future_tick(move || -> () {
        hold();
        panic!("a tick");
    });
    let hold = held();
    Loop::future_tick(async move || -> () {
        hold();
        panic!("an asynchronous tick");
    });
    let hold = held();
    Loop::future_tick(async move || -> () {
        hold();
        tokio::task::yield_now().await;
        panic!("later");
    });
    Loop::future_tick(|| Err::<(), _>("an error"));
    Loop::future_tick(note(&log, "tick"));
    let mut calls = 0;
    let noted = log.clone();
    let timer = Loop::add_periodic_timer(1, move || {
        calls += 1;
        noted.add(format_args!("call {calls}"));
        assert!(calls % 2 == 0, "each other call panics");
    });
    sleep(Duration::from_millis(3500)).await;
    Loop::cancel_timer(timer);
    assert_eq!(log.take(), ["tick", "call 1", "call 2", "call 3"]);
    assert_eq!(Arc::strong_count(&kept), 1);
}

/// Says so when it is dropped, by a panic.
#[derive(Clone)]
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn captures_that_panic_when_they_are_dropped_have_no_effect_elsewhere() {
    let log = Log::default();
    let bomb = || {
        let bomb = PanicsWhenDropped;
        move || _ = &bomb
    };
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        Loop::future_tick(bomb());
        Loop::add_timer(0, bomb());
        Loop::future_tick(async move || _ = &PanicsWhenDropped);
        let cancelled = Loop::add_periodic_timer(1, bomb());
        Loop::future_tick(note(&log, "tick"));
        Loop::add_timer(0, note(&log, "timer"));
        round().await;
        Loop::cancel_timer(cancelled);
        Loop::add_timer(1000, bomb());
        Loop::add_timer(1000, bomb());
        Loop::future_tick(bomb());
        Loop::future_tick(bomb());
    });
    drop(runtime);
    assert_eq!(log.take(), ["tick", "timer"]);
}

// The end of timers.

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_due_can_be_cancelled_by_one_before_it() {
    let log = Log::default();
    let victim = Arc::new(Mutex::new(None));
    let cancel = victim.clone();
    Loop::add_timer(1, move || Loop::cancel_timer(cancel.lock().unwrap().unwrap()));
    *victim.lock().unwrap() = Some(Loop::add_timer(1, note(&log, "cancelled")));
    let periodic = victim.clone();
    Loop::add_timer(2, move || Loop::cancel_timer(periodic.lock().unwrap().unwrap()));
    Loop::add_timer(3, note(&log, "another"));
    sleep(Duration::from_millis(1500)).await;
    *victim.lock().unwrap() = Some(Loop::add_periodic_timer(0.5, note(&log, "cancelled")));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(log.take(), ["another"]);
}

/// ReactPHP's callbacks get their timer.
#[tokio::test(start_paused = true)]
async fn a_timer_may_cancel_itself_again_and_again() {
    let (log, kept) = (Log::default(), Arc::new(()));
    let (noted, captured, mut calls) = (log.clone(), kept.clone(), 0);
    let periodic = Loop::add_periodic_timer(1, move |timer: Timer| {
        let _ = &captured;
        calls += 1;
        noted.add(calls);
        if calls == 3 {
            Loop::cancel_timer(timer);
            Loop::cancel_timer(timer);
        }
    });
    let noted = log.clone();
    let once = Loop::add_timer(0.5, move |timer: Timer| {
        Loop::cancel_timer(timer);
        noted.add("once");
    });
    sleep(Duration::from_secs(10)).await;
    Loop::cancel_timer(periodic);
    Loop::cancel_timer(once);
    assert_eq!(log.take(), ["once", "1", "2", "3"]);
    assert_eq!(Arc::strong_count(&kept), 1, "the callback is dropped");
}

#[test]
fn a_timer_is_cancelled_from_everywhere_and_also_in_the_listener_that_makes_it() {
    let log = Log::default();
    let noted = log.clone();
    let runtime = several_threads();
    let (timer, told) = mpsc::channel();
    runtime.block_on(async {
        let (address, _) = listen_with(websockets(move |_| {
            let mine = Loop::add_timer(0, note(&noted, "cancelled by its maker"));
            Loop::cancel_timer(mine);
            let theirs = Loop::add_timer(0, note(&noted, "cancelled by another thread"));
            std::thread::spawn(move || Loop::cancel_timer(theirs)).join().unwrap();
            timer.send(Loop::add_timer(1000, note(&noted, "cancelled later"))).unwrap();
        }));
        Peer::open(address).await;
        round().await;
    });
    let kept = told.recv().unwrap();
    Loop::cancel_timer(kept);
    drop(runtime);
    Loop::cancel_timer(kept);
    assert!(log.take().is_empty());
}

#[test]
fn each_runtime_has_a_loop_of_its_own_which_ends_with_it() {
    let (log, kept) = (Log::default(), Arc::new(()));
    let held = || {
        let kept = kept.clone();
        move || _ = &kept
    };
    let [first, second] = [(); 2].map(|()| Builder::new_current_thread().enable_all().start_paused(true).build().unwrap());
    for (runtime, entries) in [(&first, ["tick 1", "timer 1"]), (&second, ["tick 2", "timer 2"])] {
        let _entered = runtime.enter();
        Loop::future_tick(note(&log, entries[0]));
        Loop::add_timer(1, note(&log, entries[1]));
        Loop::add_timer(1000, held());
        Loop::add_periodic_timer(1000, held());
    }
    second.block_on(async { sleep(Duration::from_secs(2)).await });
    assert_eq!(log.take(), ["tick 2", "timer 2"]);
    first.block_on(async { sleep(Duration::from_secs(2)).await });
    assert_eq!(log.take(), ["tick 1", "timer 1"]);
    drop(first);
    assert_eq!(Arc::strong_count(&kept), 3);
    {
        let _entered = second.enter();
        Loop::future_tick(held());
    }
    drop(second);
    assert_eq!(Arc::strong_count(&kept), 1);
}

/// A connection waits for the ticks it has enqueued in its own runtime, and not for those of one
/// that may not be running.
#[tokio::test(start_paused = true)]
async fn no_caller_waits_for_a_runtime_that_does_not_run() {
    let idle = Arc::new(Mutex::new(Some(Builder::new_current_thread().enable_all().build().unwrap())));
    let entered = idle.clone();
    let http = websockets(move |connection: WebSocketConnection| {
        let entered = entered.clone();
        connection.on("text", move |text: &str| {
            let idle = entered.lock().unwrap();
            let _entered = idle.as_ref().map(Runtime::enter);
            Loop::future_tick(|| {});
            connection.write(text);
        });
    });
    let (mut peer, _) = Peer::open_in_memory(&http).await;
    for word in ["one", "two"] {
        peer.send(text(word)).await;
        assert_eq!(peer.text().await, word);
    }
    let idle = idle.lock().unwrap().take();
    idle.unwrap().shutdown_background();
}

#[test]
fn a_runtime_without_time_has_ticks_and_reports_that_it_has_no_timers() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let log = Log::default();
    runtime.block_on(async {
        let timer = || std::panic::catch_unwind(|| Loop::add_timer(1, || {}));
        assert!(timer().is_err());
        Loop::future_tick(note(&log, "tick"));
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
    });
    assert_eq!(log.take(), ["tick"]);
    let outside = std::panic::catch_unwind(|| Loop::future_tick(|| {}));
    assert!(outside.is_err(), "there is no loop outside of a runtime");
}

#[tokio::test(start_paused = true)]
async fn all_timers_take_one_task_and_nothing_sleeps_when_none_is_left() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let timers: Vec<_> = (1..10_000).map(|n| Loop::add_timer(n, || {})).collect();
    assert_eq!(alive(), before + 1);
    round().await;
    timers.into_iter().for_each(Loop::cancel_timer);
    // While the runtime waits for another thread, paused time passes if anything sleeps.
    let (start, (ask, asked)) = (Instant::now(), mpsc::channel::<oneshot::Sender<()>>());
    let other = std::thread::spawn(move || asked.iter().for_each(|answer| _ = answer.send(())));
    for _ in 0..100 {
        let (answer, answered) = oneshot::channel();
        ask.send(answer).unwrap();
        answered.await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    drop(ask);
    other.join().unwrap();
}
