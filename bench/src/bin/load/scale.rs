//! Many connections of which few talk: what it takes to open them, what they cost, and how long an echo and a broadcast take.

use crate::Result;
use crate::client::PATIENCE;
use crate::event_loop::EventLoop;
use crate::options::Options;
use crate::process::{Memory, Process, Usage};
use crate::report::Report;
use crate::wire::{Numbers, TEXT, append_message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// What a talker says, and how often. A server that broadcasts takes it for no trigger.
const WORDS: &[u8] = b"twenty bytes of text";
const INTERVAL: Duration = Duration::from_secs(1);

/// Bytes in a broadcast. By its length it is told from an echo.
const PAYLOAD: usize = 100;

/// Maximum number of quiet connections that are served before the talkers get their next turn.
const AT_A_TIME: usize = 32;

pub fn run(options: &Options) -> Result<Report> {
    let connections = options.count("connections", 15_000)?.max(2);
    let talkers = options.count("talkers", 1000)?.clamp(1, connections - 1);
    let settle = options.seconds("settle-seconds", 3.0)?;
    let talk = options.seconds("talk-seconds", 20.0)?;
    let broadcasts = u32::try_from(options.count("broadcasts", 10)?)?;
    let server = Process::of(options)?;
    let watch = Watch { server, load: Process::own() };
    let memory = || -> Result<Memory> { server.memory()?.ok_or_else(|| "--pid is missing".into()) };

    let empty = memory()?;
    let mut scale = Scale::new(options)?;
    let phase = watch.begin()?;
    scale.open(options, connections, talkers)?;
    let mut report = watch.end(&phase, "open", Report::default())?;
    let phase = watch.begin()?;
    scale.rest(settle)?;
    report = watch.end(&phase, "idle", report)?;
    let full = memory()?;
    let phase = watch.begin()?;
    scale.talk(talk, 0)?;
    report = scale.latencies("talk", watch.end(&phase, "talk", report)?);
    let phase = watch.begin()?;
    scale.talk(INTERVAL * broadcasts, broadcasts)?;
    report = scale.latencies("broadcast", watch.end(&phase, "broadcast", report)?);
    let each = |before: usize, after: usize| (after as f64 - before as f64) * 1024.0 / connections as f64;
    Ok(report
        .count("connections", connections)
        .count("talkers", talkers)
        .number("bytes_each", each(empty.anonymous, full.anonymous))
        .number("resident_bytes_each", each(empty.resident, full.resident))
        .number("broadcasts", broadcasts)
        .number("last_member_median_ms", milliseconds(quantile(&mut scale.heard.spans, 0.5)))
        .number("last_member_max_ms", milliseconds(quantile(&mut scale.heard.spans, 1.0))))
}

/// How busy the server and the load generator are: latencies of a load generator that has no time are its own.
struct Watch {
    server: Process,
    load: Process,
}

impl Watch {
    fn begin(&self) -> Result<(Usage, Usage)> {
        Ok((self.server.usage()?, self.load.usage()?))
    }

    fn end(&self, (server, load): &(Usage, Usage), name: &str, report: Report) -> Result<Report> {
        let (server, load) = (self.server.share(server)?, self.load.share(load)?);
        Ok(report
            .number(&format!("{name}_seconds"), load.seconds)
            .number(&format!("{name}_server_share"), server.processor)
            .number(&format!("{name}_load_share"), load.processor))
    }
}

struct Scale {
    /// Apart from the others, so that an echo is not timed only after the thousands of broadcasts that came before it.
    talkers: Members,
    quiet: Members,
    heard: Heard,
    words: Rc<[u8]>,
    trigger: Rc<[u8]>,
    /// Turns in which a talker has said nothing, as it still waited for its answer.
    missed: usize,
}

struct Members {
    event_loop: EventLoop,
    ready: Vec<usize>,
    /// When each of them has sent what is not answered yet.
    sent: Vec<Option<Instant>>,
    /// How many broadcasts each of them has got.
    got: Vec<usize>,
}

/// The messages that all clients have received.
#[derive(Default)]
struct Heard {
    latencies: Vec<Duration>,
    unanswered: usize,
    broadcasts: usize,
    /// Members that have not got the last broadcast yet.
    awaited: usize,
    last: Option<Instant>,
    /// From the trigger until the last member had its broadcast.
    spans: Vec<Duration>,
}

impl Scale {
    fn new(options: &Options) -> Result<Scale> {
        let frame = |text: &[u8]| {
            let mut frame = Vec::new();
            append_message(&mut frame, TEXT, text, 1, &mut Numbers::new());
            frame.into()
        };
        Ok(Scale {
            talkers: Members::new(options)?,
            quiet: Members::new(options)?,
            heard: Heard::default(),
            words: frame(WORDS),
            trigger: frame(format!("1 {PAYLOAD}").as_bytes()),
            missed: 0,
        })
    }

    /// Opens the connections one after the other. The talkers are spread evenly among them; the first one is quiet.
    fn open(&mut self, options: &Options, connections: usize, talkers: usize) -> Result<()> {
        for index in 0..connections {
            let talks = (index + 1) * talkers / connections > index * talkers / connections;
            let members = if talks { &mut self.talkers } else { &mut self.quiet };
            members.add(options).map_err(|error| format!("connection {index}: {error}"))?;
            // Opening may take longer than the ping interval, so the open connections answer their
            // pings meanwhile.
            if index % 1000 == 999 {
                self.receive()?;
            }
        }
        Ok(())
    }

    /// Nobody says anything, but pings are answered.
    fn rest(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.wait(end)?;
            self.receive()?;
        }
        Ok(())
    }

    /// The talkers talk, each once in an interval and one after the other, and the first connection asks for a broadcast at
    /// the beginning of each interval. Ends when all has been answered.
    fn talk(&mut self, time: Duration, broadcasts: u32) -> Result<()> {
        self.heard.latencies.clear();
        self.missed = 0;
        let talkers = self.talkers.sent.len();
        let start = Instant::now();
        let end = start + time;
        let (mut turn, mut asked) = (0, 0);
        loop {
            let turn_at = start + INTERVAL.mul_f64(turn as f64 / talkers as f64);
            let ask_at = start + INTERVAL * asked;
            let now = Instant::now();
            if asked < broadcasts && ask_at <= now && self.heard.awaited == 0 {
                self.ask()?;
                asked += 1;
            } else if turn_at < end && turn_at <= now {
                self.say(turn % talkers)?;
                turn += 1;
            } else {
                let goes_on = turn_at < end || asked < broadcasts;
                if !goes_on && self.heard.is_complete() {
                    return Ok(());
                }
                if now > end + PATIENCE {
                    let Heard { unanswered, awaited, .. } = self.heard;
                    return Err(format!("{unanswered} echoes and {awaited} broadcasts have not come").into());
                }
                self.wait(if turn_at < end { turn_at } else { now + INTERVAL })?;
            }
            self.receive()?;
        }
    }

    fn say(&mut self, talker: usize) -> Result<()> {
        let sent = &mut self.talkers.sent[talker];
        if sent.is_some() {
            self.missed += 1;
            return Ok(());
        }
        *sent = Some(Instant::now());
        self.heard.unanswered += 1;
        self.talkers.event_loop.clients[talker].send(&self.words)
    }

    fn ask(&mut self) -> Result<()> {
        self.heard.broadcasts += 1;
        self.heard.awaited = self.talkers.sent.len() + self.quiet.sent.len();
        self.heard.last = Some(Instant::now());
        self.quiet.event_loop.clients[0].send(&self.trigger)
    }

    /// Until something has come, or until then.
    fn wait(&self, until: Instant) -> Result<()> {
        let time = Timespec::try_from(until.saturating_duration_since(Instant::now()))?;
        let either = [&self.talkers, &self.quiet].map(|members| members.event_loop.descriptor());
        match poll(&mut either.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)), Some(&time)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads what has come.
    fn receive(&mut self) -> Result<()> {
        let Scale { talkers, quiet, heard, .. } = self;
        talkers.receive(heard)?;
        quiet.look()?;
        while !quiet.ready.is_empty() {
            quiet.read(AT_A_TIME, heard)?;
            talkers.receive(heard)?;
        }
        Ok(())
    }

    fn latencies(&mut self, name: &str, report: Report) -> Report {
        let latencies = &mut self.heard.latencies;
        let mut report =
            report.count(&format!("{name}_echoes"), latencies.len()).count(&format!("{name}_missed"), self.missed);
        for (point, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            report = report.number(&format!("{name}_{point}_us"), milliseconds(quantile(latencies, share)) * 1000.0);
        }
        report
    }
}

