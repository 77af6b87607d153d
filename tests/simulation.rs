//! The server on simulated machines, whose links can be cut, slow or uneven, and which can crash. Time is simulated, too.
//!
//! The simulated TCP does not retransmit. A link that is cut for good therefore loses everything
//! (`partition`). A link that heals holds everything back until then (`hold`), as TCP's
//! retransmissions do. Occasional losses are delays.

mod support;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use react_websocket::{
    GroupManager, HttpOptions, HttpServer, Response, ServerRequest, WebSocketConnection, WebSocketMiddleware,
    WebSocketOptions,
};
use support::{HANDSHAKE, Peer, frame, router};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::sleep;
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

const SERVER: &str = "server";
const PORT: u16 = 80;

/// How far the simulation goes in one step.
const STEP: Duration = Duration::from_millis(25);
/// How long a message takes on a link of which nothing else is said.
const LATENCY: Duration = Duration::from_millis(50);
/// How late a deadline may be met. The runtime's own timers round up to a whole millisecond.
const LATE: Duration = Duration::from_millis(50 + 1);

const PING_INTERVAL: Duration = seconds(10);
const PONG_TIMEOUT: Duration = seconds(8);
/// Maximum time until a dead peer is detected: the next ping may be an interval and a tenth away,
/// and its pong timeout follows. Both deadlines may be late.
const PROMISE: Duration = Duration::from_millis(11_000 + 8_000 + 2 * 51);

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn options() -> WebSocketOptions {
    WebSocketOptions::new().ping_interval(PING_INTERVAL).pong_timeout(PONG_TIMEOUT)
}

/// A simulation that is the same in every run.
fn simulation() -> Builder {
    // Pings are spread by chance.
    fastrand::seed(1);
    let mut builder = Builder::new();
    builder.rng_seed(1).tick_duration(STEP).simulation_duration(seconds(3600));
    builder.min_message_latency(LATENCY).max_message_latency(LATENCY);
    builder
}

fn until(sim: &mut Sim<'_>, moment: Duration) {
    while sim.elapsed() < moment {
        sim.step().expect("no machine fails");
    }
}

// ------------------------------------------------------------------------------------------------ the log of events

/// A log of events, each with its time and its subject.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<(Duration, String, String)>>>);

impl Diary {
    fn note(&self, who: &str, what: impl Into<String>) {
        // Values that are dropped after the simulation do not count.
        let Some(at) = turmoil::sim_elapsed() else { return };
        self.0.lock().unwrap().push((at, who.to_owned(), what.into()));
    }

    /// When each event happened to a machine that begins so, and how it goes on.
    fn of(&self, who: &str, what: &str) -> Vec<(Duration, String)> {
        let entries = self.0.lock().unwrap();
        let of_it = entries.iter().filter(|(_, other, _)| other == who);
        of_it.filter_map(|(at, _, entry)| Some((*at, entry.strip_prefix(what)?.trim_start().to_owned()))).collect()
    }

    fn count(&self, who: &str, what: &str) -> usize {
        self.of(who, what).len()
    }

    /// When the server was told that the connection to a machine is closed, and why. Once, if at all.
    #[track_caller]
    fn closed(&self, who: &str) -> Option<(Duration, String)> {
        let closed = self.of(who, "close");
        assert!(closed.len() <= 1, "{who}: {closed:?}");
        closed.into_iter().next()
    }

    /// How many numbers were noted so; they have to be all from 0 on, in order.
    #[track_caller]
    fn numbers(&self, who: &str, what: &str) -> usize {
        let numbers: Vec<usize> = self.of(who, what).iter().map(|(_, number)| number.parse().unwrap()).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len()), "{who} {what}: {numbers:?}");
        numbers.len()
    }

    /// That a peer that was cut off at that moment was taken for dead within the promise, but had its time for a pong.
    #[track_caller]
    fn assert_dead_in_time(&self, who: &str, cut: Duration) {
        let (at, why) = self.closed(who).unwrap_or_else(|| panic!("{who} still lives"));
        assert_eq!(why, "1006 no pong within 8s", "{who}");
        // A ping may have been under way, or its pong.
        let least = PONG_TIMEOUT - 2 * LATENCY - 3 * STEP;
        let took = at - cut;
        assert!((least..=PROMISE + STEP).contains(&took), "{who}, cut off at {cut:?}, was dead after {took:?}");
    }
}

