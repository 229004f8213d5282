//! Unix sockets: bound anew although a killed process left its file behind.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// Binds a Unix socket; one that a killed process left behind is replaced.
///
/// # Errors
/// When the path cannot be used, or a living process listens there.
pub fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if path.exists() && UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    UnixListener::bind(path)
}
