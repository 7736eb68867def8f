//! The listener's door: whoever can reach the port must not use up slurmctld's file descriptors.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// Connections at a time. A gang of 1,500 nodes says something every 30 s, each in a moment.
const SEATS: usize = 2_048;
/// Of these, from one address that is not this host.
const SEATS_EACH: usize = 64;
/// A connection that says nothing for so long is ended: before a request and between two.
const SILENCE: Duration = Duration::from_secs(10);
/// The same from the last bytes of a request on: the rest of it, and our answer, have to come in that time.
const ANSWER: Duration = Duration::from_secs(30);

type Guests = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Takes in no more than there are seats for.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    seats: Arc<Semaphore>,
    guests: Guests,
}

impl Door {
    /// In front of a listener.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        Self { listener, seats: Arc::new(Semaphore::new(SEATS)), guests: Guests::default() }
    }

    /// A place for another connection from there, unless it has its share.
    fn place(&self, from: IpAddr) -> Option<Place> {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let there = guests.entry(from).or_default();
        if *there >= SEATS_EACH && !from.is_loopback() {
            return None;
        }
        *there += 1;
        Some(Place { guests: self.guests.clone(), from })
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
struct Place {
    guests: Guests,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = guests.get_mut(&self.from) {
            *there -= 1;
            if *there == 0 {
                guests.remove(&self.from);
            }
        }
    }
}

impl axum::serve::Listener for Door {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            // Never closed.
            let Ok(seat) = self.seats.clone().acquire_owned().await else { continue };
            let (stream, from) = axum::serve::Listener::accept(&mut self.listener).await;
            if let Some(place) = self.place(from.ip()) {
                return (Guest { stream, silence: Box::pin(sleep(SILENCE)), _held: (seat, place) }, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when its other end says nothing.
#[derive(Debug)]
pub struct Guest {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    _held: (OwnedSemaphorePermit, Place),
}

impl Guest {
    fn wait(&mut self, limit: Duration) {
        let until = tokio::time::Instant::now() + limit;
        self.silence.as_mut().reset(until);
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(done) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.wait(ANSWER);
            return Poll::Ready(done);
        }
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Guest {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wait(SILENCE);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::serve::Listener as _;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn an_address_has_its_share_and_gives_it_back() {
        let door = Door::new(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        let far: IpAddr = "10.0.0.1".parse().expect("an address");
        let mut held: Vec<Place> = (0..SEATS_EACH).map(|_| door.place(far).expect("a share")).collect();
        assert!(door.place(far).is_none());
        held.pop();
        assert!(door.place(far).is_some());
        drop(held);
        assert!(door.guests.lock().expect("whole").is_empty(), "nobody is remembered for ever");
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_sent_away() {
        let mut door = Door::new(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
        let at = door.local_addr().expect("bound");
        let mut far = TcpStream::connect(at).await.expect("connects");
        let (mut guest, _) = door.accept().await;
        let began = tokio::time::Instant::now();
        let word = guest.read_u8().await;
        assert_eq!(word.expect_err("nothing was said").kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), SILENCE);
        drop(guest);
        assert!(far.read_u8().await.is_err(), "the connection is closed");
        assert_eq!(door.seats.available_permits(), SEATS);
    }
}
