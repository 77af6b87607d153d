//! A whole connection with generated input and a generated app. Its events are in order, with one
//! `close`. The connection ends and leaves nothing behind, and the peer receives well-formed
//! frames.
#![no_main]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use react_websocket_fuzz::app::{App, Ending, Listeners, may_pause, options};
use react_websocket_fuzz::exchange::paused_runtime;
use react_websocket_fuzz::frames::{LARGE, check_server, frames};
use react_websocket_fuzz::input::{Cuts, Input};
use react_websocket_fuzz::reference::Head;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, duplex, split};
use tokio::time::{sleep, timeout};

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fuzz_target!(|data: &[u8]| {
    // A fixed seed makes the random values of the crate the same in each run.
    fastrand::seed(0);
    let mut input = Input::new(data);
    let (kind, bits, manner) = (input.byte(), input.byte(), Manner::of(input.byte()));
    let cuts = input.cuts();
    let script = input.short();
    let shakes_hands = kind & 1 == 0;
    // A large message in small pieces takes long and tells nothing new.
    let large = if cuts.is_whole() && manner.capacity > LARGE { LARGE } else { 1000 };
    let bytes = if shakes_hands { [HANDSHAKE, &frames(&mut input, large)].concat() } else { input.rest().to_vec() };
    let listeners = Listeners { rejects: kind & 0x0E == 0x0E, waits: kind & 0x10 != 0 };
    let has_other = kind & 0x20 != 0;

    let runtime = paused_runtime();
    let app = App::new(options(bits), listeners, script);
    let received = runtime.block_on(async {
        let mut other = has_other.then(|| Peer::connect(&app, &Manner::of(0)));
        if let Some(other) = &mut other {
            other.send(HANDSHAKE, &Cuts::default(), &Manner::of(0)).await;
        }
        let mut peer = Peer::connect(&app, &manner);
        peer.send(&bytes, &cuts, &manner).await;
        let received = peer.leave(&manner, !may_pause(script)).await;
        if let Some(other) = other {
            let sent = other.leave(&Manner { end: End::Fin, ..Manner::of(0) }, !may_pause(script)).await;
            check_sent(&sent);
        }
        // What listeners have begun, a pause of a second or a write, is over as well.
        sleep(Duration::from_secs(2)).await;
        received
    });
    let endings = app.check();
    assert_eq!(runtime.metrics().num_alive_tasks(), 0, "tasks are left");
    let is_whole = check_sent(&received);
    // To a WebSocket a FIN without a Close is the end, and what has not left is dropped.
    let is_left = manner.end == End::Fin && !endings.is_empty();
    let is_cut = endings.contains(&Ending::Cut) || is_left || manner.end == End::Gone || !manner.reads;
    assert!(is_whole || is_cut, "half an answer: {:?}", String::from_utf8_lossy(&received));
    if shakes_hands && manner.reads && manner.end != End::Gone {
        assert!(received.starts_with(b"HTTP/1.1 "), "no answer");
    }
});

/// Longer than any timeout of the server, one after the other: 30 s for a write, 20 s each for a ping and its pong.
const PATIENCE: Duration = Duration::from_secs(50);

/// How a peer behaves.
struct Manner {
    /// Whether it reads at once, or only long after it has sent everything.
    reads: bool,
    end: End,
    /// How many bytes may be under way in each direction.
    capacity: usize,
    /// How long it waits between the pieces of what it sends.
    pause: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It waits for what comes.
    Silence,
    Fin,
    /// It is gone, and does not hear any more.
    Gone,
}

impl Manner {
    fn of(byte: u8) -> Manner {
        Manner {
            reads: byte & 1 == 0,
            end: [End::Fin, End::Silence, End::Gone, End::Silence][usize::from(byte >> 1 & 3)],
            capacity: [1 << 20, 200, 7, 1][usize::from(byte >> 3 & 3)],
            pause: Duration::from_millis([0, 0, 0, 0, 1, 100, 900, 4_000][usize::from(byte >> 5)]),
        }
    }
}

