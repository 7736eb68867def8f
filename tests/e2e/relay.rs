//! A TCP relay between two of the cluster's programs: it can refuse, lose an answer, or change a word of a request.

use crate::{Context, Res};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

#[derive(Debug, Default)]
struct Orders {
    /// What an answer holds that never arrives, and how often it is still to be lost.
    lose: Option<(String, usize)>,
    lost: usize,
    /// Replaced in requests; both of one length, so that no header has to be changed.
    rewrite: Option<(String, String)>,
    rewritten: usize,
    open: Vec<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    orders: Mutex<Orders>,
    stop: AtomicBool,
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A relay on loopback. Dropping it closes everything.
#[derive(Debug)]
pub struct Relay {
    at: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay to a port of this machine; it refuses until [`Relay::open`].
    #[must_use]
    pub fn new(port: u16, to: u16) -> Self {
        let on = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let shared = Shared { to: on(to), orders: Mutex::default(), stop: AtomicBool::new(false) };
        Self { at: on(port), shared: Arc::new(shared), accepting: None }
    }

    /// Begins to listen.
    ///
    /// # Errors
    /// The port is taken.
    pub fn open(&mut self) -> Res<()> {
        let listener = TcpListener::bind(self.at).context(self.at)?;
        self.shared.stop.store(false, Ordering::Release);
        let shared = Arc::clone(&self.shared);
        self.accepting = Some(std::thread::spawn(move || accept(&listener, &shared)));
        Ok(())
    }

    /// Ends every connection; new ones are refused.
    pub fn close(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect(self.at);
        let _ = accepting.join();
        for stream in self.shared.orders().open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The next `times` answers that hold `text` are lost, and their connections with them.
    pub fn lose(&self, text: &str, times: usize) {
        self.shared.orders().lose = Some((text.to_owned(), times));
    }

    /// How many answers were lost.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.shared.orders().lost
    }

    /// Replaces `from` by `to`, which has the same length, in every request.
    ///
    /// # Errors
    /// The lengths differ.
    pub fn rewrite(&self, from: &str, to: &str) -> Res<()> {
        if from.len() != to.len() {
            return Err(format!("{from} and {to} differ in length"));
        }
        self.shared.orders().rewrite = Some((from.to_owned(), to.to_owned()));
        Ok(())
    }

    /// How many requests were changed.
    #[must_use]
    pub fn rewritten(&self) -> usize {
        self.shared.orders().rewritten
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.close();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming().flatten() {
        if shared.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(server) = TcpStream::connect(shared.to) else { continue };
        let ends = [client.try_clone(), server.try_clone()];
        shared.orders().open.extend(ends.into_iter().flatten());
        let (Ok(from_client), Ok(to_client)) = (client.try_clone(), client.try_clone()) else { continue };
        let (Ok(from_server), Ok(to_server)) = (server.try_clone(), server.try_clone()) else { continue };
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        std::thread::spawn(move || pump(from_client, to_server, |bytes| change(&up, bytes)));
        std::thread::spawn(move || pump(from_server, to_client, |bytes| pass(&down, bytes)));
    }
}

/// Hands on what comes, for as long as `through` lets it; then both ends are closed.
fn pump(mut from: TcpStream, mut to: TcpStream, through: impl Fn(&mut [u8]) -> bool) {
    let mut buffer = vec![0_u8; 64 * 1024];
    while let Ok(n) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get_mut(..n).filter(|b| !b.is_empty()) else { break };
        if !through(bytes) || to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

fn position(bytes: &[u8], text: &str) -> Option<usize> {
    bytes.windows(text.len().max(1)).position(|w| w == text.as_bytes())
}

fn change(shared: &Shared, bytes: &mut [u8]) -> bool {
    let mut orders = shared.orders();
    if let Some((from, to)) = &orders.rewrite
        && let Some(at) = position(bytes, from)
        && let Some(place) = bytes.get_mut(at..at + to.len())
    {
        place.copy_from_slice(to.as_bytes());
        orders.rewritten += 1;
    }
    true
}

fn pass(shared: &Shared, bytes: &mut [u8]) -> bool {
    let mut orders = shared.orders();
    if let Some((text, times)) = &mut orders.lose
        && *times > 0
        && position(bytes, text).is_some()
    {
        *times -= 1;
        orders.lost += 1;
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> (u16, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut s, _) = listener.accept().unwrap();
                let mut b = [0_u8; 64];
                while let Ok(n @ 1..) = s.read(&mut b) {
                    s.write_all(&b[..n]).unwrap();
                }
            }
        });
        (port, served)
    }

    fn say(port: u16, text: &str) -> String {
        let mut s = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        s.write_all(text.as_bytes()).unwrap();
        let mut b = [0_u8; 64];
        let n = s.read(&mut b).unwrap_or(0);
        String::from_utf8_lossy(&b[..n]).into_owned()
    }

    #[test]
    fn it_refuses_loses_and_changes() {
        let (to, served) = echo();
        // A free port: it was bound a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut relay = Relay::new(port, to);
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        relay.open().unwrap();
        relay.rewrite("min=4", "min=1").unwrap();
        assert_eq!(say(port, "max=4 min=4"), "max=4 min=1");
        relay.lose("min=1", 1);
        assert_eq!(say(port, "min=4"), "");
        assert_eq!((relay.lost(), relay.rewritten()), (1, 2));
        relay.close();
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err());
        served.join().unwrap();
    }
}