/// The machine that a connection comes from.
fn machine(connection: WebSocketConnection) -> String {
    let address = connection.remote_address().expect("an address");
    turmoil::reverse_lookup(address.ip()).expect("a machine")
}

/// Connections that note what they hear and how they are closed.
fn noting(diary: &Diary, options: WebSocketOptions) -> WebSocketMiddleware {
    let (websocket, diary) = (WebSocketMiddleware::new().with_options(options), diary.clone());
    websocket.on("connection", move |connection: WebSocketConnection| {
        let (heard, closed, who) = (diary.clone(), diary.clone(), Arc::new(machine(connection)));
        let name = who.clone();
        connection.on("text", move |text: &str| heard.note(&who, format!("heard {text}")));
        connection.on("close", move |code: u16, reason: &str| closed.note(&name, format!("close {code} {reason}")));
    });
    websocket
}

/// Like `noting`, but each connection also writes a number to its peer at every interval.
fn counting(diary: &Diary, options: WebSocketOptions, every: Duration) -> WebSocketMiddleware {
    let websocket = noting(diary, options);
    websocket.on("connection", move |connection: WebSocketConnection| {
        tokio::spawn(async move {
            for number in 0.. {
                sleep(every).await;
                connection.write(number.to_string());
            }
        });
    });
    websocket
}

/// Runs a server on its machine. Once it is told to, it ends, which is noted.
fn serve(sim: &mut Sim<'_>, diary: &Diary, http: HttpServer) -> Arc<Notify> {
    let (end, diary) = (Arc::new(Notify::new()), diary.clone());
    let is_over = end.clone();
    sim.host(SERVER, move || {
        let (http, diary, is_over) = (http.clone(), diary.clone(), is_over.clone());
        async move {
            let listener = TcpListener::bind((IpAddr::from([0, 0, 0, 0]), PORT)).await?;
            let mut servings = Vec::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (stream, remote) = accepted?;
                        let local = stream.local_addr()?;
                        servings.push(http.serve_with_addresses(stream, Some(remote), Some(local)));
                    }
                    () = is_over.notified() => break,
                }
            }
            diary.note(SERVER, "ends");
            let closings: Vec<_> = servings.iter().map(|serving| serving.close()).collect();
            for closing in closings {
                closing.await;
            }
            diary.note(SERVER, "is over");
            Ok(())
        }
    });
    end
}

// ------------------------------------------------------------------------------------------------ peers

async fn connected() -> Peer<TcpStream> {
    Peer::new(TcpStream::connect((SERVER, PORT)).await.expect("a connection"))
}

async fn opened() -> Peer<TcpStream> {
    let mut peer = connected().await;
    peer.shake_hands().await;
    peer
}

/// A server that has closed a connection does not read from it, which is allowed here.
async fn say(peer: &mut Peer<TcpStream>, bytes: Vec<u8>) {
    let _ = peer.stream.write_all(&bytes).await;
}

/// Runs a peer that answers pings and Closes, repeats texts, and notes those and the end.
fn listens(sim: &mut Sim<'_>, diary: &Diary, who: &str) {
    let (diary, name) = (diary.clone(), who.to_owned());
    sim.host(who, move || {
        let (diary, name) = (diary.clone(), name.clone());
        async move {
            let mut peer = opened().await;
            while let Some(came) = peer.frame().await {
                match came.opcode {
                    PING => say(&mut peer, frame(0x8A, came.payload)).await,
                    TEXT => {
                        diary.note(&name, format!("got {}", String::from_utf8_lossy(&came.payload)));
                        say(&mut peer, frame(0x81, came.payload)).await;
                    }
                    CLOSE => say(&mut peer, frame(0x88, came.payload)).await,
                    _ => panic!("{came:?}"),
                }
            }
            diary.note(&name, "end");
            Ok(())
        }
    });
}

/// Runs a peer that does not listen, and says a number so often.
fn talks(sim: &mut Sim<'_>, who: &str, every: Duration) {
    sim.host(who, move || async move {
        let mut peer = opened().await;
        for number in 0.. {
            sleep(every).await;
            say(&mut peer, frame(0x81, number.to_string())).await;
        }
        Ok(())
    });
}