/// The other end of a connection.
struct Peer {
    serving: react_websocket::shutdown::Serving,
    write: tokio::io::WriteHalf<DuplexStream>,
    reading: Reading,
    received: Arc<Mutex<Vec<u8>>>,
}

enum Reading {
    Later(ReadHalf<DuplexStream>),
    Now(tokio::task::JoinHandle<()>),
}

impl Peer {
    fn connect(app: &App, manner: &Manner) -> Peer {
        let (ours, theirs) = duplex(manner.capacity);
        let serving = app.http.serve(theirs);
        let (read, write) = split(ours);
        let received = Arc::new(Mutex::new(Vec::new()));
        let reading = match manner.reads {
            true => Reading::Now(tokio::spawn(read_to_end(read, received.clone()))),
            false => Reading::Later(read),
        };
        Peer { serving, write, reading, received }
    }

    /// Sends bytes, as far as the server takes them.
    async fn send(&mut self, bytes: &[u8], cuts: &Cuts, manner: &Manner) {
        let mut rest = bytes;
        for number in 0.. {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(cuts.size(number)));
            rest = after;
            match timeout(PATIENCE, self.write.write_all(piece)).await {
                Ok(Ok(())) => sleep(manner.pause).await,
                _ => break,
            }
        }
    }

    /// Ends as it likes, and returns what it has been sent when the server has nothing more to do with it.
    async fn leave(mut self, manner: &Manner, ends_by_itself: bool) -> Vec<u8> {
        if manner.end == End::Fin {
            let _ = self.write.shutdown().await;
        }
        let reading = match (self.reading, manner.end) {
            (Reading::Now(reading), End::Gone) => {
                reading.abort();
                let _ = reading.await;
                None
            }
            (Reading::Later(_), End::Gone) => None,
            (Reading::Now(reading), _) => Some(reading),
            (Reading::Later(read), _) => {
                sleep(PATIENCE).await;
                Some(tokio::spawn(read_to_end(read, self.received.clone())))
            }
        };
        // Half of a stream that is split keeps all of it.
        let write = (manner.end != End::Gone).then_some(self.write);
        // A silent peer may be waited for.
        let ends_by_itself = ends_by_itself && manner.end != End::Silence;
        let ended = timeout(PATIENCE, &mut self.serving).await;
        assert!(ended.is_ok() || !ends_by_itself, "it has not ended");
        let closed = timeout(PATIENCE, self.serving.close()).await;
        assert!(closed.is_ok(), "it does not end when it is closed");
        if let Some(reading) = reading {
            reading.await.expect("a reader");
        }
        drop(write);
        std::mem::take(&mut self.received.lock().unwrap())
    }
}

async fn read_to_end(mut read: ReadHalf<DuplexStream>, received: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = read.read(&mut buffer).await {
        received.lock().unwrap().extend_from_slice(&buffer[..count]);
    }
}

/// Checks what a peer was sent: responses, and behind a 101 frames. Returns whether the last is there whole.
fn check_sent(sent: &[u8]) -> bool {
    let mut rest = sent;
    while !rest.is_empty() {
        let Some(status) = rest.strip_prefix(b"HTTP/1.1 ").or(rest.strip_prefix(b"HTTP/1.0 ")) else {
            assert!(rest.len() < 9, "no response: {:?}", String::from_utf8_lossy(rest));
            return false;
        };
        let Some(line_end) = rest.windows(2).position(|two| two == b"\r\n") else { return false };
        // As if it were a request, so that it can be read like one.
        let mut head = [b"A ", &status[..3], b" HTTP/1.1", &rest[line_end..]].concat();
        let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        head.truncate(end + 4);
        let head = Head::read(&head).unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(rest)));
        rest = &rest[line_end + head.length - head.line_length..];
        match &head.target[..] {
            b"100" => continue,
            b"101" => return check_server(rest),
            _ => {}
        }
        let length = head.all("content-length");
        let length: usize = std::str::from_utf8(length[0]).unwrap().parse().unwrap();
        // The answer to a HEAD that was none has no body, and is the last.
        if rest.is_empty() && head.all("connection") == [b"close"] {
            return true;
        }
        let Some(after) = rest.get(length..) else { return false };
        rest = after;
    }
    true
}
