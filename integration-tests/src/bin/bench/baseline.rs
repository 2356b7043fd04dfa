//! The bare relay beside which the switchboard is measured: pairs of connections in the order in which they come, bytes
//! copied from one to the other, and nothing understood. With a database it also writes each message, and answers it
//! when it is durable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::mpsc;

use anyhow::Result;
use bytes::BytesMut;
use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Listens, prints where, and relays until it is killed.
pub(crate) async fn serve(database: Option<PathBuf>) -> Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("listening clients={}", listener.local_addr()?);
    let writer = database.map(spawn_writer).transpose()?;
    loop {
        let (first, _) = listener.accept().await?;
        let (second, _) = listener.accept().await?;
        first.set_nodelay(true)?;
        second.set_nodelay(true)?;
        match &writer {
            None => relay(first, second),
            Some(writer) => store_and_relay(first, second, writer.clone()),
        }
    }
}

fn relay(first: TcpStream, second: TcpStream) {
    let ((first_in, first_out), (second_in, second_out)) = (first.into_split(), second.into_split());
    tokio::spawn(copy(first_in, second_out));
    tokio::spawn(copy(second_in, first_out));
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(4096);
    loop {
        buffer.clear();
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        to.write_all(&buffer).await?;
    }
}

type Write = (Vec<u8>, oneshot::Sender<()>);

/// One thread, one transaction for all that wait: as few commits as any writer could have.
fn spawn_writer(path: PathBuf) -> Result<mpsc::Sender<Write>> {
    let database = Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE messages (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);",
    )?;
    let (sender, writes) = mpsc::channel::<Write>();
    std::thread::spawn(move || -> Result<()> {
        while let Ok(first) = writes.recv() {
            database.execute_batch("BEGIN IMMEDIATE")?;
            let mut waiting = Vec::new();
            for (payload, done) in std::iter::once(first).chain(writes.try_iter()) {
                database.prepare_cached("INSERT INTO messages (payload) VALUES (?1)")?.execute([payload])?;
                waiting.push(done);
            }
            database.execute_batch("COMMIT")?;
            for done in waiting {
                // Whoever has gone meanwhile needs no answer.
                let _ = done.send(());
            }
        }
        Ok(())
    });
    Ok(sender)
}

/// Each read of the sender's is taken for one message: it sends the next only when it has the answer.
fn store_and_relay(first: TcpStream, mut second: TcpStream, writer: mpsc::Sender<Write>) {
    tokio::spawn(async move {
        let (mut from, mut to) = first.into_split();
        let mut buffer = BytesMut::with_capacity(4096);
        let mut answered = 0u32;
        loop {
            buffer.clear();
            if from.read_buf(&mut buffer).await? == 0 {
                return anyhow::Ok(());
            }
            second.write_all(&buffer).await?;
            let (done, durable) = oneshot::channel();
            writer.send((buffer.to_vec(), done))?;
            durable.await?;
            answered += 1;
            to.write_all(format!("ACK {answered}\r\n").as_bytes()).await?;
        }
    });
}
