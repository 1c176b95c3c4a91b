//! A connection, plain or over TLS, and the little HTTP/1.1 that both ends of it need here.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use rustls::{ClientConnection, ServerConnection, StreamOwned};

pub enum Wire {
    Plain(TcpStream),
    Server(Box<StreamOwned<ServerConnection, TcpStream>>),
    #[allow(dead_code, reason = "the static test has only a server")]
    Client(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(buffer),
            Wire::Server(stream) => stream.read(buffer),
            Wire::Client(stream) => stream.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(stream) => stream.write(bytes),
            Wire::Server(stream) => stream.write(bytes),
            Wire::Client(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(stream) => stream.flush(),
            Wire::Server(stream) => stream.flush(),
            Wire::Client(stream) => stream.flush(),
        }
    }
}

/// What was read of a request or of an answer.
#[derive(Default)]
pub struct Http {
    /// The request or status line.
    pub start: String,
    /// The session it belongs to, or begins.
    pub session: String,
    pub chunked: bool,
    pub body: Vec<u8>,
}

impl Http {
    /// Reads the next one, into the buffers of the last; false at the end of the connection.
    pub fn read(&mut self, reader: &mut BufReader<Wire>) -> io::Result<bool> {
        self.start.clear();
        self.body.clear();
        self.session.clear();
        self.chunked = false;
        if reader.read_line(&mut self.start)? == 0 {
            return Ok(false);
        }
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            if name.eq_ignore_ascii_case("mcp-session-id") {
                value.trim().clone_into(&mut self.session);
            }
            self.chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        while self.chunked {
            line.clear();
            reader.read_line(&mut line)?;
            length = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
            self.append(reader, length)?;
            reader.read_line(&mut line)?;
            if length == 0 {
                return Ok(true);
            }
        }
        self.append(reader, length)?;
        Ok(true)
    }

    fn append(&mut self, reader: &mut BufReader<Wire>, length: usize) -> io::Result<()> {
        let before = self.body.len();
        self.body.resize(before + length, 0);
        reader.read_exact(&mut self.body[before..])
    }
}
