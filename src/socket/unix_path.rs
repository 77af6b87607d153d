use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, SockAddr, Socket, Type};

use super::options::SocketOptions;

/// The file of a Unix socket that this process has created. It is removed on drop, unless another
/// process has replaced it.
#[derive(Debug)]
pub(super) struct UnixPath {
    path: PathBuf,
    /// Device and inode, so that the file of another process is not removed.
    identity: Option<(u64, u64)>,
}

impl UnixPath {
    /// Creates the file and listens on it.
    ///
    /// A file on which no process listens was left by a dead process, and is replaced.
    pub(super) fn listen(path: PathBuf, options: &SocketOptions) -> io::Result<(UnixListener, UnixPath)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(&path)?;
        // Held until the socket listens. Without it, of two servers that start at the same time,
        // one could take the file of the other for abandoned.
        let _alone = lock_folder(&path);
        match socket.bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(&address, &path) => {
                std::fs::remove_file(&path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let identity = identity_of(&path);
        let file = UnixPath { path, identity };
        if let Some(mode) = options.unix_mode {
            // No client can connect before the socket listens.
            std::fs::set_permissions(&file.path, Permissions::from_mode(mode))?;
        }
        socket.listen(options.backlog)?;
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

fn is_abandoned(address: &SockAddr, path: &Path) -> bool {
    // A file that is not a socket refuses connections too, and must not be removed.
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && matches!(try_connect(address), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Does not wait for a server that does not accept at present.
fn try_connect(address: &SockAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)
}

/// Locks the folder against other servers for a moment, if it can be opened. Other programs are not
/// affected.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(folder).ok()?;
    flock(&folder, FlockOperation::LockExclusive).ok()?;
    Some(folder)
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}
