//! The network edge: where it listens, under which names it answers, what it refuses, who it cuts.

mod agreement;
mod listening;
mod many;
mod names;
mod slow;
mod smuggling;
mod tls;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{ALLOW_ALL, Builder, PATIENCE, TestGateway};

fn allowed() -> Builder {
    TestGateway::builder().counting().policy("all.yaml", ALLOW_ALL)
}

/// A connection of its own.
fn connect(gateway: &TestGateway) -> TcpStream {
    let address = gateway.url().split_once("://").unwrap().1;
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that comes until the other side closes, or nothing has come for a while.
fn rest(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return String::from_utf8_lossy(&all).into_owned(),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
        }
    }
}

/// What is answered to these bytes, on a connection of their own.
fn answers(gateway: &TestGateway, bytes: &[u8]) -> String {
    let mut stream = connect(gateway);
    // The gateway may have closed before all was written.
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

/// The status of the first answer; 0 when there is none.
fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// How many answers there are.
fn count(answers: &str) -> usize {
    answers.matches("HTTP/1.1 ").count()
}
