use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a Unix socket that we made: removed on drop, if it is still ours.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    /// Device and inode, so that the file of a successor is left alone.
    identity: Option<(u64, u64)>,
}

impl UnixPath {
    /// Makes the file and listens on it.
    ///
    /// A file that nobody listens on was left by a process that died, and is replaced.
    pub(super) fn listen(path: PathBuf, backlog: i32) -> io::Result<(UnixListener, UnixPath)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(&path)?;
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(&path) => {
                std::fs::remove_file(&path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let identity = identity_of(&path);
        let file = UnixPath { path, identity };
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok((socket.into(), file))
    }
}

impl Drop for UnixPath {
    fn drop(&mut self) {
        if self.identity.is_some() && self.identity == identity_of(&self.path) {
            // If it cannot be removed, the next server on this path replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_abandoned(path: &Path) -> bool {
    // What is no socket refuses connections too, and is not ours to remove.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && matches!(UnixStream::connect(path), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
