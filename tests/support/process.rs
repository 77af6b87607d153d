//! A server in a process of its own, whose memory, time and descriptors are seen from outside, and a client that wants nothing
//! but to be served.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use react_websocket::{
    BodyStream, GroupManager, HttpOptions, HttpServer, Response, ServerRequest, SocketServer, WebSocketConnection,
    WebSocketMiddleware, WebSocketOptions,
};

use super::support::{HANDSHAKE, frame, text};

/// How a process is told that it is to be the server, and with which options.
const SETUP: &str = "REACT_WEBSOCKET_SERVER";

/// What the server says before its address.
const LISTENING: &str = "listening on ";

/// Timeout of everything that a test waits for. It passes only if the test fails.
pub const AT_MOST: Duration = Duration::from_secs(30);

/// Nothing that is counted in the time of /proc is finer (USER_HZ is 100 on Linux).
const TICK: Duration = Duration::from_millis(10);

/// Descriptors that a server has for itself, and may have made late.
const FEW: usize = 3;

pub const KIB: usize = 1 << 10;
pub const MIB: usize = 1 << 20;

/// What `GET /big` answers, of which the process has one copy.
pub const BIG: usize = 16 * MIB;

/// The options in words: `"header_timeout=1000 write_timeout=500"`. Times are in milliseconds.
pub fn options(setup: &str) -> (HttpOptions, WebSocketOptions) {
    // Pings would be noise in what the clients receive, on a machine so slow that they come.
    let (mut http, mut websocket) = (HttpOptions::new(), WebSocketOptions::new().ping_interval(None));
    for word in setup.split_whitespace() {
        let (name, value) = word.split_once('=').expect("name=value");
        let value: u64 = value.parse().expect("a number");
        let time = Duration::from_millis(value);
        match name {
            "header_timeout" => http = http.header_timeout(time),
            "body_timeout" => http = http.body_timeout(time),
            "http_write_timeout" => http = http.write_timeout(time),
            "write_timeout" => websocket = websocket.write_timeout(time),
            "close_timeout" => websocket = websocket.close_timeout(time),
            "hard_limit" => websocket = websocket.write_buffer_hard_limit(value as usize),
            _ => panic!("no option {name}"),
        }
    }
    (http, websocket)
}

/// How often something has happened, by what it is.
#[derive(Clone, Default)]
struct Counters(Arc<Mutex<BTreeMap<String, u64>>>);

impl Counters {
    fn count(&self, what: impl Into<String>) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += 1;
    }

    fn tell(&self) -> String {
        self.0.lock().unwrap().iter().map(|(what, times)| format!("{what}={times}\n")).collect()
    }
}