impl Members {
    fn new(options: &Options) -> Result<Members> {
        let event_loop = EventLoop::open(options.address()?, 0)?;
        Ok(Members { event_loop, ready: Vec::new(), sent: Vec::new(), got: Vec::new() })
    }

    fn add(&mut self, options: &Options) -> Result<()> {
        self.event_loop.add(options.address()?)?;
        self.sent.push(None);
        self.got.push(0);
        Ok(())
    }

    fn receive(&mut self, heard: &mut Heard) -> Result<()> {
        self.look()?;
        self.read(usize::MAX, heard)
    }

    /// Leaves in `ready` who can be read.
    fn look(&mut self) -> Result<()> {
        self.event_loop.look(&mut self.ready)
    }

    /// Reads so many of those that are ready.
    fn read(&mut self, most: usize, heard: &mut Heard) -> Result<()> {
        let Members { event_loop, ready, sent, got } = self;
        for index in ready.drain(..ready.len().min(most)) {
            let (sent, got) = (&mut sent[index], &mut got[index]);
            let received = event_loop.clients[index].receive(&mut event_loop.buffer, true, |reply| {
                if reply.opcode == TEXT && reply.payload == WORDS {
                    return heard.echo(sent.take().ok_or("an echo too many")?);
                }
                if reply.opcode == TEXT && reply.length == PAYLOAD && reply.payload.iter().all(|byte| *byte == b'x') {
                    *got += 1;
                    return heard.broadcast(*got);
                }
                Err(format!("neither an echo nor a broadcast: opcode {}, {} bytes", reply.opcode, reply.length))
            });
            received.map_err(|error| format!("member {index}: {error}"))?;
        }
        Ok(())
    }
}

