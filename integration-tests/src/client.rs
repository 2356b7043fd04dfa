//! A client for tests that play no transcript: kill tests, chaos and benchmarks. By itself it speaks MSNP7; it believes nothing.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use bytes::BytesMut;
use common::msnp::challenge::md5_answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// The verbs that servers send with a payload, where it was not asked for.
const WITH_PAYLOAD: &[&str] = &["MSG", "NOT", "IPG", "UBX"];

/// A command from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its tokens, the verb first.
    pub tokens: Vec<String>,
    /// Its payload, or nothing.
    pub payload: Vec<u8>,
}

impl Received {
    /// The verb, or the error's number.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.token(0)
    }

    /// A token; empty if there are not so many.
    #[must_use]
    pub fn token(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", String::as_str)
    }
}

/// A connection to a notification server or a switchboard.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
    trid: u32,
}

impl Client {
    /// Connects, and does nothing else.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect(addr: SocketAddr) -> Result<Self> {
        Self::connect_from(Ipv4Addr::UNSPECIFIED.into(), addr).await
    }

    /// Speaks over a connection that is there.
    ///
    /// # Errors
    /// When it has ended.
    pub fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: BytesMut::new(), trid: 0 })
    }

    /// Connects with room for so few bytes that most of what comes stays with the server until it is read.
    ///
    /// # Errors
    /// When nobody listens there.
    pub async fn connect_narrow(addr: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        Self::over(socket.connect(addr).await.with_context(|| format!("connecting to {addr}"))?)
    }

    /// Connects from one of this machine's addresses: all of 127.0.0.0/8 are. The unspecified one leaves the choice
    /// to the system.
    ///
    /// # Errors
    /// When nobody listens there, or the machine has no such address.
    pub async fn connect_from(local: IpAddr, addr: SocketAddr) -> Result<Self> {
        let connecting = async {
            let socket = TcpSocket::new_v4()?;
            if !local.is_unspecified() {
                socket.bind((local, 0).into())?;
            }
            socket.connect(addr).await
        };
        Self::over(connecting.await.with_context(|| format!("connecting to {addr} from {local}"))?)
    }

    /// Signs in at a notification server by MD5 and goes online.
    ///
    /// # Errors
    /// When the server does not do what the protocol says.
    pub async fn sign_in(addr: SocketAddr, passport: &str, password: &str) -> Result<Self> {
        let mut client = Self::connect(addr).await?;
        let ok = client.authenticate(passport, password).await?;
        if ok.token(2) != "OK" {
            bail!("{passport} could not sign in: {:?}", ok.tokens);
        }
        client.request("CHG", "NLN").await?;
        Ok(client)
    }

    /// From `VER` to the proof by MD5; returns the server's answer to that, `OK` or a refusal.
    ///
    /// # Errors
    /// When the connection ends before.
    pub async fn authenticate(&mut self, passport: &str, password: &str) -> Result<Received> {
        self.request("VER", "MSNP7 CVR0").await?;
        self.request("INF", "").await?;
        let salt = self.request("USR", &format!("MD5 I {passport}")).await?.token(4).to_owned();
        self.request("USR", &format!("MD5 S {}", md5_answer(&salt, password))).await
    }

    /// Sends a request and waits for the answer to it; what comes in between is passed over.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn request(&mut self, verb: &str, arguments: &str) -> Result<Received> {
        let trid = self.send(verb, arguments).await?.to_string();
        loop {
            let received = self.receive().await?;
            if received.token(1) == trid {
                return Ok(received);
            }
        }
    }

    /// Sends a request without waiting; returns its transaction id.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn send(&mut self, verb: &str, arguments: &str) -> Result<u32> {
        self.trid += 1;
        let space = if arguments.is_empty() { "" } else { " " };
        let line = format!("{verb} {}{space}{arguments}\r\n", self.trid);
        self.stream.write_all(line.as_bytes()).await?;
        Ok(self.trid)
    }

    /// Sends a `MSG` without waiting; returns its transaction id.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn message(&mut self, ack: &str, payload: &[u8]) -> Result<u32> {
        self.trid += 1;
        let mut bytes = format!("MSG {} {ack} {}\r\n", self.trid, payload.len()).into_bytes();
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).await?;
        Ok(self.trid)
    }

    /// Sends bytes as they are: a line without a transaction id, or what is no line at all.
    ///
    /// # Errors
    /// When the connection has ended.
    pub async fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Ends the connection by a reset, as a lost one does.
    ///
    /// # Errors
    /// When the system refuses that.
    pub fn reset(self) -> Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    /// Ends the connection in order, without a word, and reads what the server still sends.
    ///
    /// # Errors
    /// When the server does not end it in order too.
    pub async fn close(mut self) -> Result<()> {
        self.stream.shutdown().await?;
        self.rest().await.map(drop)
    }

    /// What the server still sends until it closes its side.
    ///
    /// # Errors
    /// When the connection ends by a reset, or in the middle of a command.
    pub async fn rest(&mut self) -> Result<Vec<Received>> {
        let mut rest = Vec::new();
        loop {
            while let Some(received) = self.parse()? {
                rest.push(received);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                anyhow::ensure!(self.input.is_empty(), "the server closed in the middle of {:?}", self.input);
                return Ok(rest);
            }
        }
    }

    /// The next command from the server. Safe to cancel.
    ///
    /// # Errors
    /// When the connection ends, or the server sends what is no command.
    pub async fn receive(&mut self) -> Result<Received> {
        loop {
            if let Some(received) = self.parse()? {
                return Ok(received);
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    /// Waits for a command of that verb; what comes before it is passed over.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn expect(&mut self, verb: &str) -> Result<Received> {
        loop {
            let received = self.receive().await?;
            if received.verb() == verb {
                return Ok(received);
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Received>> {
        let Some(end) = self.input.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&self.input[..end])?;
        let tokens: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut len = 0;
        if WITH_PAYLOAD.contains(&tokens[0].as_str()) {
            len = tokens.last().context("a length")?.parse()?;
        }
        if self.input.len() < end + 2 + len {
            return Ok(None);
        }
        let payload = self.input[end + 2..end + 2 + len].to_vec();
        let _ = self.input.split_to(end + 2 + len);
        Ok(Some(Received { tokens, payload }))
    }
}

/// Opens a conversation between two who are signed in, and returns their switchboard connections.
///
/// # Errors
/// When any step fails.
pub async fn open_chat(caller: (&mut Client, &str), callee: (&mut Client, &str)) -> Result<(Client, Client)> {
    open_chat_by(caller, callee, Client::connect).await
}

/// The same, with a callee that nothing said from now on reaches, not even its system, until it reads: the caller has sent
/// it more than that takes in.
///
/// # Errors
/// When any step fails.
pub async fn open_unread_chat(
    caller: (&mut Client, &str),
    callee: (&mut Client, &str),
) -> Result<(Client, Client)> {
    let (mut at_caller, at_callee) = open_chat_by(caller, callee, Client::connect_narrow).await?;
    // Of a type that is not stored; in all less than others would wait for: what is said next is taken at once.
    let file = [b"MIME-Version: 1.0\r\nContent-Type: application/x-msnmsgrp2p\r\n\r\n", &[0; 1400][..]].concat();
    for _ in 0..36 {
        at_caller.message("D", &file).await?;
    }
    Ok((at_caller, at_callee))
}

async fn open_chat_by(
    (caller, caller_name): (&mut Client, &str),
    (callee, callee_name): (&mut Client, &str),
    connect: impl AsyncFnOnce(SocketAddr) -> Result<Client>,
) -> Result<(Client, Client)> {
    let xfr = caller.request("XFR", "SB").await?;
    let mut at_caller = Client::connect(xfr.token(3).parse().context("a switchboard's address")?).await?;
    at_caller.request("USR", &format!("{caller_name} {}", xfr.token(5))).await?;
    let at_callee = invite_by(&mut at_caller, (callee, callee_name), connect).await?;
    Ok((at_caller, at_callee))
}

/// Brings somebody who is signed in into a conversation by `CAL`: its connection there, once the caller has seen it join.
///
/// # Errors
/// When any step fails.
pub async fn invite(at_caller: &mut Client, callee: (&mut Client, &str)) -> Result<Client> {
    invite_by(at_caller, callee, Client::connect).await
}

async fn invite_by(
    at_caller: &mut Client,
    (callee, callee_name): (&mut Client, &str),
    connect: impl AsyncFnOnce(SocketAddr) -> Result<Client>,
) -> Result<Client> {
    let ringing = at_caller.request("CAL", callee_name).await?;
    if ringing.token(2) != "RINGING" {
        bail!("{callee_name} could not be rung: {:?}", ringing.tokens);
    }
    // What was kept for the callee rings it as well.
    let rng = loop {
        let rng = callee.expect("RNG").await?;
        if rng.token(1) == ringing.token(3) {
            break rng;
        }
    };
    let at_callee = answer_by(&rng, callee_name, connect).await?;
    at_caller.expect("JOI").await?;
    Ok(at_callee)
}

/// Answers a ring: the connection to the conversation, on which what comes next has not been read.
///
/// # Errors
/// When any step fails.
pub async fn answer(ring: &Received, callee_name: &str) -> Result<Client> {
    answer_by(ring, callee_name, Client::connect).await
}

async fn answer_by(
    ring: &Received,
    callee_name: &str,
    connect: impl AsyncFnOnce(SocketAddr) -> Result<Client>,
) -> Result<Client> {
    let mut client = connect(ring.token(2).parse().context("a switchboard's address")?).await?;
    let answer = format!("{callee_name} {} {}", ring.token(4), ring.token(1));
    let trid = client.send("ANS", &answer).await?.to_string();
    loop {
        let received = client.receive().await?;
        if received.verb() == "ANS" && received.token(1) == trid {
            return Ok(client);
        }
    }
}

/// A text message's payload.
#[must_use]
pub fn text(body: &str) -> Vec<u8> {
    format!("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n{body}").into_bytes()
}