/// Serves, if this process was started as the server, until the test that started it is gone.
///
/// The server echoes messages, and broadcasts those in `/room`. Its router has a small response, a
/// large response, an endless response, a response that stops, and a response that never begins.
pub async fn serve_if_asked() {
    let Ok(setup) = std::env::var(SETUP) else { return };
    let (http_options, websocket_options) = options(&setup);
    let counters = Counters::default();
    let (panics, of_websockets, of_http, of_socket, told) =
        (counters.clone(), counters.clone(), counters.clone(), counters.clone(), counters);
    std::panic::set_hook(Box::new(move |panic| {
        panics.count("panic");
        eprintln!("{panic}");
    }));

    let websocket = WebSocketMiddleware::new().with_options(websocket_options).with_group_manager(GroupManager::new());
    websocket.on("connection", move |connection: WebSocketConnection| {
        of_websockets.count("connection");
        let counters = of_websockets.clone();
        connection.on("error", move |_: Option<&str>, code: Option<u16>| {
            counters.count(format!("error {}", code.unwrap_or_default()));
        });
        let counters = of_websockets.clone();
        connection.on("close", move |code: u16| {
            counters.count("close");
            counters.count(format!("close {code}"));
        });
        if connection.request().is_some_and(|request| request.path() == "/room") {
            connection.on("text", move |text: &str| {
                if let Some(room) = connection.group() {
                    room.write_all(text);
                }
            });
            return connection.set_group(Some("room"));
        }
        connection.on("text", move |text: &str| connection.write(text));
        connection.on("binary", move |bytes: &[u8]| connection.write_binary(bytes));
        Ok(())
    });
    let big = bytes::Bytes::from(vec![b'x'; BIG]);
    let router = move |request: ServerRequest| {
        let response = match request.path() {
            "/stats" => Response::plaintext(told.tell()),
            "/big" => Response::new(200).with_body(big.clone()),
            "/endless" => {
                let stream = BodyStream::new();
                let writer = stream.clone();
                tokio::spawn(async move { while writer.send([b'x'; 10_000]).await {} });
                Response::new(200).with_body(stream)
            }
            "/silent" => {
                let stream = BodyStream::new();
                // Somebody might still write to it.
                std::mem::forget(stream.clone());
                Response::new(200).with_body(stream)
            }
            "/never" => Response::new(200),
            path => Response::plaintext(format!("{path} {}", request.body().len())),
        };
        async move {
            if request.path() == "/never" {
                std::future::pending::<()>().await;
            }
            response
        }
    };
    let http = HttpServer::new((websocket, router)).with_options(http_options);
    http.on("error", move |error| of_http.count(format!("http {error}")));
    let socket = SocketServer::new("127.0.0.1:0").expect("a port");
    socket.on("error", move |_| of_socket.count("socket"));
    let address = socket.local_address().expect("an address");
    http.listen(socket);
    println!("{LISTENING}{address}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.ok();
    std::process::exit(0);
}

/// The server's process. It ends when this is dropped.
pub struct Process {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
    /// The resources and counters before the test.
    base: Usage,
    counted: BTreeMap<String, u64>,
}

/// What a process has and has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Bytes in memory, and the most there have ever been.
    pub memory: usize,
    pub peak: usize,
    pub time: Duration,
    pub descriptors: usize,
    pub sockets: usize,
}

impl Process {
    /// Starts a server with these [`options`]. The test binary needs a test `serve` that calls
    /// [`serve_if_asked`].
    pub fn start(setup: &str) -> Process {
        Process::start_as(setup, Command::new(std::env::current_exe().unwrap()))
    }

