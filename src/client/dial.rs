//! How the stream to a server is opened: look-up, TCP, proxy.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{ConnectError, ConnectPhase};
use super::exchange::Exchange;
use super::proxy::Proxy;
use super::url::{Host, Url};
use crate::emitter::Contained;
use crate::http::AppStream;
use crate::runtime::stream::Stream;

/// The time between two attempts (RFC 8305 section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The moment at which a connection must be open, and the timeout it was made from.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Option<(Instant, Duration)>);

impl Deadline {
    pub(super) fn after(limit: Option<Duration>) -> Deadline {
        Deadline(limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))))
    }

    pub(super) async fn within<T>(self, phase: ConnectPhase, work: impl Future<Output = T>) -> Result<T, ConnectError> {
        let Some((moment, limit)) = self.0 else { return Ok(work.await) };
        timeout_at(moment, work).await.map_err(|_| ConnectError::Timeout { limit, phase })
    }
}

/// Opens a stream to the server of a URL.
pub(super) async fn dial(url: &Url, proxy: Option<&Proxy>, deadline: Deadline) -> Result<Exchange, ConnectError> {
    let Some(proxy) = proxy else { return Ok(Exchange::new(open_tcp(url, deadline).await?)) };
    let mut exchange = Exchange::new(open_tcp(proxy.url(), deadline).await?);
    let request = proxy.encode_request(url);
    let head = deadline.within(ConnectPhase::Proxy, exchange.request(&request)).await?;
    let status = head.map_err(ConnectError::ProxyResponse)?.status;
    // RFC 9110 section 9.3.6: any 2xx, and no body follows it.
    if !status.is_success() {
        return Err(ConnectError::Proxy { status: status.as_u16() });
    }
    Ok(exchange)
}

/// Makes a stream of one that the app has opened. Sockets are recognized, since any thread can write to them.
pub(super) fn app_stream(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Stream {
    let mut stream = Some(stream);
    let any: &mut dyn Any = &mut stream;
    if let Some(tcp) = any.downcast_mut::<Option<TcpStream>>().and_then(Option::take) {
        return Stream::of_tcp(tcp);
    }
    #[cfg(unix)]
    if let Some(unix) = any.downcast_mut::<Option<UnixStream>>().and_then(Option::take) {
        return Stream::of_unix(unix);
    }
    match stream {
        Some(stream) => Stream::other(AppStream(Contained::new(stream))),
        None => unreachable!("a stream has one type"),
    }
}

async fn open_tcp(url: &Url, deadline: Deadline) -> Result<Stream, ConnectError> {
    let addresses = match &url.host {
        Host::Address(address) => vec![SocketAddr::new(*address, url.port)],
        Host::Name(name) => {
            let look_up = async { tokio::net::lookup_host((name.as_str(), url.port)).await.map(Iterator::collect) };
            let found = deadline.within(ConnectPhase::Resolve, look_up).await?;
            found.map_err(|source| ConnectError::Resolve { host: name.clone(), source })?
        }
    };
    let opened = deadline.within(ConnectPhase::Connect, open_first(interleave(addresses), TcpStream::connect)).await?;
    let stream = opened.map_err(|failed| match failed {
        Some((address, source)) => ConnectError::Connect { address, source },
        None => ConnectError::Resolve { host: url.host.to_string(), source: io::ErrorKind::NotFound.into() },
    })?;
    // If this fails, the connection has ended already.
    let _ = stream.set_nodelay(true);
    Ok(Stream::of_tcp(stream))
}

/// Alternates between the families, beginning with that of the first address (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let is_first_family = addresses.first().map(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| Some(address.is_ipv6()) == is_first_family);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut interleaved = VecDeque::new();
    loop {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            return interleaved;
        }
        interleaved.extend(pair.into_iter().flatten());
    }
}

