//! What a scenario does with connections besides expecting lines.

use super::connection::{Connection, Nothing};
use super::failure::Trouble;
use super::pattern::show;
use super::play::Player;
use super::script::Deed;
use super::template::Template;

impl Player<'_> {
    /// Opens a connection; an earlier one of that name is closed before.
    pub(super) async fn connect(&mut self, name: &str, target: &Template) -> Result<(), Trouble> {
        let target = self.string(target).await?;
        let address = self.deployment.address(&target).or_else(|| target.parse().ok());
        let address = address.ok_or_else(|| Trouble::usage(format!("{target:?} is no server")))?;
        let name = self.connection_name(name);
        // What was there is closed before, so that the server sees things in the order of the scenario.
        self.connections.remove(&name);
        let connection = Connection::open(address, self.patience).await;
        let connection =
            connection.map_err(|error| Trouble::unreachable(format!("{target} ({address}): {error}")))?;
        self.record.opened(&name, self.deployment.service(address));
        self.connections.insert(name, connection);
        Ok(())
    }

    /// Sends a line and its payload, whose length must be right.
    pub(super) async fn send(
        &mut self,
        name: &str,
        line: &Template,
        payload: Option<&Template>,
    ) -> Result<(), Trouble> {
        let payload = match payload {
            Some(payload) => Some(self.text(payload).await?),
            None if line.has_length() => Some(Vec::new()),
            None => None,
        };
        let length = payload.as_ref().map(Vec::len);
        let line = self.fill(line, length).await?.as_text().unwrap_or_default();
        if let Some(length) = length
            && !line.ends_with(format!(" {length}").as_bytes())
        {
            let problem = format!("{}: the payload has {length} bytes", show(&line));
            return Err(Trouble::usage(problem));
        }
        let mut bytes = line.clone();
        bytes.extend_from_slice(b"\r\n");
        let mut shown = show(&line);
        if let Some(payload) = payload {
            bytes.extend_from_slice(&payload);
            shown.push_str(&format!("  + {}", show(&payload)));
            self.last_payload = Some(payload);
        }
        self.write(name, &bytes, &shown).await?;
        let (name, counts) = (self.connection_name(name), self.counts());
        self.record.sent(&name, &line, counts);
        Ok(())
    }

    /// Sends bytes as they are.
    pub(super) async fn send_raw(&mut self, name: &str, bytes: &Template) -> Result<(), Trouble> {
        let bytes = self.text(bytes).await?;
        self.write(name, &bytes, &show(&bytes)).await
    }

    async fn write(&mut self, name: &str, bytes: &[u8], shown: &str) -> Result<(), Trouble> {
        let patience = self.patience;
        let sent = self.connection(name)?.send(bytes, shown, patience).await;
        sent.map_err(|nothing| cannot_send(name, &nothing))
    }

    /// Everything else.
    pub(super) async fn deed(&mut self, name: &str, deed: &Deed) -> Result<(), Trouble> {
        let patience = self.patience;
        match deed {
            Deed::Closed => return self.expect_closed(name).await,
            Deed::Quiet => return self.expect_quiet(name).await,
            _ => {}
        }
        let connection = self.connection(name)?;
        match deed {
            Deed::Close => connection.close(),
            Deed::Abort => connection.abort().map_err(|error| Trouble::failed(error.to_string()))?,
            Deed::HalfClose => connection.half_close().await,
            Deed::Split(size) => connection.split = *size,
            Deed::Hold => connection.hold(),
            Deed::Flush => {
                connection.flush(patience).await.map_err(|nothing| cannot_send(name, &nothing))?;
            }
            Deed::Ignore(verbs) => connection.ignored.extend(verbs.iter().cloned()),
            Deed::Heed(verbs) if verbs.is_empty() => connection.ignored.clear(),
            Deed::Heed(verbs) => connection.ignored.retain(|verb| !verbs.contains(verb)),
            Deed::Closed | Deed::Quiet => {}
        }
        Ok(())
    }
}

fn cannot_send(name: &str, nothing: &Nothing) -> Trouble {
    match nothing {
        Nothing::Malformed(why) => Trouble::failed(format!("{name} can't send: {why}")),
        _ => Trouble::failed(format!("{name} can't send: the connection is closed")),
    }
}
