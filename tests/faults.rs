//! Streams that fail, end, stall and trickle, at every byte of a conversation.

mod support;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use react_websocket::{HttpServer, WebSocketConnection, WebSocketMiddleware};
use support::*;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};

// The stream.

/// What a stream does when it is asked once more.
#[derive(Clone, Copy, Debug)]
enum Step {
    Go,
    /// It is not ready, and says at once that it is.
    Again,
    /// It is not ready until some time has passed.
    Wait(Duration),
}

const TICK: Step = Step::Wait(Duration::from_millis(3));

/// What happens behind the last byte that is let through.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Nothing, ever.
    Silence,
    /// The end of the stream: a FIN, or a writer that takes nothing.
    Nothing,
    Error(io::ErrorKind),
}

/// One direction of a stream.
#[derive(Clone, Copy, Debug)]
struct Direction {
    /// Bytes at a time.
    size: usize,
    /// What each call finds, over and over.
    steps: &'static [Step],
    /// Bytes in all.
    length: usize,
    end: End,
}

/// All at once, and then silence.
const FREELY: Direction = Direction { size: usize::MAX, steps: &[Step::Go], length: usize::MAX, end: End::Silence };

/// What a stream brings and takes.
#[derive(Clone, Copy, Debug)]
struct Script {
    read: Direction,
    write: Direction,
    shutdown: Option<End>,
}

const FAULTLESS: Script = Script { read: FREELY, write: FREELY, shutdown: None };

/// A direction under way.
struct Way {
    direction: Direction,
    steps: std::iter::Cycle<std::slice::Iter<'static, Step>>,
    left: usize,
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Way {
    fn new(direction: Direction) -> Way {
        Way { direction, steps: direction.steps.iter().cycle(), left: direction.length, waiting: None }
    }

    /// Whether it is not ready, as the script has it.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            match self.steps.next() {
                None | Some(Step::Go) => return Poll::Ready(()),
                Some(Step::Again) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(sleep(*time))),
            }
        }
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
        }
        Poll::Ready(())
    }

    /// How many of `wanted` bytes go through now: none where the stream ends.
    fn poll(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if wanted > 0 && self.left == 0 {
            return self.direction.end.poll().map_ok(|()| 0);
        }
        std::task::ready!(self.poll_step(cx));
        let count = wanted.min(self.direction.size).min(self.left);
        self.left -= count;
        Poll::Ready(Ok(count))
    }
}

impl End {
    fn poll(self) -> Poll<io::Result<()>> {
        match self {
            End::Silence => Poll::Pending,
            End::Nothing => Poll::Ready(Ok(())),
            End::Error(kind) => Poll::Ready(Err(kind.into())),
        }
    }
}

/// A stream that follows a script: it brings a client's bytes and keeps what it takes.
struct Scripted {
    input: VecDeque<u8>,
    output: Arc<Mutex<Vec<u8>>>,
    read: Way,
    write: Way,
    shutdown: Option<End>,
    is_shut_down: bool,
}

impl Scripted {
    fn new(input: &[u8], script: Script, output: Arc<Mutex<Vec<u8>>>) -> Scripted {
        let Script { read, write, shutdown } = script;
        let input = input.iter().copied().collect();
        Scripted { input, output, read: Way::new(read), write: Way::new(write), shutdown, is_shut_down: false }
    }
}

impl AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        assert!(buffer.remaining() > 0, "a read of nothing looks like the end");
        if stream.input.is_empty() {
            return stream.read.direction.end.poll();
        }
        let wanted = stream.input.len().min(buffer.remaining());
        let count = std::task::ready!(stream.read.poll(wanted, cx))?;
        buffer.put_slice(&stream.input.drain(..count).collect::<Vec<u8>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        assert!(!stream.is_shut_down, "nothing is written after the end");
        let count = std::task::ready!(stream.write.poll(bytes.len(), cx))?;
        stream.output.lock().unwrap().extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    /// Accepted bytes may be delayed, as in the buffers of TLS. If the stream ends meanwhile, they
    /// are never sent.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if stream.write.left == 0 {
            return stream.write.direction.end.poll();
        }
        stream.write.poll_step(cx).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        stream.is_shut_down = true;
        stream.shutdown.unwrap_or(End::Nothing).poll()
    }
}

// The conversation.

/// How a conversation ends, if nothing else ends it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    PeerCloses,
    PeerBreaksARule,
    ServerCloses,
    ListenerFails,
}

const ENDINGS: [Ending; 4] = [Ending::PeerCloses, Ending::PeerBreaksARule, Ending::ServerCloses, Ending::ListenerFails];

