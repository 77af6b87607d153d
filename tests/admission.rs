//! Admission: which connections are accepted, which are counted together, and which are closed to
//! make room.

mod support;

use std::future::pending;
use std::time::Duration;

use react_websocket::options::TrustedProxies;
use react_websocket::shutdown::Serving;
use react_websocket::{HttpOptions, HttpServer, Response, ServerRequest, SocketServer};
use support::*;
use tokio::io::DuplexStream;
use tokio::time::timeout;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A connection in memory from an address.
fn connect_from(http: &HttpServer, address: &str) -> (Peer<DuplexStream>, Serving) {
    let (client, server) = tokio::io::duplex(1000);
    let serving = http.serve_with_addresses(server, Some(address.parse().unwrap()), None);
    (Peer::new(client), serving)
}

/// Those that are still served, by their place.
async fn served(peers: &mut [(Peer<DuplexStream>, Serving)]) -> Vec<usize> {
    let mut served = Vec::new();
    for (place, (peer, _)) in peers.iter_mut().enumerate() {
        if timeout(Duration::from_millis(1), peer.ended()).await.is_err() {
            served.push(place);
        }
    }
    served
}

fn with_room_for(pending: usize) -> HttpServer {
    HttpServer::new(router).with_options(HttpOptions::new().max_pending_handshakes(pending).max_connections(None))
}

