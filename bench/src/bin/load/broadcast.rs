//! One connection asks, all get the answer.

use crate::Result;
use crate::event_loop::EventLoop;
use crate::options::Options;
use crate::process::Process;
use crate::report::Report;
use crate::wire::{Numbers, TEXT, append_message};
use std::rc::Rc;
use std::time::{Duration, Instant};

pub fn run(options: &Options) -> Result<Report> {
    let members = options.count("members", 1000)?.max(1);
    let burst = options.count("burst", 1)?.max(1);
    let payload = options.count("payload", 100)?;
    let warmup = options.seconds("warmup-seconds", 0.0)?;
    let rounds = options.count("rounds", usize::MAX)?;
    let seconds = options.seconds("seconds", 60.0)?;
    let process = Process::of(options)?;

    let mut trigger = Vec::new();
    append_message(&mut trigger, TEXT, format!("{burst} {payload}").as_bytes(), 1, &mut Numbers::new());
    let event_loop = EventLoop::open(options.address()?, members)?;
    let mut broadcast = Broadcast { event_loop, trigger: trigger.into(), burst, payload };
    broadcast.round(true)?;
    broadcast.rounds(usize::MAX, warmup)?;
    let before = process.usage()?;
    let count = broadcast.rounds(rounds, seconds)?;
    let report = process.report(&before, "deliveries", count * burst * members)?;
    Ok(report.count("rounds", count).count("members", members).count("burst", burst).count("payload", payload))
}

struct Broadcast {
    event_loop: EventLoop,
    trigger: Rc<[u8]>,
    burst: usize,
    payload: usize,
}

impl Broadcast {
    fn rounds(&mut self, rounds: usize, time: Duration) -> Result<usize> {
        let start = Instant::now();
        let mut count = 0;
        while count < rounds && start.elapsed() < time {
            self.round(false)?;
            count += 1;
        }
        Ok(count)
    }

    /// The first connection sends the trigger, and every connection receives the messages. With
    /// `compare` their payloads are checked.
    fn round(&mut self, compare: bool) -> Result<()> {
        let Broadcast { event_loop, trigger, burst, payload } = self;
        let mut awaited = vec![*burst; event_loop.clients.len()];
        let mut waiting = awaited.len();
        event_loop.clients[0].send(trigger)?;
        let mut ready = Vec::new();
        while waiting > 0 {
            event_loop.wait(&mut ready)?;
            for index in ready.drain(..) {
                let awaited = &mut awaited[index];
                let was_waiting = *awaited > 0;
                let client = &mut event_loop.clients[index];
                let received = client.receive(&mut event_loop.buffer, compare, |reply| {
                    let is_right = !compare || reply.payload.iter().all(|byte| *byte == b'x');
                    if reply.opcode != TEXT || reply.length != *payload || !is_right {
                        return Err(format!("not what was asked for: opcode {}, {} bytes", reply.opcode, reply.length));
                    }
                    *awaited = awaited.checked_sub(1).ok_or("a message too many")?;
                    Ok(())
                });
                received.map_err(|error| format!("member {index}: {error}"))?;
                if was_waiting && *awaited == 0 {
                    waiting -= 1;
                }
            }
        }
        Ok(())
    }
}