impl Heard {
    fn echo(&mut self, sent: Instant) -> std::result::Result<(), String> {
        self.latencies.push(sent.elapsed());
        self.unanswered -= 1;
        Ok(())
    }

    /// A member has got its so many-th.
    fn broadcast(&mut self, got: usize) -> std::result::Result<(), String> {
        // The next broadcast is requested when every member has this one, so no member can lack an
        // earlier one.
        if got != self.broadcasts {
            return Err("a broadcast too many".into());
        }
        self.awaited -= 1;
        if let (0, Some(asked)) = (self.awaited, self.last) {
            self.spans.push(asked.elapsed());
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        self.unanswered == 0 && self.awaited == 0
    }
}

/// The value that the given share of `values` does not exceed. `None` if `values` is empty.
fn quantile(values: &mut [Duration], share: f64) -> Option<Duration> {
    values.sort_unstable();
    let rank = (values.len() as f64 * share).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

/// The time in milliseconds. `None` becomes NaN, which JSON shows as null.
fn milliseconds(time: Option<Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let mut values: Vec<Duration> = (1..=1000).rev().map(Duration::from_millis).collect();
        let mut at = |share| quantile(&mut values, share).unwrap().as_millis();
        assert_eq!([at(0.5), at(0.99), at(0.999), at(1.0)], [500, 990, 999, 1000]);
        assert_eq!(quantile(&mut [], 0.5), None);
    }
}