    /// Like `start`, with a limit on the number of descriptors.
    pub fn start_with_descriptors(setup: &str, descriptors: usize) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"")]).arg(std::env::current_exe().unwrap());
        Process::start_as(setup, command)
    }

    fn start_as(setup: &str, mut command: Command) -> Process {
        command.args(["--exact", "serve", "--ignored", "--nocapture"]).env(SETUP, setup);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "the server says where it listens");
            if let Some((_, address)) = line.trim_end().split_once(LISTENING) {
                break address.parse().unwrap();
            }
        };
        let mut process = Process { child, _stdout: stdout, address, base: Usage::default(), counted: BTreeMap::new() };
        process.warm_up();
        process
    }

    /// One-time allocations at the first use belong to the base.
    fn warm_up(&mut self) {
        let sockets = self.usage().sockets;
        let mut client = Client::open(self.address, "/");
        (0..10).for_each(|n| client.echo(n).unwrap());
        drop(client);
        self.get("/big");
        eventually("the first client has left", || self.times("close") == 1);
        self.counted = self.stats();
        eventually("the first sockets are closed", || self.usage().sockets == sockets);
        self.base = self.usage();
    }

    pub fn usage(&self) -> Usage {
        let status = fs::read_to_string(self.proc("status")).expect("the process is alive");
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of it");
            1024 * line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<usize>().unwrap()
        };
        let stat = fs::read_to_string(self.proc("stat")).unwrap();
        // The name of the process, in parentheses, may be anything. The state comes next, and is field 3.
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u32 = fields[11..13].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        // One may be gone by the time it is looked at.
        let descriptors = fs::read_dir(self.proc("fd")).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let descriptors: Vec<_> = descriptors.collect();
        Usage {
            memory: kibibytes("VmRSS"),
            peak: kibibytes("VmHWM"),
            time: TICK * ticks,
            descriptors: descriptors.len(),
            sockets: descriptors.iter().filter(|target| target.to_string_lossy().starts_with("socket:")).count(),
        }
    }

    /// It has never been larger by more than so many bytes.
    pub fn assert_growth_within(&self, bytes: usize) {
        let growth = self.usage().peak.saturating_sub(self.base.memory);
        assert!(growth <= bytes, "it has grown by {growth} bytes, {bytes} are allowed");
    }

    /// It is not larger now by more than so many bytes.
    pub fn assert_kept_within(&self, bytes: usize) {
        let kept = self.usage().memory.saturating_sub(self.base.memory);
        assert!(kept <= bytes, "it has kept {kept} bytes, {bytes} are allowed");
    }

    /// Time on processors in this test.
    pub fn time(&self) -> Duration {
        self.usage().time - self.base.time
    }

    /// It has not worked longer than so.
    pub fn assert_time_within(&self, allowed: Duration) {
        let time = self.time();
        assert!(time <= allowed, "it has taken {time:?}, {allowed:?} are allowed");
    }

    /// It does next to nothing for a while.
    pub fn assert_idle_for(&self, a_while: Duration) {
        let (start, before) = (Instant::now(), self.time());
        std::thread::sleep(a_while);
        let (time, passed) = (self.time() - before, start.elapsed());
        assert!(time <= passed / 5 + TICK, "{time:?} of {passed:?} with nothing to do");
    }

    /// Waits until all clients are gone: all sockets are closed, each `connection` has had its
    /// `close`, and no work is left.
    pub fn settle(&self) {
        eventually("all sockets are closed", || self.usage().sockets == self.base.sockets);
        let (now, before) = (self.usage().descriptors, self.base.descriptors);
        assert!(now <= before + FEW, "{now} descriptors, {before} before");
        let stats = self.stats();
        assert_eq!(stats.get("connection"), stats.get("close"), "{stats:?}");
        assert_eq!(stats.get("panic"), None, "{stats:?}");
        self.assert_idle_for(Duration::from_millis(250));
    }

    /// The counters of this test, without those that are zero.
    pub fn stats(&self) -> BTreeMap<String, u64> {
        let page = self.get("/stats");
        let all = page.lines().filter_map(|line| line.rsplit_once('='));
        let new = all.map(|(what, times)| {
            let times: u64 = times.parse().unwrap();
            (what.to_owned(), times - self.counted.get(what).unwrap_or(&0))
        });
        new.filter(|(_, times)| *times > 0).collect()
    }

    /// How often this has happened.
    pub fn times(&self, what: &str) -> u64 {
        self.stats().get(what).copied().unwrap_or(0)
    }

    /// The body of what a path answers.
    pub fn get(&self, path: &str) -> String {
        let mut stream = connect(self.address);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < AT_MOST, "{what}: not within {AT_MOST:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(AT_MOST)).unwrap();
    stream.set_write_timeout(Some(AT_MOST)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A client that does as it should, with a thread of its own to wait in.
pub struct Client(TcpStream);

impl Client {
    pub fn open(address: SocketAddr, path: &str) -> Client {
        let mut client = Client(connect(address));
        client.0.write_all(HANDSHAKE.replace("GET /", &format!("GET {path}")).as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.0.read_exact(&mut byte).expect("a head");
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        client
    }

    /// Sends a message of its own and has it back.
    pub fn echo(&mut self, number: u64) -> std::io::Result<()> {
        let message = format!("good {number}");
        self.0.write_all(&text(&message))?;
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head)?;
            let mut payload = vec![0; head[1].into()];
            self.0.read_exact(&mut payload)?;
            if head[0] == 0x89 {
                self.0.write_all(&frame(0x8A, payload))?;
                continue;
            }
            assert_eq!((head[0], &payload[..]), (0x81, message.as_bytes()), "the echo of {message:?}");
            return Ok(());
        }
    }
}

/// A good client beside the bad ones.
pub struct Bystander {
    thread: JoinHandle<u64>,
    is_over: Arc<AtomicBool>,
}

impl Bystander {
    pub fn of(process: &Process) -> Bystander {
        let is_over = Arc::new(AtomicBool::new(false));
        let (mut client, until) = (Client::open(process.address, "/"), is_over.clone());
        let thread = std::thread::spawn(move || {
            let mut served = 0;
            loop {
                // The last one begins when the bad ones are done.
                let is_last = until.load(Ordering::SeqCst);
                client.echo(served).expect("the good client is served");
                served += 1;
                if is_last {
                    return served;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Bystander { thread, is_over }
    }

    /// It has been served all along, to the last.
    pub fn leave(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let served = self.thread.join().expect("the good client is served");
        assert!(served > 0);
    }
}