/// What a client sends, each with the event that it is and the answer to it.
fn conversation(ending: Ending) -> Vec<(Vec<u8>, Option<&'static str>, Vec<u8>)> {
    let said = |frame: Vec<u8>, event, answer: Vec<u8>| (frame, Some(event), answer);
    let nothing = |frame: Vec<u8>| (frame, None, vec![]);
    let mut all = vec![
        said(text("one"), "text one", server_frame(0x81, "one")),
        said(text("two"), "text two", server_frame(0x81, "two")),
        said(frame(0x89, "ping"), "ping 4", server_frame(0x8A, "ping")),
        nothing(frame(0x01, "th")),
        nothing(frame(0x00, "re")),
        said(frame(0x80, "e"), "text three", server_frame(0x81, "three")),
    ];
    all.push(match ending {
        Ending::PeerCloses => said(support::close(1000, "bye"), "end", server_frame(0x88, b"\x03\xe8bye")),
        // Right up to its last byte.
        Ending::PeerBreaksARule => nothing(frame(0x81, b"four\xff")),
        Ending::ServerCloses => {
            said(text("close"), "text close", server_frame(0x88, [&[0x0F, 0xA0], &b"enough"[..]].concat()))
        }
        Ending::ListenerFails => nothing(text("fail")),
    });
    all
}

fn input(ending: Ending) -> Vec<u8> {
    let frames: Vec<Vec<u8>> = conversation(ending).into_iter().map(|(frame, ..)| frame).collect();
    [HANDSHAKE.as_bytes(), &frames.concat()].concat()
}

/// The events and the answers to so many bytes of the client.
fn answered(ending: Ending, bytes: usize) -> (Vec<&'static str>, Vec<u8>) {
    let (mut end, mut events, mut answers) = (HANDSHAKE.len(), Vec::new(), Vec::new());
    for (frame, event, answer) in conversation(ending) {
        end += frame.len();
        if end <= bytes {
            events.extend(event);
            answers.extend(answer);
        }
    }
    (events, answers)
}

fn react(connection: &WebSocketConnection, text: &str) -> io::Result<()> {
    match text {
        "close" => connection.close_with(4000, "enough"),
        "fail" => return Err(io::Error::other("told to")),
        text => drop(connection.write(text)),
    }
    Ok(())
}

/// Whether the listener is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    Prompt,
    /// Asynchronous, and done at once.
    Async,
    /// Asynchronous, and done later.
    Slow,
}

const LISTENERS: [Listener; 3] = [Listener::Prompt, Listener::Async, Listener::Slow];

/// What became of a conversation.
#[derive(Debug)]
struct Outcome {
    /// Whether `connection` has fired.
    connected: bool,
    events: Vec<String>,
    output: Vec<u8>,
}

impl Outcome {
    /// The bytes that were written after the response to the handshake.
    fn frames(&self) -> &[u8] {
        let head = self.output.windows(4).position(|four| four == b"\r\n\r\n");
        head.map_or(&[], |at| &self.output[at + 4..])
    }

    fn names(&self) -> Vec<&str> {
        self.events.iter().filter_map(|event| event.split(' ').next()).filter(|name| *name != "drain").collect()
    }
}

/// Serves a stream to its end, and checks what holds for all of them.
async fn serve(ending: Ending, listener: Listener, script: Script) -> Outcome {
    let (log, connected) = (Log::default(), Arc::new(AtomicBool::new(false)));
    let websocket = WebSocketMiddleware::new();
    websocket.on("connection", {
        let (log, connected) = (log.clone(), connected.clone());
        move |connection: WebSocketConnection| {
            connected.store(true, Ordering::Relaxed);
            log.watch(connection);
            match listener {
                Listener::Prompt => connection.on("text", react),
                Listener::Async => {
                    connection.on("text", async |connection: &WebSocketConnection, text: &str| react(connection, text))
                }
                Listener::Slow => connection.on("text", async |connection: &WebSocketConnection, text: &str| {
                    sleep(Duration::from_millis(2)).await;
                    react(connection, text)
                }),
            };
        }
    });
    let http = HttpServer::new((websocket, router));
    let case = || format!("{ending:?}, {listener:?}, {script:?}");
    let (tasks, before) = (Handle::current().metrics().num_alive_tasks(), panics());

    let output = Arc::new(Mutex::new(Vec::new()));
    let serving = http.serve(Scripted::new(&input(ending), script, output.clone()));
    let ended = timeout(Duration::from_secs(120), serving).await;

    assert!(ended.is_ok(), "it does not end: {}: {:?}", case(), log.take());
    assert_eq!(panics(), before, "a task panicked: {}", case());
    assert_eq!(Handle::current().metrics().num_alive_tasks(), tasks, "a task is left: {}", case());
    assert_eq!(Arc::strong_count(&output), 1, "the stream is kept: {}", case());
    let outcome = Outcome {
        connected: connected.load(Ordering::Relaxed),
        events: log.take(),
        output: std::mem::take(&mut output.lock().unwrap()),
    };
    let names = outcome.names();
    if outcome.connected {
        let closes = names.iter().filter(|name| **name == "close").count();
        let errors = names.iter().filter(|name| **name == "error").count();
        assert!(closes == 1 && names.last() == Some(&"close"), "`close` is once and last: {}: {outcome:?}", case());
        assert!(errors <= 1, "`error` is told once: {}: {outcome:?}", case());
        assert!(errors == 0 || names[names.len() - 2] == "error", "nothing follows a fault: {}: {outcome:?}", case());
    } else {
        assert!(names.is_empty(), "there was no connection: {}: {outcome:?}", case());
    }
    outcome
}