/// Tries one address after the other, and does not wait for an attempt longer than [`ATTEMPT_DELAY`] before the
/// next begins (RFC 8305 section 5). Returns the first stream that is open.
///
/// # Errors
/// The first address and its error, or `None` if there is no address.
async fn open_first<S, F>(
    mut addresses: VecDeque<SocketAddr>,
    open: impl Fn(SocketAddr) -> F,
) -> Result<S, Option<(SocketAddr, io::Error)>>
where
    F: Future<Output = io::Result<S>>,
{
    let first = addresses.front().copied();
    let mut attempts: Vec<(SocketAddr, Pin<Box<F>>)> = Vec::new();
    let mut failed = None;
    let mut delay = Box::pin(sleep(Duration::ZERO));
    let mut begins = true;
    std::future::poll_fn(|cx| {
        loop {
            if begins {
                begins = false;
                if let Some(address) = addresses.pop_front() {
                    attempts.push((address, Box::pin(open(address))));
                    delay.as_mut().reset(Instant::now() + ATTEMPT_DELAY);
                }
            }
            let mut place = 0;
            while let Some((address, attempt)) = attempts.get_mut(place) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        if failed.is_none() || Some(*address) == first {
                            failed = Some((*address, error));
                        }
                        attempts.remove(place);
                        begins = true;
                    }
                    Poll::Pending => place += 1,
                }
            }
            if attempts.is_empty() && addresses.is_empty() {
                return Poll::Ready(Err(failed.take()));
            }
            begins |= !addresses.is_empty() && delay.as_mut().poll(cx).is_ready();
            if !begins || addresses.is_empty() {
                return Poll::Pending;
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        format!("{text}:80").parse().unwrap()
    }

    fn addresses(texts: &[&str]) -> VecDeque<SocketAddr> {
        texts.iter().map(|text| address(text)).collect()
    }

    /// RFC 8305 section 4.
    #[test]
    fn families_take_turns() {
        let all = addresses(&["[::1]", "[::2]", "[::3]", "1.1.1.1", "2.2.2.2"]);
        assert_eq!(interleave(all.into()), addresses(&["[::1]", "1.1.1.1", "[::2]", "2.2.2.2", "[::3]"]));
        let all = addresses(&["1.1.1.1", "2.2.2.2", "[::1]"]);
        assert_eq!(interleave(all.into()), addresses(&["1.1.1.1", "[::1]", "2.2.2.2"]));
        assert!(interleave(Vec::new()).is_empty());
    }

    /// When each attempt begins, in milliseconds, and how it ends: after so many milliseconds, well or not.
    async fn tried(plan: &[(&str, u64, bool)]) -> (Vec<u128>, Result<SocketAddr, Option<SocketAddr>>) {
        let (start, begun) = (Instant::now(), Mutex::new(Vec::new()));
        let opened = open_first(plan.iter().map(|(text, ..)| address(text)).collect(), |tried| {
            begun.lock().unwrap().push(start.elapsed().as_millis());
            let (_, millis, is_good) = *plan.iter().find(|(text, ..)| address(text) == tried).unwrap();
            async move {
                sleep(Duration::from_millis(millis)).await;
                if is_good { Ok(tried) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
            }
        });
        let opened = opened.await.map_err(|failed| failed.map(|(address, _)| address));
        (begun.into_inner().unwrap(), opened)
    }

    /// RFC 8305 section 5.
    #[tokio::test(start_paused = true)]
    async fn the_next_attempt_begins_after_a_quarter_of_a_second_or_at_a_failure() {
        let never = 1_000_000;
        let (a, b, c) = ("[::1]", "1.1.1.1", "[::2]");
        assert_eq!(tried(&[(a, 10, true), (b, 0, true)]).await, (vec![0], Ok(address(a))));
        assert_eq!(tried(&[(a, never, true), (b, 10, true)]).await, (vec![0, 250], Ok(address(b))));
        assert_eq!(tried(&[(a, 300, true), (b, 100, true)]).await, (vec![0, 250], Ok(address(a))));
        assert_eq!(tried(&[(a, 20, false), (b, 30, true)]).await, (vec![0, 20], Ok(address(b))));
        let all = [(a, never, true), (b, 50, false), (c, 1, true)];
        assert_eq!(tried(&all).await, (vec![0, 250, 300], Ok(address(c))));
        let none = [(a, 400, false), (b, 10, false), (c, 10, false)];
        assert_eq!(tried(&none).await, (vec![0, 250, 260], Err(Some(address(a)))), "the first address is reported");
        assert_eq!(tried(&[]).await, (vec![], Err(None)));
    }
}
