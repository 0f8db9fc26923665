//! The one way to open a file that a user names, or that is in a folder of theirs.
//!
//! A pipe waits for its writer, and a device may be read for ever. So only regular files are read,
//! by whatever links they are reached.

use std::fs::{self, File, FileType};
use std::io::{self, Read as _};
use std::path::Path;

/// Opens a regular file.
///
/// # Errors
///
/// Fails when there is none, when it may not be read, and with [`io::ErrorKind::InvalidInput`] on a
/// folder, a pipe, a socket or a device.
pub fn open(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a pipe waits, too.
    check(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    // What was put in its place since.
    check(file.metadata()?.file_type())?;
    Ok(file)
}

/// The bytes of a regular file.
///
/// # Errors
///
/// Fails where [`open`] does, and when it cannot be read.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of a regular file.
///
/// # Errors
///
/// Fails where [`read`] does, and when it is no UTF-8.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn check(kind: FileType) -> io::Result<()> {
    let got = match (kind.is_file(), kind.is_dir()) {
        (true, _) => return Ok(()),
        (_, true) => "a folder",
        _ => "a pipe or a device",
    };
    let problem = format!("expected a file, got {got}: put a file in its place");
    Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_are_read() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        assert_eq!(read(&at("link")).unwrap(), b"text", "links are followed");
        assert_eq!(read_to_string(&at("file")).unwrap(), "text");
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        symlink("pipe", at("to a pipe")).unwrap();
        symlink("/dev/zero", at("device")).unwrap();
        for name in ["pipe", "to a pipe", "socket", "device", "."] {
            let error = open(&at(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name}");
            let got = if name == "." { "a folder" } else { "a pipe or a device" };
            let expected = format!("expected a file, got {got}: put a file in its place");
            assert_eq!(error.to_string(), expected, "{name}");
        }
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(at("bytes"), [0xff]).unwrap();
        assert_eq!(read_to_string(&at("bytes")).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