#[tokio::test(start_paused = true)]
async fn the_oldest_silent_connection_makes_room() {
    let http = with_room_for(20);
    // From different addresses, so that none of them has more than its share.
    let mut peers: Vec<_> = (0..20).map(|n| connect_from(&http, &format!("192.0.2.{n}:1"))).collect();
    settle().await;
    // The first two have begun to speak.
    for (peer, _) in &mut peers[..2] {
        peer.send("GET / HTTP/1.1\r\n").await;
    }
    settle().await;
    for n in 20..23 {
        peers.push(connect_from(&http, &format!("192.0.2.{n}:1")));
    }
    settle().await;
    let left: Vec<_> = [0, 1].into_iter().chain(5..23).collect();
    assert_eq!(served(&mut peers).await, left);
    assert_eq!(http.stats().refused["pending"], 3);
    assert_eq!((http.stats().pending, http.stats().open), (20, 20));
    // A client that completes its request is answered.
    peers[0].0.send("Host: a\r\n\r\n").await;
    assert_eq!(peers[0].0.answer().await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn by_default_there_is_room_for_1024() {
    let http = HttpServer::new(router).with_options(HttpOptions::new().max_connections(None));
    let mut peers: Vec<_> = (0..1024).map(|_| Peer::serve_with_capacity(&http, 100)).collect();
    settle().await;
    assert_eq!((http.stats().pending, http.stats().refused.len()), (1024, 0));
    peers.push(Peer::serve(&http));
    settle().await;
    assert_eq!(served(&mut peers).await, (1..1025).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn clients_with_incomplete_requests_make_room_if_none_is_silent() {
    let http = with_room_for(20);
    let mut peers = Vec::new();
    for n in 0..25 {
        peers.push(connect_from(&http, &format!("192.0.2.{n}:1")));
        peers[n].0.send("GET / HTTP/1.1\r\n").await;
        settle().await;
    }
    assert_eq!(served(&mut peers).await, (5..25).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn an_address_with_more_than_its_share_makes_room_before_others() {
    let http = with_room_for(64);
    let mut peers: Vec<_> = (0..54).map(|n| connect_from(&http, &format!("192.0.2.{n}:1"))).collect();
    settle().await;
    // A sixteenth of the places are four.
    for n in 0..30 {
        peers.push(connect_from(&http, &format!("[2001:db8:1:2:{n:x}::1]:{n}")));
        settle().await;
    }
    let served = served(&mut peers).await;
    assert_eq!(served, (0..54).chain(74..84).collect::<Vec<_>>(), "its own oldest, and nobody else");
}

#[tokio::test(start_paused = true)]
async fn an_address_with_no_more_than_its_share_makes_no_room_before_others() {
    let http = with_room_for(64);
    let mut peers: Vec<_> = (0..60).map(|n| connect_from(&http, &format!("192.0.2.{n}:1"))).collect();
    settle().await;
    // An office, while clients come from everywhere.
    peers.extend((0..4).map(|n| connect_from(&http, &format!("198.51.100.1:{n}"))));
    settle().await;
    peers.extend((0..10).map(|n| connect_from(&http, &format!("203.0.113.{n}:1"))));
    settle().await;
    assert_eq!(served(&mut peers).await, (10..74).collect::<Vec<_>>());
}

/// It had ten connections, of which one is left.
#[tokio::test(start_paused = true)]
async fn an_address_whose_connections_have_left_or_asked_has_its_share_again() {
    for have_asked in [false, true] {
        let http = with_room_for(32);
        let mut peers: Vec<_> = (0..22).map(|n| connect_from(&http, &format!("192.0.2.{n}:1"))).collect();
        settle().await;
        let mut crowd: Vec<_> = (0..10).map(|n| connect_from(&http, &format!("198.51.100.1:{n}"))).collect();
        settle().await;
        let mut left = Vec::new();
        for _ in 0..9 {
            let (mut peer, serving) = crowd.remove(0);
            if have_asked {
                assert_eq!(peer.ask(GET).await.status(), 200);
                left.push((peer, serving));
            } else {
                drop(peer);
                while_time_passes(serving).await;
            }
        }
        peers.extend(crowd);
        // Nine have room, and for the tenth the oldest of all makes it.
        for n in 0..10 {
            peers.push(connect_from(&http, &format!("203.0.113.{n}:1")));
            settle().await;
        }
        assert_eq!(served(&mut peers).await, (1..33).collect::<Vec<_>>(), "{have_asked}");
        assert_eq!(http.stats().refused["pending"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_trusted_proxies_the_oldest_makes_room() {
    let proxies = TrustedProxies::x_forwarded_for(["192.0.2.1"]);
    let options = HttpOptions::new().max_pending_handshakes(20).max_connections(None).trusted_proxies(proxies);
    let http = HttpServer::new(router).with_options(options);
    let mut peers = Vec::new();
    for n in 0..20 {
        // Every other one comes through the proxy, which has no more than its share, however many clients it has.
        let address = if n % 2 == 0 { "192.0.2.1:1".to_owned() } else { format!("192.0.2.{}:1", 100 + n) };
        peers.push(connect_from(&http, &address));
        settle().await;
    }
    for n in 0..3 {
        peers.push(connect_from(&http, &format!("192.0.2.{}:1", 200 + n)));
        settle().await;
    }
    assert_eq!(served(&mut peers).await, (3..23).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn without_the_limit_no_connection_makes_room_and_with_a_limit_of_0_every_one_does() {
    let http = HttpServer::new(router).with_options(HttpOptions::new().max_pending_handshakes(None).max_connections(None));
    let mut peers: Vec<_> = (0..2_000).map(|_| connect_from(&http, "192.0.2.1:1")).collect();
    settle().await;
    assert_eq!((http.stats().pending, http.stats().refused.len()), (2_000, 0));
    assert_eq!(peers[0].0.ask(GET).await.status(), 200);
    let http = with_room_for(0);
    let (mut silent, _serving) = connect_from(&http, "192.0.2.1:1");
    assert!(while_time_passes(silent.ended()).await);
    // A connection whose head arrives at once was never pending.
    let (client, server) = tokio::io::duplex(1000);
    let mut quick = Peer::new(client);
    quick.send(GET).await;
    let _serving = http.serve(server);
    assert_eq!(quick.answer().await.status(), 200);
}

/// A connection is no longer pending when its request has arrived, however long the router takes.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_being_answered_makes_no_room() {
    let http = HttpServer::new(|_: ServerRequest| async { pending::<Response>().await });
    let http = http.with_options(HttpOptions::new().max_pending_handshakes(2).max_connections(None));
    let mut asked: Vec<_> = (0..5).map(|_| connect_from(&http, "192.0.2.1:1")).collect();
    for (peer, _) in &mut asked[3..] {
        peer.send(GET).await;
    }
    settle().await;
    assert_eq!(served(&mut asked).await, [1, 2, 3, 4]);
}

/// Over real sockets, all from one address: 1,100 silent clients, which connect again as soon as
/// they are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_that_sends_is_refused_however_many_are_silent() {
    let http = HttpServer::new(router).with_options(HttpOptions::new().max_connections(None));
    let (address, _listening) = listen_with(http.clone());
    let flood: Vec<_> = (0..1_100)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    assert!(Peer::connect(address).await.ended().await);
                }
            })
        })
        .collect();
    timeout(Duration::from_secs(30), async {
        while !http.stats().refused.contains_key("pending") {
            tokio::task::yield_now().await;
        }
        for _ in 0..249 {
            assert_eq!(Peer::connect(address).await.ask(GET).await.status(), 200);
        }
    })
    .await
    .expect("in time");
    flood.iter().for_each(|task| task.abort());
}

/// A client with one IPv6 address owns the /64 network around it (RFC 4291 section 2.5.4).
#[tokio::test(start_paused = true)]
async fn connections_of_an_address_are_those_of_its_network_and_of_all_its_forms() {
    for (first, second, are_counted_together) in [
        ("192.0.2.1:1", "192.0.2.1:2", true),
        ("192.0.2.1:1", "192.0.2.2:1", false),
        ("192.0.2.1:1", "[::ffff:192.0.2.1]:1", true),
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:1", false),
        ("[2001:db8:0:1::1]:1", "[2001:db8:0:1:ffff::2]:1", true),
        ("[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false),
    ] {
        let http = HttpServer::new(router).with_options(HttpOptions::new().max_connections_per_ip(1));
        let (mut one, ended) = connect_from(&http, first);
        assert_eq!(one.ask(GET).await.status(), 200);
        let (mut another, _serving) = connect_from(&http, second);
        let status = another.ask(GET).await.status();
        assert_eq!(status == 429, are_counted_together, "{first} and {second}: {status}");
        drop(one);
        while_time_passes(ended).await;
        assert_eq!(connect_from(&http, first).0.ask(GET).await.status(), 200, "there is room again");
    }
}

/// RFC 4291 section 2.5.5.2: a client that has come by IPv4 is the same one on whichever socket.
#[tokio::test(start_paused = true)]
async fn addresses_are_given_in_one_form() {
    let http = HttpServer::new(|request: ServerRequest| {
        let (remote, peer, local) = (request.remote_address(), request.peer_address(), request.local_address());
        Response::plaintext(format!("{} {} {}", remote.unwrap(), peer.unwrap(), local.unwrap()))
    });
    for (remote, local, told) in [
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2", "192.0.2.1:1 192.0.2.1:1 192.0.2.2:2"),
        ("[2001:db8::1]:1", "[::1]:2", "[2001:db8::1]:1 [2001:db8::1]:1 [::1]:2"),
    ] {
        let (client, server) = tokio::io::duplex(1000);
        let _serving = http.serve_with_addresses(server, Some(remote.parse().unwrap()), Some(local.parse().unwrap()));
        assert_eq!(Peer::new(client).ask(GET).await.text(), told);
    }
}

#[tokio::test]
async fn a_client_that_comes_by_ipv4_to_an_ipv6_socket_has_ipv4_addresses() {
    let http = HttpServer::new(|request: ServerRequest| {
        Response::plaintext(format!("{} {}", request.remote_address().unwrap(), request.local_address().unwrap()))
    });
    // Where there is no IPv6, there is no such client.
    let Ok(socket) = SocketServer::new("[::]:0") else { return };
    let port = socket.local_address().unwrap().port();
    let _listening = http.listen(socket);
    for _ in 0..2 {
        let mut peer = Peer::connect(([127, 0, 0, 1], port).into()).await;
        let own = peer.stream.local_addr().unwrap();
        assert_eq!(peer.ask(GET).await.text(), format!("{own} 127.0.0.1:{port}"));
    }
}