/// Runs a peer that sends some bytes, and nothing more.
fn falls_silent_after(sim: &mut Sim<'_>, who: &str, bytes: &'static str) {
    sim.host(who, move || async move {
        let mut peer = connected().await;
        peer.send(bytes).await;
        std::future::pending().await
    });
}

// ------------------------------------------------------------------------------------------------ the death watch

/// Peers that are cut off one after the other, all over an interval of pings.
fn cut_off_one_by_one(diary: &Diary) {
    let mut sim = simulation().build();
    serve(&mut sim, diary, HttpServer::new((noting(diary, options()), router)));
    let cuts: Vec<_> = (0..12).map(|n| (format!("peer-{n}"), seconds(15) + seconds(1) * n)).collect();
    for (name, _) in &cuts {
        listens(&mut sim, diary, name);
    }
    for (name, cut) in &cuts {
        until(&mut sim, *cut);
        assert_eq!(diary.closed(name), None, "{name} is well");
        sim.partition(SERVER, &**name);
    }
    until(&mut sim, seconds(15 + 12) + PROMISE + seconds(1));
    for (name, cut) in &cuts {
        diary.assert_dead_in_time(name, *cut);
    }
}

#[test]
fn a_peer_that_is_cut_off_is_dead_within_the_promise_whenever_it_happens() {
    cut_off_one_by_one(&Diary::default());
}

#[test]
fn a_simulation_goes_the_same_way_each_time() {
    let [first, second] = std::array::from_fn(|_| {
        let diary = Diary::default();
        cut_off_one_by_one(&diary);
        diary.of("peer-7", "")
    });
    assert!(!first.is_empty());
    assert_eq!(first, second);
}

#[test]
fn a_peer_whose_bytes_are_lost_is_detected_in_time_though_it_receives_the_servers() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    serve(&mut sim, &diary, HttpServer::new((counting(&diary, options(), seconds(1)), router)));
    listens(&mut sim, &diary, "peer");
    until(&mut sim, seconds(30));
    sim.partition_oneway("peer", SERVER);
    until(&mut sim, seconds(31) + PROMISE);
    diary.assert_dead_in_time("peer", seconds(30));
    assert!(diary.numbers("peer", "got") >= 30 + 7, "it has heard all until then");
    assert_eq!(diary.count("peer", "end"), 1, "and that it was given up");
}

#[test]
fn a_peer_that_receives_nothing_stays_connected_while_it_sends() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    serve(&mut sim, &diary, HttpServer::new((noting(&diary, options()), router)));
    talks(&mut sim, "talker", seconds(1));
    listens(&mut sim, &diary, "listener");
    until(&mut sim, seconds(30));
    sim.partition_oneway(SERVER, "talker");
    sim.partition_oneway(SERVER, "listener");
    until(&mut sim, seconds(150));
    assert_eq!(diary.closed("talker"), None);
    assert!(diary.numbers("talker", "heard") >= 148);
    diary.assert_dead_in_time("listener", seconds(30));
}

#[test]
fn a_machine_that_has_crashed_and_is_back_resets_its_old_connection_at_the_next_ping() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    serve(&mut sim, &diary, HttpServer::new((noting(&diary, options()), router)));
    listens(&mut sim, &diary, "peer");
    until(&mut sim, seconds(30));
    // It does not get to say goodbye.
    sim.partition(SERVER, "peer");
    sim.crash("peer");
    sim.repair(SERVER, "peer");
    until(&mut sim, seconds(31));
    assert_eq!(diary.closed("peer"), None);
    sim.bounce("peer");
    until(&mut sim, seconds(31) + PROMISE);
    let (at, why) = diary.closed("peer").expect("one connection is lost, and the new one lives");
    assert!(why.starts_with("1006") && !why.contains("pong"), "{why}");
    assert!(at <= seconds(30 + 11) + LATE + 2 * LATENCY + 3 * STEP, "{at:?}");
}

