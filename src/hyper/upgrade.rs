use std::sync::Arc;
use std::time::Duration;

use ::hyper::upgrade::{OnUpgrade, Upgraded as HyperUpgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::emitter::Contained;
use crate::http::{AppStream, ConnectionPermit, Phase, Shutdowns, TaskGuard, Upgrade, Upgraded, spawn_upgraded};
use crate::runtime::stream::{Stream, Transport};
use crate::runtime::trace;

/// Waits until hyper has sent the 101, and starts the connection. If that fails, or takes longer than `limit`,
/// `upgrade` is dropped, which ends the accepted connection. `task`, being the first argument, is dropped last.
pub(super) async fn finish(
    task: TaskGuard,
    on_upgrade: OnUpgrade,
    upgrade: Box<dyn Upgrade>,
    shutdowns: Arc<Shutdowns>,
    limit: Option<Duration>,
) {
    let sent = async {
        match limit {
            Some(limit) => timeout(limit, on_upgrade).await.ok()?.ok(),
            None => on_upgrade.await.ok(),
        }
    };
    let terminated = task.shutdown().reached(Phase::Terminated);
    let upgraded = tokio::select! {
        biased;
        () = terminated => None,
        upgraded = sent => upgraded,
    };
    let Some(upgraded) = upgraded else { return };
    let (stream, read_ahead) = into_stream(upgraded);
    // Only a socket can have the clock of sockets. If the shutdown has begun, the connection ends with `task`.
    let of_sockets = match stream.transport {
        Transport::Other(_) => None,
        _ => shutdowns.track_task(true),
    };
    let task = of_sockets.unwrap_or(task);
    let remote = stream.remote;
    let permit = ConnectionPermit::without_limit(task);
    // A task of its own, which does not keep the memory of this one.
    spawn_upgraded(trace::in_connection(remote, upgrade.start(Upgraded { stream, read_ahead, permit })));
}

/// Returns the stream below an upgraded connection, and the bytes that were read behind the request. Sockets are
/// recognized, since any thread can write to them.
fn into_stream(upgraded: HyperUpgraded) -> (Stream, Vec<u8>) {
    let upgraded = match downcast::<TcpStream>(upgraded) {
        Ok((stream, read_ahead)) => {
            // If this fails, the connection has ended already.
            let _ = stream.set_nodelay(true);
            return (Stream::of_tcp(stream), read_ahead);
        }
        Err(upgraded) => upgraded,
    };
    #[cfg(unix)]
    let upgraded = match downcast::<UnixStream>(upgraded) {
        Ok((stream, read_ahead)) => return (Stream::of_unix(stream), read_ahead),
        Err(upgraded) => upgraded,
    };
    (Stream::other(AppStream(Contained::new(TokioIo::new(upgraded)))), Vec::new())
}

/// Takes the stream out if it has this type. The servers of hyper itself and the `auto` server of `hyper-util`,
/// which axum uses, wrap it differently.
fn downcast<S>(upgraded: HyperUpgraded) -> Result<(S, Vec<u8>), HyperUpgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match upgraded.downcast::<TokioIo<S>>() {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf.into())),
        Err(upgraded) => {
            let parts = auto::upgrade::downcast::<TokioIo<S>>(upgraded)?;
            Ok((parts.io.into_inner(), parts.read_buf.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use ::hyper::server::conn::http1;
    use ::hyper::service::service_fn;
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper_util::rt::TokioExecutor;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;

    use super::*;

    /// Has hyper upgrade one end of a connection. Returns its stream, and the bytes that were read behind the request.
    async fn upgraded<S>(mut client: S, server: S, is_auto: bool) -> (Stream, Vec<u8>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: b\r\n\r\nbehind").await.unwrap();
        let (send, mut sent) = mpsc::unbounded_channel();
        let service = service_fn(move |mut request| {
            let (on_upgrade, send) = (::hyper::upgrade::on(&mut request), send.clone());
            tokio::spawn(async move { send.send(into_stream(on_upgrade.await.unwrap())).ok() });
            let head = http::Response::builder().status(101).header("Connection", "upgrade").header("Upgrade", "b");
            std::future::ready(Ok::<_, Infallible>(head.body(Empty::<Bytes>::new()).unwrap()))
        });
        if is_auto {
            let server_of_axum = auto::Builder::new(TokioExecutor::new());
            server_of_axum.serve_connection_with_upgrades(TokioIo::new(server), service).await.unwrap();
        } else {
            http1::Builder::new().serve_connection(TokioIo::new(server), service).with_upgrades().await.unwrap();
        }
        let upgraded = sent.recv().await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        upgraded
    }

    #[tokio::test]
    async fn the_sockets_of_hypers_servers_are_recognized() {
        for is_auto in [false, true] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, address) = listener.accept().await.unwrap();
            let (stream, read_ahead) = upgraded(client, server, is_auto).await;
            assert_eq!((stream.remote, &read_ahead[..]), (Some(address), &b"behind"[..]));
            assert!(matches!(stream.transport, Transport::Tcp(stream) if stream.nodelay().unwrap()), "{is_auto}");
            #[cfg(unix)]
            {
                let (client, server) = UnixStream::pair().unwrap();
                let (stream, read_ahead) = upgraded(client, server, is_auto).await;
                assert_eq!(read_ahead, b"behind");
                assert!(matches!(stream.transport, Transport::Unix(_)), "{is_auto}");
            }
        }
    }

    #[tokio::test]
    async fn any_other_stream_begins_with_the_bytes_that_were_read() {
        for is_auto in [false, true] {
            let (client, server) = tokio::io::duplex(1024);
            let (mut stream, read_ahead) = upgraded(client, server, is_auto).await;
            assert!(matches!(stream.transport, Transport::Other(_)) && read_ahead.is_empty());
            let mut behind = [0; 6];
            stream.read_exact(&mut behind).await.unwrap();
            assert_eq!(&behind, b"behind");
        }
    }
}
