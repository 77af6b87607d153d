//! The load generator: one thread, on mio, that shares no code with any server.
//!
//! Frames are built and masked before the run. Of every connection the first replies are compared byte for byte, and all
//! replies by their opcode and length. What the server spent comes from /proc: the processor time of its threads, and its
//! memory. The result is one line of JSON.
#![forbid(unsafe_code)]

mod broadcast;
mod client;
mod echo;
mod event_loop;
mod get;
mod handshake;
mod idle;
mod options;
mod process;
mod report;
mod scale;
mod soak;
mod stream;
mod visitor;
mod wire;

use options::Options;
use report::Report;
use std::process::ExitCode;

/// Whatever can go wrong ends the run; the text says what and where.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: load echo      --port N [--pid N] [--connections 1] [--depth 1] [--payload 20] [--kind text|binary|utf8]
                      [--fragments 1] [--warmup-seconds 0] [--messages N] [--seconds 60]
       load get       --port N [--pid N] [--connections 1] [--depth 1] [--headers tester|browser]
                      [--warmup-seconds 0] [--messages N] [--seconds 60]
       load idle      --port N --pid N [--connections 1000] [--payload 0] [--settle-seconds 1]
       load handshake --port N [--pid N] [--concurrency 16] [--warmup-seconds 0] [--count N] [--seconds 60]
       load broadcast --port N [--pid N] [--members 1000] [--burst 1] [--payload 100]
                      [--warmup-seconds 0] [--rounds N] [--seconds 60]
       load scale     --port N --pid N [--connections 15000] [--talkers 1000] [--settle-seconds 3] [--talk-seconds 20]
                      [--broadcasts 10]
       load soak      --port N [--rate 200] [--connections 5000] [--seconds 180]
Every mode takes --row NAME, which is repeated in the result. Of a count and a time, what is over first ends the run.";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let mode = words.next().unwrap_or_default();
    let run: fn(&Options) -> Result<Report> = match mode.as_str() {
        "echo" => echo::run,
        "get" => get::run,
        "idle" => idle::run,
        "handshake" => handshake::run,
        "broadcast" => broadcast::run,
        "scale" => scale::run,
        "soak" => soak::run,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let result = Options::read(words).and_then(|options| {
        let report = run(&options)?;
        options.all_used()?;
        Ok(report.text("mode", &mode).text("row", &options.word("row").unwrap_or_default()))
    });
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load {mode}: {error}");
            ExitCode::FAILURE
        }
    }
}
