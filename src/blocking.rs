//! `Blocking`: waits where a non-blocking stdin, stdout or stderr would fail with `WouldBlock`.
//!
//! `O_NONBLOCK` belongs to the open file, which a host shares with the programs it starts; hosts with an event loop set it.
//!
//! Spec: POSIX read(2), write(2) (`EAGAIN`), poll(2).

use std::io::{ErrorKind, Read, Result, Write};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::time::Duration;

/// Where poll(2) cannot wait, the file is tried again after this.
const PAUSE: Duration = Duration::from_millis(10);

/// A file that is waited for, whether it is non-blocking or not.
pub(crate) struct Blocking<T>(pub(crate) T);

#[cfg(unix)]
impl<T: AsFd> Blocking<T> {
    fn retry<V>(
        &mut self,
        flag: nix::poll::PollFlags,
        mut act: impl FnMut(&mut T) -> Result<V>,
    ) -> Result<V> {
        use nix::errno::Errno;
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            let mut files = [PollFd::new(self.0.as_fd(), flag)];
            let polled = poll(&mut files, PollTimeout::NONE);
            let [file] = files;
            let is_invalid = file
                .revents()
                .is_some_and(|events| events.contains(PollFlags::POLLNVAL));
            if is_invalid || polled.is_err_and(|error| error != Errno::EINTR) {
                std::thread::sleep(PAUSE);
            }
        }
    }
}

#[cfg(unix)]
impl<T: Read + AsFd> Read for Blocking<T> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        self.retry(nix::poll::PollFlags::POLLIN, |file| file.read(bytes))
    }
}

#[cfg(unix)]
impl<T: Write + AsFd> Write for Blocking<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.retry(nix::poll::PollFlags::POLLOUT, |file| file.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.retry(nix::poll::PollFlags::POLLOUT, |file| file.flush())
    }
}

#[cfg(not(unix))]
impl<T> Blocking<T> {
    fn retry<V>(&mut self, mut act: impl FnMut(&mut T) -> Result<V>) -> Result<V> {
        loop {
            match act(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                done => return done,
            }
        }
    }
}

#[cfg(not(unix))]
impl<T: Read> Read for Blocking<T> {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        self.retry(|file| file.read(bytes))
    }
}

#[cfg(not(unix))]
impl<T: Write> Write for Blocking<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.retry(|file| file.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.retry(|file| file.flush())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_non_blocking_file_is_waited_for_and_nothing_is_cut() {
        let (from, to) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        to.set_nonblocking(true).unwrap();
        let sent = vec![b'x'; 3_000_000];
        let writer = std::thread::spawn({
            let sent = sent.clone();
            move || {
                // The reader finds nothing at first, and the writer no room later.
                std::thread::sleep(Duration::from_millis(50));
                Blocking(to).write_all(&sent).unwrap();
            }
        });
        let mut received = Vec::new();
        let mut from = Blocking(from);
        let mut first = [0; 1];
        from.read_exact(&mut first).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        received.extend(first);
        from.read_to_end(&mut received).unwrap();
        writer.join().unwrap();
        assert_eq!(received, sent);
    }
}
