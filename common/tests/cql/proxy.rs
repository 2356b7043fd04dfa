//! A way to the server on which answers get lost.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The head of a frame of the native protocol, version 4: version, flags, stream (2), opcode, length (4).
const HEAD: usize = 9;
const EXECUTE: u8 = 0x0a;

/// What becomes of the answer to a request that is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The connection breaks in its place.
    Breaks,
    /// It never comes.
    Swallowed,
}

/// Passes frames on, but for the answers to marked requests.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    marks: Arc<Mutex<Vec<Mark>>>,
    silent: Arc<watch::Sender<bool>>,
}

/// What a request holds, and what becomes of its answer.
type Mark = (Vec<u8>, Loss);

impl Proxy {
    /// Listens on a port of its own, in front of `server` and at its address: nodes tell theirs, and the driver takes
    /// it for another node's otherwise.
    pub(crate) async fn before(server: &str) -> Self {
        let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let proxy = Self { addr: listener.local_addr().unwrap(), marks: Arc::default(), silent: Arc::default() };
        let (server, through) = (server.to_owned(), proxy.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server answers");
                tokio::spawn(through.clone().pass(client, server));
            }
        });
        proxy
    }

    /// The answer to the next request that holds these bytes gets lost.
    pub(crate) fn lose_answer(&self, bytes: &[u8], loss: Loss) {
        self.marks().push((bytes.to_vec(), loss));
    }

    /// Nothing passes from now on, or what was held and everything after it.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Answers that are still to be lost.
    pub(crate) fn left(&self) -> usize {
        self.marks().len()
    }

    fn marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_of(&self, frame: &[u8]) -> Option<Loss> {
        let mut marks = self.marks();
        let holds = |(bytes, _): &Mark| frame.windows(bytes.len()).any(|window| window == bytes);
        let at = marks.iter().position(holds)?;
        Some(marks.remove(at).1)
    }

    async fn pass(self, client: TcpStream, server: TcpStream) {
        let lost = Arc::new(Mutex::new(HashSet::new()));
        let broken = Arc::new(Mutex::new(HashSet::new()));
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let (lost_too, broken_too) = (Arc::clone(&lost), Arc::clone(&broken));
        let (silent, silent_too) = (self.silent.subscribe(), self.silent.subscribe());
        let asking = relay(from_client, to_server, silent, move |frame| {
            if frame[4] == EXECUTE {
                match self.mark_of(frame) {
                    Some(Loss::Breaks) => drop(broken_too.lock().unwrap().insert([frame[2], frame[3]])),
                    Some(Loss::Swallowed) => drop(lost_too.lock().unwrap().insert([frame[2], frame[3]])),
                    None => {}
                }
            }
            Verdict::Pass
        });
        let answering = relay(from_server, to_client, silent_too, move |frame| {
            let stream = [frame[2], frame[3]];
            if broken.lock().unwrap().remove(&stream) {
                return Verdict::Break;
            }
            if lost.lock().unwrap().remove(&stream) { Verdict::Swallow } else { Verdict::Pass }
        });
        tokio::select! {
            () = asking => {}
            () = answering => {}
        }
    }
}

enum Verdict {
    Pass,
    Swallow,
    Break,
}

async fn relay(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut silent: watch::Receiver<bool>,
    judge: impl Fn(&[u8]) -> Verdict,
) {
    loop {
        let mut frame = vec![0; HEAD];
        if from.read_exact(&mut frame).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes([frame[5], frame[6], frame[7], frame[8]]) as usize;
        frame.resize(HEAD + length, 0);
        if from.read_exact(&mut frame[HEAD..]).await.is_err() {
            return;
        }
        if silent.wait_for(|silent| !silent).await.is_err() {
            return;
        }
        match judge(&frame) {
            Verdict::Pass if to.write_all(&frame).await.is_ok() => {}
            Verdict::Swallow => {}
            _ => return,
        }
    }
}
