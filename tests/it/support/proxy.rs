//! An HTTP proxy that opens tunnels (RFC 9110 9.3.6): all of them lead to one server, whatever it is called.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

pub struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let noted = Arc::clone(&noted);
                // A peer that leaves early ends its tunnel; its test looks at what it says.
                std::thread::spawn(move || tunnel(client, server, &noted).ok());
            }
        });
        Proxy { address, asked }
    }

    /// As the variables of the environment name it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where tunnels were asked for: `host:port`, each once.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.dedup();
        asked
    }
}

fn tunnel(
    client: TcpStream,
    server: SocketAddr,
    noted: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    let target = first.strip_prefix("CONNECT ").unwrap_or(&first);
    let target = target.split(' ').next().unwrap_or_default();
    noted.lock().unwrap().push(target.to_owned());
    let mut line = first;
    while !line.trim().is_empty() {
        line.clear();
        lines.read_line(&mut line)?;
    }
    let inside = TcpStream::connect(server)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut to_client, mut from_server) = (client, inside.try_clone()?);
    std::thread::spawn(move || {
        std::io::copy(&mut from_server, &mut to_client).ok();
        to_client.shutdown(Shutdown::Write).ok();
    });
    std::io::copy(&mut lines, &mut &inside)?;
    inside.shutdown(Shutdown::Write)
}
