//! The door of a server.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use react_websocket::HttpOptions;
use react_websocket::inside::Door;
use shuttle::future::{block_on, spawn};
use shuttle::sync::mpsc;
use shuttle::thread;
use tokio::sync::Notify;

use super::{check, let_others};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn never_more_are_in_than_may_be_and_all_places_are_free_again() {
    check(5, || {
        let door = Door::default();
        // How many are in is counted for this model alone.
        let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let options = |limit: usize| {
            let per_address = u32::try_from(limit).expect("a small one");
            HttpOptions::new().max_connections(None).max_pending_handshakes(None).max_connections_per_ip(per_address)
        };
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (door, inside) = (door.clone(), inside.clone());
                thread::spawn(move || {
                    if let Some(place) = door.enter(HOME, &options(2)) {
                        let others = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert!(others < 2, "{others} are in already");
                        let_others();
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(place);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let all = HttpOptions::new().max_connections(2).max_pending_handshakes(2).max_connections_per_ip(2);
        let places = [door.enter(HOME, &all), door.enter(HOME, &all)];
        assert!(places.iter().all(Option::is_some), "whoever left has left its place");
        assert!(door.enter(HOME, &all).is_none());
        drop(places);
        assert!(door.enter(HOME, &all).is_some());
    });
}

#[test]
fn of_two_who_come_at_once_to_the_last_place_one_gets_it() {
    check(5, || {
        let door = Door::default();
        let options = || HttpOptions::new().max_connections(1);
        let threads = [(); 2].map(|()| {
            let door = door.clone();
            thread::spawn(move || door.enter(HOME, &options()))
        });
        let places = threads.map(|thread| thread.join().expect("no panic"));
        assert_eq!(places.iter().flatten().count(), 1);
        drop(places);
        assert!(door.enter(HOME, &options()).is_some());
    });
}

#[test]
fn of_those_who_wait_at_the_door_as_many_make_room_as_have_to_and_each_is_told() {
    check(5, || {
        let (door, (tell, told), leave) = (Door::default(), mpsc::channel(), Arc::new(Notify::new()));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (door, tell, leave) = (door.clone(), tell.clone(), leave.clone());
                spawn(async move {
                    let mut evicted = pin!(door.wait(HttpOptions::new().max_pending_handshakes(1)));
                    let mut released = pin!(leave.notified());
                    let is_evicted = std::future::poll_fn(|cx| match evicted.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(true),
                        Poll::Pending => released.as_mut().poll(cx).map(|()| false),
                    });
                    if is_evicted.await {
                        tell.send(()).expect("the model waits");
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            told.recv().expect("two have to make room");
        }
        // The third may still be on its way to the door.
        leave.notify_one();
        waiting.into_iter().for_each(|waiting| block_on(waiting).expect("no panic"));
        assert!(told.try_recv().is_err(), "the last one stays as long as it wants");
        assert_eq!(door.waiting(), 0);
    });
}
