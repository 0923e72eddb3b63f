//! The bytes of a file, bounded, so that no path that is served or named can fill the memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Files larger than this are not read.
pub(super) const MAX_SIZE: u64 = 16 << 20;

/// Of a regular file: what else there is may have no end, or be waited for.
pub(super) fn of_file(path: &Path) -> io::Result<Vec<u8>> {
    // To open a FIFO would wait for a writer.
    let flags = OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    whole(file)
}

/// The same, also of what can be read only once, as `/dev/stdin`. Its end is waited for.
pub(super) fn of_stream(path: &Path) -> io::Result<Vec<u8>> {
    whole(File::open(path)?)
}

fn whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Its size may be unknown, and it may grow.
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        let what = format!("it has more than {} MiB", MAX_SIZE >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (size, fits) in [(0, true), (MAX_SIZE, true), (MAX_SIZE + 1, false)] {
            File::create(&path).unwrap().set_len(size).unwrap();
            for read in [of_file, of_stream] {
                assert_eq!(read(&path).map(|bytes| bytes.len() as u64).ok(), fits.then_some(size), "{size}");
            }
        }
    }

    #[test]
    fn what_has_no_end_or_is_waited_for_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        for path in [&fifo, Path::new("/dev/zero"), folder.path()] {
            assert_eq!(of_file(path).unwrap_err().to_string(), "it is not a regular file", "{path:?}");
        }
        let error = of_stream(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "it has more than 16 MiB");
    }
}
