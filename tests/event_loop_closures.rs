//! Which closures timers, ticks and signals take. What counts is that this compiles; then it runs.

mod support;

use std::io;
use std::sync::Arc;
use std::time::Duration;

#[cfg(unix)]
use react_websocket::Signal;
use react_websocket::{Loop, Timer};
use support::Log;
use tokio::time::sleep;

/// State that an app shares with its callbacks.
struct App(Log);

impl App {
    async fn work(&self, what: &'static str) {
        sleep(Duration::from_millis(1)).await;
        self.0.add(what);
    }
}

fn app() -> (Arc<App>, Log) {
    let log = Log::default();
    (Arc::new(App(log.clone())), log)
}

#[tokio::test(start_paused = true)]
async fn periodic_timers() {
    let (app, log) = app();
    let mut sum = 0;
    Loop::add_periodic_timer(1, {
        let app = app.clone();
        move || {
            sum += 1;
            assert!(sum < 3);
            app.0.add("FnMut");
        }
    });
    Loop::add_periodic_timer(1, {
        let app = app.clone();
        async move || app.work("async move ||").await
    });
    Loop::add_periodic_timer(1, {
        let app = app.clone();
        async move |timer: Timer| {
            app.work("async move |timer|").await;
            Loop::cancel_timer(timer);
        }
    });
    Loop::add_periodic_timer(1, {
        let app = app.clone();
        move || {
            let app = app.clone();
            async move { app.work("|| async move").await }
        }
    });
    Loop::add_periodic_timer(1, {
        let app = app.clone();
        move |timer: Timer| {
            let app = app.clone();
            async move {
                Loop::cancel_timer(timer);
                app.work("|timer| async move").await;
                Ok::<(), io::Error>(())
            }
        }
    });
    Loop::add_periodic_timer(Duration::from_secs(1), || async {});
    Loop::add_periodic_timer(1.0, || true);
    Loop::add_periodic_timer(1.0, || Ok::<(), &str>(()));
    Loop::add_periodic_timer(1.0, async || Err::<(), _>("logged"));
    fn named() {}
    Loop::add_periodic_timer(1.0, named);
    async fn asynchronous() {}
    Loop::add_periodic_timer(1.0, asynchronous);
    let boxed: Box<dyn FnMut() + Send> = Box::new(|| {});
    Loop::add_periodic_timer(1.0, boxed);
    sleep(Duration::from_millis(2500)).await;
    let mut heard = log.take();
    heard.sort();
    let twice = ["FnMut", "FnMut", "async move ||", "async move ||"];
    let once = ["async move |timer|", "|timer| async move"];
    let mut all = [&twice[..], &once, &["|| async move", "|| async move"]].concat();
    all.sort();
    assert_eq!(heard, all);
}

#[tokio::test(start_paused = true)]
async fn timers_and_ticks() {
    let (app, log) = app();
    let own = |what: &str| (app.clone(), what.to_owned());
    Loop::add_timer(1, {
        let (app, what) = own("FnOnce");
        move || {
            drop(what);
            app.0.add("FnOnce");
        }
    });
    Loop::add_timer(1, {
        let (app, what) = own("async move");
        async move || {
            app.work("async move").await;
            drop(what);
        }
    });
    Loop::add_timer(1, {
        let (app, what) = own("async move |timer|");
        async move |timer: Timer| {
            Loop::cancel_timer(timer);
            app.work("async move |timer|").await;
            drop(what);
        }
    });
    Loop::add_timer(1, {
        let app = app.clone();
        || async move { app.work("|| async move").await }
    });
    Loop::add_timer(1, |timer: Timer| Loop::cancel_timer(timer));
    Loop::add_timer(1, || Err::<(), _>("logged"));
    Loop::future_tick(|| Loop::add_timer(1, || Loop::add_timer(1, || {})));
    Loop::future_tick({
        let app = app.clone();
        async move || app.work("tick").await
    });
    Loop::future_tick({
        let app = app.clone();
        || async move {
            app.work("another tick").await;
            Ok::<(), io::Error>(())
        }
    });
    sleep(Duration::from_secs(2)).await;
    let mut heard = log.take();
    heard.sort();
    assert_eq!(heard, ["FnOnce", "another tick", "async move", "async move |timer|", "tick", "|| async move"]);
}

#[cfg(unix)]
#[tokio::test]
async fn signals() {
    use rustix::process::{Signal as Sent, getpid, kill_process};

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let signal = Signal::from_raw(Sent::USR2.as_raw());
    let app = Arc::new(tell);
    let listeners = [
        Loop::add_signal(signal, {
            let (app, mut calls) = (app.clone(), 0);
            move || {
                calls += 1;
                app.send(format!("FnMut {calls}")).is_ok()
            }
        }),
        Loop::add_signal(signal, {
            let app = app.clone();
            move |signal: Signal| app.send(format!("|signal| {}", signal == Signal::from_raw(Sent::USR2.as_raw()))).is_ok()
        }),
        Loop::add_signal(signal, {
            let app = app.clone();
            async move || {
                tokio::task::yield_now().await;
                app.send("async move ||".to_owned()).is_ok()
            }
        }),
        Loop::add_signal(signal, {
            let app = app.clone();
            async move |_signal: Signal| {
                tokio::task::yield_now().await;
                app.send("async move |signal|".to_owned()).is_ok()
            }
        }),
    ];
    kill_process(getpid(), Sent::USR2).unwrap();
    let mut heard = Vec::new();
    while heard.len() < 4 {
        heard.push(told.recv().await.unwrap());
    }
    heard.sort();
    assert_eq!(heard, ["FnMut 1", "async move |signal|", "async move ||", "|signal| true"]);
    for listener in listeners {
        Loop::remove_signal(listener.unwrap());
    }
    drop(app);
    assert_eq!(told.recv().await, None, "the callbacks are dropped with their listeners");
    assert!(Loop::add_signal(Signal::from_raw(9), || {}).is_err(), "nobody can listen to SIGKILL");
}

/// A signal that is received during an asynchronous call is handled after it.
#[cfg(unix)]
#[tokio::test]
async fn an_asynchronous_listener_of_a_signal_is_called_once_at_a_time() {
    use rustix::process::{Signal as Sent, getpid, kill_process};

    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let listener = Loop::add_signal(Signal::from_raw(Sent::USR1.as_raw()), async move || {
        tell.send("begins").unwrap();
        opened.acquire().await.unwrap().forget();
        tell.send("ends").unwrap();
    })
    .unwrap();
    kill_process(getpid(), Sent::USR1).unwrap();
    assert_eq!(told.recv().await, Some("begins"));
    kill_process(getpid(), Sent::USR1).unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(told.try_recv().is_err());
    gate.add_permits(2);
    for expected in ["ends", "begins", "ends"] {
        assert_eq!(told.recv().await, Some(expected));
    }
    Loop::remove_signal(listener);
    assert_eq!(told.recv().await, None);
}
