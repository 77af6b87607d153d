//! The client's end of a socket, plain or with TLS.

#[cfg(feature = "tls")]
pub use tls::Stream;

/// TLS is not built in.
#[cfg(not(feature = "tls"))]
pub struct Stream(mio::net::TcpStream);

#[cfg(not(feature = "tls"))]
mod plain {
    use super::Stream;
    use crate::Result;
    use mio::net::TcpStream;
    use std::io::{self, Read, Write};

    impl Stream {
        /// Sends `request` and reads with `head` until that returns something.
        pub fn open<T>(
            mut stream: std::net::TcpStream,
            request: &[u8],
            mut head: impl FnMut(&[u8]) -> Result<Option<T>>,
        ) -> Result<(Stream, T)> {
            stream.write_all(request)?;
            let opened = super::read_head(&mut stream, &mut head)?;
            stream.set_nonblocking(true)?;
            Ok((Stream(TcpStream::from_std(stream)), opened))
        }

        pub fn socket(&mut self) -> &mut TcpStream {
            &mut self.0
        }

        /// Whether a short read has taken everything.
        pub fn is_plain(&self) -> bool {
            true
        }

        /// Sends what earlier writes have left.
        pub fn go_on(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

fn read_head<T>(
    stream: &mut impl std::io::Read,
    head: &mut impl FnMut(&[u8]) -> crate::Result<Option<T>>,
) -> crate::Result<T> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed during the handshake".into()),
            count => {
                if let Some(opened) = head(&buffer[..count])? {
                    return Ok(opened);
                }
            }
        }
    }
}

#[cfg(feature = "tls")]
mod tls {
    use crate::Result;
    use mio::net::TcpStream;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::io::{self, ErrorKind, Read, Write};
    use std::sync::{Arc, OnceLock};

    pub struct Stream {
        socket: TcpStream,
        tls: Option<Box<ClientConnection>>,
    }

    /// Returns the settings of TLS if the environment has `LOAD_TLS`: a cipher suite, or `yes`.
    fn config() -> Option<Arc<ClientConfig>> {
        static CONFIG: OnceLock<Option<Arc<ClientConfig>>> = OnceLock::new();
        CONFIG
            .get_or_init(|| {
                let suite = std::env::var("LOAD_TLS").ok()?;
                let mut provider = rustls::crypto::aws_lc_rs::default_provider();
                if suite != "yes" {
                    provider.cipher_suites.retain(|known| format!("{:?}", known.suite()) == suite);
                    assert!(!provider.cipher_suites.is_empty(), "there is no cipher suite {suite}");
                }
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(react_websocket_bench::tls::CERTIFICATE).ok()?).ok()?;
                let builder = ClientConfig::builder_with_provider(Arc::new(provider));
                let builder = builder.with_safe_default_protocol_versions().ok()?;
                Some(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
            })
            .clone()
    }

    impl Stream {
        /// Sends `request` and reads with `head` until that returns something.
        pub fn open<T>(
            mut stream: std::net::TcpStream,
            request: &[u8],
            mut head: impl FnMut(&[u8]) -> Result<Option<T>>,
        ) -> Result<(Stream, T)> {
            let mut tls = match config() {
                Some(config) => Some(Box::new(ClientConnection::new(config, ServerName::try_from("localhost")?)?)),
                None => None,
            };
            let opened = match &mut tls {
                Some(tls) => {
                    tls.set_buffer_limit(None);
                    let mut stream = rustls::Stream::new(&mut **tls, &mut stream);
                    stream.write_all(request)?;
                    super::read_head(&mut stream, &mut head)?
                }
                None => {
                    stream.write_all(request)?;
                    super::read_head(&mut stream, &mut head)?
                }
            };
            stream.set_nonblocking(true)?;
            Ok((Stream { socket: TcpStream::from_std(stream), tls }, opened))
        }

        pub fn socket(&mut self) -> &mut TcpStream {
            &mut self.socket
        }

        /// Whether a short read has taken everything.
        pub fn is_plain(&self) -> bool {
            self.tls.is_none()
        }

        /// Sends what earlier writes have left.
        pub fn go_on(&mut self) -> io::Result<()> {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
    }

    impl Read for Stream {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
            loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    read => return read,
                }
                if tls.read_tls(&mut self.socket)? == 0 {
                    return Ok(0);
                }
                tls.process_new_packets().map_err(io::Error::other)?;
            }
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let Some(tls) = &mut self.tls else { return self.socket.write(bytes) };
            let count = tls.writer().write(bytes)?;
            self.go_on()?;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.go_on()
        }
    }
}
