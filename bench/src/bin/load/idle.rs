//! What a connection costs the server while nothing is said on it.

use crate::Result;
use crate::echo::Echo;
use crate::event_loop::EventLoop;
use crate::options::Options;
use crate::process::{Memory, Process};
use crate::report::Report;

/// The number of connections that are opened before the measurement, so that the server has made
/// its one-time allocations.
const FIRST: usize = 64;

pub fn run(options: &Options) -> Result<Report> {
    let connections = options.count("connections", 1000)?.max(1);
    let payload = options.count("payload", 0)?;
    let settle = options.seconds("settle-seconds", 1.0)?;
    let process = Process::of(options)?;
    let memory = || -> Result<Memory> {
        std::thread::sleep(settle);
        process.memory()?.ok_or_else(|| "--pid is missing".into())
    };
    // They stay open until the end of this function.
    let (before, after);
    if payload == 0 {
        let mut event_loop = EventLoop::open(options.address()?, FIRST)?;
        before = memory()?;
        for _ in 0..connections {
            event_loop.add(options.address()?)?;
        }
        after = memory()?;
    } else {
        let mut echo = Echo::open(options, FIRST, 1, "binary", payload, 1)?;
        before = memory()?;
        for _ in 0..connections {
            echo.add(options)?;
        }
        after = memory()?;
    }
    let each = |before: usize, after: usize| (after as f64 - before as f64) * 1024.0 / connections as f64;
    Ok(Report::default()
        .count("connections", connections)
        .count("payload", payload)
        .number("bytes_each", each(before.anonymous, after.anonymous))
        .number("resident_bytes_each", each(before.resident, after.resident))
        .count("server_rss_kib", after.resident))
}
