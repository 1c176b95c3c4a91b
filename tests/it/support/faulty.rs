//! A port in front of a scripted server that spoils the exchange in which a test asks `ask`, at one point.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The connection is reset.
    Reset,
    /// It is closed in order.
    Close,
    /// Nothing more comes.
    Stall,
}

/// The first `ask` is answered with these bytes and this ending; everything else is passed on.
pub fn in_front_of(server: SocketAddr, bytes: &'static [u8], ending: Ending) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let spoilt = Arc::new(AtomicBool::new(false));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let spoilt = Arc::clone(&spoilt);
            std::thread::spawn(move || serve(&stream, server, bytes, ending, &spoilt));
        }
    });
    address
}

fn serve(
    outside: &TcpStream,
    server: SocketAddr,
    bytes: &[u8],
    ending: Ending,
    spoilt: &AtomicBool,
) {
    let inside = TcpStream::connect(server).unwrap();
    let back = (inside.try_clone().unwrap(), outside.try_clone().unwrap());
    std::thread::spawn(move || copy(back.0, back.1));
    let mut request = [0; 8192];
    let mut inside = inside;
    while let Some(length) = next_request(outside, &mut request) {
        let asks = String::from_utf8_lossy(&request[..length]).contains("\"method\":\"ask\"");
        if asks && !spoilt.swap(true, Ordering::SeqCst) {
            (&*outside).write_all(bytes).ok();
            match ending {
                // What was not read makes the close a reset.
                Ending::Reset => {}
                Ending::Close => {
                    (&*outside).read_exact(&mut request[..length]).ok();
                }
                Ending::Stall => {
                    (&*outside).read_exact(&mut request[..length]).ok();
                    (&*outside).read_exact(&mut [0]).ok();
                }
            }
            // The copy of the descriptor would keep the connection open; what is unread still makes this a reset.
            match ending {
                Ending::Reset => drop(inside.shutdown(Shutdown::Both)),
                _ => drop(outside.shutdown(Shutdown::Both)),
            }
            return;
        }
        (&*outside).read_exact(&mut request[..length]).ok();
        if inside.write_all(&request[..length]).is_err() {
            return;
        }
    }
    inside.shutdown(Shutdown::Both).ok();
}

/// The length of the next request, when all of it is there, unread.
fn next_request(stream: &TcpStream, buffer: &mut [u8]) -> Option<usize> {
    loop {
        let there = stream.peek(buffer).ok().filter(|length| *length > 0)?;
        let text = String::from_utf8_lossy(&buffer[..there]).to_ascii_lowercase();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1);
            let length = length.and_then(|rest| rest.lines().next());
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            if there >= head.len() + 4 + length {
                return Some(head.len() + 4 + length);
            }
        }
        // The rest is on its way.
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
}