#[test]
fn a_peer_that_takes_nothing_is_dead_when_the_write_timeout_has_passed() {
    let (diary, limit) = (Diary::default(), seconds(5));
    // Four writes are under way at most: half a second's.
    let mut sim = simulation().tcp_capacity(4).build();
    let options = WebSocketOptions::new().ping_interval(None).write_timeout(limit);
    serve(&mut sim, &diary, HttpServer::new((counting(&diary, options, millis(125)), router)));
    listens(&mut sim, &diary, "peer");
    until(&mut sim, seconds(20));
    sim.partition(SERVER, "peer");
    until(&mut sim, seconds(30));
    let (at, why) = diary.closed("peer").expect("it is dead");
    assert_eq!(why, "1006 nothing could be sent for 5s");
    let took = at - seconds(20);
    assert!((limit..=limit + millis(5 * 125) + LATE + 3 * STEP).contains(&took), "{took:?}");
}

// ------------------------------------------------------------------------------------------------ links that heal, slow links

#[test]
fn a_link_that_heals_before_a_pong_is_late_costs_no_connection_and_no_message() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    serve(&mut sim, &diary, HttpServer::new((counting(&diary, options(), seconds(1)), router)));
    let names: Vec<_> = (0..4).map(|n| format!("peer-{n}")).collect();
    for name in &names {
        listens(&mut sim, &diary, name);
    }
    let outage = PONG_TIMEOUT - 2 * LATENCY - 4 * STEP;
    // Again and again, at other moments between two pings each time.
    for round in 0..10 {
        let start = seconds(10) + millis(9_300) * round;
        until(&mut sim, start);
        names.iter().for_each(|name| sim.hold(SERVER, &**name));
        until(&mut sim, start + outage);
        names.iter().for_each(|name| sim.release(SERVER, &**name));
    }
    until(&mut sim, seconds(110));
    for name in &names {
        assert_eq!(diary.closed(name), None, "{name}");
        assert!(diary.numbers(name, "got") >= 108, "{name} has heard all");
        assert!(diary.numbers(name, "heard") >= 107, "{name} was heard");
    }
}

#[test]
fn a_peer_learns_from_a_link_that_heals_too_late_that_its_connection_has_ended() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    serve(&mut sim, &diary, HttpServer::new((counting(&diary, options(), seconds(1)), router)));
    listens(&mut sim, &diary, "peer");
    until(&mut sim, seconds(30));
    sim.hold(SERVER, "peer");
    until(&mut sim, seconds(31) + PROMISE);
    diary.assert_dead_in_time("peer", seconds(30));
    assert_eq!(diary.count("peer", "end"), 0);
    sim.release(SERVER, "peer");
    until(&mut sim, seconds(32) + PROMISE);
    assert_eq!(diary.count("peer", "end"), 1);
    assert!(diary.closed("peer").is_some(), "and nothing was told again");
}

#[test]
fn a_link_that_is_slow_and_uneven_costs_no_connection_and_no_order() {
    let (diary, mut builder) = (Diary::default(), simulation());
    builder.min_message_latency(millis(100)).max_message_latency(PONG_TIMEOUT / 2 - seconds(1) / 2);
    let mut sim = builder.build();
    sim.set_message_latency_curve(1.0);
    serve(&mut sim, &diary, HttpServer::new((counting(&diary, options(), millis(200)), router)));
    listens(&mut sim, &diary, "peer");
    until(&mut sim, seconds(200));
    assert_eq!(diary.closed("peer"), None);
    assert!(diary.numbers("peer", "got") >= 5 * 180);
    assert!(diary.numbers("peer", "heard") >= 5 * 170);
}

#[test]
fn late_pongs_fail_silent_peers_and_not_peers_that_send() {
    let (diary, mut builder) = (Diary::default(), simulation());
    // There and back is more than the timeout.
    builder.min_message_latency(seconds(4) + millis(500)).max_message_latency(seconds(4) + millis(500));
    let mut sim = builder.build();
    serve(&mut sim, &diary, HttpServer::new((noting(&diary, options()), router)));
    listens(&mut sim, &diary, "silent");
    talks(&mut sim, "talker", seconds(1));
    until(&mut sim, seconds(180));
    let (at, why) = diary.closed("silent").expect("it is dead");
    assert_eq!(why, "1006 no pong within 8s");
    assert!(at <= seconds(14) + PROMISE + 3 * STEP, "{at:?}, of which three ways are for the handshake");
    assert_eq!(diary.closed("talker"), None);
    assert!(diary.numbers("talker", "heard") >= 150);
}

