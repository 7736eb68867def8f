//! An HTTP/1.1 endpoint that answers from a script and keeps what it was asked.
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

pub(crate) type Params = BTreeMap<String, String>;

pub(crate) enum Reply {
    Body(u16, String),
    /// The request is read, the connection closed without an answer.
    Drop,
    /// The request is read, the connection stays open without an answer.
    Silence,
}

pub(crate) fn ok(action: &str, inside: &str) -> Reply {
    let ns = "http://ec2.amazonaws.com/doc/2016-11-15/";
    Reply::Body(
        200,
        format!("<{action}Response xmlns=\"{ns}\"><requestId>req-ok</requestId>{inside}</{action}Response>"),
    )
}

pub(crate) fn err(status: u16, code: &str, message: &str) -> Reply {
    Reply::Body(
        status,
        format!(
            "<?xml version=\"1.0\"?><Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>\
             </Errors><RequestID>req-bad</RequestID></Response>"
        ),
    )
}

pub(crate) struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Params>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

fn decode(s: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' => b' ',
            b'%' => {
                let hex = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap()
            }
            b => b,
        });
    }
    String::from_utf8(out).unwrap()
}

fn read(stream: &mut BufReader<TcpStream>) -> Option<Params> {
    let mut length = 0;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 || line.contains('\0') {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(n) = lower.strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(body.split('&').filter_map(|p| p.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect())
}

impl Server {
    pub(crate) fn start(script: impl Fn(usize, &Params) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (keep, end) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                let mut stream = BufReader::new(stream.unwrap());
                let Some(params) = read(&mut stream) else { continue };
                let n = {
                    let mut all = keep.lock().unwrap();
                    all.push(params.clone());
                    all.len()
                };
                match script(n, &params) {
                    Reply::Drop => {}
                    Reply::Silence => silent.push(stream),
                    Reply::Body(status, body) => {
                        let head = format!(
                            "HTTP/1.1 {status} X\r\nContent-Type: text/xml\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                            body.len()
                        );
                        let _ = stream.get_mut().write_all((head + &body).as_bytes());
                    }
                }
            }
        });
        Self { url, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn asked(&self) -> Vec<Params> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.asked().iter().map(|p| p["Action"].clone()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        if let Some(t) = self.thread.take() {
            let _ = t.join();
        }
    }
}
