//! Visitors that come and go, for a long time: so many a second, so many at the same time, not all of them well-behaved.

use crate::Result;
use crate::options::Options;
use crate::report::Report;
use crate::visitor::{End, Heard, Visitor};
use crate::wire::Numbers;
use mio::{Events, Interest, Poll, Token};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub fn run(options: &Options) -> Result<Report> {
    let rate: f64 = options.value("rate")?.unwrap_or(200.0);
    let connections = options.count("connections", 5000)?;
    let time = Duration::from_secs(options.count("seconds", 180)? as u64);
    let mut soak = Soak::new(options.address()?, connections, rate)?;
    let start = Instant::now();
    while start.elapsed() < time {
        while (soak.visits as f64) < start.elapsed().as_secs_f64() * rate {
            soak.open()?;
        }
        let next = Duration::from_secs_f64((soak.visits + 1) as f64 / rate);
        soak.go_on(next.saturating_sub(start.elapsed()), false)?;
    }
    // All leave, each in its own manner.
    let present = soak.present();
    for (index, visitor) in soak.visitors.iter().enumerate() {
        if visitor.is_some() {
            soak.due.push(Reverse((start, index, soak.visit_of[index])));
        }
    }
    while soak.present() > 0 {
        soak.go_on(Duration::from_millis(100), true)?;
    }
    let Soak { visits, heard, ends, .. } = soak;
    let ended = |how: End| ends.iter().filter(|(end, _)| *end == how).map(|(_, count)| count).sum();
    Ok(Report::default()
        .count("visits", visits)
        .count("open_at_the_end", present)
        .count("as_planned", ended(End::AsPlanned))
        .count("refused", ended(End::Refused))
        .count("ended_by_server", ended(End::ByServer))
        .count("stuck", ended(End::Stuck))
        .count("echoes", heard.echoes)
        .count("news", heard.news)
        .count("said", heard.said)
        .count("pings", heard.pings)
        .count("wrong", heard.wrong))
}

struct Soak {
    address: SocketAddr,
    /// How long a visitor stays, on average.
    stay: Duration,
    poll: Poll,
    visitors: Vec<Option<Visitor>>,
    /// Which visit a place was last taken for, so that what was meant for one does not reach the next.
    visit_of: Vec<usize>,
    free: Vec<usize>,
    /// When each visitor's time comes again.
    due: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    visits: usize,
    numbers: Numbers,
    buffer: Vec<u8>,
    heard: Heard,
    ends: Vec<(End, usize)>,
}

impl Soak {
    fn new(address: SocketAddr, connections: usize, rate: f64) -> Result<Soak> {
        Ok(Soak {
            address,
            stay: Duration::try_from_secs_f64(connections as f64 / rate)?,
            poll: Poll::new()?,
            visitors: Vec::new(),
            visit_of: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            visits: 0,
            numbers: Numbers::new(),
            buffer: vec![0; 64 * 1024],
            heard: Heard::default(),
            ends: Vec::new(),
        })
    }

    fn present(&self) -> usize {
        self.visitors.len() - self.free.len()
    }

    fn open(&mut self) -> Result<()> {
        self.visits += 1;
        let mut visitor = Visitor::come(self.address, self.stay, &mut self.numbers)?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.visitors.push(None);
            self.visit_of.push(0);
            self.visitors.len() - 1
        });
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut visitor.stream, Token(index), interest)?;
        self.visit_of[index] = self.visits;
        self.due.push(Reverse((Instant::now(), index, self.visits)));
        self.visitors[index] = Some(visitor);
        Ok(())
    }

    /// Waits at most so long for something to happen, and does what is due. `is_over`: all are to leave.
    fn go_on(&mut self, most: Duration, is_over: bool) -> Result<()> {
        let now = Instant::now();
        let next = self.due.peek().map_or(most, |Reverse((due, ..))| due.saturating_duration_since(now));
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(next.min(most))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &events {
            let index = event.token().0;
            let Some(visitor) = &mut self.visitors[index] else { continue };
            if let Some(end) = visitor.ready(&mut self.buffer, &mut self.numbers, &mut self.heard) {
                self.end(index, end);
            }
        }
        let now = Instant::now();
        while let Some(Reverse((due, index, visit))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let Some(visitor) = &mut self.visitors[index] else { continue };
            if self.visit_of[index] != visit {
                continue;
            }
            match visitor.act(is_over, &mut self.numbers) {
                Ok(next) => self.due.push(Reverse((next, index, visit))),
                Err(end) => self.end(index, end),
            }
        }
        Ok(())
    }

    fn end(&mut self, index: usize, end: End) {
        self.visitors[index] = None;
        self.free.push(index);
        match self.ends.iter_mut().find(|(known, _)| *known == end) {
            Some((_, count)) => *count += 1,
            None => self.ends.push((end, 1)),
        }
    }
}