// ------------------------------------------------------------------------------------------------ groups, the end

#[test]
fn dead_members_leave_their_group_and_the_last_one_ends_it() {
    let (diary, mut sim) = (Diary::default(), simulation().build());
    let groups = GroupManager::new();
    let told = diary.clone();
    groups.on("create", move |group| {
        told.note(SERVER, "create");
        let (joined, left) = (told.clone(), told.clone());
        group.on("join", move |member| joined.note(&machine(member), "join"));
        group.on("leave", move |member| {
            left.note(&machine(member), "leave");
            group.write(format!("{} has left", machine(member)));
        });
    });
    let told = diary.clone();
    groups.on("destroy", move |_| told.note(SERVER, "destroy"));
    let websocket = noting(&diary, options()).with_group_manager(groups.clone());
    websocket.on("connection", |connection: WebSocketConnection| connection.set_group(Some("room")));
    serve(&mut sim, &diary, HttpServer::new((websocket, router)));
    let names = ["a", "b", "c", "d"];
    for name in names {
        listens(&mut sim, &diary, name);
    }
    until(&mut sim, seconds(30));
    assert_eq!(groups.get("room").map(|room| room.len()), Some(4));
    sim.partition(SERVER, "c");
    until(&mut sim, seconds(31) + PROMISE);
    diary.assert_dead_in_time("c", seconds(30));
    assert_eq!(diary.of("c", "leave")[0].0, diary.of("c", "close")[0].0, "it leaves when it is closed");
    for other in ["a", "b", "d"] {
        assert_eq!(diary.of(other, "got")[0].1, "c has left");
        sim.partition(SERVER, other);
    }
    assert_eq!(diary.count(SERVER, "destroy"), 0);
    until(&mut sim, seconds(32) + 2 * PROMISE);
    for name in names {
        assert_eq!((diary.count(name, "join"), diary.count(name, "leave")), (1, 1), "{name}");
    }
    assert_eq!((diary.count(SERVER, "create"), diary.count(SERVER, "destroy")), (1, 1));
    assert!(groups.is_empty());
}

#[test]
fn a_shutdown_beside_dead_peers_ends_within_its_grace() {
    let (diary, mut sim, grace) = (Diary::default(), simulation().tcp_capacity(8).build(), seconds(3));
    let slow = |request: ServerRequest| async move {
        if request.path() == "/slow" {
            sleep(seconds(3600)).await;
        }
        Response::plaintext("done")
    };
    // Nobody is noticed by any other timeout before.
    let options = WebSocketOptions::new().ping_interval(None).write_timeout(None);
    let http = HttpServer::new((counting(&diary, options, millis(125)), slow));
    let http_options = HttpOptions::new().shutdown_grace(grace).header_timeout(seconds(600)).write_timeout(None);
    let end = serve(&mut sim, &diary, http.with_options(http_options));
    listens(&mut sim, &diary, "alive");
    listens(&mut sim, &diary, "cut-off");
    falls_silent_after(&mut sim, "deaf", HANDSHAKE);
    falls_silent_after(&mut sim, "in-its-request", "GET / HTTP/1.1\r\nHost: exam");
    falls_silent_after(&mut sim, "in-the-router", "GET /slow HTTP/1.1\r\nHost: example.com\r\n\r\n");
    until(&mut sim, seconds(10));
    for name in ["cut-off", "in-its-request", "in-the-router"] {
        sim.partition(SERVER, name);
    }
    until(&mut sim, seconds(20));
    end.notify_one();
    until(&mut sim, seconds(30));
    let (began, over) = (diary.of(SERVER, "ends")[0].0, diary.of(SERVER, "is over"));
    let took = over.first().expect("it is over").0 - began;
    assert!((grace..=grace + LATE).contains(&took), "{took:?}: the dead are waited for, and no longer than that");
    let (at, why) = diary.closed("alive").expect("it was told");
    assert!(why.starts_with("1001"), "{why}");
    assert!(at - began <= 2 * LATENCY + 4 * STEP, "{:?}: who answers is not kept", at - began);
    for name in ["cut-off", "deaf"] {
        let (at, why) = diary.closed(name).expect("it was cut");
        assert!(at - began <= grace + LATE, "{name}: {why} after {:?}", at - began);
    }
}
