use crate::Result;
use crate::options::Options;
use crate::report::Report;
use std::fs;
use std::time::{Duration, Instant};

/// The server's process, looked at from outside.
#[derive(Clone, Copy)]
pub struct Process {
    pid: Option<u32>,
}

/// The resources that the server process had used at one moment.
pub struct Usage {
    at: Instant,
    processor: Option<Duration>,
}

/// What part of some time it was busy; 1 is one core, NaN if we do not know it.
pub struct Share {
    pub seconds: f64,
    pub processor: f64,
}

/// In KiB.
pub struct Memory {
    pub resident: usize,
    /// Without what is mapped from files, such as the program.
    pub anonymous: usize,
}

impl Process {
    pub fn of(options: &Options) -> Result<Process> {
        Ok(Process { pid: options.value("pid")? })
    }

    /// The load generator itself.
    pub fn own() -> Process {
        Process { pid: Some(std::process::id()) }
    }

    pub fn usage(self) -> Result<Usage> {
        let processor = self.pid.map(processor_time).transpose()?;
        Ok(Usage { at: Instant::now(), processor })
    }

    /// The resources that were used since `before`, in total and for each of `things`.
    pub fn report(self, before: &Usage, thing: &str, things: usize) -> Result<Report> {
        let now = self.usage()?;
        let wall = now.at.duration_since(before.at);
        let mut report = Report::default()
            .count(thing, things)
            .number("wall_seconds", wall.as_secs_f64())
            .number("per_second", things as f64 / wall.as_secs_f64());
        if let (Some(before), Some(now)) = (before.processor, now.processor) {
            let processor = now.saturating_sub(before).as_nanos() as f64;
            report = report.number("server_cpu_ns", processor).number("server_cpu_ns_each", processor / things as f64);
        }
        if let Some(memory) = self.memory()? {
            report = report.count("server_rss_kib", memory.resident).count("server_anonymous_kib", memory.anonymous);
        }
        Ok(report)
    }

    /// The resources that were used since `before`, as a share of the time.
    pub fn share(self, before: &Usage) -> Result<Share> {
        let now = self.usage()?;
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        let processor = now.processor.zip(before.processor).map(|(now, before)| now.saturating_sub(before).as_secs_f64());
        Ok(Share { seconds, processor: processor.map_or(f64::NAN, |processor| processor / seconds) })
    }

    pub fn memory(self) -> Result<Option<Memory>> {
        let Some(pid) = self.pid else { return Ok(None) };
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).ok_or(format!("no {name} of process {pid}"))
        };
        Ok(Some(Memory { resident: field("VmRSS:")?, anonymous: field("RssAnon:")? }))
    }
}

/// Of all threads together. The first field of schedstat is in nanoseconds, other counts of /proc are in ticks of 10 ms.
fn processor_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = match fs::read_to_string(task?.path().join("schedstat")) {
            // A thread may end while we look.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            text => text?,
        };
        sum += text.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(sum))
}
