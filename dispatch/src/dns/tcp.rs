//! DNS over TCP, with what hickory-server's own listener lacks: a bound on connections, and on the queries of one.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::net::{Arrival, Place, Shutdown};
use hickory_server::net::NetError;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::MessageType;
use hickory_server::proto::rr::Record;
use hickory_server::proto::serialize::binary::BinEncoder;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponse;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::door::Door;

/// A query must come, and its answer be taken, within so long (RFC 7766 §6.2.3 wants seconds).
const PATIENCE: Duration = Duration::from_secs(5);
/// Queries on one connection.
const MAX_QUERIES: usize = 100;
/// More than any query needs.
const MAX_QUERY: usize = 4096;

/// Serves until shutdown.
pub(super) async fn serve<H: RequestHandler>(mut door: Door, handler: Arc<H>, shutdown: Shutdown) {
    loop {
        let (Arrival { stream, peer, .. }, place) = tokio::select! {
            accepted = door.accept() => accepted,
            () = shutdown.begun() => return,
        };
        let (handler, until) = (Arc::clone(&handler), shutdown.clone());
        shutdown.spawn(async move {
            tokio::select! {
                _ = answer_all(stream, peer, &*handler, &place) => {}
                () = place.gone() => {}
                () = until.begun() => {}
            }
        });
    }
}

/// Answers queries one after the other, until the client closes, sends nonsense, or is too slow.
async fn answer_all<H: RequestHandler>(
    mut stream: TcpStream,
    peer: SocketAddr,
    handler: &H,
    place: &Place,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    for _ in 0..MAX_QUERIES {
        let query = timeout(PATIENCE, read(&mut stream)).await.ok()??;
        place.works();
        let answer = answer(query, peer, handler).await?;
        timeout(PATIENCE, stream.write_all(&answer)).await.ok()?.ok()?;
        place.waits();
    }
    None
}

/// A message with its length before it (RFC 1035 §4.2.2).
async fn read(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = usize::from(stream.read_u16().await.ok()?);
    if length > MAX_QUERY {
        return None;
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await.ok()?;
    Some(query)
}

async fn answer<H: RequestHandler>(query: Vec<u8>, peer: SocketAddr, handler: &H) -> Option<Vec<u8>> {
    let request = Request::from_bytes(query, peer, Protocol::Tcp).ok()?;
    // Answering an answer would let two servers talk for ever.
    if request.metadata.message_type == MessageType::Response {
        return None;
    }
    let reply = Reply::default();
    handler.handle_request::<_, TokioTime>(&request, reply.clone()).await;
    let message = reply.message.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    let length = u16::try_from(message.len()).ok()?;
    Some([&length.to_be_bytes(), &message[..]].concat())
}

/// Where the handler puts its answer.
#[derive(Clone, Default)]
struct Reply {
    message: Arc<Mutex<Option<Vec<u8>>>>,
}

#[async_trait]
impl ResponseHandler for Reply {
    async fn send_response<'a>(
        &mut self,
        response: MessageResponse<
            '_,
            'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
            impl Iterator<Item = &'a Record> + Send + 'a,
        >,
    ) -> Result<ResponseInfo, NetError> {
        let mut message = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut message);
        encoder.set_max_size(u16::MAX);
        let info = response.destructive_emit(&mut encoder)?;
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        Ok(info)
    }
}
