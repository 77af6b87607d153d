//! The door of a server.

use std::net::{IpAddr, Ipv4Addr};

use shuttle::thread;

use super::{check, let_others};
use crate::HttpOptions;
use crate::http::inside::Door;
use crate::model::sync::Arc;

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