/// Runs a test in paused time.
fn run(test: impl Future<Output = ()>) {
    count_panics();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(while_time_passes(test));
}

/// A byte at a time, and as much as there is; with and without waiting between.
const PACES: [Pace; 4] = [
    (usize::MAX, &[Step::Go]),
    (1, &[Step::Go]),
    (1, &[Step::Go, Step::Again, Step::Again, Step::Go, TICK]),
    (7, &[TICK, Step::Go, Step::Again]),
];

/// How many bytes at a time a stream brings, and what each read finds.
type Pace = (usize, &'static [Step]);

/// All that conversations are held with: how they end, who listens, and how fast the stream is.
fn cases(paces: &[Pace]) -> impl Iterator<Item = (Ending, Listener, Pace)> {
    ENDINGS.into_iter().flat_map(move |ending| {
        LISTENERS.into_iter().flat_map(move |listener| paces.iter().map(move |pace| (ending, listener, *pace)))
    })
}

/// The lengths after which the input ends or stalls. The beginning that a conversation shares with
/// the first one is tried only once.
fn lengths(ending: Ending, listener: Listener) -> std::ops::RangeInclusive<usize> {
    let frames = conversation(ending);
    let first = match (ending, listener) {
        (Ending::PeerCloses, Listener::Prompt) => 0,
        (Ending::PeerCloses, _) => HANDSHAKE.len(),
        _ => input(ending).len() - frames[frames.len() - 1].0.len(),
    };
    first..=input(ending).len()
}

// Reading.

#[test]
fn a_stream_that_ends_is_answered_as_far_as_it_came_and_closed() {
    run(async {
        for (ending, listener, (size, steps)) in cases(&PACES) {
            for length in lengths(ending, listener) {
                let read = Direction { size, steps, length, end: End::Nothing };
                let outcome = serve(ending, listener, Script { read, ..FAULTLESS }).await;
                assert_eq!(outcome.connected, length >= HANDSHAKE.len(), "{length} bytes");
                let (events, answers) = answered(ending, length);
                let told = outcome.events.iter().take(events.len());
                assert!(told.eq(&events), "{ending:?}, {listener:?}, {length} bytes: {outcome:?}");
                assert!(contains_answers(&outcome, &answers), "{ending:?}, {listener:?}, {length} bytes: {outcome:?}");
                if outcome.connected && length < input(ending).len() {
                    assert_eq!(outcome.events[events.len()..], ["close 1006 "], "{ending:?}, {length} bytes");
                }
            }
        }
    });
}

/// Whether the answers are what was written first. A ping is answered ahead of messages whose listener is not done.
fn contains_answers(outcome: &Outcome, answers: &[u8]) -> bool {
    let pong = server_frame(0x8A, "ping");
    let without_pong = |bytes: &[u8]| match bytes.windows(pong.len()).position(|window| window == pong) {
        Some(at) => (true, [&bytes[..at], &bytes[at + pong.len()..]].concat()),
        None => (false, bytes.to_vec()),
    };
    let ((was_answered, frames), (is_answered, answers)) = (without_pong(outcome.frames()), without_pong(answers));
    frames.starts_with(&answers) && was_answered == is_answered
}

#[test]
fn a_stream_that_fails_to_be_read_is_closed() {
    run(async {
        for (ending, listener, (size, steps)) in cases(&PACES) {
            for length in lengths(ending, listener) {
                // One that is how peers leave, and one that is not.
                for kind in [io::ErrorKind::ConnectionReset, io::ErrorKind::TimedOut] {
                    let read = Direction { size, steps, length, end: End::Error(kind) };
                    let outcome = serve(ending, listener, Script { read, ..FAULTLESS }).await;
                    if length < HANDSHAKE.len() {
                        assert!(!outcome.connected && outcome.output.is_empty(), "{length} bytes: {outcome:?}");
                    } else if length < input(ending).len() {
                        let is_fault = kind == io::ErrorKind::TimedOut;
                        assert!(!outcome.connected || outcome.names().contains(&"error") == is_fault, "{outcome:?}");
                        assert!(!outcome.connected || outcome.events.last().unwrap().starts_with("close 1006"));
                    }
                }
            }
        }
    });
}

#[test]
fn a_peer_that_falls_silent_is_not_waited_for() {
    run(async {
        for (ending, listener, (size, steps)) in cases(&PACES) {
            for length in lengths(ending, listener) {
                let read = Direction { size, steps, length, end: End::Silence };
                let outcome = serve(ending, listener, Script { read, ..FAULTLESS }).await;
                let (events, answers) = answered(ending, length);
                assert!(outcome.events.iter().take(events.len()).eq(&events), "{length} bytes: {outcome:?}");
                assert!(contains_answers(&outcome, &answers), "{length} bytes: {outcome:?}");
            }
        }
    });
}

// Writing.

#[test]
fn a_stream_that_fails_to_be_written_is_closed() {
    run(async {
        let ends = [
            End::Error(io::ErrorKind::BrokenPipe),
            End::Error(io::ErrorKind::TimedOut),
            End::Nothing,
            // It takes no more, for longer than anyone waits.
            End::Silence,
        ];
        for (ending, listener, (size, steps)) in cases(&PACES[..2]) {
            let all = serve(ending, listener, FAULTLESS).await;
            let (all, frames) = (&all.output, all.frames().len());
            let first = if ending == Ending::PeerCloses && listener == Listener::Prompt { 0 } else { all.len() - frames };
            for length in first..=all.len() {
                for end in ends {
                    let write = Direction { size: usize::MAX, steps: &[Step::Go], length, end };
                    let read = Direction { size, steps, ..FREELY };
                    let outcome = serve(ending, listener, Script { read, write, shutdown: None }).await;
                    // The handshake was there, whatever became of the answer.
                    assert!(outcome.connected, "{length} bytes");
                    assert!(outcome.output.len() == length, "{length} bytes of {all:?}: {outcome:?}");
                }
            }
        }
    });
}

#[test]
fn all_answers_arrive_through_a_stream_that_takes_little_at_a_time() {
    let paces: [&[Step]; 5] = [
        &[Step::Go],
        &[Step::Again, Step::Go],
        &[TICK, Step::Go],
        &[Step::Again, Step::Again, Step::Again, Step::Go, TICK, Step::Go, Step::Go],
        &[TICK, Step::Again],
    ];
    run(async {
        for ending in ENDINGS {
            for listener in LISTENERS {
                let all = serve(ending, listener, FAULTLESS).await;
                let (events, answers) = answered(ending, usize::MAX);
                assert!(all.events.iter().take(events.len()).eq(&events) && contains_answers(&all, &answers), "{all:?}");
                for (write_size, steps) in
                    [1, 2, 3, 7, 64, usize::MAX].into_iter().flat_map(|n| paces.map(|pace| (n, pace)))
                {
                    for (size, read_steps) in PACES {
                        let read = Direction { size, steps: read_steps, ..FREELY };
                        let write = Direction { size: write_size, steps, ..FREELY };
                        let script = Script { read, write, shutdown: None };
                        let outcome = serve(ending, listener, script).await;
                        assert_eq!(undated(&outcome), undated(&all), "{ending:?}, {listener:?}, {script:?}");
                        assert!(contains_answers(&outcome, &answers), "{ending:?}, {listener:?}, {script:?}: {outcome:?}");
                        assert_eq!(outcome.frames().len(), all.frames().len(), "{ending:?}, {listener:?}, {script:?}");
                        assert_eq!(outcome.events.last(), all.events.last(), "{ending:?}, {listener:?}, {script:?}");
                    }
                }
            }
        }
    });
}

/// The response to the handshake, without what depends on the time of day.
fn undated(outcome: &Outcome) -> Vec<String> {
    let head = &outcome.output[..outcome.output.len() - outcome.frames().len()];
    let head = std::str::from_utf8(head).expect("a head of text");
    head.lines().filter(|line| !line.starts_with("Date: ")).map(str::to_owned).collect()
}

#[test]
fn a_stream_that_fails_to_be_shut_down_is_closed() {
    run(async {
        for (ending, listener, (size, steps)) in cases(&PACES) {
            for shutdown in [End::Silence, End::Error(io::ErrorKind::NotConnected)] {
                for end in [End::Silence, End::Nothing] {
                    // Cut in the head of the request too: that is refused, and shut down.
                    for length in [20, input(ending).len()] {
                        let read = Direction { size, steps, length, end };
                        serve(ending, listener, Script { read, write: FREELY, shutdown: Some(shutdown) }).await;
                    }
                }
            }
        }
    });
}
