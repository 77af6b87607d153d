use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::sync::atomic::{AtomicUsize, Ordering};

/// The connections that have not sent a request yet.
#[derive(Debug, Default)]
pub(super) struct PendingConnections {
    count: AtomicUsize,
    list: Mutex<PendingList>,
}

impl PendingConnections {
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// The connections that wait for their first request head, and can be closed to make room.
///
/// A connection is listed when it waits for the first time. If its request has already arrived, it
/// is never listed.
#[derive(Debug, Default)]
struct PendingList {
    arrivals: u64,
    /// The connections in the order in which they make room.
    by_age: BTreeMap<Rank, Waiting>,
    by_network: HashMap<IpAddr, BTreeSet<Rank>>,
    /// The networks with more than one connection, by their number of connections.
    crowds: BTreeSet<(usize, IpAddr)>,
}

/// Whether a connection has sent anything, and the number of its arrival. So silent connections
/// come first, the oldest of them foremost.
type Rank = (bool, u64);

#[derive(Debug)]
struct Waiting {
    /// `None` if the address is not the client's.
    network: Option<IpAddr>,
    waker: Waker,
}

/// A network makes room first if it has more than this fraction of the places. The fraction is
/// large enough for an office behind one address, whose clients other networks cannot displace.
const SHARE: usize = 16;

impl PendingList {
    fn insert(&mut self, rank: Rank, waiting: Waiting) {
        if let Some(network) = waiting.network {
            let ranks = self.by_network.entry(network).or_default();
            ranks.insert(rank);
            let count = ranks.len();
            self.count(network, count - 1, count);
        }
        self.by_age.insert(rank, waiting);
    }

    fn remove(&mut self, rank: Rank) -> Option<Waiting> {
        let waiting = self.by_age.remove(&rank)?;
        if let Some(network) = waiting.network
            && let Some(ranks) = self.by_network.get_mut(&network)
        {
            ranks.remove(&rank);
            let count = ranks.len();
            if count == 0 {
                self.by_network.remove(&network);
            }
            self.count(network, count + 1, count);
        }
        Some(waiting)
    }

    fn count(&mut self, network: IpAddr, before: usize, now: usize) {
        if before > 1 {
            self.crowds.remove(&(before, network));
        }
        if now > 1 {
            self.crowds.insert((now, network));
        }
    }

    /// Removes and returns the connection that makes room. It is the first of the network with the
    /// most connections if that exceeds its share, else the first of all. So a network with a flood
    /// of clients displaces its own.
    fn evict(&mut self, limit: usize) -> Option<Waiting> {
        let crowd = self.crowds.last().filter(|(count, _)| *count > limit / SHARE);
        let of_crowd = crowd.and_then(|(_, network)| self.by_network.get(network)?.first());
        let rank = of_crowd.or_else(|| self.by_age.keys().next()).copied()?;
        self.remove(rank)
    }
}

/// One connection that has not sent a request yet.
pub(crate) struct Pending {
    all: Arc<PendingConnections>,
    /// Its entry in the list, once it has one.
    rank: Option<Rank>,
}

impl Pending {
    pub(super) fn new(all: Arc<PendingConnections>) -> Pending {
        all.count.fetch_add(1, Ordering::Relaxed);
        Pending { all, rank: None }
    }

    /// Call it while the connection waits for its first request. Ready when the connection must
    /// make room for another.
    pub(crate) fn poll_evicted(
        &mut self,
        has_sent: bool,
        network: Option<IpAddr>,
        limit: Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(limit) = limit else { return Poll::Pending };
        let waiting = Waiting { network, waker: cx.waker().clone() };
        let mut list = self.all.list.lock();
        let (arrival, before) = match self.rank {
            None => {
                list.arrivals += 1;
                (list.arrivals, None)
            }
            Some(rank) => match list.remove(rank) {
                Some(before) => (rank.1, Some(before)),
                None => return Poll::Ready(()),
            },
        };
        let rank = (has_sent, arrival);
        list.insert(rank, waiting);
        let evicted = if list.by_age.len() > limit { list.evict(limit) } else { None };
        drop(list);
        self.rank = Some(rank);
        drop(before);
        if let Some(evicted) = evicted {
            evicted.waker.wake();
        }
        Poll::Pending
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.all.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(rank) = self.rank {
            let removed = self.all.list.lock().remove(rank);
            drop(removed);
        }
    }
}
