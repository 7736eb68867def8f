//! A controller of the test's: answers HTTP on loopback and keeps what it was asked.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

/// One request: its path and the payload inside of the fake credential.
#[derive(Debug)]
pub struct Asked {
    pub path: String,
    pub payload: serde_json::Value,
    pub body: String,
}

pub struct Fake {
    pub url: String,
    pub address: String,
    asked: Receiver<Asked>,
}

impl Fake {
    /// Answers as many requests as there are answers.
    pub fn answering(answers: Vec<(u16, &str)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers: Vec<(u16, String)> = answers.into_iter().map(|(s, t)| (s, t.to_owned())).collect();
        let (send, asked) = channel();
        // Ends with the test's process, or after its last answer.
        std::thread::spawn(move || {
            for (status, text) in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).unwrap();
                    let line = line.trim().to_ascii_lowercase();
                    if line.is_empty() {
                        break;
                    }
                    if let Some(n) = line.strip_prefix("content-length:") {
                        length = n.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let hex = body.strip_prefix("MUNGE:").and_then(|b| b.strip_suffix(':')).unwrap_or_default();
                let bytes: Vec<u8> = (0..hex.len() / 2)
                    .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                    .collect();
                let payload = serde_json::from_slice(&bytes).unwrap_or_default();
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                send.send(Asked { path, payload, body }).unwrap();
                let mut stream = stream;
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: \
                     close\r\n\r\n{text}",
                    text.len()
                )
                .unwrap();
            }
        });
        Self { url: format!("http://{address}"), address, asked }
    }

    /// The next request; fails the test when none comes.
    pub fn next(&self) -> Asked {
        self.asked.recv_timeout(Duration::from_secs(10)).expect("the controller was not asked")
    }

    pub fn was_not_asked(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

/// An address where nobody listens.
pub fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}
