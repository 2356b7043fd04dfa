//! A network namespace: processes run in it, and tests connect from it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpSocket;
use tokio::sync::oneshot;

use super::tools;

/// Where `ip netns` keeps the names.
pub(super) const NAMES: &str = "/run/netns";

type Answer = oneshot::Sender<io::Result<TcpSocket>>;

/// A network namespace with a name, gone when dropped.
#[derive(Debug)]
pub(super) struct Space {
    name: String,
    /// A thread that has gone into it makes sockets, which then are used anywhere: a socket stays in the namespace in which it
    /// was made. It ends when this is dropped.
    gate: mpsc::Sender<Answer>,
}

impl Space {
    pub(super) async fn create(name: String) -> Result<Self> {
        tools::ip(&["netns", "add", &name], "").await?;
        let made = Self::enter(&name);
        if made.is_err() {
            remove(&name);
        }
        made
    }

    fn enter(name: &str) -> Result<Self> {
        let namespace = File::open(path(name))?;
        let (gate, asked) = mpsc::channel::<Answer>();
        let (entered, outcome) = mpsc::channel();
        let serve = move || {
            let done = move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network));
            let may = done.is_ok();
            _ = entered.send(done);
            while may && let Ok(answer) = asked.recv() {
                _ = answer.send(TcpSocket::new_v4());
            }
        };
        thread::Builder::new().name(format!("gate {name}")).spawn(serve)?;
        outcome.recv()?.with_context(|| format!("the namespace {name} can't be entered"))?;
        Ok(Self { name: name.to_owned(), gate })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A socket in it.
    pub(super) async fn socket(&self) -> Result<TcpSocket> {
        socket(&self.gate).await
    }

    /// Where those get sockets who do not own it.
    pub(super) fn gate(&self) -> Gate {
        Gate(self.gate.clone())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Makes sockets in a namespace.
#[derive(Debug, Clone)]
pub(crate) struct Gate(mpsc::Sender<Answer>);

impl Gate {
    /// A socket.
    pub(crate) async fn socket(&self) -> Result<TcpSocket> {
        socket(&self.0).await
    }
}

async fn socket(gate: &mpsc::Sender<Answer>) -> Result<TcpSocket> {
    let (answer, socket) = oneshot::channel();
    gate.send(answer).ok().context("the namespace has gone")?;
    Ok(socket.await.context("the namespace has gone")??)
}

/// Takes the name away. The namespace itself goes with the last process in it.
pub(super) fn remove(name: &str) {
    let mut command = std::process::Command::new("ip");
    let removed = command.args(["netns", "del", name]).status();
    if !removed.is_ok_and(|status| status.success()) {
        eprintln!("the network namespace {name} is still there");
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}
